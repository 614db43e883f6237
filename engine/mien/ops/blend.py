"""Combining pictures."""

import torch

from mien.ops.bands import bands
from mien.ops.choose import choose
from mien.types import Image, Matte


def over(front: Image, back: Image, matte: Matte) -> Image:
    """Lay ``front`` on ``back``: ``back + matte * (front - back)``.

    Where the matte is 0 the result is ``back`` bit for bit, where it is 1 it is ``front``, whatever lies
    under either: inf and NaN of the one do not reach the other there.
    """
    if front.shape[-2:] != back.shape[-2:] or matte.shape[-2:] != back.shape[-2:]:
        shapes = ", ".join(str(tuple(t.shape)) for t in (front, back, matte))
        raise ValueError(f"front, back and matte must cover the same region, not {shapes}")
    mixed = back + matte * (front - back)
    if not bool(torch.isfinite(mixed.sum())):
        # inf - inf is NaN: an infinite plate pixel under a soft edge stays infinite instead.
        mixed = torch.where(torch.isfinite(mixed), mixed, matte * front + (1 - matte) * back)
    return choose(matte >= 1, front, choose(matte > 0, mixed, back))


def carry_highlights(front: Image, back: Image, white: float, amount: float = 1.0) -> Image:
    """Light of ``back`` above ``white`` and below 0 in place of what ``front`` has there.

    Pictures are (..., 3, H, W), scene-linear. With ``amount`` 0, or without such light, ``front`` itself comes back;
    infinite and undefined light is not carried.
    """
    if amount == 0:
        return front
    carried, changed = torch.empty_like(front), False
    for rows in bands(front):
        there, ours, result = (part[..., rows, :] for part in (back, front, carried))
        if _within(there, white) and _within(ours, white):
            result.copy_(ours)
            continue
        changed = True
        beyond = there.clamp(0, white)
        torch.sub(there, beyond, out=beyond)
        if not bool(torch.isfinite(beyond.sum())):
            beyond = beyond.nan_to_num(0.0, 0.0, 0.0)
        part = torch.clamp(ours, 0, white, out=result if amount == 1 else None).add_(beyond)
        if amount != 1:
            torch.lerp(ours, part, amount, out=result)
    return carried if changed else front


def _within(image: Image, white: float) -> bool:
    """Whether all light is from 0 to ``white``."""
    low, high = image.aminmax()
    return float(low) >= 0 and float(high) <= white
