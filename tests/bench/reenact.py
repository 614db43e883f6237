"""A photograph that follows: what a frame costs beside plain eager PyTorch, and how well a film drives itself.

    python tests/bench/reenact.py speed [--threads 1 2] [--batch 4] [--device cuda]
    python tests/bench/reenact.py itself IDENTITY MOVIE... [--detail 2]

``speed`` takes the network of ``vox-256`` with random weights. Both sides draw the same frames in turn; time is the
processor's, the least of several runs. Plain is a frame as the original's demo draws it: keypoints of the driving
frame, then the generator from its first layer on. ``itself`` puts a film on its own first frame, by relative motion.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[1]))

from mien.color import load as load_colors
from mien.files.identities import read_identity
from mien.files.shot import open_shot
from mien.footage import ShotFootage, plate_space
from mien.models.animate import Animator
from mien.models.crops import cut_crop
from mien.models.motion import MotionNetwork
from mien.models.motion_fields import carried
from mien.models.motion_shape import PUBLISHED
from mien.models.reenact import detailed
from mien.reenacted import open_network
from models import first_order as paper

RUNS = 3


def least(sides: dict[str, Callable[[], object]], clock: Callable[[], float]) -> dict[str, float]:
    """The least seconds of each side, run in turn."""
    found = {name: float("inf") for name in sides}
    for _ in range(RUNS):
        for name, side in sides.items():
            start = clock()
            side()
            found[name] = min(found[name], clock() - start)
    return found


def pictures(count: int, seed: int) -> Tensor:
    coarse = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    return functional.interpolate(coarse, (256, 256), mode="bicubic").clamp(0, 1)


@torch.inference_mode()
def speed(threads: list[int], batch: int, device: torch.device) -> None:
    settings = paper.PUBLISHED["vox-256"]
    parts = paper.random_checkpoint(settings)
    network = MotionNetwork(PUBLISHED["vox-256"])
    network.kp_detector.load_state_dict(parts["kp_detector"])
    network.generator.load_state_dict(parts["generator"])
    network = network.eval().to(device)
    animator = Animator(network, device, corners=True)
    source, driving = pictures(1, 1).to(device), pictures(batch, 2).to(device)
    found = network.kp_detector(source)
    start = network.kp_detector(driving[:1])
    ready = animator.source(source)

    def plain() -> list[Tensor]:
        drawn = []
        for frame in driving.split(1):
            onto = carried(found, network.kp_detector(frame), start, relative=True)
            drawn.append(network.generator(source, onto, found)[0])
        return drawn

    def one_by_one() -> list[Tensor]:
        frames = driving.split(1)
        ontos = (carried(ready.keypoints, animator.find(frame), start, relative=True) for frame in frames)
        return [animator.paint(ready, animator.move(ready, onto)) for onto in ontos]

    def together() -> Tensor:
        onto = carried(ready.keypoints, animator.find(driving), start, relative=True)
        return animator.paint(ready, animator.move(ready, onto))

    apart = max(float((a - b).abs().max()) for a, b in zip(plain(), one_by_one()))
    batched = float((torch.cat(plain()) - together()).abs().max())
    print(f"largest difference from plain: one by one {apart:.1e}, {batch} together {batched:.1e}")

    def card() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    clock = card if device.type == "cuda" else time.process_time
    for count in threads if device.type == "cpu" else [1]:
        torch.set_num_threads(count)
        spent = least({"plain": plain, "one by one": one_by_one, "together": together}, clock)
        words = ", ".join(f"{name} {1000 * value / batch:.0f} ms" for name, value in spent.items())
        ratios = ", ".join(f"{spent['plain'] / spent[name]:.2f} x ({name})" for name in ("one by one", "together"))
        where = f"{count} threads" if device.type == "cpu" else torch.cuda.get_device_name(device)
        print(f"{where}: a frame takes {words}: {ratios}")


@torch.inference_mode()
def itself(identity: Path, movies: list[str], detail: int) -> None:
    animator, shape = open_network(read_identity(identity), identity, torch.device("cpu"))
    colors = load_colors(None)
    for movie in movies:
        shot = open_shot(movie)
        footage = ShotFootage(shot, colors, plate_space(shot, colors, None))
        side = min(shot.size)
        frames = []
        for size in (shape.size, shape.size * detail):
            scale = size / side
            matrix = torch.diag(torch.tensor([scale, scale, 1.0]).double())
            matrix[0, 2] = (size - scale * shot.size[0]) / 2
            matrix[1, 2] = (size - scale * shot.size[1]) / 2
            cut = [cut_crop(footage.picture(frame), matrix.numpy(), side, size) for frame in shot.frames]
            frames.append(torch.stack([torch.from_numpy(one) for one in cut]).movedim(-1, 1).float() / 255)
        small, large = frames
        source = animator.source(small[:1])
        found = animator.find(small)
        onto = carried(source.keypoints, found, found.rows(slice(0, 1)), relative=True)
        motion = animator.move(source, onto)
        drawn = animator.paint(source, motion)
        print(f"{Path(movie).name}: {len(small)} frames at {shape.size} pixels")
        print(f"  first frame, standing still {decibel(small[:1].expand_as(small), small):.2f} dB")
        print(f"  first frame, following      {decibel(drawn, small):.2f} dB")
        if detail > 1:
            size = large.shape[-1]
            enlarged = functional.interpolate(drawn, (size, size), mode="bilinear", align_corners=False)
            fine = detailed(drawn, large[:1], motion, shape.corners)
            soft, sharp = decibel(enlarged, large), decibel(fine, large)
            print(f"  enlarged {detail} times {soft:.2f} dB, with detail {sharp:.2f} dB")


def decibel(drawn: Tensor, goal: Tensor) -> float:
    """Mean over frames after the first of signal over error."""
    error = (drawn[1:] - goal[1:]).square().mean((1, 2, 3)).clamp(min=1e-10)
    return float((-10 * torch.log10(error)).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("speed")
    first.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    first.add_argument("--batch", type=int, default=4)
    first.add_argument("--device", default="cpu")
    second = commands.add_parser("itself")
    second.add_argument("identity", type=Path)
    second.add_argument("movies", nargs="+")
    second.add_argument("--detail", type=int, default=1)
    asked = parser.parse_args()
    if asked.command == "speed":
        speed(asked.threads, asked.batch, torch.device(asked.device))
    else:
        itself(asked.identity, asked.movies, asked.detail)


if __name__ == "__main__":
    main()
