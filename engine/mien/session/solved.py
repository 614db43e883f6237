"""What holds for a whole shot, as far as it is known: answered at once, solved when asked.

A step that speaks of the whole shot needs values of every frame. While an artist drags a matte those of all
frames change; measuring them again takes as long as the shot is long. So what was measured last is used until
``solve`` is asked for, and the answer says so; before anything was solved, the frame that is shown is measured.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from mien.chain import declaration, solve, solves, with_solved
from mien.files.curves import read_curves
from mien.job import Job
from mien.recipe import Step, digest
from mien.types import FaceTrack, MienError, Series

MOST = 256
"""Values of whole shots that are kept."""
STATES = ("fresh", "stale", "none")


class Solved:
    """Values of whole shots by the hash of what they were made from, and the latest of each step."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._count = 0
        self._lock = threading.Lock()

    def learn(self, job: Job) -> None:
        """Remember what a job that was solved holds."""
        keys = shot_keys(job)
        for name, value in job.chain.solved.items():
            self._keep(keys[name], value)
            self._keep(_place(job, name), value)

    def complete(self, job: Job, frame: int, measured: Callable[[Job, str], Any]) -> tuple[Job, str]:
        """The job with everything that holds for the shot, and how far it is true: one of ``STATES``.

        Args:
            job: A job with nothing solved.
            frame: The frame that is shown.
            measured: The value of a step in that frame.
        """
        keys, given = shot_keys(job), _given(job)
        state = "fresh"
        while True:
            step, names = next(solves(job.chain), (None, ()))
            if step is None:
                return job, state
            for name in names:
                value, found, origin = self._gathered(job, frame, name, keys[name], measured)
                # What is made of other values than those asked for must not be taken for the real thing.
                keys[name] = keys[name] if found == "fresh" else digest(found, origin)
                state = max(state, found, key=STATES.index)
                job = replace(job, chain=with_solved(job.chain, name, value))
            # Of the values themselves, whatever is dialed before them: while they are stale nothing is solved again.
            key = _step_key(job, step, {**given, **keys})
            value, _ = self._recall(key)
            if value is None:
                value = solve(job.chain, step).solved[step.name]
                self._keep(key, value)
            keys[step.name] = key
            job = replace(job, chain=with_solved(job.chain, step.name, value))

    def _gathered(
        self, job: Job, frame: int, name: str, key: str, measured: Callable[[Job, str], Any]
    ) -> tuple[Any, str, Any]:
        """The values of a step in all frames, how far they are true, and which they are."""
        latest = _place(job, name)
        for place, state in ((key, "fresh"), (latest, "stale")):
            value, number = self._recall(place)
            if value is not None:
                return value, state, number
        if (value := _on_disk(job, name)) is not None:
            return value, "stale", self._keep(latest, value)
        # One frame stands for all, and is measured once: before a solve dragging a value costs no more than after.
        alone = digest("alone", latest, job.identity.digest)
        value, number = self._recall(alone)
        if value is None and (value := measured(job, name)) is not None:
            number = self._keep(alone, value)
        return Series(frame, (value,)), "none", (number, frame)

    def _recall(self, key: str) -> tuple[Any, int]:
        """A value, None where it is not known, and its number: no two values ever have the same."""
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
            return self._known.get(key, (None, 0))

    def _keep(self, key: str, value: Any) -> int:
        with self._lock:
            self._count += 1
            self._known[key] = (value, self._count)
            self._known.move_to_end(key)
            while len(self._known) > MOST:
                self._known.popitem(last=False)
            return self._count

    def clear(self) -> None:
        """Know nothing of any shot."""
        with self._lock:
            self._known.clear()


def shot_keys(job: Job) -> dict[str, str]:
    """For every step, a hash of what its values in all frames depend on, plate files taken by name.

    Made of settings and names alone, so that it costs nothing; ``frame_key`` is what a solve goes by.
    """
    given, keys = _given(job), dict[str, str]()
    for step in job.recipe.steps:
        keys[step.name] = _step_key(job, step, {**given, **keys})
    return keys


def _given(job: Job) -> dict[str, str]:
    """Hashes of the values that every recipe has, in all frames."""
    recipe = job.recipe
    return {
        "plate": digest(recipe.plate, job.space, job.shot.missing),
        "track": _track_digest(job.chain.track),
        "identity": digest(recipe.identity, job.identity.digest),
    }


def _step_key(job: Job, step: Step, known: Mapping[str, str]) -> str:
    """Hash of a step's settings and of what it is told."""
    sources = {port: known.get(name, name) for port, name in step.inputs.items()}
    return digest(job.colors.digest, str(job.device), step.node, sources, step.settings)


@lru_cache(maxsize=16)
def _track_digest(track: FaceTrack) -> str:
    hasher = hashlib.blake2b(digest_size=16)
    for tensor in (track.points, track.weight, track.confidence):
        hasher.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest(hasher.hexdigest(), track.name, track.first, track.scheme, track.aspect)


def _place(job: Job, name: str) -> str:
    """What the latest values of a step are remembered under."""
    plate = job.recipe.plate
    return digest("latest", plate.path, plate.part, job.recipe.track, job.recipe.face, name)


def _on_disk(job: Job, name: str) -> Series[Any] | None:
    """What a run before this one gathered."""
    path = job.folder / "solve" / f"{name}.json"
    if not path.is_file():
        return None
    try:
        kind, values = read_curves(path)
    except MienError:
        return None
    if kind != declaration(job.recipe.step(name).node).output or not values:
        return None
    first, last = job.recipe.plate.first, job.recipe.plate.last
    # A run that was stopped has not measured every frame: the nearest stands for those.
    found = []
    for frame in range(first, last + 1):
        nearest = frame if frame in values else min(values, key=lambda one: abs(one - frame))
        found.append(values[nearest][1])
    return Series(first, tuple(found))
