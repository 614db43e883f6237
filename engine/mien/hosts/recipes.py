"""A chain of a host's nodes as a recipe; the engine checks it and fills in what is left out."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VERSION = 1
GIVEN = ("plate", "track", "identity", "roto")
"""What every recipe has before its first step."""
NEARLY = 1e-9
"""How far, of its size, a sampled value may be from the line between its neighbors' keys."""


@dataclass(frozen=True)
class Placed:
    """A node as an artist placed it.

    Attributes:
        name: Its name in the host: what other nodes and settings call it by.
        node: Id of the declaration.
        inputs: Port to the name of the node, or of what every recipe has, that feeds it.
        settings: What differs from the defaults: values, or keys ``[[frame, value], ...]``.
    """

    name: str
    node: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


class ChainError(ValueError):
    """Nodes that make no recipe; the message says which and what to do."""


def steps_of(
    nodes: Iterable[Placed], last: str, declared: Sequence[Mapping[str, Any]], usual: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The steps of a recipe that ends with the node ``last``: what feeds it, each after its own inputs.

    A port that nothing feeds is given what every recipe has: a plate, the roto, the identity, and for a face the
    smoothed track if the chain has one. What is measured and solved for a node, such as its color move, is measured
    on the layer that feeds it, by the steps of the usual chain, unless the artist placed one node that does it.

    Args:
        nodes: Nodes of the script; those that do not feed ``last`` are left out.
        last: Name of the node whose layer is rendered.
        declared: ``nodes`` as ``describe`` answers, or of ``nodes.json``.
        usual: ``chain`` as ``describe`` answers.

    Raises:
        ChainError: A node is unknown, feeds itself, or a port needs something that nothing gives.
    """
    placed: dict[str, Placed] = {}
    for node in nodes:
        if node.name in placed or node.name in GIVEN:
            raise ChainError(f"Two nodes are called {node.name!r}: rename one.")
        placed[node.name] = node
    if last not in placed:
        raise ChainError(f"There is no node {last!r} to render.")
    wired = _Wiring({entry["id"]: entry for entry in declared}, usual, placed)
    order: list[str] = []
    entered: list[str] = []

    def enter(name: str) -> None:
        if name in GIVEN or name in order:
            return
        if name in entered:
            raise ChainError(f"{name} feeds itself: {' -> '.join([*entered, name])}.")
        entered.append(name)
        for source in wired.ports(name).values():
            enter(source)
        entered.pop()
        order.append(name)

    enter(last)
    return [
        {
            "name": name,
            "node": wired.placed[name].node,
            "inputs": wired.ports(name),
            "settings": dict(wired.placed[name].settings),
        }
        for name in order
    ]


class _Wiring:
    """What feeds each port of the nodes that were placed, and of those that are added to feed them."""

    def __init__(
        self,
        kinds: Mapping[str, Mapping[str, Any]],
        usual: Sequence[Mapping[str, Any]],
        placed: Mapping[str, Placed],
    ) -> None:
        self.placed = dict(placed)
        self._kinds = kinds
        self._usual = {step["name"]: step for step in usual}
        self._of_kind = {step["node"]: step for step in reversed(usual)}
        self._made = set(placed)
        self._known: dict[str, dict[str, str]] = {}
        smooth = next((node.name for node in placed.values() if node.node == "smooth_track"), "track")
        self._given = {
            "Plate": "plate", "Footage": "plate", "FaceTrack": "track", "Face": smooth, "Identity": "identity",
            "Roto": "roto",
        }  # fmt: skip

    def ports(self, name: str) -> dict[str, str]:
        """Port to the name of what feeds it, of a placed node."""
        if name not in self._known:
            self._known[name] = self._fed(self.placed[name])
        return self._known[name]

    def _fed(self, node: Placed) -> dict[str, str]:
        if node.node not in self._kinds:
            raise ChainError(f"{node.name}: there is no node {node.node!r}. Update mien, or remove it.")
        kinds = {port["name"]: port["type"] for port in self._kinds[node.node]["inputs"]}
        strange = sorted(set(node.inputs) - set(kinds))
        if strange:
            raise ChainError(f"{node.name} has no input {strange[0]!r}: it has {', '.join(kinds)}.")
        fed: dict[str, str] = {}
        for port, kind in kinds.items():
            bare = kind[kind.index("[") + 1 : -1] if kind.startswith(("Series[", "Window[")) else kind
            source = node.inputs.get(port) or self._given.get(bare)
            if source is None and bare != "Layer" and self._layer(node, kinds) is not None:
                source = self._solved(node, port, kinds)
            if source is None or (source not in self.placed and source not in GIVEN):
                raise ChainError(f"{node.name}: connect its input {port!r}; it takes a {bare}.")
            fed[port] = source
        return fed

    def _layer(self, node: Placed, kinds: Mapping[str, str]) -> str | None:
        """What feeds the first layer port of a node."""
        for port, kind in kinds.items():
            if "Layer" in kind and node.inputs.get(port):
                return node.inputs[port]
        return None

    def _solved(self, node: Placed, port: str, kinds: Mapping[str, str]) -> str | None:
        """The step that gives what a port takes in the usual chain: the artist's, if there is one, or an added one."""
        like = self._of_kind.get(node.node)
        step = self._usual.get(like["inputs"].get(port, "")) if like else None
        layer = self._layer(node, kinds)
        return None if step is None or layer is None else self._added(step, layer)

    def _added(self, step: Mapping[str, Any], layer: str) -> str:
        own = [name for name in self._made if self.placed[name].node == step["node"]]
        if len(own) == 1:
            return own[0]
        name = f"{layer}_{step['name']}"
        if name not in self.placed:
            kinds = {port["name"]: port["type"] for port in self._kinds[step["node"]]["inputs"]}
            inputs = {}
            for port, source in step["inputs"].items():
                if "Layer" in kinds[port]:
                    inputs[port] = layer
                elif source in self._usual and "Face" not in kinds[port]:
                    inputs[port] = self._added(self._usual[source], layer)
            self.placed[name] = Placed(name, step["node"], inputs)
        return name


def keys_of(samples: Mapping[int, Any]) -> Any:
    """A setting from its value in every frame: the value where it never changes, else as few keys as tell all.

    Numbers go linearly from key to key; everything else holds until the next.
    """
    frames = sorted(samples)
    if not frames:
        raise ChainError("A setting was sampled in no frame.")
    if all(samples[frame] == samples[frames[0]] for frame in frames):
        return samples[frames[0]]
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in samples.values())
    kept = [frames[0]]
    for place in range(1, len(frames) - 1):
        before, frame, after = kept[-1], frames[place], frames[place + 1]
        if numbers:
            kept += [] if _all_on_line(samples, [f for f in frames if before <= f <= after]) else [frame]
        elif samples[frame] != samples[before]:
            kept.append(frame)
    if numbers or samples[frames[-1]] != samples[kept[-1]]:
        kept.append(frames[-1])
    return [[frame, samples[frame]] for frame in kept]


def _all_on_line(samples: Mapping[int, Any], frames: Sequence[int]) -> bool:
    """Whether the values between the first and the last of some frames lie on the line between these."""
    first, last = frames[0], frames[-1]
    rise = (samples[last] - samples[first]) / (last - first)
    size = max(abs(samples[first]), abs(samples[last]), 1.0)
    return all(abs(samples[first] + rise * (f - first) - samples[f]) <= NEARLY * size for f in frames[1:-1])


def document(
    *,
    plate: str,
    first: int,
    last: int,
    steps: Sequence[Mapping[str, Any]],
    track: str,
    identity: str,
    folder: str,
    name: str,
    face: str | None = None,
    colorspace: str | None = None,
    part: str | None = None,
    ocio: str | None = None,
    **output: Any,
) -> dict[str, Any]:
    """A recipe as its JSON document; ``output`` are further fields of the recipe's output, as ``write``."""
    return {
        "mien_recipe": VERSION,
        "plate": {"path": plate, "first": first, "last": last, "colorspace": colorspace, "part": part},
        "ocio": ocio,
        "track": track,
        "face": face,
        "identity": identity,
        "steps": [dict(step) for step in steps],
        "output": {"folder": folder, "name": name, **output},
    }


def changed(steps: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Steps with settings laid over theirs, by ``STEP.PARAM``.

    Raises:
        ChainError: There is no such step.
    """
    found = [{**step, "settings": dict(step.get("settings", {}))} for step in steps]
    by_name = {step["name"]: step for step in found}
    for path, value in settings.items():
        step, _, param = path.partition(".")
        if step not in by_name or not param:
            raise ChainError(f"Cannot set {path!r}: the chain has no such step.")
        by_name[step]["settings"][param] = value
    return found


def write(path: str, recipe: Mapping[str, Any]) -> None:
    """Write a recipe file, whole or not at all; the same recipe gives the same bytes.

    Raises:
        OSError: It cannot be written.
    """
    file = Path(path).absolute()
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".recipe.", suffix=".partial", dir=file.parent)
    partial = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            json.dump(recipe, stream, indent=1, ensure_ascii=False)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(file)
    except BaseException:
        partial.unlink()
        raise
