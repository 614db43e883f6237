# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators that ask the engine: check, inspect, track, convert, match, identities of photographs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty

from ..core import settings
from ..core.shot import Shot, ShotError, found, missing, range_of, ready, recipe
from ..host import animation, compat, convert, groups, shots
from ..mien.hosts import recipes
from ..mien.hosts.frames import spoken
from ..mien.hosts.watch import freshness
from . import runner
from .facts import plate_facts, said_plate
from .move import load_move
from .props import name_shot, shot_of, state

REFUSED = (ShotError, recipes.ChainError, ValueError, OSError)


def controls() -> list[settings.Control]:
    """The chain's settings as controls."""
    return settings.controls(settings.declarations(), settings.chain())


def refuse(operator: Any, words: str) -> set[str]:
    """Say what is wrong, and do nothing."""
    state().error = words
    operator.report({"ERROR"}, words)
    return {"CANCELLED"}


class Asking:
    """An operator that asks the engine and returns at once, or waits where it is told to."""

    bl_options = {"REGISTER"}
    wait: BoolProperty(
        name="Wait", options={"SKIP_SAVE", "HIDDEN"}, description="Return when it is done: for Blender without a window"
    )

    def ask(self, context: Any) -> runner.Task:
        """Begin the work.

        Raises:
            ShotError: It cannot be done; the message says what to do.
        """
        raise NotImplementedError

    def execute(self, context: Any) -> set[str]:
        """Begin, and wait where that is wanted."""
        running = runner.clock.running()
        if running is not None:
            if not self.wait:
                return refuse(self, f"{running.title} is still running: wait for it, or cancel it.")
            runner.pump(running)
        try:
            task = self.ask(context)
        except REFUSED as error:
            return refuse(self, str(error))
        if not self.wait:
            return {"FINISHED"}
        runner.pump(task)
        if task.error:
            self.report({"ERROR"}, task.error)
            return {"CANCELLED"}
        return {"FINISHED"}


def recipe_of(scene: Any, shot: Shot) -> dict[str, Any]:
    """The recipe of a scene's shot with what is dialed on its Convert node.

    Raises:
        ShotError: Something is missing.
    """
    _, (first, last) = ready(shot)
    nodes = shots.converts(scene)
    known = controls()
    dialed = animation.dialed(nodes[0], known, first, last) if nodes else {}
    return recipe(shot, settings.chain(), settings.dialed(known, dialed))


class MIEN_OT_check_engine(Asking, bpy.types.Operator):
    """Start the engine and say its version and where it computes"""

    bl_idname = "mien.check_engine"
    bl_label = "Check"

    def ask(self, context: Any) -> runner.Task:
        """Ask for its status once it is warm."""
        state().engine = ""
        return runner.start("Starting the engine", context.scene.name, "status", said_engine, wait=True)


def said_engine(scene: str, answer: dict[str, Any]) -> None:
    """Version, device and libraries."""
    versions = answer.get("versions", {})
    state().engine = (
        f"mien {answer.get('engine')} on {answer.get('device')} ({answer.get('device_name')}), "
        f"torch {versions.get('torch')}, Python {answer.get('python')}"
    )


class MIEN_OT_inspect_plate(Asking, bpy.types.Operator):
    """Read the plate's size, range and color space"""

    bl_idname = "mien.inspect_plate"
    bl_label = "Read Plate"

    def ask(self, context: Any) -> runner.Task:
        """Ask what the plate is."""
        name_shot(context.scene)
        return inspect(context.scene, said_plate)


def inspect(scene: Any, finish: Callable[[str, dict[str, Any]], None]) -> runner.Task:
    """Ask what a scene's plate is.

    Raises:
        ShotError: There is none.
    """
    entered = scene.mien
    shot = plate_shot(scene)
    pattern = found(shot.plate).pattern
    color = {"colorspace": entered.colorspace or None, "ocio": shot.ocio or None}
    return runner.start("Reading the plate", scene.name, "inspect", finish, path=pattern, **color)


def plate_shot(scene: Any) -> Shot:
    """A scene's shot, of which only the plate is needed."""
    try:
        return shot_of(scene)
    except ShotError:
        from .props import absolute

        return Shot(scene.name, absolute(scene.mien.plate), scene.mien.first, scene.mien.last)


class MIEN_OT_track(Asking, bpy.types.Operator):
    """Find and follow every face of the plate; points placed by hand win"""

    bl_idname = "mien.track"
    bl_label = "Track"

    def ask(self, context: Any) -> runner.Task:
        """Ask for the track."""
        scene = context.scene
        name_shot(scene)
        shot, entered = shot_of(scene), scene.mien
        there = found(shot.plate)
        output = Path(shot.folder) / f"{shot.name}.track.json"
        keys = sorted(str(path) for path in (Path(shot.folder) / "keys").glob("*.json"))
        named = {face.found: face.renamed for face in entered.faces if face.renamed and face.renamed != face.found}
        Path(shot.folder).mkdir(parents=True, exist_ok=True)
        return runner.start(
            "Tracking", scene.name, "track", said_faces,
            folder=shot.folder, plate=there.pattern, output=str(output), frames=list(range_of(shot, there)),
            colorspace=shot.colorspace or None, ocio=shot.ocio or None, layer=shot.part or None,
            settings={"track_faces.confidence": settings.shortest(entered.confidence),
                      "track_faces.smallest": settings.shortest(entered.smallest)},
            names=named, ignore=[face.renamed or face.found for face in entered.faces if face.ignored],
            keys=[f"{Path(key).stem.rpartition('@')[2]}:{key}" for key in keys],
        )  # fmt: skip


def said_faces(scene: str, answer: dict[str, Any]) -> None:
    """List the faces that were found."""
    target = bpy.data.scenes.get(scene)
    if target is None:
        return
    entered = target.mien
    entered.track = ""
    entered.faces.clear()
    for face in answer.get("faces", ()):
        entry = entered.faces.add()
        entry.found = entry.renamed = face["name"]
        entry.ignored, entry.first, entry.last = face["ignored"], face["first"], face["last"]
        entry.lost = _ranges(face["lost"])
    if entered.face and entered.face not in [face.found for face in entered.faces]:
        entered.face = ""


def _ranges(lost: Any) -> str:
    if isinstance(lost, str):
        return lost
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in lost)


class MIEN_OT_make_identity(Asking, bpy.types.Operator):
    """Make an identity of photographs, or of a take, of a consenting performer; nothing is trained"""

    bl_idname = "mien.make_identity"
    bl_label = "Make Identity"

    def ask(self, context: Any) -> runner.Task:
        """Ask for the identity."""
        from .props import absolute

        scene = context.scene
        name_shot(scene)
        shot, entered = shot_of(scene), scene.mien
        sources = [absolute(source.path) for source in entered.sources if source.path]
        if not sources:
            raise ShotError("Add photographs of the performer first.")
        Path(shot.folder).mkdir(parents=True, exist_ok=True)
        return runner.start(
            "Making the identity", scene.name, "identity", said_identity,
            folder=shot.folder, sources=sources, output=str(Path(shot.folder) / f"{shot.name}.identity.safetensors"),
            plate=found(shot.plate).pattern, likeness=entered.likeness, release=entered.release,
            ocio=shot.ocio or None, colorspace=shot.colorspace or None,
        )  # fmt: skip


def said_identity(scene: str, answer: dict[str, Any]) -> None:
    """Use the identity that was made."""
    target = bpy.data.scenes.get(scene)
    if target is not None and answer.get("written"):
        target.mien.identity = answer["written"][0]


class Converting(Asking):
    """What asks for frames."""

    def convert(self, scene: Any, first: int, last: int, force: bool, keep: bool) -> runner.Task:
        """Ask for frames; ``keep``: the recipe is written beside them, for farms and for the check before renders."""
        name_shot(scene)
        shot = shot_of(scene)
        made = recipe_of(scene, shot)
        if keep:
            recipes.write(str(shot.recipe_file), made)
        else:
            Path(shot.take_folder).mkdir(parents=True, exist_ok=True)
        show(scene, shot)
        frames = [first or made["plate"]["first"], last or made["plate"]["last"]]
        return runner.start(
            "Converting", scene.name, "render", said_frames,
            recipe=made, folder=shot.folder, frames=frames, force=force,
        )  # fmt: skip


class MIEN_OT_convert_shot(Converting, bpy.types.Operator):
    """Put the face on in every frame of the shot; frames that are up to date are skipped"""

    bl_idname = "mien.convert_shot"
    bl_label = "Convert Shot"
    first: IntProperty(name="First", options={"SKIP_SAVE"}, description="First frame; 0 for the shot's")
    last: IntProperty(name="Last", options={"SKIP_SAVE"}, description="Last frame; 0 for the shot's")
    force: BoolProperty(name="Force", options={"SKIP_SAVE"}, description="Redo frames that are up to date")

    def ask(self, context: Any) -> runner.Task:
        """Ask for the frames."""
        return self.convert(context.scene, self.first, self.last, self.force, keep=True)


class MIEN_OT_convert_frame(Converting, bpy.types.Operator):
    """Put the face on in the shown frame alone"""

    bl_idname = "mien.convert_frame"
    bl_label = "Convert This Frame"

    def ask(self, context: Any) -> runner.Task:
        """Ask for the frame."""
        frame = context.scene.frame_current
        shot = shot_of(context.scene)
        first, last = ready(shot)[1]
        if not first <= frame <= last:
            raise ShotError(f"Frame {frame} is outside the shot, {first}-{last}.")
        return self.convert(context.scene, frame, frame, False, keep=False)


def show(scene: Any, shot: Shot, color: dict[str, Any] | None = None) -> None:
    """Let the Convert nodes of a scene show its shot's sequences."""
    pattern_range = range_of(shot, found(shot.plate))
    spaces = color or plate_facts(scene).get("color")
    plate = shots.plate_image(compat.tree_of(scene))
    for node in shots.converts(scene):
        now = node.node_tree.nodes["raw"].image.colorspace_settings.name
        chosen = shots.layer_colorspace(plate, spaces) if spaces else now
        convert.point_at(node.node_tree, shot, *pattern_range, chosen)


def said_frames(scene: str, answer: dict[str, Any]) -> None:
    """Show what was converted, and the solved move as keys."""
    target = bpy.data.scenes.get(scene)
    if target is None:
        return
    shot = shot_of(target)
    show(target, shot, answer.get("color"))
    runner.show_frame(scene)
    load_move(target, shot, answer.get("color"), only_ours=True)
    say_missing(target, shot)


def say_missing(scene: Any, shot: Shot) -> None:
    """Say which frames are not there."""
    gone = missing(shot, *range_of(shot, found(shot.plate)))
    state().missing = spoken(gone)
    state().state = f"Missing: {spoken(gone)}" if gone else "All frames ready"


class MIEN_OT_check_shot(Asking, bpy.types.Operator):
    """Ask the engine which frames are missing, or were made from something else than what is dialed now"""

    bl_idname = "mien.check_shot"
    bl_label = "Check Frames"

    def ask(self, context: Any) -> runner.Task:
        """Ask for the state of all frames."""
        shot = shot_of(context.scene)
        made = recipe_of(context.scene, shot)
        return runner.start(
            "Checking frames", context.scene.name, "check", said_check, recipe=made, folder=shot.folder
        )


def said_check(scene: str, answer: dict[str, Any]) -> None:
    """Say what is missing and what changed."""
    state().missing = spoken(answer.get("absent", ()))
    state().state = freshness(answer)


class MIEN_OT_match(Asking, bpy.types.Operator):
    """Solve the color move over the shot; write it onto Color Match as keys, and the width of the face beside it"""

    bl_idname = "mien.match"
    bl_label = "Match"

    def ask(self, context: Any) -> runner.Task:
        """Ask for the curves."""
        scene = context.scene
        name_shot(scene)
        shot = shot_of(scene)
        made = recipe_of(scene, shot)
        Path(shot.take_folder).mkdir(parents=True, exist_ok=True)
        return runner.start("Matching", scene.name, "solve", said_curves, recipe=made, folder=shot.folder)


def said_curves(scene: str, answer: dict[str, Any]) -> None:
    """Write the solved move and the face's width as keys."""
    target = bpy.data.scenes.get(scene)
    if target is None:
        return
    shot = shot_of(target)
    load_move(target, shot, answer.get("color"), only_ours=False)
    widths = {int(frame): float(width) for frame, width in dict(answer.get("widths", {})).items()}
    tree = compat.tree_of(target)
    for node in [*groups.ours(tree, "matte"), *groups.ours(tree, "finish")]:
        animation.write_keys(node, "Face Width", widths)


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


class MIEN_OT_pick_face(bpy.types.Operator):
    """Replace this face"""

    bl_idname = "mien.pick_face"
    bl_label = "Replace This Face"
    bl_options = {"REGISTER", "UNDO"}
    index: IntProperty(options={"SKIP_SAVE"})

    def execute(self, context: Any) -> set[str]:
        """Choose it."""
        entered = context.scene.mien
        if not 0 <= self.index < len(entered.faces):
            return refuse(self, "There is no such face. Press Track first.")
        entered.face = entered.faces[self.index].found
        entered.active_face = self.index
        return {"FINISHED"}


class MIEN_OT_sources(bpy.types.Operator):
    """Add or remove a photograph of the performer"""

    bl_idname = "mien.sources"
    bl_label = "Photographs"
    bl_options = {"REGISTER", "UNDO"}
    action: EnumProperty(items=[("ADD", "Add", ""), ("REMOVE", "Remove", "")], options={"SKIP_SAVE"})

    def execute(self, context: Any) -> set[str]:
        """Do it."""
        sources = context.scene.mien.sources
        if self.action == "ADD":
            sources.add()
        elif len(sources):
            sources.remove(len(sources) - 1)
        return {"FINISHED"}


CLASSES = (
    MIEN_OT_check_engine, MIEN_OT_inspect_plate, MIEN_OT_track, MIEN_OT_make_identity, MIEN_OT_convert_shot,
    MIEN_OT_convert_frame, MIEN_OT_check_shot, MIEN_OT_match, MIEN_OT_cancel, MIEN_OT_open_log, MIEN_OT_pick_face,
    MIEN_OT_sources,
)  # fmt: skip
