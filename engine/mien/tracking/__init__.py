"""Following faces through a shot."""

from mien.tracking.assemble import ignore, pick, rename
from mien.tracking.faces import face_at, face_widths, lost
from mien.tracking.shot import track
from mien.tracking.smooth import smooth

__all__ = ["face_at", "face_widths", "ignore", "lost", "pick", "rename", "smooth", "track"]
