"""Tiles that leave no seam, and light that networks can hold."""

import pytest
import torch

from mien.ops.shaper import from_log, to_log
from mien.ops.tiles import tiled


def noise(height, width, seed=0):
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [(5, 7), (16, 16), (40, 33), (100, 17), (64, 65)])
def test_a_function_of_single_pixels_comes_out_as_in_the_whole(size):
    image = noise(*size)
    assert torch.allclose(tiled(lambda tile: tile * 2 - 1, image, 16, 6, 4), image * 2 - 1, atol=1e-6)


def test_one_tile_is_given_whole_and_padded():
    sizes = []

    def note(tile):
        sizes.append(tuple(tile.shape[-2:]))
        return tile[:, :1]

    image = noise(30, 13)
    assert torch.equal(tiled(note, image, 32, 8, 8), image[:, :1]) and sizes == [(32, 16)]


def test_tiles_that_disagree_fade_into_each_other():
    count = iter(range(100))
    image = torch.zeros(1, 1, 16, 200)
    steps = tiled(lambda tile: torch.full_like(tile, float(next(count))), image, 64, 32, 16).diff(dim=-1).abs()
    assert 0.03 < float(steps.max()) < 0.12, "a step of 1 is spread over 32 pixels"


def test_a_picture_alone_and_in_a_batch():
    image = noise(50, 40)

    def blur(tile):
        return torch.nn.functional.avg_pool2d(tile, 3, 1, 1)

    together = tiled(blur, image, 32, 8, 8)
    assert torch.allclose(tiled(blur, image[0], 32, 8, 8), together[0], atol=1e-6)


def test_tiles_given_at_once_come_out_as_one_by_one():
    image, sizes = noise(90, 70), []

    def blur(tiles):
        sizes.append(len(tiles))
        return torch.nn.functional.avg_pool2d(tiles, 3, 1, 1)

    alone = tiled(blur, image, 32, 8, 8)
    count = len(sizes)
    assert set(sizes) == {2}
    for batch in (2, 3, 100):
        sizes.clear()
        assert torch.allclose(tiled(blur, image, 32, 8, 8, batch), alone, atol=1e-6)
        assert len(sizes) == -(-count // batch) and sum(sizes) == 2 * count
    with pytest.raises(ValueError, match="at once"):
        tiled(blur, image, 32, 8, 8, 0)


def test_impossible_tiles_are_refused():
    with pytest.raises(ValueError, match="overlap"):
        tiled(lambda tile: tile, noise(8, 8), 16, 16)


def test_all_light_comes_back():
    light = torch.tensor([-100.0, -0.01, 0.0, 1e-4, 0.0078125, 0.18, 1.0, 16.0, 60000.0])
    assert torch.allclose(from_log(to_log(light)), light, rtol=2e-4, atol=1e-6)
    encoded = torch.linspace(-1, 2, 301)
    assert bool((from_log(encoded).diff() > 0).all()) and torch.isfinite(from_log(encoded)).all()


def test_the_curve_is_the_published_one():
    """S-2016-001: 18 % gray at 0.4135884, 0 at 0.0729."""
    assert float(to_log(torch.tensor(0.18))) == pytest.approx(0.4135884, abs=1e-6)
    assert float(to_log(torch.tensor(0.0))) == pytest.approx(0.0729055, abs=1e-6)
