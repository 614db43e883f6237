"""Made-up pictures to measure and match."""

import torch
from skimage import data

FULL = torch.ones(1, 64, 64)


def picture(seed: int, level: float = 0.3, size: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.eye(3) + 0.4 * torch.rand(3, 3, generator=generator)
    spread = torch.randn(3, size, size, generator=generator) * 0.1
    return level * (1 + torch.einsum("ij,jhw->ihw", mix, spread))


def portrait() -> torch.Tensor:
    """(3, 240, 240) a face in linear light."""
    picture = torch.from_numpy(data.astronaut()[20:260, 100:340].copy()).movedim(-1, 0).float()
    return (picture / 255) ** 2.2


def oval() -> torch.Tensor:
    """(1, 240, 240) where the face of ``portrait`` is."""
    y, x = torch.meshgrid(torch.arange(240) - 85.0, torch.arange(240) - 122.0, indexing="ij")
    return (((x / 48) ** 2 + (y / 62) ** 2) < 1).float()[None]


def moments(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    flat = image.flatten(1).double()
    return flat.mean(1), torch.cov(flat, correction=0)
