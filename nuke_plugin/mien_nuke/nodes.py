"""What an artist built, read from Nuke's nodes: mien's chain, its settings as keys, the plate, the range."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from mien.hosts import frames as files
from mien.hosts import recipes
from mien_nuke import HERE
from mien_nuke.groups import WHOLE, wires

PASSING = ("Dot", "NoOp")
"""Classes that hand on what they get."""


class ShotError(Exception):
    """Something is missing in the script; the message names the node and says what to do."""


@lru_cache(maxsize=1)
def declared() -> dict:
    """The engine's nodes by id, as this plug-in knows them."""
    import mien

    file = Path(next(iter(mien.__path__))) / "nodes.json"
    return {entry["id"]: entry for entry in json.loads(file.read_text("utf-8"))["nodes"]}


@lru_cache(maxsize=1)
def usual() -> list:
    """The chain that ``mien convert`` builds."""
    steps: list = json.loads((HERE / "chain.json").read_text("utf-8"))["steps"]
    return steps


def kind(node: Any) -> str:
    """Which of mien's nodes this is; empty for every other node."""
    knob = node.knob("mien_node")
    return str(knob.value()) if knob is not None else ""


def source(node: Any, index: int) -> Any:
    """What feeds an input, dots passed over; None where nothing does."""
    found = node.input(index)
    while found is not None and found.Class() in PASSING:
        found = found.input(0)
    return found


def feeding(node: Any) -> Iterator[Any]:
    """A node and all of mien's that feed it, each once."""
    seen, waiting = [], [node]
    while waiting:
        one = waiting.pop(0)
        if one in seen:
            continue
        seen.append(one)
        yield one
        if kind(one) not in ("convert_face", "track_faces"):
            waiting += [
                other
                for other in (source(one, place) for place in range(one.inputs()))
                if other is not None and kind(other)
            ]


def after(node: Any) -> list:
    """Nodes of mien that a node feeds, dots passed over, that the engine works on."""
    found, waiting = [], list(node.dependent())
    while waiting:
        one = waiting.pop(0)
        if one.Class() in PASSING:
            waiting += one.dependent()
        elif kind(one) in declared() and one not in found:
            found.append(one)
    return found


def last_of(convert: Any) -> Any:
    """The node with which the chain behind a MienConvert ends.

    Raises:
        ShotError: It ends in several.
    """
    ends, seen, waiting = [], [], [convert]
    while waiting:
        one = waiting.pop(0)
        if one in seen:
            continue
        seen.append(one)
        following = after(one)
        waiting += following
        output = declared()[kind(one)]["output"]
        if output == "Layer" and not any(declared()[kind(other)]["output"] == "Layer" for other in following):
            ends.append(one)
    if len(ends) > 1:
        names = ", ".join(sorted(end.name() for end in ends))
        raise ShotError(f"The chain behind {convert.name()} ends in several nodes: {names}. Leave one.")
    return ends[0]


def value(knob: Any, param: Any, frame: float) -> Any:
    """A setting at a frame, as recipes hold it."""
    if param["kind"] == "float":
        return float(knob.getValueAt(frame))
    if param["kind"] == "int":
        return round(knob.getValueAt(frame))
    if param["kind"] == "bool":
        return bool(knob.getValueAt(frame))
    if param["kind"] == "menu":
        return param["choices"][int(knob.getValueAt(frame))]
    return str(knob.evaluate() if param["kind"] == "file" else knob.value())


def settings(node: Any, entry: Any, prefix: str, first: int, last: int) -> dict:
    """Settings of a node that differ from the defaults; what moves is sampled on every frame and told by keys."""
    found = {}
    for param in entry["params"]:
        knob = node.knob(prefix + param["name"])
        if knob is None:
            continue
        moves = param["kind"] in ("float", "int", "bool", "menu") and (knob.isAnimated() or knob.hasExpression())
        if moves and not entry["series"]:
            samples = {frame: value(knob, param, frame) for frame in range(first, last + 1)}
            held = recipes.keys_of(samples)
        else:
            held = value(knob, param, first)
        default = param["default"]
        if held != default and not (param["kind"] == "file" and held in ("", ".")):
            found[param["name"]] = held
    return found


def fed(convert: Any, index: int) -> Any:
    """What feeds an input of a MienConvert, dots and MienTracks passed over; None where nothing does."""
    found = source(convert, index)
    while found is not None and kind(found) == "track_faces":
        found = source(found, 0)
    return found


def behind(track: Any) -> list:
    """MienConverts that a MienTrack feeds."""
    return [other for other in after(track) if kind(other) == "convert_face"]


def plate_of(convert: Any) -> tuple:
    """Pattern, first and last frame of the plate that flows into a node, and its color space where it is known.

    Raises:
        ShotError: Nothing does, or nothing that the engine can read.
    """
    found = fed(convert, 0)
    if found is None:
        raise ShotError(f"{convert.name()}: connect the plate to its first input.")
    if found.Class() != "Read":
        from mien_nuke import plates

        holder = convert if kind(convert) == "convert_face" else next(iter(behind(convert)), None)
        if holder is None:
            raise ShotError(f"{convert.name()}: put it behind the plate's Read, or a MienConvert behind it.")
        return plates.told(holder, 0), int(found.firstFrame()), int(found.lastFrame()), plates.SPACE
    path = full_size(found)
    if "%v" in path.lower():
        raise ShotError(f"{found.name()}: mien works on one view at a time. Name one view's file in place of %V.")
    if not path:
        raise ShotError(f"{found.name()}: choose the plate's file.")
    return path, int(found["first"].value()), int(found["last"].value()), None


def full_size(read: Any) -> str:
    """A Read's file with its frame number open; in proxy mode too the full one, so that a recipe is the same."""
    import nuke

    path = nuke.filename(read) or ""
    small = read.knob("proxy")
    return str(read["file"].value()) if small is not None and path and path == str(small.value()) else path


def track_node(convert: Any) -> Any:
    """The MienTrack between the plate and a MienConvert; None where there is none."""
    found = source(convert, 0)
    return found if found is not None and kind(found) == "track_faces" else None


def shot_folder(convert: Any) -> Path:
    """Where everything of a shot goes.

    Raises:
        ShotError: It is not said, and the script was not saved.
    """
    import nuke

    said = str(convert["folder"].evaluate()) if convert.knob("folder") is not None else ""
    if said:
        return Path(said)
    name = nuke.root().name()
    if not name or name == "Root":
        raise ShotError(f"Save the script first, or choose a folder on {convert.name()}.")
    return Path(name).parent / "mien" / Path(name).stem


def settle(convert: Any) -> None:
    """Write down where a shot goes once something is made there: a script that is saved as v002 finds it again."""
    if not convert["folder"].value():
        convert["folder"].setValue(shot_folder(convert).as_posix())


def range_of(convert: Any) -> tuple:
    """First and last frame that are rendered, within the plate's."""
    import nuke

    _, first, last, _ = plate_of(convert)
    chosen = convert["range"].value()
    if chosen == "global":
        root = nuke.root()
        wanted = (int(root["first_frame"].value()), int(root["last_frame"].value()))
    elif chosen == "custom":
        wanted = (int(convert["first"].value()), int(convert["last"].value()))
    else:
        wanted = (first, last)
    handles = int(convert["handles"].value())
    low, high = max(first, wanted[0] - handles), min(last, wanted[1] + handles)
    if high < low:
        asked = f"{wanted[0]} to {wanted[1]}"
        raise ShotError(f"{convert.name()}: the plate has no frames {asked}; it has {first} to {last}.")
    return low, high


def name_of(convert: Any) -> str:
    """What the files of a node are called: after the node, which is unique in a script."""
    return str(convert.name())


def version_folder(convert: Any) -> Path:
    """Where the frames of the chosen version go: the folder, and below it what the template says.

    Raises:
        ShotError: The template leads out of the folder, or would give two versions one place.
    """
    import nuke

    said = str(convert["template"].value())
    place = said.replace("<node>", name_of(convert)).replace("<version>", f"{int(convert['version'].value()):03d}")
    place = place.replace("<script>", Path(nuke.root().name()).stem)
    if "<version>" not in said or "<node>" not in said:
        raise ShotError(f"{convert.name()}: output needs <node> and <version>, so that no render covers another.")
    if Path(place).is_absolute() or ".." in Path(place).parts:
        raise ShotError(f"{convert.name()}: output lies below the folder: {said} leads out of it.")
    return shot_folder(convert) / place


def identity_file(convert: Any) -> Path:
    """The identity that is put on: the chosen one, else what Analyse makes of the reference input.

    Raises:
        ShotError: Neither is there.
    """
    said = str(convert["identity"].evaluate())
    if said:
        return Path(said)
    if fed(convert, 2) is None:
        raise ShotError(f"{convert.name()}: choose an identity, or connect a photograph to the input reference.")
    return shot_folder(convert) / f"{name_of(convert)}.reference.safetensors"


def reference(convert: Any) -> str | None:
    """The photograph or take from which the identity must be made first; None where that was done, or is not asked.

    Raises:
        ShotError: It is no Read, or nobody said whose face it is.
    """
    shown = fed(convert, 2)
    if convert["identity"].evaluate() or shown is None:
        return None
    if shown.Class() != "Read":
        raise ShotError(f"{convert.name()}: connect the reference's Read itself: its file is what the engine opens.")
    path = full_size(shown)
    if not convert["likeness"].value() or not convert["release"].value():
        raise ShotError(f"{convert.name()}: say whose likeness the reference is, and under which release.")
    made = identity_file(convert)
    file = Path(files.file_at(path, int(shown["first"].value())))
    if made.is_file() and file.is_file() and made.stat().st_mtime_ns >= file.stat().st_mtime_ns:
        return None
    return path


def track_file(convert: Any) -> Path:
    """The track: chosen on MienConvert, on the MienTrack above, or the shot's own."""
    above = track_node(convert)
    for node in (convert, above):
        said = str(node["track"].evaluate()) if node is not None else ""
        if said:
            return Path(said)
    return shot_folder(convert) / "track.json"


def own_track(node: Any) -> Path:
    """The file that a MienTrack writes."""
    said = str(node["track"].evaluate())
    return Path(said) if said else shot_folder(node) / "track.json"


def chosen_face(node: Any) -> str | None:
    """Whom a MienTrack's menu names; None where it leaves that to the engine."""
    name = str(node["face"].value())
    return None if name == "auto" else name


def space_of(node: Any) -> str | None:
    """The color space of the plate's file that a node names; None where it names none."""
    knob = node.knob("colorspace")
    return (str(knob.value()) or None) if knob is not None else None


def placed(convert: Any, first: int, last: int) -> tuple:
    """The nodes that make a recipe, and the name of the last; without followers the usual chain with its knobs."""
    end = last_of(convert)
    known = declared()
    smooth = _smoothing(convert, first, last)
    own = recipes.Placed(convert.name(), "convert_face", {}, settings(convert, known["convert_face"], "", first, last))
    if end == convert:
        return [smooth, own, *_usual(convert, first, last)], usual()[-1]["name"]
    nodes = [smooth, own]
    for node in feeding(end):
        identifier = kind(node)
        if identifier in WHOLE:
            continue
        entry, inputs = known[identifier], {}
        for place, port in enumerate(wires(entry)):
            fed = source(node, place)
            if fed is not None and kind(fed) in known:
                inputs[port["name"]] = fed.name()
        nodes.append(recipes.Placed(node.name(), identifier, inputs, settings(node, entry, "", first, last)))
    return nodes, end.name()


def _smoothing(convert: Any, first: int, last: int) -> recipes.Placed:
    above = track_node(convert)
    held = settings(above, declared()["smooth_track"], "smooth__", first, last) if above is not None else {}
    return recipes.Placed("smooth_track", "smooth_track", {"track": "track"}, held)


def _usual(convert: Any, first: int, last: int) -> list:
    names = {"convert_face": convert.name()}
    found = []
    for step in usual():
        if step["node"] in WHOLE:
            continue
        inputs = {port: names.get(fed, fed) for port, fed in step["inputs"].items()}
        held = settings(convert, declared()[step["node"]], step["name"] + "__", first, last)
        found.append(recipes.Placed(step["name"], step["node"], inputs, held))
    return found


def document(convert: Any) -> dict:
    """The recipe of a MienConvert and all that follows it: the same script, the same recipe, on every machine.

    Raises:
        ShotError, ChainError: Something is missing; the message says what.
    """
    path, first, last, known = plate_of(convert)
    identity = str(identity_file(convert))
    nodes, end = placed(convert, first, last)
    above = track_node(convert)
    face = str(convert["face"].value()) or (chosen_face(above) if above is not None else None)
    roto = fed(convert, 1)
    if roto is not None:
        from mien_nuke import plates

        file = str(roto["file"].value()) if roto.Class() == "Read" else plates.told(convert, 1)
        nodes = [_with_roto(node, pattern(file)) for node in nodes]
    return recipes.document(
        plate=pattern(path), first=first, last=last,
        steps=recipes.steps_of(nodes, end, list(declared().values()), usual()), track=str(track_file(convert)),
        identity=identity, folder=str(version_folder(convert)), name=name_of(convert), face=face or None,
        colorspace=known or space_of(convert), write=["layer"], pixels=str(convert["quality"].value()),
    )  # fmt: skip


def pattern(path: str) -> str:
    """A path as recipes have it: one that holds a frame's number as it is, without a look at the disk."""
    return path if "%0" in Path(path).name else files.frames_of(path).pattern


def _with_roto(node: recipes.Placed, file: str) -> recipes.Placed:
    if node.node != "hold_out" or "file" in node.settings:
        return node
    return recipes.Placed(node.name, node.node, node.inputs, {**node.settings, "file": file})


def comps(convert: Any) -> list:
    """MienComp nodes that a MienConvert's face flows into."""
    found, seen, waiting = [], [], [convert]
    while waiting:
        one = waiting.pop(0)
        for other in one.dependent():
            if other in seen:
                continue
            seen.append(other)
            if kind(other) == "comp":
                found.append(other)
            elif other.Class() in PASSING or kind(other):
                waiting.append(other)
    return found


def layer_pattern(convert: Any) -> str:
    """Pattern of the rendered layers."""
    folder, name = version_folder(convert), name_of(convert)
    return (folder / "layer" / (name + ".%04d.exr")).as_posix()


def names(nodes: Sequence[Any]) -> str:
    """Names of nodes, for people."""
    return ", ".join(sorted(node.name() for node in nodes))
