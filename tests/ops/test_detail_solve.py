"""What a plate's detail is measured as, and what a shot is solved to."""

from dataclasses import replace

import pytest
import torch
from made_pictures import oval, portrait

from mien.ops import detail as details
from mien.ops import grain as grains
from mien.ops.motion_blur import streak
from mien.ops.sharpness import blur
from mien.types import DetailSample, Grain, Series

FILM = Grain(
    1.0,
    ((1e-5, 2e-4, 0.0),) * 3,
    ((0.0, 4.0),) * 3,
    ((0.3, 0.05, 0.0),) * 3,
    ((0.3, 0.05, 0.0),) * 3,
    ((1.0, 0.6, 0.5), (0.6, 1.0, 0.6), (0.5, 0.6, 1.0)),
)
SIZE = (240, 240)
WIDTH = 125.0


def grainy(picture: torch.Tensor, film: Grain = FILM, frame: int = 5) -> torch.Tensor:
    return grains.lay(picture, torch.ones_like(picture[:1]), film, torch.ones(3, 1, 1), (0, 0), frame)


def measured(face: torch.Tensor, plate: torch.Tensor, motion: tuple[float, float] = (0.0, 0.0)) -> DetailSample:
    return details.measure(face, plate, plate, oval(), motion, WIDTH)


@pytest.mark.parametrize("strength", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("variance", [0.5, 2.0, 6.0])
def test_a_known_blur_is_found_under_grain(strength: float, variance: float) -> None:
    film = replace(FILM, variance=tuple(tuple(strength * v for v in row) for row in FILM.variance))
    plate = blur(portrait(), variance)
    found = measured(portrait(), grainy(plate, film) if strength else plate)
    assert found.blur == pytest.approx(variance, abs=0.1 + 0.08 * variance)


def test_a_face_softer_than_the_plate_is_to_be_sharpened() -> None:
    found = measured(blur(portrait(), 1.0), grainy(portrait()))
    assert found.blur == pytest.approx(-1.0, abs=0.25)


def test_color_that_a_codec_softened_is_told_from_brightness() -> None:
    plate = portrait()
    soft = details.match_blur(plate, 0.0, 4.0)
    found = measured(portrait(), soft)
    assert found.blur == pytest.approx(0.0, abs=0.15)
    assert found.color_blur == pytest.approx(4.0, rel=0.3)


@pytest.mark.parametrize("length", [6.0, 12.0, 20.0])
def test_a_known_smear_is_found(length: float) -> None:
    motion = torch.tensor([0.6, 0.8]).view(2, 1, 1).expand(2, *SIZE) * length
    plate, _ = streak(portrait(), torch.ones(1, *SIZE), motion)
    found = measured(portrait(), grainy(plate), (1.2 * length, 1.6 * length))
    assert found.streak == pytest.approx(length, rel=0.25)
    assert found.speed == pytest.approx(2 * length)


@pytest.mark.parametrize("motion", [(12.0, 0.0), (0.0, 12.0), (8.0, 8.0), (3.0, 2.0)])
def test_a_sharp_plate_is_not_smeared_because_edges_of_the_face_run_another_way(motion: tuple[float, float]) -> None:
    face = portrait()
    turned = face[:, 25:145, 62:182].rot90(1, (-2, -1))
    other = torch.nn.functional.pad(turned, (62, 58, 25, 95), value=0.3)
    for here, there in ((face, other), (other, face)):
        assert details.open_share([measured(here, there, motion)] * 5) == 0


def test_a_smear_longer_than_the_motion_is_none() -> None:
    motion = torch.tensor([1.0, 0.0]).view(2, 1, 1).expand(2, *SIZE) * 14
    plate, _ = streak(portrait(), torch.ones(1, *SIZE), motion)
    assert measured(portrait(), plate, (28.0, 0.0)).streak == pytest.approx(14, rel=0.25)
    assert measured(portrait(), plate, (6.0, 0.0)).streak == 0


def test_wrinkles_are_not_taken_for_sharpness() -> None:
    """A face with creases that the plate's lacks is softened no further than by half a square pixel."""
    y, x = torch.meshgrid(torch.arange(240.0), torch.arange(240.0), indexing="ij")
    creases = torch.zeros(240, 240)
    for row in range(30, 150, 9):
        creases = creases + torch.exp(-((y - row - 3 * torch.sin(x / 9 + row)).square()) / 1.5)
    assert measured(portrait() * (1 - 0.25 * creases), portrait()).blur < 0.5


def test_an_empty_matte_and_odd_light_measure_nothing_wrong() -> None:
    face = portrait()
    nothing = details.measure(face, face, face, oval() * 0, (0.0, 0.0), WIDTH)
    assert nothing == replace(details.NOTHING, face_width=WIDTH)
    odd = grainy(blur(face, 2.0))
    odd[0, 80:82, 120:123] = torch.inf
    odd[1, 70, 110:114] = torch.nan
    assert measured(face, odd).blur == pytest.approx(2.0, abs=0.5)


def shot(samples: list[DetailSample | None]) -> Series[DetailSample]:
    return Series(1001, tuple(samples))


def sample(blur_: float = 1.0, **changes: object) -> DetailSample:
    plain = DetailSample(5000.0, 200.0, blur_, blur_, 0.0, 1.0, replace(FILM, weight=50.0), (0.2, 0.2, 0.2))
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_a_shot_is_steady_through_outliers_and_gaps() -> None:
    samples: list[DetailSample | None] = [sample(1.0 + 0.2 * (-1) ** n) for n in range(40)]
    samples[11] = sample(30.0)
    samples[20] = None
    samples[25] = replace(details.NOTHING, face_width=200.0)
    solved = details.solve(shot(samples), 6.0).values
    assert solved[20] is None
    blurs = [detail.blur for detail in solved if detail is not None]
    assert min(blurs) > 0.85 and max(blurs) < 1.15
    assert all(d is None or d.missing == pytest.approx((0.8,) * 3) for d in solved)
    assert solved[25] is not None and solved[25].grain.variance[0] == pytest.approx(FILM.variance[0], rel=1e-3)


def test_sizes_follow_the_face() -> None:
    samples = [sample(4.0 * (200 + 5 * n) ** 2 / 200**2, face_width=200.0 + 5 * n) for n in range(20)]
    solved = details.solve(shot(list(samples)), 5.0).values
    for detail, one in zip(solved, samples):
        assert detail is not None and detail.blur == pytest.approx(one.blur, rel=0.02)


def test_the_shutter_is_read_off_the_fast_frames() -> None:
    slow = [sample(streak=0.0, speed=1.0)] * 20
    fast = [sample(streak=4.0 + 0.4 * n, speed=8.0 + 0.8 * n) for n in range(10)]
    solved = details.solve(shot([*slow, *fast]), 4.0).values
    assert all(d is not None and d.shutter == pytest.approx(0.5) for d in solved)
    crisp = [replace(one, streak=0.1) for one in fast]
    solved = details.solve(shot([*slow, *crisp]), 4.0).values
    assert solved[0] is not None and solved[0].shutter < 0.05
    unsure = details.solve(shot(slow), 4.0).values
    assert unsure[0] is not None and unsure[0].shutter == 0, "what cannot be told is not smeared"


def test_a_shutter_is_told_only_where_most_fast_frames_show_it() -> None:
    still = [sample(streak=0.0, speed=10.0)] * 6
    assert details.open_share([*still, *[sample(streak=6.0, speed=12.0)] * 4]) == 0
    assert details.open_share([sample(streak=1.2, speed=8.0)] * 10) == 0, "edges of other directions, no smear"
    assert details.open_share([*[sample(streak=5.0, speed=10.0)] * 8, *still[:1]]) == pytest.approx(0.5)


def test_a_shot_without_a_measurement_is_left_alone() -> None:
    solved = details.solve(shot([None, details.NOTHING]), 4.0).values
    assert solved == (None, details.UNMATCHED)


def test_matching_nothing_is_the_face_itself() -> None:
    face = portrait()
    assert details.match_blur(face, 0.0, 0.0) is face
    assert details.match_blur(face, -0.01, -3.0) is face
    assert details.unchanged(0.0, 0.0) and not details.unchanged(0.0, 1.0)


def test_a_matched_face_measures_like_the_plate() -> None:
    plate = grainy(blur(portrait(), 3.0))
    found = measured(portrait(), plate)
    matched = details.match_blur(portrait(), found.blur, found.color_blur)
    again = measured(matched, plate)
    assert abs(again.blur) < 0.2 and abs(again.color_blur) < 0.5
