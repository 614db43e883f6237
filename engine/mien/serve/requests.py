"""What may be asked of the engine: every request with its fields, and how a line becomes one.

Standard library only, so that the first answer need not wait for torch.
"""

import json
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from reprlib import repr as brief
from typing import Any, Literal

from mien.declare import is_text, nearest

PROTOCOL = 1
"""Version of the protocol; a request may name the one that it was written for."""
FARTHEST = 10**8
"""Largest whole number that a request may hold."""
LONGEST_ID = 128

Id = int | str
Lane = Literal["at once", "view", "batch", "train"]


class RequestError(ValueError):
    """A line that is no request; ``id`` is its id as far as it could be read."""

    def __init__(self, message: str, id: Id | None = None) -> None:
        super().__init__(message)
        self.id = id


@dataclass(frozen=True)
class Describe:
    """What nodes there are, and the chain that ``mien convert`` builds."""


@dataclass(frozen=True)
class Status:
    """Device, memory, versions, and what is being done; ``wait``: only when the engine is warm."""

    wait: bool = False


@dataclass(frozen=True)
class Progress:
    """How far requests are: the one called ``of``, else all that are open."""

    of: Id | None = None


@dataclass(frozen=True)
class Log:
    """The last notes and errors."""

    lines: int = 100


@dataclass(frozen=True)
class Cancel:
    """End a request, or all of them where ``of`` is left out."""

    of: Id | None = None


@dataclass(frozen=True)
class Release:
    """A picture that was handed over is not needed any more."""

    name: str


@dataclass(frozen=True)
class Clear:
    """Forget everything that is kept warm."""


@dataclass(frozen=True)
class Quit:
    """End the engine."""


@dataclass(frozen=True)
class Track:
    """Find and follow every face of a plate; fields as in ``mien track``."""

    folder: str
    plate: str
    output: str
    frames: tuple[int, int] | None = None
    colorspace: str | None = None
    ocio: str | None = None
    layer: str | None = None
    detector: str = "builtin"
    weights: str | None = None
    keys: tuple[str, ...] = ()
    source: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    preview: str | None = None
    exports: tuple[str, ...] = ()


@dataclass(frozen=True)
class Export:
    """Write a track for other programs, by the endings of ``outputs``; ``face`` alone, if it is named."""

    folder: str
    track: str
    outputs: tuple[str, ...]
    face: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """A recipe, as a file or in the request itself, with changed settings.

    Attributes:
        recipe: Path of a recipe file, or the recipe's document.
        folder: The job's folder: relative paths begin there and nothing is written elsewhere. That of the
            recipe file where a file is given.
        settings: ``STEP.PARAM`` to value or keys.
    """

    recipe: str | Mapping[str, Any]
    folder: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Solve(Job):
    """Solve what holds for the shot."""


@dataclass(frozen=True)
class Render(Job):
    """Write frames: ``frames`` of the shot, else all."""

    frames: tuple[int, int] | None = None
    force: bool = False


@dataclass(frozen=True)
class Check(Job):
    """Which frames of ``frames``, else of the shot, a render would have to write; writes nothing."""

    frames: tuple[int, int] | None = None


@dataclass(frozen=True)
class Farm(Job):
    """Write a job bundle of a recipe: fields as in ``mien farm``; ``bundle`` is its folder, below the job's."""

    bundle: str = "bundle"
    frames: tuple[int, int] | None = None
    chunk: int = 10
    device: str = "cuda"
    memory: int = 8192
    program: str = "mien"
    priority: int = 50


@dataclass(frozen=True)
class Inspect:
    """What a file is: ``path`` of a plate, track, identity, recipe or rendered frame; of a plate, read in a space."""

    path: str
    colorspace: str | None = None
    ocio: str | None = None


@dataclass(frozen=True)
class Perform:
    """Make an identity of photographs, or of a take, of a consenting performer; nothing is trained.

    Attributes:
        folder: The job's folder.
        sources: Pictures, or one movie or sequence.
        output: Identity file to write.
        plate: The plate, whose frame ``first`` meets frame ``start`` of a take.
    """

    folder: str
    sources: tuple[str, ...]
    output: str
    plate: str
    frames: tuple[int, int] | None = None
    colorspace: str | None = None
    ocio: str | None = None
    layer: str | None = None
    source_colorspace: str | None = None
    source_start: int | None = None
    likeness: str = ""
    release: str = ""
    release_until: str = ""
    detector: str = "builtin"


@dataclass(frozen=True)
class Fit:
    """Write a plate again with its data window equal to its display window: into the folder ``output``."""

    folder: str
    plate: str
    output: str
    frames: tuple[int, int] | None = None
    layer: str | None = None


@dataclass(frozen=True)
class Show(Job):
    """Hand over one frame's pixels: a ``render`` request with ``frame``.

    Attributes:
        frame: Its number.
        viewer: Whose picture it is; a newer request of the same viewer takes the place of a waiting one.
        scale: Size over the plate's; None leaves it to the engine.
        region: Plate pixels x, y, width, height that are wanted.
        layers: Which channels.
        write: Write the frame's host sequences in place of handing pixels over.
    """

    frame: int = 0
    viewer: str = ""
    scale: float | None = None
    region: tuple[int, int, int, int] | None = None
    layers: tuple[str, ...] = ("layer",)
    write: bool = False


@dataclass(frozen=True)
class Train:
    """Train an identity of a kind; ``settings`` are the arguments of that training."""

    folder: str
    kind: str
    output: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Steer:
    """``pause``, ``resume`` or ``stop`` a training: a ``train`` request with ``of``."""

    of: Id
    action: str


COMMANDS: Mapping[str, tuple[type[Any], Lane]] = types.MappingProxyType(
    {
        "describe": (Describe, "at once"),
        "status": (Status, "at once"),
        "progress": (Progress, "at once"),
        "log": (Log, "at once"),
        "cancel": (Cancel, "at once"),
        "release": (Release, "at once"),
        "clear": (Clear, "view"),
        "quit": (Quit, "at once"),
        "track": (Track, "batch"),
        "export": (Export, "batch"),
        "solve": (Solve, "batch"),
        "render": (Render, "batch"),
        "check": (Check, "batch"),
        "farm": (Farm, "batch"),
        "inspect": (Inspect, "view"),
        "identity": (Perform, "batch"),
        "fit": (Fit, "batch"),
        "train": (Train, "train"),
    }
)


def parse(line: bytes) -> tuple[Id, str, Any, Lane]:
    """The id, the command's name, the request and the lane of a line.

    Raises:
        RequestError: It is no JSON object, has no id, or asks for what there is not.
    """
    try:
        document = json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"This is no line of JSON: {error}.") from error
    if not isinstance(document, dict):
        raise RequestError('A request is a JSON object: {"id": 1, "do": "describe"}.')
    id = document.get("id")
    if isinstance(id, bool) or not isinstance(id, int | str) or len(str(id)[: LONGEST_ID + 1]) > LONGEST_ID:
        raise RequestError("A request needs an id: a whole number, or a text of at most 128 characters.")
    protocol = document.get("protocol", PROTOCOL)
    if protocol != PROTOCOL:
        raise RequestError(f"This engine speaks protocol {PROTOCOL}, not {brief(protocol)}. Install one version.", id)
    do = document.get("do")
    if not isinstance(do, str) or do not in COMMANDS:
        known = nearest(do, COMMANDS) if isinstance(do, str) and len(do) < 100 else "."
        raise RequestError(f"There is no command {brief(do)}{known}", id)
    kind, lane = COMMANDS[do]
    if kind is Render and document.get("frame") is not None:
        kind, lane = Show, "view"
    if kind is Train and document.get("of") is not None:
        kind, lane = Steer, "at once"
    if kind is Status and document.get("wait") is True:
        lane = "view"
    return id, do, _record(kind, document, do, id), lane


def _record(kind: type[Any], document: Mapping[str, Any], do: str, id: Id) -> Any:
    """The request's fields; what it does not know is ignored, null is as good as left out."""
    given = {}
    hints = typing.get_type_hints(kind)
    for entry in fields(kind):
        value = document.get(entry.name)
        if value is not None:
            try:
                given[entry.name] = typed(value, hints[entry.name])
            except TypeError as error:
                raise RequestError(f"{do}: {entry.name} is {brief(value)}: give {error}.", id) from None
        elif entry.default is MISSING and entry.default_factory is MISSING:
            raise RequestError(f"{do} needs {entry.name!r}.", id)
    return kind(**given)


def typed(value: Any, kind: Any) -> Any:
    """A JSON value as a field's type: text, numbers, switches, lists, objects, and unions of them.

    Raises:
        TypeError: It is of another; the message says what to give.
    """
    outer, inner = typing.get_origin(kind), typing.get_args(kind)
    if outer in (types.UnionType, typing.Union):
        choices = [one for one in inner if one is not type(None)]
        wanted = []
        for one in choices:
            try:
                return typed(value, one)
            except TypeError as error:
                wanted.append(str(error))
        raise TypeError(" or ".join(wanted))
    if outer is tuple:
        if not isinstance(value, list) or (inner[-1] is not ... and len(value) != len(inner)):
            raise TypeError("a list" if inner[-1] is ... else f"a list of {len(inner)}")
        return tuple(typed(one, inner[0]) for one in value)
    if outer is Mapping:
        if not isinstance(value, dict):
            raise TypeError("an object with names")
        return {name: one if inner[1] is Any else typed(one, inner[1]) for name, one in value.items()}
    if outer is Literal:
        if value not in inner:
            raise TypeError(" or ".join(map(str, inner)))
        return value
    if kind is str:
        if not is_text(value):
            raise TypeError("text")
        return value
    if kind is bool:
        if not isinstance(value, bool):
            raise TypeError("true or false")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= FARTHEST:
        raise TypeError("a number")
    if kind is int and value != int(value):
        raise TypeError("a whole number")
    return kind(value)


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")
