"""Compositing beside what a compositor would otherwise run, side by side in one process.

    python tests/bench/compositing.py [--device cuda]

Prints milliseconds of processor time on one thread (of the device's clock on CUDA), errors and flicker, each with
what is asked of it.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from mien.nodes import finish
from mien.nodes.finish import relight
from mien.ops.blend import over
from mien.ops.poisson import clone, residual
from mien.types import Face, Layer, Plate, Window
from shots import points_at

SIDE = 1024
"""Side of the region in pixels."""
MARGIN = 8
FRAMES = 8
METHODS = ("over", "gradient", "mixed", "multiband")
WHITE = 3.0


@dataclass(frozen=True)
class Scene:
    """A region with a face of other light, as tensors and as OpenCV wants it."""

    layer: Layer
    plate: Plate
    face: Face

    def with_plate(self, image: torch.Tensor) -> "Scene":
        return Scene(self.layer, Plate(image, self.plate.corner), self.face)


def composite(layer: Layer, plate: Plate, face: Face, white: float, **settings: Any) -> Layer:
    """The node on one frame alone."""
    return finish.composite(Window((layer,)), Window((plate,)), face, white, **settings)


def cost(*works: Callable[[], Any], repeats: int = 5) -> list[float]:
    """The least milliseconds each of several calls took, taking turns."""
    least = [float("inf")] * len(works)
    for turn in range(repeats + 1):
        for n, work in enumerate(works):
            start = time.thread_time()
            work()
            if turn:
                least[n] = min(least[n], (time.thread_time() - start) * 1000)
    return least


def device_cost(work: Callable[[], Any], repeats: int = 20) -> float:
    """Milliseconds of a GPU's clock for one call, the least of several."""
    least = float("inf")
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize()
        least = min(least, begin.elapsed_time(end))
    return least


def say(name: str, figure: str, asked: str = "") -> None:
    print(f"{name:66} {figure:>30}   {asked}", flush=True)


def grain(seed: int, device: torch.device, strength: float = 0.03) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    side = SIDE + 2 * MARGIN
    noise = torch.randn(3, side, side, generator=generator)
    return (1 + strength * torch.nn.functional.avg_pool2d(noise, 3, 1, 1) * 2).to(device)


def scene(device: torch.device, soft: float = 0.06) -> Scene:
    """An oval face that fills the region, on a plate with light from the left; ``soft`` in face widths."""
    side = SIDE + 2 * MARGIN
    width = 0.8 * SIDE
    y, x = torch.meshgrid(torch.arange(side) + 0.5, torch.arange(side) + 0.5, indexing="ij")
    away = torch.hypot(x - side / 2, y - side / 2) - SIDE / 2
    matte = (-away / max(soft * width, 1.0)).clamp(0, 1)[None].to(device)
    coarse = torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(1))
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic", align_corners=True)
    light = torch.exp(0.8 - x / side)
    image = ((0.25 + 0.1 * smooth[0]) * 0.8).to(device) * grain(7, device)
    plate = ((0.2 + 0.1 * smooth[1]) * light).to(device)
    face = Face(points_at(side / 2, side / 2, width).to(device), torch.ones(468, device=device), 1.0, width)
    return Scene(Layer(image, matte, (0, 0), width), Plate(plate, (0, 0)), face)


def eight(picture: torch.Tensor) -> numpy.ndarray[Any, Any]:
    """As OpenCV's clone takes it: 8 bits of a display-like picture."""
    shown = picture.clamp(0, 1) ** (1 / 2.2) * 255
    return shown.round().byte().movedim(0, -1).contiguous().cpu().numpy()


def linear(picture: numpy.ndarray[Any, Any]) -> torch.Tensor:
    return (torch.from_numpy(picture).movedim(-1, 0).float() / 255) ** 2.2


def cv_clone(made: Scene) -> numpy.ndarray[Any, Any]:
    mask = (made.layer.matte[0] > 0).byte().cpu().numpy() * 255
    rows, columns = numpy.nonzero(mask)
    center = (int(columns.min() + columns.max() + 1) // 2, int(rows.min() + rows.max() + 1) // 2)
    return cv2.seamlessClone(eight(made.layer.image), eight(made.plate.image), mask, center, cv2.NORMAL_CLONE)


def comp(made: Scene, **settings: Any) -> torch.Tensor:
    done = composite(made.layer, made.plate, made.face, WHITE, **settings)
    return over(done.image, made.plate.image, done.matte)


def seam_step(picture: torch.Tensor, back: torch.Tensor, inside: torch.Tensor) -> float:
    """How far light just inside the rim is from the plate's, as a logarithm, averaged along some of it."""
    core = 1 - torch.nn.functional.max_pool2d(1 - inside, 7, 1, 3)
    rim = inside - core
    size = 33
    sums = [torch.nn.functional.avg_pool2d(p * rim, size, size) for p in (picture, back)]
    known = torch.nn.functional.avg_pool2d(rim, size, size)[0] > 0.02
    return float((sums[0] / sums[1]).log()[:, known].square().mean().sqrt())


def bench_clone() -> None:
    made = scene(torch.device("cpu"), 0.0)
    front, back = made.layer.image, made.plate.image * grain(50, torch.device("cpu"))
    made = made.with_plate(back)
    inside = (made.layer.matte > 0).float()
    prepared = eight(front), eight(back), (inside[0] * 255).byte().numpy()
    rows, columns = numpy.nonzero(prepared[2])
    center = (int(columns.min() + columns.max() + 1) // 2, int(rows.min() + rows.max() + 1) // 2)
    ours, theirs, node = cost(
        lambda: clone(front, back, inside),
        lambda: cv2.seamlessClone(*prepared, center, cv2.NORMAL_CLONE),
        lambda: composite(made.layer, made.plate, made.face, WHITE, method="gradient", highlights=0),
    )
    say(f"clone {SIDE}² region: mien, float", f"{ours:.0f} ms")
    say(f"clone {SIDE}² region: cv2.seamlessClone, 8 bit", f"{theirs:.0f} ms", f"mien {theirs / ours:.2f} times faster")
    say("composite, method gradient", f"{node:.0f} ms", f"{theirs / node:.2f} times faster than seamlessClone")
    result, cloned = clone(front, back, inside), linear(cv_clone(made))
    ring = (torch.nn.functional.max_pool2d(inside, 3, 1, 1) - inside)[0] > 0
    errors = [(picture - back)[:, ring].abs().mean() for picture in (result, cloned)]
    outside = inside[0] == 0
    say("error on the boundary: mien, seamlessClone", f"{errors[0]:.1e}, {errors[1]:.1e}", "no worse")
    node_picture = comp(made, method="gradient", highlights=0)
    steps = [seam_step(picture, back, inside) for picture in (node_picture, result, cloned, comp(made, highlights=0))]
    figure = ", ".join(f"{step:.1e}" for step in steps)
    say(
        "step of light at the rim: composite, clone, seamlessClone, over",
        figure,
        "composite no worse than seamlessClone",
    )
    moved = [(picture - back)[:, outside].abs().max() for picture in (result, cloned)]
    say("largest change outside the mask: mien, seamlessClone", f"{moved[0]:.1e}, {moved[1]:.1e}", "0")
    left = residual(result - front, inside).abs().max()
    say("residual of Poisson's equation", f"{left:.1e}", "below 1e-4")


def bench_flicker() -> None:
    device = torch.device("cpu")
    made = scene(device)
    frames: dict[str, list[torch.Tensor]] = {method: [] for method in (*METHODS, "seamlessClone")}
    for frame in range(FRAMES):
        shot = made.with_plate(made.plate.image * grain(200 + frame, device))
        for method in METHODS:
            frames[method].append(comp(shot, method=method, highlights=0.0))
        frames["seamlessClone"].append(linear(cv_clone(shot)))
    matte = made.layer.matte[0]
    whole, inner = matte > 0, matte >= 1
    base = 1.0
    for method, pictures in frames.items():
        still = torch.stack(pictures).std(0)
        flicker, within = (still[:, where].square().mean().sqrt() for where in (whole, inner))
        base = float(flicker) if method == "over" else base
        mean = torch.stack([p[:, inner].mean() for p in pictures])
        figure = f"{flicker:.1e}, {within:.1e}, {mean.std() / mean.mean():.1e}"
        asked = "" if method == "over" else f"{flicker / base:.3f} of over's (at most 1.05)"
        say(f"flicker of grain: {method}: all, inside, its mean", figure, asked)


def bench_bleeding() -> None:
    made = scene(torch.device("cpu"))
    side = SIDE + 2 * MARGIN
    deep = made.layer.matte[0] >= 1
    bright = made.plate.image.clone()
    bright[:, :, int(side * 0.9) :] = 1.0
    lit = made.with_plate(bright)
    for method in ("gradient", "mixed", "multiband"):
        bled = (comp(lit, method=method, highlights=0.0) / comp(made, method=method, highlights=0.0)).log()[:, deep]
        say(f"a window a tenth into the face, {method}: bled, mean of |log|", f"{bled.abs().mean():.3f}")
    theirs = (linear(cv_clone(lit)).clamp(min=1e-3) / linear(cv_clone(made)).clamp(min=1e-3)).log()[:, deep]
    say("the same, cv2.seamlessClone", f"{theirs.abs().mean():.3f}")


def bench_exactness() -> None:
    made = scene(torch.device("cpu"))
    worst = 0.0
    for method in METHODS:
        full = composite(made.layer, made.plate, made.face, WHITE, method=method)
        back = made.plate.image.double()
        for opacity in (0.1, 0.5, 0.9):
            part = comp(made, method=method, opacity=opacity)
            exact = back + opacity * made.layer.matte.double() * (full.image.double() - back)
            worst = max(worst, float((part - exact).abs().max()))
    say("alpha linearity, all methods", f"{worst:.1e}", "below 1e-6")
    same = composite(made.layer, made.plate, made.face, WHITE, highlights=0) is made.layer
    same = same and relight(made.layer, made.plate, made.face, WHITE, strength=0) is made.layer
    say("identity settings return the input", str(same), "True")


def bench_relight() -> None:
    made = scene(torch.device("cpu"))
    packed = [p.movedim(0, -1).contiguous().numpy() for p in (made.layer.image, made.plate.image, made.layer.matte)]
    radius = 0.15 * made.layer.face_width / 2

    def theirs() -> None:
        front, back = (cv2.GaussianBlur(p * packed[2], (0, 0), radius) for p in packed[:2])
        numpy.multiply(packed[0], (back + 1e-4) / (front + 1e-4))

    ours, other = cost(lambda: relight(made.layer, made.plate, made.face, WHITE), theirs)
    say(f"relight, {SIDE}² region", f"{ours:.0f} ms", f"{other / ours:.1f} times faster than ratio of cv2.GaussianBlur")


def bench_device(device: torch.device) -> None:
    made = scene(device)
    for method in METHODS:
        took = device_cost(lambda method=method: composite(made.layer, made.plate, made.face, WHITE, method=method))
        say(f"composite {method}, {SIDE}² region, {device}", f"{took:.2f} ms")
    say("relight", f"{device_cost(lambda: relight(made.layer, made.plate, made.face, WHITE)):.2f} ms")
    on_cpu = scene(torch.device("cpu"))
    for method in METHODS:
        apart = (comp(made, method=method).cpu() - comp(on_cpu, method=method)).abs().max()
        say(f"{method}: largest difference from the CPU", f"{apart:.1e}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    device = torch.device(parser.parse_args().device)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with torch.inference_mode():
        if device.type != "cpu":
            bench_device(device)
        else:
            bench_clone()
            bench_flicker()
            bench_bleeding()
            bench_exactness()
            bench_relight()
