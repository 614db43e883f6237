# SPDX-License-Identifier: GPL-3.0-or-later
"""What operators that ask the engine have in common: they return at once, and refuse in words."""

from collections.abc import Callable
from typing import Any

from bpy.props import BoolProperty

from . import runner
from .chain import REFUSED
from .props import speaking


class Waiting:
    """An operator that returns at once, or waits where it is told to."""

    bl_options = {"REGISTER"}
    wait: BoolProperty(
        name="Wait", options={"SKIP_SAVE", "HIDDEN"}, description="Return when it is done: for Blender without a window"
    )


def refuse(operator: Any, scene: Any, words: str) -> set[str]:
    """Say what is wrong with a scene's shot, and do nothing."""
    said = speaking(scene.session_uid)
    said.error, said.text = words, said.text if said.busy else ""
    runner.redraw()
    operator.report({"ERROR"}, words)
    return {"CANCELLED"}


def begin(operator: Any, scene: Any, ask: Callable[[Any], runner.Task | None]) -> set[str]:
    """Begin work for a scene, and wait for it where the operator is told to.

    Args:
        ask: Asks the engine, or returns None where nothing has to be asked; raises one of ``REFUSED`` in words.
    """
    running = runner.clock.running()
    if running is not None:
        if not operator.wait:
            return refuse(operator, scene, f"{running.title} is still running: wait for it, or cancel it.")
        runner.pump(running)
    try:
        task = ask(scene)
    except REFUSED as error:
        return refuse(operator, scene, str(error))
    if task is None or not operator.wait:
        return {"FINISHED"}
    runner.pump(task)
    if task.error:
        operator.report({"ERROR"}, task.error)
        return {"CANCELLED"}
    return {"FINISHED"}
