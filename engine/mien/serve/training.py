"""Trainings that a host starts, pauses, resumes and stops."""

import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from reprlib import repr as brief
from typing import Any

from mien.commands.pairing import PairedArguments, train_paired
from mien.commands.train import SwapArguments, train_swap
from mien.declare import nearest
from mien.progress import Outcome, Tell
from mien.serve.fence import Fence
from mien.serve.requests import RequestError, Train, typed
from mien.train.control import Control

KINDS = ("swap", "paired")
ACTIONS = {"pause": Control.pause, "resume": Control.go_on, "stop": Control.stop}
PLACES = ("before", "after")
"""Settings that name pictures though they are plain text."""


def steer(control: Control, action: str) -> None:
    """Pause, resume or stop a training.

    Raises:
        RequestError: There is no such action.
    """
    if action not in ACTIONS:
        raise RequestError(f"A training cannot {brief(action)}{nearest(action, ACTIONS)}")
    ACTIONS[action](control)


def run_training(request: Train, fence: Fence, device: str, tell: Tell, control: Control) -> Outcome:
    """Train an identity until it is done or stopped.

    Raises:
        RequestError: Settings that no training has, or an output outside the job's folder.
        RecipeError, MienError: Arguments, sets or states that cannot be used.
    """
    if request.kind not in KINDS:
        raise RequestError(f"There is no training of kind {brief(request.kind)}{nearest(request.kind, KINDS)}")
    folder = fence.folder(request.folder)
    output = fence.output(request.output, folder)
    # All that a training keeps lies in a folder beside the identity.
    fence.output(output.with_name(f"{output.stem}.training"), folder)
    settings = {"released": {}, "after": None, **request.settings} if request.kind == "paired" else {
        "released": {}, **request.settings
    }  # fmt: skip
    settings = {**settings, "output": str(output), "device": settings.get("device", device)}
    if request.kind == "swap":
        return train_swap(filled(SwapArguments, settings, folder, "settings"), tell, control)
    arguments = filled(PairedArguments, settings, folder, "settings")
    placed = {name: str(folder / value) for name in PLACES if (value := getattr(arguments, name)) is not None}
    return train_paired(replace(arguments, **placed), tell, control)


def filled(kind: type[Any], settings: Any, folder: Path, where: str) -> Any:
    """The arguments ``kind`` with what the settings say, by name; paths are relative to ``folder``.

    Raises:
        RequestError: A setting that there is not, one that is needed and left out, or a value of another type.
    """
    if not isinstance(settings, Mapping):
        raise RequestError(f"{where} is {brief(settings)}: it should be an object with names.")
    hints = typing.get_type_hints(kind)
    known = {entry.name: entry for entry in fields(kind)}
    for name in settings:
        if name not in known:
            raise RequestError(f"{where} has no {brief(name)}{nearest(name, known)}")
    given = {}
    for name, entry in known.items():
        if name in settings:
            given[name] = _value(hints[name], settings[name], folder, f"{where}.{name}")
        elif entry.default is MISSING and entry.default_factory is MISSING:
            raise RequestError(f"{where} lacks {name!r}.")
    return kind(**given)


def _value(kind: Any, value: Any, folder: Path, where: str) -> Any:
    inner = [one for one in typing.get_args(kind) if one is not type(None)]
    if value is None and type(None) in typing.get_args(kind):
        return None
    if len(inner) == 1 and inner[0] is Path:
        kind = Path
    if is_dataclass(kind):
        return filled(typing.cast(type[Any], kind), value, folder, where)
    try:
        if kind is Path:
            return folder / typed(value, str)
        return typed(value, kind)
    except TypeError as error:
        raise RequestError(f"{where} is {brief(value)}: give {error}.") from None
