"""Pictures as Nuke's nodes pass them: named channels over a data window, black around it.

Positions here are rows from the top; where Nuke counts upward, the nodes turn them over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom of pixels of the format; the last two are outside."""
RGBA = ("rgba.red", "rgba.green", "rgba.blue", "rgba.alpha")
SHORT = {"red": RGBA[0], "green": RGBA[1], "blue": RGBA[2], "alpha": RGBA[3]}
LAYERS = {"rgba": RGBA, "rgb": RGBA[:3], "alpha": RGBA[3:], "forward": ("forward.u", "forward.v")}
COLORS = {"R": "red", "G": "green", "B": "blue", "A": "alpha"}


@dataclass(frozen=True)
class Picture:
    """Channels over a data window.

    Attributes:
        size: Width and height of the format.
        box: Where the channels lie; around it everything is 0.
        channels: (height, width) arrays by name, as ``rgba.red``, ``matte.hull``.
    """

    size: tuple[int, int]
    box: Box = (0, 0, 0, 0)
    channels: Mapping[str, Array] = field(default_factory=dict)

    def over(self, box: Box, name: str) -> Array:
        """A channel over another window; 0 where it has nothing."""
        left, top, right, bottom = box
        found = np.zeros((max(0, bottom - top), max(0, right - left)), np.float32)
        held = self.channels.get(name)
        if held is None:
            return found
        x0, y0, x1, y1 = shared(box, self.box)
        if x1 > x0 and y1 > y0:
            found[y0 - top : y1 - top, x0 - left : x1 - left] = held[
                y0 - self.box[1] : y1 - self.box[1], x0 - self.box[0] : x1 - self.box[0]
            ]
        return found

    def whole(self, names: tuple[str, ...] = RGBA) -> Array:
        """Channels over the format, (height, width, channels)."""
        return np.stack([self.over((0, 0, *self.size), name) for name in names], axis=2)

    def boxed(self, box: Box) -> Picture:
        """The same picture over another window."""
        return Picture(self.size, box, {name: self.over(box, name) for name in self.channels})

    def laid(self, changed: Mapping[str, Array]) -> Picture:
        """The same picture with channels replaced or added; they must have its window."""
        return Picture(self.size, self.box, {**self.channels, **changed})


def shared(a: Box, b: Box) -> Box:
    """What two windows share; it may be empty."""
    return max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])


def joined(*boxes: Box) -> Box:
    """The window around all that are not empty."""
    full = [box for box in boxes if box[2] > box[0] and box[3] > box[1]]
    if not full:
        return (0, 0, 0, 0)
    return (
        min(box[0] for box in full), min(box[1] for box in full), max(box[2] for box in full),
        max(box[3] for box in full),
    )  # fmt: skip


def grown(box: Box, by: int) -> Box:
    """A window grown on all sides; empty ones stay so."""
    if box[2] <= box[0] or box[3] <= box[1]:
        return box
    return box[0] - by, box[1] - by, box[2] + by, box[3] + by


def named(words: list[str], held: Mapping[str, Array]) -> list[str]:
    """Channels that the words of a channel knob mean, among those that a picture holds for ``all`` and layers."""
    found: list[str] = []
    for word in words:
        if word in ("none", ""):
            continue
        drop, word = word.startswith("-"), word.lstrip("-")
        if word == "all":
            names = list(held)
        elif word in LAYERS:
            names = list(LAYERS[word])
        elif word in SHORT:
            names = [SHORT[word]]
        elif "." in word:
            names = [word]
        else:
            names = [name for name in held if name.startswith(word + ".")]
        found = [name for name in found if name not in names] if drop else [*found, *names]
    return list(dict.fromkeys(found))


def from_file(name: str) -> str:
    """The name that Nuke gives a channel of an EXR file: ``R`` is ``rgba.red``, ``raw.R`` is ``raw.red``."""
    layer, dot, channel = name.rpartition(".")
    return f"{layer if dot else 'rgba'}.{COLORS.get(channel, channel)}"


def sampled(channel: Array, rows: Array, columns: Array, repeat: bool = False) -> Array:
    """Bilinear samples at positions in pixels from the corner, pixel centers at +0.5; 0 (or the edge) outside."""
    height, width = channel.shape
    y, x = rows.astype(np.float64) - 0.5, columns.astype(np.float64) - 0.5
    y, x = np.nan_to_num(y, nan=-10.0), np.nan_to_num(x, nan=-10.0)
    if repeat:
        y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
    y, x = np.clip(y, -2, height + 1), np.clip(x, -2, width + 1)
    padded = np.pad(channel, 3)
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    down, along = (y - top), (x - left)
    total = np.zeros(rows.shape)
    for dy, weight_y in ((0, 1 - down), (1, down)):
        for dx, weight_x in ((0, 1 - along), (1, along)):
            weight = weight_y * weight_x
            value = padded[top + dy + 3, left + dx + 3]
            total += np.where(weight > 0, weight * np.where(weight > 0, value, 0), 0)
    return total.astype(np.float32)
