# SPDX-License-Identifier: GPL-3.0-or-later
"""The Convert node: what the engine wrote for a shot, and every setting by which it writes it, as sockets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy

from ..core.settings import Control
from ..core.shot import ROLES, Shot
from ..mien.hosts.frames import file_at
from .compat import FIVE, reread
from .groups import NAMES, VERSIONS
from .weave import Weave

SETTINGS = "mien_settings"
"""Property of the tree: identifier of a socket to ``STEP.PARAM``, as JSON."""
SLATE = (0.8, 0.0, 0.4)
FAR = 1e4
"""Distance inside the matte that a slate has, in pixels."""


def convert(controls: Sequence[Control], images: dict[str, Any]) -> Any:
    """A Convert group with image nodes of its own, one for each of ``ROLES``."""
    weave = Weave(NAMES["convert"], "convert", VERSIONS["convert"])
    pictures = {role: weave.node("CompositorNodeImage", role, image=images[role]) for role in ROLES}
    shape = weave.parts(pictures["matte"].outputs[0])
    help = "What is shown where the engine has not rendered a frame: the plate, or a slate that nobody overlooks"
    if FIVE:
        _, slate = weave.menu("Missing", ("Plate", "Slate"), "Plate", help)
    else:
        slate = weave.dialed("Slate", False, help)
    slated = weave.used(slate)
    there = weave.parts(weave.when(slated, pictures["matte"].outputs[0]))["Alpha"]
    shown = weave.math("SUBTRACT", 1.0, there, clamp=True)
    for role, name, told in (
        ("raw", "Face", "The converted face, unmatted and ungraded"),
        ("face", "Finished", "The face as the engine finished it: matched, lit, sharp and grained as the plate"),
    ):
        picture = pictures[role].outputs[0]
        drawn = weave.mix(weave.when(slated, picture), SLATE, shown)
        weave.gives(name, "Color", weave.when(slated, drawn, picture), told)
    weave.gives("Matte", "Float", weave.mix(shape["Red"], 1.0, shown, "FLOAT"), "1 where the face is seen")
    weave.gives(
        "Distance", "Float", weave.mix(shape["Green"], FAR, shown, "FLOAT"),
        "Signed distance from the matte's edge in pixels, positive inside",
    )  # fmt: skip
    weave.gives("Hold-out", "Float", shape["Blue"], "What passes in front of the face")
    weave.gives("Valid", "Float", shape["Alpha"], "1 where the engine has rendered the frame")
    weave.tree[SETTINGS] = json.dumps(dict(_settings(weave, controls)))
    return weave.tree


def _settings(weave: Weave, controls: Sequence[Control]) -> Any:
    """A socket for each control; nothing in the group reads it, the sidebar's Convert does."""
    for one in controls:
        if one.kind == "menu":
            identifier, _ = weave.menu(one.label, one.choices, one.default, one.help, one.panel)
            yield identifier, one.path
            continue
        kind = {"int": "Int", "bool": "Bool"}.get(one.kind, "")
        made = weave.dialed(one.label, _typed(one), one.help, one.low, one.high, one.panel, kind)
        yield made.identifier, one.path


def _typed(one: Control) -> Any:
    return {"float": float, "int": int, "bool": bool}[one.kind](one.default)


def settings_of(tree: Any) -> dict[str, str]:
    """Identifier of a socket to ``STEP.PARAM``."""
    return dict(json.loads(tree.get(SETTINGS, "{}")))


def empty_images(name: str) -> dict[str, Any]:
    """Images that show what will be written, made before the first file is there."""
    made = {}
    for role in ROLES:
        image = bpy.data.images.new(f"{name} {role}", 1, 1, alpha=True, float_buffer=True)
        image.colorspace_settings.name = "Non-Color"
        image.alpha_mode = "CHANNEL_PACKED" if role == "matte" else "PREMUL"
        made[role] = image
    return made


def pictures(tree: Any) -> dict[str, Any]:
    """The image nodes of a Convert group by role.

    Raises:
        ValueError: An artist took one of them out.
    """
    nodes = {role: tree.nodes.get(role) for role in ROLES}
    for role, node in nodes.items():
        if getattr(node, "image", None) is None:
            raise ValueError(
                f"The group {tree.name} has lost its picture '{role}': undo that, or delete the node and build again."
            )
    return nodes


def point_at(tree: Any, shot: Shot, first: int, last: int, colorspace: str) -> None:
    """Let a Convert group show the sequences of a shot, frame F at frame F.

    Raises:
        ValueError: An artist took one of its pictures out.
    """
    for role, node in pictures(tree).items():
        image = node.image
        path = file_at(shot.sequence(role), first)
        if bpy.path.abspath(image.filepath) != path or image.source != "SEQUENCE":
            image.filepath = beside(path)
            image.source = "SEQUENCE"
        name = "Non-Color" if role == "matte" else colorspace
        if image.colorspace_settings.name != name:
            image.colorspace_settings.name = name
        alpha = "CHANNEL_PACKED" if role == "matte" else "PREMUL"
        if image.alpha_mode != alpha:
            image.alpha_mode = alpha
        show_range(node, first, last)


def beside(path: str) -> str:
    """A path as the file keeps it: relative where it lies below the file's folder, so that both move together."""
    here = Path(bpy.data.filepath).parent if bpy.data.filepath else None
    return str(bpy.path.relpath(path)) if here is not None and here in Path(path).parents else path


def show_range(node: Any, first: int, last: int) -> None:
    """Frame F of a sequence at frame F of the scene; what is so already is left alone, as each change costs a read."""
    wanted = {
        "frame_start": first, "frame_duration": last - first + 1, "frame_offset": first - 1, "use_auto_refresh": True,
    }  # fmt: skip
    for name, value in wanted.items():
        if getattr(node, name) != value:
            setattr(node, name, value)


def refresh(tree: Any, roles: Sequence[str] = ROLES) -> None:
    """Show what was written meanwhile.

    A picture of a film's frame takes Blender 50 ms of a processor to load: so name those that were written.
    """
    for role in roles:
        node = tree.nodes.get(role)
        if node is not None and node.image is not None and Path(bpy.path.abspath(node.image.filepath)).parent.is_dir():
            reread(node.image)


def role_of(path: str) -> str:
    """Which of ``ROLES`` a file that the engine wrote is: ``NAME_ROLE.FRAME.exr``."""
    return Path(path).stem.rpartition(".")[0].rpartition("_")[2]
