"""Motion blur from a face's own motion: every pixel is smeared along the way that it goes while the shutter is open."""

import math
from collections.abc import Iterator
from types import EllipsisType

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.ops import mesh_warp, region
from mien.ops.bands import bands
from mien.ops.choose import choose
from mien.ops.warp import positions, read
from mien.types import Image, Matte, Points

CELLS = 24
"""Cells across the face of the lattice on which its motion is drawn."""
NEAR = 0.05
"""Reach of a point's own motion, in face widths."""
SHORTEST = 0.5
"""Pixels below which nothing is smeared."""
APART = 1.15
"""Pixels from one sample of a path to the next, at most: straight lines between pixels bridge them."""
TOGETHER = 8
"""Samples up to which a path is gone along in one go."""
LEAST = 1e-4
"""Share of a face below which a smear shows nothing of it."""
MOST = 64
"""Samples along the longest path."""
STRIP = 32
"""Rows that are smeared alike where motion hardly changes from one to the next."""
ALIKE = 4
"""Columns that are."""
UNEVEN = 0.3
"""Pixels by which motion may change over such a strip, in either direction."""
RIM = 2
"""Cells of the lattice past each side, so that its spline is whole."""

Smeared = tuple[tuple[EllipsisType, slice, slice], Tensor]
"""Where a part of a picture lies, and it."""


def velocity_field(
    points: Points,
    velocity: Points,
    weight: Tensor,
    width: float,
    corner: tuple[int, int],
    size: tuple[int, int],
    device: torch.device | None = None,
) -> Tensor:
    """(2, H, W) plate pixels per frame that every place of a region moves.

    The motion of the whole is affine; what (N, 2+) points do beyond it holds around them. Past the outline the
    whole carries on.

    Args:
        points, velocity: (N, 2+) places in plate pixels, and pixels per frame.
        weight: (N,) trust in each point.
        width: Width of the face in pixels.
        corner: Plate pixel (x, y) of the region.
        size: Height and width of the region.
        device: Where it is drawn; by default where the points are.
    """
    sound = torch.isfinite(points[:, :2]).all(-1) & torch.isfinite(velocity[:, :2]).all(-1)
    place, speed = points[sound, :2].double(), velocity[sound, :2].double()
    trust = weight[sound].double().clamp_min(0.05)
    whole = mesh_warp.affine(place, speed, trust)
    own = speed - place @ whole[:, :2].mT - whole[:, 2]
    step = max(1.0, width / CELLS)
    cells = (math.ceil(size[0] / step) + 2 * RIM, math.ceil(size[1] / step) + 2 * RIM)
    centers = positions(cells, (-RIM, -RIM), place).double() * step + place.new_tensor(corner)
    # From the middle of the face, single precision tells distances well enough.
    middle, reach = place.mean(0), NEAR * width * 2**0.5
    cells_at, points_at = (((at - middle) / reach).float() for at in (centers.flatten(0, 1), place))
    apart = torch.cdist(cells_at, points_at).square_()
    # Past the outline a single point's own motion would be carried on as far as it is seen.
    fade = torch.exp(-(apart.amin(1, keepdim=True) / 8))
    nearness = torch.softmax(trust.log().float() - apart, 1)
    moved = centers.flatten(0, 1) @ whole[:, :2].mT + whole[:, 2] + fade * (nearness @ own.float())
    lattice = moved.T.reshape(2, *cells).to(device or moved.device, torch.float32)
    return mesh_warp.spline(lattice, (-RIM * step, -RIM * step), step, size)


def streak(image: Image, matte: Matte, motion: Tensor) -> tuple[Image, Matte]:
    """Smear a (3, H, W) picture and its (1, H, W) matte along (2, H, W) ``motion``, centered on where it is now.

    The motion is the path in pixels while the shutter is open. The picture is smeared as far as its matte shows
    it, so that what lies around does not creep in. Paths shorter than ``SHORTEST`` give back what came.
    """
    if motion.shape != (2, *image.shape[-2:]) or matte.shape[-2:] != image.shape[-2:]:
        shapes = ", ".join(str(tuple(t.shape)) for t in (image, matte, motion))
        raise ValueError(f"picture, matte and motion must cover the same region, not {shapes}")
    rows, columns = region.occupied(matte)
    longest = _longest(motion[:, rows, columns], matte[0, rows, columns])
    if not longest > SHORTEST:
        return image, matte
    reach = math.ceil(longest / 2) + 2
    rows, columns = (
        slice(max(0, span.start - reach), min(length, span.stop + reach))
        for span, length in ((rows, matte.shape[-2]), (columns, matte.shape[-1]))
    )
    part_image, part_matte, part_motion = (part[..., rows, columns] for part in (image, matte, motion))
    layers = _premultiplied(part_image, part_matte)
    samples = min(MOST, max(2, math.ceil(longest / APART)))
    even = image.device.type == "cpu" and _steepest(part_motion) * STRIP < UNEVEN
    smeared_along = _weighed if even else _read
    if samples > TOGETHER:
        # A long smear is a short one, smeared from one end of it to the next.
        each = math.ceil(samples**0.5)
        samples = math.ceil(samples / each)
        short = torch.zeros_like(layers)
        for here, smeared in smeared_along(layers, part_motion / samples, each, reach):
            short[here] = smeared
        layers = short
    result_image, result_matte = image.clone(), matte.clone()
    there_image, there_matte = result_image[..., rows, columns], result_matte[..., rows, columns]
    there_matte.zero_()
    finite = bool(torch.isfinite(part_image.sum()))
    for here, smeared in smeared_along(layers, part_motion, samples, reach):
        cover = F.hardshrink(smeared[3:].clamp_(0, 1), LEAST)
        before, shows = part_image[here], cover > 0
        if not finite:
            shows = shows & torch.isfinite(before)
        there_image[here] = choose(shows, smeared[:3].div_(cover.clamp_min(LEAST)), before)
        there_matte[here] = cover
    return result_image, result_matte


def _premultiplied(image: Image, matte: Matte) -> Tensor:
    """(4, H, W) picture under its matte, and the matte; light that is not finite counts as none."""
    layers = image.new_empty(4, *image.shape[-2:])
    torch.clamp(matte, 0, 1, out=layers[3:])
    torch.mul(image, layers[3:], out=layers[:3])
    return layers if bool(torch.isfinite(layers.sum())) else layers.nan_to_num_(0.0, 0.0, 0.0)


def _read(layers: Tensor, motion: Tensor, samples: int, reach: int) -> Iterator[Smeared]:
    """Parts of (4, H, W) layers smeared, and where they lie: all that is within ``reach`` pixels of what is seen."""
    height, width = layers.shape[-2:]
    across, down = (torch.arange(1, 2 * n, 2).to(motion) / n - 1 for n in (width, height))
    for rows in bands(layers[0]):
        columns = region.occupied_columns(layers[3, max(0, rows.start - reach) : rows.stop + reach], reach)
        if columns.start == columns.stop:
            continue
        path = motion[:, rows, columns]
        size = (path.shape[1], path.shape[2])
        grid, way = motion.new_empty(*size, 2), motion.new_empty(*size, 2)
        grid[..., 0], grid[..., 1] = across[columns], down[rows, None]
        torch.mul(path[0], 2 / width, out=way[..., 0])
        torch.mul(path[1], 2 / height, out=way[..., 1])
        total = layers.new_zeros(len(layers), *size)
        for number in range(samples):
            there = torch.add(grid, way, alpha=(number + 0.5) / samples - 0.5)
            # Straight lines between pixels: a cubic would draw dark rings around glints.
            total += read(layers, there, "bilinear")
        yield (..., rows, columns), total.div_(samples)


def _weighed(layers: Tensor, motion: Tensor, samples: int, reach: int) -> Iterator[Smeared]:
    """What ``_read`` gives, as sums of neighbors whose weights follow the motion from column to column, and from strip
    to strip of rows. A processor weighs neighbors in a fraction of the time that reading takes."""
    height = layers.shape[-2]
    around = _repeated(layers, reach)
    places = (torch.arange(samples).to(motion) + 0.5) / samples - 0.5
    for top in range(0, height, STRIP):
        bottom = min(height, top + STRIP)
        columns = region.occupied_columns(layers[3, max(0, top - reach) : bottom + reach], reach)
        if columns.start == columns.stop:
            continue
        path = motion[:, (top + bottom) // 2, columns][:, ::ALIKE]
        # Samples that lie close together share neighbors, those farther apart have none in common.
        close = float(path.square().sum(0).amax()) ** 0.5 <= 2 * samples
        total = layers.new_zeros(len(layers), bottom - top, columns.stop - columns.start)
        for some in places.split(samples if close else 1):
            for right, down, here, weight in _neighbors(some[:, None, None] * path):
                rows = slice(top + down + reach, bottom + down + reach)
                begin, end = here.start * ALIKE, min(here.stop * ALIKE, total.shape[-1])
                start = columns.start + right + reach
                total[..., begin:end].addcmul_(around[:, rows, start + begin : start + end], weight[: end - begin])
        yield (..., slice(top, bottom), columns), total.div_(samples)


def _longest(motion: Tensor, shown: Tensor) -> float:
    """Pixels of the longest path on which something is shown: motion is smooth, a few of many pixels tell."""
    every = 4 if shown.numel() > 1 << 16 else 1
    speed = motion[:, ::every, ::every].square().sum(0) * (shown[::every, ::every] > 0)
    return float(speed.amax().sqrt()) if speed.numel() else 0.0


def _steepest(motion: Tensor) -> float:
    """How much a (2, H, W) motion changes from pixel to pixel, at most: it is smooth, every 16th tells."""
    few = motion[:, ::16, ::16]
    changes = [part.abs().amax() for part in (few.diff(dim=1), few.diff(dim=2)) if part.numel()]
    return float(torch.stack(changes).amax()) / 16 if changes else 0.0


def _neighbors(there: Tensor) -> Iterator[tuple[int, int, slice, Tensor]]:
    """Pixels right and down of a row's own that straight lines between pixels weigh, to read it at all of (n, 2, w)
    places: in which of the w they count, and for each of ``ALIKE`` columns there and beyond, how much."""
    hats, firsts = [], []
    for along in there.unbind(1):
        low, high = (math.floor(value) for value in torch.stack(along.aminmax()).tolist())
        pixels = torch.arange(low, high + 2).to(along)
        hats.append((1 - (along[:, None] - pixels[:, None]).abs_()).clamp_min_(0))
        firsts.append(low)
    weights = (hats[0][:, None] * hats[1][:, :, None]).sum(0)
    counts = (weights > 0).view(torch.uint8)
    begins, ends = counts.argmax(-1).tolist(), (weights.shape[-1] - counts.flip(-1).argmax(-1)).tolist()
    each = weights.repeat_interleave(ALIKE, -1)
    for down, right in counts.amax(-1).nonzero().tolist():
        here = slice(begins[down][right], ends[down][right])
        yield firsts[0] + right, firsts[1] + down, here, each[down, right, ALIKE * here.start :]


def _repeated(layers: Tensor, rim: int) -> Tensor:
    """(C, H, W) with its edges repeated ``rim`` times, faster than ``pad`` does it."""
    height, width = layers.shape[-2:]
    around = layers.new_empty(len(layers), height + 2 * rim, width + 2 * rim)
    middle = around[:, rim : rim + height]
    middle[..., rim : rim + width] = layers
    middle[..., :rim], middle[..., rim + width :] = layers[..., :1], layers[..., -1:]
    around[:, :rim], around[:, rim + height :] = middle[:, :1], middle[:, -1:]
    return around
