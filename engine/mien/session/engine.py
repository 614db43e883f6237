"""The warm engine: answers what an artist dials from what it has computed before."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from mien.chain import NOTHING, Call, Chain, call_node, declaration, evaluate, face_in, region
from mien.fallback import careful, is_identity
from mien.files.cache import DiskCache
from mien.files.handover import HandOver
from mien.files.region import Region
from mien.files.shot import read_header
from mien.files.stills import Header
from mien.job import ENGINE, Job, choose_device, open_job, step_keys
from mien.progress import Tell
from mien.recipe import Recipe, Step, digest
from mien.run import PROXY_WIDTH, Rendered, corners, proxy, render, solved
from mien.session.memory import Memory
from mien.session.pace import Pace
from mien.session.picture import hand_over
from mien.session.placed import place_frame
from mien.session.solved import Solved
from mien.session.stored import pixels_of
from mien.session.threads import Threads
from mien.session.view import Cancelled, Shown, View
from mien.session.warm import Warm
from mien.types import Identity, Layer, MienError, Plate

MEMORY = 4 << 30
"""Bytes of pixels that are kept where nothing else is said."""
SCALES = (1, 2, 4, 8)
"""Whole numbers by which pictures are shrunk where the engine chooses the scale."""
LEAST = 64
"""Width in pixels of the smallest face that the engine chooses to show."""
Cancel = Callable[[], bool]


def never() -> bool:
    """Somebody waits."""
    return False


class Session:
    """Jobs, pixels and curves kept warm between requests; every method may be called from any thread.

    Attributes:
        device: Where pictures are computed.
        work: How often each node was computed, and ``read`` a plate region read, since the start.
    """

    def __init__(
        self,
        device: str = "auto",
        memory: int = MEMORY,
        disk: DiskCache | None = None,
        folder: Path | None = None,
        tell: Tell = lambda event: None,
    ) -> None:
        self.device = choose_device(device)
        self.work: Counter[str] = Counter()
        self._memory = Memory(memory)
        self._disk = disk
        self._hand = HandOver(folder)
        self._tell = tell
        self._warm = Warm()
        self._solved = Solved()
        self._pace = Pace()
        self._threads = Threads()
        self._counting = threading.Lock()

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self, recipe: Recipe) -> Job:
        """A job for a checked recipe, of parts that are open already where their files were not changed.

        Raises:
            MienError: A file is missing or damaged, or a name is unknown to the config or the track.
        """
        return open_job(recipe, self.device.type, self._warm)

    @torch.inference_mode()
    def show(self, view: View, cancelled: Cancel = never) -> Shown:
        """One frame for an artist's eyes, at once: what is known already is not computed again.

        Raises:
            MienError: The frame cannot be shown. Cancelled: nobody waits for it any more.
        """
        started = time.perf_counter()
        job, state, header, place, factor = self._looked_at(view, "hand over", cancelled)
        small = replace(job, chain=replace(job.chain, scale=1 / factor))
        final = view.recipe.steps[-1].name
        key = digest(step_keys(small, view.frame, final)[final], place, sorted(view.layers), view.region)
        layers: tuple[Plate, Layer, Layer] | None = None
        if place is not None:
            with self._threads.for_size(factor):
                layers = self._layers(small, view.frame, place, "raw" in view.layers, cancelled)
        if cancelled():
            raise Cancelled
        with self._pace.timed(_paced("hand over", factor), _pixels(place) / factor**2):
            picture = hand_over(self._hand, small, header, view, factor, layers)
        return Shown(
            frame=view.frame,
            scale=1 / factor,
            key=key,
            face=layers is not None,
            solve=state,
            seconds=time.perf_counter() - started,
            **picture,
        )

    @torch.inference_mode()
    def place(self, view: View, cancelled: Cancel = never) -> dict[str, Any]:
        """One frame as the host's own files, at once, in place of what a render would write later.

        Raises:
            MienError: The frame cannot be shown or written. Cancelled: nobody waits for it any more.
        """
        started = time.perf_counter()
        job, state, header, place, factor = self._looked_at(view, "place", cancelled)
        small = replace(job, chain=replace(job.chain, scale=1 / factor))
        with self._threads.for_size(factor):
            layers = None if place is None else self._layers(small, view.frame, place, True, cancelled)
            if cancelled():
                raise Cancelled
            with self._pace.timed(_paced("place", factor), _pixels(place) / factor**2):
                written = place_frame(job, header, view.frame, factor, state, layers, cancelled)
        seconds = time.perf_counter() - started
        return {"frame": view.frame, "scale": 1 / factor, "solve": state, "seconds": seconds, **written}

    def _looked_at(self, view: View, last: str, cancelled: Cancel) -> tuple[Job, str, Header, Region | None, int]:
        """The job with what holds for the shot and how far that is true, what of the plate is needed, how small."""
        measure = self._measure(view.frame, cancelled)
        job, state = self._solved.complete(self.open(view.recipe), view.frame, measure)
        header = self._header(job, view.frame)
        place = self._region(job, view.frame, header)
        return job, state, header, place, self._factor(job, view, place, last)

    def solve(self, recipe: Recipe, tell: Tell, cancelled: Cancel = never) -> None:
        """Measure and solve what holds for the whole shot; curves are written as a render would.

        Raises:
            MienError: What it draws on cannot be used. Cancelled: before it was done.
        """
        self._threads.all()
        job = solved(self.open(recipe), tell, cancelled, self._call_at(cancelled))
        if cancelled():
            raise Cancelled
        self._solved.learn(job)

    def render(
        self,
        recipe: Recipe,
        frames: Sequence[int],
        tell: Tell,
        cancelled: Cancel = never,
        *,
        force: bool = False,
    ) -> Rendered:
        """Solve, and render frames to disk, with what is known already.

        Raises:
            MienError: What it draws on cannot be used. Cancelled: before all was solved.
        """
        self._threads.all()
        job = solved(self.open(recipe), tell, cancelled, self._call_at(cancelled))
        if cancelled():
            raise Cancelled
        self._solved.learn(job)
        return render(job, frames, tell, force=force, cancelled=cancelled, call_at=self._call_at(cancelled))

    def release(self, name: str) -> None:
        """A handed-over file is not needed any more."""
        self._hand.release(name)

    def status(self) -> dict[str, Any]:
        """Device, memory, work and versions, as plain data."""
        memory: dict[str, Any] = {"used": self._memory.used, "limit": self._memory.limit, "values": len(self._memory)}
        if self.device.type == "cuda":
            free, total = torch.cuda.mem_get_info(self.device)
            memory.update(gpu_free=free, gpu_total=total, gpu_allocated=torch.cuda.memory_allocated(self.device))
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "processor"
        return {
            "device": str(self.device),
            "device_name": name,
            "threads": torch.get_num_threads(),
            "memory": memory,
            "disk": None if self._disk is None else self._disk.facts(),
            "opened": self._warm.opened,
            "work": dict(self.work),
            "versions": {"mien": ENGINE, "torch": torch.__version__, "python": sys.version.split()[0]},
        }

    def clear(self) -> None:
        """Forget all pixels, curves and open files; handed-over files stay."""
        self._memory.shrink(0)
        self._solved.clear()
        self._warm.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def close(self) -> None:
        """Give back memory and remove what was handed over."""
        self.clear()
        self._hand.close()

    def _count(self, what: str) -> None:
        with self._counting:
            self.work[what] += 1

    def _header(self, job: Job, frame: int) -> Header:
        key = digest("header", job.prints.of(job.shot.file(frame)), frame, job.recipe.plate.part)
        header: Header | None = self._memory.recall(key)
        if header is None:
            header = read_header(job.shot, frame)
            self._memory.keep(key, header)
        return header

    def _region(self, job: Job, frame: int, header: Header) -> Region | None:
        """Pixels of the whole plate that a frame needs, whatever the scale; None where there is no face."""
        chain = replace(job.chain, scale=1.0)
        face = face_in(chain, frame)
        if face is None:
            return None
        place = Region(*corners(region(chain, frame, face))).overlap(header.data)
        return place if place.width and place.height else None

    def _plate(self, job: Job, frame: int, place: Region) -> Plate:
        """The region in the working space, on the device, at the chain's scale."""
        factor = round(1 / job.chain.scale)
        stored = (job.prints.of(job.shot.file(frame)), frame, job.recipe.plate.part)
        key = digest("plate", stored, job.space, job.colors.digest, str(job.device), place, factor)
        plate: Plate | None = self._memory.recall(key)
        if plate is not None:
            return plate
        if factor > 1:
            plate = proxy(self._plate(replace(job, chain=replace(job.chain, scale=1.0)), frame, place), factor)
        else:
            pixels, read = pixels_of(self._memory, job, self._header(job, frame), frame, place)
            if read:
                self._count("read")
            name = f"{job.space} of {job.colors.digest}"
            to_working = self._warm(name, (), lambda: job.colors.to_working(job.space))
            plate = Plate(to_working(pixels.to(job.device)), (place.x, place.y), frame)
        self._memory.keep(key, plate)
        return plate

    def _layers(
        self, job: Job, frame: int, place: Region, want_raw: bool, cancelled: Cancel
    ) -> tuple[Plate, Layer, Layer] | None:
        """The plate, the converter's layer and the finished one."""
        job = replace(job, chain=replace(job.chain, neighbors=_Around(self, job, cancelled)))
        final = job.recipe.steps[-1].name
        layer = self.value(job, frame, final, cancelled)
        if layer is None:
            return None
        raw = next(step.name for step in job.recipe.upstream(final) if declaration(step.node).output == "Layer")
        unmatted = self.value(job, frame, raw, cancelled) if want_raw else layer
        return self._plate(job, frame, place), unmatted, layer

    def value(self, job: Job, frame: int, name: str, cancelled: Cancel = never) -> Any:
        """The value of a step, or of the plate, in a frame, at the chain's scale; only what changed is computed.

        None where there is no face.
        """
        place = self._region(job, frame, self._header(job, frame))
        if place is None:
            return None
        plate = self._plate(job, frame, place)
        if name == "plate":
            return plate
        keys = {step: digest(key, place) for step, key in step_keys(job, frame, name).items()}
        known = self._known(job.chain, name, keys)
        if name in known:
            return known[name]
        values = evaluate(job.chain, frame, plate, name, known, self._call_at(cancelled)(job, frame))
        if values is None:
            return None
        for step, value in values.items():
            if step in keys and step not in known:
                self._memory.keep(keys[step], value)
        return values[name]

    def _known(self, chain: Chain, target: str, keys: Mapping[str, str]) -> dict[str, Any]:
        """Values of steps that are remembered, from the target back to the first that are."""
        known: dict[str, Any] = {}
        needed = {target}
        for step in reversed(chain.recipe.steps):
            if step.name not in needed or step.name in chain.solved:
                continue
            value = self._memory.recall(keys[step.name])
            if value is None:
                needed.update(step.inputs.values())
            else:
                known[step.name] = value
        return known

    def _call_at(self, cancelled: Cancel) -> Callable[[Job, int], Call]:
        """How the steps of a frame are computed: counted, timed, given up when nobody waits any more, careful
        with the memory of a graphics card; what identities drew is remembered here and on disk."""

        def call_at(job: Job, frame: int) -> Call:
            factor = round(1 / job.chain.scale)

            def compute(step: Step, inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
                if cancelled():
                    raise Cancelled
                if not any(is_identity(value) for value in inputs.values()):
                    return self._run(step, inputs, settings, factor)
                key = digest("identity", step_keys(job, frame, step.name)[step.name])
                value = self._memory.recall(key)
                if value is None and self._disk is not None:
                    value = self._disk.recall(key, job.device)
                if value is None:
                    value = self._run(step, inputs, settings, factor)
                    if self._disk is not None and isinstance(value, Layer):
                        self._disk.keep(key, value)
                self._memory.keep(key, value)
                return value

            def on_processor() -> Identity | None:
                return open_job(job.recipe, "cpu", self._warm).chain.identity_at(frame)

            return careful(self._tell, self._release_device, compute, on_processor)

        return call_at

    def _run(self, step: Step, inputs: Mapping[str, Any], settings: Mapping[str, Any], factor: int) -> Any:
        self._count(step.node)
        pictures = [value.image for value in inputs.values() if isinstance(value, Plate | Layer)]
        pixels = max((image.shape[-1] * image.shape[-2] for image in pictures), default=0)
        with self._pace.timed(_paced(step.node, factor), pixels):
            return call_node(step, inputs, settings)

    def _release_device(self) -> None:
        self._memory.shrink(0)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _measure(self, frame: int, cancelled: Cancel) -> Callable[[Job, str], Any]:
        """How a step is measured in one frame alone: quickly."""

        def measure(job: Job, name: str) -> Any:
            face = face_in(job.chain, frame)
            if face is None:
                return None
            factor = max(1, int(face.width / PROXY_WIDTH))
            with self._threads.for_size(factor):
                return self.value(replace(job, chain=replace(job.chain, scale=1 / factor)), frame, name, cancelled)

        return measure

    def _factor(self, job: Job, view: View, place: Region | None, last: str) -> int:
        """The whole number by which pictures are shrunk; ``last`` is what is done with the layers."""
        if view.scale is not None:
            factor = round(1 / view.scale) if 0 < view.scale <= 1 else 0
            if factor < 1 or abs(1 / factor - view.scale) > 1e-6:
                raise MienError(f"The proxy scale is {view.scale:g}: choose 1, 0.5, 0.25 or another 1/n.")
            return factor
        face = face_in(job.chain, view.frame)
        if place is None or face is None:
            return 1
        final = view.recipe.steps[-1].name
        usable = [factor for factor in SCALES if factor == 1 or face.width / factor >= LEAST]
        for factor in usable:
            chain = replace(job.chain, scale=1 / factor)
            plain = step_keys(replace(job, chain=chain), view.frame, final)
            keys = {name: digest(key, place) for name, key in plain.items()}
            todo = self._todo(chain, final, keys)
            pixels = _pixels(place) / factor**2
            expected = sum(self._pace.expected(_paced(work, factor), pixels) for work in (*todo, last))
            if expected <= view.budget:
                return factor
        return usable[-1]

    def _todo(self, chain: Chain, target: str, keys: Mapping[str, str]) -> list[str]:
        """Nodes that would have to be computed for a step."""
        needed, nodes = {target}, []
        for step in reversed(chain.recipe.steps):
            if step.name in needed and step.name not in chain.solved and keys[step.name] not in self._memory:
                nodes.append(step.node)
                needed.update(step.inputs.values())
        return nodes


def _paced(work: str, factor: int) -> str:
    """What the time that work takes is learned as: apart at the plate's size, where all threads compute in an idle
    moment, while proxies get what the host leaves as it draws. Told together, a proxy too fine would be dared."""
    return work if factor > 1 else f"{work} whole"


def _pixels(place: Region | None) -> int:
    return 0 if place is None else place.width * place.height


@dataclass(frozen=True)
class _Around:
    """What steps that look at neighboring frames see there, from the session's memory."""

    session: Session
    job: Job
    cancelled: Cancel

    def value(self, chain: Chain, frame: int, name: str) -> Any:
        """The value of a step, or of the plate, in a frame; None where it has none."""
        job = replace(self.job, chain=chain)
        return self.session.value(job, frame, name, self.cancelled) if frame in job.shot.frames else None

    def known(self, chain: Chain, frame: int) -> Mapping[str, Any]:
        """Nothing: the session looks for itself."""
        return NOTHING

    def keep(self, chain: Chain, frame: int, values: Mapping[str, Any]) -> None:
        """Nothing is kept here: the session keeps it."""
