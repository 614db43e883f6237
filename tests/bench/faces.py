"""How well faces are found: the built-in networks beside YuNet and FaceMesh, on people never trained on.

    python tests/bench/faces.py [--every 4] [--only turn,hungry] [--worst worst.png]

Real clips are judged against YuNet (boxes) and FaceMesh (points), which are public networks and no truth: they
differ from other public networks by 4 to 8 %. The scanned head has exact truth. Errors are in the ibug68 scheme,
in percent of the distance between the outer eye corners of the same head seen from the front. Of a face turned
away, the half toward the viewer is told apart: public networks hang the other half beside the face, each where it
likes. Milliseconds are processor time on one thread.
"""

import argparse
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch

from mien import mesh
from mien.models import backends
from mien.models.backends import Detections, FaceFinder, crop_from_detection, crop_from_points
from mien.models.detector import overlap
from mien.train.splits import HELD_OUT_CLIPS

SURE = 0.5
"""Score from which a detection counts."""
REFERENCE_SURE = 0.6
"""Score from which YuNet's word counts as a face; what it finds with less is neither right nor wrong to report."""
BINS = ((0, 15), (15, 30), (30, 45), (45, 60), (60, 75), (75, 90))
COLUMNS = (
    "| recall >= 64 px | recall < 64 px | precision | error % to 40° | beyond 40° | near half |\n" + "|---" * 7 + "|"
)
ACROSS = mesh.to_ibug68(mesh.CANONICAL)[:, 0]
"""How far to the right of a frontal picture's middle each of the 68 points lies."""


@dataclass(frozen=True)
class Miss:
    """How far the points of one face are off, in percent: all of them, and those of the half toward the viewer."""

    yaw: float
    off: float
    near: float


@dataclass
class Tally:
    """What one finder did on one clip."""

    faces: dict[str, int] = field(default_factory=lambda: {"large": 0, "small": 0})
    found: dict[str, int] = field(default_factory=lambda: {"large": 0, "small": 0})
    false: int = 0
    errors: list[Miss] = field(default_factory=list)


@dataclass
class Mishap:
    """A frame worth looking at: the worse, the larger ``badness``."""

    badness: float
    title: str
    picture: Any
    wanted: Any
    drawn: Any


def frames_of(path: Path, every: int) -> list[Any]:
    """Every n-th frame of a movie as RGB."""
    with av.open(str(path)) as movie:
        return [frame.to_ndarray(format="rgb24") for row, frame in enumerate(movie.decode(video=0)) if row % every == 0]


def timed(work: Any) -> tuple[Any, float]:
    """The answer of a call, and its milliseconds of processor time."""
    start = time.process_time()
    answer = work()
    return answer, (time.process_time() - start) * 1000


def points_in(finder: FaceFinder, picture: Any, crops: torch.Tensor) -> torch.Tensor:
    """The 68 points (N, 68, 3) in crops, looked at twice: once as given, once around what was found."""
    first = finder.landmarks(picture, crops).points
    second = finder.landmarks(picture, crop_from_points(first, finder.scheme)).points
    return mesh.to_ibug68(second) if finder.scheme == "mesh" else second


def missed(points: torch.Tensor, truth: torch.Tensor, span: float, yaw: float) -> Miss:
    """Mean distances of (68, 2) points from the truth in percent of ``span``."""
    off = (points[:, :2] - truth[:, :2]).norm(dim=-1) / span * 100
    # A face that turns to the right of the picture shows the half that was left of its middle.
    near = ACROSS * (1 if yaw > 0 else -1) < 0.02
    return Miss(abs(yaw), float(off.mean()), float(off[near].mean()))


def mark_against_yardstick(
    name: str, finder: FaceFinder, yardstick: FaceFinder, pictures: list[Any], mishaps: list[Mishap]
) -> Tally:
    """Detections against YuNet's, and points against FaceMesh's in the faces both found."""
    tally = Tally()
    for row, picture in enumerate(pictures):
        known = yardstick.detect(picture, 20)
        found = finder.detect(picture, 20)
        found = Detections(*(part[found.scores > SURE] for part in (found.boxes, found.five, found.scores)))
        match = overlap(found.boxes, known.boxes)
        stray = match.amax(1) < 0.25 if len(known.scores) else torch.ones(len(found.scores), dtype=torch.bool)
        tally.false += int(stray.sum())
        if bool(stray.any()):
            mishaps.append(
                Mishap(30 * float(found.scores[stray].max()), f"{name} {row} false", picture, None, found.boxes)
            )
        for face in torch.nonzero(known.scores > REFERENCE_SURE).flatten().tolist():
            box = known.boxes[face]
            size = "large" if float((box[2:] - box[:2]).max()) >= 64 else "small"
            tally.faces[size] += 1
            if not len(found.scores) or float(match[:, face].max()) < 0.4:
                mishaps.append(Mishap(25.0, f"{name} {row} missed", picture, box[None], found.boxes))
                continue
            tally.found[size] += 1
            mine = int(match[:, face].argmax())
            one = slice(mine, mine + 1)
            points = points_in(finder, picture, crop_from_detection(found.boxes[one], found.five[one]))[0]
            first = yardstick.landmarks(picture, crop_from_detection(box[None], known.five[face][None])).points
            truth = yardstick.landmarks(picture, crop_from_points(first, "mesh")).points[0]
            pose = mesh.pose_of(truth)
            truth = mesh.to_ibug68(truth)
            miss = missed(points, truth, float(pose.scale), float(pose.yaw))
            tally.errors.append(miss)
            mishaps.append(Mishap(miss.off, f"{name} {row} {miss.off:.1f} %", picture, truth, points))
    return tally


def mark_against_truth(name: str, finder: FaceFinder, folder: Path, every: int, mishaps: list[Mishap]) -> Tally:
    """Detection and points on a clip of the scanned head."""
    tally = Tally()
    truth = np.load(folder / f"{name}_gt.npz")
    # The head turns in place: its width between the eyes is that of the frame that shows it most from the front.
    front = int(np.abs(truth["yaw_pitch_roll"][:, :2]).sum(1).argmin())
    span = float(np.linalg.norm(truth["points_px"][front][36, :2] - truth["points_px"][front][45, :2]))
    for row, picture in enumerate(frames_of(folder / f"{name}.mp4", every)):
        frame = row * every
        # The truth counts from the middle of the first pixel, we from its corner.
        known = torch.from_numpy(truth["points_px"][frame][:, :2]).float() + 0.5
        found = finder.detect(picture, 60)
        tally.faces["large"] += 1
        middle = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2 - (known.amin(0) + known.amax(0)) / 2
        near = (middle.norm(dim=1) < 0.7 * span) & (found.scores > SURE)
        stray = (found.scores > SURE) & ~near
        tally.false += int(stray.sum())
        if bool(stray.any()):
            mishaps.append(Mishap(26.0, f"{name} {frame} false", picture, None, found.boxes[stray]))
        if not bool(near.any()):
            mishaps.append(Mishap(25.0, f"{name} {frame} missed", picture, known, found.boxes))
            continue
        tally.found["large"] += 1
        best = int(torch.where(near, found.scores, -1).argmax())
        one = slice(best, best + 1)
        points = points_in(finder, picture, crop_from_detection(found.boxes[one], found.five[one]))[0]
        miss = missed(points, known, span, float(truth["yaw_pitch_roll"][frame][0]))
        tally.errors.append(miss)
        mishaps.append(Mishap(miss.off, f"{name} {frame} {miss.off:.1f} %", picture, known, points))
    return tally


def mean(values: list[float]) -> str:
    return f"{np.mean(values):.1f}" if values else "-"


def share(part: int, whole: int) -> str:
    return f"{part / whole:.3f} ({whole})" if whole else "-"


def row_of(title: str, tallies: list[Tally]) -> str:
    """One line of the table."""
    faces = {size: sum(tally.faces[size] for tally in tallies) for size in ("large", "small")}
    found = {size: sum(tally.found[size] for tally in tallies) for size in ("large", "small")}
    hits, false = sum(found.values()), sum(tally.false for tally in tallies)
    errors = [miss for tally in tallies for miss in tally.errors]
    cells = [
        title,
        share(found["large"], faces["large"]),
        share(found["small"], faces["small"]),
        f"{hits / (hits + false):.3f}" if hits + false else "-",
        mean([miss.off for miss in errors if miss.yaw <= 40]),
        mean([miss.off for miss in errors if miss.yaw > 40]),
        mean([miss.near for miss in errors if miss.yaw > 40]),
    ]
    return "| " + " | ".join(cells) + " |"


def bins_of(title: str, tallies: list[Tally]) -> str:
    errors = [miss for tally in tallies for miss in tally.errors]
    cells = [mean([miss.off for miss in errors if low <= miss.yaw < high]) for low, high in BINS]
    return "| " + " | ".join([title, *cells]) + " |"


def sheet(mishaps: list[Mishap], path: Path, count: int = 24) -> None:
    """The worst frames, at most three of a clip: what was wanted in green, what was found in red."""
    shown: list[Mishap] = []
    for mishap in sorted(mishaps, key=lambda one: -one.badness):
        clip = mishap.title.split()[0]
        if sum(one.title.split()[0] == clip for one in shown) < 3 and len(shown) < count:
            shown.append(mishap)
    tiles = []
    for mishap in shown:
        picture = mishap.picture.copy()
        for marks, color in ((mishap.wanted, (0, 255, 0)), (mishap.drawn, (255, 40, 40))):
            for mark in [] if marks is None else marks.tolist():
                if len(mark) == 4:
                    cv2.rectangle(picture, [int(v) for v in mark[:2]], [int(v) for v in mark[2:]], color, 1)
                else:
                    cv2.circle(picture, [int(v) for v in mark[:2]], 1, color, -1, cv2.LINE_AA)
        height, width = picture.shape[:2]
        aim = mishap.wanted if mishap.wanted is not None and len(mishap.wanted) else mishap.drawn
        flat = aim.reshape(-1, 2) if aim.shape[-1] == 4 else aim[:, :2]
        low, high = flat.amin(0), flat.amax(0)
        reach = max(40.0, 0.9 * float((high - low).max()))
        x, y = ((low + high) / 2).tolist()
        x0, y0 = int(np.clip(x - reach, 0, width - 1)), int(np.clip(y - reach, 0, height - 1))
        part = picture[y0 : max(y0 + 2, int(y + reach)), x0 : max(x0 + 2, int(x + reach))]
        tile = cv2.resize(part, (320, 320), interpolation=cv2.INTER_LINEAR)
        cv2.putText(tile, mishap.title, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 0), 1, cv2.LINE_AA)
        tiles.append(tile)
    if tiles:
        tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % 6)
        rows = [np.hstack(tiles[first : first + 6]) for first in range(0, len(tiles), 6)]
        cv2.imwrite(str(path), np.vstack(rows)[..., ::-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("MIEN_SHARED", Path(__file__).parents[2].parent / "shared")
    parser.add_argument("--shared", type=Path, default=Path(default), help="folder of media and public networks")
    parser.add_argument("--weights", type=Path, help="folder of other built-in weights")
    parser.add_argument("--every", type=int, default=4, help="look at every n-th frame")
    parser.add_argument("--only", default="", help="parts of clip names, separated by commas")
    parser.add_argument("--worst", type=Path, help="where to write a picture of the worst frames")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    media = options.shared / "media"
    finders = {
        "builtin": backends.open("builtin", options.weights),
        "YuNet + FaceMesh": backends.open("onnx", options.shared / "weights"),
    }
    mishaps: list[Mishap] = []

    def wanted(name: str) -> bool:
        return not options.only or any(part in name for part in options.only.split(","))

    groups = {
        "signers": [media / "intel" / "asl_gestures" / f"{name}.mkv" for name in HELD_OUT_CLIPS],
        "head turns": sorted((media / "intel" / "preview").glob("*.gif")),
        "GRID": sorted((media / "grid").rglob("*.mpg")),
    }
    print(f"| people never trained on {COLUMNS}")
    real: list[Tally] = []
    for group, paths in groups.items():
        tallies = []
        for path in paths:
            if wanted(path.name):
                pictures = frames_of(path, options.every)
                tally = mark_against_yardstick(
                    path.stem, finders["builtin"], finders["YuNet + FaceMesh"], pictures, mishaps
                )
                print(row_of(f"{group}: {path.stem}", [tally]), flush=True)
                tallies.append(tally)
        if tallies:
            print(row_of(f"**{group}**", tallies))
        real += tallies
    if real:
        print(row_of("**all**", real))

    head = media / "synthetic_head"
    clips = [name for name in ("turn", "pair_A", "pair_B", "pair_B_light2", "occlusion", "fastturn") if wanted(name)]
    marked = {
        title: {
            name: mark_against_truth(name, finder, head, options.every, mishaps if title == "builtin" else [])
            for name in clips
        }
        for title, finder in finders.items()
    }
    print(f"\n| scanned head, exact truth {COLUMNS}")
    for title, tallies in marked.items():
        for name, tally in tallies.items():
            print(row_of(f"{title}: {name}", [tally]))
    print("\n| turn, error % by yaw | " + " | ".join(f"{low}-{high}°" for low, high in BINS) + " |")
    print("|---|" + "---|" * len(BINS))
    for title, tallies in marked.items():
        if "turn" in tallies:
            print(bins_of(title, [tallies["turn"]]))

    empty = [media / "scikit-image" / name for name in ("coffee.png", "chelsea.png")]
    pictures = [cv2.imread(str(path), cv2.IMREAD_COLOR_RGB) for path in empty if wanted(path.name)]
    for path in sorted((media / "torchcodec").rglob("nasa_13013.mp4")):
        pictures += frames_of(path, 4 * options.every) if wanted(path.name) else []
    print("\n| no face in the picture | false finds | highest score |\n|---|---|---|")
    for title, finder in finders.items():
        scores = torch.cat([finder.detect(picture, 20).scores for picture in pictures] or [torch.zeros(0)])
        highest = f"{float(scores.max()):.2f}" if len(scores) else "-"
        print(f"| {title} | {int((scores > SURE).sum())} in {len(pictures)} | {highest} |")

    plate = cv2.resize(frames_of(head / "pair_A.mp4", 1000)[0], (1080, 1080), interpolation=cv2.INTER_CUBIC)
    plate = cv2.copyMakeBorder(plate, 0, 0, 420, 420, cv2.BORDER_REPLICATE)
    print("\n| one thread, 1080p, one face | detection ms | landmarks ms |\n|---|---|---|")
    for title, finder in finders.items():
        found = finder.detect(plate, 100)
        crops = crop_from_detection(found.boxes, found.five)[:1]
        looks = [timed(lambda shown=finder: shown.detect(plate, 100))[1] for _ in range(9)]
        marks = [timed(lambda shown=finder, cut=crops: shown.landmarks(plate, cut))[1] for _ in range(9)]
        print(f"| {title} | {np.median(looks):.1f} | {np.median(marks):.1f} |")
    if options.worst:
        sheet(mishaps, options.worst)


if __name__ == "__main__":
    main()
