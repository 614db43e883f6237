"""Whether a text would load in Nuke as it was meant: grammar, wiring, names, values, links, expressions, curves."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator

from nk import curves, expression, tcl
from nk.facts import (
    BOOLEANS,
    BUTTONS,
    CHANNELS,
    EXACT,
    LETTERS,
    SINGLE,
    FactError,
    Facts,
    Knob,
    declared,
)
from nk.script import GROUPS, Node, Script

ATTRIBUTES = frozenset(
    [
        "width",
        "height",
        "format",
        "bbox",
        "frame",
        "first_frame",
        "last_frame",
        "pixel_aspect",
        "input",
        "name",
        "actual_format",
        "proxy",
        "knob",
        "error",
        "time",
        "frame_range",
        "inputs",
    ]
)
"""What expressions may ask of any node beside its knobs."""
REFERENCE = re.compile(r"(?<![\w.$])((?:parent|this)(?:\.\w+)+|[A-Z]\w*(?:\.[A-Za-z]\w*)+)(?![\w\[\\])")
TEXTS = frozenset(("label", "help", "message"))


def check(text: str, facts: Facts) -> list[tuple[str, str]]:
    """Everything that is wrong with a text, as pairs of where and what; empty where nothing is."""
    script = Script(text)
    return [*script.problems, *Checker(script, facts).problems()]


class Checker:
    """Compares the nodes of a script with what is known of their classes."""

    def __init__(self, script: Script, facts: Facts) -> None:
        self._script = script
        self._facts = facts

    def problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong, node by node."""
        for node in self._script.root.walk():
            for what in self._node(node):
                yield node.path, what

    def _node(self, node: Node) -> Iterator[str]:
        if node.cls not in self._facts.classes:
            yield f"class {node.cls} is not in the table"
            return
        siblings = node.parent.children if node.parent else []
        if node.name and next(other for other in siblings if other.name == node.name) is not node:
            yield "second node of this name"
        yield from self._wiring(node)
        yield from self._declarations(node)
        for name, text in node.lines:
            if name not in ("inputs", "addUserKnob"):
                yield from self._line(node, name, text)

    def _wiring(self, node: Node) -> Iterator[str]:
        most = self._facts.most_inputs(node.cls)
        if node.cls not in GROUPS:
            if most is not None and len(node.inputs) > most:
                hint = "" if most or "inputs" in node.values else " (write inputs 0)"
                yield f"{len(node.inputs)} inputs, {node.cls} takes {most}{hint}"
            return
        numbers = sorted(child.values.get("number", "0") for child in node.children if child.cls == "Input")
        if numbers != sorted(map(str, range(len(numbers)))):
            yield f"Input numbers are {' '.join(numbers)}, expected 0 to {len(numbers) - 1}"
        if len(node.inputs) > max(1, len(numbers)):
            yield f"{len(node.inputs)} inputs, the group has {len(numbers)}"
        outputs = sum(child.cls == "Output" for child in node.children)
        if outputs != 1:
            yield f"{outputs} Output nodes, expected 1"

    def _declarations(self, node: Node) -> Iterator[str]:
        earlier = set()
        for name, text in node.lines:
            if name != "addUserKnob":
                earlier.add(name)
                continue
            try:
                knob = declared(text)
            except (FactError, tcl.TclError) as error:
                yield str(error)
                continue
            if knob.name in earlier:
                yield f'"{knob.name}" is set before its addUserKnob'
            if knob.kind == "Link_Knob" and knob.target:
                missing = self._missing(node if node.cls in GROUPS else node.parent, knob.target.split("."))
                if missing:
                    yield f'link "{knob.name}" to {knob.target}: {missing}'
            elif knob.kind == "PyScript_Knob":
                try:
                    ast.parse(knob.target, feature_version=(3, 9))
                except SyntaxError as error:
                    yield f'script of "{knob.name}": {error.msg}'
            elif knob.target and knob.kind not in BUTTONS:
                yield from self._references(node, knob.name, knob.target, bare=False)

    def _line(self, node: Node, name: str, text: str) -> Iterator[str]:
        knob = self._facts.knob(node, name)
        if knob is None:
            obsolete = " (obsolete)" if self._facts.obsolete(node.cls, name) else ""
            yield f'{node.cls} has no knob "{name}"{obsolete}'
        elif any(node.values.get(other) != value for other, value in knob.when.items()):
            needed = " ".join(f"{other} {value}" for other, value in knob.when.items())
            yield f'"{name}" exists only when {needed}'
        else:
            try:
                yield from self._value(node, knob, text)
            except tcl.TclError as error:
                yield f'"{name}": {error}'

    def _value(self, node: Node, knob: Knob, text: str) -> Iterator[str]:
        name, kind = knob.name, knob.kind
        if knob.numeric:
            for part in elements(knob, text):
                yield from self._element(node, name, part)
        elif kind in BOOLEANS or kind in ("Enumeration_Knob", "ColorChip_Knob"):
            inner = tcl.split(text) if text.startswith("{") else []
            if (
                len(inner) == 1
                and text == f"{{{inner[0]}}}"
                and not (kind == "Enumeration_Knob" and inner[0].isdigit())
            ):
                yield from self._element(node, name, text)
            elif kind in BOOLEANS and text not in ("true", "false", "0", "1"):
                yield f'"{name}" is {text}, expected true or false'
            elif kind == "Enumeration_Knob" and knob.menu is not None:
                if text not in knob.menu and not re.match(r"\{\d+\}", text):
                    yield f'"{name}": "{text}" is not in the menu'
            elif kind == "ColorChip_Knob" and not re.fullmatch(r"0x[0-9a-fA-F]{1,8}|\d+", text):
                yield f'"{name}" is {text}, expected a color such as 0x4f6f8fff'
        elif kind in CHANNELS:
            yield from self._channels(name, tcl.split(text))
        elif kind == "ShuffleLinks":
            words = text.split()
            if words[:1] != [str((len(words) - 1) // 6)] or len(words) % 6 != 1:
                yield f'"{name}": expected a count, then six words per link'
            yield from self._channels(name, words[1::6] + words[4::6])
        elif node.cls == "Expression" and re.match(r"(temp_)?expr\d", name):
            yield from self._formula(name, text)
            yield from self._references(node, name, text, bare=True)
        elif kind != "PythonKnob" and name not in TEXTS:
            yield from self._references(node, name, text, bare=False)
        elif name in ("knobChanged", "onCreate", "updateUI", "onDestroy", "beforeRender"):
            try:
                ast.parse(text, feature_version=(3, 9))
            except SyntaxError as error:
                yield f'"{name}": {error.msg}'

    def _channels(self, name: str, channels: list) -> Iterator[str]:
        layers = self._script.layers
        for channel in channels:
            channel = channel.lstrip("-")
            layer, dot, _ = channel.partition(".")
            if not layer or re.search(r"[\s\[\]{}]", channel):
                continue
            if layer not in layers:
                yield f'"{name}": no add_layer for "{layer}"'
            elif dot and layers[layer] is not None and channel not in (layers[layer] or ()):
                yield f'"{name}": add_layer {layer} has no "{channel}"'

    def _element(self, node: Node, name: str, part: str) -> Iterator[str]:
        """One value: a number, or in braces curve keys or an expression with keys."""
        if not part.startswith("{"):
            if not _finite(part):
                yield f'"{name}": "{part}" is not a finite number'
            return
        words = tcl.split(part[1:-1])
        if not words:
            yield f'"{name}": empty braces'
            return
        try:
            if words[0] == "curve":
                curves.parsed(words[1:])
            elif len(words) > 1:
                try:
                    curves.parsed(words[1:])
                except curves.CurveError as error:
                    yield f'"{name}": {error} (an expression with spaces needs quotes: {{{{"a + b"}}}})'
                    return
        except curves.CurveError as error:
            yield f'"{name}": {error}'
        if words[0] != "curve":
            yield from self._formula(name, words[0])
            yield from self._references(node, name, words[0], bare=True)

    def _formula(self, name: str, text: str) -> Iterator[str]:
        """An expression must be one; what stands in brackets counts as a number."""
        try:
            plain = tcl.substituted(text, lambda words: "0", lambda variable: "0")
            if plain.strip():
                expression.parse(plain)
        except (tcl.TclError, expression.ExpressionError) as error:
            yield f'"{name}": {error}'

    def _references(self, node: Node, name: str, text: str, bare: bool) -> Iterator[str]:
        """``parent.x``, ``this.x`` and ``Node.x``: in the whole text, or only between square brackets."""
        text = re.sub(r"\[python.*", "", text, flags=re.S)
        if not bare:
            text = " ".join(re.findall(r"\[.*\]", text, flags=re.S))
        for reference in REFERENCE.findall(text):
            parts = reference.split(".")
            if parts[0] in ("parent", "this"):
                missing = self._missing(node, parts)
            elif bare and parts[0] not in self._script.layers:
                scopes: list[Node] = [node]
                while scopes[-1].parent:
                    scopes.append(scopes[-1].parent)
                missing = ""
                if all(self._missing(scope, parts) for scope in scopes):
                    missing = self._missing(node.parent, parts)
            else:
                continue
            if missing:
                yield f'"{name}" uses {reference}: {missing}'

    def _missing(self, node: Node | None, parts: list) -> str:
        """What does not exist on the way along a dotted name from a node; empty when all does."""
        if node is None or not parts:
            return ""
        part, rest = parts[0], parts[1:]
        if part == "this":
            return self._missing(node, rest)
        if part == "parent":
            up = node.parent
            if up is None or up.parent is None:
                return self._missing(up, rest) if up and rest and up.child(rest[0]) else ""
            return self._missing(up, rest)
        if re.fullmatch(r"input\d*", part):
            count = sum(child.cls == "Input" for child in node.children)
            outside = node.cls == "Group" and part[5:] and int(part[5:]) >= count
            return f"the group has {count} inputs" if outside else ""
        found = f'no "{part}"'
        known = node.parent is not None and node.cls in self._facts.classes
        knob = self._facts.knob(node, part) if known else None
        if knob is not None:
            letters = LETTERS.get(knob.kind)
            if not letters or not rest or rest[0] in letters or (rest[0].isdigit() and int(rest[0]) < knob.size):
                return ""
            found = f'no component "{rest[0]}"'
        inner = node.child(part)
        if inner:
            return self._missing(inner, rest)
        return "" if knob is None and part in ATTRIBUTES else found


def elements(knob: Knob, text: str) -> list[str]:
    """The values of a numeric knob's text, in order; what stood in braces keeps them.

    Raises:
        TclError: Not the number of values that the knob takes.
    """
    parts = _braced(text)
    if isinstance(knob.size, (list, tuple)):
        rows = [_braced(part[1:-1]) if part.startswith("{") else [part] for part in parts]
        if len(rows) != knob.size[0] or any(len(row) != knob.size[1] for row in rows):
            raise tcl.TclError(f"is not {knob.size[0]} rows of {knob.size[1]}")
        return [value for row in rows for value in row]
    allowed = (knob.size,) if knob.kind in EXACT else (1, knob.size) if knob.kind in SINGLE else (knob.size,)
    if len(parts) not in allowed:
        raise tcl.TclError(f"has {len(parts)} values, expected {' or '.join(map(str, sorted(set(allowed))))}")
    return parts


def _braced(text: str) -> list[str]:
    """The words of a list; those that had braces or quotes around them have braces."""
    return [f"{{{word}}}" if around else word for word, around in tcl.pieces(text)]


def _finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
