"""``mien train paired``: an identity from frames before and after."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mien.color import Colors
from mien.color import load as load_colors
from mien.commands.convert import tracked
from mien.commands.filming import vgg_features
from mien.commands.plate import OpenPlate
from mien.commands.track import TrackArguments
from mien.commands.train import Released, carried_out, chosen_precision, in_turn, together, training_folder
from mien.files.identities import Likeness
from mien.files.shot import MOVIES, STILLS, Shot, open_shot, read_channels, read_region
from mien.files.tracks import read_tracks
from mien.footage import plate_kind, plate_space
from mien.job import choose_device
from mien.models.aligned import aligned_matrix, as_mesh, in_crop, outlines
from mien.ops.shaper import to_log
from mien.ops.warp import warp
from mien.performer import prominent
from mien.progress import Advance, Note, Outcome, Tell
from mien.recipe import RecipeError
from mien.tracking import face_at
from mien.train.control import Control
from mien.train.kept import read_or_make
from mien.train.loop import Pace
from mien.train.paired import PairedSetting, PairedTask
from mien.train.pairs import Pair, keep_pairs, kept_pairs
from mien.train.product import Product
from mien.train.state import same_network
from mien.types import FaceTrack, MienError

ROOM = 1.25
"""Side of the squares kept around faces over that of what the network sees, for turning and shifting."""


@dataclass(frozen=True)
class PairedArguments:
    """What ``mien train paired`` was asked for.

    Attributes:
        before: Movie, sequence, picture or folder of pictures; with ``side_by_side`` pictures that hold both.
        after: The same frames as they should be, or mattes of them.
        output: Identity file to write.
        released: Whose face, by which permission.
        side_by_side: Each picture holds before in its left half and after in its right.
        setting: The network, patches and losses; ``encoding`` may be ``auto``.
        epochs: Times that every pair is seen; None goes by steps.
        pace: How long, how fast, how often to save and show.
        colorspace: Color space of both.
        tracking: How faces are found, for squares around them.
        vgg: Weights of VGG-19, in whose features results are compared too; None for none.
    """

    before: str
    after: str | None
    output: Path
    released: Released
    side_by_side: bool = False
    setting: PairedSetting = field(default_factory=PairedSetting)
    epochs: int | None = None
    pace: Pace = field(default_factory=lambda: Pace(steps=20_000, rate=8e-4))
    colorspace: str | None = None
    ocio: str | None = None
    tracking: TrackArguments = field(default_factory=TrackArguments)
    device: str = "auto"
    vgg: Path | None = None


@dataclass(frozen=True)
class Source:
    """A frame of a shot, under the name by which it finds its other half."""

    shot: Shot
    frame: int


def train_paired(arguments: PairedArguments, tell: Tell, control: Control | None = None) -> Outcome:
    """Train an identity that does to every frame what was done to a few, or go on training it.

    Raises:
        RecipeError: Arguments that cannot be, or nobody's permission.
        MienError: No pair can be read, or a state cannot be used.
    """
    likeness = arguments.released.checked()
    setting = _checked(arguments)
    folder = training_folder(arguments.output)
    same_network(folder, "paired", asdict(setting.shape))
    with together(choose_device(arguments.device), tell) as (device, speak):
        return _train_paired(arguments, setting, likeness, folder, device, speak, control or Control())


def _train_paired(
    arguments: PairedArguments,
    setting: PairedSetting,
    likeness: Likeness,
    folder: Path,
    device: torch.device,
    tell: Tell,
    control: Control,
) -> Outcome:
    colors = load_colors(arguments.ocio)
    features = None if arguments.vgg is None else vgg_features(arguments.vgg)
    found = list(_sources(arguments, tell))
    if setting.encoding == "auto":
        floats = all(plate_kind(before.shot) == "float" for _, before, _ in found)
        setting = replace(setting, encoding="log" if floats and setting.shape.outputs >= 3 else "display")
    digest = _digest(found, setting, colors)
    kept = folder / f"pairs.{digest}"
    with in_turn():
        pairs = read_or_make(
            lambda: kept_pairs(kept, setting.shape.inputs, device),
            lambda: keep_pairs(_read(arguments, setting, found, colors, folder, tell), kept),
            kept / "pairs.json",
            tell,
        )
    learned, held = _split(pairs, tell)
    pace = replace(arguments.pace, precision=chosen_precision(arguments.pace.precision, device))
    if arguments.epochs is not None:
        pace = replace(pace, steps=max(1, arguments.epochs * len(learned) // setting.batch))
    product = Product(arguments.output, likeness, folder / "curves.html")
    task = PairedTask(learned, held, setting, pace.seed, device, product, digest, features)
    return carried_out(task, pace, folder, product, tell, control)


def _checked(arguments: PairedArguments) -> PairedSetting:
    setting = arguments.setting
    if setting.view == "outlines":
        setting = replace(setting, shape=replace(setting.shape, inputs=4), encoding="display")
    try:
        shape = setting.shape.check()
        if setting.size % shape.step or not 32 <= setting.size <= 2048:
            raise ValueError(f"a size of {setting.size} is no multiple of {shape.step} from 32 to 2048")
        if setting.view not in ("frame", "face", "outlines") or setting.encoding not in ("auto", "display", "log"):
            raise ValueError(f"view {setting.view} and encoding {setting.encoding}")
        if setting.batch < 1:
            raise ValueError("a batch holds at least one picture")
    except ValueError as error:
        raise RecipeError(f"The network cannot be built: {error}.") from error
    if (arguments.after is None) != (arguments.side_by_side or setting.view == "outlines"):
        raise RecipeError("Give BEFORE and AFTER, or one source with --side-by-side or --outlines.")
    return setting


def _split(pairs: list[Pair], tell: Tell) -> tuple[list[Pair], list[Pair]]:
    """Pairs to learn from, and pairs to measure on: every tenth, of a few the middle one."""
    if len(pairs) < 4:
        tell(Note(f"Only {len(pairs)} pairs: none is held out, and what is measured is what was learned.", "warning"))
        return pairs, pairs
    held = [pair for row, pair in enumerate(pairs) if row % 10 == 9] or [pairs[len(pairs) // 2]]
    return [pair for pair in pairs if all(pair is not one for one in held)], held


def _sources(arguments: PairedArguments, tell: Tell) -> Iterator[tuple[str, Source, Source | None]]:
    """Frames that are there before and after, by name.

    Raises:
        MienError: Nothing in common.
    """
    before = _frames(arguments.before, tell)
    if arguments.after is None and arguments.setting.view != "outlines":
        yield from ((name, source, None) for name, source in before.items())
        return
    # Outlines are drawn from the faces of the pictures themselves.
    after = before if arguments.after is None else _frames(arguments.after, tell)
    if len(before) == 1 and len(after) == 1:
        (name, one), other = next(iter(before.items())), next(iter(after.values()))
        yield name, one, other
        return
    common = [name for name in before if name in after]
    if not common:
        raise MienError(
            f"{arguments.before} and {arguments.after} have no frame in common: they hold {_some(before)} "
            f"and {_some(after)}. Number or name them alike."
        )
    alone = len(before) + len(after) - 2 * len(common)
    if alone:
        tell(Note(f"{alone} frames have no other half and are left out: {len(common)} pairs remain.", "warning"))
    yield from ((name, before[name], after[name]) for name in common)


def _some(names: dict[str, Source]) -> str:
    listed = list(names)
    return ", ".join(listed[:3]) + (f" to {listed[-1]}" if len(listed) > 3 else "")


def _frames(source: str, tell: Tell) -> dict[str, Source]:
    """The frames of a movie or sequence by number, the pictures of a folder by name."""
    path = Path(source)
    try:
        shot = open_shot(source)
        return {str(frame): Source(shot, frame) for frame in shot.frames}
    except MienError:
        if not path.is_dir():
            raise
    found: dict[str, Source] = {}
    for entry in sorted(path.iterdir()):
        if entry.suffix.lower() in STILLS | MOVIES and not entry.name.startswith("."):
            try:
                shot = open_shot(entry)
                found |= {entry.stem: Source(shot, shot.first)}
            except MienError as error:
                tell(Note(f"Skipped: {error}", "warning"))
    if not found:
        raise MienError(f"{path} holds no picture that can be read.")
    return found


def _digest(found: list[tuple[str, Source, Source | None]], setting: PairedSetting, colors: Colors) -> str:
    """Hash of what the kept pairs depend on: names, sizes and times of files, and how they are read."""
    files = []
    for name, *sources in found:
        for source in sources:
            if source is not None:
                path = source.shot.file(source.frame)
                status = path.stat()
                files.append([name, str(path), source.frame, status.st_size, status.st_mtime_ns])
    how: list[Any] = [asdict(setting.shape), setting.view, setting.encoding, colors.digest]
    if setting.view != "frame":
        how += [setting.size, setting.coverage]
    return hashlib.blake2b(json.dumps([files, how]).encode(), digest_size=8).hexdigest()


def _read(
    arguments: PairedArguments,
    setting: PairedSetting,
    found: list[tuple[str, Source, Source | None]],
    colors: Colors,
    folder: Path,
    tell: Tell,
) -> Iterator[tuple[str, Tensor]]:
    """Pairs as the network sees them; those that do not fit are named and skipped."""
    tracks: dict[Path, FaceTrack] = {}
    for count, (name, before, after) in enumerate(found, start=1):
        try:
            if after is None:
                one, other = _halves(arguments, setting, before, colors)
            else:
                one, other = (
                    _light(arguments, setting, before, 3, colors),
                    _light(arguments, setting, after, setting.shape.outputs, colors),
                )
            if one.shape[1:] != other.shape[1:]:
                raise MienError(f"before is {one.shape[2]} x {one.shape[1]}, after {other.shape[2]} x {other.shape[1]}")
            if setting.view != "frame":
                one, other = _around_face(arguments, setting, before, (one, other), colors, folder, tracks, tell)
        except MienError as error:
            tell(Note(f"Skipped pair {name}: {error}", "warning"))
            continue
        yield name, torch.cat([one, other])
        tell(Advance("faceset", count, len(found), count))


def _light(arguments: PairedArguments, setting: PairedSetting, source: Source, channels: int, colors: Colors) -> Tensor:
    """(channels, H, W) of a frame as the network sees it; mattes are taken as they are stored."""
    shot, frame = source.shot, source.frame
    stored = torch.from_numpy(read_region(shot, frame, shot.display)).movedim(-1, 0)
    if channels < 3:
        return stored[:channels].nan_to_num(0.0).clamp(0, 1)
    picture = _encoded(colors.to_working(plate_space(shot, colors, arguments.colorspace))(stored), setting, colors)
    if channels == 3:
        return picture
    alpha = torch.from_numpy(read_channels(shot, frame, shot.display, ("A",))).movedim(-1, 0)
    return torch.cat([picture, alpha.nan_to_num(0.0).clamp(0, 1)])


def _encoded(light: Tensor, setting: PairedSetting, colors: Colors) -> Tensor:
    if setting.encoding == "log":
        return to_log(light.nan_to_num(0.0, 65504.0, -65504.0))
    return colors.encoding.encode(light)


def _halves(
    arguments: PairedArguments, setting: PairedSetting, source: Source, colors: Colors
) -> tuple[Tensor, Tensor]:
    """Before and after from one picture that holds them side by side."""
    width = source.shot.size[0]
    if width % 2:
        raise MienError(f"{source.shot.path} is {width} pixels wide, which has no middle")
    whole = _light(arguments, setting, source, 3, colors)
    one, other = whole[..., : width // 2], whole[..., width // 2 :]
    if setting.shape.outputs < 3:
        other = _light(arguments, setting, source, setting.shape.outputs, colors)[..., width // 2 :]
    elif setting.shape.outputs == 4:
        raise MienError("side by side pictures have no alpha of their own: give BEFORE and AFTER")
    return one, other


def _around_face(
    arguments: PairedArguments,
    setting: PairedSetting,
    source: Source,
    pictures: tuple[Tensor, Tensor],
    colors: Colors,
    folder: Path,
    tracks: dict[Path, FaceTrack],
    tell: Tell,
) -> tuple[Tensor, Tensor]:
    """Squares around the face of ``before``."""
    shot = source.shot
    if shot.path not in tracks:
        path = folder / f"{len(tracks):03d}.track.json"
        space = plate_space(shot, colors, arguments.colorspace)
        tracked(OpenPlate(shot, colors, space), arguments.tracking, path, False, tell)
        person = prominent(read_tracks(path).tracks)
        assert person is not None
        tracks[shot.path] = person
    face = face_at(tracks[shot.path], source.frame)
    if face is None:
        raise MienError("there is no face in it")
    side = round(setting.size * ROOM)
    matrix = aligned_matrix(as_mesh(face.points, face.scheme), side, setting.coverage * ROOM, face.aspect)
    one, other = (warp(picture, matrix, (side, side)) for picture in pictures)
    if setting.view == "outlines":
        one = outlines(in_crop(as_mesh(face.points, face.scheme), matrix), side)
    if setting.shape.outputs < 3:
        return one, other.clamp(0, 1)
    return one, torch.cat([other[:3], other[3:].clamp(0, 1)])
