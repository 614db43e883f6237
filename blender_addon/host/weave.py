# SPDX-License-Identifier: GPL-3.0-or-later
"""A node group woven from a few words: sockets in panels, sums, mixes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bpy

from .compat import FIVE, choose, socket_named

KIND, VERSION = "mien_kind", "mien_version"
"""Properties by which a group of ours is known."""


class Weave:
    """A new compositor group; values are output sockets or numbers."""

    def __init__(self, name: str, kind: str, version: int) -> None:
        self.tree = bpy.data.node_groups.new(name, "CompositorNodeTree")
        self.tree[KIND], self.tree[VERSION] = kind, version
        self.tree.use_fake_user = False
        self._panels: dict[str, Any] = {}
        self._in = self.node("NodeGroupInput")
        self._out = self.node("NodeGroupOutput")

    def node(self, kind: str, name: str = "", **properties: Any) -> Any:
        """A node with its properties set."""
        made = self.tree.nodes.new(kind)
        made.location = (220 * (len(self.tree.nodes) % 8), -260 * (len(self.tree.nodes) // 8))
        if name:
            made.name = made.label = name
        for property, value in properties.items():
            setattr(made, property, value)
        return made

    def link(self, value: Any, socket: Any) -> None:
        """Let a value flow into a socket: a number is written there."""
        if isinstance(value, bpy.types.NodeSocket):
            self.tree.links.new(value, socket)
        else:
            socket.default_value = value

    def panel(self, name: str, help: str = "") -> Any:
        """A panel of the node, closed at first."""
        if name not in self._panels:
            self._panels[name] = self.tree.interface.new_panel(name, description=help, default_closed=True)
        return self._panels[name]

    def _socket(self, name: str, kind: str, help: str, panel: str, in_out: str) -> Any:
        parent = self.panel(panel) if panel else None
        return self.tree.interface.new_socket(
            name, in_out=in_out, socket_type=f"NodeSocket{kind}", description=help, parent=parent
        )

    def flows(self, name: str, kind: str, help: str) -> Any:
        """An input that is meant to be connected."""
        item = self._socket(name, kind, help, "", "INPUT")
        item.hide_value = True
        return socket_named(self._in.outputs, item.identifier)

    def dialed(
        self, name: str, default: Any, help: str, low: float | None = None, high: float | None = None, panel: str = "",
        kind: str = "",
    ) -> Any:  # fmt: skip
        """An input that is dialed and keyed; what kind its default says."""
        kind = kind or ("Bool" if isinstance(default, bool) else "Int" if isinstance(default, int) else "")
        item = self._socket(name, kind or ("Float" if isinstance(default, float) else "Vector"), help, panel, "INPUT")
        if low is not None and high is not None and kind != "Bool":
            item.min_value, item.max_value = (round(low), round(high)) if kind == "Int" else (low, high)
            if kind == "" and (low, high) == (0.0, 1.0):
                item.subtype = "FACTOR"
        item.default_value = default
        return socket_named(self._in.outputs, item.identifier)

    def menu(self, name: str, choices: Sequence[str], default: str, help: str, panel: str = "") -> tuple[str, Any]:
        """A choice by name, in 4.5 by number: the socket's identifier, and the number as a value."""
        if not FIVE:
            made = self.dialed(name, choices.index(default), help, 0, len(choices) - 1, panel)
            return made.identifier, made
        item = self._socket(name, "Menu", help, panel, "INPUT")
        switch = self.node("GeometryNodeMenuSwitch", data_type="FLOAT")
        items = switch.enum_items
        for number, choice in enumerate(choices):
            entry = items[number] if number < len(items) else items.new(choice)
            entry.name = choice
        while len(items) > len(choices):
            items.remove(items[len(items) - 1])
        for number, socket in enumerate([one for one in switch.inputs if one.identifier.startswith("Item_")]):
            socket.default_value = float(number)
        self.tree.links.new(socket_named(self._in.outputs, item.identifier), socket_named(switch.inputs, "Menu"))
        item.default_value = default
        return item.identifier, switch.outputs[0]

    def gives(self, name: str, kind: str, value: Any, help: str) -> None:
        """An output."""
        item = self._socket(name, kind, help, "", "OUTPUT")
        self.link(value, socket_named(self._out.inputs, item.identifier))

    def math(self, operation: str, one: Any, other: Any = 0.0, third: Any = 0.0, clamp: bool = False) -> Any:
        """Numbers, or pictures of numbers, into one."""
        node = self.node("ShaderNodeMath", operation=operation, use_clamp=clamp)
        for value, socket in zip((one, other, third), node.inputs):
            self.link(value, socket)
        return node.outputs[0]

    def vector(self, operation: str, *colors: Any) -> Any:
        """Colors into one, or into a number; negatives and values above 1 stay."""
        node = self.node("ShaderNodeVectorMath", operation=operation)
        for value, socket in zip(colors, node.inputs):
            self.link(value, socket)
        return node.outputs["Value" if operation in ("DOT_PRODUCT", "DISTANCE", "LENGTH") else "Vector"]

    def scaled(self, color: Any, by: Any) -> Any:
        """A color times a number."""
        node = self.node("ShaderNodeVectorMath", operation="SCALE")
        self.link(color, node.inputs[0])
        self.link(by, socket_named(node.inputs, "Scale"))
        return node.outputs["Vector"]

    def mix(self, one: Any, other: Any, factor: Any, kind: str = "VECTOR", clamp: bool = True) -> Any:
        """The first at 0, bit for bit, the second at 1."""
        node = self.node("ShaderNodeMix", data_type=kind, clamp_factor=clamp)
        suffix = "Vector" if kind == "VECTOR" else "Float"
        self.link(factor, socket_named(node.inputs, "Factor_Float"))
        self.link(one, socket_named(node.inputs, f"A_{suffix}"))
        self.link(other, socket_named(node.inputs, f"B_{suffix}"))
        return socket_named(node.outputs, f"Result_{suffix}")

    def joined(self, x: Any, y: Any, z: Any) -> Any:
        """Three numbers as a vector."""
        node = self.node("ShaderNodeCombineXYZ")
        for value, socket in zip((x, y, z), node.inputs):
            self.link(value, socket)
        return node.outputs[0]

    def parts(self, picture: Any) -> Any:
        """Red, Green, Blue and Alpha of a picture, by name."""
        node = self.node("CompositorNodeSeparateColor")
        self.link(picture, node.inputs[0])
        return node.outputs

    def blurred(self, picture: Any, sigma: Any) -> Any:
        """A Gaussian blur of a standard deviation in pixels; edges go on."""
        node = self.node("CompositorNodeBlur")
        choose(node, "Gaussian")
        size = self.math("MULTIPLY", sigma, 3.0)
        self.link(picture, socket_named(node.inputs, "Image"))
        self.link(self.joined(size, size, 0.0), socket_named(node.inputs, "Size"))
        return node.outputs[0]

    def used(self, *amounts: Any) -> Any:
        """Whether any amount, a number or a picture of them, is not 0 somewhere."""
        sizes = [self.math("ABSOLUTE", amount) for amount in amounts]
        whole = sizes[0]
        for size in sizes[1:]:
            whole = self.math("ADD", whole, size)
        levels = self.node("CompositorNodeLevels")
        self.link(self.math("GREATER_THAN", whole, 0.0), levels.inputs[0])
        return self.math("GREATER_THAN", levels.outputs[0], 0.0)

    def when(self, used: Any, picture: Any, otherwise: Any = (0.0, 0.0, 0.0, 1.0)) -> Any:
        """A picture where it is used, else something that costs less.

        Blender computes what is switched off or multiplied by 0 too, but of a single color in no time: so let flow
        what is computed from ``when(used, picture)``, and choose by ``when(used, computed, otherwise)``.
        """
        node = self.node("CompositorNodeSwitch")
        if picture.type == "VECTOR":
            picture = self.with_alpha(picture, 1.0)
        for name, value in (("Switch", used), ("Off", otherwise), ("On", picture)):
            self.link(value, socket_named(node.inputs, name))
        return node.outputs[0]

    def with_alpha(self, picture: Any, alpha: Any) -> Any:
        """A picture with another alpha, its color untouched."""
        node = self.node("CompositorNodeSetAlpha")
        choose(node, "Replace Alpha")
        self.link(picture, socket_named(node.inputs, "Image"))
        self.link(alpha, socket_named(node.inputs, "Alpha"))
        return node.outputs[0]
