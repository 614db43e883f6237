"""Conversion nodes."""

from typing import Literal

from mien import mesh
from mien.ops.mesh_warp import opening
from mien.types import Face, Identity, Layer, Plate


def convert_face(
    plate: Plate,
    face: Face,
    identity: Identity,
    *,
    eyes: Literal["performer", "plate"] = "performer",
    mouth: Literal["performer", "plate"] = "performer",
) -> Layer:
    """Replace the tracked face with another person's, as a layer in plate position.

    Args:
        plate: Original picture.
        face: Where the face is.
        identity: Whose face to show.
        eyes: Whose eyes show between the lids.
        mouth: Whose teeth and tongue show between the lips.
    """
    layer = identity(plate, face)
    height, width = layer.image.shape[-2:]
    kept = [mesh.RIGHT_EYE, mesh.LEFT_EYE] * (eyes == "plate") + [mesh.LIPS_INNER] * (mouth == "plate")
    matte = layer.matte
    for rim in kept:
        corners = face.points[rim, :2].to(matte) - matte.new_tensor(layer.corner)
        matte = matte * (1 - opening(corners, (height, width), 0.01 * face.width))
    return layer.shaped("identity", matte) if kept else layer
