"""``mien demo``: two portraits in the public domain become a finished shot."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mien import demo, sheet
from mien.commands.convert import ConvertArguments, convert_shot, make_folder
from mien.commands.plate import OpenPlate, PlateArguments, open_plate
from mien.files.shot import open_shot, read_channels, read_region
from mien.files.tracks import read_tracks
from mien.progress import Note, Outcome, Tell

ROWS = 4
"""Frames on the contact sheet."""
COLUMNS = ("plate", "layer", "matte", "comp")


def demonstrate(folder: Path, frames: int, tell: Tell) -> Outcome:
    """Make the shot, put the performer on it, and draw a contact sheet.

    Raises:
        MienError: The folder cannot be written.
    """
    folder = make_folder(folder)
    plate = demo.make_plate(folder / "plate", frames)
    tell(Note(f"Made the plate {plate}: Eileen Collins (NASA, public domain), {frames} frames."))
    outcome = convert_shot(
        ConvertArguments(
            plate=PlateArguments(str(plate)),
            folder=folder / "out",
            sources=(str(demo.performer()),),
            likeness="Grace Hopper",
            release="US Navy portrait, public domain",
            write=("layer", "full", "movie"),
        ),
        tell,
    )
    picture = folder / "contact_sheet.png"
    draw_sheet(picture, plate, folder / "out")
    tell(Note(f"Grace Hopper (US Navy, public domain) now plays the part. Look at {picture} first."))
    return replace(outcome, written=(*outcome.written, str(picture)))


def draw_sheet(path: Path, plate: Path, out: Path) -> None:
    """Draw plate, layer, matte and comp of a few frames of a converted shot, cut to the face."""
    opened = open_plate(PlateArguments(str(plate)))
    shot = opened.shot
    track = read_tracks(next(out.glob("*.track.json"))).tracks[0]
    window = sheet.window_around(track.points[..., :2].numpy(), shot.size[::-1], 0.7, 1.0)
    chosen = [shot.frames[round(i)] for i in np.linspace(0, len(shot.frames) - 1, ROWS)]
    name = next(out.glob("*.recipe.json")).name.removesuffix(".recipe.json")
    rows = []
    for frame in chosen:
        pictures = [
            _seen(opened, read_region(shot, frame, shot.display)),
            _layer(opened, out / "layer" / f"{name}.{frame:04d}.exr"),
            _matte(opened, out / "layer" / f"{name}.{frame:04d}.exr"),
            _seen(opened, read_region(open_shot(out / "full" / f"{name}.{frame:04d}.exr"), frame, shot.display)),
        ]
        rows.append([picture[window] for picture in pictures])
    sheet.contact_sheet(path, rows, COLUMNS, [str(frame) for frame in chosen], title="mien demo")


def _seen(plate: OpenPlate, pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    light = plate.colors.for_viewing(plate.space)(torch.from_numpy(pixels).movedim(-1, 0))
    shown: NDArray[np.uint8] = (light.clamp(0, 1).movedim(0, -1) * 255 + 0.5).to(torch.uint8).numpy()
    return shown


def _layer(plate: OpenPlate, path: Path) -> NDArray[np.uint8]:
    layer = open_shot(path)
    color = read_channels(layer, layer.first, plate.shot.display, ("R", "G", "B", "A"))
    alpha = color[..., 3]
    straight = (color[..., :3] / np.maximum(alpha[..., None], 1e-4)).astype(np.float32)
    return sheet.over_checkerboard(_seen(plate, straight), alpha)


def _matte(plate: OpenPlate, path: Path) -> NDArray[np.uint8]:
    layer = open_shot(path)
    return sheet.gray(read_channels(layer, layer.first, plate.shot.display, ("A",))[..., 0])
