# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators that place nodes: one of ours, a whole shot, newer versions of those in the file."""

from dataclasses import dataclass
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty

from ..core.shot import found, range_of
from ..host import compat, convert, groups, shots
from ..mien.hosts.frames import NUMBER
from . import runner
from .asking import Waiting, begin
from .chain import REFUSED, controls, named_shot, show
from .facts import plate_facts, said_plate
from .ops_shot import read_plate
from .props import shot_of, state

KINDS = [
    ("convert", "Convert", "The faces that the engine renders for this shot, and every setting by which it does"),
    ("matte", "Matte", "Grow, soften and cut the matte"),
    ("color_match", "Color Match", "The solved color move as keys, and trims after it"),
    ("finish", "Finish", "Softer, sharper, grain"),
    ("comp", "Comp", "The face over the plate"),
]


class MIEN_OT_add_node(bpy.types.Operator):
    """Add a node of mien to the compositor"""

    bl_idname = "mien.add_node"
    bl_label = "Add mien Node"
    bl_options = {"REGISTER", "UNDO"}
    kind: EnumProperty(name="Node", items=KINDS)

    @classmethod
    def description(cls, context: Any, properties: Any) -> str:
        """The tooltip of each kind."""
        return next(told for name, _, told in KINDS if name == properties.kind)

    def execute(self, context: Any) -> set[str]:
        """Add it where the pointer is, or in the scene's tree."""
        scene = context.scene
        space = context.space_data
        tree = getattr(space, "edit_tree", None) if getattr(space, "tree_type", "") == "CompositorNodeTree" else None
        tree = tree or compat.made_tree(scene)
        node = shots.add(tree, self.kind, scene.mien.name or scene.name, controls())
        if self.kind == "convert":
            try:
                shot = shot_of(scene)
                show(scene, shot)
            except REFUSED:
                convert.show_range(node.node_tree.nodes["raw"], scene.frame_start, scene.frame_end)
        for other in tree.nodes:
            other.select = False
        node.select = True
        tree.nodes.active = node
        if space is not None and hasattr(space, "cursor_location"):
            node.location = space.cursor_location
        return {"FINISHED"}


class MIEN_OT_build_shot(Waiting, bpy.types.Operator):
    """Read the plate, wire it with Convert, Matte, Color Match, Finish, Comp and a viewer; set range and resolution"""

    bl_idname = "mien.build_shot"
    bl_label = "Build Shot"
    bl_options = {"REGISTER", "UNDO"}
    view_transform: EnumProperty(
        name="View",
        items=[
            ("KEEP", "Keep", "Leave the view transform as it is"),
            ("STANDARD", "Standard", "Plates look as they were graded; AgX is made for renders and changes them"),
        ],
    )
    set_resolution: BoolProperty(name="Resolution and Range", default=True, description="Those of the plate")
    set_working_space: BoolProperty(
        name="Working Space", default=True,
        description="Let the file work in the plate's linear space, so that pixels pass bit for bit (from Blender 5.0)",
    )  # fmt: skip

    def invoke(self, context: Any, event: Any) -> set[str]:
        """Ask what to set; Standard is offered where AgX would show a plate wrongly."""
        if context.scene.view_settings.view_transform == "AgX":
            self.view_transform = "STANDARD"
        return context.window_manager.invoke_props_dialog(self)

    def execute(self, context: Any) -> set[str]:
        """Build it, once the engine has said what the plate is; what is there already is kept."""
        wanted = Wanted(self.view_transform == "STANDARD", self.set_resolution, self.set_working_space)
        return begin(self, context.scene, lambda scene: build_shot(scene, wanted))


@dataclass(frozen=True)
class Wanted:
    """What Build Shot sets beside the nodes."""

    standard: bool
    resolution: bool
    working_space: bool


def build_shot(scene: Any, wanted: Wanted) -> runner.Task | None:
    """Build a scene's shot: at once where its plate was read, else when the engine has read it.

    Raises:
        ShotError, RuntimeError: The plate, or its range, is not there.
    """
    shot = named_shot(scene)
    found(shot.plate)
    if plate_facts(scene):
        build(scene, wanted)
        return None

    def read(there: Any, answer: dict[str, Any]) -> None:
        said_plate(there, answer)
        build(there, wanted)
        runner.undoable("Build Shot")

    return read_plate(scene, read)


def build(scene: Any, wanted: Wanted) -> None:
    """Build a scene's shot of a plate that was read.

    Raises:
        ShotError, RuntimeError: The plate, or its range, is not there.
    """
    shot, facts, said = shot_of(scene), plate_facts(scene), state()
    there = found(shot.plate)
    first, last = range_of(shot, there)
    color, alone = facts.get("color"), not any(shots.converts(one) for one in bpy.data.scenes if one != scene)
    # Other shots of the file hold keys and colors that were solved for the space it works in.
    shots.build(scene, shot, there.pattern, first, last, controls(), color, wanted.working_space and alone)
    if wanted.resolution:
        size = facts.get("size") or shots.plate_size(compat.tree_of(scene))
        shots.set_scene(scene, size, first, last, facts.get("fps") or None)
    if wanted.standard:
        scene.view_settings.view_transform = "Standard"
    movie = NUMBER.search(there.pattern) is None and not there.numbers
    words = (
        said.warning,
        "The plate is one file: frames of a movie start where the scene does." if movie else "",
        shots.other_space(color["plate"] if color else "", wanted.working_space and alone),
    )
    said.error, said.warning = "", " ".join(filter(None, dict.fromkeys(words)))


class MIEN_OT_update_nodes(bpy.types.Operator):
    """Rebuild nodes that an older version of mien made; values, links and keys stay"""

    bl_idname = "mien.update_nodes"
    bl_label = "Update Nodes"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: Any) -> set[str]:
        """Update them."""
        count = shots.update(controls())
        self.report({"INFO"}, f"{count} updated." if count else "All nodes are up to date.")
        return {"FINISHED"}


class MIEN_MT_add(bpy.types.Menu):
    """Nodes of mien"""

    bl_idname = "MIEN_MT_add"
    bl_label = "mien"

    def draw(self, context: Any) -> None:
        """One entry for each kind."""
        for kind, label, _ in KINDS:
            self.layout.operator("mien.add_node", text=label).kind = kind


def menu(self: Any, context: Any) -> None:
    """The entry in the compositor's Add menu."""
    if getattr(context.space_data, "tree_type", "") == "CompositorNodeTree":
        self.layout.separator()
        self.layout.menu(MIEN_MT_add.bl_idname)


def offered() -> int:
    """How many groups of the file an update would rebuild."""
    return len(groups.outdated())


CLASSES = (
    MIEN_OT_add_node, MIEN_OT_build_shot, MIEN_OT_update_nodes, MIEN_MT_add
)  # fmt: skip
