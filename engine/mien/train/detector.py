"""Train the face detector: ``python -m mien.train.detector --help``.

Pictures are put together on the fly (``mien.train.scenes``): people drawn from the face kit at all sizes over
clutter and, where given, real clips with labels from YuNet and FaceMesh. Seeded; saves its state as it goes
and continues from it; no file that bears its final name is ever half written.
"""

import math
import time
from pathlib import Path
from typing import Annotated, NamedTuple

import av
import cv2
import numpy as np
import torch
import typer
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from mien.models import backends
from mien.models.detector import STRIDES, Cells, Detector, centers, overlap
from mien.train.facekit import Kit, load_kit
from mien.train.faces import draw
from mien.train.scenes import FIVE, MOST, NOBODY, Frames, Labels, Picture, Sprites, scene, stock
from mien.train.splits import TRAINED_CLIPS

REACH = {8: (0.0, 36.0), 16: (26.0, 80.0), 32: (60.0, 1e9)}
"""Sizes of faces, in pixels (root of the box's area), that each grid answers for."""
EMPTY = (
    "brick.png",
    "cell.png",
    "clock_motion.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "moon.png",
    "retina.jpg",
    "rocket.jpg",
    "text.png",
)
"""Pictures without faces among those that scikit-image ships: CC0 or public domain."""


PEOPLE = (256, 2.3)
"""Side in pixels of the pictures people are drawn on, and in sizes of the face: with hair, hats and shoulders."""
CLOSE = (448, 1.5)
"""The same for one in ten, who are seen up close."""


class Batch(NamedTuple):
    """(B, 3, S, S) pictures, (B, M, 4) boxes, (B, M, 5, 2) points; (B, M) whether a face is there, and learned from."""

    pictures: Tensor
    boxes: Tensor
    five: Tensor
    there: Tensor
    learn: Tensor


class Targets(NamedTuple):
    """For every cell (B, N): the face it answers for (index, or -1), and whether its score counts."""

    face: Tensor
    counts: Tensor


def batch_of(scenes: list[tuple[Picture, Labels]]) -> Batch:
    """Stack pictures and pad their labels."""
    boxes, five = torch.zeros(len(scenes), MOST, 4), torch.zeros(len(scenes), MOST, 5, 2)
    there, learn = torch.zeros(2, len(scenes), MOST, dtype=torch.bool)
    for row, (_, labels) in enumerate(scenes):
        count = len(labels.boxes)
        boxes[row, :count] = torch.from_numpy(labels.boxes).float()
        five[row, :count] = torch.from_numpy(labels.five).float()
        there[row, :count] = True
        learn[row, :count] = torch.from_numpy(labels.learn)
    pictures = torch.from_numpy(np.stack([picture for picture, _ in scenes])).permute(0, 3, 1, 2).float() / 255
    return Batch(pictures.contiguous(memory_format=torch.channels_last), boxes, five, there, learn)


def assign(batch: Batch) -> Targets:
    """Which cells answer for which face: those near its middle, on the grids for its size; the smallest wins.

    Cells around those, and those of a face that is not learned from, count for nothing.
    """
    faces, counts = [], []
    size = (batch.boxes[..., 2:] - batch.boxes[..., :2]).clamp(min=1e-3)
    area = torch.where(batch.there, size.prod(-1), torch.inf)
    root = size.prod(-1).sqrt()
    middle = (batch.boxes[..., :2] + batch.boxes[..., 2:]) / 2
    for stride in STRIDES:
        cells = centers(batch.pictures.shape[2] // stride, batch.pictures.shape[3] // stride, stride).to(middle)
        apart = (cells[None, :, None] - middle[:, None]).abs()
        near = (apart <= torch.maximum(size * 0.2, torch.tensor(0.5 * stride + 1e-3))[:, None]).all(-1)
        around = (apart <= torch.maximum(size * 0.4, torch.tensor(1.0 * stride))[:, None]).all(-1)
        inside = (apart <= size[:, None] * 0.5).all(-1)
        low, high = REACH[stride]
        mine = ((root >= low) & (root < high) & batch.there & batch.learn)[:, None]
        ranked = torch.where(near & mine, area[:, None], torch.inf)
        least, face = ranked.min(-1)
        taken = least < torch.inf
        # A face just out of this grid's reach looks the same as one just within; a much larger one, learned from
        # or not, does not: this grid sees only an ear or a mouth of it, and is to say no.
        almost = (root >= low * 0.8) & (root < high * 1.25) & batch.there
        dim = (around & almost[:, None]) | (inside & (almost & ~batch.learn)[:, None])
        faces.append(torch.where(taken, face, -1))
        counts.append(taken | ~dim.any(-1))
    return Targets(torch.cat(faces, 1), torch.cat(counts, 1))


def losses(cells: Cells, batch: Batch, targets: Targets) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of the scores, of the boxes (distance IoU, arXiv 1911.08287) and of the points, each per face's cell."""
    taken = targets.face >= 0
    amount = taken.sum().clamp(min=1)
    rows = torch.nonzero(taken)[:, 0]
    face = targets.face[taken]
    boxes, five = batch.boxes[rows, face], batch.five[rows, face]
    found = cells.boxes[taken]
    common = (torch.minimum(found[:, 2:], boxes[:, 2:]) - torch.maximum(found[:, :2], boxes[:, :2])).clamp(min=0)
    union = (found[:, 2:] - found[:, :2]).prod(-1) + (boxes[:, 2:] - boxes[:, :2]).prod(-1) - common.prod(-1)
    fit = common.prod(-1) / union
    hull = torch.maximum(found[:, 2:], boxes[:, 2:]) - torch.minimum(found[:, :2], boxes[:, :2])
    apart = (found[:, :2] + found[:, 2:] - boxes[:, :2] - boxes[:, 2:]) / 2
    box_loss = (1 - fit + apart.square().sum(-1) / hull.square().sum(-1)).sum() / amount
    size = (boxes[:, 2:] - boxes[:, :2]).prod(-1).sqrt()
    point_loss = functional.smooth_l1_loss(
        cells.five[taken] / size[:, None, None], five / size[:, None, None], beta=0.05, reduction="sum"
    ) / (amount * 5)
    wanted = torch.zeros_like(cells.logits)
    wanted[taken] = fit.detach().clamp(min=0.3)
    surprise = functional.binary_cross_entropy_with_logits(cells.logits, wanted, reduction="none")
    weight = (cells.logits.sigmoid() - wanted).abs().square()
    score_loss = (surprise * weight * targets.counts).sum() / amount
    return score_loss, box_loss, point_loss


def read_empty() -> list[Picture]:
    """The pictures without faces that scikit-image ships."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    read = [cv2.imread(str(folder / name), cv2.IMREAD_COLOR_RGB) for name in EMPTY]
    return [np.asarray(picture, np.uint8) for picture in read if picture is not None]


def read_clip(path: Path) -> list[Picture]:
    """All frames of a movie."""
    with av.open(str(path)) as movie:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in movie.decode(video=0)]


def teach(finder: backends.FaceFinder, picture: Picture) -> Labels:
    """Label a real frame: boxes around the points that FaceMesh puts on what YuNet finds.

    Where the two disagree, or YuNet is in doubt at the edge of the frame, the face is kept but not learned from.
    """
    found = finder.detect(picture, 20)
    if not len(found.scores):
        return NOBODY
    crops = backends.crop_from_detection(found.boxes, found.five)
    points = finder.landmarks(picture, crops).points[..., :2]
    points = finder.landmarks(picture, backends.crop_from_points(points, "mesh")).points[..., :2]
    boxes = torch.cat((points.amin(1), points.amax(1)), 1)
    five = torch.stack([points[:, list(indices)].mean(1) for indices in FIVE], 1)
    agree = torch.diagonal(overlap(boxes, found.boxes)) > 0.55
    sure = agree & (found.scores > 0.7)
    boxes = torch.where(agree[:, None], boxes, found.boxes)
    # In these clips the doubtful finds inside the frame are hands and printed shirts, which are to be learned
    # as such; those at its edge are people who reach into it.
    edge = torch.tensor([picture.shape[1], picture.shape[0]]) - 4
    kept = sure | (found.scores > 0.7) | (found.boxes[:, :2] < 4).any(1) | (found.boxes[:, 2:] > edge).any(1)
    return Labels(boxes[kept].double().numpy(), five[kept].double().numpy(), sure[kept].numpy())


def label_clips(clips: Path, teachers: Path, every: int) -> Frames:
    """Read every n-th frame of the clips that may be learned from, and have them labeled."""
    finder = backends.open("onnx", teachers)
    pictures = [
        picture
        for name in TRAINED_CLIPS
        for path in sorted(clips.glob(f"{name}.*"))
        for picture in read_clip(path)[::every]
    ]
    return Frames(pictures, [teach(finder, picture) for picture in pictures])


def draw_people(kit: Kit, count: int, seed: int, size: int, margin: float) -> Sprites:
    """Draw people who do not exist, cut out by their matte."""
    generator = torch.Generator().manual_seed(seed)
    pictures = np.zeros((count, size, size, 4), np.uint8)
    points = np.zeros((count, 468, 2))
    for first in range(0, count, 16):
        drawn = draw(kit, min(16, count - first), generator, size, margin)
        cut = torch.cat((drawn.pictures, drawn.cover), 1).permute(0, 2, 3, 1)
        pictures[first : first + 16] = (cut * 255).round().byte().cpu().numpy()
        points[first : first + 16] = drawn.points[..., :2].double().cpu().numpy()
    return Sprites(pictures, points)


def kept_people(cache: Path, facekit: Path, count: int, seed: int, device: torch.device) -> tuple[Sprites, Sprites]:
    """People at a distance and up close, from the file where the last run left them, or drawn now."""
    if not cache.exists():
        kit = load_kit(facekit, device)
        people, close = draw_people(kit, count, seed, *PEOPLE), draw_people(kit, count // 10, seed + 1, *CLOSE)
        part = cache.with_name(cache.name + ".part")
        save_arrays(
            {
                "pictures": people.pictures,
                "points": people.points,
                "close.pictures": close.pictures,
                "close.points": close.points,
            },
            part,
        )
        part.replace(cache)
    kept = load_arrays(cache)
    return Sprites(kept["pictures"], kept["points"]), Sprites(kept["close.pictures"], kept["close.points"])


def save_state(
    path: Path, detector: Detector, average: dict[str, Tensor], optimizer: torch.optim.AdamW, step: int
) -> None:
    """Everything needed to go on from here, as plain tensors; appears whole or not at all."""
    tensors = {f"detector.{name}": value for name, value in detector.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.items()}
    for row, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"moments.{row}.{name}": torch.as_tensor(value) for name, value in moments.items()}
    tensors["step"] = torch.tensor(step)
    part = path.with_name(path.name + ".part")
    save_file({name: value.contiguous() for name, value in tensors.items()}, part)
    part.replace(path)


def load_state(path: Path, detector: Detector, average: dict[str, Tensor], optimizer: torch.optim.AdamW) -> int:
    """Take up what ``save_state`` left; answers the step."""
    tensors = load_file(path)
    detector.load_state_dict({name[9:]: value for name, value in tensors.items() if name.startswith("detector.")})
    for name in average:
        average[name] = tensors[f"average.{name}"]
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("moments."):
            _, row, key = name.split(".")
            moments.setdefault(int(row), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    return int(tensors["step"])


def save_weights(path: Path, average: dict[str, Tensor]) -> None:
    """The averaged weights in half precision, as the package ships them."""
    part = path.with_name(path.name + ".part")
    halves = {name: value.half() if value.is_floating_point() else value for name, value in average.items()}
    save_file({name: value.contiguous() for name, value in halves.items()}, part)
    part.replace(path)


def rate(step: int, steps: int, peak: float) -> float:
    """Learning rate: a short rise, then half a cosine down to a hundredth."""
    if step < 300:
        return peak * (step + 1) / 300
    return peak * (0.01 + 0.99 * (1 + math.cos(math.pi * min(1.0, step / steps))) / 2)


def train(
    out: Annotated[Path, typer.Option("-o", "--out", help="Where the weights go (safetensors); state lies beside it.")],
    facekit: Annotated[Path | None, typer.Option(help="facekit.npz: people to draw.")] = None,
    clips: Annotated[Path | None, typer.Option(help="Folder of the sign-language clips.")] = None,
    teachers: Annotated[Path | None, typer.Option(help="Folder of YuNet and FaceMesh, which label them.")] = None,
    people: Annotated[int, typer.Option(help="How many people to draw.")] = 4000,
    steps: Annotated[int, typer.Option(help="Steps in all; the learning rate falls over them.")] = 10000,
    until: Annotated[int | None, typer.Option(help="Stop at this step already, to go on another time.")] = None,
    size: Annotated[int, typer.Option(help="Pictures in a step.")] = 32,
    clutter: Annotated[int, typer.Option(help="How many backgrounds to make up.")] = 600,
    peak: Annotated[float, typer.Option(help="Highest learning rate.")] = 2e-3,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    every: Annotated[int, typer.Option(help="Steps between saves.")] = 200,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
) -> None:
    """Train the face detector, or go on training it."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    place = torch.device(device)
    drawn: tuple[Sprites | None, Sprites | None] = (
        kept_people(out.with_suffix(".people"), facekit, people, seed, place) if facekit else (None, None)
    )
    frames = label_clips(clips, teachers, every=3) if clips and teachers else None
    shelf = stock(np.random.default_rng(seed), *drawn, frames, read_empty(), clutter)
    detector = Detector().to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = {name: value.detach().clone() for name, value in detector.state_dict().items()}
    optimizer = torch.optim.AdamW(detector.parameters(), lr=peak, weight_decay=0.02)
    state = out.with_suffix(".state")
    first = load_state(state, detector, average, optimizer) if state.exists() else 0
    begun = time.monotonic()
    seen = np.zeros(3)
    last = steps if until is None else min(until, steps)
    for step in range(first, last):
        random = np.random.default_rng((seed, step))
        batch = batch_of([scene(random, shelf) for _ in range(size)])
        batch = Batch(*(part.to(place) for part in batch))
        # Half precision in the network only; sums and labels stay whole.
        with torch.autocast(place.type, torch.bfloat16):
            cells = detector(batch.pictures)
        parts = losses(Cells(*(part.float() for part in cells)), batch, assign(batch))
        loss = parts[0] + 2 * parts[1] + parts[2]
        for group in optimizer.param_groups:
            group["lr"] = rate(step, steps, peak)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call,unused-ignore]
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 5.0)
        optimizer.step()
        # Averaged weights detect better than any single step's; early on the average must forget quickly.
        keep = min(0.998, (step + 1) / (step + 10))
        for name, value in detector.state_dict().items():
            average[name] = torch.lerp(value, average[name], keep) if value.is_floating_point() else value.clone()
        seen += [float(part.detach()) for part in parts]
        if (step + 1) % every == 0 or step + 1 == last:
            save_state(state, detector, average, optimizer, step + 1)
            save_weights(out, average)
            pace = (step + 1 - first) / (time.monotonic() - begun)
            score, box, point = seen / (step % every + 1)
            print(f"step {step + 1}: score {score:.4f} box {box:.4f} points {point:.4f} {pace:.2f} steps/s", flush=True)
            seen[:] = 0


if __name__ == "__main__":
    typer.run(train)
