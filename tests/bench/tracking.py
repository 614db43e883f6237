"""How steady and how right tracks are: frames looked at alone, followed, and smoothed, side by side.

    python tests/bench/tracking.py [--finder builtin onnx] [--frames 48] [--shots still move turn] [--media DIR]

Portraits move in 1080p under known camera motion with grain, the face 500 pixels wide: crawl is the standard
deviation of a point on the face, error its distance from where the motion carries its mean place, lag what part of
a frame it trails behind. The synthetic head has exact truth: error in percent of the distance of the outer eye
corners, by yaw. Speed is processor time on one thread, reading not counted.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tracking"))
from portraits import Shot, draw, grain, placing

from mien import mesh, tracking
from mien.models import backends
from mien.models.backends import FaceFinder
from mien.models.crops import crop_from_detection, crop_from_points
from mien.types import FaceTrack

SIZE = (1920, 1080)
BINS = ((0, 15), (15, 30), (30, 45), (45, 60), (60, 75), (75, 91))
MOTIONS = {
    "still": lambda t: (1.0, 0.0, 0.0, 0.0),
    "move": lambda t: (1 + 0.1 * np.sin(t / 20), 0.06 * np.sin(t / 15), 80 * np.sin(t / 18), 40 * np.cos(t / 11)),
    "whip": lambda t: (1.0, 0.0, 300 / (1 + np.exp(-(t - 20.0))) - 150, 0.0),
}


def portrait(name: str, motion: str, frames: int) -> tuple[Shot, np.ndarray]:
    """A shot of a portrait and its matrices (F, 3, 3) from portrait to plate."""
    generator = np.random.default_rng(0)
    matrices = []
    for t in range(frames):
        grown, angle, x, y = MOTIONS[motion](t)
        matrices.append(placing(name, 500 * grown, SIZE[0] / 2 + x, SIZE[1] / 2 + y, angle))
    return Shot([grain(draw(name, matrix, SIZE), 4.0, generator) for matrix in matrices]), np.stack(matrices)


def alone(shot: Any, finder: FaceFinder) -> np.ndarray:
    """Landmarks (F, N, 3) of the largest face of each frame by itself; NaN where there is none."""
    found = []
    for frame in range(shot.first, shot.last + 1):
        picture = shot.picture(frame)
        detections = finder.detect(picture, 24.0)
        if not len(detections.scores):
            found.append(np.full((468, 3), np.nan))
            continue
        widest = int((detections.boxes[:, 2] - detections.boxes[:, 0]).argmax())
        crop = crop_from_detection(detections.boxes[widest], detections.five[widest])
        points = finder.landmarks(picture, crop[None]).points[0]
        points = finder.landmarks(picture, crop_from_points(points, finder.scheme)[None]).points[0]
        found.append(points.numpy())
    return np.stack(found)


def clocked(work: Any) -> tuple[Any, float]:
    """What a call returns, and its processor time in seconds."""
    start = time.process_time()
    return work(), time.process_time() - start


def three_ways(shot: Any, finder: FaceFinder) -> Iterator[tuple[str, np.ndarray, float]]:
    """Points (F, N, 3) and processor time by way of tracking; frames without the face hold NaN."""
    frames = shot.last - shot.first + 1
    yield "alone", *clocked(lambda: alone(shot, finder))
    tracks, spent = clocked(lambda: tracking.track(shot, finder))
    if not tracks:
        return
    smoothed, more = clocked(lambda: tracking.smooth(tracks[0], rigid=0.5, expression=0.5))
    for title, track, cost in (("tracked", tracks[0], spent), ("smoothed", smoothed, spent + more)):
        yield title, spread(track, shot.first, frames), cost


def spread(track: FaceTrack, first: int, frames: int) -> np.ndarray:
    """A track's points for all frames of a shot."""
    points = np.full((frames, *track.points.shape[1:]), np.nan)
    points[track.first - first : track.last - first + 1] = track.points.numpy()
    return points


def mark_portraits(name: str, finder: FaceFinder, motion: str, frames: int) -> None:
    for person in ("collins", "hopper"):
        shot, matrices = portrait(person, motion, frames)
        scale = float(np.sqrt(np.linalg.det(matrices[:, :2, :2])).mean())
        inverse = np.linalg.inv(matrices)
        for way, points, spent in three_ways(shot, finder):
            there = np.isfinite(points).all((1, 2))
            back = np.einsum("fij,fnj->fni", inverse[:, :2, :2], points[..., :2]) + inverse[:, None, :2, 2]
            apart = (back - np.nanmean(back, 0)) * scale
            crawl = np.nanstd(apart, 0).mean(-1)
            error = np.sqrt(np.nanmean((apart**2).sum(-1)))
            path = matrices[:, :2, 2] + np.einsum("fij,j->fi", matrices[:, :2, :2], np.nanmean(back, (0, 1)))
            speed = np.gradient(path, axis=0)
            drift = apart[there].mean(1)
            lag = -(drift * speed[there]).sum() / max((speed[there] ** 2).sum(), 1e-9) if motion != "still" else 0.0
            print(
                f"{name:8} {motion:6} {person:8} {way:9} {int(there.sum()):3}/{frames} frames   "
                f"crawl {np.median(crawl):6.3f} px (95 %: {np.percentile(crawl, 95):6.3f})   error {error:6.3f} px   "
                f"lag {lag:6.3f}   {1000 * spent / frames:6.1f} ms/frame"
            )


def mark_head(name: str, finder: FaceFinder, clip: str, media: Path) -> None:
    with av.open(str(media / f"synthetic_head/{clip}.mp4")) as container:
        shot = Shot([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    truth = np.load(media / f"synthetic_head/{clip}_gt.npz")
    goal, yaw = truth["points_px"][..., :2], np.abs(truth["yaw_pitch_roll"][:, 0])
    front = int(yaw.argmin())
    eyes = float(np.linalg.norm(goal[front, 36] - goal[front, 45]))
    for way, points, spent in three_ways(shot, finder):
        sparse = mesh.to_ibug68(torch.from_numpy(points)).numpy()[..., :2]
        away = np.linalg.norm(sparse - goal - 0.5, axis=-1) / eyes * 100
        shake = np.abs(np.diff(sparse - goal, 2, axis=0))
        by_yaw = "  ".join(
            f"{low}-{high}°: {np.nanmean(away[(yaw >= low) & (yaw < high)]):4.1f}"
            for low, high in BINS
            if ((yaw >= low) & (yaw < high)).any()
        )
        print(
            f"{name:8} {clip:9} {way:9} {int(np.isfinite(away).all(1).sum()):3}/{len(goal)} frames   {by_yaw}   "
            f"shake {np.nanmean(shake):6.3f} px   {1000 * spent / len(goal):6.1f} ms/frame"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    media = Path(os.environ.get("MIEN_SHARED", Path(__file__).parents[3] / "shared"))
    parser.add_argument("--finder", nargs="+", default=["builtin", "onnx"], choices=["builtin", "onnx"])
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--shots", nargs="+", default=[*MOTIONS, "turn", "fastturn", "occlusion"])
    parser.add_argument("--media", type=Path, default=media)
    arguments = parser.parse_args()
    for name in arguments.finder:
        finder = backends.open(name, arguments.media / "weights" if name == "onnx" else None)
        for shot in arguments.shots:
            if shot in MOTIONS:
                mark_portraits(name, finder, shot, arguments.frames)
            else:
                mark_head(name, finder, shot, arguments.media / "media")


if __name__ == "__main__":
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    main()
