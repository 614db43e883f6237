"""Flicker: what changes from frame to frame in a converted face and has no cause in the plate."""

import math

import torch
from torch import Tensor

from mien.ops import grade as moves
from mien.ops import spaces
from mien.ops.sharpness import blur
from mien.ops.steady import median, windows
from mien.types import ColorSample, Grade, Image, Matte

ROUNDS = 5
"""How often outliers are weighed anew."""
FAINT = 0.01
"""Change of the plate's light, as the logarithm of a ratio, below which it explains nothing."""
MOST = math.log(2.0)
"""Largest correction, as the logarithm of a ratio."""
GHOST = 0.1
"""Difference, as a share of the light, from which on two frames show different things."""
HARDLY = 0.001
"""Correction that nobody sees and that is not made."""


def log_light(sample: ColorSample, grade: Grade) -> Tensor:
    """(2, 3) logarithms of the mean light of a face, once graded, and of the plate."""
    means = torch.tensor([sample.face_mean, sample.plate_mean], dtype=torch.float64)[..., None]
    graded = moves.move(means[0], grade) if grade.space == sample.space else None
    decoded = spaces.decode(means, sample.space)
    face = moves.apply(decoded[0, ..., None], grade)[..., 0] if graded is None else spaces.decode(graded, sample.space)
    return torch.stack([face, decoded[1]])[..., 0].clamp_min(1e-6).log()


def flicker(face: Tensor, plate: Tensor, weight: Tensor, frames: float) -> Tensor:
    """(F, C) logarithms of the gains that take the flicker out of a face.

    Around every frame the face's log light is explained by a level, a slope in time, and the plate's log light
    in the same channel, robustly, so that one frame that is off does not count; what is left of the frame
    itself is its flicker. A face that follows the plate's lamp, or ignores it, does so here as well.

    Args:
        face, plate: (F, C) log light under the same matte.
        weight: (F,) trust in each frame; those with 0 neither count nor are corrected.
        frames: Standard deviation in frames of what counts as around; 0 corrects nothing.
    """
    if face.shape != plate.shape or weight.shape != face.shape[:1]:
        shapes = ", ".join(str(tuple(t.shape)) for t in (face, plate, weight))
        raise ValueError(f"face, plate and weight must speak of the same frames, not {shapes}")
    if frames <= 0 or int((weight > 0).sum()) < 3:
        return torch.zeros_like(face)
    reach = max(2, math.ceil(3 * frames))
    offset = torch.arange(-reach, reach + 1, dtype=torch.float64)
    near = torch.exp(-0.5 * (offset / frames).square())
    base = windows(weight.double()[None], reach)[0] * near
    seen, light = (windows(values.double().T, reach).movedim(0, -1) for values in (face, plate))
    light = light - (base[..., None] * light).sum(1, keepdim=True) / base.sum(1).clamp_min(1e-30)[:, None, None]
    trust, fitted = base, seen
    for _ in range(ROUNDS):
        fitted = _explained(seen, light, offset, trust)
        apart = (seen - fitted).abs()
        usual = median(apart, base).clamp_min(1e-5)
        strange = (apart / (5 * usual[:, None])).amax(-1).clamp_max(1)
        trust = base * (1 - strange.square()).square()
    gain = (fitted - seen)[:, reach].clamp(-MOST, MOST)
    known = (weight > 0)[:, None] & (gain.abs().amax(1, keepdim=True) > HARDLY)
    return torch.where(known, gain, 0.0).to(face.dtype)


def _explained(seen: Tensor, light: Tensor, offset: Tensor, trust: Tensor) -> Tensor:
    """(F, W, C) what level, slope and the plate's light say of (F, W, C) log light, by weighted least squares."""
    time = (offset / offset[-1]).expand(seen.shape[:2])[..., None].expand_as(seen)
    causes = torch.stack([torch.ones_like(seen), time, light], -1)
    weighed = causes * trust[..., None, None]
    square = torch.einsum("fwci,fwcj->fcij", weighed, causes)
    # A slope, or a plate that hardly changes, must earn its say: frames that jump about would else be followed.
    total = trust.sum(1)[:, None, None]
    # Where nobody is seen for long there is nothing to explain, and still something to solve.
    slope = (0.0005 * total).clamp_min(1e-12)
    ridge = torch.stack([torch.full_like(total, 1e-9), slope, FAINT**2 * total + 1e-12], -1)
    answer = torch.linalg.solve(
        square + torch.diag_embed(ridge.expand(*square.shape[:2], 1, 3)[..., 0, :]),
        torch.einsum("fwci,fwc->fci", weighed, seen)[..., None],
    )[..., 0]
    return torch.einsum("fwci,fci->fwc", causes, answer)


def alike(picture: Image, other: Image, size: float) -> Matte:
    """(1, H, W) 1 where two (3, H, W) pictures agree but for detail finer than ``size`` pixels, 0 where they do not.

    An eye that opened or a mouth that moved is no flicker, and a mean of both would be a ghost.
    """
    known = torch.isfinite(picture).all(0, keepdim=True) & torch.isfinite(other).all(0, keepdim=True)
    here, there = (blur(torch.where(known, part, 0.0), max(size, 1.0) ** 2) for part in (picture, other))
    level = (here.abs() + there.abs()).mean(0, keepdim=True) / 2
    apart = (here - there).abs().mean(0, keepdim=True) / (level + 0.01)
    return torch.exp(-(apart / GHOST).square()) * known
