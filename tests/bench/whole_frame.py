"""The steps of the chain as a user would write them with OpenCV's fast calls, on whole frames.

What holds for the whole shot is solved before and given: no step of these finds anything that ours does not.
"""

from typing import Any

import cv2
import numpy as np

from mien import mesh
from mien.nodes.finish import OWN
from mien.ops import sharpness
from mien.ops.grain_field import kernel
from mien.types import Detail, Grade, Grain

Pixels = np.ndarray[Any, np.dtype[np.float32]]
SMALL = 256
"""Pixels of the longer side of pictures that are only looked at."""


def mesh_map(here: Pixels, there: Pixels, size: tuple[int, int]) -> tuple[Pixels, Pixels]:
    """Where each pixel of a frame lies in the photograph, triangle by triangle."""
    across, down = (np.zeros(size[::-1], np.float32) for _ in range(2))
    for triangle in mesh.TRIANGLES.numpy():
        left, top, width, height = cv2.boundingRect(here[triangle])
        corners = here[triangle] - np.array([left, top], np.float32)
        affine = cv2.getAffineTransform(corners, there[triangle]).astype(np.float32)
        covered = cv2.fillConvexPoly(np.zeros((height, width), np.uint8), corners.astype(np.int32), 1)
        rows, columns = np.nonzero(covered)
        across[top + rows, left + columns] = affine[0, 0] * columns + affine[0, 1] * rows + affine[0, 2]
        down[top + rows, left + columns] = affine[1, 0] * columns + affine[1, 1] * rows + affine[1, 2]
    return across, down


def hull_matte(points: Pixels, size: tuple[int, int], radius: int) -> Pixels:
    """The outline of a face, shrunk and softened."""
    hull = cv2.fillConvexPoly(np.zeros(size[::-1], np.float32), cv2.convexHull(points.astype(np.int32)), 1.0)
    shape = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.GaussianBlur(cv2.erode(hull, shape), (0, 0), radius)


def graded(image: Pixels, grade: Grade) -> Pixels:
    """A color move by a matrix and an offset."""
    return cv2.transform(image, np.column_stack([grade.matrix, grade.offset]).astype(np.float32))


def eyes_and_lips(points: Pixels, size: tuple[int, int], face: int) -> Pixels:
    """1 inside the eyes and lips, with a soft rim."""
    mask = np.zeros(size[::-1], np.uint8)
    for rim in OWN["mesh"]:
        cv2.fillPoly(mask, [points[list(rim)].astype(np.int32)], 255)
    mask = cv2.dilate(mask, np.ones((2 * face // 33, 2 * face // 33), np.uint8))
    return cv2.GaussianBlur(mask, (0, 0), 0.01 * face).astype(np.float32) / 255


def three(mask: Pixels) -> Pixels:
    """A mask for each channel."""
    return cv2.merge([mask, mask, mask])


def mixed(one: Pixels, other: Pixels, mask: Pixels) -> Pixels:
    """``other`` where a mask of three channels is 1."""
    return cv2.add(one, cv2.multiply(mask, cv2.subtract(other, one)))


def lit_by(plate: Pixels, image: Pixels, spared: Pixels, face: int) -> Pixels:
    """The plate's broad light on a face, eyes and lips half spared."""
    small = [cv2.resize(p, None, fx=0.1, fy=0.1, interpolation=cv2.INTER_AREA) for p in (plate, image)]
    broad = [cv2.GaussianBlur(p, (0, 0), 0.015 * face) for p in small]
    ratio = np.clip(broad[0] / np.maximum(broad[1], 1e-3), 0.25, 4)
    ratio = 0.5 * (ratio + cv2.cvtColor(cv2.cvtColor(ratio, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))
    light = cv2.resize(0.6 * (ratio - 1), (plate.shape[1], plate.shape[0]))
    amount = cv2.multiply(light, three(1 - 0.5 * spared))
    return cv2.add(image, cv2.multiply(image, amount))


def softened(image: Pixels, detail: Detail) -> Pixels:
    """As soft as the plate, brightness and color each by its own variance."""
    if max(detail.blur, detail.color_blur) <= 0.01:
        return image
    turn = np.float32([sharpness.LUMINANCE, [1, 0, 0], [0, 0, 1]])
    turn[1:] -= turn[0]
    parts = zip(cv2.split(cv2.transform(image, turn)), (detail.blur, detail.color_blur, detail.color_blur))
    soft = [cv2.GaussianBlur(one, (0, 0), variance**0.5) if variance > 0.01 else one for one, variance in parts]
    return cv2.transform(cv2.merge(soft), np.linalg.inv(turn).astype(np.float32))


def grained(image: Pixels, matte: Pixels, grain: Grain) -> Pixels:
    """Grain as coarse, as strong at each level and under a soft matte as the plate's."""
    noise = np.empty_like(image)
    cv2.randn(noise, 0, 1)
    raised = np.minimum(2 / np.maximum(matte, 1e-3) - 1, 9) * (matte > 0)
    channels = []
    for one, light, (a, b, _), across, down in zip(
        cv2.split(noise), cv2.split(image), grain.variance, grain.across, grain.down
    ):
        taps = [np.float32(kernel(line)) / 256 for line in (across, down)]
        spread = cv2.multiply(cv2.max(cv2.addWeighted(light, b, light, 0, a), 0), raised)
        channels.append(cv2.multiply(cv2.sepFilter2D(one, -1, *taps), cv2.sqrt(spread)))
    return cv2.add(image, cv2.merge(channels))


def laid(plate: Pixels, image: Pixels, matte: Pixels, spared: Pixels, white: float) -> Pixels:
    """A face over the plate, whose highlights it takes over except in eyes and mouth."""
    # A scalar would be that of the first channel alone.
    most = (white, white, white, 0)
    beyond = cv2.subtract(plate, cv2.min(cv2.max(plate, 0), most))
    bright = cv2.add(cv2.min(cv2.max(image, 0), most), beyond)
    return mixed(plate, mixed(bright, image, three(spared)), three(matte))


def judged(plate: Pixels, drawn: Pixels, result: Pixels, matte: Pixels) -> tuple[list[float], Pixels]:
    """What is kept of a frame to judge it by: mean colors, edges and grain under the matte, and small pictures."""
    mask = (matte > 0.9).astype(np.uint8)
    found = [value for picture in (plate, drawn, result) for value in cv2.mean(picture, mask)[:3]]
    for picture in (plate, result):
        level = cv2.sqrt(cv2.max(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), 0))
        soft = cv2.sepFilter2D(level, -1, *[np.float32([0.25, 0.5, 0.25])] * 2)
        across, down = (cv2.Sobel(soft, -1, *axis, ksize=1) for axis in ((1, 0), (0, 1)))
        steps = cv2.mean(cv2.add(cv2.multiply(across, across), cv2.multiply(down, down)), mask)[0]
        second = cv2.sepFilter2D(level, -1, *[np.float32([1, -2, 1])] * 2)
        found += [steps, cv2.meanStdDev(soft, mask=mask)[1].item(), cv2.meanStdDev(second, mask=mask)[1].item()]
    share = SMALL / max(plate.shape[:2])
    seen = [
        cv2.resize(p, None, fx=share, fy=share, interpolation=cv2.INTER_AREA) for p in (plate, result, three(matte))
    ]
    return found, cv2.hconcat([cv2.convertScaleAbs(cv2.pow(cv2.max(p, 0), 1 / 2.4), alpha=255) for p in seen])
