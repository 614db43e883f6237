"""Identities that look at a square around the face and draw another face into it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from mien.models.aligned import MIDDLE, aligned_matrix, as_mesh, in_crop, outlines
from mien.models.lay_back import LEAST, laid_back
from mien.ops.shaper import from_log, to_log
from mien.ops.tiles import tiled
from mien.ops.warp import warp
from mien.types import Face, Image, Layer, Matrix, Plate

BRIGHTEST = 65504.0
"""Light that stands for infinity: the largest half."""
Draw = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From (B, 3, S, S) display-like crops to pictures (B, 3, S', S'), display-like, and mattes (B, 1, S', S')."""


class Encoding(Protocol):
    """How networks see scene-linear light, and back."""

    def encode(self, image: Image, white: float = 1.0) -> Image:
        """As display-like 0..1."""
        ...

    def decode(self, encoded: Image, white: float = 1.0) -> Image:
        """Back to light."""
        ...


@dataclass(frozen=True)
class CropIdentity:
    """A network that draws a face into a level square, and what the square is.

    Attributes:
        draw: The network.
        size: Side of the square in pixels.
        coverage: Side of the square over the height of the face.
        encoding: How the network sees light.
        digest: Hash of everything that determines the result.
        middle: The point of the mean face that lies in the middle of the square.
        drawn: The network sees outlines drawn from the points, not the plate.
        batch: Squares that the network is given at once. The last bits of what it draws depend on this number
            alone: a frame's seat among them is told by its number, and empty seats are drawn too.
    """

    draw: Draw
    size: int
    coverage: float
    encoding: Encoding
    digest: str
    middle: tuple[float, float, float] = MIDDLE
    drawn: bool = False
    batch: int = 1

    def __call__(self, plate: Plate, face: Face) -> Layer:
        """Draw the identity as the given face; the matte is the network's own.

        Outside that matte the layer shows the plate.
        """
        return self.together([(plate, face)])[0]

    def seated(self, batch: int) -> "CropIdentity":
        """The identity whose network is given ``batch`` squares at once."""
        return replace(self, batch=batch, digest=f"{self.digest} by {batch}")

    def together(self, shown: Sequence[tuple[Plate, Face]]) -> list[Layer]:
        """Draw the identity in frames of different seats at once: bit for bit what each gives alone.

        Raises:
            ValueError: Two frames have the same seat.
        """
        seats = [plate.frame % self.batch for plate, _ in shown]
        if len(set(seats)) < len(seats):
            raise ValueError(f"frames {[plate.frame for plate, _ in shown]} do not have a seat each of {self.batch}")
        seen = [self._seen(plate, face) for plate, face in shown]
        crops = seen[0][0].new_zeros(self.batch, *seen[0][0].shape)
        for seat, (crop, _) in zip(seats, seen, strict=True):
            crops[seat] = crop
        pictures, mattes = self.draw(crops)

        # What the network draws may be larger than what it looks at.
        larger = [pictures.shape[-1] / self.size, pictures.shape[-2] / self.size, 1.0]
        enlarge = torch.tensor(larger, dtype=torch.float64).diag()
        layers = []
        for seat, (_, matrix), (plate, face) in zip(seats, seen, shown, strict=True):
            drawn = self.encoding.decode(pictures[seat].float())
            onto = enlarge @ matrix.double().cpu()
            layers.append(laid_back(drawn, mattes[seat].float(), onto, plate, face.width))
        return layers

    def _seen(self, plate: Plate, face: Face) -> tuple[Tensor, Matrix]:
        """What the network sees (3, S, S), and the matrix from the plate's region to it."""
        image = plate.image
        corner = torch.tensor([*plate.corner, 0.0])
        points = as_mesh(face.points.cpu(), face.scheme) - corner
        matrix = aligned_matrix(points, self.size, self.coverage, face.aspect, self.middle)
        crop = warp(image.nan_to_num(0.0, BRIGHTEST, -BRIGHTEST), matrix.to(image.device), (self.size, self.size))
        seen = outlines(in_crop(points, matrix), self.size).to(crop) if self.drawn else self.encoding.encode(crop)
        return seen, matrix


class LogEncoding:
    """Light as networks see it that were trained on float plates: nothing is lost."""

    def encode(self, image: Image, white: float = 1.0) -> Image:
        """As numbers mostly between 0 and 1."""
        return to_log(image / white)

    def decode(self, encoded: Image, white: float = 1.0) -> Image:
        """Back to light."""
        return from_log(encoded) * white


@dataclass(frozen=True)
class FrameIdentity:
    """A network that does to a face's surroundings what was done to the frames it learned from.

    Attributes:
        draw: From (B, 3, H, W) encoded pictures to pictures and mattes of the same size.
        tile: Side in pixels of the tiles that it is given; they overlap by a quarter.
        step: Sizes that it takes are multiples of this.
        encoding: How it sees light.
        digest: Hash of everything that determines the result.
        batch: Tiles that it is given at once.
    """

    draw: Draw
    tile: int
    step: int
    encoding: Encoding
    digest: str
    batch: int = 1

    def __call__(self, plate: Plate, face: Face) -> Layer:
        """Draw the region; the matte is the network's own, or all of the region.

        Tiles lie on a lattice of the plate, so that a region which moves with the face is drawn alike.
        """
        image = plate.image.nan_to_num(0.0, BRIGHTEST, -BRIGHTEST)
        left, top = (place % self.step for place in plate.corner)
        padded = pad(self.encoding.encode(image)[None], (left, 0, top, 0), mode="replicate")

        def one(tile: Tensor) -> Tensor:
            return torch.cat([part.float() for part in self.draw(tile)], 1)

        made = tiled(one, padded, self.tile, self.tile // 4, self.step, self.batch)[0, :, top:, left:]
        matte = made[3:].clamp(0, 1)
        matte = torch.where(matte > LEAST, matte, 0.0)
        return Layer(self.encoding.decode(made[:3]), matte, plate.corner, face.width, {"identity": matte})
