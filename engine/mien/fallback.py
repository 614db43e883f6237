"""What to do when a graphics card's memory is full: smaller batches, then tiles, then the processor."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor

from mien.chain import Call, call_node, cropped, spread
from mien.progress import Note, Tell
from mien.recipe import Step
from mien.types import Identity, Layer, MienError, Plate

Item = TypeVar("Item")
Made = TypeVar("Made")
TILES = (2, 4, 8)
"""Bands into which a region is cut, fewest first."""


def halving(
    work: Callable[[Sequence[Item]], Sequence[Made]], items: Sequence[Item], release: Callable[[], None]
) -> list[Made]:
    """``work`` on all items at once, or on ever smaller batches of them where memory does not suffice.

    Raises:
        torch.OutOfMemoryError: One item alone is too large.
    """
    made: list[Made] = []
    size = len(items)
    while len(made) < len(items):
        try:
            made.extend(work(items[len(made) : len(made) + size]))
        except torch.OutOfMemoryError:
            if size <= 1:
                raise
            size = (size + 1) // 2
            release()
    return made


def careful(tell: Tell, release: Callable[[], None], call: Call = call_node) -> Call:
    """A way to compute steps that survives a full graphics card.

    A step that does not fit is tried again after ``release`` gave memory back. One that runs an identity is
    then computed in ever smaller bands, as any part of a region can be drawn alone. What still does not fit is
    computed by the processor.
    """

    def compute(step: Step, inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
        try:
            return call(step, inputs, settings)
        except torch.OutOfMemoryError:
            pass
        # Outside of the handler, whose traceback would hold on to what the failed attempt had allocated.
        release()
        attempts: list[tuple[str, Callable[[], Any]]] = [
            ("after other pictures were given up", lambda: call(step, inputs, settings))
        ]
        name = next((port for port, value in inputs.items() if isinstance(value, Plate)), None)
        if name is not None and any(_is_identity(value) for value in inputs.values()):
            for count in TILES:
                attempts.append((f"in {count} bands", _bands(call, step, inputs, settings, name, count)))
        attempts.append(("on the processor", lambda: _on_processor(call, step, inputs, settings)))
        for how, attempt in attempts:
            try:
                value = attempt()
            except torch.OutOfMemoryError:
                release()
                continue
            tell(Note(f"The graphics card's memory is full: {step.name} was computed {how}.", "warning"))
            return value
        raise MienError(f"There is not memory enough for {step.name}. Choose a smaller proxy scale or another device.")

    return compute


def _is_identity(value: Any) -> bool:
    return callable(value) and hasattr(value, "digest")


def _bands(
    call: Call, step: Step, inputs: Mapping[str, Any], settings: Mapping[str, Any], name: str, count: int
) -> Callable[[], Layer]:
    def compute() -> Layer:
        plate: Plate = inputs[name]
        (x, y), (height, width) = plate.corner, plate.image.shape[-2:]
        edges = [round(height * k / count) for k in range(count + 1)]
        whole: Layer | None = None
        for top, bottom in pairwise(edges):
            band = cropped(plate, (x, y + top, x + width, y + bottom))
            layer: Layer = call(step, {**inputs, name: band}, settings)
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


def _on_processor(call: Call, step: Step, inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    device = next((tensor.device for value in inputs.values() for tensor in _pictures(value)), torch.device("cpu"))
    there = {name: moved(value, torch.device("cpu")) for name, value in inputs.items()}
    return moved(call(step, there, settings), device)


def _pictures(value: Any) -> tuple[Tensor, ...]:
    return (value.image,) if isinstance(value, Plate | Layer) else ()


def moved(value: Any, device: torch.device) -> Any:
    """A value with all its tensors on a device; those that are there already are shared.

    Raises:
        MienError: It holds tensors in a way that is not known here.
    """
    if isinstance(value, Tensor):
        return value.to(device)
    if is_dataclass(value) and not isinstance(value, type):
        changed = {entry.name: moved(getattr(value, entry.name), device) for entry in fields(value) if entry.init}
        return replace(value, **changed)
    if isinstance(value, Mapping):
        return {name: moved(one, device) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(moved(one, device) for one in value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if callable(getattr(value, "moved", None)):
        return value.moved(device)
    raise MienError(f"{type(value).__name__} does not fit into the graphics card's memory and cannot leave it.")


def identity_of(inputs: Mapping[str, Any]) -> Identity | None:
    """The identity among a step's inputs."""
    return next((value for value in inputs.values() if _is_identity(value)), None)
