# SPDX-License-Identifier: GPL-3.0-or-later
"""The clock: follows the engine's work from Blender's own timer, and never waits for it.

Work is kept by the scene's number, never by its datablock, which undo and opening a file replace, nor by its name,
which an artist may change meanwhile.
"""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import bpy

from ..host import convert, shots
from ..mien.client import Engine, Request
from ..mien.hosts.watch import Shown, after
from . import live, programs
from .chain import REFUSED
from .props import preferences, speaking, state

INTERVAL = 0.1
NAP = 0.01
REDRAWN = ("SEQUENCE_EDITOR", "IMAGE_EDITOR", "CLIP_EDITOR", "PREFERENCES")
Finish = Callable[[Any, dict[str, Any]], None]
Follow = Callable[[dict[str, Any]], None]


@dataclass
class Task:
    """Work that was asked for.

    Attributes:
        lane: ``files`` for what is written, ``train`` for a training; one of each runs at a time.
        title: Words for it.
        scene: Number of the scene in this session.
        request: What the engine says of it.
        finish: Called with the scene and the answer once it is done, if the scene is still there.
        follow: Called with each event.
    """

    lane: str
    title: str
    scene: int
    request: Request
    finish: Finish | None = None
    follow: Follow | None = None
    shown: Shown = field(default_factory=Shown)
    error: str = ""
    over: bool = False


class Clock:
    """Running tasks, the engine, and its log."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.programs: list[programs.Program] = []
        self.changed = ""
        self.log: deque[str] = deque(maxlen=2000)
        self._engine: Engine | None = None
        self._options: tuple[Any, ...] = ()

    def engine(self) -> Engine:
        """The engine as the preferences say; another one where they were changed."""
        chosen = preferences()
        options = (chosen.engine_path, chosen.device, round(chosen.memory, 3))
        if self._engine is None or options != self._options:
            self.close()
            path, device, memory = options
            self._options = options
            self._engine = Engine(
                python=bpy.path.abspath(path) if path else None,
                options=("--device", device, "--memory", str(memory)),
                on_log=self.log.append,
            )
        return self._engine

    def close(self) -> None:
        """Let the engine leave; what ran is over."""
        if self._engine is not None:
            self._engine.close()
        self._engine = None
        self.tasks.clear()

    def running(self, lane: str = "files") -> Task | None:
        """The task of a lane that runs."""
        return next((task for task in self.tasks if task.lane == lane), None)


clock = Clock()


def start(
    title: str, scene: Any, do: str, finish: Finish | None = None, lane: str = "files",
    follow: Follow | None = None, **fields: Any,
) -> Task:  # fmt: skip
    """Ask the engine for something for a scene, and follow it; ``fields`` are those of the request."""
    task = Task(lane, title, scene.session_uid, clock.engine().ask(do, **fields), finish, follow)
    clock.tasks.append(task)
    if lane == "train":
        said = state()
        said.training, said.error = title, ""
        return task
    said = speaking(task.scene)
    said.busy, said.task, said.progress, said.text, said.error, said.warning = True, title, 0.0, title, "", ""
    return task


def tick() -> float:
    """One turn, which Blender's timer calls, or whoever waits without a window; it never raises: timers end by that."""
    try:
        changed = _turn()
    except Exception as error:  # noqa: BLE001  an artist hears of it, and the clock goes on
        clock.log.append(traceback.format_exc())
        state().error, changed = f"{type(error).__name__}: {error}. Open the log.", True
    if changed:
        redraw()
    return live.interval(INTERVAL)


def _turn() -> bool:
    """Take in what was said; whether anything was."""
    if clock.changed:
        # A turn of its own: Blender takes the whole file down.
        words, clock.changed = clock.changed, ""
        if bpy.context.mode == "OBJECT":  # Other modes keep steps of their own, which one between would break.
            bpy.ops.ed.undo_push(message=words)
        return False
    changed = False
    for task in list(clock.tasks):
        events = task.request.take()
        over = task.request.over
        events += task.request.take() if over else []
        before = task.shown
        task.shown = after(task.shown, events)
        if events:
            changed = True
            _note(task, events)
            _publish(task, events)
            if task.shown.frame != before.frame and task.shown.stage == "Rendering":
                show_frame(task.scene, task.shown.frame)
        if over and task in clock.tasks:
            clock.tasks.remove(task)
            _end(task)
            changed = True
    changed = _heard() or changed
    return live.step(clock.engine) or changed


def run(program: programs.Program, commands: Sequence[Sequence[str]]) -> None:
    """Run another program's commands, and follow them."""
    clock.programs.append(program)
    programs.begin(program, commands, clock.log.append)


def _heard() -> bool:
    """Take in what other programs said; whether there are any."""
    running = list(clock.programs)
    for program in running:
        if program.over:
            clock.programs.remove(program)
            program.finish(program)
        elif program.follow is not None:
            program.follow(program)
    return bool(running)


def _note(task: Task, events: list[dict[str, Any]]) -> None:
    for event in events:
        if event.get("message"):
            frame = f"frame {event['frame']}: " if event.get("frame") is not None else ""
            clock.log.append(f"{task.title}: {frame}{event['message']}")


def _publish(task: Task, events: list[dict[str, Any]]) -> None:
    said = state()
    for event in events if task.follow is not None else ():
        task.follow(event)
    if task.lane == "train":
        losses = ", ".join(f"{name} {value:.4g}" for name, value in dict(task.shown.losses.get("losses", {})).items())
        said.training = f"{task.shown.line}  {losses}".strip()
        if task.shown.preview:
            said.preview = task.shown.preview
        return
    said.progress, said.text = task.shown.part, task.shown.line
    if task.shown.notes:
        said.warning = task.shown.notes[-1]


def _end(task: Task) -> None:
    """The last word: what was asked for is done, or an error in words."""
    said = state()
    task.over = True
    answer = dict(task.shown.answer)
    task.error = "" if answer.get("event") == "done" else task.shown.error
    scene = shots.scene_of(task.scene)
    if not task.error and task.finish is not None and scene is not None:
        try:
            task.finish(scene, answer)
        except REFUSED as error:
            task.error = str(error)
        except Exception as error:  # noqa: BLE001  an artist hears of it, and the clock goes on
            clock.log.append(traceback.format_exc())
            task.error = f"{task.title}: {error}"
    failed = task.shown.failed
    if failed and not task.error:
        frame, message = next(iter(sorted(failed.items())))
        task.error = message if str(frame) in message else f"Frame {frame}: {message}"
    if task.lane == "files":
        said.busy = any(other.lane == "files" for other in clock.tasks)
        said.text = task.shown.line
        said.progress = 0.0
    else:
        said.training, said.paused = task.shown.line, False
    if answer.get("event") != "cancelled":
        said.error = task.error
    if task.error:
        clock.log.append(f"{task.title}: {task.error}")


def pump(task: Task, most: float | None = None) -> None:
    """Turn until a task and what it began are over: for ``blender -b``, where timers never fire."""
    began = time.monotonic()
    while not task.over or clock.programs or clock.changed:
        tick()
        if most is not None and time.monotonic() - began > most:
            raise TimeoutError(f"{task.title} goes on after {most:g} seconds.")
        time.sleep(NAP)


def undoable(words: str) -> None:
    """Let undo take back what an answer changed in the file, and no more: answers come between an artist's steps."""
    clock.changed = f"mien: {words}"


def show_frame(scene: int, frame: int | None = None) -> None:
    """Let the scene's Convert nodes show what was written, if the shown frame is among it; never in a render."""
    found = shots.scene_of(scene)
    if found is None or bpy.app.is_job_running("RENDER") or (frame is not None and frame != found.frame_current):
        return
    for node in shots.converts(found):
        convert.refresh(node.node_tree)


def redraw() -> None:
    """Draw again what shows progress: of the nodes the sidebar alone, as drawing the picture behind them takes long."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "NODE_EDITOR":
                for region in (region for region in area.regions if region.type == "UI"):
                    region.tag_redraw()
            elif area.type in REDRAWN:
                area.tag_redraw()


def cancel(lane: str = "files") -> None:
    """Ask for the end of what runs."""
    for task in clock.tasks:
        if task.lane == lane:
            task.request.cancel()


def forget() -> None:
    """Another file was opened: what ran for the old one is cancelled and not spoken of any more."""
    for task in clock.tasks:
        task.request.cancel()
    clock.tasks.clear()
    clock.changed = ""
    live.forget()
    said = state()
    said.busy, said.paused, said.progress, said.about = False, False, 0.0, 0
    said.task = said.text = said.error = said.warning = said.missing = said.state = said.training = ""
