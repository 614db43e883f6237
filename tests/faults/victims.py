"""Runs of ``mien`` that are killed at random moments, and what must hold of their folders afterward."""

import json
import os
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open

from mien.files.curves import read_curves

ROOT = Path(__file__).parents[2]


class Warm:
    """The process of ``warm.py``."""

    def __init__(self, log: Path) -> None:
        path = os.pathsep.join([str(ROOT / "engine"), str(ROOT / "tests")])
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._log = log
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faults.warm"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None and self._process.stdout.readline() == "ready\n"

    def run(self, words: Sequence[str], seconds: float | None = None, ill: str = "") -> dict[str, Any]:
        """How a run ended that is killed after ``seconds``, or is made ill as ``warm.py`` says."""
        assert self._process.stdin is not None and self._process.stdout is not None
        asked = {"words": list(words), "seconds": seconds, "log": str(self._log), "ill": ill}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)


def whole(path: Path) -> bool:
    """Whether a file that may differ from an undisturbed run's is complete: it can be read to its end."""
    content = path.read_bytes()
    if path.suffix == ".json" and path.parent.name == "solve" and path.name != "plate.json":
        read_curves(path)
    elif path.suffix == ".json":
        json.loads(content)
    elif path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118  no mapping
                file.get_tensor(name)
    elif path.suffix == ".html":
        return content.rstrip().endswith((b"</svg>", b"<p>Nothing measured yet.</p>"))
    elif path.name.startswith("events.out"):
        while content:
            length = struct.unpack("<Q", content[:8])[0]
            if len(content) < length + 16:
                return False
            content = content[length + 16 :]
    else:
        return False
    return True


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that bears a final name, by its path below the folder; memories of times are left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and path.name != "plate.json"
    }


def half_written(folder: Path) -> list[str]:
    """Hidden names of half-written files."""
    return [str(path) for path in folder.rglob(".*.partial*")]


@dataclass
class Tally:
    """What became of all runs."""

    kills: int = 0
    completed: int = 0
    wrong: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def ordeal(
    warm: Warm, words: Sequence[str], folder: Path, kills: int, seed: int, patience: int = 6, tell: Any = None
) -> Tally:
    """Kill runs at random moments until ``kills`` have died, each time going on where the one before was killed.

    Args:
        warm: Where runs are forked from.
        words: The command; it writes below ``folder``.
        folder: Emptied before each first run.
        kills: How many have to die.
        seed: Of the moments.
        patience: Kills in a row after which a run may finish.
        tell: Called with the tally after each run.
    """
    moments, tally = random.Random(seed), Tally()
    shutil.rmtree(folder, ignore_errors=True)
    undisturbed = warm.run(words)
    assert undisturbed["code"] == 0, undisturbed["log"]
    wanted, length = contents(folder), undisturbed["seconds"]
    assert wanted
    while tally.kills < kills:
        shutil.rmtree(folder, ignore_errors=True)
        for _ in range(patience):
            ended = warm.run(words, moments.random() * length)
            tally.kills += ended["killed"]
            if not ended["killed"]:
                if ended["code"] != 0:
                    tally.wrong.append(f"exit {ended['code']}: {ended['log'][-400:]}")
                break
            tally.wrong += wrong_files(folder, wanted)
        last = warm.run(words)
        if last["code"] != 0:
            tally.wrong.append(f"a re-run ended with {last['code']}: {last['log'][-400:]}")
        found = contents(folder)
        tally.wrong += [name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)]
        tally.left += half_written(folder)
        tally.completed += 1
        if tell is not None:
            tell(tally)
    return tally


def wrong_files(folder: Path, wanted: dict[str, bytes]) -> list[str]:
    """Files with final names that are neither an undisturbed run's nor whole."""
    found = []
    for name, content in contents(folder).items():
        if wanted.get(name) == content:
            continue
        try:
            fine = whole(folder / name)
        except Exception as error:  # noqa: BLE001  whatever is wrong with it is worth telling
            fine, name = False, f"{name}: {error}"
        if not fine:
            found.append(name)
    return found
