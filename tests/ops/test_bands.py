"""Work in bands of rows: nothing is left out, and no result depends on how many rows or threads there are."""

import math
from collections.abc import Callable, Iterator

import pytest
import torch

from mien.models.lay_back import laid_back
from mien.ops import edge as edges
from mien.ops import grain, motion_blur, sharpness
from mien.ops.bands import PIXELS, bands, shown
from mien.ops.warp import warp
from mien.types import Grain, Plate

HEIGHT, WIDTH = 301, 333
FILM = Grain(
    40.0,
    ((1e-5, 3e-4, 0.0),) * 3,
    ((0.0, 4.0),) * 3,
    ((0.35, 0.05, 0.0),) * 3,
    ((0.35, 0.05, 0.0),) * 3,
    ((1.0, 0.6, 0.5), (0.6, 1.0, 0.6), (0.5, 0.6, 1.0)),
)


def picture() -> torch.Tensor:
    return torch.rand(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1)) * 2 - 0.1


def disc(radius: float = 110.0) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(float(HEIGHT)), torch.arange(float(WIDTH)), indexing="ij")
    return ((radius - torch.hypot(x - 160, y - 150)) / 8).clamp(0, 1)[None]


def smeared() -> torch.Tensor:
    motion = torch.stack([torch.linspace(2, 14, WIDTH).expand(HEIGHT, WIDTH), torch.full((HEIGHT, WIDTH), -3.0)])
    return torch.cat(motion_blur.streak(picture(), disc(), motion))


def crop_on_a_plate() -> torch.Tensor:
    cosine, sine = 0.3 * math.cos(0.4), 0.3 * math.sin(0.4)
    matrix = torch.tensor([[cosine, sine, -20.0], [-sine, cosine, 40.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    drawn, shown = picture()[:, :120, :120].contiguous(), torch.zeros(1, 120, 120)
    shown[:, 30:100, 20:70] = 1
    layer = laid_back(drawn, shown, matrix, Plate(picture() + 5, (7, 9)), 100.0)
    return torch.cat([layer.image, layer.matte])


WORKS: dict[str, Callable[[], torch.Tensor]] = {
    "blur": lambda: sharpness.blur(picture(), 2.3),
    "grain": lambda: grain.lay(picture(), disc(), FILM, torch.full((3, 1, 1), 0.7), (-40, 11), 5),
    "smear": smeared,
    "resampled": lambda: warp(
        picture(), torch.tensor([[2.1, 0.3, 4.0], [-0.3, 2.1, 9.0], [0.0, 0.0, 1.0]]), (450, 520)
    ),
    "crop": crop_on_a_plate,
}


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("share", [0.5, 1, 3])
def test_every_row_is_in_one_band(share: float) -> None:
    tall = torch.zeros(3, 1000, PIXELS // 20)
    rows = [row for band in bands(tall, share) for row in range(band.start, band.stop)]
    assert rows == list(range(1000))
    assert list(bands(torch.zeros(1, 0, 5))) == []


def test_columns_that_are_shown_and_those_shown_wholly() -> None:
    matte = torch.zeros(60, 100)
    matte[10:50, 20:80] = 0.5
    matte[10:50, 30:70] = 1.0
    rows = [slice(0, 5), slice(15, 30), slice(45, 60)]
    assert shown(matte, rows) == [
        (slice(0, 0), slice(0, 0)),
        (slice(20, 80), slice(30, 70)),
        (slice(20, 80), slice(20, 20)),
    ]
    assert shown(matte, rows[1:], 5) == [(slice(15, 85), slice(35, 65)), (slice(15, 85), slice(15, 15))]
    matte[20, 40] = torch.nan
    assert shown(matte, rows[1:2]) == [(slice(20, 80), slice(41, 70))]
    assert shown(matte, rows[1:2], whole=0.0) == [(slice(20, 80), slice(0, 100))]
    assert shown(matte, []) == []


@pytest.mark.parametrize("name", WORKS)
def test_threads_change_no_bit(name: str, threads: None) -> None:
    results = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        results.append(WORKS[name]())
    assert all(torch.equal(results[0], result) for result in results[1:])


def test_a_crop_laid_back_in_bands_is_all_there(monkeypatch: pytest.MonkeyPatch) -> None:
    in_bands = crop_on_a_plate()
    monkeypatch.setattr("mien.models.lay_back.BAND", 10_000)
    assert torch.allclose(in_bands, crop_on_a_plate(), atol=2e-4)
    assert 0.1 < float((in_bands[3] > 0).float().mean()) < 0.9


def test_a_wide_ramp_on_few_pixels_is_that_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    soft = edges.Softness(24.0, 20.0)
    y, x = torch.meshgrid(torch.arange(float(HEIGHT)), torch.arange(float(WIDTH)), indexing="ij")
    corner = torch.minimum(disc(), (y - 0.8 * x + 60).clamp(0, 1)[None])
    for matte, most in ((disc(), 2e-3), (corner, 0.03)):
        few = edges.edge(matte, -10.0, soft)
        with monkeypatch.context() as every:
            every.setattr(edges, "WIDE", 1e9)
            exact = edges.edge(matte, -10.0, soft)
        apart = (few - exact).abs()
        assert float(apart.max()) < most and float(apart.mean()) < 2e-4
        assert not torch.equal(few, exact)


def test_a_long_smear_in_two_steps_is_one_in_many(monkeypatch: pytest.MonkeyPatch) -> None:
    smooth = sharpness.blur(picture(), 4.0)
    motion = torch.tensor([18.0, 5.0]).view(2, 1, 1).expand(2, HEIGHT, WIDTH)
    two, _ = motion_blur.streak(smooth, disc(), motion)
    monkeypatch.setattr(motion_blur, "TOGETHER", 1000)
    many, _ = motion_blur.streak(smooth, disc(), motion)
    inside = (disc() > 0.99).expand_as(two)
    assert float((two - many)[inside].square().mean().sqrt()) < 0.05 * float(many[inside].std())
