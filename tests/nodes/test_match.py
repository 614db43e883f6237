"""Matching nodes, over a shot."""

import math

import numpy
import pytest
import torch

from mien.nodes.match import grade_face, match_color, measure_color
from mien.ops.grade import IDENTITY
from mien.types import ColorSample, Face, Grade, Layer, Plate, Series
from shots import points_at


def noise(seed: int, level: float = 0.3) -> torch.Tensor:
    return level * (1 + 0.2 * torch.randn(3, 48, 40, generator=torch.Generator().manual_seed(seed)))


def disc(x: float = 20.0, y: float = 24.0, radius: float = 15.0) -> torch.Tensor:
    down, across = torch.meshgrid(torch.arange(48) + 0.5, torch.arange(40) + 0.5, indexing="ij")
    return (radius + 0.5 - torch.hypot(across - x, down - y)).clamp(0, 1)[None]


FACE = Face(points_at(20.0, 24.0, 30.0), torch.ones(468), 1.0, 30.0)


def measured(layer: Layer, plate: Plate, **settings) -> ColorSample:
    return measure_color(layer, plate, FACE, **{"region": "matte", "trim": 0.0, "outliers": 0.0, **settings})


def shot(exposures: list[float | None], wobble: float = 0.0) -> Series[ColorSample]:
    values: list[ColorSample | None] = []
    for frame, exposure in enumerate(exposures):
        if exposure is None:
            values.append(None)
            continue
        matte = disc(20 + wobble * math.sin(frame * 2.1), 24 + wobble * math.cos(frame * 1.7))
        layer = Layer(noise(1), matte, (5, 7), 40.0)
        values.append(measured(layer, Plate(noise(2, exposure), (5, 7))))
    return Series(1001, tuple(values))


def gains(grades: Series[Grade]) -> numpy.ndarray:
    return numpy.array([math.nan if g is None else g.matrix[1][1] for g in grades.values])


def test_regions_need_not_agree() -> None:
    face, plate, matte = noise(1), noise(2), disc()
    whole = measured(Layer(face, matte, (0, 0), 40.0), Plate(plate, (0, 0)))
    part = measured(Layer(face, matte, (0, 0), 40.0), Plate(plate[:, 4:, 3:], (3, 4)))
    assert whole == part
    apart = measured(Layer(face, matte, (0, 0), 40.0), Plate(plate, (100, 0)))
    assert apart.weight == 0


@pytest.mark.parametrize("method", ["mean", "reinhard", "mkl"])
def test_every_frame_gets_a_grade(method: str) -> None:
    samples = shot([None, 0.5, 0.5, None, None, 0.5, None])
    grades = match_color(samples, method=method, smooth=4.0)  # type: ignore[arg-type]
    assert grades.first == 1001 and len(grades.values) == 7
    assert gains(grades).std() < 0.05 * gains(grades).mean()
    assert all(numpy.isfinite(g.matrix).all() for g in grades.values if g is not None)


def test_none_and_nothing_leave_the_face_alone() -> None:
    assert match_color(shot([0.5, 0.9]), method="none").values == (IDENTITY, IDENTITY)
    assert match_color(Series(3, (None, None)), method="mkl").values == (IDENTITY, IDENTITY)


def test_a_wobbling_matte_does_not_pump() -> None:
    samples = shot([0.5] * 60, wobble=2.0)
    rough = gains(match_color(samples, smooth=0.0))
    steady = gains(match_color(samples, smooth=8.0))
    assert numpy.abs(numpy.diff(steady)).max() < 0.25 * numpy.abs(numpy.diff(rough)).max()
    assert steady.mean() == pytest.approx(rough.mean(), rel=0.01)


def test_a_camera_ride_is_followed() -> None:
    exposures: list[float | None] = [0.2 * 2 ** (n / 30) for n in range(60)]
    found = gains(match_color(shot(exposures), method="mean", smooth=8.0))
    assert numpy.abs(found / (numpy.array(exposures, float) / 0.2) / (found[0]) - 1).max() < 0.02


def test_grade_face() -> None:
    layer = Layer(noise(1), disc(), (5, 7), 40.0)
    assert torch.equal(grade_face(layer, IDENTITY).image, layer.image)
    move = Grade(((2.0, 0.1, 0.0), (0.0, 1.5, 0.0), (0.0, 0.0, 0.5)), (0.01, 0.0, -0.02))
    graded = grade_face(layer, move)
    assert torch.equal(grade_face(layer, move, amount=0.0).image, layer.image)
    half = grade_face(layer, move, amount=0.5).image
    assert torch.allclose(half, (layer.image + graded.image) / 2, atol=1e-6)
    assert torch.equal(graded.matte, layer.matte) and graded.corner == layer.corner


def test_matched_faces_have_the_plates_color() -> None:
    layer, plate = Layer(noise(1), disc(), (5, 7), 40.0), Plate(noise(2, 0.9), (5, 7))
    sample = measured(layer, plate)
    grades = match_color(Series(1, (sample,)), method="mkl")
    grade = grades.at(1)
    assert grade is not None
    after = measured(grade_face(layer, grade), plate)
    assert numpy.allclose(after.face_mean, after.plate_mean, rtol=1e-4)
    assert numpy.allclose(after.face_covariance, after.plate_covariance, atol=2e-3)
