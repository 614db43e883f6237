"""Nodes of the script: made, wired, found, written as text."""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator
from typing import Any

from nk import tcl
from nk.check import Checker
from nk.facts import Knob as Known
from nk.facts import user_knobs
from nk.script import GROUPS, Script
from nk.script import Node as Data

from nuke._knobs import Knob, String_Knob, _state, declaration, knob_of, quoted
from nuke._session import FACTS, run_code, session

_WRAPPED: weakref.WeakKeyDictionary[Data, Node] = weakref.WeakKeyDictionary()


class Node:
    """A node as Python sees it."""

    def __init__(self, data: Data) -> None:
        self._data = data

    # The same node is the same object, as long as somebody holds it.

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and other._data is self._data

    def __hash__(self) -> int:
        return id(self._data)

    def __repr__(self) -> str:
        return f"<{self._data.cls} {self._data.path}>"

    def __getitem__(self, name: str) -> Knob:
        knob = self.knob(name)
        if knob is None:
            raise NameError(f"knob {name} does not exist in {self._data.path}")
        return knob

    def knob(self, name: str, follow_link: bool = True) -> Knob | None:
        session.on_main("Node.knob")
        known = FACTS.knob(self._data, name)
        return None if known is None else knob_of(self._data, known)

    def knobs(self) -> dict[str, Knob]:
        session.on_main("Node.knobs")
        known = {**FACTS.class_knobs(self._data.cls), **user_knobs(self._data)}
        return {name: knob_of(self._data, one) for name, one in known.items()}

    def allKnobs(self) -> list[Knob]:
        return list(self.knobs().values())

    def Class(self) -> str:
        return self._data.cls

    def name(self) -> str:
        return self._data.name

    def fullName(self) -> str:
        return self._data.path

    def setName(self, name: str, uncollide: bool = True, updateExpressions: bool = False) -> None:
        session.on_main("Node.setName")
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise ValueError(f"{name!r} cannot name a node")
        old = self._data.name
        rename(self._data, free_name(self._data, name) if uncollide else name)
        session.change(f"{old} renamed")

    def parent(self) -> Node | None:
        return wrapped(self._data.parent) if self._data.parent is not None else None

    def input(self, index: int) -> Node | None:
        session.on_main("Node.input")
        inputs = self._data.inputs
        return wrapped(inputs[index]) if 0 <= index < len(inputs) and inputs[index] is not None else None

    def inputs(self) -> int:
        session.on_main("Node.inputs")
        connected = [index for index, source in enumerate(self._data.inputs) if source is not None]
        return connected[-1] + 1 if connected else 0

    def maxInputs(self) -> int:
        if self._data.cls in GROUPS:
            return sum(child.cls == "Input" for child in self._data.children)
        most = FACTS.most_inputs(self._data.cls)
        return 10000 if most is None else most

    maximumInputs = maxInputs

    def minInputs(self) -> int:
        return min(1, self.maxInputs())

    def canSetInput(self, index: int, node: Node | None) -> bool:
        return 0 <= index < self.maxInputs() and (node is None or self._data not in upstream(node._data))

    def setInput(self, index: int, node: Node | None) -> bool:
        session.on_main("Node.setInput")
        if node is not None and not isinstance(node, Node):
            raise TypeError("setInput takes a node or None")
        if not self.canSetInput(index, node):
            return False
        connect(self._data, index, node._data if node else None)
        return True

    def connectInput(self, index: int, node: Node) -> bool:
        return self.setInput(index, node)

    def dependencies(self, what: int = 7) -> list[Node]:
        return [wrapped(source) for source in dict.fromkeys(self._data.inputs) if source is not None]

    def dependent(self, what: int = 7, forceEvaluate: bool = True) -> list[Node]:
        siblings = self._data.parent.children if self._data.parent else []
        return [wrapped(other) for other in siblings if self._data in other.inputs]

    def addKnob(self, knob: Knob) -> None:
        session.on_main("Node.addKnob")
        if not isinstance(knob, Knob) or knob._data is not None:
            raise TypeError("addKnob takes a knob that is not on a node")
        self._data.lines.append(("addUserKnob", declaration(knob)))
        if knob._text is not None:
            self._data.lines.append((knob.name(), knob._text))
        state = _state(knob)
        knob._data = self._data
        _state(knob).update(state)
        session.change(f"{self._data.path}.{knob.name()} added")

    def removeKnob(self, knob: Knob) -> None:
        name = knob.name()
        self._data.lines[:] = [
            (line, text)
            for line, text in self._data.lines
            if not (line == name or (line == "addUserKnob" and tcl.split(text)[1:2] == [name]))
        ]

    def setSelected(self, selected: bool) -> None:
        session.on_main("Node.setSelected")
        if selected and self._data not in session.selected:
            session.selected.append(self._data)
        elif not selected and self._data in session.selected:
            session.selected.remove(self._data)

    def isSelected(self) -> bool:
        return self._data in session.selected

    def xpos(self) -> int:
        return int(float(self._data.values.get("xpos", "0")))

    def ypos(self) -> int:
        return int(float(self._data.values.get("ypos", "0")))

    def setXpos(self, x: int) -> None:
        self["xpos"].setValue(x)

    def setYpos(self, y: int) -> None:
        self["ypos"].setValue(y)

    def setXYpos(self, x: int, y: int) -> None:
        self.setXpos(x)
        self.setYpos(y)

    def screenHeight(self) -> int:
        return 18 if session.gui else 0

    def screenWidth(self) -> int:
        return 80 if session.gui else 0

    def showControlPanel(self, forceFloat: bool = False) -> None:
        show_panel(self._data)

    def hideControlPanel(self) -> None:
        session.open_panels.discard(self._data)

    def shown(self) -> bool:
        return self._data in session.open_panels

    def width(self) -> int:
        return format_of()[0]

    def height(self) -> int:
        return format_of()[1]

    def firstFrame(self) -> int:
        return self._range()[0]

    def lastFrame(self) -> int:
        return self._range()[1]

    def frameRange(self) -> Any:
        from nuke import FrameRange

        return FrameRange(*self._range(), 1)

    def _range(self) -> tuple[int, int]:
        for data in upstream(self._data):
            if data.cls == "Read":
                return int(data.values.get("first", "1")), int(data.values.get("last", "1"))
        root = session.root.values
        return int(root.get("first_frame", "1")), int(root.get("last_frame", "100"))

    def metadata(self, key: str | None = None, *_: Any) -> Any:
        raise RuntimeError("metadata() breaks the wiring of scripts that are being loaded: do not ask for it")

    def error(self) -> bool:
        return False

    def hasError(self) -> bool:
        return False

    def forceValidate(self) -> None:
        pass

    def writeKnobs(self, flags: int = 0) -> str:
        return " ".join(f"{name} {quoted(text)}" for name, text in self._data.lines)


class Group(Node):
    """A node that holds others; ``with group:`` makes new ones inside it."""

    def begin(self) -> Group:
        session.on_main("Group.begin")
        session.scope.append(self._data)
        return self

    def end(self) -> None:
        session.scope.pop()

    def __enter__(self) -> Group:
        return self.begin()

    def __exit__(self, *_: object) -> None:
        self.end()

    def node(self, name: str) -> Node | None:
        return to_node(name, self._data)

    def nodes(self) -> list[Node]:
        session.on_main("Group.nodes")
        return [wrapped(child) for child in self._data.children]

    def output(self) -> Node | None:
        found = next((child for child in self._data.children if child.cls == "Output"), None)
        return wrapped(found) if found else None


class Root(Group):
    """The script."""

    def name(self) -> str:
        return session.path

    def fullName(self) -> str:
        return "root"

    def firstFrame(self) -> int:
        return int(self._data.values["first_frame"])

    def lastFrame(self) -> int:
        return int(self._data.values["last_frame"])

    def modified(self) -> bool:
        return bool(session.undo)


def wrapped(data: Data) -> Node:
    """The object for a node; a mode that limits Python counts it."""
    session.touch(data)
    if data not in _WRAPPED:
        kind = Root if data is session.root else Group if data.cls in GROUPS else Node
        _WRAPPED[data] = kind(data)
    return _WRAPPED[data]


def format_of() -> tuple[int, int]:
    """Width and height of the script's format."""
    words = session.root.values.get("format", "1920 1080").split()
    return int(words[0]), int(words[1])


def upstream(data: Data) -> Iterator[Data]:
    """A node and everything that feeds it, the nearest first."""
    seen, waiting = set(), [data]
    while waiting:
        one = waiting.pop(0)
        if one not in seen:
            seen.add(one)
            yield one
            waiting += [source for source in one.inputs if source is not None]


def free_name(data: Data, wanted: str) -> str:
    """A name that no other node of the group has: with the next number behind it."""
    taken = {other.name for other in (data.parent.children if data.parent else ()) if other is not data}
    if wanted not in taken:
        return wanted
    stem = wanted.rstrip("0123456789")
    number = 1
    while f"{stem}{number}" in taken:
        number += 1
    return f"{stem}{number}"


def rename(data: Data, name: str) -> None:
    """Give a node a name; expressions of its siblings follow, as they do in the host."""
    old = data.name
    data.lines[:] = [line for line in data.lines if line[0] != "name"] + [("name", name)]
    if old and old != name and data.parent:
        pattern = re.compile(rf"(?<![\w.]){re.escape(old)}(?=\.\w)")
        for other in data.parent.walk():
            other.lines[:] = [
                (line, text if line == "addUserKnob" else pattern.sub(name, text)) for line, text in other.lines
            ]


def connect(data: Data, index: int, source: Data | None) -> None:
    """Connect an input, and tell the node."""
    while len(data.inputs) <= index:
        data.inputs.append(None)
    data.inputs[index] = source
    session.change(f"{data.path} input {index}")
    notice(data, "inputChange")


def create(cls: str, knobs: str = "", attach: bool = True) -> Data:
    """A fresh node of a class, or the group of a ``.gizmo`` file on the plug-in path.

    Raises:
        RuntimeError: There is no such class, or a knob is wrong.
    """
    from nuke._files import gizmo

    text = gizmo(cls) if cls not in FACTS.classes else None
    if cls not in FACTS.classes and text is None:
        raise RuntimeError(f"{cls}: Unknown command")
    if text is None:
        most = FACTS.most_inputs(cls)
        body = "" if most else " inputs 0\n"
        text = f"{cls} {{\n{body} {knobs}\n}}\n" + ("end_group\n" if cls in GROUPS else "")
    made = read(text, session.selected[-1] if attach and session.selected else None)
    return made[-1]


def read(text: str, selected: Data | None = None) -> list[Data]:
    """Read a text into the current group; returns its nodes, without those that they hold.

    Raises:
        RuntimeError: The text has a mistake: Nuke refuses it, or would load it wrong.
    """
    script = Script(text, selected)
    script.layers.update({name: channels for name, channels in session.layers.items() if name != "rgba"})
    for child in script.root.children:
        if not child.name:
            child.lines.append(("name", free_name(child, child.cls.rstrip("0123456789") + "1")))
    problems = [f"{where}: {what}" for where, what in (*script.problems, *Checker(script, FACTS).problems())]
    if problems:
        raise RuntimeError("\n".join(problems))
    session.layers.update({name: channels for name, channels in script.layers.items() if channels})
    scope, made = session.scope[-1], list(script.root.children)
    taken = {child.name for child in scope.children}
    for data in made:
        if data.cls == "Root":
            for name, value in data.lines:
                session.root.lines[:] = [line for line in session.root.lines if line[0] != name] + [(name, value)]
            continue
        if data.name in taken:
            numbers = re.sub(r"\d+$", "", data.name)
            number = 1
            while f"{numbers}{number}" in taken | {other.name for other in made}:
                number += 1
            rename(data, f"{numbers}{number}")
        taken.add(data.name)
    made = [data for data in made if data.cls != "Root"]
    for data in made:
        data.parent = scope
        scope.children.append(data)
    session.change(f"read {', '.join(data.name for data in made)}")
    for data in made:
        for one in (data, *data.walk()):
            notice(one, "", "OnCreate")
    return made


def to_node(path: str, scope: Data | None = None) -> Node | None:
    session.on_main("toNode")
    if path in ("root", ""):
        return wrapped(session.root)
    starts = [scope] if scope is not None else [session.scope[-1], session.root]
    for start in starts:
        found: Data | None = start
        for part in path.removeprefix("root.").split(".") if hasattr(str, "removeprefix") else path.split("."):
            found = found.child(part) if found else None
        if found is not None:
            return wrapped(found)
    return None


def delete(data: Data) -> None:
    """Remove a node; what it fed has nothing on that input."""
    assert data.parent is not None
    data.parent.children.remove(data)
    for other in data.parent.children:
        other.inputs = [None if source is data else source for source in other.inputs]
    session.open_panels.discard(data)
    if data in session.selected:
        session.selected.remove(data)
    session.change(f"{data.name} deleted")


def show_panel(data: Data) -> None:
    """Open a node's panel, and tell it."""
    session.on_main("showControlPanel")
    if not session.gui:
        raise RuntimeError("there are no panels without a GUI")
    if data not in session.open_panels:
        session.open_panels.add(data)
        notice(data, "showPanel")


def knob_changed(data: Data, knob: Knob) -> None:
    """Tell a node of a knob that changed; only while its panel is open."""
    if data in session.open_panels:
        notice(data, knob.name(), knob=knob)


def notice(data: Data, knob_name: str, event: str = "KnobChanged", knob: Knob | None = None) -> None:
    """Run what a node and the session have for an event; exceptions are printed in Nuke, and kept here."""
    here = session.this[-1] if session.this else (None, None)
    if event == "KnobChanged" and here[0] is data and getattr(here[1], "_in_callback", False):
        return  # Nuke does not call a callback for what it changes itself.
    if knob is None:
        knob = String_Knob._of(data, Known(knob_name or "name", "String_Knob"))
    marker = knob
    marker._in_callback = True
    session.this.append((data, marker))
    try:
        code = data.values.get({"KnobChanged": "knobChanged", "OnCreate": "onCreate"}.get(event, ""), "")
        if code:
            try:
                run_code(code, f"{event} of {data.path}")
            except Exception as error:  # noqa: BLE001 - printed, as in the host
                session.blame(f"{event} of {data.path}", error)
        run_callbacks(event, data.cls)
    finally:
        session.this.pop()


def run_callbacks(event: str, cls: str, through: bool = False) -> None:
    """Run the callbacks of an event that hold for a class; ``through`` lets exceptions pass, as renders do."""
    for call, arguments, named, wanted in list(session.callbacks.get(event, ())):
        if wanted not in ("*", cls):
            continue
        try:
            call(*arguments, **named)
        except Exception as error:
            if through:
                raise
            session.blame(f"{event} of {cls}", error)


def written(scope: Data, only: list[Data] | None = None, depth: int = 0) -> str:
    """The nodes of a group as text, wired by names of the stack."""
    lines: list[str] = []
    pad = " " * depth
    done: set[Data] = set()
    wanted = scope.children if only is None else only

    def write(data: Data) -> None:
        if data in done:
            return
        done.add(data)
        sources = [source if source in wanted else None for source in data.inputs]
        for source in sources:
            if source is not None:
                write(source)
        for source in reversed(sources):
            lines.append(f"{pad}push {f'$N{id(source):x}' if source is not None else 0}")
        lines.append(f"{pad}{data.cls} {{")
        if len(sources) != 1:
            lines.append(f"{pad} inputs {len(sources)}")
        unkept = {words[1] for words in _declarations(data) if "+DO_NOT_WRITE" in words} | {"inputs"}
        lines.extend(f"{pad} {name} {quoted(text)}" for name, text in data.lines if name not in unkept)
        lines.append(f"{pad}}}")
        if data.cls in GROUPS:
            inner = written(data, None, depth + 1)
            if inner:
                lines.append(inner)
            lines.append(f"{pad}end_group")
        lines.append(f"{pad}set N{id(data):x} [stack 0]")

    for data in wanted:
        write(data)
    return "\n".join(lines)


def _declarations(data: Data) -> list[list[str]]:
    return [tcl.split(text) for name, text in data.lines if name == "addUserKnob"]


def whole_script() -> str:
    """The script as a file has it."""
    layers = "".join(
        f"add_layer {{{name} {' '.join(channels)}}}\n" for name, channels in session.layers.items() if name != "rgba"
    )
    root = "".join(f" {name} {quoted(text)}\n" for name, text in session.root.lines)
    return f"version 14.1 v5\nRoot {{\n inputs 0\n{root}}}\n{layers}{written(session.root)}\n"
