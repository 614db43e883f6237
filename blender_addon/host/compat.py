# SPDX-License-Identifier: GPL-3.0-or-later
"""What Blender's versions name differently, in one place: trees, menus, curves, working space."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bpy

FIVE = bpy.app.version >= (5, 0)
MENUS = {
    "Gaussian": ("filter_type", "GAUSS"),
    "Replace Alpha": ("mode", "REPLACE_ALPHA"),
}
"""Choices of the socket ``Type`` from 5.0, and the property that 4.5 has instead."""


def tree_of(scene: Any) -> Any:
    """The compositor's tree of a scene; None where it has none."""
    return scene.compositing_node_group if FIVE else (scene.node_tree if scene.use_nodes else None)


def made_tree(scene: Any) -> Any:
    """The compositor's tree of a scene, made where there is none."""
    if not FIVE:
        fresh = scene.node_tree is None
        scene.use_nodes = True
        if fresh:
            scene.node_tree.nodes.clear()
        return scene.node_tree
    if scene.compositing_node_group is None:
        tree = bpy.data.node_groups.new(f"{scene.name} Compositor", "CompositorNodeTree")
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        scene.compositing_node_group = tree
    return scene.compositing_node_group


def output_socket(tree: Any) -> Any:
    """What takes the scene's picture."""
    kind = "NodeGroupOutput" if FIVE else "CompositorNodeComposite"
    node = next((node for node in tree.nodes if node.bl_idname == kind), None)
    if node is None:
        node = tree.nodes.new(kind)
    if FIVE and not node.inputs[0].name:
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
    return node.inputs[0]


def choose(node: Any, choice: str) -> None:
    """Set what a node of Blender's own does, by the words of 5.0."""
    if FIVE:
        socket_named(node.inputs, "Type").default_value = choice
    else:
        setattr(node, *MENUS[choice])


def socket_named(sockets: Any, identifier: str) -> Any:
    """A socket by its identifier: names repeat, and unavailable sockets hide behind them."""
    for socket in sockets:
        if socket.identifier == identifier:
            return socket
    raise KeyError(f"no socket {identifier}")


def bags(owner: Any) -> Iterator[Any]:
    """What holds the keyframe curves of a datablock."""
    data = owner.animation_data
    action = data.action if data else None
    if action is None:
        return
    if not hasattr(action, "layers"):
        yield action
        return
    if len(getattr(action, "layers", ())) == 0 and hasattr(action, "fcurves"):
        yield action
    slot = data.action_slot
    for layer in action.layers:
        for strip in layer.strips:
            for bag in strip.channelbags:
                if slot is None or bag.slot_handle == slot.handle:
                    yield bag


def curves_of(owner: Any) -> list[Any]:
    """The keyframe curves of a datablock."""
    return [curve for bag in bags(owner) for curve in bag.fcurves]


def remove_curves(owner: Any, path: str) -> None:
    """Remove the curves of one property."""
    for bag in bags(owner):
        for curve in [curve for curve in bag.fcurves if curve.data_path == path]:
            bag.fcurves.remove(curve)


def working_space() -> str:
    """Interop ID of Blender's working space."""
    if not FIVE:
        return "lin_rec709_scene"
    named = bpy.data.colorspace.working_space
    return {"ACEScg": "lin_ap1_scene", "Linear Rec.2020": "lin_rec2020_scene"}.get(named, "lin_rec709_scene")


SPACES = ("Linear Rec.709", "Linear Rec.2020", "ACEScg")
"""What Blender can work in from 5.0."""


def set_working_space(name: str) -> bool:
    """Let the file work in a space, where Blender can; whether it does now."""
    if not FIVE:
        return name == "Linear Rec.709"
    if bpy.data.colorspace.working_space != name:
        try:
            bpy.ops.wm.set_working_color_space(working_space=name)
        except (RuntimeError, TypeError):
            return False
    return bool(bpy.data.colorspace.working_space == name)


def full_precision(scene: Any) -> None:
    """Let the compositor compute in 32 bits also in the viewer."""
    if hasattr(scene.render, "compositor_precision"):
        scene.render.compositor_precision = "FULL"


EMPTIES = bpy.app.version >= (5, 2)
"""Whether an image that was emptied is read by the compositor's thread when that needs it."""


def reread(image: Any) -> None:
    """Let what shows an image read its file anew; of the two calls neither does that alone.

    ``reload`` has the first file of a sequence read at once, by the thread that draws.
    """
    if EMPTIES:
        image.buffers_free()
    else:
        image.reload()
    image.update_tag()


def strip_span(strip: Any) -> tuple[int, int]:
    """How many frames of its footage a strip skips, and how many it shows; 5.1 renamed all of these."""
    offset = strip.content_trim_start if hasattr(strip, "content_trim_start") else strip.animation_offset_start
    start, end = strip_places(strip)
    skipped = strip.left_handle_offset if hasattr(strip, "left_handle_offset") else strip.frame_offset_start
    return int(offset + skipped), end - start


def strip_places(strip: Any) -> tuple[int, int]:
    """First frame of a strip on the timeline, and the one after its last."""
    if hasattr(strip, "left_handle"):
        return int(strip.left_handle), int(strip.right_handle)
    return int(strip.frame_final_start), int(strip.frame_final_end)
