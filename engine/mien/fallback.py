"""What to do when a graphics card's memory is full: give up what is only kept, draw in parts, use the processor."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from mien.chain import Call, call_node, spread
from mien.ops.region import cropped
from mien.progress import Note, Tell
from mien.recipe import Step
from mien.types import Identity, Layer, MienError, Plate

PARTS = (2, 4, 8)
"""Bands, or tiles along a side, into which a picture is cut, fewest first."""
Attempt = tuple[str, Callable[[], Any]]


def careful(
    tell: Tell,
    release: Callable[[], None],
    call: Call = call_node,
    on_processor: Callable[[], Identity | None] = lambda: None,
) -> Call:
    """A way to compute steps that survives a full graphics card.

    A step that does not fit is tried again after ``release`` gave memory back. An identity of which any part can be
    drawn alone then draws ever smaller bands, one that works in tiles takes ever fewer at once and then ever smaller
    ones. What still does not fit is computed by the processor.

    Args:
        tell: Hears how a step was computed in the end.
        release: Gives back memory that is not needed now.
        call: How a step is computed otherwise.
        on_processor: Opens the identity of a step on the processor.
    """

    def compute(step: Step, inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
        try:
            return call(step, inputs, settings)
        except torch.OutOfMemoryError:
            pass
        # Outside of the handler, whose traceback would hold on to what the failed attempt had allocated.
        for how, attempt in _attempts(call, step, inputs, settings, on_processor):
            release()
            try:
                value = attempt()
            except torch.OutOfMemoryError:
                continue
            tell(Note(f"The graphics card's memory is full: {step.name} was computed {how}.", "warning"))
            return value
        raise MienError(f"There is not memory enough for {step.name}. Choose a smaller proxy scale or another device.")

    return compute


def _attempts(
    call: Call,
    step: Step,
    inputs: Mapping[str, Any],
    settings: Mapping[str, Any],
    on_processor: Callable[[], Identity | None],
) -> Iterator[Attempt]:
    yield "after other pictures were given up", lambda: call(step, inputs, settings)
    plate = next((port for port, value in inputs.items() if isinstance(value, Plate)), None)
    port = next((port for port, value in inputs.items() if is_identity(value)), None)
    identity: Any = None if port is None else inputs[port]
    batch = getattr(identity, "batch", 1)
    while port is not None and batch > 1:
        batch //= 2
        identity = replace(identity, batch=batch)
        how = f"in batches of {batch}" if batch > 1 else "tile by tile"
        yield how, _with(call, step, inputs, settings, port, identity)
    for count in PARTS:
        if plate is not None and getattr(identity, "by_parts", False):
            yield f"in {count} bands", _bands(call, step, inputs, settings, plate, count)
        elif port is not None and getattr(identity, "tile", 0) >= 64 * count:
            smaller = replace(identity, tile=identity.tile // count)
            yield f"in tiles of {smaller.tile} pixels", _with(call, step, inputs, settings, port, smaller)
    yield "on the processor", lambda: _on_processor(call, step, inputs, settings, port, on_processor)


def is_identity(value: Any) -> bool:
    """Whether an input of a step is an identity."""
    return callable(value) and hasattr(value, "digest")


def _with(
    call: Call, step: Step, inputs: Mapping[str, Any], settings: Mapping[str, Any], port: str, value: Any
) -> Callable[[], Any]:
    return lambda: call(step, {**inputs, port: value}, settings)


def _bands(
    call: Call, step: Step, inputs: Mapping[str, Any], settings: Mapping[str, Any], port: str, count: int
) -> Callable[[], Layer]:
    def compute() -> Layer:
        plate: Plate = inputs[port]
        (x, y), (height, width) = plate.corner, plate.image.shape[-2:]
        edges = [round(height * k / count) for k in range(count + 1)]
        whole: Layer | None = None
        for top, bottom in pairwise(edges):
            band = cropped(plate, (x, y + top, x + width, y + bottom))
            layer: Layer = call(step, {**inputs, port: band}, settings)
            whole = spread(layer, plate) if whole is None else _joined(whole, layer)
        assert whole is not None
        return whole

    return compute


def _joined(whole: Layer, band: Layer) -> Layer:
    """A layer with a band of rows laid in."""
    top = band.corner[1] - whole.corner[1]
    rows = slice(top, top + band.image.shape[-2])
    whole.image[..., rows, :] = band.image
    whole.matte[..., rows, :] = band.matte
    for name, matte in band.mattes.items():
        if whole.mattes[name] is not whole.matte:
            whole.mattes[name][..., rows, :] = matte
    return whole


def _on_processor(
    call: Call,
    step: Step,
    inputs: Mapping[str, Any],
    settings: Mapping[str, Any],
    port: str | None,
    identity: Callable[[], Identity | None],
) -> Any:
    pictures = (value.image for value in inputs.values() if isinstance(value, Plate | Layer))
    device = next((picture.device for picture in pictures), torch.device("cpu"))
    there = {name: _moved(value, torch.device("cpu")) for name, value in inputs.items() if name != port}
    if port is not None:
        there[port] = identity() or inputs[port]
    return _moved(call(step, there, settings), device)


def _moved(value: Any, device: torch.device) -> Any:
    """A value with all its tensors on a device; those that are there already are shared."""
    if isinstance(value, Tensor):
        return value.to(device)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{entry.name: _moved(getattr(value, entry.name), device) for entry in fields(value)})
    if isinstance(value, Mapping):
        return {name: _moved(one, device) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_moved(one, device) for one in value)
    return value
