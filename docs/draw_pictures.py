"""Draw the pictures of the README and of these pages: ``.venv/bin/python docs/draw_pictures.py``."""

import tempfile
from pathlib import Path

import cv2
import numpy as np

from mien import demo, tracking
from mien.commands.demonstrate import demonstrate
from mien.commands.plate import PlateArguments, open_plate
from mien.files.tracks import read_tracks
from mien.footage import ShotFootage
from mien.preview import draw, marked_faces

PICTURES = Path(__file__).parent / "pictures"
FRAMES = 48
WIDTH = 1280
"""Pixels across of every picture."""


def save(name: str, picture: np.ndarray) -> None:
    """Write an R'G'B' picture as a JPEG of the documentation."""
    height = round(picture.shape[0] * WIDTH / picture.shape[1])
    smaller = cv2.resize(picture, (WIDTH, height), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(PICTURES / name), smaller[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


def main() -> None:
    """Run the demo and keep its contact sheet and two frames of its track."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        demonstrate(Path(folder), FRAMES, print)
        sheet = cv2.imread(str(Path(folder) / "contact_sheet.png"))[..., ::-1]
        save("contact_sheet.jpg", sheet)
        plate = open_plate(PlateArguments(str(Path(folder) / "plate" / "plate.%04d.exr")))
        file = read_tracks(next((Path(folder) / "out").glob("*.track.json")))
        tracks = tuple(tracking.smooth(track, rigid=0.5, expression=0.5) for track in file.tracks)
        footage = ShotFootage(plate.shot, plate.colors, plate.space)
        frames = (demo.FIRST, demo.FIRST + FRAMES - 1)
        drawn = [draw(footage.picture(frame), marked_faces(tracks, frame), str(frame)) for frame in frames]
        save("track.jpg", np.concatenate(drawn, axis=1))


if __name__ == "__main__":
    main()
