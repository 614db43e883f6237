"""The geometry of first-order motion: keypoints, and the fields of motion around them (Siarohin et al., 2019).

Positions reach from -1 to 1 over a picture, x right and y down, with -1 and 1 at the centers of its outer pixels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Keypoints:
    """Keypoints of a batch of pictures.

    Attributes:
        place: (B, K, 2) where each is.
        local: (B, K, 2, 2) how what is around it lies, against a reference that nobody ever sees; None where only
            shifts are known.
    """

    place: Tensor
    local: Tensor | None

    def __len__(self) -> int:
        return len(self.place)

    def rows(self, which: slice) -> "Keypoints":
        """Those of some of the pictures."""
        return Keypoints(self.place[which], None if self.local is None else self.local[which])

    def repeated(self, count: int) -> "Keypoints":
        """Those of one picture, for each of ``count``."""
        local = None if self.local is None else self.local.expand(count, -1, -1, -1)
        return Keypoints(self.place.expand(count, -1, -1), local)


def positions(height: int, width: int, device: torch.device) -> Tensor:
    """(height, width, 2) position of every pixel."""
    x = torch.linspace(-1, 1, width, device=device)
    y = torch.linspace(-1, 1, height, device=device)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


def expected(heat: Tensor) -> Tensor:
    """(B, K, 2) mean position under heatmaps (B, K, H, W) that sum to 1."""
    return torch.einsum("bkhw,hwc->bkc", heat, positions(heat.shape[-2], heat.shape[-1], heat.device))


def bells(place: Tensor, size: tuple[int, int], variance: float) -> Tensor:
    """(B, K, H, W) Gaussians of height 1 around positions (B, K, 2); computed by row and column."""
    grid = positions(*size, place.device)
    across, down = ((grid[0, :, 0] - place[..., :1]), (grid[:, 0, 1] - place[..., 1:]))
    across, down = (torch.exp(-0.5 * one.square() / variance) for one in (across, down))
    return down[..., :, None] * across[..., None, :]


def inverse(local: Tensor) -> Tensor:
    """Inverses of (..., 2, 2) matrices, in closed form."""
    a, b, c, d = local[..., 0, 0], local[..., 0, 1], local[..., 1, 0], local[..., 1, 1]
    turned = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
    return turned / (a * d - b * c)[..., None, None]


def sparse_motions(driving: Keypoints, source: Keypoints, size: tuple[int, int]) -> Tensor:
    """(B, K + 1, H, W, 2) where in the source each driving pixel comes from: first if nothing moves, then by each
    keypoint's affine motion (equation 4 of the paper)."""
    grid = positions(*size, driving.place.device)
    offset = grid - driving.place[:, :, None, None]
    if driving.local is not None and source.local is not None:
        onto = source.local @ inverse(driving.local)
        offset = torch.einsum("bkij,bkhwj->bkhwi", onto, offset)
    still = grid.expand(len(driving), 1, *size, 2)
    return torch.cat([still, offset + source.place[:, :, None, None]], 1)


def carried(
    source: Keypoints, driving: Keypoints, start: Keypoints, *, relative: bool, scale: float = 1.0
) -> Keypoints:
    """The driving keypoints as they are put on the source.

    Args:
        source: (1, K) keypoints of the photograph.
        driving: (B, K) keypoints of the performance.
        start: (1, K) those of the frame in which the performance is posed as the photograph is.
        relative: Only what changed since ``start`` moves the source; otherwise it takes the performance's place.
        scale: By which movements are made larger, for a face that is larger in the photograph.
    """
    if not relative:
        return driving
    place = source.place + scale * (driving.place - start.place)
    if driving.local is None or start.local is None or source.local is None:
        return Keypoints(place, driving.local)
    return Keypoints(place, driving.local @ inverse(start.local) @ source.local)


def movement_scale(source: Keypoints, start: Keypoints) -> float:
    """How much larger the photograph's keypoints lie than the performance's: the root of their hulls' areas."""
    mine, its = (hull_area(one.place[0]) for one in (source, start))
    return (mine / its) ** 0.5 if mine > 0 and its > 0 else 1.0


def hull_area(points: Tensor) -> float:
    """Area of the convex hull of (N, 2) points (Andrew's monotone chain)."""
    ordered = sorted({(float(x), float(y)) for x, y in points.detach().cpu().double()})

    def half(walk: list[tuple[float, float]]) -> list[tuple[float, float]]:
        chain: list[tuple[float, float]] = []
        for point in walk:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], point) <= 0:
                chain.pop()
            chain.append(point)
        return chain[:-1]

    outline = half(ordered) + half(ordered[::-1])
    return 0.5 * sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(outline, outline[1:] + outline[:1]))


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def sampled(picture: Tensor, place: Tensor, corners: bool, outside: str = "zeros") -> Tensor:
    """(B, C, H, W) pictures looked up at positions (B, h, w, 2)."""
    return functional.grid_sample(picture, place, padding_mode=outside, align_corners=corners)


def resized(value: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, H, W) at another size, between pixels linearly."""
    if (value.shape[-2], value.shape[-1]) == size:
        return value
    return functional.interpolate(value, size, mode="bilinear", align_corners=False)
