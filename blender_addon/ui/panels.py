# SPDX-License-Identifier: GPL-3.0-or-later
"""The sidebar tab of the compositor and the sequencer."""

import textwrap
from typing import Any

import bpy

from ..host import shots
from .facts import fits
from .ops_nodes import offered
from .props import state

LETTER, MARGIN = 6.5, 60.0
"""Width of a letter, and what a line of a box leaves free beside it, in pixels of an unscaled screen."""


def lines(layout: Any, region: Any, words: str, icon: str) -> None:
    """A sentence over as many lines as the sidebar needs."""
    if not words:
        return
    wide = (region.width / bpy.context.preferences.system.ui_scale - MARGIN) / LETTER
    box = layout.box().column(align=True)
    for line in textwrap.wrap(words, max(int(wide), 20)):
        box.label(text=line, icon=icon)
        icon = "BLANK1"


class Tab:
    """Where the panels are."""

    bl_region_type = "UI"
    bl_category = "mien"

    @classmethod
    def poll(cls, context: Any) -> bool:
        """In the compositor and the sequencer."""
        space = context.space_data
        return space.type != "NODE_EDITOR" or space.tree_type == "CompositorNodeTree"


class StatusPanel(Tab):
    """Progress, what is missing, what went wrong with the scene's shot."""

    bl_label = "mien"
    bl_options = {"HIDE_HEADER"}

    def draw(self, context: Any) -> None:
        """What is said of running work, and the log."""
        layout, said, region = self.layout, state(), context.region
        other = None if said.about in (0, context.scene.session_uid) else shots.scene_of(said.about)
        row = layout.row(align=True)
        if said.busy:
            row.progress(factor=said.progress, text=f"{other.name}: {said.text}" if other is not None else said.text)
            row.operator("mien.cancel", text="", icon="X")
        else:
            row.label(text="" if other is not None else said.text)
        row.operator("mien.open_log", text="", icon="TEXT")
        if other is not None:
            return
        if said.missing:
            lines(layout, region, f"Missing: {said.missing}", "ERROR")
        elif said.state and not said.error:
            lines(layout, region, said.state, "CHECKMARK")
        for words, icon in ((said.error, "CANCEL"), (said.warning, "INFO")):
            lines(layout, region, words, icon)


class ShotPanel(Tab):
    """Plate, range, folder."""

    bl_label = "Shot"

    def draw(self, context: Any) -> None:
        """The shot."""
        layout, shot = self.layout, context.scene.mien
        layout.use_property_split = True
        layout.use_property_decorate = False
        if offered():
            layout.operator("mien.update_nodes", icon="FILE_REFRESH", text=f"Update {offered()} Nodes")
        layout.prop(shot, "plate")
        row = layout.row(align=True)
        row.prop(shot, "first", text="Range")
        row.prop(shot, "last", text="")
        layout.prop(shot, "folder")
        row = layout.row(align=True)
        row.operator("mien.inspect_plate", icon="VIEWZOOM")
        row.operator("mien.build_shot", icon="NODETREE")
        if not fits(context.scene):
            words = "Blender misplaces this plate: its data window is not its display window."
            lines(layout, context.region, words, "ERROR")
            layout.operator("mien.fit_plate", icon="FULLSCREEN_ENTER")


class ColorPanel(Tab):
    """How the plate is read."""

    bl_label = "Files and Color"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        """Rarely changed."""
        layout, shot = self.layout, context.scene.mien
        layout.use_property_split = True
        layout.use_property_decorate = False
        for name in ("name", "take", "colorspace", "layer", "ocio", "pixels", "check_renders"):
            layout.prop(shot, name)


class FacePanel(Tab):
    """Who is replaced, by whom."""

    bl_label = "Faces"

    def draw(self, context: Any) -> None:
        """Tracking and identity."""
        layout, shot = self.layout, context.scene.mien
        layout.operator("mien.track", icon="TRACKER")
        for number, face in enumerate(shot.faces):
            box = layout.box()
            row = box.row(align=True)
            chosen = face.found == shot.face
            row.operator("mien.pick_face", text="", icon="RADIOBUT_ON" if chosen else "RADIOBUT_OFF").index = number
            row.prop(face, "renamed", text="")
            row.prop(face, "ignored", text="", icon="HIDE_ON" if face.ignored else "HIDE_OFF")
            lost = f", lost: {face.lost}" if face.lost else ""
            box.label(text=f"{face.first}-{face.last}{lost}")
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(shot, "track")
        layout.prop(shot, "smallest")
        layout.prop(shot, "confidence")
        layout.prop(shot, "identity")
        layout.prop(shot, "roto")


class PhotographsPanel(Tab):
    """An identity without training."""

    bl_label = "Identity of Photographs"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        """Photographs, and whose consent they come with."""
        layout, shot = self.layout, context.scene.mien
        for source in shot.sources:
            layout.prop(source, "path", text="")
        row = layout.row(align=True)
        row.operator("mien.sources", text="Add", icon="ADD").action = "ADD"
        row.operator("mien.sources", text="Remove", icon="REMOVE").action = "REMOVE"
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(shot, "likeness")
        layout.prop(shot, "release")
        layout.operator("mien.make_identity", icon="USER")


class ConvertPanel(Tab):
    """Convert, match, hand over to the farm."""

    bl_label = "Convert"

    def draw(self, context: Any) -> None:
        """The buttons."""
        layout, shot = self.layout, context.scene.mien
        column = layout.column(align=True)
        column.operator("mien.convert_shot", icon="RENDER_ANIMATION")
        column.operator("mien.convert_frame", icon="RENDER_STILL")
        row = layout.row(align=True)
        row.operator("mien.check_shot", icon="VIEWZOOM")
        row.operator("mien.match", icon="KEYINGSET")
        column.operator("mien.farm", icon="NETWORK_DRIVE")
        layout.prop(shot, "live", toggle=True, icon="PLAY")


class SettingsPanel(Tab):
    """The engine's settings, as the Convert node has them."""

    bl_label = "Settings"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        """Every setting of the Convert node; a key may be set on each."""
        nodes = shots.converts(context.scene)
        if not nodes:
            self.layout.label(text="Build the shot first.")
            return
        layout = self.layout
        layout.use_property_split = True
        panels: dict[str, Any] = {}
        tree = nodes[0].node_tree
        items = {item.identifier: item for item in tree.interface.items_tree if item.item_type == "SOCKET"}
        for socket in nodes[0].inputs:
            item = items.get(socket.identifier)
            parent = item.parent.name if item is not None and item.parent is not None else ""
            if parent and parent not in panels:
                header, body = layout.panel(f"mien_{parent}", default_closed=True)
                header.label(text=parent)
                panels[parent] = body
            body = panels.get(parent, layout)
            if body is not None and not socket.is_linked:
                body.prop(socket, "default_value", text=socket.name)


class TrainingPanel(Tab):
    """Train an identity while shots are worked on."""

    bl_label = "Training"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        """What is trained, and how it goes; preview and losses are images of the file."""
        layout, training, said = self.layout, context.scene.mien.training, state()
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(training, "kind")
        pair = ("Before", "After") if training.kind == "paired" else ("Plate's Faces", "Performer's")
        for name, label in zip(("a", "b"), pair):
            layout.prop(training, name, text=label)
        for name in ("output", "steps", "preview", "size"):
            layout.prop(training, name)
        if training.kind == "swap":
            layout.prop(training, "preset")
        row = layout.row(align=True)
        row.operator("mien.train_start", text="Start", icon="PLAY")
        pausing = "mien.train_resume" if said.paused else "mien.train_pause"
        row.operator(pausing, icon="PAUSE")
        row.operator("mien.train_stop", icon="SNAP_FACE")
        if said.training:
            lines(layout, context.region, f"Paused. {said.training}" if said.paused else said.training, "INFO")
        layout.label(text="Images: mien preview, mien losses", icon="IMAGE_DATA")


class StripPanel(Tab):
    """From a strip of the timeline."""

    bl_label = "Strips"

    def draw(self, context: Any) -> None:
        """A shot from a strip; a grade and an over from 5.2."""
        column = self.layout.column(align=True)
        for name in ("shot_from_strip", "add_strip_grade", "add_strip_over"):
            column.operator(f"mien.{name}")


class LandmarksPanel(Tab):
    """Points placed by hand."""

    bl_label = "Landmarks"

    def draw(self, context: Any) -> None:
        """Place, import, remove."""
        column = self.layout.column(align=True)
        column.operator("mien.place_landmarks", icon="CURSOR")
        column.operator("mien.import_markers", icon="TRACKER")
        column.operator("mien.clear_keys", icon="X")
        column.operator("mien.track", icon="FILE_REFRESH")


PANELS = (StatusPanel, ShotPanel, FacePanel, PhotographsPanel, ConvertPanel, SettingsPanel, TrainingPanel, ColorPanel)
PLACES = (
    ("NODE", "NODE_EDITOR", PANELS),
    ("SEQUENCER", "SEQUENCE_EDITOR", (StatusPanel, StripPanel, *PANELS[1:])),
    ("IMAGE", "IMAGE_EDITOR", (StatusPanel, LandmarksPanel)),
    ("CLIP", "CLIP_EDITOR", (StatusPanel, LandmarksPanel)),
)


def made() -> list[type]:
    """The panels of each editor."""
    return [
        type(
            f"MIEN_PT_{short.lower()}_{panel.__name__.lower()}", (panel, bpy.types.Panel),
            {"bl_space_type": space, "bl_idname": f"MIEN_PT_{short.lower()}_{panel.__name__.lower()}",
             "bl_order": order, "__doc__": panel.__doc__, "__module__": __name__},
        )
        for short, space, panels in PLACES
        for order, panel in enumerate(panels)
    ]  # fmt: skip


CLASSES = tuple(made())
