"""How fast a report on a long shot is written from what its render left, and how large the page is.

python tests/bench/reports.py [FRAMES]
"""

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "engine"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from mien.qc.figures import Limits, judge
from mien.qc.page import write_page
from mien.qc.shot import open_rendered, recipe_in
from qc.rendered import rendered


def main() -> None:
    """Write a page on a shot whose pictures are noise, which no codec makes smaller."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as folder:
        rendered(Path(folder), count=count, noisy=True, area={1005: 2500.0})
        for _ in range(3):
            began, spent = time.monotonic(), time.process_time()
            judged = judge(open_rendered(recipe_in(Path(folder, "out"))), Limits())
            write_page(Path(folder, "page.html"), judged)
            took, worked = time.monotonic() - began, time.process_time() - spent
            size = Path(folder, "page.html").stat().st_size / 1e6
            speed = f"{count / took:.0f} frames/s ({count / worked:.0f} of processor time)"
            print(f"{count} frames: {speed}, {size:.1f} MB")
        if len(sys.argv) > 2:
            Path(sys.argv[2]).write_bytes(Path(folder, "page.html").read_bytes())


if __name__ == "__main__":
    main()
