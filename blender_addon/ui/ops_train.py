# SPDX-License-Identifier: GPL-3.0-or-later
"""Trainings from the panel: start, pause, go on, stop; previews and losses as images that follow."""

from pathlib import Path
from typing import Any

import bpy

from ..core import plot
from ..core.shot import ShotError, named
from . import runner
from .asking import refuse
from .chain import REFUSED, made
from .ops_shot import said_identity
from .props import absolute, shot_of, state

PREVIEW, LOSSES = "mien preview", "mien losses"


def asked(scene: Any) -> dict[str, Any]:
    """The request for a scene's training.

    Raises:
        ShotError: Something is missing.
    """
    entered, folder = scene.mien.training, shot_of(scene).folder
    a, b = absolute(entered.a), absolute(entered.b)
    for path, words in ((a, "the plate's faces"), (b, "the performer's faces")):
        if not path or not Path(path).exists():
            raise ShotError(f"Choose {words}: there is nothing at {path or 'an empty path'}.")
    if not scene.mien.likeness or not scene.mien.release:
        raise ShotError("Say whose likeness is trained and under which release, in Identity of Photographs.")
    output = absolute(entered.output) or str(Path(folder) / f"{named(scene.mien.likeness)}.safetensors")
    made(Path(folder))
    released = {"likeness": scene.mien.likeness, "release": scene.mien.release}
    settings: dict[str, Any] = {"released": released, "pace": {"steps": entered.steps, "preview": entered.preview}}
    if entered.kind == "swap":
        settings |= {"a": a, "b": b}
        if entered.preset != "classic":
            settings["shape"] = {"preset": entered.preset, "size": entered.size}
    else:
        settings |= {"before": a, "after": b, "setting": {"size": entered.size}}
    return {"folder": folder, "kind": entered.kind, "output": output, "settings": settings}


class MIEN_OT_train_start(bpy.types.Operator):
    """Train an identity, or go on from where its training was; shots may be converted meanwhile"""

    bl_idname = "mien.train_start"
    bl_label = "Start Training"

    def execute(self, context: Any) -> set[str]:
        """Begin."""
        if runner.clock.running("train") is not None:
            return refuse(self, context.scene, "A training is running: stop it first.")
        try:
            request = asked(context.scene)
        except REFUSED as error:
            return refuse(self, context.scene, str(error))
        lines.clear()
        state().paused = False
        runner.start("Training", context.scene, "train", said_identity, lane="train", follow=follow, **request)
        return {"FINISHED"}


class Steering:
    """Buttons for a training that runs."""

    action = ""

    @classmethod
    def poll(cls, context: Any) -> bool:
        """While one runs."""
        return runner.clock.running("train") is not None

    def execute(self, context: Any) -> set[str]:
        """Say it to the engine."""
        task = runner.clock.running("train")
        if task is None:
            return {"CANCELLED"}
        runner.clock.engine().ask("train", of=task.request.id, action=self.action)
        state().paused = self.action == "pause"
        return {"FINISHED"}


class MIEN_OT_train_pause(Steering, bpy.types.Operator):
    """Save, and wait"""

    bl_idname, bl_label, action = "mien.train_pause", "Pause", "pause"


class MIEN_OT_train_resume(Steering, bpy.types.Operator):
    """Go on with the paused training"""

    bl_idname, bl_label, action = "mien.train_resume", "Resume", "resume"


class MIEN_OT_train_stop(Steering, bpy.types.Operator):
    """Save, and end; starting again goes on from there"""

    bl_idname, bl_label, action = "mien.train_stop", "Stop", "stop"


lines: dict[str, list[tuple[int, float]]] = {}
"""Losses of the running training by name."""


def follow(event: dict[str, Any]) -> None:
    """Show what a training said: its losses as curves, its preview as a picture."""
    if event.get("event") == "losses":
        for name, value in dict(event.get("losses", {})).items():
            lines.setdefault(name, []).append((int(event["step"]), float(value)))
        if event.get("held_out") is not None:
            lines.setdefault("held out", []).append((int(event["step"]), float(event["held_out"])))
        _show_pixels(LOSSES, plot.curves(lines))
    elif event.get("event") == "preview":
        path = str(event["path"])
        image = bpy.data.images.get(PREVIEW)
        if image is None or image.source != "FILE":
            image = bpy.data.images.load(path)
            image.name = PREVIEW
        image.filepath = path
        image.reload()
        image.update_tag()


def _show_pixels(name: str, pixels: Any) -> None:
    height, width = pixels.shape[:2]
    image = bpy.data.images.get(name)
    if image is None or tuple(image.size) != (width, height):
        image = image or bpy.data.images.new(name, width, height, alpha=False)
        image.scale(width, height)
    image.pixels.foreach_set(pixels.reshape(-1))
    # What is packed nobody is asked to save on leaving.
    image.pack()
    image.update_tag()


CLASSES = (MIEN_OT_train_start, MIEN_OT_train_pause, MIEN_OT_train_resume, MIEN_OT_train_stop)
