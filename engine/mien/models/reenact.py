"""An identity that is a photograph: it takes on the pose and expression of the face on the plate, frame by frame."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from mien import mesh
from mien.models.aligned import FACE, aligned_matrix, as_mesh
from mien.models.animate import Animator, Source
from mien.models.crop_identity import BRIGHTEST, Encoding
from mien.models.lay_back import RIM, laid_back
from mien.models.motion import Motion
from mien.models.motion_fields import Keypoints, carried, resized, sampled
from mien.ops.warp import warp
from mien.types import Face, Image, Layer, Matrix, Plate

EDGE = 0.1
"""Share of a square's half side over which what is drawn into it fades out."""

TALL = FACE / float(mesh.CANONICAL[:, 0].max() - mesh.CANONICAL[:, 0].min())
"""Height of the mean face over its width."""
LEAST = 0.3
"""Face widths around the points that are seen, at least."""
LEAN = 1.2
"""Width of a square that leans by some 12 degrees over its side."""


@dataclass(frozen=True)
class Look:
    """What the performance shows in one frame: the square, (1, 3, S, S), 0 to 1, and its keypoints."""

    picture: Tensor
    keypoints: Keypoints


@dataclass(frozen=True)
class View:
    """Which part of a plate drives.

    Attributes:
        size: Side in pixels of what the network sees.
        coverage: Side of the square around a face over its height, or 0: all that the track's points span.
        encoding: How the network sees light.
    """

    size: int
    coverage: float
    encoding: Encoding

    def matrix(self, face: Face, corner: tuple[int, int]) -> Matrix:
        """(3, 3), float64, from positions in a plate's region to the square."""
        points = as_mesh(face.points.cpu(), face.scheme) - torch.tensor([*corner, 0.0])
        if self.coverage > 0:
            return aligned_matrix(points, self.size, self.coverage, face.aspect)
        low, high = points[:, :2].double().amin(0), points[:, :2].double().amax(0)
        scale = self.size / (high - low)
        matrix = torch.diag(torch.cat([scale, scale.new_ones(1)]))
        matrix[:2, 2] = -scale * low
        return matrix

    def crop(self, plate: Plate, face: Face) -> Tensor:
        """(1, 3, S, S), 0 to 1, of what drives."""
        light = plate.image.nan_to_num(0.0, BRIGHTEST, -BRIGHTEST)
        seen = warp(light, self.matrix(face, plate.corner).to(light.device), (self.size, self.size))
        return self.encoding.encode(seen)[None].clamp(0, 1)


@dataclass(frozen=True)
class Reenacted:
    """A photograph that follows.

    Attributes:
        animator: The network.
        source: The photograph.
        large: (1, 3, f S, f S) the photograph larger, whose detail is carried along; None for none.
        start: The performance's keypoints when it is posed as the photograph is.
        relative: Only what changed since then moves the photograph.
        scale: By which movements are made larger.
        view: Which part of the plate drives.
        digest: Hash of everything that determines the result.
    """

    animator: Animator
    source: Source
    large: Tensor | None
    start: Keypoints
    relative: bool
    scale: float
    view: View
    digest: str

    @property
    def margin(self) -> float:
        """Face widths around the points that it must see: half the side of the square, leaning somewhat."""
        return max(LEAST, self.view.coverage * TALL / 2 * LEAN - 0.4)

    def __call__(self, plate: Plate, face: Face) -> Layer:
        """Draw the photograph as the face on the plate is posed."""
        drawn, _ = self.draw(self.look(plate, face))
        matrix = self.view.matrix(face, plate.corner)
        enlarge = torch.diag(torch.tensor([*[drawn.shape[-1] / self.view.size] * 2, 1.0]).double())
        light = self.view.encoding.decode(drawn[0].to(plate.image.device))
        if self.view.coverage == 0:
            return over_all(light, enlarge @ matrix, plate, face.width)
        return laid_back(light, faded(light), enlarge @ matrix, plate, face.width)

    def look(self, plate: Plate, face: Face) -> Look:
        """What drives in a frame."""
        picture = self.view.crop(plate, face)
        return Look(picture, self.animator.find(picture))

    def draw(self, look: Look) -> tuple[Tensor, Motion]:
        """The photograph (1, 3, S, S) as large as its detail is, and how it moved."""
        onto = carried(self.source.keypoints, look.keypoints, self.start, relative=self.relative, scale=self.scale)
        motion = self.animator.move(self.source, onto)
        drawn = self.animator.paint(self.source, motion)
        return (drawn if self.large is None else detailed(drawn, self.large, motion, self.animator.corners)), motion


def detailed(drawn: Tensor, large: Tensor, motion: Motion, corners: bool) -> Tensor:
    """What was drawn, enlarged, with the fine detail of a larger photograph that moved as the small one did.

    Detail is what shrinking the moved photograph to the size that was drawn would lose; it is left out where the
    photograph does not show what is needed.
    """
    told, small, size = motion.flow.shape[2], drawn.shape[-1], (large.shape[-2], large.shape[-1])
    flow = resized(motion.flow.movedim(-1, 1), size).movedim(1, -1)
    # -1 and 1 are centers of the outer pixels, which lie farther out in the larger picture.
    flow = flow * (size[-1] / told * (told - 1) / (size[-1] - 1)) if corners else flow
    moved = sampled(large.expand(len(flow), -1, -1, -1), flow, corners, outside="border")
    fine = moved - resized(avg_pool2d(moved, size[-1] // small), size)
    seen = 1.0 if motion.seen is None else resized(motion.seen, size)
    return (resized(drawn, size) + seen * fine).clamp(0, 1)


def faded(picture: Image) -> Tensor:
    """A (1, H, W) matte that fades to nothing toward the border of a square."""
    sides = [torch.linspace(-1, 1, side, device=picture.device).abs() for side in picture.shape[-2:]]
    down, across = (((1 - side) / EDGE).clamp(0, 1) for side in sides)
    return torch.minimum(down[:, None], across)[None]


def over_all(drawn: Image, matrix: Matrix, plate: Plate, face_width: float) -> Layer:
    """A layer that replaces all of a plate's region by a (3, H, W) picture; ``matrix`` leads from it to the picture."""
    edge = pad(drawn, (RIM,) * 4, mode="replicate")
    moved = torch.eye(3, dtype=torch.float64)
    moved[:2, 2] = RIM
    size = (plate.image.shape[-2], plate.image.shape[-1])
    image = warp(edge, torch.linalg.inv(moved @ matrix).to(edge.device), size)
    matte = torch.ones_like(image[:1])
    return Layer(image, matte, plate.corner, face_width, {"identity": matte})
