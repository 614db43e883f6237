# SPDX-License-Identifier: GPL-3.0-or-later
"""Values over time: what sockets hold in each frame, and solved moves written onto them as keys."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.settings import Control, plain
from ..mien.hosts.recipes import keys_of
from .compat import curves_of, remove_curves
from .convert import settings_of

WRITTEN = "mien_keys"
"""Property of a node: a hash of the keys that were written onto it, to know when an artist changed them."""
LINEAR = 1


def path_of(node: Any, socket: Any) -> str:
    """The path of a socket's value from its tree, as curves name it."""
    return path_at(node, next(n for n, one in enumerate(node.inputs) if one.identifier == socket.identifier))


def path_at(node: Any, number: int) -> str:
    """The path of the value of a node's input with a number."""
    name = node.name.replace("\\", "\\\\").replace('"', '\\"')
    return f'nodes["{name}"].inputs[{number}].default_value'


def dialed(node: Any, controls: Sequence[Control], first: int, last: int) -> dict[str, Any]:
    """What a Convert node is set to: ``STEP.PARAM`` to a value, or to keys where it is animated."""
    known = {one.path: one for one in controls}
    curves = {curve.data_path: curve for curve in curves_of(node.id_data)}
    places = {socket.identifier: (number, socket) for number, socket in enumerate(node.inputs)}
    found: dict[str, Any] = {}
    for identifier, path in settings_of(node.node_tree).items():
        control = known.get(path)
        if control is None or identifier not in places:
            continue
        number, socket = places[identifier]
        curve = curves.get(path_at(node, number)) if curves else None
        if curve is None or curve.mute:
            found[path] = plain(control, socket.default_value)
        else:
            samples = {frame: plain(control, curve.evaluate(frame)) for frame in range(first, last + 1)}
            found[path] = keys_of(samples)
    return found


def write_keys(node: Any, name: str, values: Mapping[int, Any]) -> None:
    """Replace the keys of an input by one for each frame, or by its value where that never changes."""
    socket = next(one for one in node.inputs if one.name == name)
    path, tree = path_of(node, socket), node.id_data
    remove_curves(tree, path)
    frames = sorted(values)
    if not frames:
        return
    socket.default_value = values[frames[0]]
    if all(values[frame] == values[frames[0]] for frame in frames):
        frames = frames[:1]
    socket.keyframe_insert("default_value", frame=frames[0])
    for curve in curves_of(tree):
        if curve.data_path != path:
            continue
        points = curve.keyframe_points
        points.add(len(frames) - len(points))
        flat: list[float] = []
        for frame in frames:
            value = values[frame]
            flat += (frame, value[curve.array_index] if isinstance(value, tuple) else value)
        points.foreach_set("co", flat)
        points.foreach_set("interpolation", [LINEAR] * len(frames))
        curve.update()


def keys_hash(node: Any, names: Sequence[str]) -> str:
    """A hash of the keys of some inputs."""
    paths = {path_of(node, socket) for socket in node.inputs if socket.name in names}
    told = []
    for curve in curves_of(node.id_data):
        if curve.data_path in paths:
            points = curve.keyframe_points
            flat = [0.0] * (2 * len(points))
            points.foreach_get("co", flat)
            told.append([curve.data_path, curve.array_index, flat])
    return hashlib.sha256(json.dumps(sorted(told)).encode()).hexdigest() if told else ""
