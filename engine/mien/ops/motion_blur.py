"""Motion blur from a face's own motion: every pixel is smeared along the way that it goes while the shutter is open."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.ops import mesh_warp, region
from mien.ops.bands import bands, shown
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
TALLEST = 128
"""Rows of a strip, at most: what is smeared at once stays in a processor's caches."""
WHOLE = 1 - 2**-20
"""Matte from which on all of a face is shown."""
NARROWEST = 64
"""Columns below which what is wholly shown is not told apart."""

Weight = tuple[int, int, tuple[int, int], Tensor]
"""A neighbor right and down, the first and last columns in which it counts, and how much in each."""


@dataclass(frozen=True)
class Path:
    """The ways of all pixels of a picture while the shutter is open.

    Attributes:
        motion: (2, h, w) pixels along which each square moves.
        every: Side of a square, in pixels.
        samples: Places along a way that are seen.
        reach: Pixels that no way goes beyond, on either side, with what lies between pixels.
    """

    motion: Tensor
    every: int
    samples: int
    reach: int


def velocity_field(
    points: Points,
    velocity: Points,
    weight: Tensor,
    width: float,
    corner: tuple[int, int],
    size: tuple[int, int],
    device: torch.device | None = None,
    every: int = 1,
) -> Tensor:
    """(2, h, w) plate pixels per frame that every place of a region moves.

    The motion of the whole is affine; what (N, 2+) points do beyond it holds around them. Past the outline the
    whole carries on.

    Args:
        points, velocity: (N, 2+) places in plate pixels, and pixels per frame.
        weight: (N,) trust in each point.
        width: Width of the face in pixels.
        corner: Plate pixel (x, y) of the region.
        size: Height and width of the region.
        device: Where it is drawn; by default where the points are.
        every: Side of the squares of pixels for which it is told, from the region's corner on.
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
    # Two long rows are multiplied in a fifth of the time of two narrow columns.
    beyond = (own.float().mT.contiguous() @ nearness.mT).mT
    moved = centers.flatten(0, 1) @ whole[:, :2].mT + whole[:, 2] + fade * beyond
    lattice = moved.T.reshape(2, *cells).to(device or moved.device, torch.float32)
    told = -(-size[0] // every), -(-size[1] // every)
    return mesh_warp.spline(lattice, (-RIM * step / every, -RIM * step / every), step / every, told)


def squares(width: float) -> int:
    """Side of the squares of pixels for which the motion of a face of a width need be told: straight lines from one to
    the next differ from it by nothing."""
    return max(1, min(ALIKE, int(width / CELLS / 4)))


def streak(image: Image, matte: Matte, motion: Tensor, every: int = 1) -> tuple[Image, Matte]:
    """Smear a (3, H, W) picture and its (1, H, W) matte along (2, h, w) ``motion``, centered on where it is now.

    The motion is the path in pixels while the shutter is open, told for squares of ``every`` so many pixels. The
    picture is smeared as far as its matte shows it, so that what lies around does not creep in. Paths shorter than
    ``SHORTEST`` give back what came.
    """
    told = [-(-length // every) for length in image.shape[-2:]]
    if motion.shape != (2, *told) or matte.shape[-2:] != image.shape[-2:]:
        shapes = ", ".join(str(tuple(t.shape)) for t in (image, matte, motion))
        raise ValueError(f"picture, matte and motion must cover the same region, not {shapes}")
    longest = _longest(motion, matte, every)
    if not longest > SHORTEST:
        return image, matte
    samples = min(MOST, max(2, math.ceil(longest / APART)))
    if samples > TOGETHER:
        # A long smear is a short one, smeared from one end of it to the next.
        each = math.ceil(samples**0.5)
        samples = math.ceil(samples / each)
        short = Path(motion / samples, every, each, math.ceil(longest / samples / 2) + 2)
        image, matte = _smeared(image, matte, short)
    return _smeared(image, matte, Path(motion, every, samples, math.ceil(longest / 2) + 2))


def _smeared(image: Image, matte: Matte, path: Path) -> tuple[Image, Matte]:
    """A picture and its matte smeared along a path in one go."""
    steepest = _steepest(path)
    if image.device.type != "cpu" or steepest * STRIP >= UNEVEN:
        return _read(image, matte, path)
    return _weighed(image, matte, path, int(min(TALLEST, UNEVEN / max(steepest, 1e-9))))


def _read(image: Image, matte: Matte, path: Path) -> tuple[Image, Matte]:
    """A picture and its matte smeared by reading between pixels, along ways that differ from each to the next."""
    result, cover = image.clone(), torch.zeros_like(matte)
    layers = _premultiplied(image, matte)
    height, width = layers.shape[-2:]
    across, down = (torch.arange(1, 2 * n, 2).to(layers) / n - 1 for n in (width, height))
    motion = F.interpolate(path.motion[None], scale_factor=path.every, mode="bilinear", align_corners=False)[0]
    for rows in bands(image):
        near = slice(max(0, rows.start - path.reach), rows.stop + path.reach)
        columns = region.occupied_columns(matte[..., near, :], path.reach)
        if columns.start == columns.stop:
            continue
        ways = motion[:, rows, columns]
        size = (ways.shape[1], ways.shape[2])
        grid, way = ways.new_empty(*size, 2), ways.new_empty(*size, 2)
        grid[..., 0], grid[..., 1] = across[columns], down[rows, None]
        torch.mul(ways[0], 2 / width, out=way[..., 0])
        torch.mul(ways[1], 2 / height, out=way[..., 1])
        total = layers.new_zeros(len(layers), *size)
        for number in range(path.samples):
            there = torch.add(grid, way, alpha=(number + 0.5) / path.samples - 0.5)
            # Straight lines between pixels: a cubic would draw dark rings around glints.
            total += read(layers, there, "bilinear")
        here = slice(None), rows, columns
        _settle(total.div_(path.samples), image[here], result[here], cover[here])
    return result, cover


def _weighed(image: Image, matte: Matte, path: Path, strip: int) -> tuple[Image, Matte]:
    """What ``_read`` gives, as sums of neighbors whose weights follow the motion from column to column, and from strip
    to strip of rows. A processor weighs neighbors in a fraction of the time that reading takes."""
    result, cover = torch.empty_like(image, memory_format=torch.contiguous_format), torch.zeros_like(matte)
    finite = bool(torch.isfinite(image.sum()))
    height, reach = image.shape[-2], path.reach
    strips = [slice(top, min(height, top + strip)) for top in range(0, height, strip)]
    spans = shown(matte[0], strips, reach, WHOLE)
    for rows, (columns, solid), weights in zip(strips, spans, _neighbors(path, strips, image.shape[-1])):
        for beside in (slice(0, columns.start), slice(columns.stop, image.shape[-1])):
            result[:, rows, beside] = image[:, rows, beside]
        if columns.start == columns.stop:
            continue
        around = [_around(picture, rows, columns, reach) for picture in (image, matte)]
        starts, width = [columns.start], columns.stop - columns.start
        beside_it = max(solid.start - columns.start, columns.stop - solid.stop)
        if finite and min(solid.stop - solid.start, width - 2 * beside_it) >= NARROWEST:
            # Where all of it is shown it is smeared as it is.
            there = slice(columns.start + beside_it, columns.stop - beside_it)
            seen = around[0][..., beside_it : width - beside_it + 2 * reach]
            _weigh(seen[:, None], weights, reach, (there.start,), result[:, None, rows, there].zero_())
            cover[:, rows, there] = 1
            starts, width = [columns.start, there.stop], beside_it
        places = [start - columns.start for start in starts]
        layers = _premultiplied(*(_sides(picture, places, width + 2 * reach) for picture in around))
        total = layers.new_zeros(4, len(starts), rows.stop - rows.start, width)
        _weigh(layers, weights, reach, starts, total)
        _settle(total, *(_sides(picture[:, rows], starts, width) for picture in (image, result, cover)))
    return result, cover


def _sides(picture: Tensor, starts: Sequence[int], width: int) -> Tensor:
    """(C, S, h, width) columns of a (C, h, W) picture from one or two starts on, side by side in one view."""
    planes, lines, pixels = picture.stride()
    size = picture.shape[0], len(starts), picture.shape[1], width
    stride = planes, (starts[-1] - starts[0]) * pixels, lines, pixels
    return picture.as_strided(size, stride, picture.storage_offset() + starts[0] * pixels)


def _weigh(around: Tensor, weights: list[Weight], reach: int, starts: Sequence[int], total: Tensor) -> None:
    """Add weighted neighbors to (C, S, h, w) totals of which (C, S, h + 2 reach, w + 2 reach) lie around; their columns
    are those from each of the ``starts`` on of the weights."""
    width, (*_, lines, pixels) = total.shape[-1], around.stride()
    apart, corner = starts[-1] - starts[0], around.storage_offset() + reach * (lines + pixels)
    for right, down, (start, stop), weight in weights:
        met = [side for side, first in enumerate(starts) if start < first + width and stop > first]
        if not met:
            continue
        some, place, first = total, corner + down * lines + right * pixels, starts[met[0]]
        if len(met) == 1:
            # Where motion differs from column to column a neighbor counts in few of them.
            begin, end = max(0, start - first), min(width, stop - first)
            some = total[:, met[0] : met[0] + 1, :, begin:end]
            place, first = place + met[0] * around.stride(1) + begin * pixels, first + begin
        seen = around.as_strided(some.shape, around.stride(), place)
        share = weight.as_strided((len(met), 1, some.shape[-1]), (apart, 0, 1), weight.storage_offset() + first)
        some.addcmul_(seen, share)


def _settle(total: Tensor, image: Image, result: Image, matte: Matte) -> None:
    """Write a smeared premultiplied picture, (4, ...), over what was there as far as it covers it."""
    cover = F.hardshrink(total[3:].clamp_(0, 1), LEAST)
    shows = cover > 0
    if not bool(torch.isfinite(image.sum())):
        shows = shows & torch.isfinite(image)
    result.copy_(choose(shows, total[:3].div_(cover.clamp_min(LEAST)), image))
    matte.copy_(cover)


def _premultiplied(image: Image, matte: Matte) -> Tensor:
    """(4, ...) picture under its matte, and the matte; light that is not finite counts as none."""
    layers = image.new_empty(4, *image.shape[1:])
    torch.clamp(matte, 0, 1, out=layers[3:])
    torch.mul(image, layers[3:], out=layers[:3])
    return layers if bool(torch.isfinite(layers.sum())) else layers.nan_to_num_(0.0, 0.0, 0.0)


def _around(picture: Tensor, rows: slice, columns: slice, reach: int) -> Tensor:
    """Some of a (C, H, W) picture and all that is within ``reach`` pixels of it; edges repeat."""
    height, width = picture.shape[-2:]
    lines = ((columns, width), (rows, height))
    rim = [max(0, past) for span, length in lines for past in (reach - span.start, span.stop + reach - length)]
    across, down = (slice(max(0, span.start - reach), span.stop + reach) for span, _ in lines)
    part = picture[:, down, across]
    return F.pad(part, rim, mode="replicate") if any(rim) else part


def _longest(motion: Tensor, matte: Matte, every: int) -> float:
    """Pixels of the longest path on which something is shown: motion is smooth, a few of many pixels tell."""
    if not matte.numel():
        return 0.0
    few = 4 if every == 1 and matte.numel() > 1 << 16 else 1
    apart = few * every
    seen = matte[0, apart // 2 :: apart, apart // 2 :: apart] > 0
    speed = motion[:, ::few, ::few].square().sum(0)
    shown = speed[: seen.shape[0], : seen.shape[1]] * seen
    longest = float(shown.amax()) if shown.numel() else 0.0
    if longest == 0 and bool((matte > 0).any()):
        # Faces so small, or so still, that those pixels tell nothing.
        longest = float(speed.amax())
    return math.sqrt(longest)


def _steepest(path: Path) -> float:
    """How much a motion changes from pixel to pixel, at most: it is smooth, every 16th tells."""
    apart = max(1, 16 // path.every)
    few = path.motion[:, ::apart, ::apart]
    changes = [part.abs().amax() for part in (few.diff(dim=1), few.diff(dim=2)) if part.numel()]
    return float(torch.stack(changes).amax()) / (apart * path.every) if changes else 0.0


def _neighbors(path: Path, strips: list[slice], width: int) -> Iterator[list[Weight]]:
    """For each strip of rows, pixels right and down of its own that straight lines between pixels weigh, to smear it
    along its ways."""
    down, across = path.motion.shape[-2:]
    rows = [min(down - 1, (strip.start + strip.stop) // 2 // path.every) for strip in strips]
    columns = [min(across - 1, x // path.every) for x in range(ALIKE // 2, width + ALIKE // 2, ALIKE)]
    ways = path.motion[:, rows][..., columns]
    along = ((torch.arange(path.samples).to(ways) + 0.5) / path.samples - 0.5)[:, None, None, None]
    # Samples that lie close together share neighbors, those farther apart have none in common.
    close = float(ways.square().sum(0).amax()) ** 0.5 <= 2 * path.samples
    found = [_between(some * ways, path.samples) for some in along.split(path.samples if close else 1)]
    for strip in range(len(strips)):
        yield [weight for each in found for weight in each(strip)]


def _between(there: Tensor, samples: int) -> Callable[[int], Iterator[Weight]]:
    """What straight lines between pixels weigh, to read each of some lines at all of (n, 2, lines, w) places, each of
    them that of ``ALIKE`` columns: pixels right and down, in which columns they count, and how much, line by line."""
    hats, firsts = [], []
    for along in there.unbind(1):
        low, high = (math.floor(value) for value in torch.stack(along.aminmax()).tolist())
        pixels = torch.arange(low, high + 2).to(along)
        hats.append((1 - (along[:, :, None] - pixels[:, None]).abs_()).clamp_min_(0))
        firsts.append(low)
    weights = (hats[1][:, :, :, None] * hats[0][:, :, None]).sum(0).div_(samples)
    counts = (weights > 0).view(torch.uint8)
    begins, ends = counts.argmax(-1), weights.shape[-1] - counts.flip(-1).argmax(-1)
    found = torch.stack([counts.amax(-1).long(), ALIKE * begins, ALIKE * ends], -1).flatten(1, 2).tolist()
    across = weights.shape[2]

    def of(line: int) -> Iterator[Weight]:
        each = weights[line].flatten(0, 1).repeat_interleave(ALIKE, -1).unbind()
        for place, (counted, begin, end) in enumerate(found[line]):
            if counted:
                yield firsts[0] + place % across, firsts[1] + place // across, (begin, end), each[place]

    return of
