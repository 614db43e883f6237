"""What holds for a whole shot, as far as it is known: answered at once, solved when asked.

A step that speaks of the whole shot needs values of every frame. While an artist drags a matte those of all
frames change; measuring them again takes as long as the shot is long. So what was measured last is used until
``solve`` is asked for, and the answer says so; before anything was solved, the frame that is shown is measured.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mien.chain import declaration, solve, solves, with_solved
from mien.files.curves import read_curves
from mien.job import Job
from mien.recipe import digest
from mien.types import MienError, Series

MOST = 256
"""Values of whole shots that are kept."""
STATES = ("fresh", "stale", "none")


class Solved:
    """Values of whole shots by the hash of what they were made from, and the latest of each step."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()

    def learn(self, job: Job) -> None:
        """Remember what a job that was solved holds."""
        keys = shot_keys(job)
        for name, value in job.chain.solved.items():
            self._keep(keys[name], value)
            self._keep(_place(job, name), value)

    def complete(self, job: Job, measured: Callable[[Job, str], Any]) -> tuple[Job, str]:
        """The job with everything that holds for the shot, and how far it is true: one of ``STATES``.

        Args:
            job: A job with nothing solved.
            measured: The value of a step in the frame that is shown.
        """
        keys = shot_keys(job)
        state = "fresh"
        while True:
            step, names = next(solves(job.chain), (None, ()))
            if step is None:
                return job, state
            for name in names:
                value, found = self._gathered(job, name, keys[name], measured)
                # What is made of values of another kind than asked for must not be taken for the real ones.
                keys[name] = keys[name] if found == "fresh" else digest(keys[name], found, id(value))
                state = max(state, found, key=STATES.index)
                job = replace(job, chain=with_solved(job.chain, name, value))
            sources = {port: keys.get(name, name) for port, name in step.inputs.items()}
            key = digest(keys[step.name], sources)
            value = self._recall(key)
            if value is None:
                value = solve(job.chain, step).solved[step.name]
                if state != "none":
                    self._keep(key, value)
            keys[step.name] = key
            job = replace(job, chain=with_solved(job.chain, step.name, value))

    def _gathered(self, job: Job, name: str, key: str, measured: Callable[[Job, str], Any]) -> tuple[Any, str]:
        if (value := self._recall(key)) is not None:
            return value, "fresh"
        if (value := self._recall(_place(job, name))) is not None:
            return value, "stale"
        if (value := _on_disk(job, name)) is not None:
            self._keep(_place(job, name), value)
            return value, "stale"
        return measured(job, name), "none"

    def _recall(self, key: str) -> Any:
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
            return self._known.get(key)

    def _keep(self, key: str, value: Any) -> None:
        with self._lock:
            self._known[key] = value
            self._known.move_to_end(key)
            while len(self._known) > MOST:
                self._known.popitem(last=False)

    def clear(self) -> None:
        """Know nothing of any shot."""
        with self._lock:
            self._known.clear()


def shot_keys(job: Job) -> dict[str, str]:
    """For every step, a hash of what its values in all frames depend on, plate files taken by name.

    Made of settings and names alone, so that it costs nothing; ``frame_key`` is what a solve goes by.
    """
    recipe = job.recipe
    plate, track = recipe.plate, (recipe.track, recipe.face, id(job.chain.track))
    given = {
        "plate": digest(plate, job.space, job.shot.missing),
        "track": digest(track),
        "identity": digest(recipe.identity, job.identity.digest),
    }
    about = digest(job.colors.digest, str(job.device))
    keys: dict[str, str] = {}
    for step in recipe.steps:
        sources = {port: keys.get(name) or given[name] for port, name in step.inputs.items()}
        keys[step.name] = digest(about, step.node, sources, step.settings)
    return keys


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
    return Series(first, tuple(values[frame][1] if frame in values else None for frame in range(first, last + 1)))
