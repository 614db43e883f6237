"""``mien train reenact``: a network of motion from films."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.color import Colors
from mien.color import load as load_colors
from mien.commands.convert import tracked
from mien.commands.cropping import cut, tubes
from mien.commands.importing import load_weights
from mien.commands.plate import OpenPlate
from mien.commands.track import TrackArguments
from mien.commands.train import Released, carried_out, chosen_precision, in_turn, together, training_folder
from mien.files.identities import Likeness
from mien.files.shot import MOVIES, Shot, open_shot
from mien.files.tracks import read_tracks
from mien.footage import ShotFootage, plate_space
from mien.job import choose_device
from mien.models.motion_shape import PUBLISHED, MotionShape
from mien.progress import Advance, Note, Outcome, Tell
from mien.recipe import RecipeError
from mien.train.clips import Clip, keep_clips, kept_clips
from mien.train.control import Control
from mien.train.features import VggFeatures
from mien.train.kept import read_or_make
from mien.train.loop import Pace
from mien.train.product import Product
from mien.train.reenact import ReenactSetting, ReenactTask
from mien.train.state import same_network
from mien.types import MienError

SMALL = MotionShape(
    size=64, detector_width=16, detector_most=128, detector_blocks=3, detector_shrink=2, motion_width=32,
    motion_most=256, motion_blocks=3, motion_shrink=2, width=32, most=128, blocks=4,
)  # fmt: skip
PRESETS = {"small-64": SMALL, **PUBLISHED}
LEAST = 8
"""Frames of a clip that says anything of motion."""
HELD = 0.1
"""Share of the clips that is measured on where none are named."""


@dataclass(frozen=True)
class ReenactArguments:
    """What ``mien train reenact`` was asked for.

    Attributes:
        films: Movies, sequences, folders of frames, or folders of movies.
        output: Identity file to write.
        released: Whose footage, by which permission.
        held: Films that are measured on and not learned from.
        setting: The network, pairs and losses.
        crop: ``face`` for squares around faces, ``none`` for whole frames.
        vgg: Weights of VGG-19 to compare pictures in; None for a random network.
        pace: How long, how fast, how often to save and show.
    """

    films: tuple[str, ...]
    output: Path
    released: Released
    held: tuple[str, ...] = ()
    setting: ReenactSetting = field(default_factory=lambda: ReenactSetting(SMALL))
    crop: str = "face"
    vgg: Path | None = None
    pace: Pace = field(default_factory=Pace)
    colorspace: str | None = None
    ocio: str | None = None
    tracking: TrackArguments = field(default_factory=TrackArguments)
    device: str = "auto"


def train_reenact(arguments: ReenactArguments, tell: Tell, control: Control | None = None) -> Outcome:
    """Train a network that moves photographs as films move, or go on training it.

    Raises:
        RecipeError: Arguments that cannot be, or nobody's permission.
        MienError: No film can be read, or a state cannot be used.
    """
    likeness = arguments.released.checked()
    if arguments.crop not in ("face", "none"):
        raise RecipeError(f"--crop {arguments.crop!r}: choose face or none.")
    setting = arguments.setting if arguments.crop == "face" else replace(arguments.setting, coverage=0.0)
    try:
        setting.shape.check()
    except ValueError as error:
        raise RecipeError(f"The network cannot be built: {error}.") from error
    folder = training_folder(arguments.output)
    same_network(folder, "reenact", asdict(arguments.setting.shape))
    with together(choose_device(arguments.device), tell) as (device, speak):
        return _train(replace(arguments, setting=setting), likeness, folder, device, speak, control or Control())


def _train(
    arguments: ReenactArguments, likeness: Likeness, folder: Path, device: torch.device, tell: Tell, control: Control
) -> Outcome:
    setting, colors = arguments.setting, load_colors(arguments.ocio)
    features = None if arguments.vgg is None else vgg_features(arguments.vgg)
    setting = replace(setting, features="random" if features is None else "vgg")
    stocks = [_stock(arguments, films, colors, folder, tell) for films in (arguments.films, arguments.held) if films]
    learned, held = stocks if len(stocks) == 2 else _split(stocks[0], tell)
    names = [f"{clip.name} {tuple(clip.frames.shape)}" for clip in (*learned, *held)]
    digest = hashlib.blake2b("\n".join(names).encode(), digest_size=8).hexdigest()
    frames = sum(len(clip.frames) for clip in learned)
    tell(Note(f"Learning from {len(learned)} clips, {frames} frames; {len(held)} held out."))
    pace = replace(arguments.pace, precision=chosen_precision(arguments.pace.precision, device))
    product = Product(arguments.output, likeness, folder / "curves.html")
    task = ReenactTask(learned, held, setting, pace.seed, device, product, digest, features)
    return carried_out(task, pace, folder, product, tell, control)


def _split(clips: Sequence[Clip], tell: Tell) -> tuple[list[Clip], list[Clip]]:
    """Clips to learn from and to measure on: every tenth, of a few the last."""
    if len(clips) == 1:
        cut_at = max(LEAST, round(len(clips[0].frames) * (1 - HELD)))
        tell(Note("Only one clip: its end is held out. Name other films with --held-out.", "warning"))
        first, rest = clips[0].frames[:cut_at], clips[0].frames[cut_at - 1 :]
        return [Clip(clips[0].name, first)], [Clip(clips[0].name, rest)]
    every = round(1 / HELD)
    held = [clip for row, clip in enumerate(clips) if row % every == every - 1] or [clips[-1]]
    return [clip for clip in clips if all(clip is not one for one in held)], held


def _stock(arguments: ReenactArguments, films: Sequence[str], colors: Colors, folder: Path, tell: Tell) -> list[Clip]:
    """Clips of films, cut once and kept beside the training."""
    shots = [shot for film in films for shot in _shots(film, tell)]
    if not shots:
        raise MienError(f"{', '.join(films)[:200]}: no film that can be read. Give movies, or folders of frames.")
    kept = folder / f"clips.{_digest(shots, arguments, colors)}"
    with in_turn():
        return read_or_make(
            lambda: kept_clips(kept),
            lambda: keep_clips(_cut(shots, arguments, colors, folder, tell), kept),
            kept / "clips.json",
            tell,
        )


def _shots(film: str, tell: Tell) -> Iterator[Shot]:
    """A film, or all of a folder that holds several."""
    path = Path(film)
    entries = sorted(path.iterdir()) if path.is_dir() else []
    inner = [entry for entry in entries if entry.suffix.lower() in MOVIES or entry.is_dir()]
    for one in inner or [path]:
        if one.name.startswith("."):
            continue
        try:
            shot = open_shot(one)
        except MienError as error:
            if not inner:
                raise
            tell(Note(f"Skipped: {error}", "warning"))
            continue
        if len(shot.frames) < LEAST:
            tell(Note(f"Skipped: {shot.name} has {len(shot.frames)} frames, too few to see motion.", "warning"))
        else:
            yield shot


def _digest(shots: Sequence[Shot], arguments: ReenactArguments, colors: Colors) -> str:
    """Hash of what clips depend on: names, sizes and times of files, and how they are cut."""
    files: list[Any] = []
    for shot in shots:
        for file in dict.fromkeys(shot.file(frame) for frame in shot.frames):
            status = file.stat()
            files.append([str(file), shot.first, shot.last, status.st_size, status.st_mtime_ns])
    how = [arguments.setting.shape.size, arguments.setting.coverage, arguments.colorspace, colors.digest]
    return hashlib.blake2b(json.dumps([files, how]).encode(), digest_size=8).hexdigest()


def _cut(
    shots: Sequence[Shot], arguments: ReenactArguments, colors: Colors, folder: Path, tell: Tell
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Clips of films: whole frames made square, or each face in a square that stands still."""
    size, found = arguments.setting.shape.size, 0
    for number, shot in enumerate(shots, start=1):
        space = plate_space(shot, colors, arguments.colorspace)
        footage = ShotFootage(shot, colors, space)
        if arguments.crop == "none":
            whole = [footage.picture(frame) for frame in shot.frames]
            pictures = [cv2.resize(one, (size, size), interpolation=cv2.INTER_AREA) for one in whole if one is not None]
            if len(pictures) >= LEAST:
                found += 1
                yield shot.path.name, np.stack(pictures)
        else:
            path = folder / "tracks" / f"{hashlib.blake2b(str(shot.path).encode(), digest_size=8).hexdigest()}.json"
            path.parent.mkdir(exist_ok=True)
            try:
                tracked(OpenPlate(shot, colors, space), arguments.tracking, path, False, tell)
            except MienError as error:
                tell(Note(f"Skipped: {error}", "warning"))
                continue
            for track in read_tracks(path).tracks:
                for tube in tubes(track, arguments.setting.coverage):
                    pictures = [picture for _, picture in cut(footage, tube, size) if picture is not None]
                    if len(pictures) >= LEAST:
                        found += 1
                        yield f"{shot.path.name} {tube.name}", np.stack(pictures)
        tell(Advance("faceset", number, len(shots), number))


def vgg_features(path: Path) -> VggFeatures:
    """VGG-19 from weights that the artist brings.

    Raises:
        MienError: They are none.
    """
    loaded = load_weights(path)
    try:
        state: dict[str, Tensor] = {str(n): v for n, v in dict(loaded).items() if isinstance(v, Tensor)}
        return VggFeatures(state)
    except (ValueError, TypeError) as error:
        raise MienError(f"{path} holds no weights of VGG-19 as torchvision names them: {error}.") from error
