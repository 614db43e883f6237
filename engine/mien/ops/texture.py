"""Texture: the plate's skin detail over a face that has too little of it."""

import torch

from mien.ops.sharpness import blur
from mien.types import Image, Matte

STRONGEST = 2.0
"""Largest factor by which texture brightens, and the reciprocal of the smallest."""


def carry_texture(face: Image, plate: Image, matte: Matte, size: float, amount: float) -> Image:
    """Lay what is finer than ``size`` pixels on the plate over a face, under a matte.

    Pictures are (3, H, W), scene-linear. Texture is a ratio of light to its own surroundings, so that it
    follows the face's light, whatever that is. Where face or plate are not finite, and with nothing to carry,
    the face stays bit for bit.
    """
    if face.shape != plate.shape or matte.shape[-2:] != face.shape[-2:]:
        shapes = ", ".join(str(tuple(t.shape)) for t in (face, plate, matte))
        raise ValueError(f"face, plate and matte must cover the same region, not {shapes}")
    if amount == 0 or size <= 0:
        return face
    broad = blur(plate, size * size)
    sound = torch.isfinite(plate) & torch.isfinite(broad) & torch.isfinite(face)
    ground = torch.where(sound, broad, 0.0).abs()
    level = ground.mean((-2, -1), keepdim=True).clamp_min(1e-6)
    # Near black a ratio is grain and nothing else.
    ratio = (torch.where(sound, plate, 0.0) - torch.where(sound, broad, 0.0)) / (ground + 0.02 * level) + 1
    ratio = ratio.clamp(1 / STRONGEST, STRONGEST)
    strength = amount * matte * sound
    return torch.where(strength > 0, face * (1 + strength * (ratio - 1)), face)
