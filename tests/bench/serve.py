"""The engine as hosts use it: what a change of a value costs from the question to pixels in the client's hands.

    python tests/bench/serve.py [--only changes|handover|scrub|cancel] [--changes 500] [--face 1000] [--threads 2]

A client of its own process asks ``mien serve`` for a 4K frame with another value each time, maps the file that is
handed over and copies every byte of it. Beside wall time stands the processor time that the engine took, which
other work on the machine does not stretch: on free cores an answer takes no longer than that.
"""

import argparse
import mmap
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import OpenImageIO as oiio
import torch

from mien import recipe as recipes
from mien.client import Engine, EngineError
from mien.color import load
from mien.files.handover import HandOver, layout
from mien.files.identities import Likeness, write_identity
from mien.files.tracks import TrackedPlate, write_tracks
from mien.performer import Photo, photo_identity
from mien.recipe import CONVERT, Output, PlateChoice, Recipe
from mien.types import FaceTrack
from shots import FIRST, points_at, texture, write_exr

SIZE = (4096, 2160)
CHANGES: dict[str, Callable[[float], Any]] = {
    "composite.opacity": lambda t: 0.3 + 0.7 * t,
    "composite.highlights": lambda t: t,
    "grade_face.amount": lambda t: 0.5 + 0.5 * t,
    "relight.strength": lambda t: 0.2 + 0.6 * t,
    "match_color.smooth": lambda t: 2 + 20 * t,
    "matte_edge.soften": lambda t: 0.02 + 0.1 * t,
    "matte_edge.grow": lambda t: -0.05 + 0.08 * t,
    "face_matte.forehead": lambda t: t,
}


def make(folder: Path, width: float, count: int = 2) -> Path:
    """A 4K shot with a face of a width in pixels; returns its recipe."""
    frames, pattern = range(FIRST, FIRST + count), folder / "plate" / "shot.%04d.exr"
    plate = texture(SIZE[1], SIZE[0], 7)
    for frame in frames:
        write_exr(Path(str(pattern) % frame), plate * (1 + 0.02 * (frame - FIRST)), colorInteropID="lin_ap1_scene")
    points = torch.stack([points_at(2000 + 5 * k, 1080 + 2 * k, width) for k in range(count)])
    whole = torch.zeros(count, dtype=torch.bool)
    track = FaceTrack("A", FIRST, points, torch.ones(points.shape[:2]), torch.ones(count), whole)
    facts = TrackedPlate(str(pattern), *SIZE, frames[0], frames[-1], 1.0, Fraction(24))
    write_tracks(folder / "shot.track.json", (track,), facts)
    picture = torch.from_numpy(texture(1600, 1400, 99)).movedim(-1, 0) * 0.7
    photo = Photo(picture, points_at(700, 800, 900), torch.ones(468), 1.0)
    identity = photo_identity([photo], ["photo.png"], load(), Likeness("Nobody", "test"))
    write_identity(folder / "face.safetensors", identity)
    recipe = Recipe(
        plate=PlateChoice(str(pattern), frames[0], frames[-1]),
        steps=CONVERT,
        output=Output(str(folder / "out"), "shot", ("layer",)),
        identity=str(folder / "face.safetensors"),
        track=str(folder / "shot.track.json"),
    )
    path = folder / "shot.recipe.json"
    path.write_text(recipes.write(recipes.check(recipe)))
    return path


def processor_seconds(process: int) -> float:
    """Time that a process and its threads took on processors."""
    words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def fetched(answer: dict[str, Any]) -> bytes:
    """All bytes of a handed-over file, in this process's own memory."""
    with Path(answer["path"]).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        return memory[answer["offset"] : answer["offset"] + answer["height"] * answer["stride"] - 8]


def line(name: str, seconds: list[float], processor: float, note: str = "") -> str:
    ordered = sorted(seconds)
    middle, most = ordered[len(ordered) // 2], ordered[int(0.95 * (len(ordered) - 1))]
    each = 1e3 * processor / len(ordered)
    return f"{name:28} {1e3 * middle:7.1f} {1e3 * most:7.1f} {each:10.1f}   {note}"


def ask(
    engine: Engine, recipe: Path, settings: dict[str, Any], scale: float | None, frame: int = FIRST
) -> tuple[float, dict[str, Any]]:
    """Seconds from the question to pixels in hand, and the answer."""
    wanted: dict[str, Any] = {} if scale is None else {"scale": scale}
    started = time.perf_counter()
    answer = engine.call("render", 120, recipe=str(recipe), frame=frame, settings=settings, **wanted)
    pixels = fetched(answer)
    took = time.perf_counter() - started
    assert len(pixels) > 1000
    engine.ask("release", name=answer["name"])
    return took, answer


def changes(recipe: Path, count: int, threads: int) -> None:
    """Changes of each value at each scale."""
    with Engine(sys.executable, environment={"OMP_NUM_THREADS": str(threads)}) as engine:
        started = time.perf_counter()
        engine.call("solve", 600, recipe=str(recipe))
        print(f"solved in {time.perf_counter() - started:.1f} s")
        known = {step.node for step in recipes.read(recipe).steps}
        values = {name: make for name, make in CHANGES.items() if name.partition(".")[0] in known}
        for scale in (1.0, 0.5, 0.25, None):
            print(f"\nscale {scale or 'chosen by the engine'}\n{'change':28} median    p95 ms  processor ms")
            each = max(3, count // len(values) // (1 if scale is None else 8))
            all_seconds, total = [], 0.0
            for name, value in values.items():
                ask(engine, recipe, {}, scale)
                ask(engine, recipe, {name: value(1.0)}, scale)
                before, seconds, chosen = processor_seconds(engine.pid or 0), [], set()
                for step in range(each):
                    took, answer = ask(engine, recipe, {name: value(step / each)}, scale)
                    seconds.append(took)
                    chosen.add(f"1/{round(1 / answer['scale'])}")
                spent = processor_seconds(engine.pid or 0) - before
                moved = f"{answer['width']} x {answer['height']}, {answer['solve']}"
                print(line(name, seconds, spent, f"{' '.join(sorted(chosen))}, {moved}"), flush=True)
                all_seconds, total = all_seconds + seconds, total + spent
            print(line("all", all_seconds, total))
        status = engine.call("status", 60)
        print("\nwork", status["work"], "memory", status["memory"])


def scrub(recipe: Path) -> None:
    """The first answer for a frame, and a frame that was seen before."""
    with Engine(sys.executable) as engine:
        started = time.perf_counter()
        engine.call("describe", 60)
        print(f"describe {1e3 * (time.perf_counter() - started):.0f} ms")
        for name in ("first picture", "the same again", "the same again"):
            print(f"{name} {1e3 * ask(engine, recipe, {}, None)[0]:.0f} ms")
        print(f"another frame {1e3 * ask(engine, recipe, {}, None, FIRST + 1)[0]:.0f} ms")


def cancel(recipe: Path, count: int = 40) -> None:
    """Shots that are solved and rendered, cancelled at random moments: until the last word, until the next begins."""
    draw, words, free = random.Random(3), [], []
    with Engine(sys.executable, options=("--no-disk-cache", "--device", "cpu")) as engine:
        engine.call("status", 60, wait=True)
        for do in ("solve", "render") * (count // 2):
            asked = engine.ask(do, recipe=str(recipe), **({"force": True} if do == "render" else {}))
            time.sleep(draw.uniform(0.1, 2.5))
            if asked.over:
                continue
            began = time.perf_counter()
            asked.cancel()
            while not asked.over:
                time.sleep(0.0005)
            words.append(time.perf_counter() - began)
            try:
                engine.call("solve", 60, recipe="none.json")  # refused, as soon as its turn comes
            except EngineError:
                free.append(time.perf_counter() - began)
    print(f"cancelled while working, {len(words)} times: last word, next request begun")
    for name, seconds in (("last word", words), ("next begun", free)):
        middle, high = np.percentile(seconds, (50, 95))
        print(f"{name:<24} {middle * 1e3:7.0f} {high * 1e3:7.0f} {max(seconds) * 1e3:7.0f} ms")


def handover(width: int = 1100, height: int = 1150) -> None:
    """The ways in which R G B A in half floats may reach another process."""
    picture, matte = torch.randn(3, height, width), torch.rand(height, width)
    planes = {**dict(zip("RGB", picture)), "A": matte}
    hand, place = HandOver(), Path("/dev/shm" if Path("/dev/shm").is_dir() else tempfile.gettempdir())
    shape = layout("RGBA", size=(width, height), corner=(1500, 700), window=SIZE)

    def mapped() -> Path:
        path = hand.give(shape, (1500, 700), planes)
        hand.release(path.name)
        return path

    def packed() -> np.ndarray:
        return torch.cat([picture, matte[None]]).half().movedim(0, -1).contiguous().numpy()

    def library() -> None:
        spec = oiio.ImageSpec(width, height, 4, "half")
        spec["compression"] = "none"
        file = oiio.ImageOutput.create(str(place / "bench.exr"))
        file.open(str(place / "bench.exr"), spec)
        file.write_image(packed())
        file.close()

    def raw() -> None:
        (place / "bench.raw").write_bytes(packed().tobytes())

    ways = {"mapped EXR, memory used again": mapped, "EXR written by OpenImageIO": library, "raw file": raw}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(15):
        for name, way in ways.items():
            started = time.process_time()
            way()
            times[name].append(time.process_time() - started)
    print(f"handing over {width * height * 8 / 1e6:.1f} MB, processor time, least of 15")
    least = min(times["mapped EXR, memory used again"])
    for name, seconds in times.items():
        print(f"{name:32} {1e3 * min(seconds):7.2f} ms  {min(seconds) / least:5.1f} x")
    hand.close()
    for path in (place / "bench.exr", place / "bench.raw"):
        path.unlink(missing_ok=True)


def chosen(only: str | None) -> Iterator[str]:
    yield from (name for name in ("handover", "scrub", "cancel", "changes") if only in (None, name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("changes", "handover", "scrub", "cancel"))
    parser.add_argument("--changes", type=int, default=500)
    parser.add_argument("--face", type=float, default=1000.0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        recipe = make(Path(name), options.face)
        for part in chosen(options.only):
            if part == "handover":
                handover()
            elif part == "scrub":
                scrub(recipe)
            elif part == "cancel":
                long = Path(name) / "long"
                long.mkdir()
                cancel(make(long, options.face, 30))
            else:
                changes(recipe, options.changes, options.threads)


if __name__ == "__main__":
    main()
