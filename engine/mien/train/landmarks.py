"""Train the landmark network: ``python -m mien.train.landmarks --album DIR -o landmarks.safetensors``.

Learns from albums (``mien.train.album``), which may still be growing. Seeded; saves its state as it goes and
continues from it; what it writes appears whole or not at all.
"""

import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, NamedTuple

import cv2
import numpy as np
import torch
import typer
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor
from torch.nn import functional

from mien import mesh
from mien.models.crops import level_angle
from mien.models.landmarks import SHAPES, SIZE, Answers, Landmarks
from mien.train.album import SIDE, UNKNOWN, Album, load_album

FILMED = 0.14
"""Share of real crops in a batch, where there are any."""
ABSENT = 0.04
"""Share of crops that show only a corner of a face."""
EMPTY = 0.03
"""Share of crops that show anything but a face, where there are any."""


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
) -> Batch:
    """The next batch of ``size`` crops, of which a share of ``dirt`` may be soiled."""
    real = round(FILMED * size) if filmed else 0
    nothing = round(EMPTY * size) if empty else 0
    parts = [pick(drawn, size - real - nothing, random)] + ([pick(filmed, real, random)] if real else [])
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


def loss_of(answers: Answers, batch: Batch, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Loss, and mean error of the points in sides of the crop."""
    there = batch.presence > 0
    flat = batch.points[there][..., :2]
    first = (answers.first[there][..., :2] - flat).square().sum(-1).add(1e-7).sqrt()
    error = (answers.points[there][..., :2] - flat).square().sum(-1).add(1e-7).sqrt()
    spread = answers.log_spread[there]
    likelihood = 2 * spread + error * torch.exp(-spread)
    known = ~torch.isnan(batch.points[there][..., 2])
    depth = (answers.points[there][..., 2] - batch.points[there][..., 2])[known].abs().mean()
    seen = there[:, None] & ~torch.isnan(batch.visibility)
    drawn = there & ~torch.isnan(batch.matte).flatten(1).any(1)
    entropy = functional.binary_cross_entropy_with_logits
    loss = (
        (weight * (likelihood + 40 * first + 40 * error)).mean()
        + 30 * depth
        + entropy(answers.visibility[seen], batch.visibility[seen])
        + entropy(answers.presence, batch.presence)
        + entropy(answers.matte[drawn], batch.matte[drawn])
    )
    return loss, error.mean()


def start(network: Landmarks, albums: list[Album], generator: Generator) -> None:
    """Begin from the mean face and the main ways in which labels vary, so that training need not find them."""
    points = torch.from_numpy(np.concatenate([album.points for album in albums]))[:6000]
    views_of = views(points, torch.zeros(len(points), dtype=torch.bool), generator)
    labels = place(points, *views_of).flatten(1)
    mean = labels.mean(0)
    _, size, basis = torch.linalg.svd(labels - mean, full_matrices=False)
    with torch.no_grad():
        network.shapes.bias.copy_(mean)
        network.shapes.weight.copy_((basis[:SHAPES] * (size[:SHAPES, None] / len(labels) ** 0.5)).T)
        network.blend.weight.mul_(0.3)


def open_albums(folder: Path, known: dict[str, Album], most: int) -> dict[str, Album]:
    """Shards in the folder, those already open kept."""
    names = sorted(path.name for path in folder.glob("*.safetensors"))
    drawn = [name for name in names if name.startswith("drawn-")][:most]
    others = [name for name in names if not name.startswith("drawn-")]
    return {name: known.get(name) or load_album(folder / name) for name in drawn + others}


def albums_of(kind: str, albums: dict[str, Album]) -> list[Album]:
    """Those that are ``drawn``, ``filmed`` or ``empty``."""
    return [album for name, album in albums.items() if name.startswith(f"{kind}-")]


def save_weights(state: dict[str, Tensor], path: Path) -> None:
    """Write the network for use: half precision, whole or not at all."""
    part = path.with_suffix(".part")
    halves = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    save_file({name: value.contiguous() for name, value in halves.items()}, part)
    part.replace(path)


def save_state(
    path: Path, network: Landmarks, average: dict[str, Tensor], optimizer: torch.optim.AdamW, step: int
) -> None:
    """Everything needed to go on from here, as plain tensors."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.items()}
    for row, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"moments.{row}.{name}": torch.as_tensor(value) for name, value in moments.items()}
    tensors["step"] = torch.tensor(step)
    part = path.with_suffix(".part")
    save_file({name: value.contiguous().clone() for name, value in tensors.items()}, part)
    part.replace(path)


def load_state(path: Path, network: Landmarks, average: dict[str, Tensor], optimizer: torch.optim.AdamW) -> int:
    """Take up what ``save_state`` left; answers the step."""
    tensors = load_file(path)
    network.load_state_dict({name[8:]: value for name, value in tensors.items() if name.startswith("network.")})
    average.update({name[8:]: value for name, value in tensors.items() if name.startswith("average.")})
    state = optimizer.state_dict()
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("moments."):
            _, row, key = name.split(".")
            moments.setdefault(int(row), {})[key] = value
    optimizer.load_state_dict({**state, "state": moments})
    return int(tensors["step"])


def main(
    album: Annotated[Path, typer.Option(help="Folder of shards; may still be growing.")],
    output: Annotated[Path, typer.Option("-o", help="Weights to write.")],
    steps: Annotated[int, typer.Option(help="Batches to learn from in all.")] = 40000,
    size: Annotated[int, typer.Option(help="Crops in a batch.")] = 64,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 1.5e-3,
    seed: Annotated[int, typer.Option(help="Seed of everything.")] = 0,
    begin: Annotated[Path | None, typer.Option(help="Weights to begin from, as this trainer writes them.")] = None,
    save_every: Annotated[int, typer.Option(help="Batches between two savings.")] = 500,
    most: Annotated[int, typer.Option(help="Drawn shards to hold in memory at most.")] = 150,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
) -> None:
    """Train, or go on training."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(1)
    torch.manual_seed(seed)
    place = torch.device(device)
    network = Landmarks()
    albums = open_albums(album, {}, most)
    generator, random = Generator().manual_seed(seed), np.random.default_rng(seed)
    drawn, filmed, empty = (albums_of(kind, albums) for kind in ("drawn", "filmed", "empty"))
    state = output.with_suffix(".state")
    if not state.exists() and begin is not None:
        network.load_state_dict({name: value.float() for name, value in load_file(begin).items()})
    elif not state.exists():
        start(network, drawn, generator)
    network.to(place)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-3)
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    step = load_state(state, network, average, optimizer) if state.exists() else 0
    generator.manual_seed(seed + step)
    random = np.random.default_rng((seed, step))
    weight = importance().to(place)
    seen_loss = seen_error = 0.0
    clock = time.monotonic()

    def next_batch(at: int) -> Batch:
        # Toward the end most crops are clean, as most that it will see are.
        dirt = 1.0 if at < 0.7 * steps else 0.4
        return prepare(drawn, filmed, empty, size, dirt, random, generator)

    # While one batch is learned from, the next is prepared.
    with ThreadPoolExecutor(1) as ahead:
        ready = ahead.submit(next_batch, step)
        while step < steps:
            for group in optimizer.param_groups:
                group["lr"] = rate * warmth(step, steps)
            batch = Batch(*(value.to(place) for value in ready.result()))
            if step % save_every == 0:
                albums = open_albums(album, albums, most)
                drawn, filmed, empty = (albums_of(kind, albums) for kind in ("drawn", "filmed", "empty"))
            ready = ahead.submit(next_batch, step + 1)
            with torch.autocast(place.type, dtype=torch.bfloat16):
                answers = network.answers(batch.crops.contiguous(memory_format=torch.channels_last))
            loss, error = loss_of(answers, batch, weight)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            step += 1
            # The average of recent weights is steadier than the last ones.
            keep = min(0.999, (1 + step) / (10 + step))
            with torch.no_grad():
                for name, value in network.state_dict().items():
                    if value.is_floating_point():
                        average[name].lerp_(value, 1 - keep)
                    else:
                        average[name].copy_(value)
            seen_loss += loss.item()
            seen_error += error.item()
            if step % 100 == 0:
                speed = 100 * size / (time.monotonic() - clock)
                typer.echo(
                    f"{step}: loss {seen_loss / 100:.3f}, error {seen_error:.2f} % of crop, "
                    f"{speed:.0f} crops/s, {len(drawn)} shards"
                )
                seen_loss = seen_error = 0.0
                clock = time.monotonic()
            if step % save_every == 0 or step == steps:
                save_state(state, network, average, optimizer, step)
                save_weights(average, output)


def warmth(step: int, steps: int) -> float:
    """Learning rate at a step, as a share of the highest: a short rise, then half a cosine."""
    return min(1.0, (step + 1) / 300) * (0.01 + 0.99 * (1 + math.cos(math.pi * step / steps)) / 2)


def importance() -> Tensor:
    """Weight (468,) of each point: what ibug68 is made of counts double."""
    weight = torch.ones(mesh.POINTS)
    weight[mesh.IBUG68_POINTS.flatten()] = 2
    return weight / weight.mean()


if __name__ == "__main__":
    typer.run(main)
