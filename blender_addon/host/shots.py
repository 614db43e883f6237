# SPDX-License-Identifier: GPL-3.0-or-later
"""A shot in a scene's compositor: its nodes built, wired, found again and updated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import bpy

from ..core import colors
from ..core.settings import Control
from ..core.shot import Shot
from ..mien.hosts.frames import DIGITS, NUMBER, file_at
from . import compat
from .animation import path_of
from .convert import beside, convert, empty_images, pictures, point_at, show_range
from .groups import BUILDERS, NAMES, kind_of, ours, outdated, shared
from .weave import KIND

PLATE, VIEWER = "mien Plate", "mien Viewer"
ORDER = ("convert", "matte", "color_match", "finish", "comp")
WIRES = (
    ("convert", "Matte", "matte", "Matte"),
    ("convert", "Distance", "matte", "Distance"),
    ("convert", "Hold-out", "matte", "Hold-out"),
    ("convert", "Face", "color_match", "Face"),
    ("convert", "Finished", "color_match", "Finished"),
    ("color_match", "Face", "finish", "Face"),
    ("finish", "Face", "comp", "Face"),
    ("matte", "Matte", "comp", "Matte"),
)


def group_for(kind: str, name: str, controls: Sequence[Control]) -> Any:
    """The tree of a new node: Convert has its own, as its images are the shot's; the others share one."""
    return convert(controls, empty_images(f"mien {name}")) if kind == "convert" else shared(kind)


def add(tree: Any, kind: str, name: str, controls: Sequence[Control]) -> Any:
    """A node of ours in a tree."""
    node = tree.nodes.new("CompositorNodeGroup")
    node.node_tree = group_for(kind, name, controls)
    node.name = node.label = NAMES[kind]
    node.width = 220
    return node


def socket(sockets: Any, name: str) -> Any:
    """The first socket of a name."""
    return next(one for one in sockets if one.name == name)


def values_space(shot_space: Mapping[str, str], colorspace: str) -> str:
    """The space that pixel values have within the compositor, of what the engine wrote in a space.

    Args:
        shot_space: ``layer`` and ``working`` as the engine names them.
        colorspace: What the images are set to.
    """
    working = compat.working_space()
    untouched = colorspace in ("Non-Color", "scene_linear", colors.NAMES.get(working))
    return shot_space["layer"] if untouched else working


def layer_colorspace(plate: Any, color: Mapping[str, Any]) -> str:
    """What images of the engine are set to: as the plate where they are in its space, else what they are."""
    if color["layer"] == color["plate"] and plate is not None:
        return str(plate.colorspace_settings.name)
    return colors.NAMES.get(color["layer"], "Non-Color")


def plate_colorspace(image: Any, space: str, may_set: bool) -> None:
    """Let a linear plate pass bit for bit where Blender can work in its space; others stay as they were read."""
    name = colors.NAMES.get(space)
    if name is None:
        return
    if compat.working_space() == space or (may_set and compat.set_working_space(name)):
        image.colorspace_settings.name = name
    elif not compat.FIVE:
        image.colorspace_settings.name = "Non-Color"
    else:
        image.colorspace_settings.name = name


def other_space(space: str, may_set: bool) -> str:
    """What it means, in words, that the file works in another space than the plate's; empty where it does not.

    Args:
        space: The plate's.
        may_set: The file might have been set to it.
    """
    wanted, working = colors.NAMES.get(space), colors.NAMES.get(compat.working_space())
    if wanted is None or wanted == working:
        return ""
    if not compat.FIVE:
        return (
            f"This Blender works in {working}: the plate keeps its values, {wanted}, but is shown as if it were that."
        )
    said = f"The file works in {working}: the plate, {wanted}, is converted, and passes nearly but not bit for bit."
    refused = may_set and wanted in compat.SPACES
    return f"{said} Blender was busy: press Build Shot again to work in {wanted}." if refused else said


def plate_node(tree: Any) -> Any:
    """The plate's node; None where there is none."""
    return tree.nodes.get(PLATE) if tree is not None else None


def plate_image(tree: Any) -> Any:
    """The plate's image; None where there is none."""
    node = plate_node(tree)
    return node.image if node is not None else None


def same_plate(image: Any, path: str) -> bool:
    """Whether an image shows the sequence, or the file, that ``path`` belongs to."""
    shown = bpy.path.abspath(image.filepath)
    return Path(shown) == Path(path) or (image.source == "SEQUENCE" and sequence_of(shown) == sequence_of(path))


def sequence_of(path: str) -> Path:
    """The path of a file without its number: the same for all files of a sequence."""
    file = Path(path)
    return file.with_name(DIGITS.sub("#", file.stem) + file.suffix)


def load_plate(tree: Any, pattern: str, first: int, last: int) -> Any:
    """The plate's node, showing frame F of the plate at frame F of the scene."""
    node = plate_node(tree) or tree.nodes.new("CompositorNodeImage")
    node.name = node.label = PLATE
    path = file_at(pattern, first)
    if node.image is None or not same_plate(node.image, path):
        node.image = bpy.data.images.load(path, check_existing=False)
        node.image.name, node.image.filepath = PLATE, beside(path)
    if NUMBER.search(pattern):
        node.image.source = "SEQUENCE"
        show_range(node, first, last)
    elif node.image.source == "MOVIE":
        node.frame_start, node.frame_duration, node.frame_offset = first, last - first + 1, 0
        node.use_auto_refresh = True
    return node


def build(
    scene: Any, shot: Shot, pattern: str, first: int, last: int, controls: Sequence[Control],
    color: Mapping[str, Any] | None, may_set: bool,
) -> None:  # fmt: skip
    """Plate, Convert, Matte, Color Match, Finish, Comp and a viewer, wired; those that are there are kept.

    Args:
        color: What the engine says of the plate's space; None where it was not asked.
        may_set: The file may be set to work in the plate's space.
    """
    if color is not None and may_set and color["plate"] in colors.NAMES:
        # Before there is anything to draw: Blender refuses while it composites or makes previews.
        compat.set_working_space(colors.NAMES[color["plate"]])
    tree = compat.made_tree(scene)
    plate = load_plate(tree, pattern, first, last)
    if color is not None:
        plate_colorspace(plate.image, color["plate"], may_set)
    nodes = {}
    for kind in ORDER:
        there = ours(tree, kind)
        nodes[kind] = there[0] if there else add(tree, kind, shot.name, controls)
        if kind == "color_match" and not there:
            socket(nodes[kind].inputs, "Engine Finish").default_value = 1.0
    spaces = color or {"plate": "", "layer": "", "working": ""}
    point_at(nodes["convert"].node_tree, shot, first, last, layer_colorspace(plate.image, spaces))
    for source, output, target, name in WIRES:
        entry = socket(nodes[target].inputs, name)
        if not entry.is_linked:
            tree.links.new(socket(nodes[source].outputs, output), entry)
    if not socket(nodes["comp"].inputs, "Plate").is_linked:
        tree.links.new(plate.outputs[0], socket(nodes["comp"].inputs, "Plate"))
    out = compat.output_socket(tree)
    tree.links.new(nodes["comp"].outputs[0], out)
    viewer = tree.nodes.get(VIEWER) or tree.nodes.new("CompositorNodeViewer")
    viewer.name = VIEWER
    tree.links.new(nodes["comp"].outputs[0], viewer.inputs[0])
    places = [plate, *(nodes[kind] for kind in ORDER), out.node]
    for column, node in enumerate(places):
        node.location = (300 * column, 0)
    nodes["matte"].location = (600, -420)
    viewer.location = (300 * 6, -260)


def set_scene(scene: Any, size: Sequence[int] | None, first: int, last: int, fps: float | None) -> None:
    """Range, resolution and precision of a scene; a picture is never scaled by Blender."""
    scene.frame_start, scene.frame_end = first, last
    if not first <= scene.frame_current <= last:
        scene.frame_set(first)
    if size is not None:
        scene.render.resolution_x, scene.render.resolution_y = size
        scene.render.resolution_percentage = 100
    if fps:
        scene.render.fps = max(1, round(fps))
        scene.render.fps_base = scene.render.fps / fps
    compat.full_precision(scene)


def scene_of(number: int) -> Any:
    """The scene that has a number in this session, whatever it is called by now; None where it is gone."""
    return next((scene for scene in bpy.data.scenes if scene.session_uid == number), None)


def converts(scene: Any) -> list[Any]:
    """The Convert nodes of a scene."""
    return ours(compat.tree_of(scene), "convert")


def update(controls: Sequence[Control]) -> int:
    """Rebuild groups of older versions; values, links and keys of their nodes stay. How many there were."""
    old = outdated()
    for tree in old:
        kind = tree[KIND]
        new: dict[str, Any] = {}
        for owner in _trees():
            for node in [node for node in owner.nodes if kind_of(node) and node.node_tree == tree]:
                if "tree" not in new:
                    new["tree"] = _rebuilt(tree, kind, controls)
                _exchange(owner, node, new["tree"])
        tree.name = f"{tree.name} (old)"
        if tree.users == 0:
            bpy.data.node_groups.remove(tree)
        if "tree" in new:
            new["tree"].name = NAMES[kind]
    return len(old)


def _rebuilt(tree: Any, kind: str, controls: Sequence[Control]) -> Any:
    if kind != "convert":
        tree[KIND] = "old"
        try:
            return BUILDERS[kind]()
        finally:
            tree[KIND] = kind
    shown = pictures(tree)
    made = convert(controls, {role: node.image for role, node in shown.items()})
    for role, node in shown.items():
        for name in ("frame_start", "frame_duration", "frame_offset", "use_auto_refresh"):
            setattr(made.nodes[role], name, getattr(node, name))
    return made


def _trees() -> list[Any]:
    groups = [tree for tree in bpy.data.node_groups if tree.bl_idname == "CompositorNodeTree"]
    return groups if compat.FIVE else [*groups, *(s.node_tree for s in bpy.data.scenes if s.node_tree is not None)]


def _named(node: Any) -> dict[str, tuple[str, str]]:
    """Identifier of each input to its panel's and its own name."""
    items = [item for item in node.node_tree.interface.items_tree if item.item_type == "SOCKET"]
    return {item.identifier: (item.parent.name if item.parent else "", item.name) for item in items}


def _exchange(owner: Any, node: Any, tree: Any) -> None:
    """Give a node a new tree; sockets are the same where their panel and name are."""
    names = _named(node)
    values, paths, sources, targets = {}, {}, {}, {}
    for entry in node.inputs:
        name = names.get(entry.identifier)
        if name is None:
            continue
        value = getattr(entry, "default_value", None)
        values[name] = tuple(value) if hasattr(value, "__len__") and not isinstance(value, str) else value
        paths[path_of(node, entry)] = name
        sources[name] = [link.from_socket for link in entry.links]
    for entry in node.outputs:
        targets[entry.name] = [link.to_socket for link in entry.links]
    node.node_tree = tree
    names = _named(node)
    there = {names[entry.identifier]: entry for entry in node.inputs if entry.identifier in names}
    for name, value in values.items():
        if name in there and value is not None:
            try:
                there[name].default_value = value
            except TypeError:
                continue
        for source in sources[name] if name in there else ():
            owner.links.new(source, there[name])
    for entry in node.outputs:
        for target in targets.get(entry.name, ()):
            owner.links.new(entry, target)
    renamed = {path: path_of(node, there[name]) for path, name in paths.items() if name in there}
    for curve in compat.curves_of(owner):
        curve.data_path = renamed.get(curve.data_path, curve.data_path)


def plate_size(tree: Any) -> Sequence[int] | None:
    """Size of the plate as Blender reads it; None where it cannot."""
    image = plate_image(tree)
    size = tuple(image.size) if image is not None else (0, 0)
    return size if size[0] and size[1] else None
