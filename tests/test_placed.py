"""A frame written at once for a host: the same as a render where nothing is open, else marked as provisional."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d, interpolate

from mien import recipe as recipes
from mien.files.stills import read_headers
from mien.files.window import write_window
from mien.recipe import Recipe
from mien.run import freshness
from mien.session import Cancelled, Session, View
from mien.session.placed import distances, enlarged
from shots import FIRST, SIZE, make_shot, read_exr, write_exr

FRAME = FIRST + 1
ROLES = ("raw", "face", "matte")


def quiet(event: object) -> None:
    """Nobody listens."""


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return recipes.read(make_shot(tmp_path, 3, write=("host",)).recipe)


def files(recipe: Recipe) -> dict[str, np.ndarray]:
    folder = Path(recipe.output.folder) / "host"
    return {role: read_exr(folder / f"shot_{role}.{FRAME}.exr")[1] for role in ROLES}


def test_a_solved_frame_at_full_size_is_the_one_that_a_render_writes(recipe: Recipe) -> None:
    with Session("cpu") as session:
        session.solve(recipe, quiet)
        told = session.place(View(recipe, FRAME, scale=1.0))
        placed = files(recipe)
        found = freshness(session.open(recipe), [FRAME])
        assert told["final"] and told["solve"] == "fresh" and found.fresh == (FRAME,)
        rendered = session.render(recipe, [FRAME], quiet, force=True)
    assert not rendered.failed
    for role, pixels in files(recipe).items():
        assert np.array_equal(pixels, placed[role])


def test_before_anything_was_solved_it_is_provisional_and_rendered_again(recipe: Recipe) -> None:
    with Session("cpu") as session:
        told = session.place(View(recipe, FRAME, scale=1.0))
        assert not told["final"] and told["solve"] == "none"
        assert all(Path(path).is_file() for path in told["written"]) and len(told["written"]) == 3
        assert freshness(session.open(recipe), [FRAME]).stale == (FRAME,)
        session.render(recipe, [FRAME], quiet)
        assert freshness(session.open(recipe), [FRAME]).fresh == (FRAME,)


def test_a_proxy_fills_the_plates_window_with_nearly_the_same_face(recipe: Recipe) -> None:
    with Session("cpu") as session:
        session.solve(recipe, quiet)
        session.place(View(recipe, FRAME, scale=1.0))
        whole = files(recipe)
        told = session.place(View(recipe, FRAME, scale=0.5))
    proxy = files(recipe)
    assert not told["final"] and told["scale"] == 0.5
    for role in ROLES:
        assert proxy[role].shape[:2] == (SIZE[1], SIZE[0]) and np.isfinite(proxy[role]).all()
    assert np.abs(proxy["matte"][..., 0] - whole["matte"][..., 0]).mean() < 0.01
    sure = whole["matte"][..., 0] > 0.9
    assert np.abs(proxy["matte"][..., 1] - whole["matte"][..., 1])[sure].mean() < 0.6
    assert (proxy["matte"][..., 3] == 1).all()
    assert np.abs(proxy["face"].astype(float) - whole["face"])[sure].mean() < 0.05


def test_what_the_converter_drew_is_written_again_only_where_it_is_another_or_coarser(recipe: Recipe) -> None:
    def changed(**settings: float | str) -> Recipe:
        dials = {name.replace("__", "."): value for name, value in settings.items()}
        return recipes.check(replace(recipe, steps=recipes.change_steps(recipe.steps, dials)))

    edge, wide, other = (
        changed(matte_edge__soften=0.031), changed(matte_edge__grow=0.2), changed(convert_face__mouth="plate")
    )  # fmt: skip
    with Session("cpu") as session:
        session.solve(recipe, quiet)

        def roles(one: Recipe, scale: float) -> list[str]:
            written = session.place(View(one, FRAME, scale=scale))["written"]
            return [Path(path).stem.split("_")[1].split(".")[0] for path in written]

        assert roles(recipe, 0.5) == [*ROLES]
        assert roles(edge, 0.5) == ["face", "matte"]
        kept = files(recipe)["raw"]
        Path(recipe.output.folder, "host", f"shot_raw.{FRAME}.exr").unlink()
        assert roles(edge, 0.5) == [*ROLES]
        assert np.array_equal(files(recipe)["raw"], kept)
        assert roles(edge, 0.25) == ["face", "matte"]
        assert roles(edge, 1.0) == [*ROLES]
        session.render(recipe, [FRAME], quiet, force=True)
        kept = files(recipe)["raw"]
        assert roles(edge, 0.5) == roles(edge, 0.25) == ["face", "matte"]
        assert np.array_equal(files(recipe)["raw"], kept)
        assert freshness(session.open(recipe), [FRAME]).stale == (FRAME,)
        assert roles(wide, 0.5) == [*ROLES] and files(recipe)["raw"].any(-1).sum() > kept.any(-1).sum()
        assert roles(recipe, 0.5) == ["face", "matte"]
        assert roles(other, 0.5) == [*ROLES]


def test_nothing_is_written_of_a_frame_that_is_given_up(recipe: Recipe) -> None:
    def softer(soften: float) -> View:
        steps = recipes.change_steps(recipe.steps, {"matte_edge.soften": soften})
        return View(replace(recipe, steps=steps), FRAME, scale=1.0)

    with Session("cpu") as session:
        session.place(softer(0.04))
        asked = itertools.count()
        session.place(softer(0.05), lambda: next(asked) < 0)
        moments, kept = next(asked), files(recipe)
        # The last moment at which it may be given up is after all was computed.
        for soften, moment in ((0.06, 0), (0.07, moments // 2), (0.08, moments - 1)):
            asked = itertools.count()
            with pytest.raises(Cancelled):
                session.place(softer(soften), lambda: next(asked) >= moment)  # noqa: B023
            assert all(np.array_equal(pixels, kept[role]) for role, pixels in files(recipe).items())
        session.place(softer(0.08))
    assert not np.array_equal(files(recipe)["matte"], kept["matte"])


def test_a_file_that_says_nonsense_of_its_face_is_written_again(recipe: Recipe) -> None:
    raw = Path(recipe.output.folder, "host", f"shot_raw.{FRAME}.exr")
    with Session("cpu") as session:
        session.solve(recipe, quiet)
        session.place(View(recipe, FRAME, scale=0.5))
        for said in (b"\xff\xfe", b"9" * 4000, b"1 2 3"):
            content = raw.read_bytes()
            at = content.index(b"mien:raw_region\0string\0") + len(b"mien:raw_region\0string\0")
            size = int.from_bytes(content[at : at + 4], "little")
            raw.write_bytes(content[: at + 4] + said[:size].ljust(size) + content[at + 4 + size :])
            assert str(raw) in session.place(View(recipe, FRAME, scale=0.5))["written"]


@pytest.mark.parametrize("origin", [(0, 0), (-3, 5)])
def test_a_region_fills_its_window_as_another_reader_sees_it(tmp_path: Path, origin: tuple[int, int]) -> None:
    path = tmp_path / "window.exr"
    write_exr(path, np.zeros((7, 12, 3), np.float32))
    header = replace(read_headers(path)[0], origin=origin)
    planes = {name: torch.rand(4, 6, generator=torch.manual_seed(3)) for name in "RGA"}
    write_window(path, header, planes, (8, -2), around={"G": -9.5}, attributes={"colorInteropID": "data"})
    spec, pixels = read_exr(path)
    assert (spec.x, spec.y) == origin == (spec.full_x, spec.full_y)
    assert (spec.width, spec.height, spec["colorInteropID"]) == (12, 7, "data")
    for name in "RGA":
        want = np.full((7, 12), -9.5 if name == "G" else 0.0, np.float32)
        want[0:2, 8:12] = planes[name][2:4, :4].half().float()
        assert np.array_equal(pixels[..., spec.channelnames.index(name)], want)


def test_a_channel_that_is_the_same_everywhere_needs_no_plane(tmp_path: Path) -> None:
    path = tmp_path / "window.exr"
    write_exr(path, np.zeros((5, 9, 3), np.float32))
    around = {"R": 0.0, "B": 0.0, "A": 1.0}
    write_window(path, read_headers(path)[0], {"R": torch.ones(2, 3)}, (1, 1), around=around, attributes={})
    spec, pixels = read_exr(path)
    found = {name: pixels[..., index] for index, name in enumerate(spec.channelnames)}
    assert found["R"].sum() == 6 and not found["B"].any() and (found["A"] == 1).all()


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_enlarged_is_linear_between_pixels_as_torch_has_it(factor: int) -> None:
    picture = torch.randn(3, 11, 17, generator=torch.manual_seed(1)) * 40
    want = interpolate(picture[None], scale_factor=factor, mode="bilinear")[0]
    assert torch.allclose(enlarged(picture, factor), want, atol=1e-4)
    assert torch.allclose(enlarged(picture[:1], factor), want[:1], atol=1e-4)
    assert enlarged(picture, 1) is picture


@pytest.mark.parametrize(
    ("size", "factor"), [((96, 120), 2), ((61, 75), 4), ((97, 50), 3), ((193, 150), 1), ((380, 350), 2)]
)
def test_distances_of_a_proxy_are_those_of_the_plate_but_for_a_fraction_of_its_pixels(
    size: tuple[int, int], factor: int
) -> None:
    across, down = (torch.arange(length * factor) + 0.5 for length in (size[1], size[0]))
    middle, radius = (size[1] * factor * 0.45, size[0] * factor * 0.55), 0.3 * min(size) * factor
    truth = radius - torch.hypot(across - middle[0], down[:, None] - middle[1])
    matte = avg_pool2d((truth + 0.5).clamp(0, 1)[None], factor)
    found = distances(matte, factor)
    assert found.shape == (1, size[0] * factor, size[1] * factor)
    # At the rim nothing lies beyond to draw a line to, and in the circle's middle distances have a peak.
    rim = (slice(2 * factor, -2 * factor),) * 2
    wrong = (found[0] - truth).abs()[rim][truth[rim] < 0.8 * radius]
    assert wrong.mean() < 0.25 * factor and wrong.max() < 1.0 * factor


def test_changed_settings_show_at_once_though_the_shot_was_solved_with_others(recipe: Recipe) -> None:
    steps = recipes.change_steps(recipe.steps, {"matte_edge.grow": 0.1})
    with Session("cpu") as session:
        session.solve(recipe, quiet)
        session.place(View(recipe, FRAME, scale=1.0))
        before = files(recipe)["matte"][..., 0].sum()
        session.place(View(replace(recipe, steps=steps), FRAME, scale=1.0))
    assert files(recipe)["matte"][..., 0].sum() > 1.05 * before
