"""The hands and the event loop of the fake host: what an artist does, and what Nuke does between."""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from nuke._files import render as _render
from nuke._knobs import PyScript_Knob, _state
from nuke._nodes import Node
from nuke._session import run_code, session

from nuke import _nodes

DISK = frozenset(
    [
        "open",
        "os.listdir",
        "os.scandir",
        "os.remove",
        "os.rename",
        "os.mkdir",
        "os.rmdir",
        "os.link",
        "os.symlink",
        "os.truncate",
        "subprocess.Popen",
        "socket.connect",
        "shutil.copyfile",
    ]
)
"""Audit events of what touches the disk or the machine."""
_idling: list[bool] = []


class DiskTouched(RuntimeError):
    """Something looked at the disk while the interface idled."""


def _audit(event: str, arguments: tuple) -> None:
    if _idling and event in DISK:
        raise DiskTouched(f"{event} {arguments[:1]} within updateUI")


sys.addaudithook(_audit)


@contextlib.contextmanager
def diskless() -> Iterator[None]:
    """Within, everything that looks at the disk raises; also asking whether a file is there."""

    def refused(*arguments: Any, **named: Any) -> Any:
        raise DiskTouched(f"stat {arguments[:1]} within updateUI")

    kept = {name: getattr(os, name) for name in ("stat", "lstat", "access")}
    for name in kept:
        setattr(os, name, refused)
    _idling.append(True)
    try:
        yield
    finally:
        _idling.pop()
        for name, function in kept.items():
            setattr(os, name, function)


def press(node: Node, name: str) -> None:
    """Click a button."""
    knob = node[name]
    if not isinstance(knob, PyScript_Knob):
        raise TypeError(f"{name} is no button")
    if not knob.enabled():
        raise RuntimeError(f"{node.fullName()}.{name} is grey: nobody can press it")
    knob.execute()


def dial(node: Node, name: str, value: Any) -> None:
    """Turn a knob by hand: its panel is open, so callbacks hear of it."""
    show(node)
    knob = node[name]
    if not knob.enabled():
        raise RuntimeError(f"{node.fullName()}.{name} is grey: nobody can turn it")
    knob.setValue(value)


def show(node: Node) -> None:
    """Open a panel."""
    _nodes.show_panel(node._data)


def hide(node: Node) -> None:
    """Close a panel."""
    session.open_panels.discard(node._data)


def connect(node: Node, index: int, source: Node | None) -> None:
    """Draw an arrow."""
    if not node.canSetInput(index, source):
        raise RuntimeError(f"{node.fullName()} has no input {index}, or it would feed itself")
    _nodes.connect(node._data, index, source._data if source else None)


def select(*nodes: Node) -> None:
    """Select nodes, and nothing else."""
    session.selected[:] = [node._data for node in nodes]


def goto(frame: int) -> None:
    """Move the playhead; the interface idles after it."""
    session.frame = frame
    idle()


def idle() -> None:
    """What the host does between events: ``updateUI``, for every node of an open panel and for the whole script."""
    from nuke._nodes import run_callbacks

    with diskless():
        run_callbacks("UpdateUI", "Root")
        for data in list(session.open_panels):
            session.this.append((data, None))
            try:
                code = data.values.get("updateUI", "")
                if code:
                    run_code(code, f"updateUI of {data.path}")
                run_callbacks("UpdateUI", data.cls)
            except Exception as error:  # noqa: BLE001 - printed, as in the host
                session.blame(f"updateUI of {data.path}", error)
            finally:
                session.this.pop()


def spin(until: Callable[[], bool], timeout: float = 60.0, idling: bool = False) -> float:
    """Run the event loop until something holds; returns how long the longest call kept the interface waiting.

    Raises:
        TimeoutError: It does not come to hold.
    """
    deadline, longest = time.monotonic() + timeout, 0.0
    while not until():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing after {timeout:g} s; problems: {problems()}")
        try:
            call = session.calls.get(timeout=0.002)
        except queue.Empty:
            if idling:
                idle()
            continue
        began = time.perf_counter()
        call()
        longest = max(longest, time.perf_counter() - began)
    return longest


def reloads(node: Node) -> int:
    """How often the ``reload`` button of a Read was pressed."""
    return int(_state(node["reload"]).get("reloads", 0))


def answer(value: Any) -> None:
    """What the next question will be answered with."""
    session.answers.append(value)


def messages() -> list[tuple[str, str]]:
    """Windows and warnings that were shown, kind and text."""
    return list(session.messages)


def problems() -> list[str]:
    """Traces of exceptions that callbacks let out: Nuke prints them, a trial must have none."""
    return [f"{where}\n{''.join(traceback.format_exception(error))}" for where, error in session.problems]


def tasks() -> list[Any]:
    """Progress bars that were opened."""
    return list(session.tasks)


def undo_steps() -> list[str]:
    """Names of the steps that could be undone."""
    return [name for name, changes in session.undo if changes]


def render(node: Node, first: int, last: int) -> None:
    """Render a Write, with its callbacks."""
    _render(node._data, first, last)


def script() -> str:
    """The script as it would be saved."""
    return _nodes.whole_script()


def nodes() -> list[str]:
    """Class and name of every node of the script, groups not entered; counts for no limit."""
    return [f"{data.cls} {data.name}" for data in session.root.children]
