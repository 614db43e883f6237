"""What steps that look at neighboring frames see there, each frame computed once and kept for a while."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from mien.chain import Alone, Chain, declaration, evaluate, radius
from mien.job import Job, step_keys
from mien.recipe import Step
from mien.together import bench, drawn_together
from mien.types import MienError, Plate

Record = dict[str, tuple[str, Any]]
"""Values of steps in one frame, each with the key of what it was made from."""


@dataclass
class Nearby:
    """A bounded memory of the frames around the last ones asked for.

    A value is taken from it only under the key of everything it depends on, so that what a frame gives
    depends neither on the memory nor on the order of frames.

    Attributes:
        job: The job whose frames these are.
        plate_at: Reads the region of a frame in the working space, at the chain's scale.
        most: Frames that are kept.
    """

    job: Job
    plate_at: Callable[[Job, int], Plate | None]
    most: int
    plates: OrderedDict[tuple[int, float], Plate | None] = field(default_factory=OrderedDict)
    records: OrderedDict[tuple[int, float], Record] = field(default_factory=OrderedDict)

    def value(self, chain: Chain, frame: int, name: str) -> Any:
        """The value of a step, or of the plate, in a frame; None where there is no face, or no such frame."""
        if frame not in self.job.shot.frames:
            return None
        plate = self._plate(chain, frame)
        if name == "plate" or plate is None:
            return plate
        known = self.known(chain, frame)
        if name in known:
            return known[name]
        if drawn_together(self._asked(chain, bench(frame, chain.recipe.batch))):
            known = self.known(chain, frame)
        values = evaluate(chain, frame, plate, name, known)
        if values is None:
            return None
        self.keep(chain, frame, values)
        return values[name]

    def known(self, chain: Chain, frame: int) -> Mapping[str, Any]:
        """Values of steps in a frame that were computed before, from what they would be computed from now."""
        record = self.records.get((frame, chain.scale), {})
        keys: dict[str, str] = {}
        for name in reversed(record):
            if name not in keys:
                keys.update(step_keys(self._job(chain), frame, name))
        return {name: value for name, (key, value) in record.items() if keys[name] == key}

    def keep(self, chain: Chain, frame: int, values: Mapping[str, Any]) -> None:
        """Remember what neighbors of the frame may ask for."""
        names = [name for name in values if name in looked_at(chain)]
        if not names:
            return
        keys = step_keys(self._job(chain), frame, names[-1])
        record: Record = {name: (keys[name], values[name]) for name in names if name in keys}
        _remember(self.records, (frame, chain.scale), record, self.most)

    def _asked(self, chain: Chain, frames: range) -> dict[int, tuple[Chain, Plate]]:
        """What is to be drawn at once, where more than one frame is."""
        asked = {}
        for frame in frames if len(frames) > 1 else ():
            # A frame that cannot be read fails those that look at it, not those that are drawn with it.
            with suppress(MienError):
                plate = self._plate(chain, frame) if frame in self.job.shot.frames else None
                if plate is not None:
                    asked[frame] = (chain, plate)
        return asked

    def _job(self, chain: Chain) -> Job:
        return replace(self.job, recipe=chain.recipe, chain=chain)

    def _plate(self, chain: Chain, frame: int) -> Plate | None:
        place = (frame, chain.scale)
        if place not in self.plates:
            plate = self.plate_at(self._job(chain), frame)
            _remember(self.plates, place, plate, self.most)
        return self.plates[place]


def looked_at(chain: Chain) -> set[str]:
    """Steps whose values are asked for in other frames, and those they are made from, but for shot-wide ones."""
    found: set[str] = set()
    names = {step.name for step in chain.recipe.steps}
    for step in chain.recipe.steps:
        for port in declaration(step.node).inputs if farthest(step) else ():
            if port.type.startswith("Window[") and step.inputs[port.name] in names:
                found.update(s.name for s in chain.recipe.upstream(step.inputs[port.name]))
    return found - set(chain.solved)


def with_neighbors(job: Job, plate_at: Callable[[Job, int], Plate | None]) -> Job:
    """The job, able to look at neighboring frames where any of its steps wants to."""
    reach = max(map(farthest, job.recipe.steps))
    if not reach or not isinstance(job.chain.neighbors, Alone):
        return job
    most = 2 * reach + 1 + job.recipe.batch
    return replace(job, chain=replace(job.chain, neighbors=Nearby(job, plate_at, most)))


def farthest(step: Step) -> int:
    """How many frames around its own a step looks at in any frame."""
    keys = [key[0] for value in step.settings.values() if isinstance(value, list) for key in value]
    return max(radius(step, frame) for frame in (*keys, 0))


def _remember(memory: OrderedDict[Any, Any], place: tuple[int, float], value: Any, most: int) -> None:
    memory[place] = value
    memory.move_to_end(place)
    while len(memory) > most:
        memory.popitem(last=False)
