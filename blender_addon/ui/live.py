# SPDX-License-Identifier: GPL-3.0-or-later
"""Live: the shown frame is converted again whenever one of its settings changes.

A change is asked for at once, at the size that the engine can answer quickly; when nothing has moved for a moment,
the frame is asked for at full size. The engine writes it where a render would, so all nodes after Convert work on it.
"""

import json
import time
from collections.abc import Callable
from typing import Any

import bpy

from ..core.shot import ROLES, ShotError
from ..host import convert, shots
from .chain import REFUSED, show, writing
from .props import shot_of, speaking

REST = 0.4
"""Seconds without a change after which the frame is wanted at full size."""
LOOK, SOON = 0.025, 0.01
"""Seconds to the next look while live is on, and while the engine works."""


class Eye:
    """What was asked for last, and what is awaited; one for the whole program, as there is one engine."""

    def __init__(self) -> None:
        self.asked = ""
        self.seen = ""
        self.moved = 0.0
        self.fine = True
        self.scene = 0
        self.shown: tuple[int, int] | None = None
        self.request: Any = None
        self.recipe: dict[str, Any] = {}


eye = Eye()


def watched() -> Any:
    """The scene whose frame is live; None while there is none, or Blender renders."""
    scene = getattr(bpy.context, "scene", None)
    if scene is None or not scene.mien.live or bpy.app.is_job_running("RENDER") or not shots.converts(scene):
        return None
    return scene


def dialed(scene: Any) -> str:
    """All that the shown frame depends on, as text to compare: sockets of the Convert node, frame, files."""
    node = shots.converts(scene)[0]
    values = [getattr(socket, "default_value", None) for socket in node.inputs]
    plain = [value if isinstance(value, (int, float, str)) else None for value in values]
    files = [getattr(scene.mien, name) for name in ("identity", "track", "face", "roto")]
    return json.dumps([scene.session_uid, scene.frame_current, plain, files])


def step(engine: Callable[[], Any]) -> bool:
    """One turn; whether something new is shown."""
    changed = _answered()
    scene = watched()
    if scene is None:
        return changed
    now = dialed(scene)
    if now != eye.seen:
        eye.seen, eye.moved, eye.fine = now, time.monotonic(), False
    if eye.request is not None:
        return changed
    # What is on its way to the viewer comes first: Blender and the engine share the processor.
    resting = time.monotonic() - eye.moved > REST and not bpy.app.is_job_running("COMPOSITE")
    if now != eye.asked:
        _ask(engine, scene, now, None)
    elif resting and not eye.fine:
        eye.fine = True
        _ask(engine, scene, now, 1)
    return changed


def _ask(engine: Callable[[], Any], scene: Any, now: str, scale: float | None) -> None:
    eye.asked = now
    try:
        shot = shot_of(scene)
        eye.recipe = writing(scene, shot)
        first, last = eye.recipe["plate"]["first"], eye.recipe["plate"]["last"]
        if not first <= scene.frame_current <= last:
            raise ShotError(f"Frame {scene.frame_current} is outside the shot, {first}-{last}.")
        show(scene, shot)
    except REFUSED as error:
        speaking(scene.session_uid).error = str(error)
        return
    eye.scene = scene.session_uid
    eye.request = engine().ask(
        "render", recipe=eye.recipe, folder=shot.folder, frame=scene.frame_current, write=True, scale=scale,
        viewer=f"blender {scene.session_uid}",
    )  # fmt: skip


def _answered() -> bool:
    """Take in an answer, and show its frame."""
    if eye.request is None or not eye.request.over:
        return False
    answer, eye.request = dict(eye.request.answer or {}), None
    if answer.get("event") != "done":
        if answer.get("event") in ("error", "died"):
            speaking(eye.scene).error = f"Live: {answer.get('message', '')}"
        return True
    said = speaking(eye.scene)
    said.error = ""
    solve = {"stale": ", the match is of earlier settings", "none": ", not solved over the shot yet"}
    scale = "" if answer["scale"] == 1 else f" at {answer['scale']:g}"
    said.text = f"Live: frame {answer['frame']}{scale}, {answer['seconds']:.2f} s{solve.get(answer['solve'], '')}"
    scene = shots.scene_of(eye.scene)
    if scene is not None and scene.frame_current == answer["frame"]:
        there = (eye.scene, answer["frame"])
        # Of another frame Blender may still hold what was written there before.
        roles = tuple(map(convert.role_of, answer["written"])) if eye.shown == there else ROLES
        eye.shown = there
        for node in shots.converts(scene):
            convert.refresh(node.node_tree, roles)
    return True


def forget() -> None:
    """Nothing is awaited any more."""
    if eye.request is not None:
        eye.request.cancel()
    eye.request, eye.asked, eye.seen, eye.shown = None, "", "", None


def interval(usual: float) -> float:
    """How soon the next turn is due."""
    if eye.request is not None:
        return SOON
    return LOOK if watched() is not None else usual
