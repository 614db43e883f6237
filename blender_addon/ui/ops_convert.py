# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators that convert: frames, the farm's job, the solved color move; which frames are there; cancel and log."""

from typing import Any

import bpy
from bpy.props import BoolProperty, IntProperty

from ..core import documents
from ..core.shot import ShotError
from ..host import animation, compat, groups
from ..mien.hosts.frames import spoken
from ..mien.hosts.watch import freshness
from . import programs, runner
from .asking import Waiting, begin
from .chain import named_shot, recipe_of, say_missing, show, writing
from .move import load_move
from .props import preferences, shot_of, state


class MIEN_OT_convert_shot(Waiting, bpy.types.Operator):
    """Put the face on in every frame of the shot; frames that are up to date are skipped"""

    bl_idname = "mien.convert_shot"
    bl_label = "Convert Shot"
    first: IntProperty(name="First", options={"SKIP_SAVE"}, description="First frame; 0 for the shot's")
    last: IntProperty(name="Last", options={"SKIP_SAVE"}, description="Last frame; 0 for the shot's")
    force: BoolProperty(name="Force", options={"SKIP_SAVE"}, description="Redo frames that are up to date")

    def execute(self, context: Any) -> set[str]:
        """Ask for the frames."""
        return begin(self, context.scene, lambda scene: convert_shot(scene, self.first, self.last, self.force))


def convert_shot(scene: Any, first: int = 0, last: int = 0, force: bool = False) -> runner.Task:
    """Ask for frames; the recipe is written beside them, for farms and for the check before renders.

    Raises:
        ShotError: Something is missing.
    """
    shot = named_shot(scene)
    recipe = writing(scene, shot)
    written = documents.writing(shot.recipe_file, recipe)
    show(scene, shot)

    def finish(there: Any, answer: dict[str, Any]) -> None:
        written.result()
        said_frames(there, answer)

    frames = [first or recipe["plate"]["first"], last or recipe["plate"]["last"]]
    return runner.start(
        "Converting", scene, "render", finish, recipe=recipe, folder=shot.folder, frames=frames, force=force
    )


class MIEN_OT_convert_frame(Waiting, bpy.types.Operator):
    """Put the face on in the shown frame alone"""

    bl_idname = "mien.convert_frame"
    bl_label = "Convert This Frame"

    def execute(self, context: Any) -> set[str]:
        """Ask for the frame."""
        return begin(self, context.scene, convert_frame)


def convert_frame(scene: Any) -> runner.Task:
    """Ask for the shown frame.

    Raises:
        ShotError: Something is missing, or the frame is outside the shot.
    """
    shot, frame = named_shot(scene), scene.frame_current
    recipe = writing(scene, shot)
    first, last = recipe["plate"]["first"], recipe["plate"]["last"]
    if not first <= frame <= last:
        raise ShotError(f"Frame {frame} is outside the shot, {first}-{last}.")
    show(scene, shot)
    return runner.start(
        "Converting", scene, "render", said_frames, recipe=recipe, folder=shot.folder, frames=[frame, frame]
    )


def said_frames(scene: Any, answer: dict[str, Any]) -> None:
    """Show what was converted, and the solved move as keys."""
    shot = shot_of(scene)
    show(scene, shot, answer.get("color"))
    runner.show_frame(scene.session_uid)
    if load_move(scene, shot, answer.get("color"), only_ours=True):
        runner.undoable("Convert")
    say_missing(shot)


class MIEN_OT_farm(Waiting, bpy.types.Operator):
    """Write the shot as a job for the farm, and hand it to the program in the preferences that submits jobs"""

    bl_idname = "mien.farm"
    bl_label = "Farm Job"

    def execute(self, context: Any) -> set[str]:
        """Ask for the job."""
        return begin(self, context.scene, farm)


def farm(scene: Any) -> runner.Task:
    """Ask for the job of a scene's shot.

    Raises:
        ShotError: Something is missing.
    """
    shot = named_shot(scene)
    recipe = writing(scene, shot)
    written = documents.writing(shot.recipe_file, recipe)
    show(scene, shot)

    def finish(there: Any, answer: dict[str, Any]) -> None:
        written.result()
        said_job(there, answer)

    bundle, device = shot.take_folder / f"{shot.name}.job", preferences().device
    return runner.start(
        "Writing the farm's job", scene, "farm", finish, recipe=recipe, folder=shot.folder, bundle=str(bundle),
        device=None if device == "auto" else device,
    )  # fmt: skip


def said_job(scene: Any, answer: dict[str, Any]) -> None:
    """Say where the job is, and submit it where the preferences say how."""
    shot = shot_of(scene)
    bundle = shot.take_folder / f"{shot.name}.job"
    machines = "processors" if preferences().device == "cpu" else "graphics cards"
    state().missing, state().state = "", f"Job of {answer.get('done')} frames, for {machines}: {bundle}"
    words = preferences().submit.strip()
    if not words:
        return
    try:
        command = [*programs.split(words), str(bundle)]
    except ValueError as error:
        raise ShotError(f"The job was written, but not submitted: {words}: {error}.") from error
    runner.run(programs.Program("Submitting", said_submitted), [command])


def said_submitted(program: programs.Program) -> None:
    """Say what the program that submits had to say."""
    if program.error:
        state().error = f"The job was written, but not submitted: {program.error} Open the log."
    else:
        state().state = f"Submitted. {program.said}".strip()


class MIEN_OT_check_shot(Waiting, bpy.types.Operator):
    """Ask the engine which frames are missing, or were made from something else than what is dialed now"""

    bl_idname = "mien.check_shot"
    bl_label = "Check Frames"

    def execute(self, context: Any) -> set[str]:
        """Ask for the state of all frames."""
        return begin(self, context.scene, check_shot)


def check_shot(scene: Any) -> runner.Task:
    """Ask for the state of all frames.

    Raises:
        ShotError: Something is missing.
    """
    shot = shot_of(scene)
    return runner.start(
        "Checking frames", scene, "check", said_check, recipe=recipe_of(scene, shot), folder=shot.folder
    )


def said_check(scene: Any, answer: dict[str, Any]) -> None:
    """Say what is missing and what changed, and show what is there."""
    state().missing = spoken(answer.get("absent", ()))
    state().state = freshness(answer)
    if answer.get("fresh") or answer.get("stale"):
        # A farm may have written them.
        shot = shot_of(scene)
        show(scene, shot)
        runner.show_frame(scene.session_uid)
        if load_move(scene, shot, None, only_ours=True):
            runner.undoable("Check Frames")


class MIEN_OT_match(Waiting, bpy.types.Operator):
    """Solve the color move over the shot; write it onto Color Match as keys, and the width of the face beside it"""

    bl_idname = "mien.match"
    bl_label = "Match"

    def execute(self, context: Any) -> set[str]:
        """Ask for the curves."""
        return begin(self, context.scene, match)


def match(scene: Any) -> runner.Task:
    """Ask for the curves of a scene's shot.

    Raises:
        ShotError: Something is missing.
    """
    shot = named_shot(scene)
    return runner.start("Matching", scene, "solve", said_curves, recipe=writing(scene, shot), folder=shot.folder)


def said_curves(scene: Any, answer: dict[str, Any]) -> None:
    """Write the solved move and the face's width as keys."""
    load_move(scene, shot_of(scene), answer.get("color"), only_ours=False)
    widths = {int(frame): float(width) for frame, width in dict(answer.get("widths", {})).items()}
    tree = compat.tree_of(scene)
    for node in [*groups.ours(tree, "matte"), *groups.ours(tree, "finish")]:
        animation.write_keys(node, "Face Width", widths)
    runner.undoable("Match")


class MIEN_OT_cancel(bpy.types.Operator):
    """End what the engine does; frames that are finished stay, and converting again goes on from there"""

    bl_idname = "mien.cancel"
    bl_label = "Cancel"

    def execute(self, context: Any) -> set[str]:
        """Ask for the end."""
        runner.cancel()
        return {"FINISHED"}


class MIEN_OT_open_log(bpy.types.Operator):
    """Show what the engine said, as a text"""

    bl_idname = "mien.open_log"
    bl_label = "Open Log"

    def execute(self, context: Any) -> set[str]:
        """Write the log into a text of the file."""
        text = bpy.data.texts.get("mien log") or bpy.data.texts.new("mien log")
        text.from_string("\n".join(runner.clock.log) + "\n")
        if context.window is not None and not bpy.app.background:
            bpy.ops.wm.window_new()
            area = context.window_manager.windows[-1].screen.areas[0]
            area.type = "TEXT_EDITOR"
            area.spaces.active.text = text
        return {"FINISHED"}


CLASSES = (
    MIEN_OT_convert_shot, MIEN_OT_convert_frame, MIEN_OT_farm, MIEN_OT_check_shot, MIEN_OT_match, MIEN_OT_cancel,
    MIEN_OT_open_log,
)  # fmt: skip
