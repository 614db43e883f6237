"""``mien convert EDIT.otio``: every shot of a cut, each with its own recipe, and the cut again with the results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from mien import recipe as recipes
from mien.commands.convert import ConvertArguments, convert_shot, make_folder
from mien.commands.plate import PlateArguments
from mien.declare import nearest
from mien.files.whole import read_small
from mien.job import open_job
from mien.movie import movie_path
from mien.progress import Note, Outcome, Tell
from mien.recipe import RecipeError
from mien.rushes import Found, Rushes, find, survey
from mien.timeline import Event, Result, events, is_timeline, placed, read_timeline, write_timeline
from mien.types import MienError

LIMIT = 1 << 24
"""Bytes of the largest list of shots that is read."""
MOST = 200_000
"""Things in a list of shots at most."""
EVERY = "every"
"""Entry of a list of shots that holds for all of them."""


@dataclass(frozen=True)
class Wish:
    """What one shot is to have of its own; None leaves what the command says.

    Attributes:
        identity, source, track, face, recipe, colorspace: As the options of ``mien convert``.
        likeness, release, release_until: As the options of ``mien convert``.
        settings: ``STEP.PARAM`` to value.
        skip: Leave the shot as it is.
        media: Path of its rushes.
    """

    identity: str | None = None
    source: tuple[str, ...] | None = None
    track: str | None = None
    face: str | None = None
    recipe: str | None = None
    colorspace: str | None = None
    likeness: str | None = None
    release: str | None = None
    release_until: str | None = None
    settings: Mapping[str, Any] | None = None
    skip: bool = False
    media: str | None = None


@dataclass(frozen=True)
class CutArguments:
    """What ``mien convert EDIT`` was asked for.

    Attributes:
        timeline: The edit.
        each: What holds for every shot; its plate's path is not looked at.
        media: Folder below which rushes lie; None for that of the edit.
        handles: Frames that are rendered on either side of what the cut shows.
        shots: List of what single shots have of their own.
        rate: Frames per second of an .edl.
    """

    timeline: Path
    each: ConvertArguments
    media: Path | None = None
    handles: int = 0
    shots: Path | None = None
    rate: float = 24.0


def convert_cut(arguments: CutArguments, tell: Tell) -> Outcome:
    """Convert every shot of an edit, and write the edit with the results in it.

    All rushes are looked for before the first frame is tracked. A shot that fails is told and the others go on.

    Raises:
        RecipeError: Something in the arguments cannot be.
        MienError: The edit cannot be read, or rushes are missing or doubtful.
    """
    if arguments.handles < 0:
        raise RecipeError(f"--handles {arguments.handles}: give a number of frames, or 0.")
    timeline = read_timeline(arguments.timeline, arguments.rate)
    home = arguments.timeline.absolute().parent
    cut = events(timeline, home)
    if not cut:
        raise MienError(f"{arguments.timeline} shows no clip. Check its picture tracks.")
    lists = read_shots(arguments.shots)
    known = {name for event in cut for name in (event.name, *event.calls)}
    for name in lists.keys() - known - {EVERY}:
        raise RecipeError(f"{arguments.shots}: the edit has no shot {name!r}{nearest(name, known)}")
    wishes = {event.name: wish_of(event, lists, arguments) for event in cut}
    wanted = [event for event in cut if not wishes[event.name].skip]
    rushes = _rushes(arguments, wanted, home)
    found = {event.name: find(_named(event, wishes[event.name]), rushes) for event in wanted}
    folder = make_folder(arguments.each.folder)
    results: dict[str, tuple[Event, Result]] = {}
    written: list[str] = []
    failed: dict[int, str] = {}
    done = skipped = 0
    for number, event in enumerate(wanted, start=1):
        tell(Note(f"Shot {number} of {len(wanted)}: {event.name}, {event.span}, from {found[event.name].path}."))
        asked, span = shot_arguments(arguments, event, found[event.name], wishes[event.name], folder, tell)
        try:
            outcome = convert_shot(asked, tell)
        except MienError as error:
            failed[number] = f"{event.name}: {error}"
            tell(Note(failed[number], "warning"))
            continue
        done, skipped = done + outcome.done, skipped + outcome.skipped
        written += outcome.written
        if outcome.failed:
            frames = ", ".join(str(frame) for frame in list(outcome.failed)[:8])
            failed[number] = f"{event.name}, frames {frames}: {next(iter(outcome.failed.values()))}"
        results[event.name] = (event, _result(asked, span, found[event.name]))
    path = folder / f"{recipes.plain_name(arguments.timeline.stem)}.mien.otio"
    write_timeline(path, placed(timeline, results))
    return Outcome((*written, str(path)), done, skipped, failed)


def _rushes(arguments: CutArguments, wanted: list[Event], home: Path) -> Rushes | None:
    if arguments.media is None and all(event.media is not None for event in wanted):
        return None
    return survey(home if arguments.media is None else arguments.media)


def _named(event: Event, wish: Wish) -> Event:
    return event if wish.media is None else replace(event, media=Path(wish.media), start=None)


def shot_arguments(
    arguments: CutArguments, event: Event, found: Found, wish: Wish, folder: Path, tell: Tell
) -> tuple[ConvertArguments, tuple[int, int]]:
    """What ``mien convert`` would be asked for one shot, and its frames with handles, as far as the rushes go."""
    each, shot = arguments.each, found.shot
    span = max(shot.first, found.first - arguments.handles), min(shot.last, found.last + arguments.handles)
    short = (found.first - span[0], span[1] - found.last)
    if min(short) < arguments.handles:
        tell(Note(f"{event.name} has handles of {short[0]} and {short[1]} frames: its rushes end there.", "warning"))
    own = {
        name: value
        for name in ("face", "likeness", "release", "release_until")
        if (value := getattr(wish, name)) is not None
    }
    if wish.identity is not None or wish.source is not None:
        own["identity"] = None if wish.identity is None else Path(wish.identity)
        own["sources"] = wish.source or ()
    plate = PlateArguments(
        str(found.path), None, wish.colorspace or each.plate.colorspace, each.plate.ocio, each.plate.layer, span
    )
    settings = {**each.settings, **(wish.settings or {})}
    track = each.track if wish.track is None else Path(wish.track)
    recipe = each.recipe if wish.recipe is None else Path(wish.recipe)
    asked = replace(
        each, plate=plate, folder=folder / event.name, name=event.name, track=track, recipe=recipe, settings=settings,
        **own,
    )  # fmt: skip
    if asked.identity is None and not asked.sources:
        raise RecipeError(f"{event.name}: say whose face to put on: --identity, --source, or the list of shots.")
    return asked, span


def _result(asked: ConvertArguments, span: tuple[int, int], found: Found) -> Result:
    """What of a shot's outputs an editor wants to see: the movie, else full frames, else layers."""
    assert asked.name is not None
    start = span[0] + found.offset
    if "movie" in asked.write:
        job = open_job(recipes.read(asked.folder / f"{asked.name}.recipe.json"), "cpu")
        return Result(movie_path(job), *span, start)
    kind = next((kind for kind in ("full", "layer", "host") if kind in asked.write), "layer")
    name = f"{asked.name}_face" if kind == "host" else asked.name
    return Result(asked.folder / kind / f"{name}.%04d.exr", *span, start)


def read_shots(path: Path | None) -> dict[str, Mapping[str, Any]]:
    """A list of shots, YAML or JSON: name of a shot or clip, or ``every``, to what it is to have of its own.

    Raises:
        RecipeError: It is none.
        MienError: It cannot be read.
    """
    if path is None:
        return {}
    try:
        document = yaml.safe_load(read_small(path, LIMIT, "list of shots"))
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise RecipeError(f"{path} is no list of shots: {' '.join(str(error).split())[:300]}.") from error
    if _counted(document) > MOST:
        raise RecipeError(f"{path} names more than {MOST} things. Check the path, and its anchors.")
    if not isinstance(document, dict) or not all(isinstance(value, dict) for value in document.values()):
        raise RecipeError(f"{path} is no list of shots: write NAME: {{identity: FILE}} for each.")
    return {str(name): value for name, value in document.items()}


def _counted(document: Any) -> int:
    """How many things a document names, however its anchors fold them; more than ``MOST`` is not counted on."""
    count, open_ones = 0, [document]
    while open_ones and count <= MOST:
        one = open_ones.pop()
        count += 1
        inner = list(one.values()) if isinstance(one, dict) else one if isinstance(one, list | tuple | set) else ()
        count += len(inner)
        open_ones += inner
    return count


def wish_of(event: Event, lists: Mapping[str, Mapping[str, Any]], arguments: CutArguments) -> Wish:
    """A shot's own wishes: of the list for all, of the clip's metadata, of the list by clip, of the list by shot."""
    told = {name: value for name, value in event.told.items() if name != "shot"}
    home = arguments.timeline.absolute().parent
    beside = home if arguments.shots is None else arguments.shots.absolute().parent
    layers = [(lists.get(EVERY, {}), beside), (told, home)]
    layers += [(lists[name], beside) for name in dict.fromkeys((*reversed(event.calls), event.name)) if name in lists]
    merged: dict[str, Any] = {}
    for wishes, folder in layers:
        merged = _merged(merged, wishes, folder, event.name)
    return Wish(**merged)


def _merged(before: Mapping[str, Any], wishes: Mapping[str, Any], folder: Path, shot: str) -> dict[str, Any]:
    known = {entry.name for entry in fields(Wish)}
    merged = dict(before)
    for name, value in wishes.items():
        if name not in known:
            raise RecipeError(f"{shot} cannot have {name!r}{nearest(str(name), known)}")
        if name == "settings":
            if not isinstance(value, Mapping):
                raise RecipeError(f"{shot}: settings are an object with names, as in matte_edge.grow: 0.02.")
            merged[name] = {**(merged.get(name) or {}), **{str(key): _plain(one) for key, one in value.items()}}
        elif name == "skip":
            merged[name] = value is True
        elif name == "source":
            texts = [value] if isinstance(value, str) else value
            if not _is_list(texts):
                raise RecipeError(f"{shot}: source is a picture, or a list of them, not {str(value)[:40]}.")
            merged[name] = tuple(str(folder / str(text)) for text in texts)
        else:
            if not isinstance(value, str | int | float | date):
                raise RecipeError(f"{shot}: {name} is one word or path, not {type(value).__name__}.")
            paths = name in ("identity", "track", "recipe", "media")
            merged[name] = str(folder / str(value)) if paths else str(value)
    return merged


def _plain(value: Any) -> Any:
    """A setting of a list or of metadata as recipes have it: keys as lists of lists."""
    if isinstance(value, str | int | float | bool):
        return value
    if not _is_list(value):
        raise RecipeError(f"{str(value)[:40]} is no setting: give a value, or keys as in [[1001, 0.0], [1010, 0.1]].")
    return [list(key) if _is_list(key) else key for key in value]


def _is_list(value: Any) -> bool:
    """Whether something is a list; those of OpenTimelineIO's metadata are of its own kind."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


__all__ = ["CutArguments", "Wish", "convert_cut", "is_timeline", "read_shots", "shot_arguments", "wish_of"]
