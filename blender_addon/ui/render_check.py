# SPDX-License-Identifier: GPL-3.0-or-later
"""The one thing that runs at render time: a look at which frames are there, that changes nothing."""

import json
import os
import sys
from typing import Any

import bpy
from bpy.app.handlers import persistent

from ..core.shot import missing
from ..host import shots
from ..mien.hosts.frames import spoken
from . import runner
from .chain import REFUSED, recipe_of
from .props import shot_of


def wrong_with(scene: Any) -> str:
    """Which frames of a render would not show what is dialed, in words; empty where all would."""
    if scene.mien.check_renders == "OFF" or not scene.mien.plate or not shots.converts(scene):
        return ""
    try:
        shot = shot_of(scene)
        made = recipe_of(scene, shot)
    except REFUSED as error:
        return str(error)
    first, last = max(scene.frame_start, made["plate"]["first"]), min(scene.frame_end, made["plate"]["last"])
    gone = missing(shot, first, last)
    words = [f"frames {spoken(gone)} are missing"] if gone else []
    try:
        same = json.loads(shot.recipe_file.read_text("utf-8")) == json.loads(json.dumps(made))
    except (OSError, ValueError):
        same = False
    if not same and len(gone) <= last - first:
        words.append("settings were changed since the shot was converted")
    return f"mien, scene {scene.name}: {' and '.join(words)}. Convert the shot again." if words else ""


@persistent
def before_render(scene: Any, *_: Any) -> None:
    """Say what is missing; in the background, where that was asked for, end the render with status 1."""
    words = wrong_with(scene)
    if not words:
        return
    print(words, file=sys.stderr, flush=True)
    runner.clock.log.append(words)
    if scene.mien.check_renders == "ERROR" and bpy.app.background:
        # Blender prints what a handler raises and renders on; a farm must hear of it.
        sys.stdout.flush()
        os._exit(1)


@persistent
def after_load(*_: Any) -> None:
    """Another file: what ran for the old one is not waited for, and nothing is live before an artist says so."""
    runner.forget()
    for scene in bpy.data.scenes:
        if scene.mien.live:
            scene.mien.live = False
