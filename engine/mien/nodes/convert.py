"""Conversion nodes."""

from dataclasses import replace
from typing import Literal

import torch

from mien import mesh
from mien.ops.mesh_warp import opening
from mien.types import Face, Identity, Layer, Plate


def convert_face(
    plate: Plate,
    face: Face,
    identity: Identity,
    *,
    highlights: Literal["plate", "source"] = "plate",
    eyes: Literal["performer", "plate"] = "performer",
    mouth: Literal["performer", "plate"] = "performer",
) -> Layer:
    """Replace the tracked face with another person's, as a layer in plate position.

    Args:
        plate: Original picture.
        face: Where the face is.
        identity: Whose face to show.
        highlights: Whose values above white and below black to keep: the plate's light, or the source's own.
        eyes: Whose eyes show between the lids.
        mouth: Whose teeth and tongue show between the lips.
    """
    layer = identity(plate, face)
    height, width = layer.image.shape[-2:]
    if highlights == "plate":
        left, top = layer.corner[0] - plate.corner[0], layer.corner[1] - plate.corner[1]
        behind = plate.image[..., top : top + height, left : left + width]
        beyond = behind - behind.clamp(0, plate.white)
        image = layer.image.clamp(0, plate.white) + torch.where(beyond.isfinite(), beyond, 0)
        layer = replace(layer, image=image)
    kept = [mesh.RIGHT_EYE, mesh.LEFT_EYE] * (eyes == "plate") + [mesh.LIPS_INNER] * (mouth == "plate")
    matte = layer.matte
    for rim in kept:
        corners = face.points[rim, :2].to(matte) - matte.new_tensor(layer.corner)
        matte = matte * (1 - opening(corners, (height, width), 0.01 * face.width))
    return layer.shaped("identity", matte) if kept else layer
