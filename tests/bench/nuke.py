"""From a knob that is turned to the picture in the Read: the plug-in in the stand-in for Nuke, with the real engine.

    python tests/bench/nuke.py [--changes 40] [--face 1000] [--threads 2]

The host is a process of its own, the engine another, as at a compositor's desk: a 4K plate and a face of 1000 pixels.
A change ends when the new file is in the Read and all of its bytes have been read. Changes come one after another, and
as a slider sends them, every 30 ms. Beside wall time stand the processor time of host and engine, which other work on
the machine does not stretch, and the longest that the interface was kept waiting.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(HERE)]
KNOBS = ("composite__opacity", "matte_edge__soften", "matte_edge__grow", "grade_face__amount", "relight__strength")

TRIAL = """
import json, os, sys, time
import driver, nuke
from mien_nuke import live, talk

folder, changes, knobs = sys.argv[1], int(sys.argv[2]), sys.argv[3].split(",")
nuke.scriptSaveAs(folder + "/comp.nk", 1)
read = nuke.createNode("Read")
for name, value in (("file", folder + "/plate/shot.%04d.exr"), ("first", 1001), ("last", 1002), ("raw", True)):
    read[name].setValue(value)
convert = nuke.createNode("MienConvert")
convert["identity"].setValue(folder + "/face.safetensors")
convert["track"].setValue(folder + "/shot.track.json")
nuke.frame(1001)
driver.press(convert, "analyse")
driver.spin(lambda: not talk.running("MienConvert1"), 300)
driver.show(convert)
driver.dial(convert, "auto_update", True)

def watch():
    return live.eye.watched[convert.fullName()]

def processor():
    # Seconds that the engine and this process have worked, all threads.
    words = open("/proc/%d/stat" % talk.engine().pid).read().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK") + time.process_time()

def shown():
    return watch().request is None and convert["live_on"].value()

driver.spin(shown, 120)
taken = {}
for knob in knobs:
    taken[knob] = []
    for step in range(changes + 3):
        began, worked = time.perf_counter(), processor()
        driver.dial(convert, knob, 0.01 + 0.002 * (step + 1))
        held = time.perf_counter() - began
        longest = driver.spin(shown, 60)
        with open(convert["live"].value(), "rb") as file:
            size = len(file.read())
        taken[knob].append((time.perf_counter() - began, max(held, longest), size, processor() - worked))
    del taken[knob][:3]
began, before, waits = time.perf_counter(), convert["live"].value(), []
seen = 0
for step in range(changes):
    due = began + 0.03 * step
    driver.spin(lambda: time.perf_counter() >= due, 10)
    driver.dial(convert, "matte_edge__soften", 0.02 + 0.002 * step)
    if convert["live"].value() != before:
        seen, before = seen + 1, convert["live"].value()
slid = time.perf_counter() - began
driver.spin(shown, 60)
print(json.dumps([taken, seen / slid, driver.problems()]))
"""


def middle(values: list) -> float:
    """The median of sorted values."""
    return values[len(values) // 2]


def late(values: list) -> float:
    """The 95th percentile of sorted values."""
    return values[int(0.95 * (len(values) - 1))]


def main() -> None:
    """Print a line for each knob."""
    from serve import make

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=40)
    parser.add_argument("--face", type=float, default=1000.0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make(folder, arguments.face)
        (folder / "trial.py").write_text(TRIAL, "utf-8")
        environment = {
            **os.environ,
            "NUKE_PATH": str(ROOT / "nuke_plugin"),
            "MIEN_PYTHON": sys.executable,
            "OMP_NUM_THREADS": str(arguments.threads),
        }
        words = [sys.executable, str(ROOT / "tests/nuke/host/run.py"), str(folder / "trial.py"), str(folder)]
        done = subprocess.run(
            [*words, str(arguments.changes), ",".join(KNOBS)],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        if done.returncode:
            raise SystemExit(done.stderr)
        taken, rate, problems = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"face of {arguments.face:g} px in a 4K plate, {arguments.threads} threads, ms from knob to picture")
    print(f"{'knob':22} {'median':>8} {'p95':>8} {'processor':>10} {'p95':>6} {'interface':>10} {'MiB':>6}")
    every, work = [], []
    for knob, runs in taken.items():
        times, worked = (sorted(1000 * one[place] for one in runs) for place in (0, 3))
        every += times
        work += worked
        waited = 1000 * max(one[1] for one in runs)
        line = f"{middle(times):8.0f} {late(times):8.0f} {middle(worked):10.0f} {late(worked):6.0f} {waited:10.1f}"
        print(f"{knob:22} {line} {runs[-1][2] / 2**20:6.1f}")
    every, work = sorted(every), sorted(work)
    print(f"{'all':22} {middle(every):8.0f} {late(every):8.0f} {middle(work):10.0f} {late(work):6.0f}")
    print(f"a slider that moves every 30 ms: {rate:.1f} pictures a second")
    for problem in problems:
        print(problem)


if __name__ == "__main__":
    main()
