"""A matte or a picture of another frame as it would lie in this one, carried along the motion of the plate."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.ops.guided import box_mean, picture_guide
from mien.ops.region import shared
from mien.types import Matte, Plate

WIDEST = 480
"""Pixels along the longer side of the pictures between which motion is measured."""
NOISE = 0.03
"""Difference of two pictures, 0 to 1, that grain may make."""
ROUND_TRIP = 1.5
"""Pixels by which a way there and back may miss."""
Gray = NDArray[np.uint8]


def seen_from(
    plate: Plate, other: Plate, picture: Tensor, corner: tuple[int, int], place: tuple[tuple[int, int], Sequence[int]]
) -> tuple[Tensor, Matte]:
    """A matte or picture of another frame carried into this one, and how far that can be trusted.

    Args:
        plate: This frame.
        other: The other frame.
        picture: (C, h, w) in the other frame.
        corner: Plate pixel of its top-left pixel.
        place: Corner, and height and width, that are wanted in this frame.

    Returns:
        What lies there, (C, height, width), and the trust in it, (1, height, width), 0 to 1: low where the pictures
        disagree, where the way back leads elsewhere, and beyond the plate. Dense inverse search (Kroeger et al.,
        ECCV 2016).
    """
    target, size = place[0], (int(place[1][0]), int(place[1][1]))
    here, seen = _onto(picture_guide(plate.image), plate.corner, target, size)
    there, present = _onto(picture_guide(other.image), other.corner, target, size)
    carried, _ = _onto(picture, corner, target, size)
    shrink = max(1, -(-max(size) // WIDEST))
    forth, back = _flows(_gray(here, shrink), _gray(there, shrink))
    flow = _enlarged(forth * shrink, size, shrink).to(picture.device)
    miss = _enlarged(_round_trip(forth, back) * shrink, size, shrink).to(picture.device)
    moved = _sample(torch.cat([there, carried, present]), flow)
    difference = box_mean((moved[:3] - here).abs().mean(0, keepdim=True), 2)
    trust = torch.exp(-(difference / NOISE).square() / 2 - (miss / ROUND_TRIP).square() / 2)
    return moved[3:-1], trust * seen * moved[-1:].clamp(0, 1)


def _onto(
    picture: Tensor, corner: tuple[int, int], target: tuple[int, int], size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """A picture laid out on another region, and a matte of where it has pixels there."""
    placed, present = picture.new_zeros(*picture.shape[:-2], *size), picture.new_zeros(1, *size)
    here, there = shared((target, size), (corner, picture.shape))
    placed[..., here[0], here[1]] = picture[..., there[0], there[1]].nan_to_num(0.0)
    present[..., here[0], here[1]] = 1
    return placed, present


def _gray(guide: Tensor, shrink: int) -> Gray:
    small = torch.nn.functional.avg_pool2d(guide.mean(0, keepdim=True)[None], shrink, ceil_mode=True)[0, 0]
    gray: Gray = (small * 255).round().to(torch.uint8).cpu().numpy()
    return gray


def _flows(here: Gray, there: Gray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The flow from here to there, and back, in pixels of these pictures."""
    # Pictures smaller than its patches break the search.
    if min(here.shape) < 16:
        still = np.zeros((*here.shape, 2), np.float32)
        return still, still
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(1)
    forth, back = search.calc(here, there, None), search.calc(there, here, None)
    return np.asarray(forth, np.float32), np.asarray(back, np.float32)


def _round_trip(forth: NDArray[np.float32], back: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far (H, W, 1) the way there and back misses its start."""
    height, width = forth.shape[:2]
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    returned = cv2.remap(back, grid + forth, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(np.linalg.norm(forth + returned, axis=-1, keepdims=True), np.float32)


def _enlarged(values: NDArray[np.float32], size: tuple[int, int], factor: int) -> Tensor:
    """(C, H, W) values of pictures that are ``factor`` times smaller."""
    small = torch.from_numpy(values).movedim(-1, 0)[None]
    grown = torch.nn.functional.interpolate(small, scale_factor=float(factor), mode="bilinear", align_corners=False)
    return grown[0, :, : size[0], : size[1]]


def _sample(pictures: Tensor, flow: Tensor) -> Tensor:
    """(C, H, W) pictures read where the flow (2, H, W) leads, bilinear, 0 beyond."""
    height, width = pictures.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=flow.device), torch.arange(width, device=flow.device), indexing="ij"
    )
    there = torch.stack([(x + flow[0] + 0.5) * 2 / width - 1, (y + flow[1] + 0.5) * 2 / height - 1], -1)
    read: Tensor = torch.nn.functional.grid_sample(pictures[None], there[None], align_corners=False)[0]
    return read
