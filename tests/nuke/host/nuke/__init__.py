"""A stand-in for Nuke that refuses what Nuke would refuse, and more: what mien's plug-in is tried on.

Only names of the real module are public here. Nodes are those of ``classes.json``, scripts are read by ``nk``.
Strict where a permissive fake proves nothing: unknown classes, knobs, menu items, kinds of value, calls off the main
thread, ``executeInMainThread`` where it hangs, windows in a terminal, disk access while the interface idles.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nuke import _files, _nodes
from nuke._knobs import KINDS, AnimationCurve, AnimationKey, Knob
from nuke._nodes import Group, Node, Root
from nuke._session import FACTS, MAIN, session

globals().update(KINDS)

GUI = True
INTERACTIVE = True
NUKE_VERSION_MAJOR, NUKE_VERSION_MINOR, NUKE_VERSION_RELEASE = 14, 1, 5
NUKE_VERSION_STRING = "14.1v5"
STARTLINE, ENDLINE, DISABLED, INVISIBLE, NO_ANIMATION = 0x1000, 0x2000, 0x80, 0x400, 0x100
DO_NOT_WRITE, ALWAYS_SAVE, NO_UNDO, HIDDEN, KNOB_CHANGED_RECURSIVE = 0x200, 0x10, 0x80000, 0x40000, 0x8000000
INPUTS, HIDDEN_INPUTS, EXPRESSIONS = 1, 2, 4
REPLACE, REPLACE_VIEW, PREPEND, WRITE_USER_KNOB_DEFS = 1, 2, 8, 0x200

env: dict[str, Any] = {
    "gui": True, "nc": False, "indie": False, "nukex": False, "studio": False, "interactive": True, "threads": 2,
    "NukeVersionMajor": 14, "NukeVersionMinor": 1, "NukeVersionRelease": 5, "NukeVersionString": "14.1v5",
    "WIN32": False, "MACOS": False, "LINUX": True, "ExecutablePath": sys.executable, "PluginExtension": "so",
}  # fmt: skip


class FrameRange:
    """First and last frame with a step."""

    def __init__(self, first: int, last: int, step: int = 1) -> None:
        self._range = (int(first), int(last), int(step))

    def first(self) -> int:
        return self._range[0]

    def last(self) -> int:
        return self._range[1]

    def increment(self) -> int:
        return self._range[2]

    def frames(self) -> int:
        return len(range(self._range[0], self._range[1] + 1, self._range[2]))


class Undo:
    """One step of undo for all that happens within."""

    def __init__(self, name: str = "") -> None:
        session.on_main("Undo")
        self._name = name

    def __enter__(self) -> Undo:
        self.begin(self._name)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @staticmethod
    def begin(name: str = "") -> None:
        session.on_main("Undo.begin")
        if not session.undo_depth:
            session.undo.append((name, []))
        session.undo_depth += 1

    @staticmethod
    def end() -> None:
        session.undo_depth -= 1

    @staticmethod
    def name(name: str) -> None:
        if session.undo:
            session.undo[-1] = (name, session.undo[-1][1])


class ProgressTask:
    """A bar with a Cancel button; may be used from any thread, with a GUI."""

    def __init__(self, title: str = "") -> None:
        if not session.gui:
            raise RuntimeError("there is no progress bar without a GUI")
        self._title, self._seen, self._cancelled, self._open = str(title), [], False, True
        session.tasks.append(self)

    def setProgress(self, percent: int) -> None:
        if type(percent) is not int or not 0 <= percent <= 100:
            raise TypeError(f"setProgress takes a whole number from 0 to 100, not {percent!r}")
        self._seen.append(percent)

    def setMessage(self, message: str) -> None:
        if not isinstance(message, str):
            raise TypeError("setMessage takes text")
        self._seen.append(message)

    def isCancelled(self) -> bool:
        return self._cancelled


class MenuItem:
    """An entry of a menu."""

    def __init__(self, name: str, command: Any = None) -> None:
        self._name, self._command, self._enabled = name, command, True

    def name(self) -> str:
        return self._name

    def invoke(self) -> None:
        session.on_main("MenuItem.invoke")
        if callable(self._command):
            self._command()
        else:
            exec(compile(self._command, f"<menu {self._name}>", "exec"), sys.modules["__main__"].__dict__)

    def setEnabled(self, enabled: bool, recursive: bool = False) -> None:
        self._enabled = bool(enabled)


class Menu(MenuItem):
    """A menu, or a button of the toolbar."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._items: list[MenuItem] = []

    def addMenu(self, name: str, icon: str = "", tooltip: str = "", index: int = -1) -> Menu:
        found = self.findItem(name)
        if not isinstance(found, Menu):
            found = Menu(name)
            self._items.append(found)
        return found

    def addCommand(
        self, name: str, command: Any = None, shortcut: str = "", icon: str = "", tooltip: str = "", index: int = -1,
        readonly: bool = False, shortcutContext: int = 0,
    ) -> MenuItem:  # fmt: skip
        if command is not None and not callable(command) and not isinstance(command, str):
            raise TypeError("a command is text or a function")
        item = MenuItem(name, command)
        self._items.append(item)
        return item

    def addSeparator(self, index: int = -1) -> MenuItem:
        item = MenuItem("-")
        self._items.append(item)
        return item

    def items(self) -> list[MenuItem]:
        return list(self._items)

    def findItem(self, name: str) -> MenuItem | None:
        return next((item for item in self._items if item.name() == name), None)

    def removeItem(self, name: str) -> None:
        self._items = [item for item in self._items if item.name() != name]


_MENUS = {name: Menu(name) for name in ("Nuke", "Nodes", "Viewer", "Animation", "Properties", "Node Graph", "Axis")}


def menu(name: str) -> Menu:
    session.on_main("menu")
    if not session.gui:
        raise RuntimeError("there are no menus without a GUI")
    return _MENUS[name]


def toolbar(name: str, create: bool = True) -> Menu:
    return menu(name)


# Nodes.


def root() -> Root:
    session.on_main("root")
    found = _nodes.wrapped(session.root)
    assert isinstance(found, Root)
    return found


def toNode(name: str) -> Node | None:
    return _nodes.to_node(name)


def exists(name: str) -> bool:
    session.on_main("exists")
    node, _, knob = name.rpartition(".")
    return bool(_nodes.to_node(name) or (node and (found := _nodes.to_node(node)) and found.knob(knob)))


def allNodes(filter: str | None = None, group: Group | None = None, recurseGroups: bool = False) -> list[Node]:
    session.on_main("allNodes")
    scope = group._data if group is not None else session.scope[-1]
    found = list(scope.walk()) if recurseGroups else list(scope.children)
    return [_nodes.wrapped(data) for data in found if filter in (None, data.cls)]


def selectedNodes(filter: str | None = None) -> list[Node]:
    session.on_main("selectedNodes")
    return [_nodes.wrapped(data) for data in reversed(session.selected) if filter in (None, data.cls)]


def selectedNode() -> Node:
    session.on_main("selectedNode")
    if not session.selected:
        raise ValueError("no node selected")
    return _nodes.wrapped(session.selected[-1])


def createNode(node: str, knobs: str = "", inpanel: bool = True) -> Node:
    """As from the menu: connected to the selection, selected, its panel open."""
    session.on_main("createNode")
    made = _nodes.create(node, knobs)
    _nodes.notice(made, "", "OnUserCreate")
    session.selected[:] = [made]
    if inpanel and session.gui:
        _nodes.show_panel(made)
    return _nodes.wrapped(made)


class _Constructor:
    def __init__(self, cls: str) -> None:
        self._cls = cls

    def __call__(self, inputs: Any = (), **knobs: Any) -> Node:
        session.on_main(f"nodes.{self._cls}")
        made = _nodes.wrapped(_nodes.create(self._cls, attach=False))
        for index, source in enumerate(inputs):
            made.setInput(index, source)
        for name, value in knobs.items():
            made[name].setValue(value)
        return made


class Nodes:
    """``nuke.nodes.Blur(inputs=[...], size=3)``."""

    def __getattr__(self, cls: str) -> _Constructor:
        if cls not in FACTS.classes:
            raise AttributeError(f"there is no class {cls}")
        return _Constructor(cls)


nodes = Nodes()


def delete(node: Node) -> None:
    session.on_main("delete")
    _nodes.delete(node._data)


def nodePaste(path: str) -> Node | None:
    """Read a file's nodes, or the clipboard's, behind the selection; one step of undo; they are selected."""
    session.on_main("nodePaste")
    text = session.clipboard if path == "%clipboard%" else Path(path).read_text("utf-8")
    source = session.selected[-1] if session.selected else None
    with Undo("Paste"):
        made = _nodes.read(text, source)
    session.selected[:] = made
    return _nodes.wrapped(made[-1]) if made else None


def nodeCopy(path: str) -> None:
    session.on_main("nodeCopy")
    text = (
        "set cut_paste_input [stack 0]\nversion 14.1 v5\n" + _nodes.written(session.scope[-1], session.selected) + "\n"
    )
    if path == "%clipboard%":
        session.clipboard = text
    else:
        Path(path).write_text(text, "utf-8")


def scriptReadText(text: str) -> None:
    session.on_main("scriptReadText")
    _nodes.read(text)


def scriptReadFile(path: str) -> None:
    session.on_main("scriptReadFile")
    _nodes.read(Path(path).read_text("utf-8"))


def scriptClear(*_: Any) -> None:
    session.on_main("scriptClear")
    session.root.children.clear()
    session.selected.clear()
    session.open_panels.clear()


def scriptOpen(path: str) -> None:
    scriptClear()
    scriptReadFile(path)
    session.path = path
    _nodes.run_callbacks("OnScriptLoad", "Root")


def scriptSaveAs(filename: str = "", overwrite: int = -1) -> None:
    session.on_main("scriptSaveAs")
    if Path(filename).exists() and overwrite != 1:
        raise RuntimeError(f"{filename} is there: overwrite it?")
    session.path = filename
    _nodes.run_callbacks("OnScriptSave", "Root")
    Path(filename).write_text(_nodes.whole_script(), "utf-8")


def scriptSave(filename: str | None = None) -> bool:
    scriptSaveAs(filename or session.path, 1)
    return True


def scriptName() -> str:
    if not session.path:
        raise RuntimeError("no filename available, cancelled?")
    return session.path


def execute(
    node: Any, start: int, end: int | None = None, incr: int = 1, views: Any = None, continueOnError: bool = False
) -> None:
    session.on_main("execute")
    if not all(type(number) is int for number in (start, end, incr)):
        raise TypeError("execute takes whole frames")
    data = node._data if isinstance(node, Node) else _nodes.to_node(node)._data  # type: ignore[union-attr]
    _files.render(data, start, end if end is not None else start, incr)


# Where one is.


def frame(f: int | None = None) -> int:
    session.on_main("frame")
    if f is not None:
        if type(f) is not int:
            raise TypeError("frame takes a whole number")
        session.frame = f
    return session.frame


def thisNode() -> Node:
    session.on_main("thisNode")
    data = session.this[-1][0] if session.this else session.scope[-1]
    return _nodes.wrapped(data or session.root)


def thisKnob() -> Knob:
    session.on_main("thisKnob")
    if not session.this or session.this[-1][1] is None:
        raise ValueError("thisKnob() is only there in a callback")
    return session.this[-1][1]


def thisGroup() -> Group:
    session.on_main("thisGroup")
    node = thisNode()
    found = node if isinstance(node, Group) else node.parent()
    assert isinstance(found, Group)
    return found


def thisParent() -> Node | None:
    return thisNode().parent()


def views() -> list[str]:
    return session.root.values.get("views", "main").split()


def thisView() -> str:
    return views()[0]


def proxy() -> bool:
    return session.root.values.get("proxy", "false") == "true"


def executing(f: float | None = None) -> bool:
    return False


def usingOcio() -> bool:
    return True


def filename(node: Node, i: int = 0) -> str | None:
    # In proxy mode a node works with its proxy file, where it has one.
    small = node.knob("proxy") if proxy() else None
    knob = small if small is not None and small.value() else node.knob("file")
    if knob is None:
        return None
    return knob.evaluate() if i == REPLACE else knob.value()  # type: ignore[attr-defined]


def layers(node: Node | None = None) -> list[str]:
    return list(session.layers)


def show(node: Node, forceFloat: bool = False) -> None:
    _nodes.show_panel(node._data)


def sample(node: Node, channel: str, x: float, y: float, dx: float = 1, dy: float = 1) -> float:
    """Mean of a channel around a place, counted from the bottom left."""
    session.on_main("sample")
    return _files.sample(node._data, channel, x, y, dx, dy)


def clearRAMCache() -> None:
    session.on_main("clearRAMCache")


# Words for people.


def _window(kind: str, text: str) -> None:
    session.on_main(kind)
    if not session.gui:
        raise RuntimeError(f"nuke.{kind} was called without a GUI: {text}")
    if not isinstance(text, str):
        raise TypeError(f"nuke.{kind} takes text")
    session.messages.append((kind, text))


def message(prompt: str) -> None:
    _window("message", prompt)


def alert(prompt: str) -> None:
    _window("alert", prompt)


def ask(prompt: str) -> bool:
    """Answered by what the trial put into ``session.answers``; a question that nobody expected is a mistake."""
    _window("ask", prompt)
    if not session.answers:
        raise RuntimeError(f"nobody answers: {prompt}")
    return bool(session.answers.pop(0))


def getFilename(
    message: str, pattern: str = "", default: str = "", favorites: str = "", type: str = "", multiple: bool = False
) -> str | None:
    _window("getFilename", message)
    return session.answers.pop(0) if session.answers else None


getClipname = getFilename


def getInput(prompt: str, default: str = "") -> str | None:
    _window("getInput", prompt)
    return session.answers.pop(0) if session.answers else None


def tprint(*words: Any, sep: str = " ", end: str = "\n", file: Any = None) -> None:
    print(*words, sep=sep, end=end, file=file or sys.stdout)


def warning(message: str) -> None:
    session.messages.append(("warning", str(message)))
    print(message, file=sys.stderr)


def error(message: str) -> None:
    session.messages.append(("error", str(message)))
    print(message, file=sys.stderr)


def critical(message: str) -> None:
    error(message)


def debug(message: str) -> None:
    pass


# Threads.


def _queue(call: Callable[..., Any], args: Any, kwargs: dict, done: threading.Event | None, box: list) -> None:
    arguments = args if isinstance(args, tuple) else (args,)

    def run() -> None:
        try:
            box.append(call(*arguments, **kwargs))
        except Exception as error:  # noqa: BLE001 - printed, as in the host
            session.blame("executeInMainThread", error)
        finally:
            if done:
                done.set()

    session.calls.put(run)


def _off_main(name: str) -> None:
    if threading.current_thread() is MAIN:
        raise RuntimeError(f"nuke.{name} on the main thread hangs Nuke")
    if not session.gui:
        raise RuntimeError(f"nuke.{name} in a terminal waits for ever: nothing runs the main thread's calls")


def executeInMainThread(call: Callable[..., Any], args: Any = (), kwargs: dict | None = None) -> None:
    _off_main("executeInMainThread")
    _queue(call, args, kwargs or {}, None, [])


def executeInMainThreadWithResult(call: Callable[..., Any], args: Any = (), kwargs: dict | None = None) -> Any:
    """Waits for the main thread; exceptions are swallowed, as they are in the host."""
    _off_main("executeInMainThreadWithResult")
    done, box = threading.Event(), []
    _queue(call, args, kwargs or {}, done, box)
    done.wait()
    return box[0] if box else None


# Callbacks and places.


def _adder(event: str) -> tuple[Callable[..., None], Callable[..., None]]:
    def add(
        call: Callable[..., Any], args: Any = (), kwargs: dict | None = None, nodeClass: str = "*", node: Any = None
    ) -> None:
        session.on_main(f"add{event}")
        if not callable(call):
            raise TypeError("a callback is a function")
        session.callbacks.setdefault(event, []).append((call, tuple(args), dict(kwargs or {}), nodeClass))

    def remove(
        call: Callable[..., Any], args: Any = (), kwargs: dict | None = None, nodeClass: str = "*", node: Any = None
    ) -> None:
        session.on_main(f"remove{event}")
        held = session.callbacks.get(event, [])
        session.callbacks[event] = [entry for entry in held if entry[0] != call or entry[3] != nodeClass]

    return add, remove


for _event in [
    "OnUserCreate",
    "OnCreate",
    "OnDestroy",
    "KnobChanged",
    "UpdateUI",
    "Autolabel",
    "BeforeRender",
    "AfterRender",
    "BeforeFrameRender",
    "AfterFrameRender",
    "OnScriptLoad",
    "OnScriptSave",
    "OnScriptClose",
    "FilenameFilter",
]:
    globals()[f"add{_event}"], globals()[f"remove{_event}"] = _adder(_event)


def pluginAddPath(path: str, addToSysPath: bool = True) -> None:
    session.on_main("pluginAddPath")
    _files.add_path(path, sys._getframe(1).f_code.co_filename)
    folder = session.plugin_path[0]
    if addToSysPath and folder not in sys.path:
        sys.path.insert(0, folder)


def pluginAppendPath(path: str, addToSysPath: bool = True) -> None:
    pluginAddPath(path, addToSysPath)


def pluginPath() -> list[str]:
    return list(session.plugin_path)


def knobDefault(name: str, value: str | None = None) -> str | None:
    session.on_main("knobDefault")
    return None


def load(name: str) -> None:
    if name not in FACTS.classes:
        raise RuntimeError(f"{name}: plug-in not found")


def tcl(command: str, *arguments: str) -> str:
    raise NotImplementedError("this host has no Tcl of its own: use Python")


def zoom(*_: Any) -> float:
    return 1.0


def autoplace(node: Node) -> None:
    session.on_main("autoplace")


_ = (os, AnimationCurve, AnimationKey)
