"""Memory that is let go is used again, and is given back when asked."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from mien import heap
torch.set_num_threads(1)
if "reuse" in sys.argv:
    heap.reuse()
picture = torch.ones(3, 2000, 2000)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        picture + 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
# A system that is short of memory takes pages away in between: the least of a few counts.
again = min(faults() for _ in range(4))
after = []
for _ in range(4):
    heap.trim()
    pages = int(open("/proc/self/statm").read().split()[1])
    after.append(faults())
print(again, min(after), pages * resource.getpagesize() // 2**20)
"""


def counted(*words: str) -> tuple[int, int, int]:
    """Page faults of ten sums of pictures, the same after giving memory back, and MiB held in between."""
    done = subprocess.run([sys.executable, "-c", FAULTS, *words], capture_output=True, text=True, check=True)
    again, after, held = map(int, done.stdout.split())
    return again, after, held


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only the GNU C library gives every block back")
def test_a_picture_takes_the_place_of_the_last_one() -> None:
    mapped, _, before = counted()
    again, after, held = counted("reuse")
    if mapped < 1000:
        pytest.skip("this system hands out huge pages by itself")
    assert again < 100
    assert 1000 < after < mapped / 2, "what was given back comes back once, not for every picture"
    assert held < before + 8


SET_ASIDE = """
import os, sys
import torch
from pathlib import Path
from mien import heap
path, pages = Path(sys.argv[1]), 4096
path.write_bytes(os.urandom(pages * 4096))
def mapped():
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssFile"))
there = torch.from_file(str(path), shared=False, size=pages * 1024, dtype=torch.float32)
before = there.view(torch.uint8).numpy().tobytes()
held = mapped()
heap.set_aside(there.data_ptr(), there.nbytes)
rest = mapped()
own = torch.arange(1 << 20)
heap.set_aside(own.data_ptr(), own.nbytes)
same = there.view(torch.uint8).numpy().tobytes() == before and torch.equal(own, torch.arange(1 << 20))
print(held - rest, same)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux is asked for it")
def test_what_is_set_aside_is_not_held_and_not_lost(tmp_path) -> None:
    command = [sys.executable, "-c", SET_ASIDE, str(tmp_path / "mapped")]
    given_back, same = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert same == "True"
    if int(given_back) < 1000:
        pytest.skip("this system keeps the pages")
    assert int(given_back) > 15_000
