"""Pictures with faces at known places, put together for training: people drawn or filmed, over anything.

Everything here is NumPy and OpenCV on 8-bit display-like RGB; positions are in pixels from the outer corner of
the first one.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Floats = NDArray[np.floating[Any]]

SIZE = 192
"""Side of the training pictures in pixels."""
MOST = 8
"""Faces labeled in one picture at most."""
NOSE = 1
"""Mesh point of the nose tip."""
EARS = (234, 454)
"""Mesh points before the ears."""
FIVE = ((33, 133), (362, 263), (1,), (61,), (291,))
"""Mesh points whose means are the eyes, the nose tip and the mouth corners, left in picture first."""


@dataclass(frozen=True)
class Labels:
    """Faces in one picture: (N, 4) boxes, (N, 5, 2) points, and (N,) whether to learn from each or look away."""

    boxes: Floats
    five: Floats
    learn: NDArray[np.bool_]

    def moved(self, matrix: Floats) -> "Labels":
        """The labels after a (2, 3) affine move of the picture; a turned box grows as a turned ellipse would."""
        linear, shift = matrix[:, :2], matrix[:, 2]
        middle = (self.boxes[:, :2] + self.boxes[:, 2:]) / 2 @ linear.T + shift
        half = (self.boxes[:, 2:] - self.boxes[:, :2]) / 2
        half = np.sqrt(half**2 @ (linear**2).T)
        return Labels(np.concatenate((middle - half, middle + half), 1), self.five @ linear.T + shift, self.learn)

    def mirrored(self, width: float) -> "Labels":
        """The labels in the mirrored picture, points named anew from the left."""
        boxes = self.boxes[:, [2, 1, 0, 3]] * np.array([-1, 1, -1, 1]) + np.array([width, 0, width, 0])
        five = self.five[:, [1, 0, 2, 4, 3]] * np.array([-1, 1]) + np.array([width, 0])
        return Labels(boxes, five, self.learn)


NOBODY = Labels(np.zeros((0, 4)), np.zeros((0, 5, 2)), np.zeros(0, bool))


def together(parts: list[Labels]) -> Labels:
    """The labels of several lists as one."""
    return Labels(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.five for part in parts]),
        np.concatenate([part.learn for part in parts]),
    )


def clutter(random: Generator, size: int = SIZE) -> Picture:
    """A picture of nothing: clouds of color, shapes, stripes and skin-colored blobs."""
    picture = np.zeros((size, size, 3), np.float32)
    base = random.uniform(0, 255, 3)
    for octave in (2, 4, 8, 16, 48):
        grain = random.normal(size=(octave, octave, 3 if random.random() < 0.5 else 1)).astype(np.float32)
        picture += cv2.resize(grain, (size, size), interpolation=cv2.INTER_CUBIC).reshape(size, size, -1) * (
            random.uniform(0, 90) / octave**0.5
        )
    picture += base
    skin = np.array([200, 150, 120]) * random.uniform(0.3, 1.2)
    for _ in range(int(random.integers(0, 14))):
        color = skin + random.normal(size=3) * 12 if random.random() < 0.35 else random.uniform(0, 255, 3)
        layer = picture.copy()
        middle = random.uniform(0, size, 2)
        extent = np.exp(random.uniform(math.log(4), math.log(size / 2), 2))
        angle = random.uniform(0, 180)
        kind = random.integers(0, 4)
        if kind == 0:
            axes = (int(extent[0]), int(extent[1]))
            cv2.ellipse(layer, (int(middle[0]), int(middle[1])), axes, angle, 0, 360, color.tolist(), -1, cv2.LINE_AA)
        elif kind == 1:
            corners = cv2.boxPoints((middle.tolist(), (extent * 2).tolist(), angle)).astype(np.int32)
            cv2.fillPoly(layer, [corners], color.tolist(), cv2.LINE_AA)
        elif kind == 2:
            thick = max(1, int(extent.min() / 3))
            ends = (random.uniform(-0.2, 1.2, (random.integers(2, 6), 2)) * size).astype(np.int32)
            cv2.polylines(layer, [ends], False, color.tolist(), thick, cv2.LINE_AA)
        else:
            corners = (middle + random.normal(size=(random.integers(3, 7), 2)) * extent).astype(np.int32)
            cv2.fillPoly(layer, [corners], color.tolist(), cv2.LINE_AA)
        if random.random() < 0.4:
            layer = cv2.GaussianBlur(layer, (0, 0), random.uniform(0.5, 6))
        picture = picture + (layer - picture) * random.uniform(0.5, 1)
    if random.random() < 0.3:
        wave = np.sin(np.arange(size) * random.uniform(0.1, 2) + random.uniform(0, 6)) * random.uniform(5, 60)
        picture += wave[None, :, None] if random.random() < 0.5 else wave[:, None, None]
    return np.asarray(np.clip(picture, 0, 255), np.uint8)


def photographed(random: Generator, picture: Picture, grain: Floats) -> Picture:
    """The picture as another camera would have taken it: exposure, color, contrast, softness, noise, JPEG.

    ``grain`` is a larger picture of normal noise from which a piece is taken.
    """
    if random.random() < 0.15:
        picture = np.asarray(cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)
    levels = (np.arange(256) / 255)[:, None] ** math.exp(random.normal() * 0.35) * np.exp(random.normal(size=3) * 0.12)
    middle = float(picture.mean()) / 255
    levels = (levels - middle) * math.exp(random.normal() * 0.25) + middle + random.normal() * 0.08
    if random.random() < 0.1:
        levels = levels * random.uniform(0.2, 0.5)
    table = np.clip(levels * 255, 0, 255).round().astype(np.uint8)
    result = np.asarray(cv2.LUT(picture, table[:, None]), np.uint8)
    if random.random() < 0.35:
        result = np.asarray(cv2.GaussianBlur(result, (0, 0), random.uniform(0.3, 1.8)), np.uint8)
    if random.random() < 0.12:
        result = np.asarray(cv2.filter2D(result, -1, smear(random)), np.uint8)
    if random.random() < 0.6:
        x, y = random.integers(0, grain.shape[0] - SIZE, 2)
        noisy = result + grain[y : y + SIZE, x : x + SIZE] * np.float32(random.uniform(0, 12))
        result = np.clip(noisy, 0, 255).astype(np.uint8)
    if random.random() < 0.4:
        _, packed = cv2.imencode(".jpg", result, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(25, 95))])
        result = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return result


def smear(random: Generator) -> Floats:
    """The kernel of a short straight motion."""
    length = int(random.integers(3, 10))
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1 / length
    turned = cv2.getRotationMatrix2D((length / 2 - 0.5, length / 2 - 0.5), random.uniform(0, 180), 1)
    kernel = np.asarray(cv2.warpAffine(kernel, turned, (length, length)), np.float32)
    return np.asarray(kernel / max(float(kernel.sum()), 1e-6))


@dataclass(frozen=True)
class Sprites:
    """People cut out: (N, S, S, 4) RGB and matte as bytes, and (N, 468, 2) mesh points in their pixels."""

    pictures: Picture
    points: Floats

    @cached_property
    def draws(self) -> NDArray[np.intp]:
        """Rows to draw from: everyone once, and those near profile, whom detectors lose most, twice."""
        across = self.points[..., 0]
        low, high = across.min(1), across.max(1)
        profile = np.flatnonzero(np.abs((across[:, NOSE] - low) / (high - low) - 0.5) > 0.4)
        return np.concatenate((np.arange(len(across)), profile))

    def labels(self, row: int) -> Labels:
        """The one face of a sprite."""
        points = self.points[row]
        box = np.concatenate((points.min(0), points.max(0)))[None]
        five = np.stack([points[list(indices)].mean(0) for indices in FIVE])[None]
        return Labels(box, five, np.ones(1, bool))


@dataclass(frozen=True)
class Frames:
    """Real frames with their labels."""

    pictures: list[Picture]
    labels: list[Labels]


@dataclass(frozen=True)
class Stock:
    """What scenes are put together from: people, real frames, pictures without faces, clutter, and grain.

    People up close are drawn larger than a training picture, to show what parts of a face look like.
    """

    people: Sprites | None
    close: Sprites | None
    frames: Frames | None
    empty: list[Picture]
    clutter: list[Picture]
    grain: Floats


def stock(
    random: Generator,
    people: Sprites | None,
    close: Sprites | None,
    frames: Frames | None,
    empty: list[Picture],
    made_up: int,
) -> Stock:
    """Lay in ``made_up`` pictures of clutter, and grain, beside what there is."""
    grain = random.standard_normal((2 * SIZE, 2 * SIZE, 3), np.float32)
    return Stock(people, close, frames, empty, [clutter(random, 256) for _ in range(made_up)], grain)


def face_size(labels: Labels) -> Floats:
    """Root of the area of every box."""
    return np.asarray(np.sqrt(np.prod(labels.boxes[:, 2:] - labels.boxes[:, :2], 1)))


def log_uniform(random: Generator, low: float, high: float) -> float:
    """A number between two others, all proportions alike."""
    return math.exp(random.uniform(math.log(low), math.log(high)))


def framed(random: Generator, frames: Frames) -> tuple[Picture, Labels]:
    """A random view into a random real frame, turned, scaled and sometimes mirrored; usually on a face."""
    row = int(random.integers(len(frames.pictures)))
    picture, labels = frames.pictures[row], frames.labels[row]
    height, width = picture.shape[:2]
    if len(labels.boxes) and random.random() < 0.75:
        which = int(random.integers(len(labels.boxes)))
        scale = log_uniform(random, 10, 300) / face_size(labels)[which]
        spread = 0.4 * SIZE / scale
        aim = labels.boxes[which].reshape(2, 2).mean(0) + random.uniform(-spread, spread, 2)
    else:
        scale = log_uniform(random, 0.4, 5)
        aim = random.uniform(0, 1, 2) * (width, height)
    return view(random, picture, labels, scale, aim)


def view(random: Generator, picture: Picture, labels: Labels, scale: float, aim: Floats) -> tuple[Picture, Labels]:
    """A training picture around ``aim``, scaled and slightly turned; what lies beyond the frame is made up."""
    angle = math.radians(random.normal() * 12)
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = np.column_stack((turn, SIZE / 2 - turn @ aim))
    if scale < 0.7:
        # Areas are averaged before shrinking, as in the looks at whole pictures.
        reach = SIZE / scale
        x0, y0 = np.clip(aim - reach, 0, None).astype(int)
        part = picture[y0 : int(max(aim[1] + reach, y0 + 8)), x0 : int(max(aim[0] + reach, x0 + 8))]
        small = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        grown = np.diag([part.shape[1] / small.shape[1], part.shape[0] / small.shape[0], 1.0])
        index = matrix @ (np.array([[1.0, 0, x0], [0, 1, y0], [0, 0, 1]]) @ grown)
    else:
        small, index = picture, matrix
    border = (cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT)[int(random.random() < 0.2)]
    cut = cv2.warpAffine(small, index, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(cut, np.uint8), labels.moved(matrix)


def pasted(
    random: Generator, picture: Picture, labels: Labels, people: Sprites, sizes: list[float]
) -> tuple[Picture, Labels]:
    """People pasted over a picture with faces of these sizes in pixels, now and then with something in front."""
    scene = picture.copy()
    for size in sizes:
        row = int(random.choice(people.draws))
        sprite, face = people.pictures[row], people.labels(row)
        if random.random() < 0.25:
            sprite = spectacled(random, sprite, people.points[row])
        side = sprite.shape[0]
        if random.random() < 0.5:
            sprite, face = np.asarray(cv2.flip(sprite, 1), np.uint8), face.mirrored(side)
        scale = size / face_size(face)[0]
        angle = math.radians(random.normal() * 14)
        turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        slack = 0.1 if len(sizes) == 1 and size < SIZE else -0.1
        place = random.uniform(slack, 1 - slack, 2) * SIZE
        matrix = np.column_stack((turn, place - turn @ face.boxes[0].reshape(2, 2).mean(0)))
        moved = face.moved(matrix)
        if len(labels.boxes) and float(overlapping(moved.boxes, labels.boxes).max()) > 0.25:
            continue
        labels = uncovered(labels, paste(scene, sprite, matrix))
        if random.random() < 0.25:
            moved = held_in_front(random, scene, moved)
        labels = together([labels, moved])
    return scene, labels


def strew_scraps(random: Generator, picture: Picture, close: Sprites) -> None:
    """Strew a picture, in place, with scraps of close faces: an eye, an ear or a mouth alone is no face."""
    for _ in range(int(random.integers(1, 6))):
        row = int(random.choice(close.draws))
        sprite, points = close.pictures[row], close.points[row]
        piece = int(log_uniform(random, 0.12, 0.35) * np.ptp(points[:, 1]))
        around = points[int(random.choice(EARS) if random.random() < 0.4 else random.integers(len(points)))]
        around = around + random.normal(size=2) * 0.1 * np.ptp(points[:, 1])
        x, y = np.clip(around - piece / 2, 0, sprite.shape[0] - piece).astype(int)
        size = int(log_uniform(random, 10, 90))
        scrap = cv2.resize(sprite[y : y + piece, x : x + piece], (size, size), interpolation=cv2.INTER_AREA)
        turn = cv2.getRotationMatrix2D((size / 2, size / 2), random.uniform(-180, 180), 1)
        turn[:, 2] += random.uniform(-0.1, 1, 2) * SIZE - size / 2
        paste(picture, np.asarray(scrap, np.uint8), turn)


def uncovered(labels: Labels, cover: Picture) -> Labels:
    """The labels, without learning from faces half of which lies under ``cover``, 255 where it hides all."""
    learn = labels.learn.copy()
    for row, box in enumerate(np.clip(labels.boxes, 0, SIZE).astype(int)):
        x0, y0, x1, y1 = box
        if x1 > x0 and y1 > y0:
            learn[row] &= bool(cover[y0:y1, x0:x1].mean() < 128)
    return Labels(labels.boxes, labels.five, learn)


def paste(scene: Picture, sprite: Picture, matrix: Floats) -> Picture:
    """Lay a sprite (S, S, 4) over a scene, in place, where ``matrix`` (2, 3) carries it; answers what it covers."""
    cover = np.zeros(scene.shape[:2], np.uint8)
    side = sprite.shape[0]
    corners = np.array([[0, 0], [side, 0], [0, side], [side, side]]) @ matrix[:, :2].T + matrix[:, 2]
    x0, y0 = np.clip(np.floor(corners.min(0)), 0, SIZE).astype(int)
    x1, y1 = np.clip(np.ceil(corners.max(0)), 0, SIZE).astype(int)
    if x1 <= x0 or y1 <= y0:
        return cover
    scale = math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))
    shrink = 2 ** max(0, math.floor(-math.log2(scale)))
    small = sprite
    if shrink > 1:
        small = np.asarray(cv2.resize(sprite, (side // shrink, side // shrink), interpolation=cv2.INTER_AREA), np.uint8)
    index = matrix @ np.diag([shrink, shrink, 1.0]) - np.array([[0, 0, x0], [0, 0, y0]])
    layer = cv2.warpAffine(small, index, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR).astype(np.float32)
    under = scene[y0:y1, x0:x1]
    under[:] = under + (layer[..., :3] - under) * (layer[..., 3:] / np.float32(255))
    cover[y0:y1, x0:x1] = layer[..., 3]
    return cover


def spectacled(random: Generator, sprite: Picture, points: Floats) -> Picture:
    """A person (S, S, 4) with glasses, clear or dark, around the eyes of their mesh points."""
    worn = sprite.copy()
    color = random.uniform(0, 90, 3) if random.random() < 0.8 else random.uniform(0, 255, 3)
    height = float(np.linalg.norm(points[152] - points[10]))
    down = (points[152] - points[10]) / height
    thick = max(1, round(height * random.uniform(0.008, 0.03)))
    tall, wide, square = height * random.uniform(0.07, 0.13), random.uniform(0.6, 0.85), random.uniform(0.5, 1)
    dark = random.random() < 0.35
    turns = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = np.stack((np.cos(turns), np.sin(turns)), 1)
    circle = np.sign(circle) * np.abs(circle) ** square
    for outer, inner in ((33, 133), (263, 362)):
        across = (points[outer] - points[inner]) * wide
        middle = (points[outer] + points[inner]) / 2 + down * tall * 0.2
        rim = np.round(middle + circle[:, :1] * across + circle[:, 1:] * down * tall).astype(np.int32)
        if dark:
            cv2.fillPoly(worn, [rim], (*(color * 0.5).tolist(), 255), cv2.LINE_AA)
        cv2.polylines(worn, [rim], True, (*color.tolist(), 255), thick, cv2.LINE_AA)
    for start, end in ((133, 362), (33, 127), (263, 356)):
        ends = np.round(points[[start, end]]).astype(np.int32)
        cv2.line(worn, ends[0].tolist(), ends[1].tolist(), (*color.tolist(), 255), thick, cv2.LINE_AA)
    # Whatever hangs in the air beside the head is not there.
    worn[..., 3] = sprite[..., 3]
    return worn


def overlapping(one: Floats, other: Floats) -> Floats:
    """Share of the smaller of boxes (N, 4) and (M, 4) that both cover, as (N, M)."""
    sides = np.minimum(one[:, None, 2:], other[None, :, 2:]) - np.maximum(one[:, None, :2], other[None, :, :2])
    area = np.minimum(np.prod(one[:, 2:] - one[:, :2], 1)[:, None], np.prod(other[:, 2:] - other[:, :2], 1)[None])
    return np.asarray(np.prod(np.clip(sides, 0, None), 2) / area)


def held_in_front(random: Generator, scene: Picture, face: Labels) -> Labels:
    """An arm or a board drawn into the scene over part of one face; a face mostly covered is not learned from."""
    size = face_size(face)[0]
    middle = face.boxes[0].reshape(2, 2).mean(0)
    tone = np.array([200, 150, 120]) * random.uniform(0.3, 1.2)
    color = tone if random.random() < 0.5 else random.uniform(0, 255, 3)
    cover = np.zeros(scene.shape[:2], np.uint8)
    start = middle + random.normal(size=2) * size * 0.35
    if random.random() < 0.6:
        end = start + random.normal(size=2) * size * 2
        thick = max(1, int(size * random.uniform(0.1, 0.4)))
        cv2.line(cover, start.astype(int).tolist(), end.astype(int).tolist(), 255, thick, cv2.LINE_AA)
    else:
        extent = size * random.uniform(0.1, 0.45, 2)
        box = cv2.boxPoints((start.tolist(), (extent * 2).tolist(), random.uniform(0, 180)))
        cv2.fillPoly(cover, [box.astype(np.int32)], 255, cv2.LINE_AA)
    blotches = np.clip(color + random.normal(size=(24, 24, 3)) * 15, 0, 255).astype(np.uint8)
    texture = cv2.resize(blotches, scene.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    np.copyto(scene, texture, where=(cover > 127)[..., None])
    return uncovered(face, cover)


def scene(random: Generator, shelf: Stock) -> tuple[Picture, Labels]:
    """One training picture: a real frame, an empty photograph or clutter, people pasted on it, and a camera."""
    draw = random.random()
    if shelf.frames is not None and draw < 0.4:
        picture, labels = framed(random, shelf.frames)
        count = int(random.random() < 0.25)
    else:
        pictures = shelf.empty if shelf.empty and draw < 0.6 else shelf.clutter
        behind = pictures[int(random.integers(len(pictures)))]
        aim = random.uniform(0.2, 0.8, 2) * behind.shape[1::-1]
        picture, labels = view(random, behind, NOBODY, math.exp(random.uniform(-0.6, 0.7)), aim)
        picture = np.ascontiguousarray(picture[..., random.permutation(3)])
        count = int(random.choice((0, 1, 2, 4, MOST), p=(0.12, 0.43, 0.2, 0.15, 0.1)))
        if shelf.close is not None and random.random() < 0.35:
            strew_scraps(random, picture, shelf.close)
    if random.random() < 0.5:
        picture, labels = np.asarray(cv2.flip(picture, 1), np.uint8), labels.mirrored(SIZE)
    if shelf.close is not None and count == 1 and random.random() < 0.2:
        picture, labels = pasted(random, picture, labels, shelf.close, [log_uniform(random, 140, 600)])
    elif shelf.people is not None and count:
        most = 175 if count == 1 else 90
        sizes = [log_uniform(random, 9, most) for _ in range(count)]
        picture, labels = pasted(random, picture, labels, shelf.people, sizes)
    left, top, right, bottom = random.integers(0, 64, 4).tolist() if random.random() < 0.15 else (0, 0, 0, 0)
    # As the detector is shown whole pictures: their edges smeared outward.
    inside = picture[top : SIZE - bottom, left : SIZE - right]
    picture = np.asarray(cv2.copyMakeBorder(inside, top, bottom, left, right, cv2.BORDER_REPLICATE), np.uint8)
    taken = photographed(random, picture, shelf.grain)
    return taken, discernible(taken, in_frame(labels, (left, top, SIZE - right, SIZE - bottom)))


def discernible(picture: Picture, labels: Labels) -> Labels:
    """The labels, without learning from faces lost in darkness or glare."""
    learn = labels.learn.copy()
    for row, (x0, y0, x1, y1) in enumerate(np.clip(labels.boxes, 0, SIZE).astype(int)):
        learn[row] &= bool(picture[y0:y1, x0:x1, 1].std() > 5) if x1 > x0 and y1 > y0 else False
    return Labels(labels.boxes, labels.five, learn)


def in_frame(labels: Labels, frame: tuple[int, int, int, int] = (0, 0, SIZE, SIZE)) -> Labels:
    """Only the faces that reach into the frame x0, y0, x1, y1; those mostly outside or tiny are looked away from."""
    sides = np.clip(labels.boxes.reshape(-1, 2, 2), frame[:2], frame[2:]).reshape(-1, 4)
    seen = np.prod(sides[:, 2:] - sides[:, :2], 1) / np.prod(labels.boxes[:, 2:] - labels.boxes[:, :2], 1)
    size = face_size(labels)
    learn = labels.learn & (seen > 0.4) & (size > 8)
    kept = np.flatnonzero(seen > 0.03)[:MOST]
    return Labels(labels.boxes[kept], labels.five[kept], learn[kept])
