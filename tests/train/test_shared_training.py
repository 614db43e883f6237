"""Training on several processes at once: what ``torchrun`` starts learns as one process with all their pictures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from facesets.sets import person
from mien.train.state import states

ROOT = Path(__file__).parents[2]
STEPS = 10
CLOSE = 1e-5
"""Share by which losses may differ. Sums in another order round otherwise, and Adam makes much of little: a hundred
steps later curves are alike, not equal."""
RUN = """
import sys, torch
torch.set_num_threads(1)
from pathlib import Path
from train.test_swap_training import arguments
import mien.commands.train as commands
from mien.train import loop
from dataclasses import replace
from mien.train.swap import SwapTask

class Both(SwapTask):
    "One process that takes the pictures of two."
    def make(self, step):
        return [super(Both, self).make(2 * step + rank) for rank in (0, 1)]
    def losses(self, made):
        return mean([super(Both, self).losses(one) for one in made])

def mean(terms):
    return {name: (terms[0][name] + terms[1][name]) / 2 for name in terms[0]}

if sys.argv[4] == "alone":
    commands.SwapTask = Both
sets = (Path(sys.argv[1]), Path(sys.argv[2]))
steps = int(sys.argv[5])
loop.INTERVAL = 1
asked = arguments(sets, Path(sys.argv[3]), steps, pace={"settle": 0.0})
commands.train_swap(replace(asked, pace=replace(asked.pace, rate=1e-4)), print)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``alone`` is one process with both batches, ``two`` are two processes, interrupted once."""
    folder = tmp_path_factory.mktemp("shared")
    person(folder / "a", 24, (0.5, 0.3, 0.2), 1)
    person(folder / "b", 22, (0.2, 0.3, 0.5), 2)
    (folder / "run.py").write_text(RUN)
    run(folder, "alone", STEPS, processes=1)
    run(folder, "two", 6, processes=2)
    run(folder, "two", STEPS, processes=2)
    return folder


def run(folder: Path, name: str, steps: int, processes: int) -> None:
    path = os.pathsep.join([str(ROOT / "engine"), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    output = folder / f"{name}.safetensors"
    line = [*start, str(folder / "run.py"), str(folder / "a"), str(folder / "b"), str(output), name, str(steps)]
    ended = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-3000:]


def kept(folder: Path, name: str) -> tuple[dict, dict[str, torch.Tensor]]:
    """The record and the tensors of the last state."""
    step, path = states(folder / f"{name}.training")[0]
    assert step == STEPS
    with safe_open(path, "pt") as file:
        facts = json.loads(file.metadata()["mien_training"])
        return facts["record"], {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def test_two_processes_have_the_loss_curve_of_one_with_both_batches(trained: Path) -> None:
    (alone, weights), (two, others) = kept(trained, "alone"), kept(trained, "two")
    assert [step for step, _ in two["losses"]] == list(range(1, STEPS + 1)) == [step for step, _ in alone["losses"]]
    for (_, ours), (_, theirs) in zip(alone["losses"], two["losses"]):
        assert ours == pytest.approx(theirs, rel=CLOSE)
    # The last step of either run is measured too.
    held = dict(two["held"])
    assert [held[step] for step, _ in alone["held"]] == pytest.approx([dB for _, dB in alone["held"]], abs=0.01)
    moved = [name for name, value in weights.items() if name.startswith("network.") and value.is_floating_point()]
    assert moved and all(torch.allclose(weights[name], others[name], atol=1e-3) for name in moved)
