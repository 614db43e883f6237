"""A check before a Write renders: whether the faces that flow into it are rendered, all of them, as dialed now.

With the engine at hand it is asked; a farm machine without one is told what files alone tell: what is missing, what
the recipe that was rendered says else, and which frames are older than their plate.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mien.client import EngineError, find_python
from mien.hosts.frames import file_at, frames_of, spoken
from mien.hosts.recipes import ChainError
from mien.hosts.watch import freshness
from mien_nuke import nodes, plates, talk
from mien_nuke.nodes import ShotError

MODES = ("warn", "fail")
"""warn tells and lets the render go on; fail ends it."""
PATIENCE = 120.0
"""Seconds for which the engine is waited for."""
_begun: list = []


def begin(mode: str) -> None:
    """Check every render from now on.

    Raises:
        ValueError: There is no such mode.
    """
    import nuke

    if mode not in MODES:
        raise ValueError(f"MIEN_CHECK is {mode!r}: set it to {' or '.join(MODES)}.")
    end()
    _begun.append(mode)
    nuke.addBeforeRender(before)


def end() -> bool:
    """Check no more; whether renders were checked until now."""
    import nuke

    if not _begun:
        return False
    _begun.clear()
    nuke.removeBeforeRender(before)
    return True


def before() -> None:
    """A Write is about to render: callback of Nuke.

    Raises:
        RuntimeError: Something is wrong, and the mode is ``fail``: Nuke ends the render.
    """
    import nuke

    found = [f"{convert.name()}: {words}" for convert in converts(nuke.thisNode()) for words in trouble(convert)]
    if not found:
        return
    said = "mien: " + "\n".join(found)
    if _begun[-1] == "fail":
        raise RuntimeError(said)
    if nuke.GUI:
        nuke.message(said)
    else:
        nuke.warning(said)


def converts(node: Any) -> list:
    """MienConverts that feed a node and show what was rendered."""
    found, seen, waiting = [], [], [node]
    while waiting:
        one = waiting.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        if nodes.kind(one) == "convert_face" and not one["disable"].value() and one["show"].value() == "render":
            found.append(one)
        waiting += [one.input(index) for index in range(one.inputs())]
    return sorted(found, key=lambda each: str(each.name()))


def trouble(convert: Any) -> Iterator[str]:
    """What is wrong with the render of a MienConvert, in words that say what to do."""
    try:
        if plates.changed(convert):
            yield "what feeds it changed since it was rendered. Render range on it again."
            return
        recipe = nodes.document(convert)
        first, last = nodes.range_of(convert)
    except (ShotError, ChainError) as error:
        yield str(error)
        return
    try:
        find_python()
        answer = talk.engine().call(
            "check", PATIENCE, recipe=recipe, folder=nodes.shot_folder(convert).as_posix(), frames=[first, last]
        )
    except (EngineError, TimeoutError):
        yield from _files(convert, recipe, first, last)
        return
    if answer["stale"] or answer["absent"]:
        yield f"{freshness(answer)}. Render range on it first."


def _files(convert: Any, recipe: dict, first: int, last: int) -> Iterator[str]:
    """What the files on disk tell."""
    pattern, plate = nodes.layer_pattern(convert), recipe["plate"]["path"]
    there, plates = set(frames_of(pattern).numbers), frames_of(plate).numbers
    wanted = [frame for frame in plates or range(first, last + 1) if first <= frame <= last]
    absent = [frame for frame in wanted if frame not in there]
    if absent:
        yield f"frames {spoken(absent)} are not rendered. Render range on it first."
    saved = nodes.version_folder(convert) / f"{nodes.name_of(convert)}.recipe.json"
    try:
        rendered = json.loads(saved.read_text("utf-8"))
    except (OSError, ValueError):
        rendered = None
    if rendered is not None and rendered != json.loads(json.dumps(recipe)):
        yield "its settings changed since it was rendered. Render range on it again."
    late = [frame for frame in wanted if frame in there and _age(file_at(plate, frame)) > _age(file_at(pattern, frame))]
    if plates and late:
        yield f"the plate's frames {spoken(late)} are newer than the render. Render range on it again."


def _age(path: str) -> float:
    try:
        return Path(path).stat().st_mtime
    except OSError:
        return 0.0
