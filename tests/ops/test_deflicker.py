"""Flicker of a converted face: found where it has no cause, left where it has."""

import math

import pytest
import torch

from mien.nodes.detail import deflicker
from mien.ops.deflicker import flicker, log_light
from mien.ops.grade import IDENTITY, diagonal
from mien.ops.spaces import encode
from mien.types import ColorSample, Grade, Series

FRAMES = 80
TIME = torch.arange(FRAMES, dtype=torch.float64)[:, None]
ONE = torch.ones(FRAMES, dtype=torch.float64)


def noise(strength: float, seed: int = 0) -> torch.Tensor:
    return strength * torch.randn(FRAMES, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rough(line: torch.Tensor) -> float:
    """What changes from frame to frame."""
    return float(line.diff(dim=0).std())


def test_flicker_is_taken_out_and_slow_light_stays() -> None:
    lamp = 0.4 * torch.sin(TIME / 15).expand(FRAMES, 3)
    face = lamp + noise(0.05)
    steady = face + flicker(face, lamp * 0, ONE, 4.0)
    assert rough(steady) < 0.3 * rough(face)
    assert float((steady - lamp)[8:-8].abs().max()) < 0.08


def test_one_frame_that_is_off_is_brought_back_whole_and_leaves_its_neighbors_alone() -> None:
    face = (0.002 * TIME).expand(FRAMES, 3).clone()
    face[40] += 0.3
    gain = flicker(face, torch.zeros(FRAMES, 3), ONE, 4.0)
    assert torch.allclose(gain[40], torch.full((3,), -0.3, dtype=torch.float64), atol=0.01)
    gain[40] = 0
    assert float(gain.abs().max()) < 0.01


@pytest.mark.parametrize("follows", [1.0, 0.0])
def test_a_strobe_in_the_plate_is_no_flicker_where_the_face_follows_it_nor_where_it_does_not(follows: float) -> None:
    strobe = torch.where((TIME % 7) < 2, 0.5, 0.0).expand(FRAMES, 3)
    face = follows * strobe + noise(0.002)
    gain = flicker(face, strobe + noise(0.002, 1), ONE, 4.0)
    assert float(gain[6:-6].abs().max()) < 0.03


def test_flicker_beside_a_flash_is_still_told() -> None:
    flash = torch.where((TIME > 30) & (TIME < 36), 1.0, 0.0).expand(FRAMES, 3)
    face = flash + noise(0.04)
    steady = face + flicker(face, flash, ONE, 4.0)
    assert rough(steady - flash) < 0.4 * rough(face - flash)


def test_frames_without_a_face_neither_count_nor_change() -> None:
    weight = ONE.clone()
    weight[20:30] = 0
    face = noise(0.05)
    spoiled = torch.where(weight[:, None] > 0, face, torch.tensor(-14.0, dtype=torch.float64))
    gain = flicker(spoiled, torch.zeros(FRAMES, 3), weight, 4.0)
    assert bool((gain[20:30] == 0).all())
    assert rough((face + gain)[:20]) < 0.4 * rough(face[:20])


def test_a_face_that_is_gone_for_longer_than_one_looks_changes_nothing_elsewhere() -> None:
    face, lamp = noise(0.05, 3), noise(0.01, 4)
    weight = ONE.clone()
    weight[30:] = 0
    gone = torch.cat([face, torch.zeros(80, 3)]), torch.cat([lamp, torch.zeros(80, 3)])
    gain = flicker(*gone, torch.cat([weight, torch.zeros(80)]), 4.0)
    assert torch.equal(gain[: len(face)], flicker(face, lamp, weight, 4.0))
    assert bool(gain[:30].any()) and not bool(gain[30:].any())


def test_a_steady_face_and_a_short_one_are_left_alone() -> None:
    line = (0.01 * TIME).expand(FRAMES, 3)
    assert not bool(flicker(line, line * 0, ONE, 4.0).any())
    assert not bool(flicker(noise(0.1), line, ONE, 0.0).any())
    assert not bool(flicker(line[:2], line[:2], ONE[:2], 4.0).any())
    with pytest.raises(ValueError, match="same frames"):
        flicker(line, line[1:], ONE, 4.0)


def test_no_gain_is_more_than_a_stop() -> None:
    face = torch.zeros(FRAMES, 3, dtype=torch.float64)
    face[30] = -12
    assert float(flicker(face, face * 0, ONE, 4.0).max()) == pytest.approx(math.log(2))


def sample(face: float, plate: float, weight: float = 900.0, space: str = "linear") -> ColorSample:
    return ColorSample(weight, (face,) * 3, (plate,) * 3, ((0.0,) * 3,) * 3, ((0.0,) * 3,) * 3, space)


def test_what_the_match_has_leveled_is_not_taken_out_twice() -> None:
    values = [0.3 * (1 + 0.2 * (-1) ** n) for n in range(30)]
    samples = Series(1, tuple(sample(value, 0.4) for value in values))
    leveled = Series(1, tuple(diagonal([0.4 / value] * 3, [0.0] * 3) for value in values))
    assert all(grade == IDENTITY for grade in deflicker(samples, leveled, frames=4.0).values)
    plain: Series[Grade] = Series(1, (IDENTITY,) * 30)
    gains = [grade.matrix[0][0] for grade in deflicker(samples, plain, frames=4.0).values if grade is not None]
    after = [gain * value for gain, value in zip(gains, values)]
    assert max(after[5:-5]) / min(after[5:-5]) < 1.06
    half = [grade.matrix[0][0] for grade in deflicker(samples, plain, frames=4.0, amount=0.5).values if grade]
    assert half == pytest.approx([math.sqrt(gain) for gain in gains])
    assert all(grade == IDENTITY for grade in deflicker(samples, plain, amount=0.0).values)


def test_frames_without_a_measurement_have_none() -> None:
    samples = Series(1, (None, sample(0.3, 0.4), sample(0.0, 0.0, weight=0.0), sample(0.4, 0.4)))
    solved = deflicker(samples, Series(1, (None, IDENTITY, IDENTITY, IDENTITY)))
    assert solved.values[0] is None and solved.values[2] == IDENTITY


@pytest.mark.parametrize("space", ["linear", "log", "perceptual"])
def test_light_is_the_same_in_every_space(space: str) -> None:
    colors = torch.tensor([[0.5, 0.3, 0.2], [0.4, 0.35, 0.3]], dtype=torch.float64)[..., None]
    means = encode(colors, space)[..., 0].tolist()
    one = ColorSample(9.0, tuple(means[0]), tuple(means[1]), ((0.0,) * 3,) * 3, ((0.0,) * 3,) * 3, space)
    assert torch.allclose(log_light(one, IDENTITY), colors[..., 0].log(), atol=1e-5)
    double = diagonal([2.0] * 3, [0.0] * 3)
    assert torch.allclose(log_light(one, double)[0], (2 * colors[0, :, 0]).log(), atol=1e-5)
