"""Inputs that are more than a Read: rendered once to files that the engine can read, and again when they change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mien.hosts.frames import file_at, frames_of
from mien_nuke import nodes
from mien_nuke.nodes import ShotError

INPUTS = {0: ("cache", "Cache"), 1: ("cache_roto", "Cache_roto")}
"""Input of a MienConvert to the knob that names its files, and the Write within that makes them."""
LAYOUT = {
    "name", "label", "xpos", "ypos", "selected", "tile_color", "gl_color", "note_font", "note_font_size",
    "note_font_color", "hide_input", "dope_sheet", "bookmark", "postage_stamp", "postage_stamp_frame",
    "cached", "indicators", "icon", "help",
}  # fmt: skip
"""Knobs that no picture depends on."""
SPACE = "scene_linear"
"""What the files hold: Nuke's working space, by its role."""


def told(convert: Any, index: int) -> str:
    """The files of an input, as a pattern.

    Raises:
        ShotError: They were not made yet.
    """
    path = str(convert[INPUTS[index][0]].value())
    if not path:
        raise ShotError(f"{convert.name()}: what feeds it is no Read. Press Analyse: it is rendered to files first.")
    return path


def make(convert: Any) -> None:
    """Render inputs that are no Reads where they changed or frames are missing, with data window and channels.

    Raises:
        ShotError: What feeds the node is too much for this edition of Nuke, or cannot be rendered.
    """
    import nuke

    for index, (knob, name) in INPUTS.items():
        fed = nodes.fed(convert, index)
        if fed is None or fed.Class() == "Read":
            continue
        first, last = int(fed.firstFrame()), int(fed.lastFrame())
        pattern = _pattern(convert, index, fed, first, last)
        if convert[knob].value() != pattern:
            convert[knob].setValue(pattern)
        absent = [frame for frame in range(first, last + 1) if not Path(file_at(pattern, frame)).is_file()]
        if not absent:
            continue
        write = convert.node(name)
        write["datatype"].setValue("32 bit float" if convert["quality"].value() == "float" else "16 bit half")
        write["disable"].setValue(False)
        try:
            for start, end in _runs(absent):
                nuke.execute(write, start, end)
        except RuntimeError as error:
            raise ShotError(f"{convert.name()}: what feeds it cannot be rendered: {error}") from error
        finally:
            write["disable"].setValue(True)


def changed(convert: Any) -> bool:
    """Whether what feeds a node is another than what was rendered of it."""
    for index, (knob, _) in INPUTS.items():
        fed = nodes.fed(convert, index)
        if fed is None or fed.Class() == "Read":
            continue
        pattern = _pattern(convert, index, fed, int(fed.firstFrame()), int(fed.lastFrame()))
        if convert[knob].value() != pattern:
            return True
    return False


def _pattern(convert: Any, index: int, fed: Any, first: int, last: int) -> str:
    digest = hashlib.sha256()
    try:
        for part in _facts(fed, first, last):
            digest.update(part.encode("utf-8", "surrogateescape") + b"\0")
    except RuntimeError as error:
        raise ShotError(
            f"{convert.name()}: this edition of Nuke does not let Python see all that feeds it. Render it yourself and "
            f"connect a Read. ({error})"
        ) from error
    quality = str(convert["quality"].value()) if index == 0 else "half"
    name = f"{convert.name()}.{INPUTS[index][0]}"
    folder = nodes.shot_folder(convert) / "inputs" / f"{name}.{digest.hexdigest()[:12]}.{quality}"
    return (folder / f"{name}.%04d.exr").as_posix()


def _facts(fed: Any, first: int, last: int) -> Iterator[str]:
    """All that a node's picture depends on: classes, knobs and wires of what feeds it, and the files that are read."""
    order, waiting = [], [fed]
    while waiting:
        one = waiting.pop(0)
        if one in order:
            continue
        order.append(one)
        sources = [one.input(index) for index in range(one.inputs())]
        inner = list(one.nodes()) if one.Class() == "Group" else []
        waiting += [other for other in sources if other is not None] + inner
        yield f"{one.Class()} {[order.index(other) if other in order else -1 for other in sources]}"
        for name, knob in sorted(one.knobs().items()):
            if name not in LAYOUT:
                yield f"{name} {knob.toScript()}"
        if one.Class() == "Read":
            yield from _files(str(one["file"].value()), first, last)


def _files(path: str, first: int, last: int) -> Iterator[str]:
    found = frames_of(path)
    for frame in found.numbers or (first,):
        if first <= frame <= last:
            try:
                stat = Path(file_at(found.pattern, frame)).stat()
            except OSError:
                continue
            yield f"{frame} {stat.st_size} {stat.st_mtime_ns}"


def _runs(frames: list) -> Iterator[tuple]:
    """First and last of every run of frames."""
    start = frames[0]
    for frame, following in zip(frames, [*frames[1:], None]):
        if following != frame + 1:
            yield start, frame
            if following is not None:
                start = following
