# SPDX-License-Identifier: GPL-3.0-or-later
"""From the timeline: a shot from a strip; a grade and an over on strips, where Blender can (from 5.2)."""

from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty

from ..core.shot import named
from ..host import compat, groups
from ..mien.hosts.frames import DIGITS, frames_of
from .asking import Waiting, begin, refuse
from .ops_nodes import Wanted, build_shot
from .props import absolute, state

SINCE = (5, 2)


def editing(context: Any) -> Any:
    """The scene whose timeline is edited."""
    workspace = getattr(context, "workspace", None)
    return getattr(workspace, "sequencer_scene", None) or context.scene


def active_strip(context: Any) -> Any:
    """The active strip of that timeline; None where there is none."""
    editor = editing(context).sequence_editor
    return editor.active_strip if editor is not None else None


def media(strip: Any, scene: Any) -> tuple[str, int, int]:
    """What a strip shows: path of the plate, and its first and last frame as the files are numbered.

    Raises:
        ValueError: It shows no footage.
    """
    offset, length = compat.strip_span(strip)
    if strip.type == "MOVIE":
        return absolute(strip.filepath), 1 + offset, offset + length
    if strip.type != "IMAGE":
        raise ValueError("Choose a strip of a movie or of numbered pictures.")
    files = [element.filename for element in strip.elements][offset : offset + length]
    if not files:
        raise ValueError(f"The strip {strip.name} shows no files.")
    path = str(Path(absolute(strip.directory)) / files[0])
    there = frames_of(path)
    if not there.numbers:
        raise ValueError(f"{files[0]} is one picture: a shot needs numbered files.")
    number = DIGITS.search(Path(files[0]).stem)
    first = int(number.group(1)) if number else 1
    return there.pattern, first, first + len(files) - 1


class MIEN_OT_shot_from_strip(Waiting, bpy.types.Operator):
    """Set the active strip's footage up as a shot in the compositor of a new scene, with its own frame numbers"""

    bl_idname = "mien.shot_from_strip"
    bl_label = "Shot from Strip"
    bl_options = {"REGISTER", "UNDO"}
    new_scene: BoolProperty(
        name="New Scene", default=True, description="Put the shot into a scene of its own; else into this one"
    )

    @classmethod
    def poll(cls, context: Any) -> bool:
        """With a strip."""
        cls.poll_message_set("Select a strip of footage")
        return active_strip(context) is not None

    def execute(self, context: Any) -> set[str]:
        """Fill the shot in, and build it."""
        strip = active_strip(context)
        try:
            plate, first, last = media(strip, context.scene)
        except ValueError as error:
            return refuse(self, context.scene, str(error))
        scene = bpy.data.scenes.new(named(strip.name)) if self.new_scene else context.scene
        shot = scene.mien
        shot.plate, shot.first, shot.last = plate, first, last
        shot.name = named(strip.name)
        wanted = Wanted(standard=True, resolution=True, working_space=True)
        outcome = begin(self, scene, lambda there: build_shot(there, wanted))
        if outcome != {"FINISHED"}:
            if self.new_scene:
                bpy.data.scenes.remove(scene)
            return outcome
        state().state = f"Shot {shot.name} in scene {scene.name}"
        if context.window is not None and self.new_scene:
            context.window.scene = scene
        return outcome


class OnStrips:
    """What needs the compositor on strips."""

    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        """From 5.2: before, a strip's group reads 0 for all that is dialed."""
        if bpy.app.version < SINCE:
            cls.poll_message_set("Needs Blender 5.2: older ones read 0 for all that is dialed on a strip")
            return False
        editor = editing(context).sequence_editor
        return editor is not None and len(editor.strips) > 0


class MIEN_OT_add_strip_grade(OnStrips, bpy.types.Operator):
    """Exposure, gain and lift for the active strip, as a compositor modifier"""

    bl_idname = "mien.add_strip_grade"
    bl_label = "Grade Strip"

    def execute(self, context: Any) -> set[str]:
        """Add the modifier."""
        strip = active_strip(context)
        if strip is None:
            return refuse(self, context.scene, "Select the strip to grade.")
        modifier = strip.modifiers.new("mien Grade", "COMPOSITOR")
        modifier.node_group = groups.shared("strip_grade")
        return {"FINISHED"}


class MIEN_OT_add_strip_over(OnStrips, bpy.types.Operator):
    """Lay the upper of two selected strips over the lower one, as a compositor effect with a fader"""

    bl_idname = "mien.add_strip_over"
    bl_label = "Over Strips"

    def execute(self, context: Any) -> set[str]:
        """Add the effect above both."""
        editor = editing(context).sequence_editor
        chosen = sorted((strip for strip in editor.strips if strip.select), key=lambda strip: strip.channel)
        if len(chosen) != 2:
            words = "Select two strips: the plate, and above it the face with its matte as alpha."
            return refuse(self, context.scene, words)
        starts, ends = zip(*(compat.strip_places(strip) for strip in chosen))
        first, end = max(starts), min(ends)
        if end <= first:
            return refuse(self, context.scene, "The two strips never show at the same time.")
        effect = editor.strips.new_effect(
            "mien Over", "COMPOSITOR", channel=chosen[1].channel + 1, frame_start=int(first), length=int(end - first),
            input1=chosen[0], input2=chosen[1],
        )  # fmt: skip
        effect.node_group = groups.shared("strip_over")
        # Else Blender fades it in from the first frame to the last.
        effect.use_default_fade, effect.effect_fader = False, 1.0
        return {"FINISHED"}


CLASSES = (MIEN_OT_shot_from_strip, MIEN_OT_add_strip_grade, MIEN_OT_add_strip_over)
