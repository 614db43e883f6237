"""Unmixing the colors of a soft edge into what lies in front and what lies behind.

Front and back are blurred from where they show alone, and corrected by what their mixture leaves over
(Forte: Approximate Fast Foreground Colour Estimation, 2021), first far, then near.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from mien.ops.guided import box_mean
from mien.types import Image, Matte

PURE = 4
"""Power of the matte that weighs colors: pixels that are mostly of one side speak for it."""
COARSE = 6
"""Cells in the radius of a window that is found on a smaller picture."""
NEAR = 0.15
"""Size of the second, near look, beside the first."""


def unmix(image: Image, matte: Matte, radius: int) -> tuple[Image, Image]:
    """Colors of the front and of the back of a (..., 3, H, W) picture, with ``matte`` over.

    Where the matte is 1 the front is the picture, where it is 0 the back is, bit for bit, and everywhere
    their mixture is the picture's. The other side reaches ``radius`` pixels beyond a soft edge. NaN and inf
    of the picture do not count.
    """
    sound = image.isfinite().all(-3, keepdim=True)
    plain = torch.where(sound, image, 0.0)
    share = matte.nan_to_num(0.0).clamp(0, 1)
    front = back = plain
    for reach in (radius, max(1, round(radius * NEAR))):
        front, back = _look(plain, share, sound, front, back, max(1, reach))
    return torch.where(share == 1, image, front), torch.where(share == 0, image, back)


def _look(image: Image, share: Matte, sound: Tensor, front: Image, back: Image, radius: int) -> tuple[Image, Image]:
    ahead, behind = share**PURE * sound, (1 - share) ** PURE * sound
    means = _wide_mean(torch.cat([front * ahead, ahead, back * behind, behind], -3), radius)
    fronts, front_weight, backs, back_weight = means.split([3, 1, 3, 1], -3)
    # Where one side is nowhere near, it keeps the color it had.
    front = torch.where(front_weight > 1e-6, fronts / front_weight.clamp_min(1e-6), front)
    back = torch.where(back_weight > 1e-6, backs / back_weight.clamp_min(1e-6), back)
    left_over = image - share * front - (1 - share) * back
    norm = share * share + (1 - share) * (1 - share)
    return front + share / norm * left_over, back + (1 - share) / norm * left_over


def _wide_mean(values: Tensor, radius: int) -> Tensor:
    """Means over wide windows, found on smaller pictures: they bend little from pixel to pixel."""
    stride = max(1, radius // COARSE)
    if stride == 1 or min(values.shape[-2:]) < 2 * stride:
        return box_mean(values, radius)
    height, width = values.shape[-2:]
    flat = values.reshape(-1, *values.shape[-3:])
    padded = torch.nn.functional.pad(flat, (0, -width % stride, 0, -height % stride), mode="replicate")
    means = box_mean(avg_pool2d(padded, stride), max(1, round(radius / stride)))
    grown = interpolate(means, scale_factor=float(stride), mode="bilinear", align_corners=False)
    return grown[..., :height, :width].reshape(values.shape)
