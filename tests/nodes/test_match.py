"""Matching nodes, over a shot."""

import math
from dataclasses import replace

import numpy
import pytest
import torch

from mien.nodes.match import grade_face, match_color, measure_color
from mien.ops.grade import IDENTITY, apply
from mien.ops.match import SOLVERS
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


def person(seed: int, tint: tuple[float, float, float], beard: float) -> torch.Tensor:
    """(3, 160, 140) skin as real faces have it: light from one side, red cheeks, a darker chin, shine, grain."""
    down, across = torch.meshgrid(torch.linspace(-1, 1, 160), torch.linspace(-1, 1, 140), indexing="ij")
    cheeks = torch.exp(-((across.abs() - 0.45) ** 2 + (down - 0.1) ** 2) / 0.04)
    chin = (beard * torch.sigmoid((down - 0.35) * 14))[None]
    shine = torch.exp(-(across**2 + (down + 0.45) ** 2) / 0.006)
    color = torch.tensor(tint)[:, None, None] * (1 + torch.tensor([0.25, -0.1, -0.1])[:, None, None] * cheeks)
    lit = color * 2 ** (0.6 * across) * (1 - chin) + 3.0 * shine
    return lit * (1 + 0.03 * torch.randn(lit.shape, generator=torch.Generator().manual_seed(seed)))


WHO = Face(points_at(70.0, 80.0, 100.0), torch.ones(468), 1.0, 100.0)
CUTS = {
    "all": (slice(0, 160), slice(0, 140)),
    "half": (slice(0, 160), slice(0, 70)),
    "chin": (slice(95, 160), slice(0, 140)),
    "quarter": (slice(0, 80), slice(70, 140)),
}


def cut(name: str) -> torch.Tensor:
    matte = torch.zeros(1, 160, 140)
    matte[(slice(None), *CUTS[name])] = 1
    return matte


def numbers(grade: Grade) -> numpy.ndarray:
    return numpy.concatenate([numpy.ravel(grade.matrix), grade.offset])


def solve(layer: Layer, plate: torch.Tensor, method: str, **settings) -> Grade:
    sample = measure_color(layer, Plate(plate, (0, 0)), WHO, **settings)
    found = match_color(Series(1, (sample,)), method=method).at(1)  # type: ignore[arg-type]
    assert found is not None
    return found


def measure_mkl(layer: Layer, plate: Plate, who: Face) -> Grade:
    found = match_color(Series(1, (measure_color(layer, plate, who),)), method="mkl").at(1)
    assert found is not None
    return found


@pytest.mark.parametrize("space", ["linear", "log", "perceptual"])
@pytest.mark.parametrize("method", SOLVERS)
def test_work_on_the_matte_does_not_change_the_color(method: str, space: str) -> None:
    face, plate = person(1, (0.5, 0.35, 0.25), 0.0), person(2, (0.3, 0.24, 0.2), 0.0)
    network = torch.ones(1, 160, 140)
    found = [
        solve(Layer(face, cut(name), (0, 0), 100.0, {"network": network}), plate, method, space=space) for name in CUTS
    ]
    assert all(one == found[0] for one in found[1:]) and found[0] != IDENTITY


def test_how_far_a_region_reaches_does_not_change_the_color() -> None:
    """What any setting reaches makes the region larger; a face is measured in the same squares all the same."""
    pictures = [
        torch.nn.functional.interpolate(person(n, tint, 0.3)[None], scale_factor=5.0, mode="bilinear")[0]
        for n, tint in ((1, (0.5, 0.35, 0.25)), (2, (0.3, 0.24, 0.2)))
    ]
    who = Face(WHO.points * 5, WHO.weight, 1.0, 500.0)
    found = []
    for x, y in ((0, 0), (1, 6), (5, 3), (11, 2)):
        face, plate = (picture[:, y:, x:] for picture in pictures)
        layer = Layer(face, torch.ones(1, *face.shape[-2:]), (x, y), 500.0)
        found.append(numbers(measure_mkl(layer, Plate(plate, (x, y)), who)))
    for one in found[1:]:
        assert numpy.allclose(one, found[0], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("space", ["linear", "log"])
@pytest.mark.parametrize("method", ["tone", "mean", "reinhard", "lct", "mkl"])
def test_a_patch_is_matched_as_the_whole_face_would_be(method: str, space: str) -> None:
    # The plate is the same face in another light: that move is the truth wherever it is measured.
    face = person(1, (0.5, 0.35, 0.25), 0.5)
    light = torch.tensor([1.4, 0.8, 0.6])[:, None, None]
    plate = face * light * (1 + 0.02 * torch.randn(face.shape, generator=torch.Generator().manual_seed(9)))
    layers = [Layer(face, cut(name), (0, 0), 100.0) for name in CUTS]
    found = [solve(layer, plate, method, region="matte", space=space) for layer in layers]
    moved = [apply(face, one).mean((1, 2)) for one in found]
    for one in moved:
        assert torch.allclose(one, moved[0], rtol=0.005)
        assert torch.allclose(one, (face * light).mean((1, 2)), rtol=0.01)


def test_a_hand_in_front_does_not_count() -> None:
    face, plate = person(1, (0.5, 0.35, 0.25), 0.0), person(2, (0.3, 0.24, 0.2), 0.0)
    held = cut("chin")
    behind = torch.where(held > 0, torch.tensor([0.02, 0.3, 0.9])[:, None, None], plate)
    layer = Layer(face, cut("all"), (0, 0), 100.0, {"hold_out": held})
    clean = solve(layer, plate, "mkl", outliers=0.0)
    assert numpy.allclose(numbers(solve(layer, behind, "mkl", outliers=0.0)), numbers(clean), rtol=1e-6)
    seen = solve(replace(layer, mattes={}), behind, "mkl", outliers=0.0)
    assert numpy.abs(numbers(seen) - numbers(clean)).max() > 0.05


@pytest.mark.parametrize("method", ["mean", "tone"])
def test_a_beard_hardly_counts(method: str) -> None:
    face, shaved, bearded = (person(n, (0.5, 0.35, 0.25), beard) for n, beard in ((1, 0.0), (2, 0.0), (3, 0.85)))
    layer = Layer(face, cut("all"), (0, 0), 100.0)
    skin = torch.tensor([0.5, 0.35, 0.25])[:, None, None]
    truth = apply(skin, solve(layer, shaved, method))
    robust, plain = (
        float((apply(skin, solve(layer, bearded, method, outliers=strength)) / truth - 1).abs().max())
        for strength in (1.0, 0.0)
    )
    assert robust < 0.1 and plain > 0.25


def test_shine_does_not_count() -> None:
    face, plate = person(1, (0.5, 0.35, 0.25), 0.0), person(2, (0.5, 0.35, 0.25), 0.0)
    plate[:, 60:75, 60:80] += 30.0
    found = solve(Layer(face, cut("all"), (0, 0), 100.0), plate, "mean")
    assert numpy.allclose(numpy.diagonal(found.matrix), 1.0, atol=0.03)


@pytest.mark.parametrize("method", SOLVERS)
def test_grain_is_no_contrast(method: str) -> None:
    sized = Face(WHO.points * 4, WHO.weight, 1.0, 400.0)
    soft = torch.nn.functional.interpolate(person(1, (0.5, 0.35, 0.25), 0.0)[None], scale_factor=4.0)[0]
    grainy = soft * (1 + 0.1 * torch.randn(soft.shape, generator=torch.Generator().manual_seed(5)))
    layer = Layer(soft, torch.ones(1, 640, 560), (0, 0), 400.0)
    sample = measure_color(layer, Plate(grainy, (0, 0)), sized)
    found = match_color(Series(1, (sample,)), method=method).at(1)  # type: ignore[arg-type]
    color = torch.tensor([0.45, 0.3, 0.22])[:, None, None]
    assert found is not None and torch.allclose(apply(color, found), color, rtol=0.02)


def test_a_proxy_measures_what_the_final_does() -> None:
    face, plate = (
        torch.nn.functional.interpolate(person(n, tint, 0.3)[None], scale_factor=6.0, mode="bilinear")[0]
        for n, tint in ((1, (0.5, 0.35, 0.25)), (2, (0.3, 0.24, 0.2)))
    )
    pairs = []
    for factor in (1, 2):
        small = [torch.nn.functional.avg_pool2d(one, factor) for one in (face, plate)]
        scale = 6.0 / factor
        who = Face(WHO.points * scale, WHO.weight, 1.0, 100 * scale)
        layer = Layer(small[0], torch.ones(1, *small[0].shape[-2:]), (0, 0), 100 * scale)
        sample = measure_color(layer, Plate(small[1], (0, 0)), who)
        pairs.append(numbers(match_color(Series(1, (sample,)), method="mkl").at(1)))  # type: ignore[arg-type]
    assert numpy.allclose(*pairs, rtol=0.01, atol=0.01)


def test_black_spectacles_stay_black_before_a_smooth_face() -> None:
    """A wrinkled face with dark rims has more contrast than a smooth one in the same light; that is no light."""
    matte = torch.ones(1, 48, 40)
    face, plate = noise(1), noise(2, 0.5).mul(0.1).add(0.45)
    face[:, 10:14] = 0.0
    sample = measured(Layer(face, matte, (0, 0), 40.0), Plate(plate, (0, 0)))
    solved = match_color(Series(1, (sample,)), smooth=0.0).values[0]
    toned = match_color(Series(1, (sample,)), method="tone", smooth=0.0).values[0]
    assert solved is not None and toned is not None
    assert bool((apply(face, solved)[:, 10:14] == 0).all())
    assert float(apply(face, toned)[:, 10:14].amax()) <= 0.16 * float(plate.mean())
