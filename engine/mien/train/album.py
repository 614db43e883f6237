"""Albums: shards of face crops with their points, drawn or filmed, from which the landmark network learns.

``python -m mien.train.album draw --facekit FILE -o DIR`` draws people for as long as wanted;
``python -m mien.train.album film --clips DIR --teachers DIR -o DIR`` labels real clips with YuNet and FaceMesh.
Shards are safetensors files that appear whole or not at all; several drawers may fill one folder at once.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import av
import cv2
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Generator

from mien import mesh
from mien.models.crops import crop_from_points, crop_matrices, cut_crop
from mien.train.facekit import Kit, load_kit
from mien.train.faces import MARGIN, Drawing, draw
from mien.train.skins import Skins, project
from mien.train.splits import TRAINED_CLIPS
from mien.types import MienError

SIDE = 160
"""Width and height of stored crops: MARGIN face sizes."""
MATTE_SIDE = 80
UNKNOWN = 255
"""Visibility or matte that the labels do not tell."""

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]
app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)


class Album(NamedTuple):
    """Crops and labels, all with the same first axis.

    Attributes:
        pictures: (N, SIDE, SIDE, 3) RGB bytes.
        points: (N, 468, 3) in crop pixels; z NaN where unknown, all NaN where there is no face.
        visibility: (N, 468) 0, 1 or UNKNOWN.
        matte: (N, MATTE_SIDE, MATTE_SIDE) bytes; all UNKNOWN in a row whose ``matte_known`` is 0.
        matte_known: (N,) 0 or 1.
    """

    pictures: Picture
    points: Floats
    visibility: Picture
    matte: Picture
    matte_known: Picture


def save_album(album: Album, path: Path) -> None:
    """Write a shard; it bears its name only when whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    # safetensors writes memory as it lies, whatever the strides say.
    save_file({name: np.ascontiguousarray(array) for name, array in album._asdict().items()}, part)
    part.replace(path)


def load_album(path: Path) -> Album:
    """Read a shard.

    Raises:
        MienError: It is damaged, or something else.
    """
    try:
        album = Album(**load_file(path))
        count = len(album.pictures)
        if any(len(part) != count for part in album) or album.pictures.shape[1:] != (SIDE, SIDE, 3):
            raise ValueError("its parts do not fit together")
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        raise MienError(f"{path} is no shard of an album: {str(error)[:200]}. Draw or film it again.") from error
    return album


def dressed(drawing: Drawing, random: np.random.Generator) -> Album:
    """Glasses and things in front, drawn over the people; labels follow."""
    pictures = (drawing.pictures.permute(0, 2, 3, 1).cpu().numpy() * 255).round().astype(np.uint8)
    points = drawing.points.cpu().numpy()
    visibility = (drawing.visibility.cpu().numpy() > 0.5).astype(np.uint8)
    mattes = drawing.matte[:, 0].cpu().numpy()
    pose = mesh.pose_of(drawing.points.cpu())
    small = []
    for row, picture in enumerate(pictures):
        if random.random() < 0.22:
            draw_glasses(picture, points[row], pose.rotation[row].numpy(), float(pose.scale[row]), random)
        if random.random() < 0.35:
            hidden = draw_object(picture, points[row], random)
            texel = points[row, :, :2].astype(int).clip(0, len(picture) - 1)
            visibility[row] &= hidden[texel[:, 1], texel[:, 0]] < 0.5
            mattes[row] *= 1 - hidden
        small.append(cv2.resize(mattes[row], (MATTE_SIDE, MATTE_SIDE), interpolation=cv2.INTER_AREA))
    matte = (np.stack(small).clip(0, 1) * 255).round().astype(np.uint8)
    return Album(pictures, points, visibility, matte, np.ones(len(pictures), np.uint8))


def draw_glasses(picture: Picture, points: Floats, rotation: Floats, scale: float, random: np.random.Generator) -> None:
    """Put spectacles or sunglasses on a face, in place."""
    right, down, away = rotation.T
    width, height = random.uniform(0.19, 0.29) * scale, random.uniform(0.13, 0.25) * scale
    power = random.uniform(2.0, 5.0)
    around = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    # A superellipse: from round to nearly rectangular.
    x = np.sign(np.cos(around)) * np.abs(np.cos(around)) ** (2 / power) * width
    y = np.sign(np.sin(around)) * np.abs(np.sin(around)) ** (2 / power) * height
    rims = []
    for rim in (mesh.RIGHT_EYE, mesh.LEFT_EYE):
        middle = points[rim].mean(0) - away * 0.13 * scale + down * random.uniform(-0.02, 0.06) * scale
        rims.append(middle + x[:, None] * right + y[:, None] * down)
    shift = 4
    size = float(1 << shift)

    def pixels(curve: Floats) -> NDArray[np.int32]:
        return ((curve[:, :2] - 0.5) * size).round().astype(np.int32)

    tint = random.random() < 0.35
    dark = random.uniform(0.4, 1.0) if tint else random.uniform(0.0, 0.12)
    shade = random.uniform(0, 80 if tint else 255, 3)
    layer, cover = picture.astype(np.float32), np.zeros(picture.shape[:2], np.float32)
    for rim in rims:
        cv2.fillPoly(cover, [pixels(rim)], dark, cv2.LINE_AA, shift)
    layer += cover[..., None] * (shade - layer)
    frame_cover = np.zeros(picture.shape[:2], np.float32)
    thick = int(random.integers(1, 5))
    if random.random() < 0.85:
        for rim in rims:
            cv2.polylines(frame_cover, [pixels(rim)], True, 1.0, thick, cv2.LINE_AA, shift)
    inner, outer = int(np.argmax(x)), int(np.argmin(x))
    cv2.polylines(
        frame_cover, [pixels(np.stack((rims[0][inner], rims[1][outer])))], False, 1.0, thick, cv2.LINE_AA, shift
    )
    for rim, ear, side in ((rims[0][outer], points[127], -1), (rims[1][inner], points[356], 1)):
        # The temple on the far side hides behind the face.
        if side * away[0] > -0.15:
            end = ear + away * 0.1 * scale
            cv2.polylines(frame_cover, [pixels(np.stack((rim, end)))], False, 1.0, thick, cv2.LINE_AA, shift)
    color = random.uniform(0, 255, 3) if random.random() < 0.3 else np.full(3, random.uniform(0, 90))
    layer += frame_cover.clip(0, 1)[..., None] * (color - layer)
    picture[:] = layer.clip(0, 255).astype(np.uint8)


def draw_object(picture: Picture, points: Floats, random: np.random.Generator) -> Floats:
    """Put a hand or a thing in front of a face, in place; answers its matte."""
    size = len(picture)
    cover = np.zeros((size, size), np.float32)
    face = float(np.ptp(points[:, :2], 0).max())
    aim = points[random.integers(len(points)), :2] + random.normal(size=2) * 0.15 * face
    turn = random.uniform(0, 2 * np.pi)
    axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    hand = random.random() < 0.6
    if hand:
        palm = random.uniform(0.16, 0.3) * face
        wrist = aim - axes[0] * palm * 4
        cv2.line(cover, _pixel(wrist), _pixel(aim), 1.0, max(1, int(palm * 1.3)), cv2.LINE_AA)
        cv2.circle(cover, _pixel(aim), max(1, int(palm * 0.85)), 1.0, -1, cv2.LINE_AA)
        curl = random.uniform(0.2, 1.8)
        for finger in range(4):
            spread = (finger - 1.5) * random.uniform(0.1, 0.32)
            heading = axes[0] * np.cos(spread) + axes[1] * np.sin(spread)
            root = aim + axes[1] * (finger - 1.5) * palm * 0.42 + axes[0] * palm * 0.5
            tip = root + heading * palm * curl * random.uniform(0.8, 1.2)
            cv2.line(cover, _pixel(root), _pixel(tip), 1.0, max(1, int(palm * 0.4)), cv2.LINE_AA)
        thumb = aim + axes[1] * palm * random.choice([-1.5, 1.5]) + axes[0] * palm * 0.3
        cv2.line(cover, _pixel(aim), _pixel(thumb), 1.0, max(1, int(palm * 0.45)), cv2.LINE_AA)
    elif random.random() < 0.5:
        radius = np.exp(random.uniform(np.log(0.04), np.log(0.4), 2)) * face
        half = max(1, int(radius[0])), max(1, int(radius[1]))
        cv2.ellipse(cover, _pixel(aim), half, np.degrees(turn), 0, 360, 1.0, -1, cv2.LINE_AA)
    else:
        length, width = random.uniform(0.3, 1.5) * face, random.uniform(0.04, 0.4) * face
        corners = aim + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2 * [length, width] @ axes
        cv2.fillPoly(cover, [corners.round().astype(np.int32)], 1.0, cv2.LINE_AA)
    soft = random.uniform(0.4, 2.0)
    cover = cv2.GaussianBlur(cover, (0, 0), soft)
    texel = points[:, :2].astype(int).clip(0, size - 1)
    skin = np.median(picture[texel[:, 1], texel[:, 0]], 0)
    color = skin * random.uniform(0.6, 1.5) * random.uniform(0.9, 1.1, 3) if hand else random.uniform(0, 255, 3)
    axis = (np.arange(size) - size / 2) / size
    slope = axis[None] * random.normal() + axis[:, None] * random.normal()
    grain = cv2.resize(random.normal(size=(size // 4, size // 4)).astype(np.float32), (size, size))
    # Rounder than flat: darker toward the rim, where the cover's blur falls off.
    rim = cv2.GaussianBlur(cover, (0, 0), 0.05 * face)
    shade = (1 + 0.5 * slope + random.uniform(0, 0.15) * grain) * (0.5 + 0.5 * rim)
    layer = picture + cover[..., None] * (color * shade[..., None] - picture)
    picture[:] = layer.clip(0, 255).astype(np.uint8)
    return np.asarray(cover, np.float32)


def _pixel(position: NDArray[Any]) -> tuple[int, int]:
    return round(float(position[0])), round(float(position[1]))


def clip_frames(path: Path, every: int) -> Iterator[Picture]:
    """Every n-th frame of a movie as RGB bytes."""
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % every == 0:
                yield frame.to_ndarray(format="rgb24")


def teach(picture: Picture, finder: Any, random: np.random.Generator) -> Iterator[tuple[Picture, Floats]]:
    """Crops and points of the faces in a real frame, where the teacher agrees with itself.

    FaceMesh looks four times through slightly different crops; faces on which the looks differ by more than 2.5 %
    of the distance between the eyes are left out: blurred, hidden or mistaken.
    """
    found = finder.detect(picture, 32.0)
    if not len(found.boxes):
        return
    first = finder.landmarks(picture, torch.cat([crop_of(box) for box in found.boxes]))
    for points in first.points:
        looks = []
        for _ in range(4):
            crop = crop_from_points(points, "mesh")
            jitter = torch.tensor(random.uniform(-1, 1, 4), dtype=torch.float32)
            crop = (
                crop + jitter * torch.tensor([0.06, 0.06, 0.1, 0.0]) * crop[2] + jitter * torch.tensor([0, 0, 0, 0.1])
            )
            looks.append(finder.landmarks(picture, crop[None]).points[0])
        stack = torch.stack(looks)
        eyes = (stack[:, 33, :2] - stack[:, 263, :2]).norm(dim=-1).mean().clamp_min(1)
        across = mesh.pose_of(stack.mean(0)).scale.clamp_min(eyes)
        if (stack - stack.mean(0))[..., :2].norm(dim=-1).mean() > 0.025 * across:
            continue
        average = stack.mean(0)
        crop = crop_from_points(average, "mesh")
        crop[2] *= MARGIN / 1.5
        matrix = crop_matrices(crop[None].double(), SIDE)[0].numpy()
        placed = (average.double().numpy() * [1, 1, 0] + [0, 0, 1]) @ matrix.T
        placed[:, 2] = np.nan
        yield cut_crop(picture, matrix, float(crop[2]), SIDE), placed.astype(np.float32)


def crop_of(box: torch.Tensor) -> torch.Tensor:
    """An upright crop (1, 4) around a detector's box."""
    side = 1.5 * (box[2:] - box[:2]).max()
    return torch.stack(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2, side, torch.zeros(())))[None]


def filmed_skins(kit: Kit, folder: Path, most: int = 120) -> Skins:
    """Skins of the people in a folder's filmed shards, at most so many faces, evenly spread."""
    albums = [load_album(path) for path in sorted(folder.glob("filmed-*.safetensors"))]
    if not albums:
        raise MienError(f"There are no filmed shards in {folder}. Make some: python -m mien.train.album film.")
    pictures = np.concatenate([album.pictures for album in albums])
    points = np.concatenate([album.points for album in albums])
    rows = np.unique(np.linspace(0, len(pictures) - 1, min(most, len(pictures))).round().astype(int))
    shown = torch.from_numpy(pictures[rows]).permute(0, 3, 1, 2).float() / 255
    return project(kit, shown, torch.from_numpy(points[rows]))


@app.command("draw")
def draw_command(
    facekit: Annotated[Path, typer.Option(help="facekit.npz")],
    output: Annotated[Path, typer.Option("-o", help="Folder for the shards.")],
    shards: Annotated[int, typer.Option(help="How many shards to draw.")] = 100,
    per_shard: Annotated[int, typer.Option(help="People in each.")] = 512,
    seed: Annotated[int, typer.Option(help="Another seed draws other people.")] = 0,
    skins: Annotated[Path | None, typer.Option(help="Folder of filmed shards, whose skin some people wear.")] = None,
) -> None:
    """Draw people. Shards already there are kept, so that a killed run continues."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    kit = load_kit(facekit)
    worn = None if skins is None else filmed_skins(kit, skins)
    for shard in range(shards):
        path = output / f"drawn-{seed}-{shard:04d}.safetensors"
        if path.exists():
            continue
        generator = Generator().manual_seed(seed * 1_000_003 + shard)
        random = np.random.default_rng((seed, shard))
        parts = [dressed(draw(kit, 32, generator, SIDE, skins=worn), random) for _ in range(per_shard // 32)]
        save_album(Album(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True))), path)
        typer.echo(path.name)


@app.command("empty")
def empty_command(
    output: Annotated[Path, typer.Option("-o", help="Folder for the shard.")],
    clips: Annotated[Path | None, typer.Option(help="Folder with the clips that may be learned from.")] = None,
    teachers: Annotated[Path | None, typer.Option(help="Folder with YuNet and FaceMesh, to keep off faces.")] = None,
    count: Annotated[int, typer.Option(help="How many crops.")] = 1500,
) -> None:
    """Cut crops without a face from permitted pictures, so that the network learns what none looks like."""
    from mien.models import backends
    from mien.train.detector import read_empty

    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    places: list[tuple[Picture, NDArray[Any]]] = [(picture, np.zeros((0, 4))) for picture in read_empty()]
    if clips is not None and teachers is not None:
        finder = backends.open("onnx", teachers)
        for name in TRAINED_CLIPS:
            for frame in clip_frames(next(iter(sorted(clips.glob(f"{name}.*")))), 40):
                places.append((frame, finder.detect(frame, 20.0).boxes.numpy()))
    crops: list[Picture] = []
    while len(crops) < count:
        picture, boxes = places[random.integers(len(places))]
        height, width = picture.shape[:2]
        side = float(np.exp(random.uniform(np.log(40), np.log(0.9 * min(height, width)))))
        center = random.uniform(side / 3, np.array([width, height]) - side / 3)
        near = np.abs((boxes[:, :2] + boxes[:, 2:]) / 2 - center) < side / 2 + (boxes[:, 2:] - boxes[:, :2]) * 0.2
        if near.all(1).any():
            continue
        crop = torch.tensor([*center, side, random.normal() * 0.3])
        crops.append(cut_crop(picture, crop_matrices(crop[None].double(), SIDE)[0].numpy(), side, SIDE))
    album = Album(
        np.stack(crops),
        np.full((count, mesh.POINTS, 3), np.nan, np.float32),
        np.full((count, mesh.POINTS), UNKNOWN, np.uint8),
        np.zeros((count, MATTE_SIDE, MATTE_SIDE), np.uint8),
        np.ones(count, np.uint8),
    )
    save_album(album, output / "empty-0.safetensors")


@app.command("film")
def film_command(
    clips: Annotated[Path, typer.Option(help="Folder with the clips that may be learned from.")],
    teachers: Annotated[Path, typer.Option(help="Folder with YuNet and FaceMesh.")],
    output: Annotated[Path, typer.Option("-o", help="Folder for the shard.")],
    every: Annotated[int, typer.Option(help="Take every n-th frame.")] = 3,
) -> None:
    """Label real clips by teachers."""
    from mien.models import backends

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    finder = backends.open("onnx", teachers)
    random = np.random.default_rng(0)
    for name in TRAINED_CLIPS:
        taught = [
            pair
            for path in sorted(clips.glob(f"{name}.*"))
            for frame in clip_frames(path, every)
            for pair in teach(frame, finder, random)
        ]
        if not taught:
            continue
        pictures, points = (np.stack(arrays) for arrays in zip(*taught, strict=True))
        count = len(pictures)
        album = Album(
            pictures,
            points,
            np.full((count, mesh.POINTS), UNKNOWN, np.uint8),
            np.full((count, MATTE_SIDE, MATTE_SIDE), UNKNOWN, np.uint8),
            np.zeros(count, np.uint8),
        )
        save_album(album, output / f"filmed-{name}.safetensors")
        typer.echo(f"{name}: {count} crops")


if __name__ == "__main__":
    app()
