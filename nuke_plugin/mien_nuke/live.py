"""Auto update: the viewed frame follows the knobs and the playhead, as fast as the engine answers.

A change is asked for at once, at the size that is expected to be quick. While the engine works on a picture further
changes wait, and the newest of them is asked for next; once nothing moves the frame is asked for at full size.
Nothing here waits or looks at the disk on the main thread.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

from mien.client import LAST
from mien_nuke import nodes, talk

REST = 0.5
"""Seconds without a change after which the frame is wanted at full size."""
SETTLE = 0.02
"""Seconds in which moves of the playhead count as one."""
LAYERS = ["layer", "raw", "matte"]
OTHERS = ("identity", "track", "face", "colorspace", "range", "first", "last", "handles", "inputChange", "disable")
"""Knobs beside the settings of the nodes that change the picture."""
SOLVED = {"stale": ", the match is of earlier settings", "none": ", not solved over the shot yet"}


class Watch:
    """What is live of one MienConvert.

    Attributes:
        request: What the engine works on.
        changed: Whether something moved since that was asked.
        turn: Counts what was asked, so that an answer, or a rest, that is overtaken is known.
    """

    def __init__(self) -> None:
        self.request: Any = None
        self.changed = False
        self.turn = 0


class Eye:
    """Which nodes are live, by their full names, and where the playhead was seen."""

    def __init__(self) -> None:
        self.watched: dict = {}
        self.frame: Any = None
        self.waiting = False


eye = Eye()


def heard() -> None:
    """A knob changed: callback of Nuke."""
    import nuke

    node, knob = nuke.thisNode(), nuke.thisKnob()
    kind = nodes.kind(node)
    if not kind:
        return
    if knob.name() == "auto_update":
        begin(node) if knob.value() else end(node)
    elif eye.watched and _counts(node, kind, knob.name()):
        for convert in converts(node):
            if convert.fullName() in eye.watched:
                ask(convert)


def converts(node: Any) -> list:
    """The MienConverts whose picture depends on a node of mien."""
    if nodes.kind(node) == "track_faces":
        return [other for other in nodes.after(node) if nodes.kind(other) == "convert_face"]
    return [other for other in nodes.feeding(node) if nodes.kind(other) == "convert_face"]


def _counts(node: Any, kind: str, name: str) -> bool:
    params = nodes.declared().get(kind, {}).get("params", ())
    return name in OTHERS or "__" in name or any(param["name"] == name for param in params)


def idled() -> None:
    """Nuke idles: whether the playhead has moved. Touches nothing but memory."""
    import nuke

    frame = nuke.frame()
    if frame == eye.frame or not eye.watched:
        return
    eye.frame = frame
    if not eye.waiting:
        eye.waiting = True
        _later(SETTLE, _moved)


def _moved() -> None:
    eye.waiting = False
    for name in list(eye.watched):
        convert = _node(name)
        if convert is not None:
            ask(convert)


def begin(convert: Any) -> None:
    """Have a MienConvert follow its knobs from now on."""
    import nuke

    for name in ("live", "live_on", "live_frame", "live_scale", "status"):
        convert[name].setFlag(nuke.NO_UNDO)
    eye.watched[convert.fullName()] = Watch()
    eye.frame = nuke.frame()
    try:
        nodes.shot_folder(convert).mkdir(parents=True, exist_ok=True)
    except (nodes.ShotError, OSError) as error:
        convert["status"].setValue(f"live: {error}")
        return
    ask(convert)


def end(convert: Any) -> None:
    """Show the render again."""
    watch = eye.watched.pop(convert.fullName(), None)
    if watch is not None and watch.request is not None:
        watch.request.cancel()
    convert["live_on"].setValue(False)
    convert["status"].setValue("")


def rest() -> None:
    """A render begins: it gets what was rendered, not a picture to look at. Callback of Nuke."""
    for name in list(eye.watched):
        convert = _node(name)
        if convert is not None:
            convert["live_on"].setValue(False)


def forget() -> None:
    """Another script was opened."""
    for watch in eye.watched.values():
        if watch.request is not None:
            watch.request.cancel()
    eye.watched.clear()


def ask(convert: Any, scale: Any = None) -> None:
    """Ask for the viewed frame as everything is dialed now; returns at once."""
    import nuke

    name = convert.fullName()
    watch = eye.watched[name]
    watch.turn += 1
    if watch.request is not None:
        watch.changed = True
        return
    watch.changed = False
    try:
        recipe, folder = nodes.document(convert), nodes.shot_folder(convert)
    except (nodes.ShotError, ValueError) as error:
        convert["status"].setValue(f"live: {error}")
        return
    watch.request = talk.engine().ask(
        "render", listen=partial(_hear, name), recipe=recipe, folder=folder.as_posix(), frame=nuke.frame(),
        viewer="nuke " + name, scale=scale, layers=LAYERS,
    )  # fmt: skip


def _hear(name: str, event: dict) -> None:
    """In a thread of the client: hand the last word to the main thread."""
    import nuke

    if event.get("event") in LAST:
        nuke.executeInMainThread(_answered, args=(name, event))


def _answered(name: str, event: dict) -> None:
    convert, watch = _node(name), eye.watched.get(name)
    if convert is None or watch is None:
        eye.watched.pop(name, None)
        return
    watch.request = None
    if event["event"] == "done":
        _show(convert, event)
    elif event["event"] in ("error", "died"):
        convert["live_on"].setValue(False)
        convert["status"].setValue(f"live: {event.get('message', '')}")
    if watch.changed:
        ask(convert)
    elif event["event"] == "done" and event["scale"] != 1:
        _later(REST, partial(_refine, name, watch.turn))


def _refine(name: str, turn: int) -> None:
    convert, watch = _node(name), eye.watched.get(name)
    if convert is not None and watch is not None and watch.turn == turn:
        ask(convert, 1)


def _show(convert: Any, answer: dict) -> None:
    """Have the picture read; of another frame than the viewed one the render is shown."""
    path = str(answer["path"]).replace("\\", "/")
    again = convert["live"].value() == path
    convert["live"].setValue(path)
    convert["live_scale"].setValue(1.0 / answer["scale"])
    convert["live_frame"].setValue(int(answer["frame"]))
    convert["live_on"].setValue(True)
    if again:
        convert.node("Live")["reload"].execute()
    size = "" if answer["scale"] == 1 else f" at {answer['scale']:g}"
    face = "" if answer["face"] else ", no face"
    solved = SOLVED.get(answer["solve"], "")
    convert["status"].setValue(f"live: frame {answer['frame']}{size}, {answer['seconds']:.2f} s{face}{solved}")


def _node(name: str) -> Any:
    import nuke

    return nuke.toNode(name)


def _later(seconds: float, call: Any) -> None:
    """Have the main thread call something after a while."""
    import nuke

    timer = threading.Timer(seconds, lambda: nuke.executeInMainThread(call))
    timer.daemon = True
    timer.start()
