"""A chain of nodes as data: read, check, hash.

A recipe is one JSON document::

    {"mien_recipe": 1,
     "plate": {"path": "plate.%04d.exr", "first": 1001, "last": 1048, "colorspace": null, "part": null},
     "ocio": null,
     "track": "track.json", "face": "A",
     "identity": "performer.safetensors",
     "steps": [{"name": "edge", "node": "matte_edge", "inputs": {"layer": "matte"},
                "settings": {"grow": 0.02, "soften": [[1001, 0.02], [1048, 0.05]]}}],
     "output": {"folder": "out", "write": ["layer"], "window": "face", "pixels": "half"}}

An input names an earlier step or one of the values every recipe has: ``plate``, ``track``, ``identity``, ``roto``.
A setting is a value or a list of keys ``[[frame, value], [frame, value, "smooth"], ...]``; a key's third part
says how numbers go on to the next key, linearly if it is left out. Standard library only; relative paths are
relative to the recipe's folder.
"""

import hashlib
import json
import re
import typing
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from reprlib import repr as brief
from types import UnionType
from typing import Any

from mien.declare import DeclarationError, Node, is_text, nearest, shipped

VERSION = 1
GIVEN = {"plate": "Plate", "track": "FaceTrack", "identity": "Identity", "roto": "Roto"}
"""What every recipe has before its first step, and of which type it is."""
WRITES = ("layer", "host", "full", "movie", "stmap")
CODECS = ("h264", "h264-10bit", "prores4444", "prores422hq", "prores422", "dnxhr-hqx", "dnxhr-444")
WORDS = {str: "text", int: "a whole number", bool: "true or false", tuple: "a list", Mapping: "an object with names"}
ONWARD = ("constant", "linear", "smooth")
"""How a number goes on from a key to the next."""
FARTHEST = 10**8
"""Largest frame number."""
MOST_AT_ONCE = 64
"""Frames that an identity's network may draw at once."""
STEP_NAME = re.compile(r"[A-Za-z_]\w*")
"""Steps name files and settings."""
FILE_NAME = re.compile(r"\w[\w .,+()-]*")
"""Leaves out what leads to other folders, what stands for a frame number, and what some systems forbid."""
SIZE_LIMIT = 64 * 2**20
"""Bytes of the largest recipe that is read."""


class RecipeError(ValueError):
    """A recipe that cannot run; the message says where and what to do."""


@dataclass(frozen=True)
class PlateChoice:
    """Which frames of which plate; ``part`` chooses a part or layer of a multi-layer file."""

    path: str
    first: int
    last: int
    colorspace: str | None = None
    part: str | None = None


@dataclass(frozen=True)
class Step:
    """One node at work."""

    name: str
    node: str
    inputs: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Output:
    """What is written where.

    Attributes:
        folder: Folder of all outputs.
        name: What every file's name begins with.
        write: Which of ``layer``, ``host``, ``full``, ``movie``, ``stmap``.
        window: Data window of layers: ``face`` (the region) or ``full`` (the plate's window).
        pixels: ``half`` or ``float`` for layers.
        side_by_side: Movies show plate and result next to each other.
        height: Movies are scaled to this height in pixels; None keeps the plate's.
        codec: How movies are coded, one of ``CODECS``.
    """

    folder: str
    name: str = "face"
    write: tuple[str, ...] = ("layer",)
    window: str = "face"
    pixels: str = "half"
    side_by_side: bool = False
    height: int | None = None
    codec: str = "h264"


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a render.

    Attributes:
        batch: Frames that an identity's network draws at once, where it can.
    """

    plate: PlateChoice
    steps: tuple[Step, ...]
    output: Output
    identity: str
    track: str
    face: str | None = None
    ocio: str | None = None
    batch: int = 1

    def step(self, name: str) -> Step:
        """The step called ``name``."""
        for step in self.steps:
            if step.name == name:
                return step
        raise RecipeError(f"The recipe has no step {name!r}{nearest(name, [s.name for s in self.steps])}")

    def upstream(self, name: str) -> tuple[Step, ...]:
        """The steps that ``name`` depends on and itself, in running order."""
        needed: set[str] = {name}
        for step in reversed(self.steps):
            if step.name in needed:
                needed.update(step.inputs.values())
        return tuple(step for step in self.steps if step.name in needed)


CONVERT = (
    Step("smooth_track", "smooth_track", {"track": "track"}),
    Step("convert_face", "convert_face", {"plate": "plate", "face": "smooth_track", "identity": "identity"}),
    Step("steady_face", "steady_face", {"layers": "convert_face", "plates": "plate"}),
    Step("face_matte", "face_matte", {"layer": "steady_face", "face": "smooth_track"}),
    Step("matte_edge", "matte_edge", {"layer": "face_matte", "face": "smooth_track"}),
    Step("hold_out", "hold_out", {"layer": "matte_edge", "roto": "roto"}),
    Step("refine_matte", "refine_matte", {"layer": "hold_out", "plate": "plate"}),
    Step("steady_matte", "steady_matte", {"layers": "refine_matte", "plates": "plate"}),
    Step("measure_color", "measure_color", {"layer": "hold_out", "plate": "plate", "face": "smooth_track"}),
    Step("match_color", "match_color", {"samples": "measure_color"}),
    Step("plate_white", "plate_white", {"samples": "measure_color"}),
    Step("grade_face", "grade_face", {"layer": "steady_matte", "grade": "match_color"}),
    Step("deflicker", "deflicker", {"samples": "measure_color", "grades": "match_color"}),
    Step("level_face", "level_face", {"layer": "grade_face", "grade": "deflicker"}),
    Step(
        "relight",
        "relight",
        {"layer": "level_face", "plate": "plate", "face": "smooth_track", "white": "plate_white"},
    ),
    Step("measure_detail", "measure_detail", {"layer": "relight", "plate": "plate", "face": "smooth_track"}),
    Step("match_detail", "match_detail", {"samples": "measure_detail"}),
    Step(
        "detail_face",
        "detail_face",
        {"layer": "relight", "plate": "plate", "face": "smooth_track", "detail": "match_detail"},
    ),
    Step("code_face", "code_face", {"layer": "detail_face", "plate": "plate", "white": "plate_white"}),
    Step("clean_edge", "clean_edge", {"layer": "code_face", "plate": "plate"}),
    Step(
        "composite",
        "composite",
        {"layer": "clean_edge", "plate": "plate", "face": "smooth_track", "white": "plate_white"},
    ),
)
"""The chain that ``mien convert`` builds."""


def check(recipe: Recipe) -> Recipe:
    """The recipe with every default written out and every value of its declared kind.

    Raises:
        RecipeError: An unknown node, input or setting, a wrong type or range, a step used before it ran.
    """
    nodes = {node.id: node for node in shipped()}
    flowing = dict(GIVEN)
    steps = []
    for step in recipe.steps:
        if step.node not in nodes:
            raise RecipeError(f"Step {step.name!r}: there is no node {step.node!r}{nearest(step.node, nodes)}")
        if not STEP_NAME.fullmatch(step.name):
            raise RecipeError(f"A step is called {step.name!r}: use letters, digits and _, beginning with a letter.")
        if step.name in flowing:
            raise RecipeError(f"Step {step.name!r} appears twice: give each step a name of its own.")
        node = nodes[step.node]
        step = _facing(step, node, flowing)
        _check_wiring(step, node, flowing)
        steps.append(replace(step, settings=_check_settings(step, node)))
        flowing[step.name] = node.output
    if not steps or flowing[steps[-1].name] != "Layer":
        raise RecipeError("The last step of a recipe must give a Layer: end with a node such as composite.")
    if not FILE_NAME.fullmatch(recipe.output.name):
        raise RecipeError(f"Files cannot begin with {recipe.output.name!r}: use letters, digits, spaces and ._-,+().")
    if not recipe.output.write:
        raise RecipeError(f"Say what to write: {', '.join(WRITES)}.")
    if recipe.output.height is not None and not 16 <= recipe.output.height <= 16384:
        raise RecipeError(f"Movies cannot be {recipe.output.height} pixels high: choose 16 to 16384.")
    for word in recipe.output.write:
        if word not in WRITES:
            raise RecipeError(f"Cannot write {word!r}{nearest(word, WRITES)}")
    for name, allowed in {
        "window": ("face", "full"),
        "pixels": ("half", "float"),
        "codec": CODECS,
    }.items():
        if getattr(recipe.output, name) not in allowed:
            raise RecipeError(f"Output {name} is {getattr(recipe.output, name)!r}: choose {' or '.join(allowed)}.")
    if not 1 <= recipe.batch <= MOST_AT_ONCE:
        raise RecipeError(f"A network cannot draw {recipe.batch} frames at once: choose 1 to {MOST_AT_ONCE}.")
    if recipe.plate.last < recipe.plate.first:
        raise RecipeError(f"The plate ends at {recipe.plate.last}, before it begins at {recipe.plate.first}.")
    return replace(recipe, steps=tuple(steps))


def plain_name(text: str) -> str:
    """``text`` as a name that files can begin with."""
    return re.sub(r"[^\w .,+()-]", "_", text).lstrip(" .,+()-") or "shot"


def at_frame(settings: Mapping[str, Any], frame: int) -> dict[str, Any]:
    """Checked settings with keys evaluated at one frame."""
    return {name: _value_at(value, frame) if _keyed(value) else value for name, value in settings.items()}


def change_steps(steps: Sequence[Step], assignments: Mapping[str, Any]) -> tuple[Step, ...]:
    """Steps with settings changed by ``STEP.PARAM`` (or ``NODE.PARAM``, for every step of that node).

    Raises:
        RecipeError: No such step.
    """
    changed = list(steps)
    for path, value in assignments.items():
        target, _, name = path.partition(".")
        rows = [i for i, s in enumerate(changed) if target in (s.name, s.node)]
        if not name or not rows:
            if name:
                known = dict.fromkeys(known for s in changed for known in (s.name, s.node))
                raise RecipeError(f"Cannot set {path!r}: no step {target!r}{nearest(target, known)}")
            raise RecipeError(f"Cannot set {path!r}: write STEP.PARAM=VALUE, as in matte_edge.soften=0.05.")
        for row in rows:
            changed[row] = replace(changed[row], settings={**changed[row].settings, name: value})
    return tuple(changed)


def located(steps: Sequence[Step], folder: Path) -> tuple[Step, ...]:
    """Steps whose settings name files by their whole paths; relative ones lie below ``folder``."""
    files = {node.id: [param.name for param in node.params if param.kind == "file"] for node in shipped()}

    def there(value: Any) -> Any:
        if _keyed(value):
            return [[k[0], there(k[1]), *k[2:]] if isinstance(k, list | tuple) and len(k) > 1 else k for k in value]
        return str(folder / value) if isinstance(value, str) and value not in ("", ".") else value

    moved = []
    for step in steps:
        named = {name: there(step.settings[name]) for name in files.get(step.node, ()) if name in step.settings}
        moved.append(replace(step, settings={**step.settings, **named}) if named else step)
    return tuple(moved)


def digest(*parts: Any) -> str:
    """Hash of plain data, independent of the order of its keys: 32 hexadecimal digits."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def write(recipe: Recipe) -> str:
    """The recipe as its JSON document."""
    plain = asdict(recipe)
    steps = plain.pop("steps")
    document = {"mien_recipe": VERSION, **plain, "steps": steps}
    return json.dumps(document, indent=1, default=_plain) + "\n"


def read(path: Path) -> Recipe:
    """Read and check a recipe file; its relative paths become absolute.

    Raises:
        RecipeError: The file is missing, damaged, of another version, or cannot run.
    """
    try:
        size = path.stat().st_size
        # A pipe or a device may never end.
        readable = (path.is_file() or path.is_dir()) and size <= SIZE_LIMIT
        document = json.loads(path.read_text("utf-8")) if readable else None
    except OSError as error:
        raise RecipeError(f"Cannot read the recipe {path}: {error.strerror}. Check the path.") from error
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{path} is no mien recipe, or damaged: {error}.") from error
    if not isinstance(document, dict) or "mien_recipe" not in document:
        raise RecipeError(f"{path} is no mien recipe: it has no 'mien_recipe' version.")
    if document["mien_recipe"] != VERSION:
        raise RecipeError(f"{path} was written by another version of mien: this one reads version {VERSION}.")
    try:
        return parse(document, path.parent.resolve())
    except RecipeError as error:
        # What is wrong may quote a name of any length.
        raise RecipeError(f"{path}: {str(error)[:1000]}") from error


def parse(document: Mapping[str, Any], folder: Path) -> Recipe:
    """The checked recipe of a document; its paths are relative to ``folder``.

    Raises:
        RecipeError: It is of another version, or cannot run.
    """
    if document.get("mien_recipe") != VERSION:
        raise RecipeError(f"The recipe does not say that its 'mien_recipe' version is {VERSION}, which is read here.")
    plain = {name: value for name, value in document.items() if name != "mien_recipe"}
    return check(_absolute(_record(Recipe, plain, "the recipe"), folder))


def _record(kind: Any, value: Any, where: str) -> Any:
    """The value class ``kind`` filled from an object of the document, every field of its declared type."""
    if not isinstance(value, dict):
        raise RecipeError(f"{where} is {brief(value)}: it should be an object with names.")
    known = {entry.name: entry for entry in fields(kind)}
    for name in value:
        if name not in known:
            raise RecipeError(f"{where} has no {brief(name)}{nearest(name, known)}")
    for name, entry in known.items():
        if name not in value and entry.default is MISSING and entry.default_factory is MISSING:
            raise RecipeError(f"{where} lacks {name!r}.")
    return kind(**{name: _typed(given, known[name].type, f"{where}, {name}") for name, given in value.items()})


def _typed(value: Any, kind: Any, where: str) -> Any:
    """``value`` from the document as the type that a field is annotated with; lists become tuples."""
    outer, inner = typing.get_origin(kind), typing.get_args(kind)
    if is_dataclass(kind):
        return _record(kind, value, where)
    if outer is tuple and isinstance(value, list):
        return tuple(_typed(one, inner[0], f"{where} {row}") for row, one in enumerate(value, start=1))
    if outer is Mapping and isinstance(value, dict):
        return {name: _typed(one, inner[1], f"{where} {brief(name)}") for name, one in value.items()}
    if outer is UnionType:
        return None if value is None else _typed(value, inner[0], where)
    fine = kind is Any or type(value) is kind
    if not fine or (kind is str and not is_text(value)) or (kind is int and abs(value) > FARTHEST):
        raise RecipeError(f"{where} is {brief(value)}: give {WORDS.get(outer or kind, 'something else')}.")
    return value


def _absolute(recipe: Recipe, folder: Path) -> Recipe:
    return replace(
        recipe,
        plate=replace(recipe.plate, path=str(folder / recipe.plate.path)),
        track=str(folder / recipe.track),
        identity=str(folder / recipe.identity),
        ocio=recipe.ocio if recipe.ocio is None or "://" in recipe.ocio else str(folder / recipe.ocio),
        output=replace(recipe.output, folder=str(folder / recipe.output.folder)),
        steps=located(recipe.steps, folder),
    )


def _facing(step: Step, node: Node, flowing: Mapping[str, str]) -> Step:
    """The step with its face: older recipes do not name it where the node did not look at it then.

    It is that of the track which the steps before it made.
    """
    track = [name for name, kind in flowing.items() if kind == "FaceTrack"][-1]
    absent = {port.name: track for port in node.inputs if port.type == "Face" and port.name not in step.inputs}
    return replace(step, inputs={**step.inputs, **absent}) if absent else step


def _check_wiring(step: Step, node: Node, flowing: Mapping[str, str]) -> None:
    ports = {port.name: port for port in node.inputs}
    for name in step.inputs:
        if name not in ports:
            raise RecipeError(f"Step {step.name!r}: {node.id} has no input {name!r}{nearest(name, ports)}")
    for port in node.inputs:
        source = step.inputs.get(port.name)
        if source is None:
            raise RecipeError(f"Step {step.name!r}: nothing flows into {port.name!r}. Name a step that gives it.")
        if source not in flowing:
            raise RecipeError(f"Step {step.name!r}: {source!r} is not known yet{nearest(source, flowing)}")
        if not _fits(flowing[source], port.type):
            raise RecipeError(
                f"Step {step.name!r}: {source!r} gives a {flowing[source]}, {port.name!r} takes a {port.type}."
            )


def _fits(given: str, wanted: str) -> bool:
    """Whether a value of one type flows into a port of another: a shot's value is read at the frame,
    and a frame's value is gathered over the shot."""
    return (
        given == wanted
        or wanted in (f"Series[{given}]", f"Window[{given}]")
        or given == f"Series[{wanted}]"
        or (given, wanted) == ("FaceTrack", "Face")
    )


def _check_settings(step: Step, node: Node) -> dict[str, Any]:
    try:
        for name in step.settings:
            node.param(name)
    except DeclarationError as error:
        raise RecipeError(f"Step {step.name!r}: {error}") from error
    try:
        checked = {}
        for param in node.params:
            value = step.settings.get(param.name, param.default)
            where = f"{step.name}.{param.name}"
            if not _keyed(value):
                checked[param.name] = param.check(value, where)
                continue
            if node.series:
                raise DeclarationError(f"{where} is solved once per shot and cannot be keyed: give one value.")
            checked[param.name] = _check_keys(value, param.check, where)
        return checked
    except DeclarationError as error:
        raise RecipeError(str(error)) from error


def _check_keys(keys: Sequence[Any], check_value: Any, where: str) -> list[list[Any]]:
    checked: list[list[Any]] = []
    for key in keys:
        if not isinstance(key, list | tuple) or not 2 <= len(key) <= 3:
            raise DeclarationError(f"{where}: {brief(key)} is no key. Write [[frame, value], ...].")
        frame, value, *onward = key
        if onward and onward[0] not in ONWARD:
            raise DeclarationError(f"{where}: {brief(onward[0])} is no interpolation: choose {', '.join(ONWARD)}.")
        if isinstance(frame, bool) or not isinstance(frame, int | float) or not abs(frame) <= FARTHEST:
            raise DeclarationError(f"{where}: {brief(frame)} is no frame number.")
        frame = int(frame) if frame == int(frame) else frame
        # The usual way is not written out, so that recipes stay short and keep their hash.
        checked.append([frame, check_value(value, f"{where} at {frame}"), *(one for one in onward if one != "linear")])
    frames = [key[0] for key in checked]
    if not checked or len(set(frames)) != len(frames):
        raise DeclarationError(f"{where}: give at least one key, and one value for each frame.")
    return sorted(checked, key=lambda key: key[0])


def _keyed(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _value_at(keys: Sequence[Any], frame: float) -> Any:
    """The value of sorted keys at a frame; beyond the first and the last key it holds."""
    row = bisect_right(keys, frame, key=lambda key: key[0]) - 1
    if row < 0:
        return keys[0][1]
    start, value, *onward = keys[row]
    if row == len(keys) - 1 or isinstance(value, bool | str) or onward == ["constant"]:
        return value
    end, target = keys[row + 1][:2]
    along = (frame - start) / (end - start)
    if onward == ["smooth"]:
        out, back = ((end - start) * _tangent(keys, at) for at in (row, row + 1))
        rise = target - value
        mixed = value + along * (out + along * (3 * rise - 2 * out - back + along * (out + back - 2 * rise)))
        # Only rounding can lead beyond the two keys.
        mixed = min(max(mixed, min(value, target)), max(value, target))
    else:
        mixed = value + (target - value) * (frame - start) / (end - start)
    return round(mixed) if isinstance(value, int) and isinstance(target, int) else mixed


def _tangent(keys: Sequence[Any], row: int) -> float:
    """Slope of a smooth curve at a key: level at the ends and where the curve turns, else the harmonic mean of the
    slopes to both neighbors, weighted by distance (Fritsch and Butland 1984), so that nothing overshoots."""
    if row in (0, len(keys) - 1):
        return 0.0
    (first, low), (here, value), (last, high) = (key[:2] for key in keys[row - 1 : row + 2])
    before, after = here - first, last - here
    left, right = (value - low) / before, (high - value) / after
    if left * right <= 0:
        return 0.0
    near, far = before + 2 * after, 2 * before + after
    return float((near + far) / (near / left + far / right))


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"{type(value).__name__} cannot be written into a recipe")
