"""The values that flow between nodes.

Pictures are float32, scene-linear, in the working space; nothing clips them. Positions are (x, y) in
plate pixels, x right and y down, from the outer corner of the top-left pixel of the display window, so
that the first pixel's center is (0.5, 0.5). Depth z is in the same scale and smaller toward the viewer.
"""

import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Generic, Protocol, TypeVar, overload

import torch
from torch import Tensor

Value = TypeVar("Value")

SPACES = ("linear", "log", "perceptual")
"""Spaces in which colors are compared and moved (``mien.ops.spaces``)."""


class MienError(Exception):
    """Something an artist can mend: the message says what, where and what to do."""


@dataclass(frozen=True)
class Socket:
    """The name a host shows for a tensor, and its shape."""

    name: str
    shape: str


Image = Annotated[Tensor, Socket("Image", "(..., 3, H, W)")]
Matte = Annotated[Tensor, Socket("Matte", "(..., 1, H, W), 0 outside to 1 inside")]
Points = Annotated[Tensor, Socket("Points", "(..., N, 2) or (..., N, 3)")]
White = Annotated[float, Socket("White", "scene-linear level above which light is a highlight")]
Matrix = Annotated[Tensor, Socket("Matrix", "(..., 3, 3), maps (x, y, 1)")]


@dataclass(frozen=True)
class Plate:
    """The part of a plate that a frame needs.

    Attributes:
        image: Scene-linear picture of the region.
        corner: Plate pixel (x, y) of the region's top-left pixel; may be negative in overscan.
        frame: Number of the frame, from which whatever is random is seeded.
    """

    image: Image
    corner: tuple[int, int]
    frame: int = 0


@dataclass(frozen=True)
class Layer:
    """A face in plate position: a picture, its matte, and the plate pixel its corner sits on.

    Attributes:
        image: Scene-linear face, unmatted.
        matte: Where the face replaces the plate.
        corner: Plate pixel (x, y) of the layer's top-left pixel.
        face_width: Width of the face in plate pixels, the unit of sizes given in face widths.
        mattes: Every matte that took part, by name.
    """

    image: Image
    matte: Matte
    corner: tuple[int, int]
    face_width: float
    mattes: Mapping[str, Matte] = field(default_factory=dict)

    def shaped(self, name: str, matte: Matte) -> "Layer":
        """This layer with another matte, which is remembered under ``name``."""
        return replace(self, matte=matte, mattes={**self.mattes, name: matte})


@dataclass(frozen=True)
class Face:
    """One person's face in one frame.

    Attributes:
        points: (N, 3) landmarks in plate pixels.
        weight: (N,) trust in each point, 0 (hidden or guessed) to 1.
        confidence: Trust in the face as a whole, 0 (lost) to 1.
        width: Width of the face in plate pixels along x, steady through the shot.
        scheme: ``mesh`` or ``ibug68``.
        aspect: Pixel aspect of the plate; multiply x by it for square geometry.
        velocity: (N, 3) plate pixels that each point moves from frame to frame, halfway between the step that
            led here and the one that leads on; None where no neighboring frame tells.
    """

    points: Points
    weight: Tensor
    confidence: float
    width: float
    scheme: str = "mesh"
    aspect: float = 1.0
    velocity: Points | None = None


@dataclass(frozen=True)
class FaceTrack:
    """One person's face through a shot: row ``i`` is the face in frame ``first + i``.

    Attributes:
        name: What the artist calls this person.
        first: Frame of row 0.
        points: (F, N, 3) landmarks in plate pixels; rows of lost frames hold NaN.
        weight: (F, N) trust in each point.
        confidence: (F,) trust in the face, 0 where it is lost.
        keyed: (F,) bool, True on frames that an artist placed by hand.
        scheme: ``mesh`` or ``ibug68``.
        aspect: Pixel aspect of the plate.
        ignored: The artist wants nothing done to this person.
    """

    name: str
    first: int
    points: Points
    weight: Tensor
    confidence: Tensor
    keyed: Tensor
    scheme: str = "mesh"
    aspect: float = 1.0
    ignored: bool = False

    @property
    def last(self) -> int:
        """Frame of the last row."""
        return self.first + len(self.points) - 1


@dataclass(frozen=True)
class PlacedPoints:
    """Points that an artist placed on one face in one frame: the truth there.

    Attributes:
        scheme: ``five`` (centers of the eyes, tip of the nose, corners of the mouth; those on the left of the
            picture first), ``ibug68`` or ``mesh``: what the indices mean.
        indices: Which points of the scheme were placed.
        positions: (K, 2) plate pixels, in the order of ``indices``.
        person: Whose face it is; None where it need not be said.
    """

    scheme: str
    indices: tuple[int, ...]
    positions: Points
    person: str | None = None


@dataclass(frozen=True)
class Series(Generic[Value]):
    """One value for each frame of a shot; frames without one (no face, no plate) hold None."""

    first: int
    values: tuple[Value | None, ...]

    def at(self, frame: int) -> Value | None:
        """The value in one frame; None outside the series."""
        row = frame - self.first
        return self.values[row] if 0 <= row < len(self.values) else None


@dataclass(frozen=True)
class Window(Generic[Value]):
    """A value in one frame and in those around it, in order: an odd number, None where a neighbor has none."""

    values: tuple[Value | None, ...]

    @property
    def center(self) -> Value:
        """The value in the frame itself."""
        value = self.values[len(self.values) // 2]
        assert value is not None
        return value


@dataclass(frozen=True)
class Grade:
    """A color move: ``matrix · color + offset``, and tables of what a matrix cannot say.

    Without tables and in linear light, native nodes of hosts replay it exactly; every other one as a ``.cube``.

    Attributes:
        matrix: Three rows of three.
        offset: Three values.
        space: ``linear``, ``log`` or ``perceptual``: the space in which all of this happens (``mien.ops.spaces``).
        low, high: Colors between which the tables are spaced evenly; beyond, their end values hold.
        curves: Per channel, values that are added to it, looked up by the color before the move.
        sizes: Steps of ``cube`` along each opponent axis, brightness first.
        cube: Values added to the three channels, indexed by opponent axes, the last fastest, channels together.
    """

    matrix: tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]
    offset: tuple[float, float, float]
    space: str = "linear"
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    curves: tuple[tuple[float, ...], ...] = ()
    sizes: tuple[int, ...] = ()
    cube: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise ValueError(f"there is no space {self.space!r}")
        tables = bool(self.curves) or bool(self.cube)
        even = len({len(curve) for curve in self.curves}) <= 1 and len(self.curves) in (0, 3)
        box = len(self.low) == len(self.high) == (3 if tables else 0)
        whole = len(self.cube) == 3 * math.prod(self.sizes or (0,)) and len(self.sizes) in (0, 3)
        if not (even and box and whole) or (self.curves and self.cube):
            raise ValueError("the tables of a grade do not fit their sizes")


PIECE = 448
"""Bytes of a table that lie in one block: Python packs blocks up to 512 bytes, its own head included, densely."""


class Table(Sequence[tuple[float, ...]]):
    """Rows of numbers, all of one length, packed into 8 bytes each: measurements of a whole shot are kept at once."""

    __slots__ = ("_columns", "_pieces")

    def __init__(self, rows: Iterable[Iterable[float]] = ()) -> None:
        found = [array("d", row) for row in rows]
        self._columns = len(found[0]) if found else 0
        if any(len(row) != self._columns for row in found):
            raise ValueError("the rows of a table are of different lengths")
        packed = b"".join(row.tobytes() for row in found)
        # In one block, each would hold a page of memory back among pictures that are let go.
        self._pieces = tuple(packed[start : start + PIECE] for start in range(0, len(packed), PIECE))

    def __len__(self) -> int:
        return sum(map(len, self._pieces)) // (8 * self._columns) if self._columns else 0

    @overload
    def __getitem__(self, row: int) -> tuple[float, ...]: ...
    @overload
    def __getitem__(self, row: slice) -> "Table": ...
    def __getitem__(self, row: int | slice) -> "tuple[float, ...] | Table":
        if isinstance(row, slice):
            return Table(self[index] for index in range(*row.indices(len(self))))
        start = range(len(self))[row] * self._columns
        return tuple(self._numbers()[start : start + self._columns])

    def __iter__(self) -> Iterator[tuple[float, ...]]:
        numbers, columns = self._numbers(), self._columns
        return (tuple(numbers[start : start + columns]) for start in range(0, len(numbers), columns or 1))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and (self._columns, self._pieces) == (other._columns, other._pieces)

    def __hash__(self) -> int:
        return hash((self._columns, self._pieces))

    def __repr__(self) -> str:
        return f"Table({len(self)} x {self._columns})"

    def __deepcopy__(self, known: Mapping[int, Any]) -> "Table":
        return self

    def tensor(self) -> Tensor:
        """(rows, columns) float64 tensor of its own."""
        return torch.tensor(self._numbers(), dtype=torch.float64).view(len(self), self._columns)

    def _numbers(self) -> "array[float]":
        return array("d", b"".join(self._pieces))


NO_ROWS = Table()


@dataclass(frozen=True)
class ColorSample:
    """What a color match needs to know of one frame: weighted statistics inside the matte, in one space.

    Attributes:
        weight: Number of pixels that counted (sum of weights).
        face_mean, plate_mean: (3,) means of the face and of the plate.
        face_covariance, plate_covariance: (3, 3).
        space: ``linear``, ``log`` or ``perceptual``.
        face_quantiles, plate_quantiles: Per channel and then of brightness, values at even shares of the weight.
        face_palette, plate_palette: (N, 3) colors of equal weight that stand for all, in corresponding order.
    """

    weight: float
    face_mean: tuple[float, ...]
    plate_mean: tuple[float, ...]
    face_covariance: tuple[tuple[float, ...], ...]
    plate_covariance: tuple[tuple[float, ...], ...]
    space: str = "linear"
    face_quantiles: Table = NO_ROWS
    plate_quantiles: Table = NO_ROWS
    face_palette: Table = NO_ROWS
    plate_palette: Table = NO_ROWS

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise ValueError(f"there is no space {self.space!r}")


@dataclass(frozen=True)
class Grain:
    """The grain of a picture; channels are those of the working space.

    Attributes:
        weight: Squares of the picture that it was seen on; 0 where there is none.
        variance: Per channel (a, b, c): the variance at level v is ``a + b v + c v²``.
        levels: Per channel, the levels (low, high) beyond which the variance is taken to stay as it is.
        across, down: Per channel, how alike pixels 1, 2 and 3 apart are along x and along y, -1 to 1.
        colors: (3, 3) how alike the channels are.
    """

    weight: float
    variance: tuple[tuple[float, ...], ...]
    levels: tuple[tuple[float, float], ...]
    across: tuple[tuple[float, ...], ...]
    down: tuple[tuple[float, ...], ...]
    colors: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class DetailSample:
    """What was measured of a face and the plate under its matte in one frame. Lengths are plate pixels.

    Attributes:
        weight: Number of pixels that counted; 0 where there was nothing to measure.
        face_width: Width of the face, in the pixels of everything else here.
        blur: Variance of the blur that makes the face as soft as the plate; negative where it is softer already.
        color_blur: The same for color alone, which codecs keep at a lower resolution.
        streak: Length by which the plate is smeared along the motion, more than the face is.
        speed: Pixels that the face moves in a frame.
        grain: The plate's grain.
        own: Per channel, the share of that grain that the face has of itself.
    """

    weight: float
    face_width: float
    blur: float
    color_blur: float
    streak: float
    speed: float
    grain: Grain
    own: tuple[float, ...]


@dataclass(frozen=True)
class Detail:
    """How a face is brought to the plate's detail in one frame. Lengths are plate pixels.

    Attributes:
        face_width: Width of the face, in the pixels of everything else here.
        blur: Variance of a blur; negative sharpens.
        color_blur: Variance of a blur of color alone.
        shutter: Share of the frame for which the plate's shutter is open.
        grain: The plate's grain.
        missing: Per channel, the share of its variance that the face lacks.
    """

    face_width: float
    blur: float
    color_blur: float
    shutter: float
    grain: Grain
    missing: tuple[float, ...]


@dataclass(frozen=True)
class RegionSample:
    """What one frame tells of slow differences of color over a face, on a grid in the face's own axes.

    Attributes:
        weight: (rows, columns) how many pixels counted around each point.
        face, plate: (3, rows, columns) average logarithm of their light there.
    """

    weight: tuple[tuple[float, ...], ...]
    face: tuple[tuple[tuple[float, ...], ...], ...]
    plate: tuple[tuple[tuple[float, ...], ...], ...]


@dataclass(frozen=True)
class Regions:
    """Slow changes of color over a face.

    Attributes:
        light: (3, rows, columns) logarithm of the ratio by which each point of the grid changes.
    """

    light: tuple[tuple[tuple[float, ...], ...], ...]


class Footage(Protocol):
    """A shot as a tracker reads it: display-like 8-bit pictures with square pixels, one frame at a time."""

    first: int
    last: int
    aspect: float
    """Pixel aspect of the plate: picture x equals plate x times ``aspect``, y equals y."""

    def picture(self, frame: int) -> Any:
        """(H, W, 3) uint8 RGB of the display window, or None where the plate has no such frame."""
        ...


class Roto(Protocol):
    """Mattes drawn elsewhere, on disk, as they lie in one frame."""

    def __call__(self, file: str, channel: str, corner: tuple[int, int], size: tuple[int, int]) -> Matte:
        """The (1, height, width) part of a matte under a region of the plate, between 0 and 1.

        Raises:
            MienError: The file of this frame is missing or damaged, or has no such channel.
        """
        ...


class Identity(Protocol):
    """A face to put on: looks at the plate and the face in it, answers with a layer in plate position."""

    @property
    def digest(self) -> str:
        """Hash of everything that determines the result."""
        ...

    def __call__(self, plate: Plate, face: Face) -> Layer:
        """Draw this identity as the given face; the layer covers the plate region."""
        ...


Node = Callable[..., Any]
