"""How picture operations compare with what a compositor would otherwise run, side by side in one process.

    python tests/bench/ops.py

Prints milliseconds of processor time on one thread and the ratio; smaller is better.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy
import torch

from mien import color
from mien.ops import blend, grade, hull, match, measure, warp
from mien.ops.edge import Softness, edge

FACE = 500
"""Side of the face's region in pixels."""


def cost(work: Callable[[], Any], repeats: int = 5) -> float:
    """The least milliseconds of processor time that a call took."""
    work()
    times = []
    for _ in range(repeats):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return min(times) * 1000


def report(name: str, ours: float, theirs: float, other: str) -> None:
    print(f"{name:44} {ours:8.1f} ms   {theirs:8.1f} ms {other:34} x{ours / theirs:.2f}")


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def bench_crop(plate: torch.Tensor, name: str, scale: float) -> None:
    c, s, side = math.cos(0.1) * scale, math.sin(0.1) * scale, int(FACE * scale)
    matrix = torch.tensor([[c, -s, -400.0 * scale], [s, c, -200.0 * scale], [0, 0, 1]])
    packed = plate.permute(1, 2, 0).contiguous().numpy()
    ours = cost(lambda: warp.warp(plate, matrix, (side, side)))
    theirs = cost(lambda: cv2.warpAffine(packed, matrix[:2].numpy(), (side, side), flags=cv2.INTER_CUBIC))
    report(f"plate to {side} px crop from {name}", ours, theirs, "cv2.warpAffine, aliased below 1")


def bench_warps() -> None:
    plates = {"1080p": noise(3, 1080, 1920), "4K": noise(3, 2160, 4096)}
    for scale in (1.0, 0.45):
        for name, plate in plates.items():
            bench_crop(plate, name, scale)
    c, s = math.cos(0.1), math.sin(0.1)
    there = warp.positions((FACE, FACE)) @ torch.tensor([[c, s], [-s, c]]) * 0.97 + 300
    full = (warp.positions((2160, 4096)) * 0.97).numpy()
    packed = plates["4K"].permute(1, 2, 0).contiguous().numpy()
    ours = cost(lambda: warp.sample(plates["4K"], there))
    theirs = cost(lambda: cv2.remap(packed, full[..., 0], full[..., 1], cv2.INTER_CUBIC), 2)
    report("face through a map, 4K plate", ours, theirs, "cv2.remap of the whole frame")


def bench_mattes() -> None:
    angle = torch.arange(36) / 36 * 2 * math.pi
    outline = torch.stack([400 + 200 * angle.cos(), 400 + 250 * angle.sin()], 1)
    matte = hull.polygon_matte(outline, (0, 0), (800, 800))
    packed = matte[0].numpy()
    corners = outline.numpy().round().astype(numpy.int32)

    def drawn() -> None:
        mask = numpy.zeros((800, 800), numpy.uint8)
        cv2.fillPoly(mask, [corners], 255)

    report("outline to matte", cost(lambda: hull.polygon_matte(outline, (0, 0), (800, 800))), cost(drawn),
           "cv2.fillPoly, whole pixels")  # fmt: skip
    for radius in (10, 100, 400):
        ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        ours = cost(lambda radius=radius: edge(matte, float(radius), Softness(7.5, 7.5)))
        theirs = cost(lambda ellipse=ellipse: cv2.dilate(packed, ellipse), 1)
        report(f"grow by {radius} px and soften", ours, theirs, "cv2.dilate by an ellipse")


def bench_color() -> None:
    face, plate = noise(3, FACE, FACE), noise(3, FACE, FACE)
    matte = (1.2 - torch.hypot(*(warp.positions((FACE, FACE)) / FACE * 2 - 1).unbind(-1))).clamp(0, 1)[None]

    def theirs() -> None:
        pictures = [cv2.cvtColor(p.permute(1, 2, 0).contiguous().numpy(), cv2.COLOR_RGB2LAB) for p in (face, plate)]
        (m0, s0), (m1, s1) = ((p.mean((0, 1)), p.std((0, 1))) for p in pictures)
        cv2.cvtColor(((pictures[0] - m0) * s1 / s0 + m1).astype(numpy.float32), cv2.COLOR_LAB2RGB)

    def ours() -> None:
        grade.apply(face, match.mkl(measure.measure(face, plate, matte, 0.02)))

    report("measure, solve and apply MKL", cost(ours), cost(theirs), "Reinhard in Lab, whole crop, OpenCV")
    eight = [(p.permute(1, 2, 0) * 255).to(torch.uint8).contiguous().numpy() for p in (face, plate)]
    mask = ((matte[0] > 0.3) * 255).to(torch.uint8).numpy()
    laid = cost(lambda: blend.over(face, plate, matte))
    clone = cost(lambda: cv2.seamlessClone(eight[0], eight[1], mask, (FACE // 2, FACE // 2), cv2.NORMAL_CLONE), 1)
    report("over, float", laid, clone, "cv2.seamlessClone, 8 bit")
    colors = color.load(color.BUILT_IN)
    for space in ("ARRI LogC4", "sRGB - Display"):
        transform = colors.to_working(space)
        report(f"{space} to working space, tensors", cost(lambda t=transform: t.evaluate(face)),
               cost(lambda t=transform: t.packed(face)), "OpenColorIO on a packed copy")  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with torch.inference_mode():
        bench_warps()
        bench_mattes()
        bench_color()
