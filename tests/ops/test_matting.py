"""Closed-form matting and unmixing of colors, against dense systems and known compositions."""

import numpy as np
import pytest
import torch

from mien.ops.foreground import unmix
from mien.ops.matting import closed_form, laplacian, windows_of


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def dense_laplacian(guide: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """Levin, Lischinski, Weiss 2008, equation 12, entry by entry."""
    _, height, width = guide.shape
    index = np.arange(height * width).reshape(height, width)
    count = (2 * radius + 1) ** 2
    result = np.zeros((height * width,) * 2)
    for y in range(radius, height - radius):
        for x in range(radius, width - radius):
            where = index[y - radius : y + radius + 1, x - radius : x + radius + 1].ravel()
            colors = guide.reshape(3, -1)[:, where].T
            away = colors - colors.mean(0)
            inverse = np.linalg.inv(away.T @ away / count + epsilon / count * np.eye(3))
            result[np.ix_(where, where)] += np.eye(count) - (1 + away @ inverse @ away.T) / count
    return result


@pytest.mark.parametrize("radius", [1, 2])
def test_the_product_with_the_laplacian(radius: int) -> None:
    guide, values = noise(3, 11, 13).double(), noise(1, 11, 13, seed=1).double()
    dense = dense_laplacian(guide.numpy(), radius, 1e-4)
    found = laplacian(windows_of(guide, radius, 1e-4), values)
    assert np.abs(found.numpy().ravel() - dense @ values.numpy().ravel()).max() < 1e-9


def test_solves_the_dense_system() -> None:
    guide = noise(3, 12, 14)
    matte = (torch.arange(14) < 7).float().expand(1, 12, 14).clone()
    known = torch.ones(1, 12, 14, dtype=torch.bool)
    known[..., 3:11] = False
    held = np.diag(known.numpy().ravel() * 100.0)
    dense = dense_laplacian(guide.numpy().astype(np.float64), 1, 1e-4) + held
    truth = np.linalg.solve(dense, held @ matte.numpy().astype(np.float64).ravel()).reshape(1, 12, 14).clip(0, 1)
    found = closed_form(guide, matte, known, epsilon=1e-4)
    assert np.abs(found.numpy() - truth)[~known.numpy()].max() < 1e-3
    assert torch.equal(found[known], matte[known])


def strands(height: int = 48, width: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Hair: thin, partly transparent lines that stick out of a body; and its matte."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    body = (x < 20).float()
    hair = (0.8 * ((y % 8) < 2)) * (x < 44)
    matte = torch.maximum(body, hair.float())[None]
    front, back = torch.tensor([0.1, 0.06, 0.03])[:, None, None], torch.tensor([0.3, 0.5, 0.8])[:, None, None]
    return matte * front + (1 - matte) * back, matte


def test_finds_hair() -> None:
    picture, truth = strands()
    known = torch.ones_like(truth, dtype=torch.bool)
    known[..., 18:50] = False
    rough = (torch.arange(64) < 34).float().expand_as(truth)
    found = closed_form(picture, torch.where(known, truth, rough), known)
    assert (found - truth).abs().mean() < 0.03 < (rough - truth).abs().mean()
    assert (found - truth).abs()[~known].max() < 0.15


def test_nothing_unknown_changes_nothing() -> None:
    matte = noise(1, 8, 9)
    assert closed_form(noise(3, 8, 9), matte, torch.ones_like(matte, dtype=torch.bool)) is matte
    with pytest.raises(ValueError, match="do not fit"):
        closed_form(noise(3, 8, 9), matte[..., 1:], matte > 2)


def test_unmixes_flat_colors() -> None:
    picture, matte = strands()
    front, back = unmix(picture, matte, 12)
    soft = ((matte > 0.01) & (matte < 0.99)).expand(3, -1, -1)
    truth = torch.tensor([0.3, 0.5, 0.8])[:, None, None].expand_as(picture)
    assert (back - truth)[soft].abs().max() < 0.02 < (picture - truth)[soft].abs().max()
    assert torch.allclose((front * matte + back * (1 - matte))[soft], picture[soft], atol=1e-5)
    assert torch.equal(front[:, matte[0] == 1], picture[:, matte[0] == 1])
    assert torch.equal(back[:, matte[0] == 0], picture[:, matte[0] == 0])


def test_unmixing_follows_shading_and_keeps_light_above_one() -> None:
    x = torch.arange(80.0).expand(3, 40, 80)
    skin = 0.2 + x / 80 * 4
    hand = torch.full_like(skin, 9.0)
    matte = ((x[:1] - 30) / 12).clamp(0, 1)
    mixed = matte * hand + (1 - matte) * skin
    _, back = unmix(mixed, matte, 10)
    soft = ((matte > 0) & (matte < 0.7)).expand_as(back)
    assert (back - skin)[soft].abs().max() < 0.35
    assert (back - skin)[soft].abs().mean() < 0.1 * (mixed - skin)[soft].abs().mean()


def test_unmixing_survives_garbage() -> None:
    image = noise(3, 20, 30)
    image[:, 4, 5], image[:, 8, 9], image[0, 3, 3] = float("nan"), float("inf"), -4.0
    empty = torch.zeros(1, 20, 30)
    for matte in (noise(1, 20, 30), empty, empty + 1, empty + float("nan")):
        front, back = unmix(image, matte, 4)
        sound = image.isfinite().all(0)
        assert front[:, sound].isfinite().all() and back[:, sound].isfinite().all()
