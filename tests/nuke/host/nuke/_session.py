"""What one run of the fake host holds: its script, mode, threads, callbacks, and what it showed."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from typing import Any

from nk.facts import load
from nk.script import Node as Data

FACTS = load()
MAIN = threading.main_thread()
MOST = 10
"""Nodes that Python may touch in a script of the Non-commercial and Indie modes."""


class Session:
    """The state of the host. ``gui`` and ``limited`` are set by whoever starts it, before anything else runs."""

    def __init__(self) -> None:
        self.gui = True
        self.limited = False
        self.frame = 1
        self.path = ""
        self.root = Data("Root", [("first_frame", "1"), ("last_frame", "100")], None)
        self.layers: dict[str, tuple[str, ...]] = {"rgba": ("rgba.red", "rgba.green", "rgba.blue", "rgba.alpha")}
        self.scope = [self.root]
        self.selected: list[Data] = []
        self.open_panels: set[Data] = set()
        self.this: list[tuple[Data | None, Any]] = []
        self.reached: set[Data] = set()
        self.calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.callbacks: dict[str, list[tuple[Callable[..., Any], tuple, dict, str]]] = {}
        self.messages: list[tuple[str, str]] = []
        self.answers: list[Any] = []
        self.problems: list[tuple[str, BaseException]] = []
        self.tasks: list[Any] = []
        self.undo: list[tuple[str, list[str]]] = []
        self.undo_depth = 0
        self.plugin_path: list[str] = []
        self.clipboard = ""

    def on_main(self, what: str) -> None:
        """Nuke's Python is for the main thread.

        Raises:
            RuntimeError: This is another thread.
        """
        if threading.current_thread() is not MAIN:
            raise RuntimeError(f"nuke.{what} was called in the thread {threading.current_thread().name}")

    def touch(self, data: Data) -> None:
        """Count a node that Python reaches.

        Raises:
            RuntimeError: The mode allows no more of them.
        """
        if data is self.root or data in self.reached:
            return
        if self.limited and len(self.reached) >= MOST:
            raise RuntimeError(f"Python reaches only {MOST} nodes in this mode; {data.path} would be one more")
        self.reached.add(data)

    def blame(self, where: str, error: BaseException) -> None:
        """Keep an exception that a callback let out: Nuke prints it and goes on."""
        self.problems.append((where, error))

    def change(self, what: str) -> None:
        """A step that could be undone: changes within ``nuke.Undo`` or one paste are one."""
        if self.undo_depth and self.undo:
            self.undo[-1][1].append(what)
        else:
            self.undo.append((what, [what]))


session = Session()


def run_code(code: str, where: str) -> None:
    """Run a knob's Python as the host does: in a main module that has imported ``nuke``."""
    exec(compile(code, f"<{where}>", "exec"), {"__name__": "__main__", "nuke": sys.modules["nuke"]})
