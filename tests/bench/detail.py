"""How well detail of a plate is recovered and matched, and what it costs beside OpenCV and numpy.

    python tests/bench/detail.py

Truth is known: blur, smear and grain are put on a real portrait and measured again. Prints processor time on one
thread, the least of several runs taken in turn, and ratios.
"""

import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from skimage import data

from mien.nodes.detail import detail_face, measure_detail
from mien.ops import detail as details
from mien.ops import grain as grains
from mien.ops import sharpness
from mien.ops.deflicker import flicker
from mien.ops.motion_blur import streak
from mien.types import Detail, Face, Grain, Layer, Plate

FILM = Grain(
    40.0,
    ((1e-5, 3e-4, 0.0), (1e-5, 2e-4, 0.0), (2e-5, 4e-4, 0.0)),
    ((0.0, 4.0),) * 3,
    ((0.35, 0.05, 0.0), (0.25, 0.02, 0.0), (0.5, 0.12, 0.0)),
    ((0.35, 0.05, 0.0), (0.25, 0.02, 0.0), (0.5, 0.12, 0.0)),
    ((1.0, 0.6, 0.5), (0.6, 1.0, 0.6), (0.5, 0.6, 1.0)),
)
ALL = torch.ones(3, 1, 1)
WIDTH = 125.0
OTHER = "blur, smear and grain of the whole frame, OpenCV and numpy"


def portrait() -> torch.Tensor:
    picture = torch.from_numpy(data.astronaut()[20:260, 100:340].copy()).movedim(-1, 0).float()
    return (picture / 255) ** 2.2


def oval(height: int, width: int, center: tuple[float, float], radii: tuple[float, float]) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(height) - center[1], torch.arange(width) - center[0], indexing="ij")
    return ((1 - torch.hypot(x / radii[0], y / radii[1])) * radii[0] / 6).clamp(0, 1)[None]


def grainy(picture: torch.Tensor, frame: int = 1) -> torch.Tensor:
    return grains.lay(picture, torch.ones_like(picture[:1]), FILM, ALL, (0, 0), frame)


def recovery() -> None:
    face, matte = portrait(), oval(240, 240, (122, 85), (48, 62))
    print("blur under grain: variance put on -> found")
    for variance in (0.0, 0.5, 1.0, 2.0, 4.0, 8.0):
        plate = grainy(sharpness.blur(face, variance))
        found = details.measure(face, plate, plate, matte, (0.0, 0.0), WIDTH)
        print(f"  {variance:4.1f} -> {found.blur:5.2f}")
    print("smear: pixels put on -> found")
    for length in (4.0, 8.0, 16.0):
        motion = torch.tensor([0.8, 0.6]).view(2, 1, 1).expand(2, 240, 240) * length
        plate = grainy(streak(face, torch.ones(1, 240, 240), motion)[0])
        found = details.measure(face, plate, plate, matte, (1.6 * length, 1.2 * length), WIDTH)
        print(f"  {length:4.1f} -> {found.streak:5.1f}")
    print("grain by channel at 0.3: deviation put on, found, laid again; likeness of neighbors put on, found, laid")
    plate = grainy(sharpness.blur(face, 6.0))
    found = grains.measure(plate)
    again = grains.measure(grains.lay(sharpness.blur(face, 6.0), torch.ones(1, 240, 240), found, ALL, (0, 0), 2))
    for channel, name in enumerate(("red", "green", "blue")):
        three = [sum(v * 0.3**n for n, v in enumerate(g.variance[channel])) ** 0.5 for g in (FILM, found, again)]
        alike = [g.across[channel][0] for g in (FILM, found, again)]
        print(f"  {name:6}", " ".join(f"{v:.4f}" for v in three), "  ", " ".join(f"{v:.2f}" for v in alike))
    lamp = 0.3 * torch.sin(torch.arange(120.0) / 20)[:, None].expand(120, 3)
    shaken = lamp + 0.04 * torch.randn(120, 3, generator=torch.Generator().manual_seed(0))
    calm = shaken + flicker(shaken, lamp, torch.ones(120), 4.0)
    print(f"flicker from frame to frame left: {float(calm.diff(dim=0).std() / shaken.diff(dim=0).std()):.2f} of it")


def cost(works: dict[str, Callable[[], Any]], repeats: int = 5) -> dict[str, float]:
    """The least milliseconds of processor time of each call, taken in turn."""
    best = dict.fromkeys(works, float("inf"))
    for _ in range(repeats + 1):
        for name, work in works.items():
            start = time.thread_time()
            work()
            best[name] = min(best[name], (time.thread_time() - start) * 1000)
    return best


def costs(side: int, width: float) -> None:
    plate_size = (2160, 4096)
    image = torch.rand(3, side, side, generator=torch.Generator().manual_seed(0)) * 0.1 + 0.3
    matte = oval(side, side, (side / 2, side / 2), (0.5 * width, 0.65 * width))
    points = torch.rand(468, 3, generator=torch.Generator().manual_seed(1)) * width + (side - width) / 2
    face = Face(points, torch.ones(468), 1.0, width, velocity=torch.tensor([12.0, 5.0, 0.0]).expand(468, 3))
    layer, plate = Layer(image, matte, (0, 0), width), Plate(grainy(image), (0, 0), 7)
    detail = Detail(width, 2.0, 2.0, 0.5, FILM, (1.0, 1.0, 1.0))
    whole = np.random.default_rng(0).random((*plate_size, 3), np.float32)
    line = np.zeros((7, 7), np.float32)
    line[3] = 1 / 7

    def full_frame() -> None:
        soft = cv2.filter2D(cv2.GaussianBlur(whole, (0, 0), 1.41), -1, line)
        noise = np.random.default_rng(7).standard_normal(whole.shape, np.float32)
        soft + cv2.GaussianBlur(noise, (0, 0), 0.6) * np.sqrt(1e-5 + 3e-4 * np.clip(soft, 0, 4))

    print(f"face of {width:.0f} px in a 4K plate, milliseconds")
    found = cost(
        {
            "measure": lambda: measure_detail(layer, plate, face),
            "blur": lambda: detail_face(layer, plate, face, detail, motion="none", grain=0.0),
            "motion": lambda: detail_face(layer, plate, face, detail, sharpness=0.0, grain=0.0),
            "grain": lambda: detail_face(layer, plate, face, detail, sharpness=0.0, motion="none"),
            "all of detail_face": lambda: detail_face(layer, plate, face, detail),
            OTHER: full_frame,
        },
        3,
    )
    for name, spent in found.items():
        print(f"  {name:60} {spent:8.1f}")
    print(f"  the whole frame over ours: {found[OTHER] / found['all of detail_face']:.1f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    recovery()
    costs(700, 400.0)
    costs(1600, 1000.0)
