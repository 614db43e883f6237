"""First-order motion for looking at: keypoints drawn over pictures, and motion as colors."""

import colorsys
import math

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.models.motion_fields import Keypoints, positions

Picture = NDArray[np.uint8]
SHIFT = 4
"""Binary digits behind the point with which OpenCV draws."""
FASTEST = 0.25
"""Motion, in half widths of the picture, that is shown in full color."""


def marked(picture: Picture, keypoints: Keypoints, row: int = 0) -> Picture:
    """A copy of an (H, W, 3) picture with keypoints as dots, and the frame of each as two short lines."""
    canvas = np.ascontiguousarray(picture).copy()
    height, width = canvas.shape[:2]
    size = min(height, width)
    half = np.array([(width - 1) / 2, (height - 1) / 2])
    places = (keypoints.place[row].detach().cpu().double().numpy() + 1) * half
    for number, place in enumerate(places):
        hue = number / len(places)
        red, green, blue = (round(255 * one) for one in colorsys.hsv_to_rgb(hue, 0.75, 1.0))
        if keypoints.local is not None:
            axes = keypoints.local[row, number].detach().cpu().double().numpy()
            for axis in axes.T:
                reach = place + 0.05 * size * axis / max(1.0, float(np.abs(axis).max()))
                cv2.line(canvas, _fixed(place), _fixed(reach), (red, green, blue), 1, cv2.LINE_AA, SHIFT)
        radius = round(max(1.5, 0.012 * size) * (1 << SHIFT))
        cv2.circle(canvas, _fixed(place), radius + (1 << SHIFT), (0, 0, 0), -1, cv2.LINE_AA, SHIFT)
        cv2.circle(canvas, _fixed(place), radius, (red, green, blue), -1, cv2.LINE_AA, SHIFT)
    return canvas


def flow_colors(flow: Tensor) -> Tensor:
    """(B, 3, h, w) colors of fields (B, h, w, 2): the hue is the direction in which the picture moves, gray stands."""
    moved = positions(flow.shape[1], flow.shape[2], flow.device) - flow
    turn = torch.atan2(moved[..., 1], moved[..., 0])
    speed = (moved.norm(dim=-1) / FASTEST).clamp(0, 1)
    waves = [0.5 + 0.5 * torch.cos(turn - 2 * math.pi * third / 3) for third in range(3)]
    color = torch.stack(waves, 1)
    shown: Tensor = 0.5 + speed[:, None] * (color - 0.5)
    return shown


def _fixed(place: NDArray[np.float64]) -> tuple[int, int]:
    x, y = np.clip(place, -1e4, 1e4) * (1 << SHIFT)
    return round(float(x)), round(float(y))
