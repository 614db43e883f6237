"""Reading a node's declaration from its function.

A node is a plain typed function. What stands before the star flows in; what stands after it is what the
artist dials; the return type flows out. Ranges live in the types, words in the docstring, defaults in
the signature, each in the one place a Python reader already looks. Uses the standard library only, so
that a host can read declarations back from ``nodes.json`` with the same classes.
"""

import inspect
import json
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from functools import cache
from importlib import resources
from pathlib import Path
from reprlib import repr as brief
from typing import Any, Literal


class DeclarationError(ValueError):
    """A setting that no node has, or a value that its declaration does not allow."""


@dataclass(frozen=True)
class Slider:
    """How far a slider travels, and the limits that a typed value may never cross.

    Attributes:
        low, high: Ends of the slider's travel.
        unit: ``face`` (face widths), ``px``, ``frames``, ``degrees`` or empty for a plain number.
        min, max: Hard limits, where there are any.
        inward: A size on the face: however large, it asks for no more of the plate around it.
    """

    low: float
    high: float
    unit: str = ""
    min: float | None = None
    max: float | None = None
    inward: bool = False


@dataclass(frozen=True)
class Port:
    """Something that flows into a node; ``series`` says that it flows in for the whole shot at once."""

    name: str
    type: str
    help: str
    series: bool = False


@dataclass(frozen=True)
class Param:
    """Something the artist dials."""

    name: str
    kind: Literal["float", "int", "bool", "menu", "file", "text"]
    default: Any
    help: str
    slider: Slider | None = None
    choices: tuple[str, ...] = ()

    def check(self, value: Any, where: str) -> Any:
        """``value`` as this parameter's kind.

        Raises:
            DeclarationError: The value is of another kind or beyond the hard limits.
        """
        if self.kind == "menu":
            if value not in self.choices:
                raise DeclarationError(f"{where} is {brief(value)}: choose one of {', '.join(self.choices)}.")
            return value
        if self.kind == "bool":
            words = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}
            plain = words.get(str(value).lower()) if isinstance(value, str | int) else None
            if plain is None:
                raise DeclarationError(f"{where} is {brief(value)}: say true or false.")
            return plain
        if self.kind in ("float", "int"):
            return self._number(value, where)
        if not is_text(value):
            raise DeclarationError(f"{where} is {brief(value)}: a {self.kind} is written as text.")
        return value

    @property
    def limits(self) -> tuple[float, float]:
        """Values that may be typed: as declared, else far beyond the slider but not so far that no memory suffices."""
        if self.slider is None:
            return -FARTHEST, FARTHEST
        reach = BEYOND * max(abs(self.slider.low), abs(self.slider.high))
        low, high = self.slider.min, self.slider.max
        return -reach if low is None else low, reach if high is None else high

    def _number(self, value: Any, where: str) -> float | int:
        try:
            number = float(value) if not isinstance(value, bool) else math.nan
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number) or (self.kind == "int" and number != round(number)):
            kind = "a whole number" if self.kind == "int" else "a number"
            raise DeclarationError(f"{where} is {brief(value)}: give {kind}.")
        low, high = self.limits
        if not low <= number <= high:
            raise DeclarationError(f"{where} is {brief(value)}: it must lie between {low:g} and {high:g}.")
        return int(number) if self.kind == "int" else number


@dataclass(frozen=True)
class Node:
    """All that a host needs to show a node and to ask for its result.

    ``series`` says that the node is solved once for the whole shot.
    """

    id: str
    group: str
    help: str
    inputs: tuple[Port, ...]
    output: str
    params: tuple[Param, ...]
    series: bool = False

    def param(self, name: str) -> Param:
        """The parameter called ``name``.

        Raises:
            DeclarationError: There is none; the message names the nearest.
        """
        for param in self.params:
            if param.name == name:
                return param
        raise DeclarationError(f"{self.id} has no setting {name!r}{nearest(name, [p.name for p in self.params])}")


BEYOND = 100
"""Slider travels that a typed value may lie away where no limit is declared."""
FARTHEST = 1e8
"""Largest number of a setting without a slider."""
KINDS: Mapping[Any, str] = types.MappingProxyType({float: "float", int: "int", bool: "bool", str: "text", Path: "file"})
SHOT_TYPES = ("Series", "FaceTrack", "Footage")
"""Types that speak of a whole shot rather than of one frame."""


def is_text(value: Any) -> bool:
    """Whether a value is text that can name a file: JSON also knows characters that are none."""
    try:
        return isinstance(value, str) and b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence that helps with a misspelled ``word``."""
    names = list(known)
    close = get_close_matches(word, names, 1)
    return f": did you mean {close[0]!r}?" if close else f": there are {', '.join(names) or 'none'}."


def declare(function: Callable[..., Any]) -> Node:
    """Describe a node function as plain data.

    Raises:
        DeclarationError: Something that the function takes is not explained, or is of a kind that no host shows.
    """
    signature = inspect.signature(function, eval_str=True)
    summary, helps = _docstring(function)
    if silent := [name for name in signature.parameters if name not in helps]:
        raise DeclarationError(f"{function.__name__}: the docstring's Args do not explain {', '.join(silent)}.")
    inputs, params = [], []
    for p in signature.parameters.values():
        if p.kind is p.KEYWORD_ONLY:
            params.append(_param(p, helps[p.name], function.__name__))
        else:
            name = _type_name(p.annotation)
            inputs.append(Port(p.name, name, helps[p.name], name.partition("[")[0] in SHOT_TYPES))
    group = function.__module__.rpartition(".")[2]
    output = _type_name(signature.return_annotation)
    series = any(port.series for port in inputs)
    return Node(function.__name__, group, summary, tuple(inputs), output, tuple(params), series)


def to_json(nodes: Iterable[Node]) -> str:
    """The declarations as the adapters read them: one JSON document, ending in a newline."""
    return json.dumps({"version": 1, "nodes": [asdict(node) for node in nodes]}, indent=1) + "\n"


def from_json(text: str) -> tuple[Node, ...]:
    """The declarations that ``to_json`` wrote."""
    return tuple(_node(entry) for entry in json.loads(text)["nodes"])


@cache
def shipped() -> tuple[Node, ...]:
    """The declarations that this version ships, without importing any node; read once."""
    return from_json(resources.files("mien").joinpath("nodes.json").read_text("utf-8"))


def _node(entry: dict[str, Any]) -> Node:
    params = [
        Param(**{**p, "slider": p["slider"] and Slider(**p["slider"]), "choices": tuple(p["choices"])})
        for p in entry["params"]
    ]
    inputs = tuple(Port(**port) for port in entry["inputs"])
    return Node(**{**entry, "inputs": inputs, "params": tuple(params)})


def _param(p: inspect.Parameter, text: str, owner: str) -> Param:
    if typing.get_origin(p.annotation) is Literal:
        return Param(p.name, "menu", p.default, text, choices=typing.get_args(p.annotation))
    notes = getattr(p.annotation, "__metadata__", ())
    kind = typing.get_args(p.annotation)[0] if notes else p.annotation
    slider = next((n for n in notes if isinstance(n, Slider)), None)
    if kind not in KINDS:
        raise DeclarationError(f"{owner}: no host shows a setting such as {p.name}, {kind}.")
    default = str(p.default) if isinstance(p.default, Path) else p.default
    return Param(p.name, KINDS[kind], default, text, slider)  # type: ignore[arg-type]


def _type_name(annotation: Any) -> str:
    notes = typing.get_args(annotation)
    if typing.get_origin(annotation) is tuple:
        return f"{_type_name(notes[0])}s"
    if typing.get_origin(annotation) not in (None, typing.Annotated):
        return f"{typing.get_origin(annotation).__name__}[{', '.join(map(_type_name, notes))}]"
    named = [str(note.name) for note in getattr(annotation, "__metadata__", ()) if hasattr(note, "name")]
    return named[0] if named else str(annotation.__name__)


def _docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    summary, _, args = (inspect.getdoc(function) or "").partition("Args:")
    helps = re.findall(r"^ +(\w+): (.+(?:\n {8,}.+)*)", args, re.MULTILINE)
    return summary.strip(), {name: " ".join(text.split()) for name, text in helps}
