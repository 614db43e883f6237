"""The warm engine: what is computed again and what is not, what is shown, and that nothing piles up.

Work is counted, not timed.
"""

import gc
import mmap
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import pytest
import torch

import mien.session.solved
from mien import recipe as recipes
from mien.chain import Chain, declaration, settings_at
from mien.files.cache import open_cache
from mien.files.handover import Layout
from mien.files.identities import read_identity, write_identity
from mien.job import frame_key
from mien.recipe import Recipe, Step
from mien.session import Cancelled, Session, Shown, View
from mien.session.pace import Pace
from mien.types import MienError
from shots import FIRST, Made, make_shot, read_exr


def quiet(event: object) -> None:
    """Nobody listens."""


def dialed(made: Made, **settings: Any) -> Recipe:
    """The shot's recipe with values changed: ``step__name=value``."""
    recipe = recipes.read(made.recipe)
    changes = {name.replace("__", "."): value for name, value in settings.items()}
    return recipes.check(replace(recipe, steps=recipes.change_steps(recipe.steps, changes)))


def planes(shown: Shown) -> dict[str, np.ndarray]:
    """Pixels as a client reads them: by the layout in the answer, from mapped memory."""
    kind, wide = (np.float16, 2) if shown.pixels == "half" else (np.float32, 4)
    with Path(shown.path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        found = {}
        for index, name in enumerate(shown.channels):
            rows = [
                np.frombuffer(memory, kind, shown.width, shown.offset + y * shown.stride + index * wide * shown.width)
                for y in range(shown.height)
            ]
            found[name] = np.stack(rows).copy()
            del rows
        return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_shot(tmp_path_factory.mktemp("session"), 4, write=("layer",))


@pytest.fixture
def session() -> Iterator[Session]:
    with Session("cpu") as opened:
        yield opened


def test_what_is_shown_is_what_a_render_delivers(made: Made, session: Session) -> None:
    recipe = dialed(made)
    session.solve(recipe, quiet)
    shown = session.show(View(recipe, FIRST + 1, scale=1.0, layers=("layer", "raw", "matte")))
    assert shown.solve == "fresh" and shown.face and shown.scale == 1
    assert session.render(recipe, [FIRST + 1], quiet).done == (FIRST + 1,)
    spec, delivered = read_exr(made.folder / "out" / "layer" / f"shot.{FIRST + 1}.exr")
    assert (spec.x, spec.y, spec.width, spec.height) == (*shown.corner, shown.width, shown.height)
    pixels = planes(shown)
    assert set(pixels) == set(spec.channelnames)
    for index, name in enumerate(spec.channelnames):
        assert (pixels[name].view(np.uint16) == delivered[..., index].view(np.uint16)).all(), name


def test_the_file_is_an_ordinary_exr(made: Made, session: Session) -> None:
    shown = session.show(View(dialed(made), FIRST, layers=("layer", "comp")))
    spec, stored = read_exr(Path(shown.path))
    assert (spec.full_width, spec.full_height) == shown.size and (spec.x, spec.y) == shown.corner
    assert spec.getattribute("mien:likeness") == "Nobody" and "synthetic" in spec.getattribute("mien:synthetic")
    pixels = planes(shown)
    for index, name in enumerate(spec.channelnames):
        assert (pixels[name].view(np.uint16) == stored[..., index].view(np.uint16)).all(), name
    assert Path(shown.path).parent.stat().st_mode & 0o077 == 0  # nobody else looks in


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"composite__opacity": 0.4}, {"composite"}),
        ({"grade_face__amount": 0.3}, {"grade_face", "composite"}),
        ({"match_color__method": "reinhard"}, {"grade_face", "composite"}),
        ({"matte_edge__soften": 0.05}, {"matte_edge", "composite"}),
        ({"matte_edge__grow": 0.2}, {"matte_edge", "composite"}),
        ({"face_matte__forehead": 0.2}, {"face_matte", "composite"}),
    ],
)
def test_a_change_of_matte_match_or_finish_uses_the_conversion_again(
    made: Made, session: Session, change: dict[str, Any], again: set[str]
) -> None:
    session.solve(dialed(made), quiet)
    session.show(View(dialed(made), FIRST + 2, scale=1.0))
    before = session.work.copy()
    first = session.show(View(dialed(made, **change), FIRST + 2, scale=1.0))
    done = session.work - before
    assert again <= set(done) and done["convert_face"] == 0
    assert done["read"] <= ("matte_edge__grow" in change)  # more of the plate may be wanted, but read once
    between = session.work.copy()
    assert session.show(View(dialed(made, **change), FIRST + 2, scale=1.0)).key == first.key
    assert session.work == between
    session.show(View(dialed(made), FIRST + 2, scale=1.0))
    assert session.work == between  # and back again costs nothing


def test_while_a_value_is_dragged_nothing_is_solved_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, solved = make_shot(tmp_path, 3), []
    usual = mien.session.solved.solve

    def spied(chain: Chain, step: Step) -> Chain:
        solved.append(step.name)
        return usual(chain, step)

    monkeypatch.setattr(mien.session.solved, "solve", spied)
    with Session("cpu") as session:
        for when in ("never solved", "solved with other settings"):
            session.show(View(dialed(made, matte_edge__soften=0.05), FIRST))
            before = len(solved)
            assert before, when
            for soften in (0.06, 0.07, 0.08):
                session.show(View(dialed(made, matte_edge__soften=soften), FIRST))
            assert len(solved) == before, when
            session.show(View(dialed(made, matte_edge__soften=0.08, match_color__smooth=3.0), FIRST))
            assert len(solved) > before, f"{when}: the match itself was dialed"
            session.solve(dialed(made), quiet)


def test_a_region_that_grows_while_a_value_is_dragged_is_read_ahead(made: Made, session: Session) -> None:
    values = [round(0.02 * turn, 2) for turn in range(26)]
    shown = [session.show(View(dialed(made, matte_edge__grow=grow), FIRST, scale=1.0)) for grow in values]
    assert shown[-1].width > shown[0].width and session.work["read"] == 1
    with Session("cpu") as other:
        for index in (0, 9, 25):
            alone = planes(other.show(View(dialed(made, matte_edge__grow=values[index]), FIRST, scale=1.0)))
            again = planes(session.show(View(dialed(made, matte_edge__grow=values[index]), FIRST, scale=1.0)))
            assert all((alone[name].view(np.uint16) == again[name].view(np.uint16)).all() for name in alone)


@pytest.mark.parametrize(("cores", "few"), [(2, 1), (5, 3)])
def test_a_proxy_leaves_cores_to_the_host_and_all_else_takes_as_many_as_before(
    made: Made, cores: int, few: int
) -> None:
    usual = torch.get_num_threads()
    torch.set_num_threads(cores)
    try:
        used: list[tuple[bool, int]] = []

        class Spied(Session):
            def _run(self, step: Step, *rest: Any) -> Any:
                used.append((step.name == "composite", torch.get_num_threads()))
                return super()._run(step, *rest)

        with Spied("cpu") as session:
            session.show(View(dialed(made), FIRST, scale=0.5))
            assert {number for _, number in used} == {few} and torch.get_num_threads() == cores
            used.clear()
            session.show(View(dialed(made), FIRST, scale=1.0))
            assert (True, cores) in used
            used.clear()
            torch.set_num_threads(1)
            session.render(dialed(made), [FIRST], quiet, force=True)
            assert {number for _, number in used} == {cores}
    finally:
        torch.set_num_threads(usual)


def test_another_identity_and_another_frame_are_converted(made: Made, session: Session, tmp_path: Path) -> None:
    session.show(View(dialed(made), FIRST, scale=1.0))
    before = session.work["convert_face"]
    session.show(View(dialed(made), FIRST + 1, scale=1.0))
    assert session.work["convert_face"] > before
    before = session.work["convert_face"]
    identity = read_identity(made.identity)
    other = tmp_path / "other.safetensors"
    write_identity(other, replace(identity, tensors={n: t * 0.5 for n, t in identity.tensors.items()}))
    first = session.show(View(dialed(made), FIRST, scale=1.0))
    assert session.work["convert_face"] == before
    changed = session.show(View(replace(dialed(made), identity=str(other)), FIRST, scale=1.0))
    assert session.work["convert_face"] == before + 1 and changed.key != first.key
    assert (planes(changed)["R"] != planes(first)["R"]).any()


def test_keys_tell_what_a_value_depends_on(made: Made, session: Session) -> None:
    job, softer = session.open(dialed(made)), session.open(dialed(made, matte_edge__soften=0.1))
    assert frame_key(job, FIRST, "convert_face") == frame_key(softer, FIRST, "convert_face")
    assert frame_key(job, FIRST, "face_matte") == frame_key(softer, FIRST, "face_matte")
    assert frame_key(job, FIRST, "matte_edge") != frame_key(softer, FIRST, "matte_edge")
    assert frame_key(job, FIRST, "convert_face") != frame_key(job, FIRST + 1, "convert_face")
    plate = session.open(dialed(made, convert_face__eyes="plate"))
    assert frame_key(job, FIRST, "convert_face") != frame_key(plate, FIRST, "convert_face")


def test_nothing_is_opened_twice(made: Made, session: Session) -> None:
    session.show(View(dialed(made), FIRST))
    opened = session.status()["opened"]
    session.show(View(dialed(made, composite__opacity=0.2), FIRST))
    assert session.status()["opened"] == opened
    os.utime(made.track)
    session.show(View(dialed(made), FIRST))
    assert session.status()["opened"] > opened


def test_curves_are_none_then_fresh_then_stale(made: Made, session: Session, tmp_path: Path) -> None:
    alone = make_shot(tmp_path, 3)
    assert session.show(View(dialed(alone), FIRST)).solve == "none"
    session.solve(dialed(alone), quiet)
    fresh = session.show(View(dialed(alone), FIRST))
    assert fresh.solve == "fresh"
    # What the last match itself is told needs no new measuring.
    assert session.show(View(dialed(alone, match_detail__smooth=0.0), FIRST)).solve == "fresh"
    changed = dialed(alone, matte_edge__grow=-0.1)
    work = session.work["measure_color"]
    stale = session.show(View(changed, FIRST))
    assert stale.solve == "stale" and session.work["measure_color"] == work
    session.solve(changed, quiet)
    again = session.show(View(changed, FIRST))
    assert again.solve == "fresh" and again.key != stale.key
    assert session.work["measure_color"] == work + 3
    with Session("cpu") as other:
        assert other.show(View(changed, FIRST)).solve == "stale"  # what was solved before, from disk


def test_a_proxy_looks_like_the_final(made: Made, session: Session) -> None:
    recipe = dialed(made, matte_edge__soften=0.2)
    session.solve(recipe, quiet)
    full, half = (session.show(View(recipe, FIRST, scale=scale, layers=("layer", "matte"))) for scale in (1.0, 0.5))
    assert half.scale == 0.5 and half.size == (full.size[0] // 2, full.size[1] // 2)
    assert abs(half.width - full.width / 2) <= 2 and abs(half.height - full.height / 2) <= 2
    large, small = planes(full)["A"].astype(np.float32), planes(half)["A"].astype(np.float32)
    canvas = np.zeros((full.size[1] + 64, full.size[0] + 64), np.float32)
    canvas[32 + full.corner[1] :, 32 + full.corner[0] :][: full.height, : full.width] = large
    pooled = canvas.reshape(canvas.shape[0] // 2, 2, canvas.shape[1] // 2, 2).mean((1, 3))
    there = pooled[16 + half.corner[1] :, 16 + half.corner[0] :][: half.height, : half.width]
    assert np.abs(there - small).max() < 0.12 and np.abs(there - small).mean() < 0.01
    with pytest.raises(MienError, match="proxy scale"):
        session.show(View(recipe, FIRST, scale=0.3))


def test_settings_in_pixels_follow_the_scale(made: Made, session: Session) -> None:
    chain = session.open(dialed(made)).chain
    step = Step("find", "track_faces", {}, {param.name: param.default for param in declaration("track_faces").params})
    for scale, smallest in ((1.0, 24.0), (0.5, 12.0), (0.25, 6.0)):
        found = settings_at(replace(chain, scale=scale), step, FIRST)
        assert found["smallest"] == smallest  # pixels
        assert found["confidence"] == 0.5 and found["every"] == 8  # not pixels
        settings = settings_at(replace(chain, scale=scale), dialed(made).step("matte_edge"), FIRST)
        assert settings["soften"] == dialed(made).step("matte_edge").settings["soften"]  # face widths


def test_the_engine_chooses_no_scale_that_shows_too_little(made: Made, session: Session) -> None:
    shown = session.show(View(dialed(made), FIRST, budget=0.0))  # nothing is quick enough
    assert shown.scale == 1  # the face is 80 pixels wide
    with pytest.raises(MienError):
        session.show(View(dialed(made), FIRST, scale=-1.0))
    rich = session.show(View(dialed(made), FIRST, budget=1e9))
    assert rich.scale == 1


def test_how_long_full_frames_take_says_nothing_of_proxies(
    made: Made, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle machine computes those with all its threads; proxies get what a host leaves that draws meanwhile."""
    learned: dict[float, set[str]] = {1.0: set(), 0.5: set()}
    for scale, works in learned.items():
        monkeypatch.setattr(Pace, "learn", lambda pace, what, pixels, seconds, works=works: works.add(what))
        session.show(View(dialed(made), FIRST, scale=scale))
    assert min(map(len, learned.values())) > 10 and not learned[1.0] & learned[0.5]


def test_a_region_is_a_part_of_the_whole(made: Made, session: Session) -> None:
    whole = session.show(View(dialed(made), FIRST, scale=1.0))
    part = session.show(View(dialed(made), FIRST, scale=1.0, region=(80, 60, 20, 10)))
    assert (part.corner, part.width, part.height) == ((80, 60), 20, 10)
    x, y = 80 - whole.corner[0], 60 - whole.corner[1]
    for name, pixels in planes(part).items():
        assert (pixels == planes(whole)[name][y : y + 10, x : x + 20]).all()
    outside = session.show(View(dialed(made), FIRST, scale=1.0, region=(0, 0, 5, 5)))
    assert (outside.width, outside.height) == (1, 1) and not planes(outside)["A"].any()


def test_files_stay_until_released(made: Made, session: Session) -> None:
    recipe = dialed(made)
    first = session.show(View(recipe, FIRST))
    pixels = planes(first)
    for opacity in np.linspace(0.1, 0.8, 7):
        session.show(View(dialed(made, composite__opacity=float(opacity)), FIRST))
    assert all((planes(first)[name] == pixels[name]).all() for name in pixels)
    session.release(first.name)
    session.release("never.exr")
    session.show(View(recipe, FIRST + 1))
    assert not Path(first.path).exists()
    folder = Path(first.path).parent
    assert len(list(folder.iterdir())) <= 9
    session.close()
    assert not folder.exists()


def test_a_cancelled_request_stops(made: Made, session: Session) -> None:
    with pytest.raises(Cancelled):
        session.show(View(dialed(made), FIRST), lambda: True)
    with pytest.raises(Cancelled):
        session.solve(dialed(made, face_matte__forehead=0.1), quiet, lambda: True)
    calls = iter(range(100))
    with pytest.raises(Cancelled):
        session.render(dialed(made, face_matte__forehead=0.1), made.frames, quiet, lambda: next(calls) > 5)
    assert session.show(View(dialed(made), FIRST)).face


def test_frames_without_a_face_or_a_file(made: Made, session: Session, tmp_path: Path) -> None:
    gone = make_shot(tmp_path, 3)
    Path(gone.plate % (FIRST + 1)).unlink()
    with pytest.raises(MienError, match=str(FIRST + 1)):
        session.show(View(dialed(gone), FIRST + 1))
    with pytest.raises(MienError, match="no frame"):
        session.show(View(dialed(gone), FIRST + 99))
    track = replace(dialed(gone), track=str(made.track), plate=replace(dialed(gone).plate, first=FIRST))
    assert session.show(View(track, FIRST)).face


def test_a_small_budget_only_costs_time(made: Made, session: Session) -> None:
    with Session("cpu", memory=300_000) as small:
        views = [View(dialed(made, composite__opacity=o), f, scale=1.0) for f in made.frames for o in (1.0, 0.5)]
        for view in views:
            mine, theirs = small.show(view), session.show(view)
            assert mine.key == theirs.key
            assert all((a == b).all() for a, b in zip(planes(mine).values(), planes(theirs).values()))
            assert small.status()["memory"]["used"] <= 300_000


def test_conversions_are_found_on_disk_by_another_engine(made: Made, tmp_path: Path) -> None:
    views = [View(dialed(made), frame, scale=1.0) for frame in made.frames]
    with Session("cpu", disk=open_cache(tmp_path)) as first:
        wanted = [planes(first.show(view)) for view in views]
        assert first.work["convert_face"] >= len(views)
    assert len(open_cache(tmp_path).entries()) == first.work["convert_face"]
    with Session("cpu", disk=open_cache(tmp_path)) as second:
        found = [planes(second.show(view)) for view in views]
        assert second.work["convert_face"] == 0 and second.work["composite"] == len(views)
    for one, other in zip(wanted, found):
        assert all((one[name] == other[name]).all() for name in one)


def test_a_render_uses_what_was_shown(made: Made, session: Session, tmp_path: Path) -> None:
    recipe = dialed(made)
    session.solve(recipe, quiet)
    for frame in made.frames:
        session.show(View(recipe, frame, scale=1.0))
    before = session.work["convert_face"]
    other = replace(recipe, output=replace(recipe.output, folder=str(tmp_path / "again")))
    assert len(session.render(other, made.frames, quiet, force=True).done) == len(made.frames)
    assert session.work["convert_face"] - before <= len(made.frames)  # the solve of another folder measures anew
    before = session.work["convert_face"]
    session.render(other, made.frames, quiet, force=True)
    assert session.work["convert_face"] == before


def handles() -> int:
    """Files that this process holds open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def resident() -> int:
    """Bytes of main memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts handles the way Linux shows them")
def test_nothing_piles_up_over_many_requests(made: Made) -> None:
    count = int(os.environ.get("MIEN_REQUESTS", "120"))
    generator = np.random.default_rng(1)
    with Session("cpu", memory=6 << 20) as session:

        def ask(number: int) -> None:
            change = [
                {"composite__opacity": round(float(generator.random()), 1)},
                {"grade_face__amount": round(float(generator.random()), 1)},
                {"matte_edge__soften": round(float(generator.random()), 1) * 0.2},
                {},
            ][number % 4]
            frame = FIRST + int(generator.integers(len(made.frames)))
            shown = session.show(View(dialed(made, **change), frame, scale=(0.25, 0.5)[number % 2]))
            if number % 5:
                session.release(shown.name)

        warm = max(30, count // 10)
        for number in range(warm):
            ask(number)
        gc.collect()
        files, threads, memory = handles(), threading.active_count(), resident()
        for number in range(count):
            ask(number)
        gc.collect()
        assert handles() <= files + 9  # at most the files that may be handed over at once
        assert threading.active_count() == threads
        grown = resident() - memory
        print(f"{count} requests: {memory >> 20} MiB after warm-up, {grown / 2**20:+.1f} MiB, {files} handles")
        assert grown < max(0.02 * memory, 8 << 20)


def test_folders_of_engines_that_were_killed_are_removed(tmp_path: Path) -> None:
    from mien.files.handover import HandOver

    gone, alive, foreign = tmp_path / "mien-4194300-abc", tmp_path / f"mien-{os.getppid()}-abc", tmp_path / "mien-notes"
    for folder in (gone, alive, foreign):
        folder.mkdir()
        (folder / "00000001.exr").write_bytes(b"x")
    hand = HandOver(tmp_path)
    assert not gone.exists() and alive.exists() and foreign.exists()
    hand.close()


def test_the_layout_is_what_openexr_reads(tmp_path: Path) -> None:
    from mien.files.handover import HandOver, layout

    for pixels in ("half", "float"):
        for size in ((1, 1), (7, 3), (33, 20)):
            generator = torch.Generator().manual_seed(5)
            names = ("R", "G", "B", "A", "raw.R", "matte.edge")
            values = {name: torch.randn(size[1], size[0], generator=generator) * 10 for name in names}
            shape: Layout = layout(names, size=size, corner=(-4, 9), window=(64, 48), pixels=pixels, aspect=2.0)
            hand = HandOver(tmp_path)
            path = hand.give(shape, (-4, 9), values)
            file = oiio.ImageInput.open(str(path))
            spec, stored = file.spec(), file.read_image(pixels)
            file.close()
            assert (spec.x, spec.y, spec.width, spec.height) == (-4, 9, *size) and spec.full_width == 64
            assert spec["PixelAspectRatio"] == 2.0
            for index, name in enumerate(spec.channelnames):
                wanted = values[name].half() if pixels == "half" else values[name]
                assert (stored[..., index] == wanted.numpy()).all()
            hand.close()
            assert not list(tmp_path.iterdir())
