"""Evaluating a recipe's steps: what is solved once per shot, and one frame as a pure function.

A node whose input speaks of the whole shot is solved before any frame is rendered. A value that steps give
frame by frame and that such a node wants for the whole shot is gathered first, over every frame of the shot
whatever range is rendered, so that a frame never depends on which others are rendered with it.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache, partial
from types import MappingProxyType
from typing import Any, Protocol

import torch

from mien.declare import Node, declare
from mien.nodes import NODES
from mien.nodes.detail import SURROUNDINGS
from mien.ops.region import Box, around, cropped, shared, surrounded
from mien.recipe import Recipe, Step, at_frame
from mien.tracking import face_at
from mien.types import Face, FaceTrack, Identity, Layer, Matte, Plate, Series, Window

FUNCTIONS = {function.__name__: function for function in NODES}
MARGIN = 0.3
"""Face widths around the points that an identity sees and draws, whatever the other steps ask for."""
SHOWN = 0.2
"""Face widths around the points in which identities draw, unless they say that they look at more."""
HOSTS = 0.25
"""Face widths by which artists grow mattes in their hosts."""
REACH_STEP = 0.1
"""Face widths in which the region grows with what settings reach, so that most changes leave it as it is."""
FARTHEST = 1000.0
"""Face widths that no setting reaches beyond: larger than any plate."""
Call = Callable[[Step, Mapping[str, Any], Mapping[str, Any]], Any]
"""How a step is computed from its inputs and its settings at the frame."""
NOTHING: Mapping[str, Any] = MappingProxyType({})
RotoAt = Callable[[int, float, str, str, tuple[int, int], tuple[int, int]], Matte]
"""Reads a matte from disk: frame, scale of the pictures, file, channel, corner and size of a region."""


class Neighbors(Protocol):
    """Values in other frames than the one at hand, each a pure function of its frame."""

    def value(self, chain: "Chain", frame: int, name: str) -> Any:
        """The value of a step, or of the plate, in a frame; None where it has none."""
        ...

    def known(self, chain: "Chain", frame: int) -> Mapping[str, Any]:
        """Values of steps in a frame that need not be computed again."""
        ...

    def keep(self, chain: "Chain", frame: int, values: Mapping[str, Any]) -> None:
        """Take note of values that were computed in a frame."""
        ...


class Alone:
    """A frame without neighbors."""

    def value(self, chain: "Chain", frame: int, name: str) -> Any:
        """None."""
        return None

    def known(self, chain: "Chain", frame: int) -> Mapping[str, Any]:
        """Nothing."""
        return NOTHING

    def keep(self, chain: "Chain", frame: int, values: Mapping[str, Any]) -> None:
        """Nothing is kept."""


def no_roto(frame: int, scale: float, file: str, channel: str, corner: tuple[int, int], size: tuple[int, int]) -> Matte:
    """Every matte on disk is empty: for runs that only ask what a chain gives."""
    return torch.zeros(1, *size)


@dataclass(frozen=True)
class Chain:
    """A recipe with what its steps draw on.

    Attributes:
        recipe: Checked recipe.
        track: The chosen person's track, as read.
        identity_at: The identity to put on in a frame.
        solved: Values of steps that hold for the whole shot.
        scale: Size of the pictures over the plate's; below 1 for a proxy.
        neighbors: What steps that look at neighboring frames see there.
        roto_at: Reads mattes from disk.
    """

    recipe: Recipe
    track: FaceTrack
    identity_at: Callable[[int], Identity | None]
    solved: Mapping[str, Any] = field(default_factory=dict)
    scale: float = 1.0
    neighbors: Neighbors = field(default_factory=Alone)
    roto_at: RotoAt = no_roto


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
    return scaled(tracked(shot_track(chain), frame), chain.scale)


@lru_cache(maxsize=64)
def tracked(track: FaceTrack, frame: int) -> Face | None:
    """The face of a track in one frame, found once for all steps that ask for it."""
    return face_at(track, frame)


def scaled(face: Face | None, scale: float) -> Face | None:
    """A face as it lies in a plate of another size."""
    if face is None or scale == 1:
        return face
    velocity = None if face.velocity is None else face.velocity * scale
    return replace(face, points=face.points * scale, width=face.width * scale, velocity=velocity)


def settings_at(chain: Chain, step: Step, frame: int) -> dict[str, Any]:
    """A step's settings in one frame; those in pixels of the plate are brought to the pictures' scale."""
    settings = at_frame(step.settings, frame)
    if chain.scale != 1:
        for param in declaration(step.node).params:
            if param.slider is not None and param.slider.unit == "px":
                settings[param.name] = type(param.default)(settings[param.name] * chain.scale)
    return settings


def region(chain: Chain, frame: int, face: Face) -> Box:
    """Pixels x0, y0, x1, y1 that a frame needs: the face and as far as its settings reach.

    No setting in face widths reaches farther than its value, so their sum bounds how far the layer goes beyond what the
    identity shows; those that say so reach nowhere. For hosts there is room to grow a matte.
    """
    reach = 0.0
    for step in chain.recipe.steps:
        settings = at_frame(step.settings, frame)
        for param in declaration(step.node).params:
            if param.slider is not None and param.slider.unit == "face" and not param.slider.inward:
                reach += abs(float(settings[param.name]))
    reach = math.ceil(min(reach, FARTHEST) / REACH_STEP - 1e-6) * REACH_STEP
    seen = float(getattr(chain.identity_at(frame), "margin", SHOWN))
    share, pixels = SURROUNDINGS
    hosts = HOSTS if "host" in chain.recipe.output.write else 0.0
    least = max(share, pixels * chain.scale / max(face.width, 1.0))
    return around(face, max(margin(chain, frame), reach + max(seen, hosts), least))


def margin(chain: Chain, frame: int) -> float:
    """Face widths around the points that the identity sees: some look at more than others, or at less, and say so."""
    return float(getattr(chain.identity_at(frame), "margin", MARGIN))


def evaluate(
    chain: Chain, frame: int, plate: Plate, target: str, known: Mapping[str, Any] = NOTHING, call: Call | None = None
) -> dict[str, Any] | None:
    """The values of step ``target`` and of those it depends on in one frame: a pure function of its arguments.

    Args:
        chain: Steps and what they draw on.
        frame: Number of the frame.
        plate: The region of the plate.
        target: Last step that is wanted.
        known: Values of steps in this frame that need not be computed again, nor what they depend on.
        call: How a step is computed; by default its node is called.

    Returns None where there is no face, or where a solved value has nothing for this frame.
    """
    call = call or call_node
    values: dict[str, Any] = {
        "plate": plate,
        "track": chain.track,
        "identity": chain.identity_at(frame),
        "roto": partial(chain.roto_at, frame, chain.scale),
    }
    values.update(chain.solved)
    seen = any(radius(step, frame) for step in upstream(chain, target, known))
    if seen:
        known = {**chain.neighbors.known(chain, frame), **known}
    values.update(known)
    for step in upstream(chain, target, known):
        node = declaration(step.node)
        inputs = {}
        for port in node.inputs:
            value = values[step.inputs[port.name]]
            if isinstance(value, Series):
                value = value.at(frame)
            elif isinstance(value, FaceTrack) and not port.series:
                value = scaled(tracked(value, frame), chain.scale)
            if value is None:
                return None
            if port.type.startswith("Window["):
                value = _around(chain, frame, step, step.inputs[port.name], value)
            inputs[port.name] = value
        if any(port.type == "Identity" for port in node.inputs):
            values[step.name] = _converted(chain, frame, plate, step, inputs, call)
        else:
            values[step.name] = call(step, inputs, settings_at(chain, step, frame))
    if seen:
        chain.neighbors.keep(chain, frame, values)
    return values


def radius(step: Step, frame: int) -> int:
    """How many frames before and after its own a step looks at: what its setting in frames says."""
    node = declaration(step.node)
    if not any(port.type.startswith("Window[") for port in node.inputs):
        return 0
    in_frames = [p.name for p in node.params if p.kind == "int" and p.slider is not None and p.slider.unit == "frames"]
    return int(at_frame(step.settings, frame)[in_frames[0]])


def _around(chain: Chain, frame: int, step: Step, source: str, value: Any) -> Window[Any]:
    reach = radius(step, frame)
    there = [k and chain.neighbors.value(chain, frame + k, source) for k in range(-reach, reach + 1)]
    there[reach] = value
    return Window(tuple(there))


def call_node(step: Step, inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    """What a step's node makes of its inputs."""
    return FUNCTIONS[step.node](**inputs, **settings)


def upstream(chain: Chain, target: str, known: Mapping[str, Any] = NOTHING) -> tuple[Step, ...]:
    """The steps to compute for ``target`` in running order, where some values are known already."""
    given = {*chain.solved, *known}
    needed = {target} - given
    for step in reversed(chain.recipe.steps):
        if step.name in needed:
            needed.update(name for name in step.inputs.values() if name not in given)
    return tuple(step for step in chain.recipe.steps if step.name in needed)


def _converted(chain: Chain, frame: int, plate: Plate, step: Step, inputs: Mapping[str, Any], call: Call) -> Any:
    """A step that runs an identity, on the surroundings of the face alone, laid out on the whole region.

    So what it draws does not depend on how far other steps reach, and is kept while those are changed.
    """
    face = face_in(chain, frame)
    assert face is not None
    near = cropped(plate, around(face, margin(chain, frame)))
    given = {name: near if value is plate else value for name, value in inputs.items()}
    value = call(step, given, settings_at(chain, step, frame))
    return spread(value, plate) if isinstance(value, Layer) else value


def spread(layer: Layer, plate: Plate) -> Layer:
    """A layer on the whole region of a plate: beyond what it covered the plate shows and mattes are 0."""
    size = plate.image.shape[-2:]
    if layer.corner == plate.corner and layer.image.shape[-2:] == size:
        return layer
    here, there = shared((layer.corner, layer.image.shape), (plate.corner, plate.image.shape))
    image = surrounded(layer.image[..., here[0], here[1]], plate.image, *there)

    def widened(matte: torch.Tensor) -> torch.Tensor:
        wide = matte.new_zeros(*matte.shape[:-2], *size)
        wide[..., there[0], there[1]] = matte[..., here[0], here[1]]
        return wide

    mattes = {name: widened(matte) for name, matte in layer.mattes.items()}
    own = next((mattes[name] for name, matte in layer.mattes.items() if matte is layer.matte), None)
    matte = widened(layer.matte) if own is None else own
    return replace(layer, image=image, matte=matte, corner=plate.corner, mattes=mattes)


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
