"""Color transforms as OpenColorIO defines them, on tensors.

Each function takes (..., 3, H, W) pictures and returns new ones; values per channel come as three numbers.
Formulas are those of OpenColorIO's operators, so that a picture on a graphics card gets the color that
OpenColorIO itself would have given it.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from mien.types import Image

SMALLEST = 2.0**-126
"""Smallest normal float32; logarithms are taken of nothing smaller."""


def matrix(image: Image, rows: Tensor, offset: Sequence[float] = (0.0, 0.0, 0.0)) -> Image:
    """Mix channels: ``rows · rgb + offset``, rows being (3, 3)."""
    mixed = torch.matmul(rows.to(image), image.flatten(-2)).view(image.shape)
    return mixed + _channels(offset, image) if any(offset) else mixed


def exponent(image: Image, powers: Sequence[float], negative: Literal["clamp", "mirror", "keep"]) -> Image:
    """Raise to a power; negative values become 0, are mirrored, or stay as they are."""
    power = _channels(powers, image)
    if negative == "clamp":
        return image.clamp_min(0) ** power
    if negative == "mirror":
        return image.sign() * image.abs() ** power
    return torch.where(image > 0, image.clamp_min(0) ** power, image)


def monitor_curve(
    image: Image,
    powers: Sequence[float],
    offsets: Sequence[float],
    direction: Literal["decode", "encode"],
    negative: Literal["linear", "mirror"],
) -> Image:
    """A power curve with a straight toe, such as sRGB's (2.4, 0.055); decoding brings signal to light."""
    power, offset = _channels(powers, image), _channels(offsets, image)
    if any(p <= 1 for p in powers) or any(o <= 0 for o in offsets):
        raise ValueError(f"powers above 1 and offsets above 0 are needed, not {powers} and {offsets}")
    above = power - 1
    knee = offset / above
    slope = above / offset * (offset * power / (above * (1 + offset))) ** power
    signal = image.abs() if negative == "mirror" else image
    if direction == "decode":
        curve = ((signal.clamp_min(0) + offset) / (1 + offset)) ** power
        result = torch.where(signal <= knee, signal * slope, curve)
    else:
        curve = (1 + offset) * signal.clamp_min(0) ** (1 / power) - offset
        result = torch.where(signal <= knee * slope, signal / slope, curve)
    return result * image.sign() if negative == "mirror" else result


def logarithm(
    image: Image,
    direction: Literal["decode", "encode"],
    base: float,
    log_slope: Sequence[float] = (1.0, 1.0, 1.0),
    log_offset: Sequence[float] = (0.0, 0.0, 0.0),
    linear_slope: Sequence[float] = (1.0, 1.0, 1.0),
    linear_offset: Sequence[float] = (0.0, 0.0, 0.0),
) -> Image:
    """``log_slope * log(linear_slope * x + linear_offset) + log_offset``, or its inverse."""
    a, b, c, d = (_channels(v, image) for v in (log_slope, log_offset, linear_slope, linear_offset))
    if direction == "encode":
        return a / math.log2(base) * (c * image + d).clamp_min(SMALLEST).log2() + b
    return (torch.exp2((image - b) / a * math.log2(base)) - d) / c


def camera_log(
    image: Image,
    direction: Literal["decode", "encode"],
    base: float,
    log_slope: Sequence[float],
    log_offset: Sequence[float],
    linear_slope: Sequence[float],
    linear_offset: Sequence[float],
    breaks: Sequence[float],
    toe_slope: Sequence[float] | None = None,
) -> Image:
    """A logarithm that turns into a straight line below ``breaks`` (scene-linear), or its inverse."""
    knee_log = [
        a * math.log(c * k + d, base) + b
        for a, b, c, d, k in zip(log_slope, log_offset, linear_slope, linear_offset, breaks)
    ]
    smooth = [
        a * c / ((c * k + d) * math.log(base)) for a, c, d, k in zip(log_slope, linear_slope, linear_offset, breaks)
    ]
    toe = _channels(smooth if toe_slope is None else toe_slope, image)
    linear, log = _channels(breaks, image), _channels(knee_log, image)
    curve = logarithm(image, direction, base, log_slope, log_offset, linear_slope, linear_offset)
    if direction == "encode":
        return torch.where(image <= linear, (image - linear) * toe + log, curve)
    return torch.where(image <= log, (image - log) / toe + linear, curve)


def span(
    image: Image,
    scale: float,
    offset: float,
    low: float | None,
    high: float | None,
) -> Image:
    """Scale and shift, then hold the result between two values where they are given."""
    moved = image * scale + offset if (scale, offset) != (1.0, 0.0) else image
    return moved if low is None and high is None else moved.clamp(low, high)


def table(image: Image, values: Tensor) -> Image:
    """Look each channel up in (N, 3) values spread evenly over 0 to 1, held at the ends."""
    count = len(values)
    place = image.nan_to_num(0.0).clamp(0, 1) * (count - 1)
    index = place.floor().clamp(0, count - 2)
    return _between(values.to(image), index.long(), place - index)


def half_table(image: Image, values: Tensor) -> Image:
    """Look each channel up in (65536, 3) values, one for every half float, in the order of their bits."""
    if values.shape != (65536, 3):
        raise ValueError(f"a table over half floats is (65536, 3), not {tuple(values.shape)}")
    held = image.clamp(-65504.0, 65504.0).nan_to_num(0.0)
    near = held.half()
    # The half float toward zero, and its neighbor away from zero, enclose the value.
    bits = near.view(torch.int16).long() & 0xFFFF
    magnitude = bits & 0x7FFF
    beyond = (near.float().abs() > held.abs()) & (magnitude > 0)
    lower = (bits - beyond.long()) & 0xFFFF
    upper = torch.where((lower & 0x7FFF) < 0x7BFF, lower + 1, lower)
    start = lower.to(torch.int32).to(torch.int16).view(torch.half).float()
    end = upper.to(torch.int32).to(torch.int16).view(torch.half).float()
    width = end - start
    share = torch.where(width == 0, 0.0, (held - start) / torch.where(width == 0, 1.0, width))
    known = values.to(image)
    channel = torch.arange(3, device=image.device).view(3, 1, 1)
    low, high = known[lower, channel], known[upper, channel]
    # Tables of camera curves end in infinities, between which there is nothing to blend.
    return torch.where((low == high) | (share == 0), low, low + (high - low) * share)


def cube(image: Image, values: Tensor, interpolation: Literal["linear", "tetrahedral"]) -> Image:
    """Look colors up in (N, N, N, 3) values over 0 to 1, indexed by red, green, blue, held at the ends."""
    count = values.shape[0]
    known = values.to(image).reshape(-1, 3)
    place = image.nan_to_num(0.0).clamp(0, 1).movedim(-3, -1) * (count - 1)
    low = place.floor().clamp(0, count - 2)
    share = place - low
    weight = torch.tensor([count * count, count, 1], device=image.device)
    first = (low.long() * weight).sum(-1)
    if interpolation == "linear":
        result = torch.zeros_like(place)
        for corner in range(8):
            steps = torch.tensor([corner >> 2 & 1, corner >> 1 & 1, corner & 1], device=image.device)
            part = torch.where(steps.bool(), share, 1 - share).prod(-1, keepdim=True)
            result = result + part * known[first + (steps * weight).sum()]
        return result.movedim(-1, -3)
    # Walk the cell's edges from black to white, the longest way first (tetrahedral interpolation).
    order = share.argsort(stable=True, dim=-1, descending=True)
    ranked = share.gather(-1, order)
    steps = weight[order]
    here = first
    result = known[here] * (1 - ranked[..., :1])
    for axis in range(3):
        here = here + steps[..., axis]
        following = ranked[..., axis + 1 : axis + 2] if axis < 2 else 0.0
        result = result + known[here] * (ranked[..., axis : axis + 1] - following)
    return result.movedim(-1, -3)


def _channels(values: Sequence[float], image: Tensor) -> Tensor:
    return torch.tensor(tuple(values), dtype=image.dtype, device=image.device).view(3, 1, 1)


def _between(values: Tensor, index: Tensor, share: Tensor) -> Tensor:
    channel = torch.arange(3, device=values.device).view(3, 1, 1)
    return torch.lerp(values[index, channel], values[index + 1, channel], share)
