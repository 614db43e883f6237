"""Color matches beside color-matcher (where it is installed) and beside the published formulas in numpy.

    python tests/bench/color.py

Prints milliseconds of processor time on one thread, how many times faster ours is, and the root mean square of the
difference between the results. Both measure, solve and apply over the whole picture; ours in addition takes a matte.
"""

import time
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from scipy import linalg

from mien.ops import grade, match, measure, spaces

Colors = NDArray[Any]
SIZES = {"512 x 512": (512, 512), "1080p": (1080, 1920)}
ROUNDS = 5


def picture(seed: int, size: tuple[int, int], level: float) -> torch.Tensor:
    """(3, H, W) correlated, skewed colors within about 0.1 to 0.9."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.tensor([[1.0, 0.3, 0.2], [0.3, 0.8, 0.3], [0.2, 0.3, 0.7]]) * 0.25
    spread = torch.einsum("ij,jhw->ihw", mix, torch.rand(3, *size, generator=generator) - 0.5)
    return level + 0.5 * spread + 0.3 * spread.square()


def packed(image: torch.Tensor) -> Colors:
    return image.movedim(0, -1).contiguous().numpy()


def mkl(face: Colors, plate: Colors) -> Colors:
    """Pitié and Kokaram 2007, written down."""
    x, y = face.reshape(-1, 3), plate.reshape(-1, 3)
    a, b = numpy.cov(x.T), numpy.cov(y.T)
    root = linalg.sqrtm(a)
    inverse = linalg.inv(root)
    move = inverse @ linalg.sqrtm(root @ b @ root) @ inverse
    return ((x - x.mean(0)) @ move.real.T + y.mean(0)).reshape(face.shape)


def reinhard(face: Colors, plate: Colors) -> Colors:
    """Reinhard et al. 2001, channel by channel of linear light."""
    x, y = face.reshape(-1, 3), plate.reshape(-1, 3)
    return ((x - x.mean(0)) * (y.std(0) / x.std(0)) + y.mean(0)).reshape(face.shape)


def reinhard_opponent(face: Colors, plate: Colors) -> Colors:
    """Reinhard et al. 2001 in the log-opponent space that they chose."""
    cones, axes = numpy.array(spaces.CONES, numpy.float32), numpy.array(spaces.OPPONENT, numpy.float32)
    x, y = (numpy.log(p.reshape(-1, 3) @ cones.T) @ axes.T for p in (face, plate))
    moved = (x - x.mean(0)) * (y.std(0) / x.std(0)) + y.mean(0)
    return (numpy.exp(moved @ axes) @ numpy.linalg.inv(cones).T).reshape(face.shape)


def histogram(face: Colors, plate: Colors) -> Colors:
    """The plate's quantile at the rank that each value has in the face."""
    result = numpy.empty_like(face)
    for channel in range(3):
        _, places, counts = numpy.unique(face[..., channel].ravel(), return_inverse=True, return_counts=True)
        values, there = numpy.unique(plate[..., channel].ravel(), return_counts=True)
        ranks = numpy.interp(counts.cumsum() / places.size, there.cumsum() / there.sum(), values)
        result[..., channel] = ranks[places].reshape(face.shape[:2])
    return result


def sliced(face: Colors, plate: Colors, steps: int = 10, lines: int = 30) -> Colors:
    """Sliced optimal transport on every pixel: Rabin et al. 2011, Bonneel et al. 2015."""
    generator = numpy.random.default_rng(0)
    x, y = face.reshape(-1, 3).astype(numpy.float64), plate.reshape(-1, 3).astype(numpy.float64)
    for _ in range(steps):
        rise = numpy.zeros_like(x)
        for _ in range(lines):
            line = generator.standard_normal(3)
            line /= numpy.linalg.norm(line)
            along, there = x @ line, y @ line
            order = along.argsort()
            step = numpy.empty(len(x))
            step[order] = numpy.sort(there) - along[order]
            rise += step[:, None] * line
        x = x + rise * (3 / lines)
    return x.reshape(face.shape)


def ours(solve: str, space: str, steps: int = 0, palettes: bool = False) -> Callable[..., torch.Tensor]:
    """Measure, solve and apply."""

    def work(face: torch.Tensor, plate: torch.Tensor, matte: torch.Tensor) -> torch.Tensor:
        colors = measure.flat(face, plate, matte)
        sample = measure.moments(*colors, space)
        if steps:
            sample = measure.ranked(sample, *colors, steps)
        if palettes:
            sample = measure.with_palettes(sample, *colors)
        return grade.apply(face, match.SOLVERS[solve](sample))

    return work


def cost(works: list[Callable[[], Any]], rounds: int = ROUNDS) -> list[float]:
    """Least milliseconds of processor time of each, taken in turn."""
    best = [float("inf")] * len(works)
    for _ in range(rounds):
        for row, work in enumerate(works):
            start = time.process_time()
            work()
            best[row] = min(best[row], (time.process_time() - start) * 1000)
    return best


def installed(method: str) -> Callable[[Colors, Colors], Colors] | None:
    try:
        from color_matcher import ColorMatcher
    except ImportError:
        return None
    return lambda face, plate: ColorMatcher(src=face.copy(), ref=plate.copy(), method=method).main()


def distance(one: Colors, other: Colors) -> float:
    """Sliced Wasserstein distance between two pictures' colors, along 64 lines."""
    lines = numpy.random.default_rng(1).standard_normal((3, 64))
    lines /= numpy.linalg.norm(lines, axis=0)
    ranks = numpy.linspace(0.001, 0.999, 501)
    a, b = (numpy.quantile(p.reshape(-1, 3) @ lines, ranks, axis=0) for p in (one, other))
    return float(numpy.abs(a - b).mean())


def main() -> None:
    formulas = {
        "mkl": (ours("mkl", "linear"), mkl, "mkl"),
        "reinhard, linear": (ours("reinhard", "linear"), reinhard, None),
        "reinhard, log-opponent": (ours("reinhard", "perceptual"), reinhard_opponent, "reinhard"),
        "histogram": (ours("histogram", "linear", 1025), histogram, "hm"),
    }
    print(f"{'':36}{'ours ms':>9}{'numpy ms':>10}{'ratio':>7}{'differs':>10}{'color-matcher ms':>18}{'ratio':>7}")
    for (name, (mine, formula, package)), (label, size) in product(formulas.items(), SIZES.items()):
        pictures = picture(1, size, 0.4), picture(2, size, 0.6) ** 1.2
        packs = packed(pictures[0]), packed(pictures[1])
        matched = partial(mine, *pictures, torch.ones(1, *size))
        theirs = installed(package) if package else None
        times = cost([matched, partial(formula, *packs), *([partial(theirs, *packs)] if theirs else [])])
        exact = formula(*(one.astype(numpy.float64) for one in packs))
        apart = numpy.sqrt(numpy.square(packed(matched()) - exact).mean())
        end = f"{times[2]:18.1f}{times[2] / times[0]:7.1f}" if theirs else ""
        line = f"{name + ', ' + label:36}{times[0]:9.1f}{times[1]:10.1f}{times[1] / times[0]:7.1f}{apart:10.1e}{end}"
        print(line, flush=True)


def bench_sliced(size: tuple[int, int] = (256, 256)) -> None:
    """Sliced transport beside every pixel sorted along every line."""
    pictures = picture(1, size, 0.4), picture(2, size, 0.6) ** 1.2
    packs = packed(pictures[0]), packed(pictures[1])
    matched = partial(ours("transport", "linear", palettes=True), *pictures, torch.ones(1, *size))
    times = cost([matched, partial(sliced, *packs)], 2)
    before, mine, formula = (distance(one, packs[1]) for one in (packs[0], packed(matched()), sliced(*packs)))
    print(
        f"{'sliced transport, 256 x 256':36}{times[0]:9.1f}{times[1]:10.1f}{times[1] / times[0]:7.1f}"
        f"   sliced Wasserstein distance {before:.4f}, ours {mine:.5f}, on every pixel {formula:.5f}"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    with torch.inference_mode():
        main()
        bench_sliced()
