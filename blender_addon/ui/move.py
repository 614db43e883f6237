# SPDX-License-Identifier: GPL-3.0-or-later
"""The solved color move, from the engine's curves onto the Color Match node as keys."""

import json
from typing import Any

from ..core import colors
from ..core.shot import Shot
from ..host import animation, compat, convert, groups, shots
from .facts import plate_facts
from .props import state

MOVE = ("Red", "Green", "Blue", "Offset")


def load_move(scene: Any, shot: Shot, color: dict[str, Any] | None, only_ours: bool) -> bool:
    """Write the solved color move from disk as keys; ``only_ours``: not over keys that an artist changed."""
    nodes = groups.ours(compat.tree_of(scene), "color_match")
    if not nodes or not shot.curves_file.is_file():
        return False
    solved = json.loads(shot.curves_file.read_text("utf-8"))["frames"]
    grades = {int(frame): entry["value"] for frame, entry in solved.items() if entry["value"] is not None}
    if not grades:
        return False
    if not all(_plain(grade) for grade in grades.values()):
        state().warning = (
            "The color match holds more than a matrix: native nodes cannot replay it. Set Engine Finish to 1, "
            "or match_color to mean, reinhard or mkl in linear light."
        )
        return False
    convert_nodes = shots.converts(scene)
    shown = convert.pictures(convert_nodes[0].node_tree)["raw"].image if convert_nodes else None
    name = shown.colorspace_settings.name if shown is not None else "Non-Color"
    spaces = color or plate_facts(scene).get("color") or {"layer": "", "working": ""}
    target = shots.values_space(spaces, name)
    moves = {}
    for frame, grade in grades.items():
        move = (tuple(map(tuple, grade["matrix"])), tuple(grade["offset"]))
        known = target in colors.PRIMARIES and spaces["working"] in colors.PRIMARIES
        moves[frame] = colors.carried(move, spaces["working"], target) if known else move
    for node in nodes:
        kept = node.get(animation.WRITTEN, "")
        if only_ours and kept != animation.keys_hash(node, MOVE):
            continue
        for row, name in enumerate(MOVE[:3]):
            animation.write_keys(node, name, {frame: tuple(move[0][row]) for frame, move in moves.items()})
        animation.write_keys(node, "Offset", {frame: tuple(move[1]) for frame, move in moves.items()})
        node[animation.WRITTEN] = animation.keys_hash(node, MOVE)
    return True


def _plain(grade: dict[str, Any]) -> bool:
    """Whether a move is a matrix and an offset in linear light, and nothing else."""
    return grade.get("space", "linear") == "linear" and not grade.get("cube") and not grade.get("curves")
