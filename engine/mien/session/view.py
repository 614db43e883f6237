"""What an artist looks at, and the answer."""

from dataclasses import dataclass

from mien.recipe import Recipe

LAYERS = ("layer", "raw", "matte", "comp")
"""What can be shown: the premultiplied layer, the unmatted face, every matte, the face over the plate."""
BUDGET = 0.08
"""Seconds that an answer may take where the engine chooses the scale."""


class Cancelled(Exception):
    """Nobody waits for this any more."""


@dataclass(frozen=True)
class View:
    """One frame of a recipe, as a host wants to see it.

    Attributes:
        recipe: Checked recipe with the values as they are dialed now.
        frame: Its number.
        scale: Size of the pictures over the plate's, one over a whole number; None lets the engine choose the
            finest that it expects to have within ``budget``.
        region: Plate pixels (x, y, width, height) that are wanted; None for all of the face's.
        layers: Which of ``LAYERS``.
        budget: Seconds.
    """

    recipe: Recipe
    frame: int
    scale: float | None = None
    region: tuple[int, int, int, int] | None = None
    layers: tuple[str, ...] = ("layer",)
    budget: float = BUDGET


@dataclass(frozen=True)
class Shown:
    """Pixels in a file that another process can map; plain data.

    Attributes:
        frame, scale: What is shown.
        key: Hash of all that it depends on: the same key, the same pixels.
        face: Whether there is a face in the frame; without one the picture is one empty pixel.
        solve: ``fresh``; ``stale`` where curves solved earlier are shown though something they depend on was
            changed since; ``none`` where nothing was solved yet and a single frame was measured, roughly.
        name: What to release when done.
        path: The file, an uncompressed EXR.
        offset, stride, width, height, channels, pixels: Its layout (``mien.files.handover``).
        corner: Top-left pixel of the data window, in pixels of this scale.
        size: Width and height of the display window, likewise.
        seconds: How long the engine took.
    """

    frame: int
    scale: float
    key: str
    face: bool
    solve: str
    name: str
    path: str
    offset: int
    stride: int
    width: int
    height: int
    channels: tuple[str, ...]
    pixels: str
    corner: tuple[int, int]
    size: tuple[int, int]
    seconds: float
