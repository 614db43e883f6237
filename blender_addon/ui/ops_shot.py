# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators before anything is converted: the engine, the plate, faces, an identity of photographs."""

from pathlib import Path
from typing import Any

import bpy
from bpy.props import EnumProperty, IntProperty

from ..core import settings
from ..core.shot import Shot, ShotError, found, range_of
from ..host import compat, shots
from . import runner
from .asking import Waiting, begin, refuse
from .chain import named_shot
from .facts import keep_facts, plate_facts, said_plate
from .props import absolute, name_shot, shot_of, state


class MIEN_OT_check_engine(Waiting, bpy.types.Operator):
    """Start the engine and say its version and where it computes"""

    bl_idname = "mien.check_engine"
    bl_label = "Check"

    def execute(self, context: Any) -> set[str]:
        """Ask for its status once it is warm."""
        state().engine = ""
        return begin(self, context.scene, check_engine)


def check_engine(scene: Any) -> runner.Task:
    """Ask the engine for its status once it is warm."""
    return runner.start("Starting the engine", scene, "status", said_engine, wait=True)


def said_engine(scene: Any, answer: dict[str, Any]) -> None:
    """Version, device and libraries."""
    versions = answer.get("versions", {})
    state().engine = (
        f"mien {answer.get('engine')} on {answer.get('device')} ({answer.get('device_name')}), "
        f"torch {versions.get('torch')}, Python {answer.get('python')}"
    )


class MIEN_OT_inspect_plate(Waiting, bpy.types.Operator):
    """Read the plate's size, range and color space"""

    bl_idname = "mien.inspect_plate"
    bl_label = "Read Plate"

    def execute(self, context: Any) -> set[str]:
        """Ask what the plate is."""
        return begin(self, context.scene, read_plate)


def read_plate(scene: Any, finish: runner.Finish = said_plate) -> runner.Task:
    """Ask what a scene's plate is.

    Raises:
        ShotError: There is none.
    """
    name_shot(scene)
    entered, shot = scene.mien, plate_shot(scene)
    color = {"colorspace": entered.colorspace or None, "ocio": shot.ocio or None}
    return runner.start("Reading the plate", scene, "inspect", finish, path=found(shot.plate).pattern, **color)


def plate_shot(scene: Any) -> Shot:
    """A scene's shot, of which only the plate is needed."""
    try:
        return shot_of(scene)
    except ShotError:
        return Shot(scene.name, absolute(scene.mien.plate), scene.mien.first, scene.mien.last)


class MIEN_OT_fit_plate(Waiting, bpy.types.Operator):
    """Write the plate again with its data window equal to its display window, and use that: Blender misplaces others"""

    bl_idname = "mien.fit_plate"
    bl_label = "Write Fitting Plate"

    def execute(self, context: Any) -> set[str]:
        """Ask for the files."""
        return begin(self, context.scene, fit_plate)


def fit_plate(scene: Any) -> runner.Task:
    """Ask for a plate that fits.

    Raises:
        ShotError: There is no plate, or nowhere to write it.
    """
    shot = named_shot(scene)
    there = found(shot.plate)
    return runner.start(
        "Writing the plate", scene, "fit", said_fitted,
        folder=shot.folder, plate=there.pattern, output=str(Path(shot.folder) / "plate"),
        frames=list(range_of(shot, there)), layer=shot.part or None,
    )  # fmt: skip


def said_fitted(scene: Any, answer: dict[str, Any]) -> None:
    """Use the plate that was written."""
    if answer.get("failed"):
        return
    facts = plate_facts(scene)
    scene.mien.plate, scene.mien.layer = answer["written"][0], ""
    if facts.get("size"):
        keep_facts(scene, {**facts, "data": [0, 0, *facts["size"]]})
    tree = compat.tree_of(scene)
    if shots.plate_node(tree) is not None:
        shot = shot_of(scene)
        there = found(shot.plate)
        shots.load_plate(tree, there.pattern, *range_of(shot, there))
    state().warning = ""
    runner.undoable("Write Fitting Plate")


class MIEN_OT_track(Waiting, bpy.types.Operator):
    """Find and follow every face of the plate; points placed by hand win"""

    bl_idname = "mien.track"
    bl_label = "Track"

    def execute(self, context: Any) -> set[str]:
        """Ask for the track."""
        return begin(self, context.scene, track)


def track(scene: Any) -> runner.Task:
    """Ask for the track of a scene's plate.

    Raises:
        ShotError: There is no plate, or nowhere to write it.
    """
    shot, entered = named_shot(scene), scene.mien
    there = found(shot.plate)
    keys = sorted(str(path) for path in (Path(shot.folder) / "keys").glob("*.json"))
    named = {face.found: face.renamed for face in entered.faces if face.renamed and face.renamed != face.found}
    return runner.start(
        "Tracking", scene, "track", said_faces,
        folder=shot.folder, plate=there.pattern, output=str(Path(shot.folder) / f"{shot.name}.track.json"),
        frames=list(range_of(shot, there)),
        colorspace=shot.colorspace or None, ocio=shot.ocio or None, layer=shot.part or None,
        settings={"track_faces.confidence": settings.shortest(entered.confidence),
                  "track_faces.smallest": settings.shortest(entered.smallest)},
        names=named, ignore=[face.renamed or face.found for face in entered.faces if face.ignored],
        keys=[f"{Path(key).stem.rpartition('@')[2]}:{key}" for key in keys],
    )  # fmt: skip


def said_faces(scene: Any, answer: dict[str, Any]) -> None:
    """List the faces that were found."""
    entered = scene.mien
    entered.track = ""
    entered.faces.clear()
    for face in answer.get("faces", ()):
        entry = entered.faces.add()
        entry.found = entry.renamed = face["name"]
        entry.ignored, entry.first, entry.last = face["ignored"], face["first"], face["last"]
        entry.lost = _ranges(face["lost"])
    if entered.face and entered.face not in [face.found for face in entered.faces]:
        entered.face = ""
    runner.undoable("Track")


def _ranges(lost: Any) -> str:
    if isinstance(lost, str):
        return lost
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in lost)


class MIEN_OT_make_identity(Waiting, bpy.types.Operator):
    """Make an identity of photographs, or of a take, of a consenting performer; nothing is trained"""

    bl_idname = "mien.make_identity"
    bl_label = "Make Identity"

    def execute(self, context: Any) -> set[str]:
        """Ask for the identity."""
        return begin(self, context.scene, make_identity)


def make_identity(scene: Any) -> runner.Task:
    """Ask for an identity of a scene's photographs.

    Raises:
        ShotError: There are none, or nowhere to write it.
    """
    shot, entered = named_shot(scene), scene.mien
    sources = [absolute(source.path) for source in entered.sources if source.path]
    if not sources:
        raise ShotError("Add photographs of the performer first.")
    return runner.start(
        "Making the identity", scene, "identity", said_identity,
        folder=shot.folder, sources=sources, output=str(Path(shot.folder) / f"{shot.name}.identity.safetensors"),
        plate=found(shot.plate).pattern, likeness=entered.likeness, release=entered.release,
        ocio=shot.ocio or None, colorspace=shot.colorspace or None,
    )  # fmt: skip


def said_identity(scene: Any, answer: dict[str, Any]) -> None:
    """Use the identity that was made, or trained."""
    if answer.get("written"):
        scene.mien.identity = str(answer["written"][0])
        runner.undoable("Identity")


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
            return refuse(self, context.scene, "There is no such face. Press Track first.")
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
    MIEN_OT_check_engine, MIEN_OT_inspect_plate, MIEN_OT_fit_plate, MIEN_OT_track, MIEN_OT_make_identity,
    MIEN_OT_pick_face, MIEN_OT_sources,
)  # fmt: skip
