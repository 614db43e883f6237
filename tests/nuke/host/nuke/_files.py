"""Files of the host: plug-in folders, scripts, and what a Write node renders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nk.script import Node as Data

from nuke._session import FACTS, run_code, session


def gizmo(name: str) -> str | None:
    """The text of a ``.gizmo`` file on the plug-in path."""
    for folder in session.plugin_path:
        file = Path(folder) / f"{name}.gizmo"
        if file.is_file():
            return file.read_text("utf-8")
    return None


def add_path(path: str, before: str) -> None:
    """Put a folder on the plug-in path: a relative one is beside the file that says so.

    Raises:
        RuntimeError: Not text.
    """
    if not isinstance(path, str):
        raise TypeError("a path is text")
    folder = str((Path(before).parent / path).resolve()) if not Path(path).is_absolute() else path
    if folder not in session.plugin_path:
        session.plugin_path.insert(0, folder)


def render(data: Data, first: int, last: int, step: int = 1) -> None:
    """What ``nuke.execute`` does of a Write: callbacks, pictures, files.

    Raises:
        RuntimeError: The node writes nothing, or a callback aborts.
    """
    from nuke._nodes import notice, run_callbacks

    if data.cls != "Write":
        raise RuntimeError(f"{data.path} is not a node that writes")
    _callback(data, "BeforeRender", run_callbacks)
    for frame in range(first, last + 1, step):
        kept, session.frame = session.frame, frame
        try:
            _callback(data, "BeforeFrameRender", run_callbacks)
            _write(data, frame)
            _callback(data, "AfterFrameRender", run_callbacks)
        finally:
            session.frame = kept
    _callback(data, "AfterRender", run_callbacks)
    del notice


def _callback(data: Data, event: str, run: Any) -> None:
    session.this.append((data, None))
    try:
        code = data.values.get(event[0].lower() + event[1:], "")
        if code:
            run_code(code, f"{event} of {data.path}")
        run(event, data.cls, True)
    finally:
        session.this.pop()


def _write(data: Data, frame: int) -> None:
    import numpy as np
    import OpenImageIO as oiio
    from nk import tcl
    from nk.evaluate import Evaluator, numbered
    from nk.pixels import named
    from nk.values import Values

    from nuke._nodes import format_of

    values = Values(FACTS, format_of())
    picture = Evaluator(FACTS, format_of(), {}, session.layers).picture(data.inputs[0], frame)
    names = named(tcl.split(values.text(data, "channels", frame)), picture.channels)
    path = Path(numbered(values.text(data, "file", frame), frame))
    if values.truth(data, "create_directories", frame):
        path.parent.mkdir(parents=True, exist_ok=True)
    if not path.parent.is_dir():
        raise RuntimeError(f"{data.path}: there is no folder {path.parent}")
    box = picture.box if picture.box[2] > picture.box[0] else (0, 0, 1, 1)
    kind = oiio.FLOAT if values.choice(data, "datatype", frame) == "32 bit float" else oiio.HALF
    spec = oiio.ImageSpec(box[2] - box[0], box[3] - box[1], len(names), kind)
    spec.x, spec.y = box[:2]
    spec.full_x = spec.full_y = 0
    spec.full_width, spec.full_height = picture.size
    spec.channelnames = tuple(stored(name) for name in names)
    partial = path.with_name(path.name + ".tmp")
    buffer = oiio.ImageBuf(spec)
    pixels = np.stack([picture.over(box, name) for name in names], axis=2)
    buffer.set_pixels(oiio.ROI(box[0], box[2], box[1], box[3], 0, 1, 0, len(names)), np.ascontiguousarray(pixels))
    if not buffer.write(str(partial), kind, "openexr"):
        raise RuntimeError(buffer.geterror())
    partial.replace(path)


def stored(name: str) -> str:
    """The name that a file gives to a channel: ``rgba.red`` is ``R``."""
    layer, _, channel = name.partition(".")
    short = {"red": "R", "green": "G", "blue": "B", "alpha": "A"}.get(channel, channel)
    return short if layer == "rgba" else f"{layer}.{short}"


def sample(data: Data, channel: str, x: float, y: float, dx: float, dy: float) -> float:
    """Mean of a channel over a box around a place, counted from the bottom left, at the frame that is viewed."""
    from nk.evaluate import Evaluator

    from nuke._nodes import format_of

    picture = Evaluator(FACTS, format_of(), {}, session.layers).picture(data, session.frame)
    height = picture.size[1]
    box = (round(x - dx / 2), round(height - y - dy / 2), round(x + dx / 2), round(height - y + dy / 2))
    box = (box[0], box[1], max(box[2], box[0] + 1), max(box[3], box[1] + 1))
    return float(picture.over(box, channel).mean())
