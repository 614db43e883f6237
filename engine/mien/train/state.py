"""The state of a training on disk: everything that the next step depends on, in one safetensors file.

A state appears under its name only when whole. The last few are kept, so that one that a failing disk spoiled
costs the steps to the one before.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from mien.files.atomic import appearing, remove_stale
from mien.progress import Note, Tell
from mien.types import MienError

KEPT = 2
NAME = re.compile(r"state\.(\d{9})\.safetensors")


@dataclass(frozen=True)
class Kept:
    """A state that was read.

    Attributes:
        step: Steps that are done.
        facts: What the header tells: shapes, settings, the record of losses.
        tensors: By ``PART.NAME``.
    """

    step: int
    facts: Mapping[str, Any]
    tensors: Mapping[str, Tensor] = field(repr=False)

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of one part, by their names in it."""
        start = f"{name}."
        return {key.removeprefix(start): value for key, value in self.tensors.items() if key.startswith(start)}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimizer's moments, by ``ROW.NAME``."""
    return {
        f"{row}.{name}": torch.as_tensor(value)
        for row, moments in optimizer.state_dict()["state"].items()
        for name, value in moments.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put moments back, laid out in memory as the weights are: kernels that walk both at once rely on it."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        row, _, name = key.partition(".")
        like = weights[int(row)]
        laid = torch.empty_like(like, dtype=value.dtype).copy_(value) if value.shape == like.shape else value
        moments.setdefault(int(row), {})[name] = laid
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})


def write_state(folder: Path, step: int, facts: Mapping[str, Any], parts: Mapping[str, Mapping[str, Tensor]]) -> Path:
    """Write a state, then remove those that are too old.

    Raises:
        MienError: It cannot be written; the states before it are still there.
    """
    tensors = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
    path = folder / f"state.{step:09d}.safetensors"
    header = {"mien_training": json.dumps({"version": 1, "step": step, **facts})}
    try:
        with appearing(path) as partial:
            save_file({name: value.detach().contiguous() for name, value in tensors.items()}, partial, header)
            with partial.open("rb+") as stream:
                os.fsync(stream.fileno())
    except SafetensorError as error:
        raise MienError(f"Cannot write {path}: {error}. Check permissions and free space.") from error
    for _, old in states(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def states(folder: Path) -> list[tuple[int, Path]]:
    """Steps and files of the states in a folder, the newest first."""
    named = ((NAME.fullmatch(path.name), path) for path in folder.glob("state.*.safetensors"))
    return sorted(((int(match[1]), path) for match, path in named if match), reverse=True)


def read_state(folder: Path, tell: Tell) -> Kept | None:
    """The newest state that is whole, None where there is none.

    Raises:
        MienError: There are states, but none can be read.
    """
    for place in (folder.parent, folder, folder / "previews"):
        remove_stale(place)
    failure: MienError | None = None
    for step, path in states(folder):
        try:
            with safe_open(path, "pt") as file:
                facts = json.loads(file.metadata()["mien_training"])
                if facts["version"] != 1 or facts["step"] != step:
                    raise ValueError("another version")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
            return Kept(step, facts, tensors)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            failure = MienError(f"{path} is damaged: {str(error)[:200]}.")
            tell(Note(f"{failure} Going back to the one before.", "warning"))
    if failure is not None:
        raise MienError(f"{failure} Delete {folder} to start from the beginning.")
    return None


def load_network(network: nn.Module, tensors: Mapping[str, Tensor], where: Path) -> None:
    """Put weights back.

    Raises:
        MienError: They are another network's.
    """
    try:
        network.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise _another(where) from error


def same_network(folder: Path, kind: str, shape: Mapping[str, Any]) -> None:
    """Look at what a folder was begun with, before anything long is prepared for going on.

    Raises:
        MienError: With another network.
    """
    for _, path in states(folder):
        try:
            with safe_open(path, "pt") as file:
                task = json.loads(file.metadata()["mien_training"])["task"]
            begun = task["kind"], task["shape"]
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
        if begun != (kind, json.loads(json.dumps(shape))):
            raise _another(folder)
        return


def _another(where: Path) -> MienError:
    return MienError(
        f"{where} was begun with another network. Keep preset and sizes as they were, or choose another -o."
    )
