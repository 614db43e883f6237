"""A day of scrubbing and dialing in minutes: ``python tests/bench/endless.py [--requests 50000]``.

A client in another process asks for frames and changes of a short shot, some at once so that stale ones are dropped,
and counts: every request has one last answer, memory stays flat, no handle or process is left.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from mien.client import LAST, Engine
from shots import make_shot

SETTINGS = {
    "composite.opacity": (0.0, 1.0),
    "grade_face.amount": (0.0, 1.0),
    "relight.strength": (0.0, 1.0),
    "matte_edge.grow": (-0.1, 0.1),
    "matte_edge.soften": (0.0, 0.2),
    "face_matte.forehead": (0.0, 1.0),
}


def main() -> None:
    """Print what each tenth of the requests left behind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--memory", type=float, default=0.15, help="GiB of pictures that the engine may keep")
    options = parser.parse_args()
    draw = random.Random(5)
    answers: Counter[int] = Counter()
    ends: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        made = make_shot(Path(folder) / "shot", 4)
        with Engine(sys.executable, options=("--memory", str(options.memory), "--no-disk-cache")) as engine:
            engine.call("solve", 120, recipe=str(made.recipe))
            assert engine.pid is not None
            process = psutil.Process(engine.pid)

            def listen(number: int) -> Any:
                def hear(event: dict[str, Any]) -> None:
                    if event.get("event") in LAST:
                        answers[number] += 1
                        ends[str(event["event"])] += 1
                        if event["event"] == "done":
                            engine.ask("release", name=event["name"])

                return hear

            began, batch = time.perf_counter(), []
            for number in range(options.requests):
                setting = draw.choice(list(SETTINGS))
                value = draw.uniform(*SETTINGS[setting])
                frame = draw.choice(list(made.frames))
                fields = {"recipe": str(made.recipe), "frame": frame, "settings": {setting: value}}
                batch.append(engine.ask("render", listen(number), **fields))
                # A hand that drags asks faster than pictures come.
                if len(batch) >= draw.choice((1, 1, 2, 4)):
                    for request in batch:
                        request._over.wait(60)
                    batch.clear()
                if (number + 1) % max(1, options.requests // 10) == 0:
                    facts = process.memory_info().rss / 2**20
                    print(
                        f"{number + 1:6} requests, {time.perf_counter() - began:5.0f} s: {facts:.0f} MiB, "
                        f"{process.num_fds()} handles, {len(process.children(recursive=True))} children, {dict(ends)}",
                        flush=True,
                    )
            for request in batch:
                request._over.wait(60)
        lost = [number for number in range(options.requests) if answers[number] == 0]
        doubled = [number for number, count in answers.items() if count > 1]
        print(f"lost {len(lost)}, answered twice {len(doubled)}, engine left: {not process.is_running()}")


if __name__ == "__main__":
    main()
