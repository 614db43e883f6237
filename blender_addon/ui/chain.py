# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene's shot as the engine is told of it: controls, recipe, folders; and its pictures on the Convert nodes."""

import functools
import os
from pathlib import Path
from typing import Any

from ..core import settings
from ..core.shot import Shot, ShotError, found, missing, range_of, ready, recipe
from ..host import animation, compat, convert, shots
from ..mien.hosts import recipes
from ..mien.hosts.frames import spoken
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


def show(scene: Any, shot: Shot, color: dict[str, Any] | None = None) -> None:
    """Let the Convert nodes of a scene show its shot's sequences."""
    pattern_range = range_of(shot, found(shot.plate))
    spaces = color or plate_facts(scene).get("color")
    plate = shots.plate_image(compat.tree_of(scene))
    for node in shots.converts(scene):
        now = node.node_tree.nodes["raw"].image.colorspace_settings.name
        chosen = shots.layer_colorspace(plate, spaces) if spaces else now
        convert.point_at(node.node_tree, shot, *pattern_range, chosen)


def say_missing(shot: Shot) -> None:
    """Say which frames are not there."""
    gone = missing(shot, *range_of(shot, found(shot.plate)))
    state().missing = spoken(gone)
    state().state = f"Missing: {spoken(gone)}" if gone else "All frames ready"
