"""A shot as trackers see it: display-like 8-bit pictures with square pixels."""

from typing import Any

import cv2
import torch

from mien.color import Colors, Kind
from mien.files.shot import Shot, analysis_picture, read_region
from mien.types import MienError


def plate_kind(shot: Shot) -> Kind:
    """How the color of a shot is stored: a movie, floats or integers."""
    if shot.movie is not None:
        return "movie"
    kind = str(shot.metadata.get("mien:format", "")) or shot.file(shot.frames[0]).suffix.lower()
    return "float" if kind in (".exr", ".sxr", ".hdr", ".rgbe", ".pfm") else "integer"


def plate_space(shot: Shot, colors: Colors, name: str | None) -> str:
    """The color space of a plate: as told, by its header, by the config's file rules, or by its kind.

    Raises:
        MienError: The config has no such space.
    """
    return colors.resolve(name, path=shot.name, header=shot.metadata, kind=plate_kind(shot))


class ShotFootage:
    """The pictures of a shot; frames that are missing or damaged read as None and are remembered.

    Attributes:
        failures: What was wrong, by frame.
    """

    def __init__(self, shot: Shot, colors: Colors, space: str) -> None:
        self.first, self.last, self.aspect = shot.first, shot.last, shot.aspect
        self.failures: dict[int, str] = {}
        self._shot, self._colors = shot, colors
        self._to_working = colors.to_working(space)

    def picture(self, frame: int) -> Any:
        """(H, W, 3) uint8 of the display window, or None where the shot has no whole frame."""
        try:
            if self._shot.movie is not None:
                return analysis_picture(self._shot, frame)
            pixels = read_region(self._shot, frame, self._shot.display)
        except MienError as error:
            self.failures[frame] = str(error)
            return None
        light = self._to_working(torch.from_numpy(pixels).movedim(-1, 0))
        shown = self._colors.encoding.preview(light, self._colors.encoding.exposure(light)).numpy()
        if abs(self.aspect - 1) < 1e-3:
            return shown
        size = (round(shown.shape[1] * self.aspect), shown.shape[0])
        return cv2.resize(shown, size, interpolation=cv2.INTER_AREA if self.aspect < 1 else cv2.INTER_LINEAR)
