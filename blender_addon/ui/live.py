# SPDX-License-Identifier: GPL-3.0-or-later
"""Live: the shown frame is converted again whenever one of its settings changes.

A change is asked for at once, at the size that the engine can answer quickly; when nothing has moved for a moment,
the frame is asked for at full size. The engine writes it where a render would, so all nodes after Convert work on it.

Blender draws when a value changes, which takes it long without a graphics card, and composites meanwhile in a thread
of its own: the pictures as they were, as the engine has only begun. So that thread waits for the answer, and the one
round of compositing shows what is new. The thread that draws and hears the artist never waits.

Blender runs timers between events and drawing. A change that is seen there, and told on there, is drawn twice like any
other: at once, and with its new picture. Told after, when Blender has looked through what changed, thrice.
"""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import bpy

from ..core.shot import ROLES, ShotError
from ..host import compat, convert, shots
from ..mien.client import EngineError
from .chain import REFUSED, show, writing
from .props import shot_of, speaking

REST = 0.3
"""Seconds after which the frame is wanted at full size: without a change, and since the proxy was composited."""
LOOK, SOON, SLOW = 0.005, 0.01, 0.1
"""Seconds to the next look while live is on: as long as Blender sleeps between turns, while the engine works, and when
nothing has moved for long. Looking often takes a twentieth of a core."""
LONG = 10.0
"""Seconds without a change after which the next one may be drawn once more than those that follow it."""
SEEN, DRAWN = 0.1, 0.05
"""Seconds after compositing in which its picture is drawn before another round begins; those by which a turn comes late
where Blender has drawn."""
HELD = 0.5
"""Seconds after a question for which compositing waits for the answer at most."""
CHANGING = {"face", "matte"}
"""What nearly every setting changes: read anew by the round of compositing that waits for it; the rest comes after."""


class Eye:
    """What was asked for last, and what is awaited; one for the whole program, as there is one engine."""

    def __init__(self) -> None:
        self.engine: Callable[[], Any] | None = None
        self.asked = ""
        self.seen = ""
        self.busy = 0.0
        self.due = 0.0
        self.fine = True
        self.whole = False
        self.scene = 0
        self.shown: tuple[int, int] | None = None
        self.request: Any = None
        self.recipe: dict[str, Any] = {}
        self.since = 0.0
        self.quick = True
        self.held: Any = None
        self.late = False
        self.later: set[str] = set()
        self.news = False


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
    """One turn; whether there is something to say that no new picture brings along."""
    eye.engine = engine
    _answered()
    news, eye.news = eye.news, False
    scene = watched()
    _listen(scene is not None)
    if scene is None:
        return news
    _noticed(scene)
    now, late = time.monotonic(), time.monotonic() - eye.due > DRAWN
    # What is on its way to the viewer comes first: anything new has it composited from the beginning.
    idle = not bpy.app.is_job_running("COMPOSITE")
    if idle and eye.later and now - eye.busy > SEEN:
        _refresh(scene, set())
    changed = eye.seen != eye.asked
    if changed and _free():
        _ask_quickly(scene)
        if eye.held is not None:
            # Else Blender would draw once for the value, and once more for the pictures that were emptied.
            bpy.context.view_layer.update()
    elif eye.request is not None or changed or not idle or late:
        eye.busy = now
    elif not eye.fine and now - eye.busy > REST:
        eye.fine = True
        _ask(scene, 1)
    return news


def _noticed(scene: Any) -> None:
    """See what is dialed, and since when it rests."""
    now = dialed(scene)
    if now != eye.seen:
        eye.seen, eye.busy, eye.fine = now, time.monotonic(), False


def _free() -> bool:
    """Whether a proxy can be asked for: not while another is awaited; a frame at full size is given up for it."""
    if eye.request is not None and eye.whole:
        eye.request.cancel()
        eye.request = None
        # It may have written them, and the next answer will not speak of what is there already.
        eye.later |= set(ROLES) - CHANGING
    return eye.request is None


def ahead(*_: Any) -> None:
    """Something in the file changed: ask before Blender composites and draws, which the timer only comes after."""
    scene = watched() if threading.current_thread() is threading.main_thread() else None
    if scene is None or eye.engine is None:
        return
    _noticed(scene)
    if eye.seen == eye.asked:
        return
    _answered()
    if _free():
        _ask_quickly(scene)


def _ask_quickly(scene: Any) -> None:
    """Ask for a proxy, and let the round of compositing that begins now, of emptied pictures, wait for it."""
    begins = compat.EMPTIES and not bpy.app.background and not bpy.app.is_job_running("COMPOSITE")
    _ask(scene, None)
    if eye.request is not None and begins and eye.quick and not _looked_at(scene):
        eye.held = eye.request
        _refresh(scene, CHANGING)


def hold(*_: Any) -> None:
    """Compositing begins, in a thread of its own: wait there for the answer that it is to show."""
    request = eye.held
    if request is None or threading.current_thread() is threading.main_thread():
        return
    try:
        request.wait(max(0.0, eye.since + HELD - time.monotonic()))
    except TimeoutError:
        eye.late = True
    except EngineError:
        pass  # The timer tells the artist.


def _looked_at(scene: Any) -> bool:
    """Whether an editor shows what the engine wrote by itself, and reads it at any time."""
    trees = [node.node_tree for node in shots.converts(scene)]
    images = [picture.image for tree in trees for picture in convert.pictures(tree).values()]
    for window in bpy.context.window_manager.windows:
        for space in (area.spaces.active for area in window.screen.areas):
            if getattr(space, "image", None) in images or getattr(space, "edit_tree", None) in trees:
                return True
    return False


HANDLERS = (("depsgraph_update_post", ahead), ("composite_pre", hold))


def _listen(on: bool) -> None:
    """Hear of changes at once; not in the background, where nobody looks."""
    for name, handler in HANDLERS:
        hooks = getattr(bpy.app.handlers, name)
        if handler in hooks and not on:
            hooks.remove(handler)
        elif handler not in hooks and on and not bpy.app.background:
            hooks.append(handler)


def _ask(scene: Any, scale: float | None) -> None:
    eye.asked = eye.seen
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
    eye.scene, eye.since, eye.late, eye.whole = scene.session_uid, time.monotonic(), False, scale == 1
    eye.request = eye.engine().ask(
        "render", recipe=eye.recipe, folder=shot.folder, frame=scene.frame_current, write=True, scale=scale,
        viewer=f"blender {scene.session_uid}",
    )  # fmt: skip


def _answered() -> None:
    """Take in an answer, and show its frame; it is news where no new picture has the words drawn too."""
    if eye.request is None or not eye.request.over:
        return
    answer, held = dict(eye.request.answer or {}), eye.held is not None and not eye.late
    eye.request = eye.held = None
    if not eye.fine:
        eye.quick = answer.get("seconds", HELD) < HELD
    eye.news = True
    if answer.get("event") != "done":
        if answer.get("event") in ("error", "died"):
            speaking(eye.scene).error = f"Live: {answer.get('message', '')}"
        return
    scene = shots.scene_of(eye.scene)
    if scene is None or scene.frame_current != answer["frame"]:
        return
    # What comes after it waits until it was drawn, however long ago the last turn was.
    eye.busy = time.monotonic()
    there = (eye.scene, answer["frame"])
    # Of another frame Blender may still hold what was written there before.
    roles = set(map(convert.role_of, answer["written"])) if eye.shown == there else set(ROLES)
    eye.shown = there
    eye.news = False
    if held:
        eye.later |= roles - CHANGING
    else:
        _refresh(scene, roles)
    if not held or speaking(eye.scene).error:
        _say(answer)


def _say(answer: dict[str, Any]) -> None:
    """Words on an answer, with its picture: Blender draws everything where a property of ours is set.

    Of a proxy that compositing waited for nothing is said: all would be drawn twice, and the final frame is near.
    """
    solve = {"stale": ", the match is of earlier settings", "none": ", not solved over the shot yet"}
    scale = "" if answer["scale"] == 1 else f" at {answer['scale']:g}"
    said = speaking(eye.scene)
    said.error = ""
    said.text = f"Live: frame {answer['frame']}{scale}, {answer['seconds']:.2f} s{solve.get(answer['solve'], '')}"


def _refresh(scene: Any, roles: set[str]) -> None:
    roles, eye.later = roles | eye.later, set()
    for node in shots.converts(scene):
        convert.refresh(node.node_tree, [role for role in ROLES if role in roles])


def forget() -> None:
    """Nothing is awaited any more."""
    _listen(False)
    if eye.request is not None:
        eye.request.cancel()
    eye.request, eye.held, eye.asked, eye.seen, eye.shown, eye.later = None, None, "", "", None, set()


def interval(usual: float) -> float:
    """How soon the next turn is due."""
    now, soon = time.monotonic(), usual
    if eye.request is not None:
        soon = SOON
    elif watched() is not None:
        soon = LOOK if now - eye.busy < LONG else SLOW
    eye.due = now + soon
    return soon
