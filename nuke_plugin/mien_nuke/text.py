"""Lines of script files: words, knobs that artists see, curves. Whatever is told to them, the text stays one script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

SPECIAL = {letter: "\\" + letter for letter in '\\"[]{}$'}
SPECIAL.update({"\n": "\\n", "\r": "", "\t": " "})
CODES = {"float": 7, "int": 3, "bool": 6, "menu": 4, "file": 2, "text": 1}
"""``addUserKnob`` codes of what declarations call a setting's kind."""


def word(text: str) -> str:
    """Text as one word, quoted where it must be: nothing in it is run or ends the quote."""
    if text and all(letter.isalnum() or letter in "_.-/:#%+" for letter in text) and text.isascii():
        return text
    return '"' + "".join(SPECIAL.get(letter, letter) for letter in text) + '"'


def number(value: float) -> str:
    """A finite number as files have it.

    Raises:
        ValueError: It is not finite: Nuke would keep a default without a word.
    """
    if not math.isfinite(value):
        raise ValueError(f"a knob cannot hold {value!r}")
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def curve(values: Mapping[int, float]) -> str:
    """A curve with a key on every frame; a plain number where it never changes."""
    if len(set(values.values())) == 1:
        return number(next(iter(values.values())))
    keys = (f"x{frame} {number(values[frame])}" for frame in sorted(values))
    return "{curve L " + " ".join(keys) + "}"


def several(parts: Sequence[str]) -> str:
    """Values of a knob that holds several, as its line has them."""
    return "{" + " ".join(parts) + "}"


def user(
    code: int,
    name: str,
    label: str | None = None,
    tip: str = "",
    target: str = "",
    menu: Sequence[str] = (),
    range: tuple | None = None,
    flags: Sequence[str] = (),
) -> str:
    """The line that adds a knob."""
    words = [str(code), name]
    for option, said in (("l", label), ("t", tip), ("T", target)):
        if said is not None and (said or option == "l"):
            words += [option, word(said)]
    if menu:
        words += ["M", several([word(item) for item in menu])]
    if range is not None:
        words += ["R", number(range[0]), number(range[1])]
    return " addUserKnob " + several([*words, *flags])


def knob(name: str, value: str) -> str:
    """The line that sets a knob; ``value`` is quoted here unless it is braces already."""
    return f" {name} " + (value if value.startswith("{") else word(value))


def heading(tab: str, node: str, version: int) -> list:
    """The first knobs of every group: its tab, and hidden in it which node it is, of which version."""
    return [
        user(20, "mien_tab", tab),
        user(1, "mien_node", "", flags=("+INVISIBLE",)),
        knob("mien_node", node),
        user(3, "mien_version", "", flags=("+INVISIBLE",)),
        knob("mien_version", str(version)),
    ]


def indented(lines: Sequence[str]) -> list:
    """Lines of nodes within a group."""
    return [" " + line for line in lines]


def node(cls: str, *lines: str) -> list:
    """A node of some knob lines."""
    return [cls + " {", *[" " + line for line in lines], "}"]


def group(name: str, knobs: Sequence[str], inner: Sequence[str], help: str, color: str, inputs: int = 0) -> str:
    """A group that can be pasted or lie on the plug-in path."""
    head = ["Group {"] + ([f" inputs {inputs}"] if inputs else [])
    head += [" name " + name, " help " + word(help), " tile_color " + color]
    return "\n".join([*head, *knobs, "}", *indented(inner), "end_group", ""])
