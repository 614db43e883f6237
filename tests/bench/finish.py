"""The whole finishing chain on a large face, beside OpenCV on full frames: ``python tests/bench/finish.py``.

A network's 512 pixel crop is laid back onto a 4K plate whose face is 1000 pixels wide: crop back, matte, color match,
light, sharpness, motion blur, grain, composite. One thread, processor time, the least of several runs; nothing fails
on a time.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tracking"))

import portraits
import shot
import whole_frame

from mien import recipe as recipes
from mien.chain import FUNCTIONS, declaration, evaluate
from mien.color import load
from mien.files.shot import read_region
from mien.heap import reuse
from mien.job import Job, open_job
from mien.models.aligned import aligned_matrix
from mien.models.lay_back import laid_back
from mien.run import plate_of, read_source, solved
from mien.types import Face, Layer, Plate
from shots import FIRST, Made, points_at, texture

FACE = 1000
SIZE = (3840, 2160)
CROP = 512
ROUNDS = 12
Pixels = np.ndarray[Any, np.dtype[np.float32]]


def portrait(name: str, size: tuple[int, int], seed: int) -> Pixels:
    """A portrait in scene-linear light at (width, height), with a little grain."""
    light = (portraits.picture(name).astype(np.float32) / 255) ** 2.4
    large = cv2.resize(light, size, interpolation=cv2.INTER_CUBIC)
    return large + 0.004 * np.random.default_rng(seed).standard_normal(large.shape, np.float32)


def network_picture() -> Pixels:
    """What a network would have drawn."""
    return portrait("hopper", (CROP, CROP), 1)


def network_matte() -> Pixels:
    """And where."""
    y, x = np.mgrid[:CROP, :CROP] / CROP - 0.5
    return np.clip((0.42 - np.hypot(x, 0.8 * y)) * 20, 0, 1).astype(np.float32)


def made_of(folder: Path) -> Made:
    """Three frames of a 4K plate with a face of 1000 pixels."""
    still = folder / "still.exr"
    shot.write_exr(still, portrait("collins", SIZE, 2), colorInteropID="lin_ap1_scene")
    pattern = folder / "plate" / "shot.%04d.exr"
    pattern.parent.mkdir()
    for frame in range(FIRST, FIRST + 3):
        Path(str(pattern) % frame).symlink_to(still)
    points = torch.stack([points_at(SIZE[0] / 2 + 6 * i, SIZE[1] / 2 + 3 * i, FACE) for i in range(3)])
    return shot.shot_of(folder, pattern, SIZE, points, texture(700, 700, 99) * 0.7, points_at(350, 350, FACE * 0.5))


def job_of(made: Made, settings: dict[str, dict[str, object]]) -> Job:
    """The shot's job with a network's crop for an identity."""
    recipe = recipes.read(made.recipe)
    steps = tuple(replace(s, settings={**s.settings, **settings.get(s.name, {})}) for s in recipe.steps)
    job = open_job(recipes.check(replace(recipe, steps=steps)), "cpu")
    picture = torch.from_numpy(network_picture()).movedim(-1, 0)[None]
    matte = torch.from_numpy(network_matte())[None, None]
    identity = Drawn(picture[0], matte[0])
    return solved(replace(job, chain=replace(job.chain, identity_at=lambda frame: identity)), shot.quiet)


@dataclass(frozen=True)
class Drawn:
    """An identity whose network is done: its crop only has to be laid back."""

    picture: torch.Tensor
    matte: torch.Tensor
    digest: str = "bench"

    def __call__(self, plate: Plate, face: Face) -> Layer:
        corner = torch.tensor([*plate.corner, 0.0])
        matrix = aligned_matrix(face.points - corner, CROP, 1.3, face.aspect)
        return laid_back(self.picture, self.matte, matrix.double(), plate, face.width)


def least(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Processor seconds of the fastest of several runs."""
    best = np.inf
    for _ in range(rounds):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return float(best)


def ours(job: Job) -> tuple[float, dict[str, float], int]:
    """Seconds of a frame, seconds of each node in it, and pixels of the region."""
    frame = FIRST + 1
    source = read_source(job, frame, "", whole=False)
    plate = plate_of(job, frame, source)
    final = job.recipe.steps[-1].name
    each: dict[str, float] = {}
    plain = dict(FUNCTIONS)

    def timed(name: str) -> Callable[..., Any]:
        def call(*given: Any, **settings: Any) -> Any:
            began = time.process_time()
            result = plain[name](*given, **settings)
            each[name] = min(each.get(name, np.inf), time.process_time() - began)
            return result

        return call

    with torch.inference_mode():
        total = least(lambda: evaluate(job.chain, frame, plate, final))
        FUNCTIONS.update({name: timed(name) for name in plain})
        for _ in range(ROUNDS):
            values = evaluate(job.chain, frame, plate, final)
        FUNCTIONS.update(plain)
    assert values is not None
    layer: Layer = values[final]
    return total, each, layer.matte.numel()


def smear(x: float, y: float) -> Pixels:
    """A kernel that smears along (x, y) pixels."""
    reach = int(max(abs(x), abs(y)) / 2) + 2
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for along in np.linspace(-0.5, 0.5, 65):
        place = np.float32([[1, 0, reach + along * x], [0, 1, reach + along * y]])
        kernel += cv2.warpAffine(np.ones((1, 1), np.float32), place, kernel.shape[::-1])
    return kernel / kernel.sum()


def with_opencv(job: Job, clone: bool) -> float:
    """Seconds of the same steps on the full frame with OpenCV; what the shot was solved for is known."""
    frame = FIRST + 1
    plate = read_region(job.shot, frame, job.shot.display)
    points = points_at(SIZE[0] / 2 + 6, SIZE[1] / 2 + 3, FACE)[:, :2].numpy()
    scale = 1.6 * FACE / CROP
    middle = points.mean(0)
    place = np.float32([[scale, 0, middle[0] - scale * CROP / 2], [0, scale, middle[1] - scale * CROP / 2]])
    crop, crop_matte = network_picture(), network_matte()
    radius = round(0.03 * FACE)
    detail, grade = (job.chain.solved[name].at(frame) for name in ("match_detail", "match_color"))
    gains, white = job.chain.solved["deflicker"].at(frame), job.chain.solved["plate_white"].at(frame)
    line = smear(6 * detail.shutter, 3 * detail.shutter)

    def chain() -> Pixels:
        drawn = cv2.warpAffine(crop, place, SIZE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        shown = cv2.warpAffine(crop_matte, place, SIZE, flags=cv2.INTER_CUBIC)
        matte = cv2.min(shown, whole_frame.hull_matte(points, SIZE, radius))
        graded = whole_frame.graded(whole_frame.graded(drawn, grade), gains)
        spared = whole_frame.eyes_and_lips(points, SIZE, FACE)
        lit = whole_frame.softened(whole_frame.lit_by(plate, graded, spared, FACE), detail)
        lit, matte = cv2.filter2D(lit, -1, line), cv2.filter2D(matte, -1, line)
        lit = whole_frame.grained(lit, matte, detail.grain)
        if clone:
            inside = (matte > 0.5).astype(np.uint8)
            seen = [cv2.convertScaleAbs(p, alpha=255) for p in (lit, plate)]
            box = cv2.boundingRect(inside)
            center = (box[0] + box[2] // 2, box[1] + box[3] // 2)
            lit = cv2.seamlessClone(*seen, inside * 255, center, cv2.NORMAL_CLONE) / np.float32(255)
        return whole_frame.laid(plate, lit, matte, spared, white)

    return least(chain, 3)


GRADIENT: dict[str, dict[str, object]] = {
    "match_color": {"method": "mkl"},
    "composite": {"method": "gradient"},
}


def main() -> None:
    """Print the chain beside OpenCV's, plain and with a gradient-domain composite."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    # As the engine's own processes do; OpenCV has it too.
    reuse()
    load()
    with tempfile.TemporaryDirectory() as scratch:
        made = made_of(Path(scratch))
        for name, settings, clone in (
            ("over", {"match_color": {"method": "mkl"}}, False),
            ("gradient-domain", GRADIENT, True),
        ):
            job = job_of(made, settings)
            seconds, each, pixels = ours(job)
            theirs = with_opencv(job, clone)
            shot.say(f"{name}: chain on a {FACE} px face in 4K, {pixels / 1e6:.1f} Mpx", f"{1000 * seconds:.0f} ms", "")
            for node, part in sorted(each.items(), key=lambda item: -item[1]):
                if declaration(node).output != "FaceTrack":
                    shot.say(f"    {node}", f"{1000 * part:.1f} ms", "")
            shot.say(f"{name}: OpenCV on the full frame", f"{1000 * theirs:.0f} ms", "")
            shot.say(f"{name}: OpenCV over ours", f"x{theirs / seconds:.1f}", ">= 10")


if __name__ == "__main__":
    main()
