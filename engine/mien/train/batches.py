"""Batches for the landmark trainer: stored crops turned, shifted, colored and soiled, labels along."""

import math
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional

from mien import mesh
from mien.models.crops import level_angle
from mien.models.landmarks import SIZE
from mien.train.album import SIDE, UNKNOWN, Album

FILMED = 0.14
"""Share of real crops in a batch, where there are any."""
ABSENT = 0.04
"""Share of crops that show only a corner of a face."""
EMPTY = 0.03
"""Share of crops that show anything but a face, where there are any."""
TURNED = (35.0, 80.0)
"""Degrees of yaw between which half of a face is hidden, yet its points matter: where networks err most."""


class Batch(NamedTuple):
    """Crops (B, 3, SIZE, SIZE) and labels; positions in sides of the crop from its center, z NaN where unknown.

    Attributes:
        crops: RGB 0..1.
        points: (B, 468, 3).
        visibility: (B, 468) 0..1, NaN where unknown.
        matte: (B, 1, SIZE/4, SIZE/4) 0..1, NaN where unknown.
        presence: (B,) 1 or 0; the other labels of absent faces do not count.
    """

    crops: Tensor
    points: Tensor
    visibility: Tensor
    matte: Tensor
    presence: Tensor


def pick(albums: list[Album], count: int, random: np.random.Generator) -> Album:
    """Rows at random, every album weighing by its size."""
    sizes = np.array([len(album.pictures) for album in albums])
    which = random.choice(len(albums), count, p=sizes / sizes.sum())
    return joined([row_of(albums[k], int(random.integers(sizes[k]))) for k in which])


def pick_turned(albums: list[Album], count: int, favor: float, random: np.random.Generator) -> Album:
    """Rows at random as ``pick`` draws them, but faces turned by TURNED degrees ``favor`` times as likely as others."""
    rows: list[Album] = []
    while len(rows) < count:
        some = pick(albums, count, random)
        yaw = mesh.pose_of(torch.from_numpy(some.points)).yaw.abs().numpy()
        likely = np.where((yaw >= TURNED[0]) & (yaw < TURNED[1]), favor, 1.0) / max(favor, 1.0)
        rows += [row_of(some, int(row)) for row in np.flatnonzero(random.random(count) < likely)]
    return joined(rows[:count])


def row_of(album: Album, row: int) -> Album:
    """An album of one row."""
    one = slice(row, row + 1)
    return Album(
        album.pictures[one], album.points[one], album.visibility[one], album.matte[one], album.matte_known[one]
    )


def joined(albums: list[Album]) -> Album:
    """Albums one after another."""
    return Album(
        np.concatenate([album.pictures for album in albums]),
        np.concatenate([album.points for album in albums]),
        np.concatenate([album.visibility for album in albums]),
        np.concatenate([album.matte for album in albums]),
        np.concatenate([album.matte_known for album in albums]),
    )


def batch_of(album: Album, absent: int, dirt: float, generator: Generator) -> Batch:
    """Turn, shift, scale, mirror, color, blur and soil stored crops; the last ``absent`` lose their face.

    Rows without points never had one. ``dirt`` is the share of crops that may be soiled.
    """
    count = len(album.pictures)
    pictures = torch.from_numpy(album.pictures).permute(0, 3, 1, 2).float() / 255
    points = torch.from_numpy(album.points)
    visibility = torch.from_numpy(album.visibility).float()
    visibility[visibility == UNKNOWN] = torch.nan
    matte = torch.from_numpy(album.matte)[:, None].float() / 255
    empty = torch.isnan(points[:, 0, 0])
    points[empty] = 0
    lost = torch.arange(count) >= count - absent
    angle, scale, shift = views(points, lost & ~empty, generator)
    crops, points, matte = look(pictures, points, matte, angle, scale, shift)
    there = (~lost & ~empty).float()
    matte[torch.from_numpy(album.matte_known) == 0] = torch.nan
    flip = torch.rand(count, generator=generator) < 0.5
    crops[flip], matte[flip] = crops[flip].flip(-1), matte[flip].flip(-1)
    points[flip] = (points[flip] * torch.tensor([-1.0, 1.0, 1.0]))[:, mesh.MIRROR]
    visibility[flip] = visibility[flip][:, mesh.MIRROR]
    return Batch(soil(color(crops, generator), dirt, generator), points, visibility, matte, there)


def prepare(
    drawn: list[Album],
    filmed: list[Album],
    empty: list[Album],
    size: int,
    dirt: float,
    random: np.random.Generator,
    generator: Generator,
    favor: float = 1.0,
) -> Batch:
    """The next batch of ``size`` crops, of which a share of ``dirt`` may be soiled.

    Drawn faces that turn far are ``favor`` times as likely as others.
    """
    real = round(FILMED * size) if filmed else 0
    nothing = round(EMPTY * size) if empty else 0
    parts = [pick_turned(drawn, size - real - nothing, favor, random)] + ([pick(filmed, real, random)] if real else [])
    # Absent faces are the last of a batch: mostly drawn ones, sometimes filmed.
    random.shuffle(parts)
    parts = ([pick(empty, nothing, random)] if nothing else []) + parts
    return batch_of(joined(parts), round(ABSENT * size), dirt, generator)


def views(points: Tensor, lost: Tensor, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Angle (B,), scale (B,) and shift (B, 2) in stored pixels: as a tracker's crops err, or quite off."""
    count = len(points)

    def normal(*shape: int) -> Tensor:
        return torch.randn(count, *shape, generator=generator).clamp(-2.5, 2.5)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator)

    level = level_angle(points[:, 33, :2], points[:, 263, :2], points[:, 152, :2])
    angle = torch.where(uniform() < 0.85, level, 0.0) + normal() * math.radians(10)
    scale, shift = torch.exp(normal() * 0.09), normal(2) * 0.05 * SIZE
    heading = uniform() * 2 * math.pi
    off = torch.stack((heading.cos(), heading.sin()), 1) * (0.55 + 0.5 * uniform(1)) * SIZE
    small = uniform() < 0.5
    scale = torch.where(lost & small, 0.2 + 0.3 * uniform(), scale)
    # What a small view takes for a face must not be one, so it stays near the border.
    off = torch.where(small[:, None], functional.normalize(off, dim=1) * 0.55 * SIZE, off)
    return angle, scale, torch.where(lost[:, None], off, shift)


def place(points: Tensor, angle: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Points (B, 468, 3) of stored crops in sides of the cut crop, from its center."""
    back = turns(-angle) / scale[:, None, None]
    flat = (points[..., :2] - SIDE / 2 - shift[:, None]) @ back.transpose(1, 2) / SIZE
    return torch.cat((flat, points[..., 2:] / scale[:, None, None] / SIZE), -1)


def turns(angle: Tensor) -> Tensor:
    """Matrices (B, 2, 2) that turn from +x toward +y."""
    cosine, sine = torch.cos(angle), torch.sin(angle)
    return torch.stack((torch.stack((cosine, -sine), -1), torch.stack((sine, cosine), -1)), -2)


def look(
    pictures: Tensor, points: Tensor, matte: Tensor, angle: Tensor, scale: Tensor, shift: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Cut crops out of stored ones, labels along."""
    affine = torch.cat((turns(angle) * (scale[:, None, None] * SIZE / SIDE), shift[:, :, None] / (SIDE / 2)), -1)
    grid = functional.affine_grid(affine, [len(pictures), 1, SIZE, SIZE], False)
    small = functional.affine_grid(affine, [len(pictures), 1, SIZE // 4, SIZE // 4], False)
    crops = functional.grid_sample(pictures, grid, padding_mode="zeros", align_corners=False)
    outline = functional.grid_sample(matte, small, align_corners=False)
    return crops, place(points, angle, scale, shift), outline


def color(crops: Tensor, generator: Generator) -> Tensor:
    """Exposure, contrast, white balance, saturation."""

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        return low + (high - low) * torch.rand(len(crops), channels, 1, 1, generator=generator)

    crops = crops.clamp_min(1e-4) ** torch.exp(draw(-0.5, 0.5))
    crops = crops * torch.exp(draw(-0.5, 0.35)) * torch.exp(0.4 * draw(-0.5, 0.5, 3) * draw(0, 1))
    gray = crops.mean(1, keepdim=True)
    saturation = torch.where(draw(0, 1) < 0.08, 0.0, draw(0.5, 1.3))
    middle = gray.mean((2, 3), keepdim=True)
    return torch.lerp(middle, torch.lerp(gray, crops, saturation), draw(0.6, 1.25)).clamp(0, 1)


def soil(crops: Tensor, dirt: float, generator: Generator) -> Tensor:
    """Low resolution, defocus, motion blur, grain, compression, patches; each on a part of a share of the batch."""
    crops = crops.clone()
    order = torch.randperm(len(crops), generator=generator)[: round(dirt * len(crops))]
    clean = torch.ones(len(crops), 1, 1, 1)
    clean[order] = 0

    def chance(low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=generator).item()

    for group in order.chunk(8):
        kind = int(torch.randint(5, (), generator=generator))
        if kind == 0:
            side = round(math.exp(chance(math.log(30), math.log(110))))
            small = functional.interpolate(crops[group], (side, side), mode="bilinear", antialias=True)
            crops[group] = functional.interpolate(small, (SIZE, SIZE), mode="bicubic").clamp(0, 1)
        elif kind == 1:
            crops[group] = blur(crops[group], chance(0.4, 3.0), 1.0, 0.0)
        elif kind == 2:
            crops[group] = blur(crops[group], chance(1.0, 5.0), chance(0.02, 0.2), chance(0, math.pi))
    count = len(crops)
    strength = 0.12 * torch.rand(count, 1, 1, 1, generator=generator) ** 3 * (1 - 0.8 * clean)
    # One sheet of grain serves the batch, shifted: drawing millions of numbers would cost too much.
    fine = torch.randn(3, 2 * SIZE, 2 * SIZE, generator=generator)
    coarse = functional.interpolate(fine[None, :, :SIZE, :SIZE], scale_factor=2.0, mode="bilinear")[0]
    corner = torch.randint(SIZE, (count, 2), generator=generator).tolist()
    sheets = [coarse if row % 2 else fine for row in range(count)]
    grain = torch.stack([sheet[:, y : y + SIZE, x : x + SIZE] for sheet, (y, x) in zip(sheets, corner, strict=True)])
    crops = crops + strength * grain
    for row in order[: len(order) // 8]:
        low = (torch.rand(2, generator=generator) * SIZE).int()
        high = low + (torch.rand(2, generator=generator) * 50).int() + 4
        crops[row, :, low[1] : high[1], low[0] : high[0]] = torch.rand(3, 1, 1, generator=generator)
    bytes_ = (crops.clamp(0, 1) * 255).byte()
    for row in order[: len(order) // 3]:
        picture = np.ascontiguousarray(bytes_[row].permute(1, 2, 0).numpy())
        quality = round(chance(12, 90))
        _, packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        bytes_[row] = torch.from_numpy(np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR))).permute(2, 0, 1)
    return bytes_.float() / 255


def blur(crops: Tensor, sigma: float, flatness: float, angle: float) -> Tensor:
    """Gaussian blur; a flat one along ``angle`` stands for motion."""
    radius = max(1, math.ceil(2.5 * sigma))
    axis = torch.arange(-radius, radius + 1).float()
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    kernel = torch.exp(-0.5 * ((along / sigma).square() + (across / max(sigma * flatness, 0.3)).square()))
    weight = (kernel / kernel.sum()).expand(3, 1, -1, -1)
    return functional.conv2d(functional.pad(crops, [radius] * 4, mode="replicate"), weight, groups=3)
