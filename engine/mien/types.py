"""The values that flow between nodes.

Pictures are float32, scene-linear, in the working space; nothing clips them. Positions are (x, y) in
plate pixels, x right and y down, from the outer corner of the top-left pixel of the display window, so
that the first pixel's center is (0.5, 0.5). Depth z is in the same scale and smaller toward the viewer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Generic, Protocol, TypeVar

from torch import Tensor

Value = TypeVar("Value")


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
    """

    image: Image
    corner: tuple[int, int]


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
    """

    points: Points
    weight: Tensor
    confidence: float
    width: float
    scheme: str = "mesh"
    aspect: float = 1.0


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
class Grade:
    """A color move, ``matrix · rgb + offset``, that native nodes of hosts replay.

    Attributes:
        matrix: Three rows of three.
        offset: Three values, scene-linear.
    """

    matrix: tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]
    offset: tuple[float, float, float]


@dataclass(frozen=True)
class ColorSample:
    """What a color match needs to know of one frame: weighted moments inside the matte.

    Attributes:
        weight: Number of pixels that counted (sum of weights).
        face_mean, plate_mean: (3,) means of the face and of the plate.
        face_covariance, plate_covariance: (3, 3).
    """

    weight: float
    face_mean: tuple[float, ...]
    plate_mean: tuple[float, ...]
    face_covariance: tuple[tuple[float, ...], ...]
    plate_covariance: tuple[tuple[float, ...], ...]


class Footage(Protocol):
    """A shot as a tracker reads it: display-like 8-bit pictures with square pixels, one frame at a time."""

    first: int
    last: int
    aspect: float
    """Pixel aspect of the plate: picture x equals plate x times ``aspect``, y equals y."""

    def picture(self, frame: int) -> Any:
        """(H, W, 3) uint8 RGB of the display window, or None where the plate has no such frame."""
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
