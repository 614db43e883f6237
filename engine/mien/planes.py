"""Pictures plane by plane, as they are computed on, and pixel by pixel, as files and libraries hold them.

OpenCV carries one to the other in a third of the time that a tensor's own copy takes; no bit changes.
"""

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.types import Image


def planar(pixels: NDArray[np.float32]) -> Image:
    """(H, W, C) pixels as a (C, H, W) picture: their own memory where they lie like that already."""
    height, width, channels = pixels.shape
    if (laid := np.moveaxis(pixels, 2, 0)).flags.c_contiguous and laid.flags.writeable:
        return torch.from_numpy(laid)
    planes = torch.empty(channels, height, width)
    if pixels.size:
        cv2.split(pixels, list(planes.numpy()))
    return planes


def packed(planes: Tensor) -> NDArray[Any]:
    """A (C, H, W) picture of floats or bytes, wherever it lies, as (H, W, C) pixels of its own."""
    values = planes.detach().cpu().numpy()
    pixels = np.empty((*values.shape[1:], len(values)), values.dtype)
    if pixels.size:
        cv2.merge(list(values), pixels)
    return pixels
