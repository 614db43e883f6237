"""Identities that look at a square around the face and draw another face into it."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import hardshrink, pad

from mien.models.aligned import MIDDLE, aligned_matrix, as_mesh, in_crop, outlines
from mien.ops.choose import choose
from mien.ops.region import occupied
from mien.ops.shaper import from_log, to_log
from mien.ops.tiles import tiled
from mien.ops.warp import transform, warp
from mien.types import Face, Image, Layer, Matrix, Matte, Plate, Points

RIM = 2
REACH = 3.0
"""Pixels of a crop beyond what it shows in which a resampled edge of it may be seen."""
BAND = 64
"""Rows of a region that a crop is laid on at once."""
Corner = tuple[int, int]
LEAST = 1 / 512
"""Matte below which nothing is drawn: networks never quite say none."""
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
    """

    draw: Draw
    size: int
    coverage: float
    encoding: Encoding
    digest: str
    middle: tuple[float, float, float] = MIDDLE
    drawn: bool = False

    def __call__(self, plate: Plate, face: Face) -> Layer:
        """Draw the identity as the given face; the matte is the network's own.

        Outside that matte the layer shows the plate.
        """
        image = plate.image
        corner = torch.tensor([*plate.corner, 0.0])
        points = as_mesh(face.points.cpu(), face.scheme) - corner
        matrix = aligned_matrix(points, self.size, self.coverage, face.aspect, self.middle)
        crop = warp(image.nan_to_num(0.0, BRIGHTEST, -BRIGHTEST), matrix.to(image.device), (self.size, self.size))
        seen = outlines(in_crop(points, matrix), self.size).to(crop) if self.drawn else self.encoding.encode(crop)
        picture, shown = self.draw(seen[None])
        drawn, matte = self.encoding.decode(picture[0].float()), shown[0].float()

        # What the network draws may be larger than what it looks at.
        enlarge = torch.diag(torch.tensor([drawn.shape[-1] / self.size, drawn.shape[-2] / self.size, 1.0]).double())
        return laid_back(drawn, matte, enlarge @ matrix.double().cpu(), plate, face.width)


def laid_back(drawn: Image, matte: Matte, matrix: Matrix, plate: Plate, face_width: float) -> Layer:
    """A layer with a (3, H, W) crop and its (1, H, W) matte where they belong; around them it shows the plate.

    ``matrix`` (3, 3) carries positions in the plate's region to positions in the crop.
    """
    image = plate.image
    result, mask = image.clone(), torch.zeros_like(image[..., :1, :, :])
    height, width = image.shape[-2:]
    shown = torch.where(matte > LEAST, matte, 0.0)
    rows, columns = occupied(shown, 2)
    if rows.start < rows.stop:
        # A rim of nothing: the edge of the square is as soft as one of its pixels.
        part = torch.cat([pad(drawn, (RIM,) * 4, mode="replicate"), pad(shown, (RIM,) * 4)])
        part = part[:, rows.start : rows.stop + 2 * RIM, columns.start : columns.stop + 2 * RIM]
        back = torch.linalg.inv(_moved(RIM - columns.start, RIM - rows.start) @ matrix)
        for (left, top), (high, wide) in _bands(part[3] > 0, back, (height, width), image.is_cuda):
            here = (..., slice(top, top + high), slice(left, left + wide))
            laid = warp(part, _moved(-left, -top) @ back, (high, wide))
            soft = hardshrink(laid[3:].clamp(0, 1), LEAST)
            result[here] = choose(soft > 0, laid[:3], image[here])
            mask[here] = soft
    return Layer(result, mask, plate.corner, face_width, {"identity": mask})


def _bands(shown: Tensor, onto: Matrix, size: tuple[int, int], whole: bool) -> Iterator[tuple[Corner, Corner]]:
    """Corner (x, y) and size (height, width) of parts of a region of ``size`` that together hold what is shown.

    ``shown`` (H, W) is carried into the region by ``onto``. A part has few rows, or all of them where ``whole``.
    """
    outline = transform(_rim(shown), onto).cpu()
    reach = REACH * float(onto[:2, :2].abs().sum(1).amax())
    step = size[0] if whole else BAND
    for top in range(0, size[0], step):
        bottom = min(size[0], top + step)
        near = outline[(outline[:, 1] > top - reach) & (outline[:, 1] < bottom + reach)]
        if not len(near):
            continue
        left = max(0, math.floor(float(near[:, 0].amin()) - reach))
        right = min(size[1], math.ceil(float(near[:, 0].amax()) + reach))
        low = max(top, math.floor(float(near[:, 1].amin()) - reach))
        high = min(bottom, math.ceil(float(near[:, 1].amax()) + reach))
        if right > left and high > low:
            yield (left, low), (high - low, right - left)


def _rim(shown: Tensor) -> Points:
    """(P, 2) positions of the first and last pixel that is shown in every row and column."""
    found = []
    for there in (shown, shown.mT):
        lines = there.any(1).nonzero()[:, 0]
        marked = there[lines].to(torch.uint8)
        ends = marked.argmax(1), marked.shape[1] - 1 - marked.flip(1).argmax(1)
        found.append([torch.stack([end, lines], 1) for end in ends])
    across, down = found
    return torch.cat([*across, *(points.flip(1) for points in down)]).double().cpu() + 0.5


def _moved(x: float, y: float) -> Tensor:
    return torch.tensor([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]], dtype=torch.float64)


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
