"""Made-up pictures to measure and match."""

import torch

FULL = torch.ones(1, 64, 64)


def picture(seed: int, level: float = 0.3, size: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.eye(3) + 0.4 * torch.rand(3, 3, generator=generator)
    spread = torch.randn(3, size, size, generator=generator) * 0.1
    return level * (1 + torch.einsum("ij,jhw->ihw", mix, spread))


def moments(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    flat = image.flatten(1).double()
    return flat.mean(1), torch.cov(flat, correction=0)
