# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene's shot as the engine is told of it: controls, recipe, folders; and its pictures on the Convert nodes."""

import functools
import os
from pathlib import Path
from typing import Any

import bpy

from ..core import settings
from ..core.shot import Shot, ShotError, found, missing, range_of, ready, recipe
from ..host import animation, compat, convert, shots
from ..mien.hosts import recipes
from ..mien.hosts.frames import file_at, spoken
from .facts import plate_facts
from .props import name_shot, shot_of, state

REFUSED = (ShotError, recipes.ChainError, ValueError, OSError, RuntimeError)
"""What is wrong with a shot, in words; RuntimeError is Blender's own of files that it cannot read."""


@functools.cache
def controls() -> tuple[settings.Control, ...]:
    """The chain's settings as controls."""
    return tuple(settings.controls(settings.declarations(), settings.chain()))


def named_shot(scene: Any) -> Shot:
    """A scene's shot, from now on by this name, with a folder that files can be written to.

    Raises:
        ShotError: Nobody said where its files go, or they cannot go there.
    """
    name_shot(scene)
    shot = shot_of(scene)
    made(Path(shot.folder))
    return shot


def made(folder: Path) -> Path:
    """A folder that is there and can be written to.

    Raises:
        ShotError: It cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ShotError(f"The folder {folder} cannot be made: {error.strerror}. Choose another in Shot.") from error
    if not os.access(folder, os.W_OK):
        raise ShotError(f"Nothing may be written to {folder}. Choose another folder in Shot.")
    return folder


def recipe_of(scene: Any, shot: Shot) -> dict[str, Any]:
    """The recipe of a scene's shot with what is dialed on its Convert node.

    Raises:
        ShotError: Something is missing.
    """
    _, (first, last) = ready(shot)
    nodes = shots.converts(scene)
    dialed = animation.dialed(nodes[0], controls(), first, last) if nodes else {}
    return recipe(shot, settings.chain(), settings.dialed(controls(), dialed))


def writing(scene: Any, shot: Shot) -> dict[str, Any]:
    """The recipe by which frames are written now, with a folder for them.

    Raises:
        ShotError: Something is missing, or another scene writes other frames under the same names.
    """
    document = recipe_of(scene, shot)
    for other in bpy.data.scenes:
        if other != scene and other.mien.plate and shots.converts(other) and _same_files(other, shot, document):
            raise ShotError(
                f"The scene {other.name} writes other frames under the same names. Count Take up in Files and Color, "
                "or give this shot another Name."
            )
    made(shot.take_folder)
    return document


def _same_files(other: Any, shot: Shot, recipe: dict[str, Any]) -> bool:
    try:
        theirs = shot_of(other)
        return theirs.recipe_file == shot.recipe_file and recipe_of(other, theirs) != recipe
    except REFUSED:
        return False


def show(scene: Any, shot: Shot, color: dict[str, Any] | None = None) -> None:
    """Let the Convert nodes of a scene show its shot's sequences, and its plate the shot's range.

    Raises:
        ShotError, ValueError: There is no plate, or an artist took a picture out of a group.
    """
    there = found(shot.plate)
    first, last = range_of(shot, there)
    spaces = color or plate_facts(scene).get("color")
    node = shots.plate_node(compat.tree_of(scene))
    plate = node.image if node is not None else None
    if plate is not None and plate.source == "SEQUENCE":
        if shots.same_plate(plate, file_at(there.pattern, first)):
            convert.show_range(node, first, last)
        else:
            state().warning = f"The compositor shows another plate, {plate.filepath}: press Build Shot."
    for node in shots.converts(scene):
        now = convert.pictures(node.node_tree)["raw"].image.colorspace_settings.name
        chosen = shots.layer_colorspace(plate, spaces) if spaces else now
        convert.point_at(node.node_tree, shot, first, last, chosen)


def say_missing(shot: Shot) -> None:
    """Say which frames are not there."""
    gone = missing(shot, *range_of(shot, found(shot.plate)))
    state().missing = spoken(gone)
    state().state = f"Missing: {spoken(gone)}" if gone else "All frames ready"
