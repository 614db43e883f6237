"""The engine from Nuke: asked at once from the interface, waited for in a terminal; never a wait on the main thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from mien.client import Engine, Request
from mien.hosts.watch import Shown, after

BEAT = 0.1
"""Seconds between two looks at what was said."""
_kept: dict = {}


def engine() -> Engine:
    """This Nuke's engine; started when it is first asked something."""
    if "engine" not in _kept:
        _kept["engine"] = Engine(ocio=True)
    found: Engine = _kept["engine"]
    return found


def running(name: str) -> list:
    """Requests of a node that are not over."""
    held: list = [request for request in _kept.setdefault("requests", {}).get(name, []) if not request.over]
    _kept["requests"][name] = held
    return held


def cancel(name: str) -> int:
    """Cancel what a node asked for; returns how many requests that were."""
    open_ones = running(name)
    for request in open_ones:
        request.cancel()
    return len(open_ones)


def work(name: str, title: str, do: str, finish: Callable[[Shown], None], **fields: Any) -> None:
    """Ask for long work of a node; ``finish`` gets what came of it, on the main thread.

    With a GUI this returns at once, with a progress bar that cancels; in a terminal it waits and prints.
    """
    import nuke

    request = engine().ask(do, **fields)
    _kept.setdefault("requests", {}).setdefault(name, []).append(request)
    if not nuke.GUI:
        finish(_wait(request, title))
        return
    threading.Thread(target=_watch, args=(request, title, finish), name="mien " + do, daemon=True).start()


def _wait(request: Request, title: str) -> Shown:
    import nuke

    shown, said = Shown(), ""
    while not shown.over:
        shown = after(shown, request.take())
        if shown.line != said:
            said = shown.line
            nuke.tprint(f"mien: {title}: {said}")
        if not request.over:
            time.sleep(BEAT)
    return shown


def _watch(request: Request, title: str, finish: Callable[[Shown], None]) -> None:
    import nuke

    task, shown = nuke.ProgressTask(title), Shown()
    while not shown.over:
        shown = after(shown, request.take())
        task.setProgress(int(100 * shown.part))
        task.setMessage(shown.line)
        if task.isCancelled():
            request.cancel()
        if not request.over:
            time.sleep(BEAT)
    del task
    nuke.executeInMainThread(finish, args=(shown,))
