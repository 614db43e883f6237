"""Draw a face at 200 % before and after on clips of every kind: ``python docs/draw_clips.py MEDIA``.

MEDIA is a folder with Intel's sample videos (``intel/``) and the scanned head (``synthetic_head/``). Of each clip a
few frames are tracked and converted, as ``mien convert`` does. Light that is too dark, too bright
or too warm is made from a clip: multiplied in linear light, clipped, and kept in 8 bits as a camera would.
Writes ``docs/pictures/clips/NAME.jpg``; the words are in ``docs/clips.md``.
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import OpenImageIO as oiio
import skimage

from mien.commands.convert import ConvertArguments, convert_shot
from mien.commands.plate import PlateArguments
from mien.files.tracks import read_tracks
from mien.performer import prominent

HERE = Path(__file__).resolve().parent
NEIGHBORS = 4
"""Frames before and after the one shown that are converted with it."""
ZOOM = 2
MARGIN = 0.75
"""Face widths shown around the middle of the face, beside a half."""


@dataclass(frozen=True)
class Clip:
    """A clip, the frame that is shown, the light that falls on it per channel, which columns, and what is dialed."""

    name: str
    file: str
    frame: int
    light: tuple[float, float, float] = (1.0, 1.0, 1.0)
    columns: tuple[float, float] = (0.0, 1.0)
    settings: tuple[tuple[str, float], ...] = ()


HAIR = (("face_matte.forehead", 0.2), ("matte_edge.right", -0.1), ("matte_edge.soften", 0.12))
"""The portrait's hair falls on one side of the forehead: the matte stops short of it."""
SOFT = ("detail_face.soften", 0.012)
CLIPS = (
    Clip("dark", "intel/asl_gestures/student.mkv", 6, (0.16, 0.16, 0.18), settings=(*HAIR, SOFT)),
    Clip("warm", "intel/preview/head-pose-face-detection-male.gif", 24, (1.25, 0.8, 0.38), settings=HAIR),
    Clip("overexposed", "intel/asl_gestures/school.mkv", 24, (2.6, 2.6, 2.6), settings=(*HAIR, SOFT)),
    Clip(
        "bearded",
        "intel/preview/face-demographics-walking-and-pause.gif",
        28,
        columns=(0.28, 0.68),
        settings=HAIR,
    ),
    Clip("spectacles", "intel/asl_gestures/hungry.mkv", 24, settings=(*HAIR, SOFT)),
    Clip("blurred", "synthetic_head/fastturn.mp4", 23, settings=HAIR),
)


def photo(folder: Path) -> Path:
    """Eileen Collins, NASA, in the public domain; comes with scikit-image."""
    path = folder / "collins.png"
    cv2.imwrite(str(path), cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR))
    return path


def lit(picture: np.ndarray, light: tuple[float, float, float]) -> np.ndarray:
    """An 8-bit sRGB picture as a camera would have kept it in another light."""
    if light == (1.0, 1.0, 1.0):
        return picture
    value = picture / 255.0
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4) * np.array(light)
    coded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clip(1e-9) ** (1 / 2.4) - 0.055)
    return (coded.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def unpack(clip: Clip, media: Path, folder: Path) -> list[np.ndarray]:
    """The frames of a clip as PNG in a folder, and as pictures."""
    folder.mkdir(parents=True)
    frames = []
    with av.open(str(media / clip.file)) as file:
        for number, frame in enumerate(file.decode(video=0)):
            if abs(number - clip.frame) <= NEIGHBORS:
                picture = frame.to_ndarray(format="rgb24")
                low, high = (round(share * picture.shape[1]) for share in clip.columns)
                frames.append(lit(picture[:, low:high], clip.light))
                place = str(folder / f"plate.{1001 + number}.png")
                cv2.imwrite(place, cv2.cvtColor(frames[-1], cv2.COLOR_RGB2BGR))
    return frames


def converted(clip: Clip, media: Path, folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The middle frame before and after, 8 bits, and the (N, 2) points of the face in it."""
    frames = unpack(clip, media, folder / "plate")
    middle = 1001 + clip.frame
    asked = ConvertArguments(
        PlateArguments(str(folder / "plate" / "plate.####.png")),
        folder / "out",
        sources=(str(photo(folder)),),
        settings=dict(clip.settings),
        likeness="A portrait in the public domain",
        release="none needed",
        write=("full",),
        device="cpu",
    )
    outcome = convert_shot(asked, lambda event: None)
    if outcome.failed:
        raise SystemExit(f"{clip.name}: {outcome}")
    result = oiio.ImageBuf(str(folder / "out" / "full" / f"plate.{middle}.exr"))
    pixels = result.get_pixels(oiio.FLOAT)[..., :3]
    track = prominent(read_tracks(folder / "out" / "plate.track.json").tracks)
    assert track is not None
    points = track.points[middle - track.first, :, :2].numpy()
    return frames[min(clip.frame, NEIGHBORS)], pixels, points


def coded(linear: np.ndarray) -> np.ndarray:
    """A picture of a full-frame EXR, of the plate's own values, in 8 bits."""
    return (linear.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def around(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The face and what is around it, at ``ZOOM``, each pixel a square."""
    low, high = points.min(0), points.max(0)
    (x, y), half = (low + high) / 2, MARGIN * (high - low).max()
    rows = slice(max(0, round(y - half)), min(picture.shape[0], round(y + half)))
    columns = slice(max(0, round(x - half)), min(picture.shape[1], round(x + half)))
    return picture[rows, columns].repeat(ZOOM, 0).repeat(ZOOM, 1)


def main(media: Path, names: list[str]) -> None:
    """Draw the clips of these names, or all."""
    for clip in CLIPS:
        if names and clip.name not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            before, after, points = converted(clip, media, Path(folder))
        print(clip.name, dict(clip.settings))
        pair = [around(picture, points) for picture in (before, coded(after))]
        gap = np.full((pair[0].shape[0], 8, 3), 24, np.uint8)
        drawn = cv2.cvtColor(np.hstack([pair[0], gap, pair[1]]), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(HERE / "pictures" / "clips" / f"{clip.name}.jpg"), drawn, [cv2.IMWRITE_JPEG_QUALITY, 92])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
