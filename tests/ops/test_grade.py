"""Color moves on pictures: nothing is clipped, nothing is changed that should not be."""

import math
from dataclasses import replace

import numpy
import PyOpenColorIO as ocio
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_pictures import FULL, picture

from mien.ops import grade, match, measure, spaces
from mien.ops.grade import IDENTITY
from mien.types import SPACES, Grade


def test_apply_clips_nothing_and_identity_is_the_picture() -> None:
    image = torch.tensor([16.0, -0.05, math.inf, math.nan]).expand(3, 1, 4).clone()
    assert grade.apply(image, grade.IDENTITY) is image
    move = grade.mix(grade.IDENTITY, 0.3)
    assert torch.equal(grade.apply(image, move)[:, 0, :2], image[:, 0, :2])
    gain = replace(grade.IDENTITY, matrix=((2.0, 0.0, 0.0), (0.0, 2.0, 0.0), (0.0, 0.0, 2.0)), offset=(0.5,) * 3)
    assert torch.allclose(grade.apply(image, gain)[0, 0, :2], torch.tensor([32.5, 0.4]))
    stack = torch.stack([image, image * 2])
    assert torch.equal(grade.apply(stack, gain)[1, :, :, :2], grade.apply(stack[1], gain)[:, :, :2])


@settings(max_examples=30)
@given(amount=st.floats(0, 1))
def test_mix_runs_straight(amount: float) -> None:
    move = match.mkl(measure.measure(picture(1), picture(2, 0.8), FULL))
    image = picture(4)
    expected = image + amount * (grade.apply(image, move) - image)
    assert torch.allclose(grade.apply(image, grade.mix(move, amount)), expected, atol=1e-5)


TABLED = [
    Grade(IDENTITY.matrix, (0.0,) * 3, space, (0.1, 0.1, 0.1), (0.6, 0.6, 0.6), curves=((0.0, 0.05, 0.02),) * 3)
    for space in SPACES
] + [
    Grade(
        ((1.1, 0.1, 0.0), (0.0, 0.9, 0.0), (0.0, 0.2, 0.8)),
        (0.02, 0.0, -0.01),
        space,
        (0.0, -0.1, -0.1),
        (0.9, 0.2, 0.1),
        sizes=(3, 2, 2),
        cube=tuple(0.01 * (n % 7) for n in range(36)),
    )
    for space in SPACES
]


@pytest.mark.parametrize("move", TABLED)
def test_tables_go_on_beyond_their_box(move: Grade) -> None:
    # Far from the box the move is its matrix and offset and a constant: no plateau, nothing clipped.
    image = torch.tensor([[[-3.0, 16.0, 400.0]], [[-2.0, 12.0, 300.0]], [[-1.0, 30.0, 200.0]]])
    moved = spaces.encode(grade.apply(image, move).flatten(1), move.space)
    straight = Grade(move.matrix, move.offset, move.space)
    plain = grade.move(spaces.encode(image.flatten(1), move.space), straight)
    rest = (moved - plain).double()
    biggest = max((abs(v) for v in (*move.cube, *(v for c in move.curves for v in c))), default=0.0)
    assert float(rest.abs().max()) <= biggest * 1.05 + 1e-3
    assert torch.isfinite(moved).all()


@pytest.mark.parametrize("move", TABLED)
def test_batches_and_nonsense(move: Grade) -> None:
    stack = torch.stack([picture(1), picture(2, 0.9)])
    both = grade.apply(stack, move)
    assert torch.equal(both[1], grade.apply(stack[1], move))
    spoiled = stack[0].clone()
    spoiled[0, 0, 0], spoiled[1, 0, 1] = math.inf, math.nan
    found = grade.apply(spoiled, move)
    assert found[0, 0, 0] == math.inf and found[1, 0, 1].isnan()
    assert torch.equal(found[:, 1:], both[0][:, 1:])


@pytest.mark.parametrize("move", TABLED)
def test_parts_of_a_move_run_straight_in_its_space(move: Grade) -> None:
    colors = spaces.encode(picture(1).flatten(1).double(), move.space)
    whole, half = grade.move(colors, move), grade.move(colors, grade.mix(move, 0.5))
    assert torch.allclose(half, (colors + whole) / 2, atol=1e-9)
    image = picture(1)
    assert grade.apply(image, grade.mix(move, 0.0)) is image and grade.mix(move, 1.0) is move


@pytest.mark.parametrize("space", SPACES)
def test_a_move_of_nothing_is_the_picture_itself(space: str) -> None:
    image = picture(1)
    flat = ((0.0, 0.0),) * 3
    empty = Grade(IDENTITY.matrix, (0.0,) * 3, space, (0.0,) * 3, (1.0,) * 3, flat)
    assert grade.apply(image, replace(IDENTITY, space=space)) is image and grade.apply(image, empty) is image


def test_a_native_move_is_opencolorio_s_matrix() -> None:
    move = match.mkl(measure.measure(picture(1), picture(2, 0.8), FULL))
    assert grade.native(move) and not any(grade.native(one) for one in TABLED)
    rows = [value for row, end in zip(move.matrix, move.offset) for value in (*row, 0.0)] + [0.0, 0.0, 0.0, 1.0]
    transform = ocio.MatrixTransform(rows, [*move.offset, 0.0])
    pixels = picture(3).movedim(0, -1).contiguous().numpy().copy()
    ocio.Config.CreateRaw().getProcessor(transform).getDefaultCPUProcessor().applyRGB(pixels)
    assert numpy.allclose(grade.apply(picture(3), move).movedim(0, -1).numpy(), pixels, atol=1e-6)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("method", ["mean", "tone", "mkl", "luminance", "histogram", "transport"])
def test_protected_luminance_and_saturation_stay(method: str, space: str) -> None:
    face = picture(1, 0.3) * torch.tensor([1.3, 0.95, 0.7])[:, None, None]
    plate = picture(2, 0.7) * torch.tensor([1.5, 0.9, 0.35])[:, None, None]
    colors = measure.flat(face, plate, FULL)
    sample = measure.with_palettes(measure.ranked(measure.moments(*colors, space), *colors), *colors)
    move = match.SOLVERS[method](sample)
    assert grade.protect(move, sample, 0.0, 0.0) is move
    weights = torch.tensor(spaces.LUMINANCE)[:, None, None]
    before = (face * weights).sum(0)

    kept = grade.apply(face, grade.protect(move, sample, 1.0, 0.0))
    after = (kept * weights).sum(0)
    assert float((after - before).abs().mean() / before.mean()) < (0.002 if space == "linear" else 0.05)
    assert float((kept / kept.sum(0) - face / face.sum(0)).abs().mean()) > 0.02  # the hue is the plate's

    def saturation(image: torch.Tensor) -> float:
        mean = image.mean((1, 2), keepdim=True)
        level = (mean * weights).sum()
        return float((mean - level).norm() / level)

    pale = grade.apply(face, grade.protect(move, sample, 0.0, 1.0))
    assert saturation(pale) == pytest.approx(saturation(face), rel=0.05 if space == "linear" else 0.35)
    assert saturation(grade.apply(face, move)) > 1.3 * saturation(pale)


@pytest.mark.parametrize(
    "tables",
    [
        {"curves": ((0.0,),) * 2, "low": (0.0,) * 3, "high": (1.0,) * 3},
        {"curves": ((0.0, 1.0), (0.0,), (0.0,)), "low": (0.0,) * 3, "high": (1.0,) * 3},
        {"cube": (0.0,) * 24, "sizes": (2, 2, 3), "low": (0.0,) * 3, "high": (1.0,) * 3},
        {"cube": (0.0,) * 24, "sizes": (2, 2, 2)},
        {"space": "lab"},
    ],
)
def test_tables_that_do_not_fit_are_refused(tables: dict) -> None:
    with pytest.raises(ValueError):
        replace(IDENTITY, **tables)
