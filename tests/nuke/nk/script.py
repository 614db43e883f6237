"""What a script file builds: nodes with their knob lines, wired through a stack."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from nk import tcl

GROUPS = ("Group", "Gizmo", "LiveGroup")
"""Classes whose block goes on until ``end_group``."""
IGNORED = ("version", "add_format", "define_window_layout_xml")
KNOWN_LAYERS = [
    "rgba",
    "rgb",
    "alpha",
    "red",
    "green",
    "blue",
    "all",
    "none",
    "depth",
    "forward",
    "backward",
    "motion",
    "mask",
    "rotopaint_mask",
    "mask_planartrack",
    "mask_splinewarp",
    "deep",
    "disparity",
    "disparityL",
    "disparityR",
    "black",
    "white",
]
"""Layers that every script has."""


@dataclass(eq=False)
class Node:
    """One node as written.

    Attributes:
        cls: Its class.
        lines: Its knob lines in order, name and value; values are as between the line's outermost braces.
        parent: The group that holds it; None for the script itself.
        line: Line of the file on which it begins.
        inputs: What feeds it; None where nothing does.
        children: Nodes of a group.
    """

    cls: str
    lines: list[tuple[str, str]]
    parent: Node | None
    line: int = 0
    inputs: list[Node | None] = field(default_factory=list)
    children: list[Node] = field(default_factory=list)

    @property
    def values(self) -> dict[str, str]:
        """The last value of each knob that is written, ``addUserKnob`` lines left out."""
        return {name: value for name, value in self.lines if name != "addUserKnob"}

    @property
    def name(self) -> str:
        return self.values.get("name", "")

    @property
    def path(self) -> str:
        """Name with the groups that hold it: ``MienComp1.Grade_match``."""
        own = self.name or f"{self.cls} at line {self.line}"
        return own if self.parent is None or self.parent.parent is None else self.parent.path + "." + own

    def child(self, name: str) -> Node | None:
        return next((child for child in self.children if child.name == name), None)

    def walk(self) -> Iterator[Node]:
        """Everything inside, groups before what they hold."""
        for child in self.children:
            yield child
            yield from child.walk()


class Script:
    """The nodes of a text; what is wrong with its grammar or wiring is in ``problems``, by place.

    Attributes:
        root: Holds the nodes.
        layers: Channels of each layer; None where any will do.
        problems: Pairs of where and what.
    """

    def __init__(self, text: str, selected: Node | None = None) -> None:
        """``selected`` is what ``cut_paste_input`` stands for when text is pasted."""
        self.root = Node("Root", [], None)
        self.problems: list[tuple[str, str]] = []
        self.layers: dict[str, tuple[str, ...] | None] = dict.fromkeys(KNOWN_LAYERS)
        self._text = text
        self._scopes = [self.root]
        self._stacks: list[list[Node | None]] = [[] if selected is None else [selected]]
        self._marks: dict[str, Node | None] = {}
        self._variables = {"cut_paste_input": "0"}
        self._line = 1
        try:
            for at, words in tcl.commands(text, self._run, self._read):
                self._line = text.count("\n", 0, at) + 1
                self._command(words)
        except tcl.TclError as error:
            self._line = text.count("\n", 0, error.at) + 1
            self._syntax(str(error))
        if len(self._scopes) > 1:
            self.problems.append((self._scopes[-1].path, "Group without end_group"))

    def _syntax(self, what: str) -> None:
        self.problems.append((f"line {self._line}", what))

    def _read(self, name: str) -> str:
        if name not in self._variables:
            self._syntax(f"can't read {name}: no such variable")
        return self._variables.get(name, "0")

    def _run(self, words: list[str]) -> str:
        if words[0] != "stack":
            self._syntax(f"[{words[0]}] cannot be run in a script file")
            return ""
        stack = self._stacks[-1]
        index = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        if index >= len(stack) and len(self._scopes) > 1:
            self._syntax(f"stack {index}: the stack has {len(stack)} entries")
        key = f"@{len(self._marks)}"
        self._marks[key] = stack[-1 - index] if index < len(stack) else None
        return key

    def _command(self, words: list[str]) -> None:
        name, rest = words[0], words[1:]
        if name == "set":
            if len(rest) == 2:
                self._variables[rest[0]] = rest[1]
            else:
                self._syntax("set takes a name and a value")
        elif name == "push":
            self._stacks[-1].append(self._marks.get(rest[0] if rest else "0"))
        elif name == "stack":
            self._run(words)
        elif name == "end_group":
            if len(self._scopes) == 1:
                self._syntax("end_group without Group")
            else:
                self._scopes.pop()
                self._stacks.pop()
        elif name == "add_layer":
            for word in rest:
                layer, *channels = tcl.split(word)
                self.layers.setdefault(layer, tuple(channels))
        elif name not in IGNORED:
            self._block(words)

    def _block(self, words: list[str]) -> None:
        if len(words) != 2:
            self._syntax(f"not a node block: {' '.join(words)[:60]}")
            return
        cls, body = words
        try:
            items = tcl.split(body)
        except tcl.TclError as error:
            self._syntax(f"{cls}: {error}")
            return
        if len(items) % 2:
            self._syntax(f"{cls}: a knob without a value, or two values for one knob")
        scope, stack = self._scopes[-1], self._stacks[-1]
        node = Node(cls, list(zip(items[::2], items[1::2])), scope, self._line)
        first = not scope.children and scope is self.root
        scope.children.append(node)
        count = node.values.get("inputs", "1")
        if not re.fullmatch(r"\d+(\+\d+)*", count):
            self.problems.append((node.path, f"inputs {count} is not a number"))
        for index in range(sum(map(int, re.findall(r"\d+", count)))):
            if not stack and not first:
                self.problems.append((node.path, f"input {index} has nothing to connect to"))
            node.inputs.append(stack.pop() if stack else None)
        stack.append(node)
        if cls in GROUPS:
            self._scopes.append(node)
            self._stacks.append([])


def tree(node: Node, depth: int = 0) -> Iterator[str]:
    """Lines that describe the graph: class, name and inputs, indented by group."""
    for child in node.children:
        feeds = ", ".join(source.name if source else "-" for source in child.inputs)
        yield f"{'  ' * depth}{child.cls} {child.name} <- {feeds or '(none)'}"
        yield from tree(child, depth + 1)
