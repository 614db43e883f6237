"""What is known of Nuke's classes: knobs, their kinds, sizes, menus and defaults (``classes.json``)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from nk import tcl
from nk.script import Node

CLASSES = Path(__file__).resolve().parent.parent / "classes.json"
USER_KINDS = {
    1: ("String_Knob", 1), 2: ("File_Knob", 1), 3: ("Int_Knob", 1), 4: ("Enumeration_Knob", 1),
    6: ("Boolean_Knob", 1), 7: ("Double_Knob", 1), 8: ("Float_Knob", 1), 9: ("Array_Knob", 1),
    10: ("ChannelMask_Knob", 1), 11: ("Channel_Knob", 1), 12: ("XY_Knob", 2), 13: ("XYZ_Knob", 3),
    14: ("WH_Knob", 2), 15: ("BBox_Knob", 4), 16: ("Size_Knob", 1), 17: ("Format_Knob", 1), 18: ("Color_Knob", 3),
    19: ("AColor_Knob", 4), 20: ("Tab_Knob", 1), 22: ("PyScript_Knob", 1), 26: ("Text_Knob", 1),
    28: ("Multiline_String_Knob", 1), 30: ("UV_Knob", 2), 32: ("Script_Knob", 1), 35: ("Pulldown_Knob", 1),
    41: ("Link_Knob", 1), 42: ("Scale_Knob", 3), 43: ("Multiline_Eval_String_Knob", 1), 78: ("SimpleArray_Knob", 1),
    80: ("Disable_Knob", 1), 83: ("Radio_Knob", 1),
}  # fmt: skip
"""``addUserKnob`` codes, which are ``nuke.KnobType``: kind and number of values."""
OPTIONS = {"l": 1, "t": 1, "T": 1, "M": 1, "R": 2, "n": 1}
"""Options of ``addUserKnob`` and how many words each takes."""
SINGLE = frozenset(
    [
        "Array_Knob",
        "Double_Knob",
        "Float_Knob",
        "Int_Knob",
        "WH_Knob",
        "UV_Knob",
        "Scale_Knob",
        "Color_Knob",
        "AColor_Knob",
    ]
)
"""Kinds of numbers where one value may stand for all."""
EXACT = frozenset(["XY_Knob", "XYZ_Knob", "BBox_Knob", "Box3_Knob"])
BOOLEANS = frozenset(("Boolean_Knob", "Disable_Knob"))
CHANNELS = frozenset(("Channel_Knob", "ChannelMask_Knob"))
BUTTONS = frozenset(("PyScript_Knob", "Script_Knob"))
LETTERS = {
    "XY_Knob": "xy", "XYZ_Knob": "xyz", "WH_Knob": "wh", "UV_Knob": "uv", "BBox_Knob": "xyrt", "Color_Knob": "rgb",
    "AColor_Knob": "rgba",
}  # fmt: skip
"""Names of the parts of a knob."""


class FactError(ValueError):
    """A line that declares no knob."""


@dataclass(frozen=True)
class Knob:
    """What is known of a knob.

    Attributes:
        kind: Its class, as ``Color_Knob``; empty where anything goes.
        size: Number of values; rows and columns of a matrix.
        default: Value of a fresh node; None where that is not known.
        menu: Names of its menu as files hold them; None where there is none, or it depends on the machine.
        when: Values of other knobs without which it does not exist.
        target: What a link shows, or what a button runs.
        label, tooltip, range, flags: As an artist declared them.
        user: Whether it was added to the node.
    """

    name: str
    kind: str
    size: Any = 1
    default: Any = None
    menu: tuple[str, ...] | None = None
    when: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    label: str | None = None
    tooltip: str = ""
    range: tuple[float, float] | None = None
    flags: tuple[str, ...] = ()
    user: bool = False

    @property
    def numeric(self) -> bool:
        return self.kind in SINGLE or self.kind in EXACT or self.kind == "IArray_Knob"

    @property
    def count(self) -> int:
        return self.size[0] * self.size[1] if isinstance(self.size, (list, tuple)) else int(self.size)


class Facts:
    """The table of classes."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self._common = {name: _known(name, entry) for name, entry in table["common"].items()}
        self._knobs = {
            cls: {name: _known(name, knob) for name, knob in entry["knobs"].items()}
            for cls, entry in table["nodes"].items()
        }
        self._entries = table["nodes"]

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self._entries)

    def most_inputs(self, cls: str) -> int | None:
        """How many inputs a class takes; None: as many as a group has Input nodes."""
        most: int | None = self._entries[cls]["inputs"][1]
        return most

    def obsolete(self, cls: str, name: str) -> bool:
        """Whether a knob is one that Nuke reads from old files only."""
        return name in self._entries[cls].get("obsolete", ())

    def class_knobs(self, cls: str) -> dict[str, Knob]:
        """Knobs of a fresh node of a class."""
        return {**self._common, **self._knobs[cls]}

    def knob(self, node: Node, name: str) -> Knob | None:
        """What is known of a node's knob; None where it has none of this name.

        Raises:
            KeyError: The class is unknown.
        """
        known = self._knobs[node.cls]
        found = user_knobs(node).get(name) or known.get(name) or self._common.get(name)
        return Knob(name, "") if found is None and self._entries[node.cls].get("open") else found


def load(path: Path = CLASSES) -> Facts:
    """The facts of the classes that mien writes."""
    return Facts(json.loads(path.read_text("utf-8")))


def user_knobs(node: Node) -> Mapping[str, Knob]:
    """Knobs that ``addUserKnob`` lines of a node declare, by name; lines that declare none are passed over."""
    return _user_knobs(tuple(text for name, text in node.lines if name == "addUserKnob"))


@lru_cache(maxsize=1024)
def _user_knobs(lines: tuple[str, ...]) -> Mapping[str, Knob]:
    found = {}
    for text in lines:
        try:
            knob = declared(text)
        except (FactError, tcl.TclError):
            continue
        found[knob.name] = knob
    return found


@lru_cache(maxsize=4096)
def declared(text: str) -> Knob:
    """The knob that the words of an ``addUserKnob`` line declare.

    Raises:
        FactError: The code or an option is unknown, or a menu is missing. TclError: no list.
    """
    words = tcl.split(text)
    if len(words) < 2:
        raise FactError("addUserKnob needs a code and a name")
    if not words[0].isdigit() or int(words[0]) not in USER_KINDS:
        raise FactError(f"addUserKnob code {words[0]} is not known")
    kind, size = USER_KINDS[int(words[0])]
    options: dict[str, Any] = {"flags": ()}
    at = 2
    while at < len(words):
        word, at = words[at], at + 1
        if re.fullmatch(r"[+-][A-Z_]+", word):
            options["flags"] += (word,)
            continue
        if word not in OPTIONS or at + OPTIONS[word] > len(words):
            raise FactError(f"addUserKnob {words[1]}: option {word!r}")
        options[word], at = words[at : at + OPTIONS[word]], at + OPTIONS[word]
    menu = None
    if "M" in options:
        menu = tuple(item.partition("\t")[0] for item in tcl.split(options["M"][0]))
    if kind == "Enumeration_Knob" and not menu:
        raise FactError(f"addUserKnob {words[1]}: a menu without items")
    numbers = kind in SINGLE | EXACT
    try:
        limits = (float(options["R"][0]), float(options["R"][1])) if "R" in options else None
    except ValueError:
        raise FactError(f"addUserKnob {words[1]}: range {options['R']!r}") from None
    default = [0.0] * size if numbers else False if kind in BOOLEANS else menu[0] if menu else ""
    return Knob(
        words[1], kind, size, default, menu, {}, options.get("T", [""])[0], options.get("l", [None])[0],
        options.get("t", [""])[0], limits, options["flags"], True,
    )  # fmt: skip


def _known(name: str, entry: Mapping[str, Any]) -> Knob:
    menu = entry.get("enum")
    return Knob(
        name,
        entry.get("type", ""),
        entry.get("size", 1),
        entry.get("default"),
        None if menu is None or entry.get("open") else tuple(menu),
        entry.get("when") or {},
    )
