"""What a recipe draws on and writes, as files and folders that a farm has to bring along."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mien.farm.mapping import files_named
from mien.files.identities import read_identity
from mien.files.sequence import pattern_of
from mien.files.shot import Shot, open_shot
from mien.recipe import Recipe
from mien.types import MienError

WORDS = ("take", "track", "network")
"""Facts of an identity that may name further files."""


@dataclass(frozen=True)
class Assets:
    """Files to bring, and the folder that is written."""

    inputs: tuple[Path, ...]
    output: Path


def assets_of(recipe: Recipe, shot: Shot) -> Assets:
    """Every file that the frames of a recipe need.

    Args:
        recipe: A checked recipe; its paths are absolute.
        shot: Its plate.

    Raises:
        MienError: The identity cannot be read, or one of the files is missing.
    """
    found: list[Path] = []
    found += dict.fromkeys(shot.file(frame) for frame in shot.frames)
    found += [Path(recipe.track), *_beside(Path(recipe.track)), Path(recipe.identity)]
    if recipe.ocio is not None and "://" not in recipe.ocio:
        found.append(Path(recipe.ocio))
    for step in recipe.steps:
        for name in files_named(step):
            for text in _named(step.settings[name]):
                found += _on_disk(Path(text))
    found += _of_identity(Path(recipe.identity))
    for path in found:
        if not path.exists():
            raise MienError(f"{path}, which the recipe draws on, is not there. Check the path.")
    return Assets(tuple(dict.fromkeys(path.absolute() for path in found)), Path(recipe.output.folder).absolute())


def _beside(track: Path) -> list[Path]:
    """Arrays of a track that lie in a file of their own."""
    named = re.compile(re.escape(track.stem) + r"\.[0-9a-f]{16}\.safetensors")
    return sorted(path for path in track.parent.glob("*.safetensors") if named.fullmatch(path.name))


def _named(value: object) -> Iterator[str]:
    texts = [key[1] for key in value] if isinstance(value, list | tuple) else [value]
    yield from (text for text in texts if isinstance(text, str) and text not in ("", "."))


def _on_disk(path: Path) -> list[Path]:
    """A file, or the frames of a pattern."""
    pattern = pattern_of(path)
    return [path] if pattern is None else [pattern.path(frame) for frame in pattern.frames()]


def _of_identity(path: Path) -> list[Path]:
    """What an identity refers to: the frames of a take and its track, a network."""
    facts = read_identity(path).facts
    found: list[Path] = []
    for word in WORDS:
        text = facts.get(word)
        if not isinstance(text, str) or not Path(text).is_absolute():
            continue
        if word == "take":
            shot = open_shot(text)
            found += dict.fromkeys(shot.file(frame) for frame in shot.frames)
        else:
            found += [Path(text), *(_beside(Path(text)) if word == "track" else [])]
    return found
