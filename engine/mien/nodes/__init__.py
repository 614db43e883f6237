"""Every node, in the order artists meet them."""

from mien.nodes.convert import convert_face
from mien.nodes.finish import composite, relight
from mien.nodes.match import grade_face, match_color, measure_color, plate_white
from mien.nodes.matte import face_matte, matte_edge
from mien.nodes.track import smooth_track, track_faces
from mien.types import Node

NODES: tuple[Node, ...] = (
    track_faces,
    smooth_track,
    convert_face,
    face_matte,
    matte_edge,
    measure_color,
    match_color,
    plate_white,
    grade_face,
    relight,
    composite,
)
