"""Training beside what one would otherwise write: steps in a second, and what is learned in equal time.

    python tests/bench/train.py steps A_SET B_SET      swap against a plain loop with a DataLoader of numpy and OpenCV
    python tests/bench/train.py pairs MOVIE            paired against the settings of pix2pix, on three tasks

Time is the processor's, so that a busy machine does not decide; both sides run in turn on the same threads.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mien.color import load as load_colors
from mien.commands.train import chosen_precision
from mien.files.faceset import FaceSet, read_face, read_faceset
from mien.files.identities import Likeness
from mien.models.critic import PatchCritic, fooled, told_apart
from mien.models.pix2pix import Pix2PixShape, build
from mien.models.swap import CLASSIC, SwapNetwork, SwapShape
from mien.models.unet import PairedShape
from mien.train.loop import Pace, descend, follow, precision
from mien.train.losses import dissimilarity, peak_signal
from mien.train.paired import PairedSetting, PairedTask, PairedWeights
from mien.train.pairs import keep_pairs, kept_pairs
from mien.train.product import Product
from mien.train.stock import stock
from mien.train.swap import SwapSetting, SwapTask

CPU = torch.device("cpu")
SEEN = 64


class PlainFaces(Dataset):
    """Faces as a plain script would prepare them: read, warp and color one by one."""

    def __init__(self, faceset: FaceSet) -> None:
        colors = load_colors(None)
        self.pictures = []
        for row in range(len(faceset.faces)):
            values = torch.from_numpy(read_face(faceset.picture(row), faceset.size)).movedim(-1, 0)
            shown = torch.cat([colors.encoding.encode(values[:3].contiguous()), values[3:]])
            self.pictures.append((shown.movedim(0, -1).numpy() * 255).astype(np.uint8))

    def __len__(self) -> int:
        return 1 << 30

    def __getitem__(self, index: int):
        random = np.random.default_rng(index)
        picture = self.pictures[random.integers(len(self.pictures))].astype(np.float32) / 255
        side = picture.shape[0]
        matrix = cv2.getRotationMatrix2D((side / 2, side / 2), random.uniform(-8, 8), random.uniform(0.95, 1.05))
        matrix[:, 2] += random.uniform(-0.04, 0.04, 2) * side
        picture = cv2.warpAffine(picture, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
        reach = side / 1.6 * 1.15 / 2
        grid = np.linspace(side / 2 - reach, side / 2 + reach, 5, dtype=np.float32)
        x, y = np.meshgrid(grid, grid)
        x += random.normal(0, 0.03 * 2 * reach, x.shape).astype(np.float32)
        y += random.normal(0, 0.03 * 2 * reach, y.shape).astype(np.float32)
        x, y = (cv2.resize(part, (SEEN, SEEN), interpolation=cv2.INTER_CUBIC) for part in (x, y))
        bent = cv2.remap(picture, x, y, cv2.INTER_LINEAR)
        low = int(side / 2 - reach)
        plain = cv2.resize(picture[low : side - low, low : side - low], (SEEN, SEEN), interpolation=cv2.INTER_AREA)
        hue = cv2.cvtColor(np.concatenate([bent[..., :3], plain[..., :3]]), cv2.COLOR_RGB2HSV)
        hue[..., 1] *= random.uniform(0.8, 1.2)
        hue[..., 2] *= random.uniform(0.85, 1.15)
        both = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB).clip(0, 1)
        one, two = (np.ascontiguousarray(part.transpose(2, 0, 1)) for part in (both[:SEEN], both[SEEN:]))
        return one, two, np.ascontiguousarray(plain[..., 3:].transpose(2, 0, 1))


def plain_steps(sets: tuple[FaceSet, FaceSet], shape: SwapShape, batch: int) -> Callable[[], None]:
    """One step of a plain training loop."""
    network = SwapNetwork(shape).train()
    optimizer = torch.optim.Adam(network.parameters(), 2e-4)
    feeds = [iter(DataLoader(PlainFaces(one), batch_size=batch)) for one in sets]

    def step() -> None:
        losses = []
        for feed, person in zip(feeds, ("a", "b")):
            bent, goal, matte = next(feed)
            drawn = network(bent, person)
            losses.append(((drawn.picture - goal).abs() * matte).sum() / matte.sum().clamp(min=1) / 3)
            losses.append(dissimilarity(drawn.picture, goal, matte))
            losses.append((drawn.matte - matte).abs().mean())
        optimizer.zero_grad()
        sum(losses).backward()
        optimizer.step()

    return step


def our_steps(sets: tuple[FaceSet, FaceSet], shape: SwapShape, batch: int, folder: Path) -> Callable[[], None]:
    """One step of ours, the averaged weights included."""
    colors, setting = load_colors(None), SwapSetting(shape, batch=batch)
    people = tuple(
        stock(one, shape.size, setting.coverage, folder / name, colors, CPU, lambda _: None)
        for one, name in zip(sets, "ab")
    )
    task = SwapTask(people, setting, 0, CPU, Product(folder / "x.safetensors", Likeness(), folder / "x.html"))
    pace = Pace(precision=chosen_precision("auto", CPU))
    average = SwapNetwork(shape).eval()
    optimizer = torch.optim.Adam(task.network.parameters(), 2e-4, fused=True)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    count = iter(range(1 << 30))

    def step() -> None:
        number = next(count)
        with precision(pace, CPU):
            made = task.make(number)
        descend(optimizer, task.losses(made), scaler)
        follow(average, task.network, number)

    return step


def timed(step: Callable[[], None], times: int) -> tuple[float, float]:
    """Seconds a step takes of the processor, and by the clock."""
    begun = time.process_time(), time.perf_counter()
    for _ in range(times):
        step()
    return (time.process_time() - begun[0]) / times, (time.perf_counter() - begun[1]) / times


def compare_steps(a: Path, b: Path) -> None:
    sets = read_faceset(a), read_faceset(b)
    print(f"{'network':28}{'batch':>6}{'plain':>12}{'mien':>12}{'ratio':>8}   seconds a step: processor, clock")
    for name, shape, batch in (
        ("df 64, narrow", SwapShape("df", 64, 16, 12, 6, 64), 16),
        ("df 64", SwapShape("df", 64, 32, 24, 8, 128), 8),
        ("classic", CLASSIC, 8),
    ):
        with tempfile.TemporaryDirectory() as folder:
            plain, ours = plain_steps(sets, shape, batch), our_steps(sets, shape, batch, Path(folder))
            for warm in (plain, ours):
                warm()
            runs = [(timed(plain, 3), timed(ours, 3)) for _ in range(3)]
        for clock in (0, 1):
            slow, fast = (min(run[side][clock] for run in runs) for side in (0, 1))
            print(f"{name if clock == 0 else '':28}{batch:6}{slow:12.3f}{fast:12.3f}{slow / fast:8.2f}", flush=True)


def pairs_of(movie: Path, task: str, size: int, most: int) -> list[tuple[str, Tensor]]:
    """Frames of a movie before and after a look, a clean-up, or with their matte."""
    pairs = []
    with av.open(str(movie)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    for number, frame in enumerate(frames[:: max(1, len(frames) // most)]):
        picture = cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        before, after = picture, picture
        if task == "look":
            blurred = cv2.GaussianBlur(picture, (0, 0), 6)
            after = (0.6 * picture + 0.4 * blurred) ** np.array([1.3, 1.0, 0.8], np.float32)
        elif task == "clean-up":
            before = picture.copy()
            center = np.argwhere(picture[..., 0] > picture[..., 2] + 0.12).mean(0)[::-1] + np.array([-18, 22])
            for place in ((0, 0), (9, 5), (4, -11)):
                x, y = (center + place).astype(int)
                cv2.circle(before, (int(x), int(y)), 4, (0.35, 0.08, 0.1), -1, cv2.LINE_AA)
        else:
            skin = (picture[..., 0] > picture[..., 2] + 0.1).astype(np.float32)
            after = cv2.GaussianBlur(cv2.morphologyEx(skin, cv2.MORPH_CLOSE, np.ones((9, 9))), (0, 0), 1.5)[..., None]
        both = np.concatenate([before, after], 2).astype(np.float32)
        pairs.append((str(number), torch.from_numpy(both).movedim(-1, 0)))
    return pairs


def reference(pairs: list[Tensor], outputs: int, size: int, seconds: float) -> tuple[nn.Module, int]:
    """pix2pix as published: U-Net of 64 channels, batch norm and dropout, 70-pixel patches, L1 100, Adam 2e-4."""
    torch.manual_seed(0)
    depth = int(np.log2(size))
    network = build(Pix2PixShape("unet", 3, outputs, 64, min(8, depth), "batch")).train()
    for name, weight in network.named_parameters():
        if weight.ndim == 4:
            nn.init.normal_(weight, 0, 0.02)
        elif name.endswith("weight"):
            nn.init.normal_(weight, 1, 0.02)
    critic = PatchCritic(3 + outputs, 64, 3)
    painter, judge = (torch.optim.Adam(one.parameters(), 2e-4, betas=(0.5, 0.999)) for one in (network, critic))
    random = torch.Generator().manual_seed(0)
    begun, steps = time.process_time(), 0
    while time.process_time() - begun < seconds:
        pair = pairs[int(torch.randint(len(pairs), (), generator=random))][None]
        large = round(size * 286 / 256)
        pair = nn.functional.interpolate(pair, (large, large), mode="bicubic", align_corners=False)
        y, x = torch.randint(large - size + 1, (2,), generator=random).tolist()
        pair = pair[..., y : y + size, x : x + size]
        if float(torch.rand((), generator=random)) < 0.5:
            pair = pair.flip(-1)
        before, after = (2 * pair - 1).split((3, outputs), 1)
        drawn = network(before.clone())
        judge.zero_grad()
        told_apart(critic(torch.cat([before, after], 1)), critic(torch.cat([before, drawn.detach()], 1))).backward()
        judge.step()
        painter.zero_grad()
        (fooled(critic(torch.cat([before, drawn], 1))) + 100 * (drawn - after).abs().mean()).backward()
        painter.step()
        steps += 1
    return network, steps


def ours(pairs: list[tuple[str, Tensor]], outputs: int, size: int, seconds: float) -> tuple[nn.Module, int]:
    """mien's paired training with its defaults."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keep_pairs(pairs, folder)
        kept = kept_pairs(folder, 3, CPU)
        weights = PairedWeights(critic=0.01 if outputs == 3 else 0.0)
        setting = PairedSetting(PairedShape(3, outputs), size, weights=weights)
        product = Product(folder / "x", Likeness(), folder / "y")
        task = PairedTask(kept, kept[:1], setting, 0, CPU, product, "")
        average = PairedTask(kept, kept[:1], setting, 0, CPU, product, "").network.eval()
        pace = Pace(precision=chosen_precision("auto", CPU))
        scaler = torch.amp.GradScaler("cpu", enabled=False)
        painter = torch.optim.Adam(task.network.parameters(), 8e-4, betas=(0.5, 0.99), fused=True)
        judge = None
        if task.critic is not None:
            judge = torch.optim.Adam(task.critic.parameters(), 8e-4, betas=(0.5, 0.99), fused=True)
        begun, step = time.process_time(), 0
        while (spent := time.process_time() - begun) < seconds:
            # As the loop does over its steps: a short rise, and a fall over the last quarter.
            rate = 8e-4 * min(1.0, (step + 1) / 50, max(0.1, 4 * (1 - spent / seconds)))
            for optimizer in (painter, judge):
                if optimizer is not None:
                    optimizer.param_groups[0]["lr"] = rate
            with precision(pace, CPU):
                made = task.make(step)
            descend(painter, task.losses(made), scaler)
            if judge is not None:
                descend(judge, task.critic_losses(made), scaler)
            follow(average, task.network, step)
            step += 1
    return average, step


def compare_pairs(movie: Path, tasks: list[str], size: int, seconds: float) -> None:
    print(f"{'task':12}{'untouched':>11}{'pix2pix':>16}{'mien':>16}   dB on held-out pairs (steps), {seconds:g} s each")
    for task in tasks:
        pairs = pairs_of(movie, task, size, 40)
        outputs = 1 if task == "matte" else 3
        held = [pair for row, (_, pair) in enumerate(pairs) if row % 4 == 3]
        learned = [entry for row, entry in enumerate(pairs) if row % 4 != 3]
        plain, plain_count = reference([pair for _, pair in learned], outputs, size, seconds)
        mine, count = ours(learned, outputs, size, seconds)
        scores: list[list[float]] = [[], [], []]
        with torch.inference_mode():
            for pair in held:
                before, after = pair[None].split((3, outputs), 1)
                everywhere = torch.ones_like(after[:, :1])
                # As its test script runs: in training mode, the statistics being the picture's own.
                drawn = (plain(2 * before - 1) + 1) / 2
                results = (before if outputs == 3 else torch.full_like(after, float(after.mean())), drawn, mine(before))
                for row, result in zip(scores, results):
                    row.append(peak_signal(result.clamp(0, 1), after, everywhere))
        nothing, theirs, own = (float(np.mean(row)) for row in scores)
        print(f"{task:12}{nothing:11.2f}{theirs:9.2f} ({plain_count:4}){own:9.2f} ({count:4})", flush=True)


def asked() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("steps", "pairs"))
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--tasks", default="look,clean-up,matte")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    wanted = asked()
    torch.set_num_threads(wanted.threads)
    cv2.setNumThreads(wanted.threads)
    if wanted.what == "steps":
        compare_steps(*wanted.paths)
    else:
        compare_pairs(wanted.paths[0], wanted.tasks.split(","), wanted.size, wanted.seconds)
