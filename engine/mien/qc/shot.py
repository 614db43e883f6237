"""What a render left of a shot, gathered: proofs, track, headers, and what people said of frames."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch

from mien import recipe as recipes
from mien.deliver import numbered
from mien.files.identities import read_identity
from mien.files.layers import read_provenance
from mien.files.proofs import Proof, read_proof
from mien.files.tracks import read_tracks
from mien.files.whole import read_small, write_whole
from mien.job import choose_face
from mien.recipe import Recipe
from mien.report import PersonFacts, person_facts
from mien.types import MienError

LARGEST = 16 << 20
MOST_WORDS = 500
ROLES: Mapping[str, tuple[str, ...]] = {
    "layer": ("",),
    "full": ("",),
    "host": ("_raw", "_face", "_matte"),
    "stmap": ("_stabilize", "_restore"),
}
"""What stands behind a shot's name in the names of the files of each kind."""


@dataclass(frozen=True)
class Said:
    """A frame that somebody flagged."""

    frame: int
    words: str
    by: str


@dataclass(frozen=True)
class RenderedFrame:
    """What is known of one frame.

    Attributes:
        frame: Its number.
        files: What a render was to write that is there, by kind.
        absent: What is not.
        damaged: Why a file cannot be read; empty where all can.
        origin: What the files say of what made them; empty where there is none.
        proof: Pictures and figures; None where the render left none.
    """

    frame: int
    files: Mapping[str, Path]
    absent: tuple[str, ...]
    damaged: str
    origin: Mapping[str, str]
    proof: Proof | None


@dataclass(frozen=True)
class RenderedShot:
    """A shot as a render left it.

    Attributes:
        folder: Where everything lies.
        name: What its files are called.
        recipe: What was rendered.
        frames: Every frame of the recipe, in order.
        person: The track of the face; None where it is gone.
        said: What people flagged.
        likeness: Whose face, by which release, until when, and what is wrong with that.
        notes: What could not be looked at, for people.
    """

    folder: Path
    name: str
    recipe: Recipe
    frames: tuple[RenderedFrame, ...]
    person: PersonFacts | None
    said: tuple[Said, ...]
    likeness: Mapping[str, str]
    notes: tuple[str, ...]


def recipe_in(path: Path, name: str | None = None) -> Path:
    """The recipe of what was rendered into a folder, or the recipe itself.

    Raises:
        MienError: There is none, or there are several and none was named.
    """
    if path.is_file():
        return path
    found = sorted(path.glob(f"{recipes.plain_name(name) if name else '*'}.recipe.json"))
    if not found:
        wanted = f"{name or '*'}.recipe.json"
        raise MienError(f"There is no {wanted} in {path}. Give the folder that mien convert -o wrote, or the recipe.")
    if len(found) > 1:
        names = ", ".join(file.name.removesuffix(".recipe.json") for file in found[:8])
        raise MienError(f"{path} holds several shots: {names}. Choose one with --shot.")
    return found[0]


def open_rendered(path: Path) -> RenderedShot:
    """Gather what lies around a recipe: where it lies itself, if its frames were moved there, else where it writes.

    Raises:
        MienError, RecipeError: The recipe cannot be read.
    """
    recipe = recipes.read(path)
    folder, here = Path(recipe.output.folder), path.absolute().parent
    moved = any((here / kind).is_dir() for kind in (*recipe.output.write, "proof"))
    return gathered(recipe, here if moved or not folder.is_dir() else folder)


def gathered(recipe: Recipe, folder: Path) -> RenderedShot:
    """What a render of a recipe left in a folder.

    Raises:
        MienError: What people said of it is damaged.
    """
    name = recipe.output.name
    notes: list[str] = []
    return RenderedShot(
        folder=folder,
        name=name,
        recipe=recipe,
        frames=tuple(_frame(recipe, folder, frame) for frame in range(recipe.plate.first, recipe.plate.last + 1)),
        person=_person(recipe, folder, notes),
        said=read_said(said_path(folder, name)),
        likeness=_likeness(recipe, folder, notes),
        notes=tuple(notes),
    )


def files_of(recipe: Recipe, folder: Path, frame: int) -> dict[str, Path]:
    """The pictures that a render writes of a frame, by kind."""
    name, number = recipe.output.name, numbered(frame)
    # A movie is made of layers.
    wanted = {"layer" if kind == "movie" else kind for kind in recipe.output.write}
    return {
        f"{kind}{role}": folder / kind / f"{name}{role}.{number}.exr"
        for kind, roles in ROLES.items()
        if kind in wanted
        for role in roles
    }


def _frame(recipe: Recipe, folder: Path, frame: int) -> RenderedFrame:
    files = files_of(recipe, folder, frame)
    there = {kind: path for kind, path in files.items() if path.is_file()}
    damaged, origin, proof = "", {}, None
    try:
        for path in there.values():
            origin = read_provenance(path)
    except MienError as error:
        damaged = str(error)
    path = folder / "proof" / f"{recipe.output.name}.{numbered(frame)}.jpg"
    if path.is_file():
        try:
            proof = read_proof(path)
        except MienError as error:
            damaged = damaged or str(error)
    return RenderedFrame(frame, there, tuple(kind for kind in files if kind not in there), damaged, origin, proof)


def _person(recipe: Recipe, folder: Path, notes: list[str]) -> PersonFacts | None:
    here = folder / f"{recipe.output.name}.track.json"
    path = Path(recipe.track) if Path(recipe.track).is_file() else here
    try:
        tracks = read_tracks(path)
        facts = person_facts(choose_face(tracks, recipe.face), tracks.plate)
    except MienError as error:
        notes.append(f"The track was not looked at: {error}")
        return None
    return facts


def at(person: PersonFacts | None, frame: int, values: torch.Tensor | None) -> float | None:
    """A figure of a track in a frame; None where there is none."""
    if person is None or values is None or not person.track.first <= frame <= person.track.last:
        return None
    found = float(values[frame - person.track.first])
    return found if found == found else None


def _likeness(recipe: Recipe, folder: Path, notes: list[str]) -> Mapping[str, str]:
    here = folder / f"{recipe.output.name}.identity.safetensors"
    path = Path(recipe.identity) if Path(recipe.identity).is_file() else here
    try:
        likeness = read_identity(path).likeness
    except MienError as error:
        notes.append(f"The identity was not looked at: {error}")
        return {}
    warnings = likeness.warnings(date.today())
    return {
        "likeness": likeness.name,
        "release": likeness.release,
        "release_until": likeness.until,
        "warning": " ".join(warnings),
    }


def said_path(folder: Path, name: str) -> Path:
    """Where it is kept what people say of frames."""
    return folder / f"{name}.flags.json"


def read_said(path: Path) -> tuple[Said, ...]:
    """What people said of frames; nothing where there is no such file.

    Raises:
        MienError: It is damaged.
    """
    if not path.is_file():
        return ()
    try:
        listed = json.loads(read_small(path, LARGEST, "list of flags"))["flags"]
        return tuple(Said(int(one["frame"]), str(one["words"])[:MOST_WORDS], str(one["by"])[:80]) for one in listed)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise MienError(f"{path} is no list of flags: {str(error)[:120]}. Mend it or delete it.") from error


def write_said(path: Path, said: Sequence[Said]) -> None:
    """Write what people said of frames, a line for each.

    Raises:
        MienError: The file cannot be written.
    """
    rows = [json.dumps(vars(one), ensure_ascii=False) for one in sorted(said, key=lambda one: (one.frame, one.by))]
    write_whole(path, ('{"flags": [\n ' + ",\n ".join(rows) + "\n]}\n").encode())


def origins(frames: Sequence[RenderedFrame], name: str) -> dict[str, list[int]]:
    """Which frames say what of their origin."""
    found: dict[str, list[int]] = {}
    for frame in frames:
        if frame.origin:
            found.setdefault(frame.origin.get(name, ""), []).append(frame.frame)
    return found


def plain(value: Any) -> Any:
    """A figure for JSON: short, None where it is no number."""
    return None if value is None or value != value else float(f"{value:.6g}")
