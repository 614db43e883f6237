"""What a track is good for in the comp: nodes that follow the face, a face that holds still for paint, hand keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mien.hosts.watch import Shown
from mien_nuke import actions, nodes, talk, text
from mien_nuke.nodes import ShotError

POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
"""Knobs of the five points by which a face is placed by hand; left and right are those of the picture."""
PICTURE = ("on_error black", "before black", "after black", "raw true")


def pins(node: Any) -> None:
    """A CornerPin2D and a Transform with a key on every frame, for each person or for the chosen one."""
    file = nodes.shot_folder(node) / f"{node.name()}.nk"
    _export(node, [str(file)], lambda: paste(node, file))


def still(node: Any) -> None:
    """A pair of STMap nodes: between them the face holds still; what is painted there goes back onto the plate."""
    _, first, last, _ = nodes.plate_of(node)
    maps = nodes.shot_folder(node) / "stmap" / f"{node.name()}.####.exr"
    maps.parent.mkdir(parents=True, exist_ok=True)

    def finish() -> None:
        file = nodes.shot_folder(node) / f"{node.name()}.still.nk"
        paths = {kind: maps.with_name(f"{node.name()}.{kind}.%04d.exr").as_posix() for kind in ("stabilize", "restore")}
        file.write_text(stilled(paths, first, last), "utf-8")
        paste(node, file)

    _export(node, [str(maps)], finish)


def stilled(maps: Mapping[str, str], first: int, last: int) -> str:
    """The nodes of ``still`` as text to paste: pixels that nobody painted are the plate's, bit for bit.

    Alpha is emptied first, so that it says what was painted; where a face was lost the maps are black, and nothing
    is painted there.
    """
    reads = {
        kind: text.node(
            "Read", "inputs 0", "file_type exr", f"file {text.word(path)}", f"first {first}", f"last {last}",
            *PICTURE, f"name Map_{kind}",
        )
        for kind, path in maps.items()
    }  # fmt: skip
    lines = [
        "set cut_paste_input [stack 0]",
        "version 14.1 v5",
        "push $cut_paste_input",
        *text.node("Dot", f"label {text.word('plate')}", "name Still_plate"),
        "set Nplate [stack 0]",
        *reads["stabilize"],
        "push $Nplate",
        *text.node("Expression", "expr3 0", "name Still_unpainted"),
        *text.node("STMap", "inputs 2", "channels rgba", "uv rgb", "name Stabilize"),
        *text.node("NoOp", f"label {text.word('paint below, in rgba')}", "name Paint"),
        "set Npaint [stack 0]",
        *reads["restore"],
        "push $Npaint",
        *text.node("STMap", "inputs 2", "channels rgba", "uv rgb", "name Restore"),
        "set Nrestored [stack 0]",
        "push $Nrestored",
        "push $Nplate",
        *text.node("Keymix", "inputs 3", "channels rgb", "maskChannel alpha", "bbox B", "name Painted"),
    ]
    return "\n".join([*lines, ""])


def paste(node: Any, file: Path) -> None:
    """Paste a file's nodes behind a node; one step of undo."""
    import nuke

    with nuke.Undo("mien " + file.stem):
        for other in nuke.selectedNodes():
            other.setSelected(False)
        node.setSelected(True)
        nuke.nodePaste(file.as_posix())


def key(node: Any) -> None:
    """Set a key of all five points on the viewed frame: there the face is where they are."""
    import nuke

    frame = nuke.frame()
    with nuke.Undo("mien key"):
        for name in POINTS:
            knob = node[name]
            places = [float(knob.getValueAt(frame, index)) for index in (0, 1)]
            for index, place in enumerate(places):
                knob.setAnimated(index)
                knob.setValueAt(place, frame, index)
    actions.status(node, f"placed by hand: {', '.join(str(at) for at in keyed(node))}")


def keyed(node: Any) -> list:
    """Frames on which any of the five points has a key."""
    animated = [node[name] for name in POINTS if node[name].isAnimated()]
    return sorted({round(frame) for knob in animated for frame in knob.getKeyList()})


def keys(node: Any, folder: Path, first: int, last: int) -> list:
    """The frames that were placed by hand, as files of points, and what a request for a track calls them.

    Raises:
        ShotError: Points lie on one another.
    """
    said = []
    for frame in keyed(node):
        if not first <= frame <= last:
            continue
        points = {name: [float(node[name].getValueAt(frame, index)) for index in (0, 1)] for name in POINTS}
        if len({tuple(place) for place in points.values()}) < len(POINTS):
            raise ShotError(f"{node.name()}: on frame {frame} two points are in one place. Drag them apart.")
        document = {
            "scheme": "five",
            "origin": "bottom left",
            "points": {name.replace("_", " "): place for name, place in points.items()},
        }
        path = folder / "keys" / f"{node.name()}.{frame}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
        said.append(f"{frame}:{path}")
    return said


def _export(node: Any, outputs: list, then: Callable[[], None]) -> None:
    """Have the engine write the track for other programs, then go on."""
    track = nodes.own_track(node)
    if not track.is_file():
        raise ShotError(f"{node.name()}: there is no track {track}. Press Track first.")
    folder = nodes.shot_folder(node)
    folder.mkdir(parents=True, exist_ok=True)
    _, first, last, _ = nodes.plate_of(node)
    held = nodes.settings(node, nodes.declared()["smooth_track"], "smooth__", first, last)

    def finish(shown: Shown) -> None:
        actions.status(node, shown.error or "written")
        if shown.error:
            actions.tell(shown.error)
            return
        actions.told(lambda _: then())(node)

    talk.work(
        node.name(), "mien: follow the face", "export", finish, folder=str(folder), track=str(track), outputs=outputs,
        face=nodes.chosen_face(node), settings={f"smooth_track.{name}": value for name, value in held.items()},
    )  # fmt: skip
