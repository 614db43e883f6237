"""A recipe with everything it draws on opened, and the keys that tell whether a frame is up to date."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property, lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from mien.chain import Chain, declaration, face_in, radius, settings_at, tracked
from mien.color import Colors
from mien.color import load as load_colors
from mien.files.identities import IdentityFile, read_identity
from mien.files.shot import Shot, open_shot
from mien.files.tracks import TrackFile, read_tracks
from mien.files.whole import content_hash, read_small, write_whole
from mien.footage import plate_space
from mien.performer import open_identity, prominent
from mien.recipe import Recipe, Step, at_frame, digest
from mien.roto import chosen, file_at, read_roto
from mien.together import in_batches
from mien.trained import BATCHED
from mien.types import Face, FaceTrack, MienError, Series

ENGINE = version("mien")
MOST_PRINTS = 1 << 28
"""Bytes of the largest memory of hashes that is read."""
Part = TypeVar("Part")


class Opened(Protocol):
    """Lends the parts of jobs."""

    def __call__(self, name: str, files: tuple[str, ...], make: Callable[[], Part]) -> Part:
        """The part called ``name`` that is made from these files, or a new one."""
        ...


@dataclass(frozen=True)
class Job:
    """A recipe ready to run.

    Attributes:
        recipe: Checked recipe.
        shot: The plate, over the recipe's whole range.
        colors: The OpenColorIO config.
        space: Color space of the plate.
        identity: Whose face is put on.
        chain: The steps and what they draw on.
        device: Where pictures are computed.
        prints: Hashes of the plate's frames.
    """

    recipe: Recipe
    shot: Shot
    colors: Colors
    space: str
    identity: IdentityFile
    chain: Chain
    device: torch.device
    prints: "Fingerprints"

    @property
    def folder(self) -> Path:
        """Where everything is written."""
        return Path(self.recipe.output.folder)

    @cached_property
    def provenance(self) -> dict[str, str]:
        """What every output says of its origin, apart from what differs from frame to frame."""
        likeness = self.identity.likeness
        warnings = likeness.warnings(date.today())
        return {
            "engine": f"mien {ENGINE}",
            "synthetic": "This picture holds a synthetic face: composite with a digitally replaced face.",
            "recipe": digest(self.recipe.steps),
            "identity": self.identity.digest,
            "likeness": likeness.name or "not named",
            "release": likeness.release or "none named",
            **({"release_until": likeness.until} if likeness.until else {}),
            **({"warning": " ".join(warnings)} if warnings else {}),
            "plate": Path(self.shot.name).name,
            "plate_space": self.space,
        }


@dataclass
class Fingerprints:
    """Content hashes of a plate's frames, remembered on disk by size and time so that a file is hashed once.

    Attributes:
        path: The memory.
        known: File name to [size, modification time in nanoseconds, hash].
    """

    path: Path
    known: dict[str, list[Any]] = field(default_factory=dict)
    changed: bool = False

    def of(self, file: Path) -> str:
        """Hash of a file's content.

        Raises:
            MienError: The file cannot be read.
        """
        try:
            facts = file.stat()
            remembered = self.known.get(str(file))
            if remembered and remembered[:2] == [facts.st_size, facts.st_mtime_ns]:
                return str(remembered[2])
        except OSError as error:
            raise MienError(f"Cannot read {file}: {error.strerror}. Check the path.") from error
        found = content_hash(file)
        self.known[str(file)] = [facts.st_size, facts.st_mtime_ns, found]
        self.changed = True
        return found

    def steady(self, file: Path) -> bool:
        """Whether a file is still the one that was hashed."""
        try:
            facts = file.stat()
        except OSError:
            return False
        return self.known.get(str(file), [])[:2] == [facts.st_size, facts.st_mtime_ns]

    def save(self) -> None:
        """Write the memory, whole or not at all; losing it costs only time."""
        if self.changed:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, json.dumps(self.known).encode())
            self.changed = False


def open_fingerprints(path: Path) -> Fingerprints:
    """The remembered hashes; an unreadable memory is an empty one."""
    try:
        known = json.loads(read_small(path, MOST_PRINTS, "memory of hashes"))
        whole = isinstance(known, dict) and all(isinstance(v, list) and len(v) == 3 for v in known.values())
    except (MienError, ValueError, RecursionError):
        whole = False
    return Fingerprints(path, known if whole else {})


def open_anew(name: str, files: tuple[str, ...], make: Callable[[], Part]) -> Part:
    """Keep nothing: open a part of a job from its files."""
    return make()


def open_job(recipe: Recipe, device: str = "auto", opened: Opened = open_anew) -> Job:
    """Open everything that a checked recipe draws on.

    Args:
        recipe: Checked recipe.
        device: ``auto``, ``cpu`` or ``cuda``.
        opened: Lends parts that are open already, by a name that says all that matters and the files they are
            read from, or makes them.

    Raises:
        MienError: A file is missing or damaged, or a name is unknown to the config or the track.
    """
    place, plate, ocio = choose_device(device), recipe.plate, recipe.ocio
    span = (plate.first, plate.last)
    shot = opened(f"shot {span} {plate.part}", (plate.path,), lambda: open_shot(plate.path, span, layer=plate.part))
    config = ocio or os.environ.get("OCIO", "")
    colors = opened("colors", (config,), lambda: load_colors(ocio))
    space = plate_space(shot, colors, plate.colorspace)
    tracks = opened("track", (recipe.track,), lambda: read_tracks(Path(recipe.track)))
    track = opened(f"face {recipe.face}", (recipe.track,), lambda: choose_face(tracks, recipe.face))
    path = Path(recipe.identity)
    identity = opened("identity", (recipe.identity,), lambda: read_identity(path))
    identity_at = opened(
        f"identity on {place} in {colors.digest}",
        (recipe.identity,),
        lambda: open_identity(identity, path, colors, place),
    )
    if identity.kind in BATCHED:
        identity_at = in_batches(identity_at, recipe.batch)
    memory = Path(recipe.output.folder) / "solve" / "plate.json"
    prints = opened("prints", (str(memory),), lambda: open_fingerprints(memory))
    chain = Chain(recipe, track, identity_at, roto_at=partial(read_roto, shot.size))
    return Job(recipe, shot, colors, space, identity, chain, place, prints)


def choose_device(name: str) -> torch.device:
    """``auto``, ``cpu`` or ``cuda`` as a device.

    Raises:
        MienError: CUDA is asked for where there is none.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise MienError(f"There is no device {name!r}: say auto, cpu or cuda.")
    if name == "cuda" and not torch.cuda.is_available():
        raise MienError("No CUDA device can be used here. Use --device cpu, or install torch for your GPU.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def choose_face(tracks: TrackFile, name: str | None) -> FaceTrack:
    """The named person, or the most prominent one of those not ignored.

    Raises:
        MienError: Nobody of that name, or nobody at all.
    """
    if name:
        return tracks.person(name)
    found = prominent(tracks.tracks)
    if found is None:
        raise MienError(
            f"No face was found in {tracks.plate.path}, frames {tracks.plate.first}-{tracks.plate.last}. "
            "Lower --set track_faces.confidence, or place points by hand with mien track --key."
        )
    return found


def frame_key(job: Job, frame: int, target: str) -> str:
    """Hash of everything that the value of a step depends on in one frame.

    The step's settings at this frame and those of the steps before it, whole-shot values at this frame only,
    the plate's frame, the identity, the config, the engine's version.
    """
    return step_keys(job, frame, target)[target]


def step_keys(job: Job, frame: int, target: str) -> dict[str, str]:
    """``frame_key`` of a step and of every step that it depends on in the frame."""
    chain, recipe = job.chain, job.recipe
    made_by = digest(ENGINE, job.colors.digest, str(job.device), chain.scale)
    given: dict[str, Any] = {}
    keys: dict[str, str] = {}

    def of(name: str) -> Any:
        if name not in given:
            solved = chain.solved.get(name)
            given[name] = _given_digest(job, frame, name) if solved is None else _value_digest(solved, frame)
        return given[name]

    for step in recipe.upstream(target):
        if step.name in chain.solved:
            continue
        sources = {port: keys[name] if name in keys else of(name) for port, name in step.inputs.items()}
        sources.update(_elsewhere(job, frame, step))
        sees_face = any(port.type == "Face" for port in declaration(step.node).inputs)
        face = _face_digest(face_in(chain, frame)) if sees_face else None
        keys[step.name] = digest(made_by, step.node, sources, settings_at(chain, step, frame), face)
    return keys


def _elsewhere(job: Job, frame: int, step: Step) -> dict[str, Any]:
    """What a step depends on outside its frame of the plate: its neighbors, and mattes on disk."""
    found: dict[str, Any] = {}
    reach = radius(step, frame)
    for port in declaration(step.node).inputs:
        if port.type == "Roto":
            names = [param.name for param in declaration(step.node).params if param.kind == "file"]
            files = [at_frame(step.settings, frame)[name] for name in names]
            found[port.name] = [job.prints.of(file_at(file, frame)) for file in files if chosen(file)]
        elif reach and port.type.startswith("Window["):
            around = [frame + k for k in range(-reach, reach + 1)]
            found[port.name] = [_neighbor_key(job, one, step.inputs[port.name]) for one in around]
    return found


def _neighbor_key(job: Job, frame: int, name: str) -> Any:
    """Key of a value in another frame; None where the plate has no such frame."""
    if frame not in job.shot.frames:
        return None
    if name in job.chain.solved:
        return _value_digest(job.chain.solved[name], frame)
    is_step = any(step.name == name for step in job.recipe.steps)
    return frame_key(job, frame, name) if is_step else _given_digest(job, frame, name)


def _given_digest(job: Job, frame: int, name: str) -> Any:
    """Hash of one of the values that every recipe has, in one frame."""
    if name == "track":
        return _value_digest(job.chain.track, frame)
    if name == "identity":
        identity = job.chain.identity_at(frame)
        return [job.identity.digest, identity and identity.digest]
    if name == "roto":
        return None
    return [job.prints.of(job.shot.file(frame)), frame, job.space, job.recipe.plate.part]


def _value_digest(value: Any, frame: int) -> Any:
    if isinstance(value, FaceTrack):
        return _face_digest(tracked(value, frame))
    if isinstance(value, Series):
        return value.at(frame)
    raise TypeError(f"{type(value).__name__} is no value of a shot")


@lru_cache(maxsize=64)
def _face_digest(face: Face | None) -> Any:
    if face is None:
        return None
    hasher = hashlib.blake2b(digest_size=16)
    for tensor in (face.points, face.weight, face.velocity):
        if tensor is not None:
            hasher.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return [hasher.hexdigest(), face.confidence, face.width, face.scheme, face.aspect]
