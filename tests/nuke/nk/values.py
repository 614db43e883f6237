"""What knobs hold at a frame: numbers, curves, expressions that ask other knobs, menus, text with Tcl in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nk import curves, tcl
from nk.check import elements
from nk.expression import ExpressionError, evaluate
from nk.facts import BOOLEANS, LETTERS, Facts, Knob
from nk.script import Node

DEEPEST = 50
"""Expressions that may ask each other before they are taken for a loop."""


class Values:
    """Knobs of the nodes of one script.

    Attributes:
        facts: The table of classes.
        size: Width and height of the script's format, for expressions that ask for it.
    """

    def __init__(self, facts: Facts, size: tuple[int, int] = (1920, 1080)) -> None:
        self.facts = facts
        self.size = size
        self._depth = 0

    def known(self, node: Node, name: str) -> Knob:
        """What is known of a knob, through links.

        Raises:
            ExpressionError: There is none.
        """
        knob = self.facts.knob(node, name)
        if knob is None:
            raise ExpressionError(f"{node.path} has no knob {name!r}")
        return knob

    def linked(self, node: Node, knob: Knob) -> tuple[Node, Knob] | None:
        """Node and knob that a link knob shows; None for every other knob."""
        if knob.kind != "Link_Knob" or not knob.target:
            return None
        *way, last = knob.target.split(".")
        found: Node | None = node
        for name in way:
            found = found.child(name) if found else None
        if found is None:
            raise ExpressionError(f"{node.path}.{knob.name} links to {knob.target}, which is not there")
        return found, self.known(found, last)

    def number(self, node: Node, name: str, frame: float, index: int = 0) -> float:
        """One number of a knob; of a menu its index, of a check box 0 or 1.

        Raises:
            ExpressionError: There is no such knob, or it holds none.
        """
        knob = self.known(node, name)
        link = self.linked(node, knob)
        if link:
            return self.number(link[0], link[1].name, frame, index)
        text = node.values.get(name)
        if knob.kind == "Enumeration_Knob":
            return float(self._choice(node, knob, text, frame))
        if knob.kind in BOOLEANS:
            if text is None:
                return float(bool(knob.default))
            if text.startswith("{"):
                return float(self._element(node, text, frame, 0))
            return float(text in ("true", "1"))
        if text is None:
            return _default(knob, index)
        if not knob.numeric:
            text = self.text(node, name, frame)
            try:
                return float(text)
            except ValueError:
                raise ExpressionError(f"{node.path}.{name} is {text!r}, not a number") from None
        parts = elements(knob, text)
        return float(self._element(node, parts[index if len(parts) > 1 else 0], frame, index))

    def numbers(self, node: Node, name: str, frame: float) -> list[float]:
        """All numbers of a knob."""
        return [self.number(node, name, frame, index) for index in range(self.known(node, name).count)]

    def truth(self, node: Node, name: str, frame: float) -> bool:
        """Whether a check box is set."""
        return self.number(node, name, frame) != 0

    def choice(self, node: Node, name: str, frame: float) -> str:
        """The name that a menu shows."""
        knob = self.known(node, name)
        text = node.values.get(name)
        if knob.menu is None:
            return text if text is not None else str(knob.default or "")
        return knob.menu[self._choice(node, knob, text, frame)]

    def text(self, node: Node, name: str, frame: float) -> str:
        """The text of a knob, with what stands in its brackets run."""
        knob = self.known(node, name)
        text = node.values.get(name, "" if knob.default is None else str(knob.default))
        return tcl.substituted(text, At(self, node, frame).command, lambda variable: "") if "[" in text else text

    def _choice(self, node: Node, knob: Knob, text: str | None, frame: float) -> int:
        menu = knob.menu or ()
        if text is None:
            return menu.index(str(knob.default)) if knob.default in menu else 0
        if text in menu:
            return menu.index(text)
        if not text.startswith("{"):
            raise ExpressionError(f"{node.path}.{knob.name}: {text!r} is not in the menu")
        return int(self._element(node, f"{{{tcl.split(text)[0]}}}", frame, 0))

    def _element(self, node: Node, part: str, frame: float, index: int) -> float:
        if not part.startswith("{"):
            return float(part)
        words = tcl.split(part[1:-1])
        if words[:1] == ["curve"]:
            return curves.parsed(words[1:]).at(frame)
        self._depth += 1
        try:
            if self._depth > DEEPEST:
                raise ExpressionError(f"{node.path}: the expression {words[0]!r} asks itself")
            return float(evaluate(words[0], At(self, node, frame, index)))
        finally:
            self._depth -= 1


class At:
    """The scope of an expression: a node, a frame, and which of a knob's numbers is asked for."""

    def __init__(
        self, values: Values, node: Node, frame: float, index: int = 0, given: Mapping[str, Any] | None = None
    ) -> None:
        self._values = values
        self._node = node
        self._frame = frame
        self._index = index
        self._given = given or {}

    def name(self, dotted: str) -> Any:
        if dotted in self._given:
            return self._given[dotted]
        plain = {"frame": self._frame, "t": self._frame, "pi": math.pi, "width": self._values.size[0],
                 "height": self._values.size[1]}  # fmt: skip
        if dotted in plain and self._values.facts.knob(self._node, dotted) is None:
            return float(plain[dotted])
        return self._asked(dotted, self._frame)

    def name_at(self, dotted: str, frame: float) -> Any:
        return self._asked(dotted, frame)

    def command(self, words: list[str]) -> str:
        if words[0] == "exists" and len(words) == 2:
            return str(int(self._exists(words[1])))
        if words[0] == "value" and len(words) == 2:
            node, name, _ = self._found(words[1].split("."))
            knob = self._values.known(node, name)
            if knob.numeric or knob.kind in BOOLEANS:
                return repr(self._asked(words[1], self._frame))
            if knob.kind == "Enumeration_Knob":
                return self._values.choice(node, name, self._frame)
            return self._values.text(node, name, self._frame)
        if words[0] in ("frame", "expr") and len(words) >= 1:
            return repr(self._frame) if words[0] == "frame" else repr(evaluate(" ".join(words[1:]), self))
        raise ExpressionError(f"[{' '.join(words)}] is a command that is not known here")

    def _asked(self, dotted: str, frame: float) -> float:
        parts = dotted.split(".")
        if parts[-1] in ("width", "height") and len(parts) > 1:
            return float(self._values.size[parts[-1] == "height"])
        node, name, index = self._found(parts)
        return self._values.number(node, name, frame, self._index if index is None else index)

    def _found(self, parts: list[str]) -> tuple[Node, str, int | None]:
        """Node, knob and which of its numbers a dotted name means."""
        scopes: list[Node] = [self._node]
        while scopes[-1].parent is not None:
            scopes.append(scopes[-1].parent)
        for scope in scopes:
            found = self._along(scope, list(parts))
            if found:
                return found
        raise ExpressionError(f"{self._node.path}: there is no {'.'.join(parts)}")

    def _along(self, node: Node, parts: list[str]) -> tuple[Node, str, int | None] | None:
        facts = self._values.facts
        while parts:
            part = parts.pop(0)
            if part == "this":
                continue
            if part == "parent":
                if node.parent is None:
                    return None
                node = node.parent
                continue
            inner = node.child(part)
            if inner is not None and parts:
                node = inner
                continue
            knob = facts.knob(node, part) if node.cls in facts.classes and node.parent is not None else None
            if knob is None:
                return None
            if not parts:
                return node, part, None
            link = self._values.linked(node, knob)
            letters = LETTERS.get((link[1] if link else knob).kind, "")
            if len(parts) == 1 and parts[0] in letters:
                return node, part, letters.index(parts[0])
            if len(parts) == 1 and parts[0].isdigit():
                return node, part, int(parts[0])
            return None
        return None

    def _exists(self, dotted: str) -> bool:
        *way, last = dotted.split(".")
        node: Node | None = self._node
        for part in way:
            if node is None:
                return False
            node = node.parent if part == "parent" else node if part == "this" else node.child(part)
        if node is None:
            return False
        if last.startswith("input") and (last[5:].isdigit() or not last[5:]):
            index = int(last[5:] or 0)
            return index < len(node.inputs) and node.inputs[index] is not None
        known = node.cls in self._values.facts.classes and self._values.facts.knob(node, last) is not None
        return known or node.child(last) is not None


def _default(knob: Knob, index: int) -> float:
    default = knob.default
    if isinstance(knob.size, (list, tuple)) and isinstance(default, (list, tuple)):
        default = [value for row in default for value in row]
    if isinstance(default, (list, tuple)):
        default = default[index]
    return float(default or 0)
