"""Every node, in the order artists meet them."""

from mien.nodes.convert import convert_face
from mien.nodes.detail import code_face, deflicker, detail_face, level_face, match_detail, measure_detail, steady_face
from mien.nodes.finish import composite, relight
from mien.nodes.match import (
    grade_face,
    grade_regions,
    match_color,
    match_regions,
    measure_color,
    measure_regions,
    plate_white,
)
from mien.nodes.matte import (
    clean_edge,
    combine_mattes,
    face_matte,
    hold_out,
    matte_edge,
    refine_matte,
    steady_matte,
)
from mien.nodes.track import smooth_track, track_faces
from mien.types import Node

NODES: tuple[Node, ...] = (
    track_faces,
    smooth_track,
    convert_face,
    steady_face,
    face_matte,
    matte_edge,
    hold_out,
    combine_mattes,
    refine_matte,
    steady_matte,
    measure_color,
    match_color,
    plate_white,
    grade_face,
    measure_regions,
    match_regions,
    grade_regions,
    deflicker,
    level_face,
    relight,
    measure_detail,
    match_detail,
    detail_face,
    code_face,
    clean_edge,
    composite,
)
