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
again = faults()
heap.trim()
pages = int(open("/proc/self/statm").read().split()[1])
print(again, faults(), pages * resource.getpagesize() // 2**20)
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
    assert 1000 < after < mapped / 5, "what was given back comes back once"
    assert held < before + 8
