"""Hundreds of kills over renders, solves and trainings, for a night.

``python tests/faults/long.py [KILLS [KIND...]]``. Give it a copy of the repository that nobody edits meanwhile: all
runs have to be of one engine. Prints a line whenever a run was completed, and ends with 1 if a file was wrong.
``test_killing.py`` does a few of them.
"""

import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "engine")]

from facesets.sets import person  # noqa: E402
from faults.victims import Tally, Warm, ordeal  # noqa: E402
from shots import make_shot  # noqa: E402

TRAINING = [
    *("--self", "--preset", "df", "--size", "32", "--encoder", "4", "--decoder", "4", "--matte", "2", "--code", "8"),
    *("--batch", "2", "--steps", "30", "--save", "0", "--preview", "15", "--precision", "float32", "--device", "cpu"),
]


def main(kills: int, kinds: list[str]) -> int:
    """Kill runs of each kind, ``kills`` in all."""
    began, total, wrong = time.monotonic(), 0, 0
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        shot = make_shot(folder / "shot", 5, write=("layer", "full", "host", "stmap", "movie"))
        person(folder / "a", 24, (0.5, 0.3, 0.2), 1)
        person(folder / "b", 22, (0.2, 0.3, 0.5), 2)
        out = folder / "shot" / "out"
        output = folder / "identity" / "who.safetensors"
        runs = {
            "render": (["render", str(shot.recipe), "--device=cpu"], out),
            "solve": (["solve", str(shot.recipe), "--device=cpu"], out),
            "train": (
                ["train", "swap", str(folder / "a"), str(folder / "b"), "-o", str(output), *TRAINING],
                output.parent,
            ),
        }
        warm = Warm(folder / "log")
        try:
            for seed, name in enumerate(kinds or runs):
                words, place = runs[name]
                each = -(-kills // len(kinds or runs))
                tally = ordeal(warm, words, place, each, seed, patience=15, tell=lambda t, n=name: told(n, t))
                total, wrong = total + tally.kills, wrong + len(tally.wrong) + len(tally.left)
        finally:
            warm.close()
    print(f"{total} kills in {time.monotonic() - began:.0f} s: {wrong} wrong or half files")
    return int(wrong > 0)


def told(name: str, tally: Tally) -> None:
    """Print a tally, and the last of what was wrong."""
    counts = f"{tally.kills} kills, {tally.completed} completed, {len(tally.wrong)} wrong, {len(tally.left)} left over"
    print(f"{name}: {counts}", *[f"    {line}" for line in [*tally.wrong, *tally.left][-8:]], sep="\n", flush=True)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 210, sys.argv[2:]))
