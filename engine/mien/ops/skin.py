"""Where a tracked face shows skin: what color and light are measured on."""

from mien import mesh
from mien.ops.hull import face_outline, polygon_matte
from mien.ops.mesh_warp import openings
from mien.types import Matte, Points

INSET = 0.88
"""The outline is drawn in toward its center, away from hair, ears and background."""
FOREHEAD = 0.5
FEATURES = {
    "mesh": (mesh.RIGHT_EYE, mesh.LEFT_EYE, mesh.LIPS_OUTER, mesh.RIGHT_BROW, mesh.LEFT_BROW),
    "ibug68": (list(range(36, 42)), list(range(42, 48)), list(range(48, 60)), list(range(17, 22)), list(range(22, 27))),
}
"""Outlines of eyes and lips, and points of the brows."""


def skin(points: Points, scheme: str, size: tuple[int, int], width: float) -> Matte:
    """1 on the skin of a face, 0 on eyes, brows, lips and all else: (1, height, width).

    Args:
        points: (N, 2 or 3) positions in pixels of the picture that is asked for.
        scheme: ``mesh`` or ``ibug68``.
        size: Height and width of the picture.
        width: Width of the face in pixels.
    """
    outline = face_outline(points, scheme, FOREHEAD)
    center = outline.mean(0, keepdim=True)
    inside = polygon_matte(center + INSET * (outline - center), (0, 0), size)
    holes = openings([points[rim, :2] for rim in FEATURES[scheme]], size, 0.02 * width, 0.03 * width)
    return inside.to(points) * (1 - holes)
