# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators that place nodes: one of ours, a whole shot, newer versions of those in the file."""

from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty

from ..core.shot import found, range_of
from ..host import compat, convert, groups, shots
from ..mien.hosts.frames import NUMBER
from . import runner
from .facts import keep_facts, plate_facts, said_plate
from .ops_shot import REFUSED, Asking, controls, inspect, refuse, show
from .props import name_shot, shot_of, state

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


class MIEN_OT_build_shot(bpy.types.Operator):
    """Wire plate, Convert, Matte, Color Match, Finish, Comp and a viewer; set the scene's range and resolution"""

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
        """Build it; what is there already is kept."""
        scene = context.scene
        try:
            name_shot(scene)
            shot = shot_of(scene)
            there = found(shot.plate)
            first, last = range_of(shot, there)
            facts = plate_facts(scene)
            shots.build(
                scene, shot, there.pattern, first, last, controls(), facts.get("color"), self.set_working_space
            )
        except (*REFUSED, RuntimeError) as error:
            return refuse(self, str(error))
        if self.set_resolution:
            size = facts.get("size") or shots.plate_size(compat.tree_of(scene))
            shots.set_scene(scene, size, first, last, facts.get("fps") or None)
        if self.view_transform == "STANDARD":
            scene.view_settings.view_transform = "Standard"
        state().error = ""
        if NUMBER.search(there.pattern) is None and not there.numbers:
            state().warning = "The plate is one file: frames of a movie start where the scene does."
        return {"FINISHED"}


class MIEN_OT_start_shot(Asking, bpy.types.Operator):
    """Read the plate, then build the shot"""

    bl_idname = "mien.start_shot"
    bl_label = "Read Plate and Build Shot"

    def ask(self, context: Any) -> runner.Task:
        """Read, then build."""
        name_shot(context.scene)
        shot_of(context.scene)
        return inspect(context.scene, _build)


class MIEN_OT_fit_plate(Asking, bpy.types.Operator):
    """Write the plate again with its data window equal to its display window, and use that: Blender misplaces others"""

    bl_idname = "mien.fit_plate"
    bl_label = "Write Fitting Plate"

    def ask(self, context: Any) -> runner.Task:
        """Ask for the files."""
        scene = context.scene
        name_shot(scene)
        shot = shot_of(scene)
        there = found(shot.plate)
        Path(shot.folder).mkdir(parents=True, exist_ok=True)
        return runner.start(
            "Writing the plate", scene.name, "fit", _fitted,
            folder=shot.folder, plate=there.pattern, output=str(Path(shot.folder) / "plate"),
            frames=list(range_of(shot, there)), layer=shot.part or None,
        )  # fmt: skip


def _fitted(scene: str, answer: dict[str, Any]) -> None:
    target = bpy.data.scenes.get(scene)
    if target is None or answer.get("failed"):
        return
    facts = plate_facts(target)
    target.mien.plate, target.mien.layer = answer["written"][0], ""
    if facts.get("size"):
        keep_facts(target, {**facts, "data": [0, 0, *facts["size"]]})
    tree = compat.tree_of(target)
    if shots.plate_node(tree) is not None:
        shot = shot_of(target)
        there = found(shot.plate)
        shots.load_plate(tree, there.pattern, *range_of(shot, there))
    state().warning = ""


def _build(scene: str, answer: dict[str, Any]) -> None:
    said_plate(scene, answer)
    target = bpy.data.scenes.get(scene)
    if target is None:
        return
    shown = target.view_settings.view_transform
    with bpy.context.temp_override(scene=target):
        bpy.ops.mien.build_shot(view_transform="STANDARD" if shown == "AgX" else "KEEP")


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
    MIEN_OT_add_node, MIEN_OT_build_shot, MIEN_OT_start_shot, MIEN_OT_fit_plate, MIEN_OT_update_nodes, MIEN_MT_add
)  # fmt: skip
