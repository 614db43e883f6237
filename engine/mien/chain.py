"""Evaluating a recipe's steps: what is solved once per shot, and one frame as a pure function.

A node whose input speaks of the whole shot is solved before any frame is rendered. A value that steps give
frame by frame and that such a node wants for the whole shot is gathered first, over every frame of the shot
whatever range is rendered, so that a frame never depends on which others are rendered with it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import torch

from mien.declare import Node, declare
from mien.nodes import NODES
from mien.recipe import Recipe, Step, at_frame
from mien.tracking import face_at
from mien.types import Face, FaceTrack, Identity, Plate, Series

FUNCTIONS = {function.__name__: function for function in NODES}
SAMPLE_MARGIN = 0.3
"""Face widths around the points that every layer covers, before any step asks for more."""


@dataclass(frozen=True)
class Chain:
    """A recipe with what its steps draw on.

    Attributes:
        recipe: Checked recipe.
        track: The chosen person's track, as read.
        identity_at: The identity to put on in a frame.
        solved: Values of steps that hold for the whole shot.
        scale: Size of the pictures over the plate's; below 1 for a proxy.
    """

    recipe: Recipe
    track: FaceTrack
    identity_at: Callable[[int], Identity | None]
    solved: Mapping[str, Any] = field(default_factory=dict)
    scale: float = 1.0


@cache
def declaration(node: str) -> Node:
    """The declaration of a node, by its id."""
    return declare(FUNCTIONS[node])


def face_source(recipe: Recipe) -> str:
    """The step (or ``track``) whose track the picture steps follow: the last one that gives a track."""
    tracks = [step.name for step in recipe.steps if declaration(step.node).output == "FaceTrack"]
    return tracks[-1] if tracks else "track"


def shot_track(chain: Chain) -> FaceTrack:
    """The track that picture steps follow."""
    track: FaceTrack = chain.solved.get(face_source(chain.recipe), chain.track)
    return track


def face_in(chain: Chain, frame: int) -> Face | None:
    """The face that picture steps see in a frame; None where there is none."""
    return scaled(face_at(shot_track(chain), frame), chain.scale)


def scaled(face: Face | None, scale: float) -> Face | None:
    """A face as it lies in a plate of another size."""
    if face is None or scale == 1:
        return face
    return replace(face, points=face.points * scale, width=face.width * scale)


def region(chain: Chain, frame: int, face: Face) -> tuple[int, int, int, int]:
    """Plate pixels x0, y0, x1, y1 that a frame needs: the face and as far as its settings reach.

    No setting in face widths reaches farther than its value, so their sum bounds the layer.
    """
    reach = SAMPLE_MARGIN
    for step in chain.recipe.steps:
        settings = at_frame(step.settings, frame)
        for param in declaration(step.node).params:
            if param.slider is not None and param.slider.unit == "face":
                reach += abs(float(settings[param.name]))
    margin = reach * face.width
    points = face.points[:, :2]
    points = points[torch.isfinite(points).all(-1)]
    low = (points.amin(0) - margin).floor().int().tolist()
    high = (points.amax(0) + margin).ceil().int().tolist()
    return low[0], low[1], high[0], high[1]


def evaluate(chain: Chain, frame: int, plate: Plate, target: str) -> dict[str, Any] | None:
    """The values of step ``target`` and of those before it in one frame: a pure function of its arguments.

    Returns None where there is no face, or where a solved value has nothing for this frame.
    """
    values: dict[str, Any] = {"plate": plate, "track": chain.track, "identity": chain.identity_at(frame)}
    values.update(chain.solved)
    for step in chain.recipe.upstream(target):
        if step.name in chain.solved:
            continue
        inputs = {}
        for port in declaration(step.node).inputs:
            value = values[step.inputs[port.name]]
            if isinstance(value, Series):
                value = value.at(frame)
            elif isinstance(value, FaceTrack) and not port.series:
                value = scaled(face_at(value, frame), chain.scale)
            if value is None:
                return None
            inputs[port.name] = value
        values[step.name] = FUNCTIONS[step.node](**inputs, **at_frame(step.settings, frame))
    return values


def solves(chain: Chain) -> Iterator[tuple[Step, tuple[str, ...]]]:
    """Steps still to be solved for the shot, in order, each with the steps to gather for it first."""
    kinds = {step.name: declaration(step.node) for step in chain.recipe.steps}
    for step in chain.recipe.steps:
        node = kinds[step.name]
        if not node.series or step.name in chain.solved:
            continue
        wanted = [step.inputs[port.name] for port in node.inputs if port.series]
        gather = tuple(name for name in wanted if name in kinds and not kinds[name].series and name not in chain.solved)
        yield step, gather


def solve(chain: Chain, step: Step) -> Chain:
    """The chain with one whole-shot step solved; whatever it takes in must be known for the whole shot."""
    values: dict[str, Any] = {"track": chain.track, **chain.solved}
    inputs = {port: values[source] for port, source in step.inputs.items()}
    result = FUNCTIONS[step.node](**inputs, **step.settings)
    return with_solved(chain, step.name, result)


def with_solved(chain: Chain, name: str, value: Any) -> Chain:
    """The chain with a value known for the whole shot."""
    return replace(chain, solved={**chain.solved, name: value})
