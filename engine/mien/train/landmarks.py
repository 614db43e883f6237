"""Train the landmark network: ``python -m mien.train.landmarks --album DIR -o landmarks.safetensors``.

Learns from albums (``mien.train.album``), which may still be growing. Seeded; saves its state as it goes and
continues from it; what it writes appears whole or not at all.
"""

import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import typer
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor
from torch.nn import functional

from mien import mesh
from mien.models.landmarks import SHAPES, Answers, Landmarks
from mien.train.album import Album, load_album
from mien.train.batches import Batch, place, prepare, views


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
    favor: Annotated[
        float, typer.Option(min=0.1, help="How many times as likely drawn faces that turn far are as others.")
    ] = 1.0,
    save_every: Annotated[int, typer.Option(help="Batches between two savings.")] = 500,
    most: Annotated[int, typer.Option(help="Drawn shards to hold in memory at most.")] = 150,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
) -> None:
    """Train, or go on training."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(1)
    torch.manual_seed(seed)
    where = torch.device(device)
    network = Landmarks()
    albums = open_albums(album, {}, most)
    generator, random = Generator().manual_seed(seed), np.random.default_rng(seed)
    drawn, filmed, empty = (albums_of(kind, albums) for kind in ("drawn", "filmed", "empty"))
    state = output.with_suffix(".state")
    if not state.exists() and begin is not None:
        network.load_state_dict({name: value.float() for name, value in load_file(begin).items()})
    elif not state.exists():
        start(network, drawn, generator)
    network.to(where)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-3)
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    step = load_state(state, network, average, optimizer) if state.exists() else 0
    generator.manual_seed(seed + step)
    random = np.random.default_rng((seed, step))
    weight = importance().to(where)
    seen_loss = seen_error = 0.0
    clock = time.monotonic()

    def next_batch(at: int) -> Batch:
        # Toward the end most crops are clean, as most that it will see are.
        dirt = 1.0 if at < 0.7 * steps else 0.4
        return prepare(drawn, filmed, empty, size, dirt, random, generator, favor)

    # While one batch is learned from, the next is prepared.
    with ThreadPoolExecutor(1) as ahead:
        ready = ahead.submit(next_batch, step)
        while step < steps:
            for group in optimizer.param_groups:
                group["lr"] = rate * warmth(step, steps)
            batch = Batch(*(value.to(where) for value in ready.result()))
            if step % save_every == 0:
                albums = open_albums(album, albums, most)
                drawn, filmed, empty = (albums_of(kind, albums) for kind in ("drawn", "filmed", "empty"))
            ready = ahead.submit(next_batch, step + 1)
            with torch.autocast(where.type, dtype=torch.bfloat16):
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
