"""Frames whose faces a network draws at once."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import torch

from mien.chain import Call, Chain, call_node, declaration, evaluate, radius, upstream
from mien.recipe import Step
from mien.types import Face, Identity, Layer, Plate


@runtime_checkable
class Together(Protocol):
    """An identity that draws frames of different seats, ``frame % batch``, at once, each to the bits it has alone."""

    @property
    def batch(self) -> int:
        """Seats."""
        ...

    def seated(self, batch: int) -> Identity:
        """The identity with another number of seats."""
        ...

    def together(self, shown: Sequence[tuple[Plate, Face]]) -> list[Layer]:
        """Draw the identity in several frames."""
        ...


class _Asked(Exception):
    """An identity was asked to draw."""

    def __init__(self, plate: Plate, face: Face) -> None:
        self.shown = (plate, face)


def in_seats(identity: Identity | None) -> bool:
    """Whether an identity draws several frames at once."""
    return isinstance(identity, Together) and identity.batch > 1


def bench(frame: int, batch: int) -> range:
    """The frames that are drawn at once with a frame, itself among them."""
    first = frame - frame % batch
    return range(first, first + batch)


def lasts(frames: Sequence[int], batch: int) -> frozenset[int]:
    """Those of a list of frames after which no later one of the same bench comes."""
    within = ((one, one < other < bench(one, batch).stop) for one, other in pairwise(frames))
    return frozenset([*(one for one, goes_on in within if not goes_on), *frames[-1:]])


def drawn_together(
    asked: Mapping[int, tuple[Chain, Plate]], call_at: Callable[[int], Call] = lambda frame: call_node
) -> dict[int, Mapping[str, Any]]:
    """Values of the step that runs the identity and of those before it; its network draws all frames at once.

    They are what ``evaluate`` gives of each frame alone, and neighbors are told of them. A frame is left out where
    there is no face or where its value is known; all are where the identity draws frames one by one, or where a
    graphics card cannot hold them at once.

    Args:
        asked: Each frame's chain and region of the plate; no two frames in one seat.
        call_at: How steps are computed in a frame.
    """
    shown: dict[int, tuple[Plate, Face]] = {}
    runs = ""
    for frame, (chain, plate) in asked.items():
        step = next((step for step in chain.recipe.steps if _port(step)), None)
        if step is None or not in_seats(chain.identity_at(frame)):
            return {}
        if any(radius(before, frame) for before in upstream(chain, step.name)):
            return {}
        runs = step.name
        if step.name not in chain.neighbors.known(chain, frame):
            try:
                evaluate(chain, frame, plate, step.name, call=_with(call_at(frame), _ask))
            except _Asked as request:
                shown[frame] = request.shown
    if len(shown) < 2:
        return {}
    identity: Any = asked[next(iter(shown))][0].identity_at(next(iter(shown)))
    try:
        layers = identity.together(list(shown.values()))
    except torch.OutOfMemoryError:
        return {}
    found: dict[int, Mapping[str, Any]] = {}
    for frame, layer in zip(shown, layers, strict=True):
        chain, plate = asked[frame]
        values = evaluate(chain, frame, plate, runs, call=_with(call_at(frame), _given(layer)))
        assert values is not None
        chain.neighbors.keep(chain, frame, values)
        found[frame] = values
    return found


def _port(step: Step) -> str | None:
    """The input of a step that takes an identity."""
    return next((port.name for port in declaration(step.node).inputs if port.type == "Identity"), None)


def _with(call: Call, draw: Callable[[Plate, Face], Layer]) -> Call:
    """A way to compute steps whose identity is drawn by ``draw``."""

    def compute(step: Step, inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
        port = _port(step)
        return call(step, inputs if port is None else {**inputs, port: draw}, settings)

    return compute


def _ask(plate: Plate, face: Face) -> Layer:
    raise _Asked(plate, face)


def _given(layer: Layer) -> Callable[[Plate, Face], Layer]:
    return lambda plate, face: layer


def in_batches(identity_at: Callable[[int], Identity | None], batch: int) -> Callable[[int], Identity | None]:
    """Identities that are drawn in ``batch`` frames at once, where they can be."""
    if batch == 1:
        return identity_at

    def seated(frame: int) -> Identity | None:
        identity = identity_at(frame)
        return identity.seated(batch) if isinstance(identity, Together) else identity

    return seated
