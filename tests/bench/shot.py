"""What the main job must reach, measured on whole shots in one go: ``python tests/bench/shot.py``.

Prints figures and ratios beside what is asked of them; nothing here fails on a time. Processor time stands beside
wall time, because a busy machine stretches the one and not the other. ``--only NAME`` runs one part.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import fmean
from typing import Any

import cv2
import numpy as np
import OpenImageIO as oiio
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tracking"))

import portraits
import whole_frame

from mien import recipe as recipes
from mien.chain import evaluate, face_in
from mien.color import load
from mien.commands.convert import run_recipe
from mien.deliver import Destination, compute, write
from mien.files.identities import Likeness, write_identity
from mien.files.shot import read_region
from mien.files.tracks import TrackedPlate, write_tracks
from mien.heap import reuse
from mien.job import Job, frame_key, open_job
from mien.performer import Photo, photo_identity
from mien.pipeline import overlap
from mien.recipe import CONVERT, Output, PlateChoice, Recipe
from mien.run import plate_of, read_source, solved
from mien.types import FaceTrack, Layer
from shots import FIRST, Made, make_shot, points_at, read_exr, texture, write_exr

SIZES = {"1080p": (1920, 1080), "4K": (3840, 2160), "8K": (7680, 4320)}
FACE = 400
"""Width of the face in pixels, the same on every plate."""
ROUNDS = 5
"""How often stages are overlapped, each time beside the same ones alone."""
Pixels = np.ndarray[Any, np.dtype[np.float32]]


def quiet(event: object) -> None:
    """Nobody listens."""


def say(name: str, figure: str, asked: str) -> None:
    print(f"{name:68} {figure:>28}   {asked}", flush=True)


@dataclass
class Clock:
    """Wall and processor seconds of a stretch of work."""

    wall: float = 0.0
    processor: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        wall, processor = time.perf_counter(), time.process_time()
        yield
        self.wall += time.perf_counter() - wall
        self.processor += time.process_time() - processor


def make_plate(folder: Path, size: tuple[int, int], count: int, face: int) -> Made:
    """A shot of ``count`` frames, all of one large plate, with a face of ``face`` pixels that moves a little."""
    width, height = size
    still = folder / "still.exr"
    tile = texture(540, 480, 7)
    write_exr(still, np.tile(tile, (height // 540, width // 480, 1)), colorInteropID="lin_ap1_scene")
    pattern = folder / "plate" / "shot.%04d.exr"
    pattern.parent.mkdir()
    frames = range(FIRST, FIRST + count)
    for frame in frames:
        Path(str(pattern) % frame).symlink_to(still)
    places = [points_at(width / 2 + 2 * i, height / 2 + i, face) for i in range(count)]
    return shot_of(folder, pattern, size, torch.stack(places), texture(700, 700, 99) * 0.7, points_at(350, 350, face))


def shot_of(
    folder: Path, pattern: Path, size: tuple[int, int], points: torch.Tensor, photo: Pixels, there: torch.Tensor
) -> Made:
    """Track, identity and recipe for a plate on disk and a photograph in working light."""
    count, colors = len(points), load()
    ones, never = torch.ones(count), torch.zeros(count, dtype=torch.bool)
    track = FaceTrack("A", FIRST, points, torch.ones(points.shape[:2]), ones, never)
    frames = range(FIRST, FIRST + count)
    facts = TrackedPlate(str(pattern), *size, FIRST, frames[-1], 1.0, Fraction(24))
    write_tracks(folder / "track.json", (track,), facts)
    source = Photo(torch.from_numpy(photo).movedim(-1, 0), there, torch.ones(468), 1.0)
    identity = folder / "performer.safetensors"
    write_identity(identity, photo_identity([source], ["photo"], colors, Likeness("Nobody", "bench")))
    recipe = Recipe(
        plate=PlateChoice(str(pattern), FIRST, frames[-1]),
        steps=CONVERT,
        output=Output(str(folder / "out"), "shot", ("layer",)),
        identity=str(identity),
        track=str(folder / "track.json"),
    )
    path = folder / "shot.recipe.json"
    path.write_text(recipes.write(recipes.check(recipe)))
    return Made(folder, str(pattern), folder / "track.json", identity, path, frames)


def run(made: Made, path: Path | None = None) -> None:
    outcome = run_recipe(recipes.read(path or made.recipe), None, "cpu", False, quiet, ())
    assert not outcome.failed, outcome.failed


# What is promised of pixels.


def laid_by_another_program(made: Made, frame: int) -> int:
    """Values outside the matte that differ from the plate after OpenImageIO's own over of the layer."""
    plate = oiio.ImageBuf(made.plate % frame)
    shape = plate.get_pixels(oiio.FLOAT)
    opaque = oiio.ImageBufAlgo.channels(plate, ("R", "G", "B", 1.0), ("R", "G", "B", "A"))
    layer = oiio.ImageBuf(str(made.folder / "out" / "layer" / f"shot.{frame}.exr"))
    front = oiio.ImageBufAlgo.channels(layer, ("R", "G", "B", "A"))
    laid = oiio.ImageBufAlgo.over(front, opaque)
    assert not laid.has_error, laid.geterror()
    spec, alpha = layer.spec(), front.get_pixels(oiio.FLOAT)[..., 3]
    here = laid.spec()
    assert (here.x, here.y, here.width, here.height) == (plate.spec().x, plate.spec().y, *shape.shape[1::-1])
    outside = np.ones(shape.shape[:2], bool)
    y, x = spec.y - here.y, spec.x - here.x
    outside[y : y + spec.height, x : x + spec.width] = alpha == 0
    kind = str(plate.spec().format)
    type_ = np.float16 if kind == "half" else np.float32
    bits = {2: np.uint16, 4: np.uint32}[np.dtype(type_).itemsize]
    with np.errstate(invalid="ignore"):
        after = laid.get_pixels(oiio.FLOAT)[..., :3].astype(type_).view(bits)
        before = shape[..., :3].astype(type_).view(bits)
    return int((after != before)[outside].sum())


def changed_by_us(made: Made, frame: int) -> tuple[int, int]:
    """Bits' worth of values outside the matte that differ in the full frame, and how many inside."""
    plate_spec, plate = read_exr(Path(made.plate % frame))
    _, full = read_exr(made.folder / "out" / "full" / f"shot.{frame}.exr")
    spec, layer = read_exr(made.folder / "out" / "layer" / f"shot.{frame}.exr")
    outside = np.ones(plate.shape[:2], bool)
    y, x = spec.y - plate_spec.y, spec.x - plate_spec.x
    outside[y : y + spec.height, x : x + spec.width] = layer[..., list(spec.channelnames).index("A")] == 0
    bits = {2: np.uint16, 4: np.uint32}[plate.itemsize]
    differing = plate.view(bits) != full.view(bits)
    return int(differing[outside].sum()), int(differing[~outside].sum())


def pixels_kept(scratch: Path) -> None:
    for kind in ("half", "float"):
        made = make_shot(scratch / kind, 3, kind=kind)
        shine(made, kind)
        run(made)
        found = [changed_by_us(made, frame) for frame in made.frames]
        assert all(inside for _, inside in found)
        say(f"values outside the matte that differ, comp, {kind}", str(sum(n for n, _ in found)), "0")
        found_there = sum(laid_by_another_program(made, frame) for frame in made.frames)
        say(f"the same, layer laid over by OpenImageIO, {kind}", str(found_there), "0")
        spec, full = read_exr(made.folder / "out" / "full" / f"shot.{FIRST}.exr")
        kept = full[4, 4].astype(float).min(), full[5, 4].astype(float).max()
        say(f"16.0 and -0.05 beside the face, {kind}", f"{kept[0]:.4g} {kept[1]:.4g}", "16 -0.05")
        say(f"inf and NaN beside the face, {kind}", f"{full[3, 3, 0]} {full[3, 5, 0]}", "inf nan")
        glint = full[82 - spec.y, 90 - spec.x].astype(float).min()
        say(f"a highlight of 8.0 on the face, {kind}", f"{glint:.2f}", "> 4")


def shine(made: Made, kind: str) -> None:
    """Put a highlight of 8.0 on the face in the first frame."""
    path = Path(made.plate % FIRST)
    spec, pixels = read_exr(path)
    pixels[82 - spec.y - 2 : 82 - spec.y + 3, 90 - spec.x - 2 : 90 - spec.x + 3] = 8.0
    window = spec.full_width, spec.full_height
    write_exr(path, pixels.astype(np.float32), (spec.x, spec.y), window, kind, colorInteropID="lin_ap1_scene")


def onto_themselves(scratch: Path) -> None:
    """A portrait put on the frame it is, with the same points."""
    for name in ("collins", "hopper"):
        picture = portraits.picture(name)
        light = (picture.astype(np.float32) / 255) ** 2.4
        folder = scratch / name
        write_exr(folder / "plate" / f"shot.{FIRST}.exr", light, kind="float", colorInteropID="lin_ap1_scene")
        points = portraits.landmarks(name)
        made = shot_of(folder, folder / "plate" / "shot.%04d.exr", picture.shape[1::-1], points[None], light, points)
        run(made, made.changed("out", write=("layer", "full"), pixels="float"))
        spec, layer = read_exr(folder / "out" / "layer" / f"shot.{FIRST}.exr")
        names = list(spec.channelnames)
        matte = layer[..., names.index("A")] > 0
        _, full = read_exr(folder / "out" / "full" / f"shot.{FIRST}.exr")
        rows, columns = slice(spec.y, spec.y + spec.height), slice(spec.x, spec.x + spec.width)
        error = (full - light)[rows, columns][matte]
        psnr = 10 * np.log10(1 / max(np.square(error).mean(), 1e-20))
        say(f"{name} put on themselves, PSNR inside the matte, {matte.sum()} px", f"{psnr:.1f} dB", "> 45 dB")


# What it costs.


def opened(made: Made) -> Job:
    return solved(open_job(recipes.read(made.recipe), "cpu"), quiet)


@dataclass(frozen=True)
class Costs:
    """Seconds per frame of the three stages, each alone."""

    read: Clock
    compute: Clock
    write: Clock

    @property
    def each(self) -> tuple[Clock, Clock, Clock]:
        return self.read, self.compute, self.write


Work = tuple[Callable[[int], Any], Callable[[int, Any], Any], Callable[[int, Any], None]]


def work_of(job: Job, costs: Costs) -> Work:
    """What a render does with a frame: reading, computing, writing, each timed."""
    destination, final = Destination(job), job.recipe.steps[-1].name

    def read(frame: int) -> Any:
        with costs.read.running():
            return read_source(job, frame, frame_key(job, frame, final), destination.needs_whole)

    def make(frame: int, source: Any) -> Any:
        with costs.compute.running():
            plate = plate_of(job, frame, source)
            values = evaluate(job.chain, frame, plate, final)
            assert values is not None
            layers = [value for value in values.values() if isinstance(value, Layer)]
            return compute(destination, frame, source.key, source.header, source.native, plate, layers[0], layers[-1])

    def save(frame: int, made: Any) -> None:
        with costs.write.running():
            write(destination, made)

    return read, make, save


def stages(job: Job) -> tuple[Costs, Costs]:
    """Each stage alone: the least that a frame took, after the first, and their mean."""
    taken = []
    start_anew(job)
    for frame in job.shot.frames:
        costs = Costs(Clock(), Clock(), Clock())
        read, make, save = work_of(job, costs)
        save(frame, make(frame, read(frame)))
        taken.append(costs.each)
    each = list(zip(*taken[1:]))
    least = [Clock(min(c.wall for c in stage), min(c.processor for c in stage)) for stage in each]
    mean = [Clock(fmean(c.wall for c in stage), fmean(c.processor for c in stage)) for stage in each]
    return Costs(*least), Costs(*mean)


@dataclass(frozen=True)
class WholeFrame:
    """What a user would otherwise run, on the whole frame: the steps alone, and reading and writing too."""

    steps: Clock
    chain: Clock


def with_opencv(job: Job, scratch: Path, width_of_face: int) -> WholeFrame:
    """The same steps with OpenCV; the fastest of several runs."""
    frame = job.shot.frames[-1]
    face = face_in(job.chain, frame)
    assert face is not None
    size, performer = job.shot.size, texture(700, 700, 99) * 0.7
    here, there = face.points[:, :2].numpy(), points_at(350, 350, width_of_face)[:, :2].numpy()
    names = ("match_color", "deflicker", "match_detail", "plate_white")
    grade, gains, detail, white = (job.chain.solved[name].at(frame) for name in names)
    fastest = WholeFrame(Clock(np.inf, np.inf), Clock(np.inf, np.inf))
    for _ in range(4):
        steps, chain = Clock(), Clock()
        with chain.running():
            plate = read_region(job.shot, frame, job.shot.display)
            with steps.running():
                across, down = whole_frame.mesh_map(here, there, size)
                drawn = cv2.remap(performer, across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
                matte = whole_frame.hull_matte(here, size, round(0.03 * width_of_face))
                moved = whole_frame.graded(whole_frame.graded(drawn, grade), gains)
                spared = whole_frame.eyes_and_lips(here, size, width_of_face)
                lit = whole_frame.lit_by(plate, moved, spared, width_of_face)
                grained = whole_frame.grained(whole_frame.softened(lit, detail), matte, detail.grain)
                laid = whole_frame.laid(plate, grained, matte, spared, white)
                whole_frame.judged(plate, drawn, laid, matte)
            write_exr(scratch / "whole.exr", laid)
        fastest = min(fastest, WholeFrame(steps, chain), key=lambda w: w.chain.processor)
    return fastest


def costs(scratch: Path, count: int, face: int, plates: list[str]) -> None:
    """Cost by plate, against OpenCV on the whole frame, and what overlapping leaves."""
    reference: Clock | None = None
    for name in plates:
        folder, size = scratch / name, SIZES[name]
        folder.mkdir()
        made = make_plate(folder, size, count, face)
        job = opened(made)
        with torch.inference_mode():
            before, _ = stages(job)
            theirs = with_opencv(job, folder, face)
            after, _ = stages(job)
        alone = Costs(*(min(pair, key=lambda clock: clock.processor) for pair in zip(before.each, after.each)))
        reference = reference or alone.compute
        for stage in ("read", "compute", "write"):
            say(f"{name}: {stage} per frame, processor and wall", both(getattr(alone, stage)), "")
        ratio = alone.compute.processor / reference.processor
        say(f"{name}: compute, beside {plates[0]}", f"x{ratio:.2f}", "<= 1.2")
        ours = alone.read.processor + alone.compute.processor + alone.write.processor
        say(f"{name}: steps on the whole frame with OpenCV", both(theirs.steps), "")
        ratios = theirs.steps.processor / alone.compute.processor, theirs.chain.processor / ours
        say(f"{name}: OpenCV over ours, steps", f"x{ratios[0]:.1f}", ">= 5")
        say(f"{name}: OpenCV over ours, read and written", f"x{ratios[1]:.1f}", ">= 5")
        overlapped(made, name)


def both(clock: Clock) -> str:
    return f"{1000 * clock.processor:.0f} ms, {1000 * clock.wall:.0f} ms"


def overlapped(made: Made, name: str) -> None:
    """All three stages at once, beside each alone just before; the median of several rounds, as machines have moods."""
    found = sorted((overlapped_once(made) for _ in range(ROUNDS)), key=lambda once: once.over_slowest)
    middle = found[ROUNDS // 2]
    say(f"{name}: overlapped per frame, wall", f"{1000 * middle.each:.0f} ms", "")
    rounds = " ".join(f"{once.over_slowest:.2f}" for once in found)
    say(f"{name}: over the slowest stage alone ({rounds})", f"x{middle.over_slowest:.2f}", "<= 1.3, machine quiet")
    cores = len(os.sched_getaffinity(0))
    say(f"{name}: over the least that {cores} cores allow", f"x{middle.over_least:.2f}", "<= 1.3, machine quiet")
    say(f"{name}: over what the busiest stage took meanwhile", f"x{middle.over_busiest:.2f}", "<= 1.3")
    say(f"{name}: processor, over the stages alone", f"x{middle.processor:.2f}", "1")


@dataclass(frozen=True)
class Overlapped:
    """Seconds per frame, and what that is over: means of the stages, alone and meanwhile."""

    each: float
    over_slowest: float
    over_least: float
    over_busiest: float
    processor: float


def overlapped_once(made: Made) -> Overlapped:
    """From the first frame that is written to the last; all means."""
    with torch.inference_mode():
        _, alone = stages(opened(made))
    job, busy, total = opened(made), Costs(Clock(), Clock(), Clock()), Clock()
    # A file that replaces another waits for the disk, on some file systems; alone, all were new ones.
    start_anew(job)
    read, make, save = work_of(job, busy)
    written: list[float] = []

    def save_and_note(frame: int, picture: Any) -> None:
        save(frame, picture)
        written.append(time.perf_counter())

    with torch.inference_mode(), total.running():
        for _, error in overlap(job.shot.frames, read, make, save_and_note):
            assert error is None
    count = len(written)
    each = (written[-1] - written[0]) / (count - 1)
    walls = [clock.wall for clock in alone.each]
    # Three stages on two cores take half of their sum at least, whichever is the slowest.
    least = max(*walls, sum(walls) / len(os.sched_getaffinity(0)))
    return Overlapped(
        each=each,
        over_slowest=each / max(walls),
        over_least=each / least,
        over_busiest=each / (max(clock.wall for clock in busy.each) / count),
        processor=total.processor / count / sum(clock.processor for clock in alone.each),
    )


def start_anew(job: Job) -> None:
    """Remove the frames that were written before."""
    for part in ("layer", "proof"):
        shutil.rmtree(job.folder / part, ignore_errors=True)


def peak_of(made: Made) -> float:
    """MiB that ``mien render`` held at most, on one thread."""
    command = [sys.executable, "-m", "mien", "render", str(made.recipe), "--device", "cpu"]
    with (made.folder / "log").open("wb") as log:
        started = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
        _, status, used = os.wait4(started.pid, 0)
    assert status == 0, (made.folder / "log").read_text()
    return used.ru_maxrss / 1024


def memory(scratch: Path, long: int) -> None:
    """Peak memory of a short and of a long shot, each in its own process."""
    peaks = []
    for count in (long // 10, long):
        folder = scratch / f"long{count}"
        folder.mkdir(parents=True)
        still = folder / "still.exr"
        write_exr(still, texture(192, 256, 7), colorInteropID="lin_ap1_scene")
        pattern = folder / "plate" / "shot.%04d.exr"
        pattern.parent.mkdir()
        for frame in range(FIRST, FIRST + count):
            Path(str(pattern) % frame).symlink_to(still)
        points = torch.stack([points_at(120 + 4 * np.sin(i / 9), 96, 64) for i in range(count)])
        made = shot_of(folder, pattern, (256, 192), points, texture(120, 120, 99) * 0.7, points_at(60, 60, 64))
        peaks.append(peak_of(made))
    figure = f"{peaks[1]:.0f} MiB x{peaks[1] / peaks[0]:.3f}"
    say(f"peak memory, {long} frames over {long // 10}", figure, "<= 1.05")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=12, help="frames of each plate that is timed")
    parser.add_argument("--long", type=int, default=1000, help="frames of the long shot; the short one has a tenth")
    parser.add_argument("--face", type=int, default=FACE, help="width in pixels of the face whose costs are measured")
    parser.add_argument(
        "--plates", nargs="+", choices=SIZES, default=list(SIZES), help="plates whose costs are measured"
    )
    parser.add_argument("--only", choices=("pixels", "themselves", "costs", "memory"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    # As the engine's own processes do; OpenCV has it too.
    reuse()
    parts: dict[str, Callable[[Path], None]] = {
        "pixels": pixels_kept,
        "themselves": onto_themselves,
        "costs": lambda scratch: costs(scratch, arguments.frames, arguments.face, arguments.plates),
        "memory": lambda scratch: memory(scratch, arguments.long),
    }
    with tempfile.TemporaryDirectory() as scratch:
        for name, part in parts.items():
            if arguments.only in (None, name):
                part(Path(scratch) / name if name != "costs" else Path(scratch))


if __name__ == "__main__":
    main()
