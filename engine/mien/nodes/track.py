"""Tracking nodes."""

from pathlib import Path
from typing import Annotated, Literal

from mien import tracking
from mien.declare import Slider
from mien.models import backends
from mien.types import FaceTrack, Footage


def track_faces(
    footage: Footage,
    *,
    detector: Literal["builtin", "onnx", "face-alignment"] = "builtin",
    weights: Path = Path(),
    confidence: Annotated[float, Slider(0.1, 0.9, min=0.01, max=1)] = 0.5,
    smallest: Annotated[float, Slider(10, 200, unit="px", min=4)] = 24.0,
    every: Annotated[int, Slider(1, 24, unit="frames", min=1, max=100)] = 8,
) -> tuple[FaceTrack, ...]:
    """Find and follow every face of a shot, each person under one name.

    Args:
        footage: Shot to look at.
        detector: Networks that find faces; builtin comes with mien.
        weights: Folder of networks, for a detector that does not bring its own.
        confidence: Trust below which a face counts as lost; lower it when faces are missed.
        smallest: Width of the smallest face to look for.
        every: Frames between two looks for new faces; lower it when people come and go quickly.
    """
    finder = backends.open(detector, None if weights == Path() else weights)
    return tracking.track(footage, finder, confidence=confidence, smallest=smallest, every=every)


def smooth_track(
    track: FaceTrack,
    *,
    rigid: Annotated[float, Slider(0, 1, min=0, max=2)] = 0.5,
    expression: Annotated[float, Slider(0, 1, min=0, max=2)] = 0.5,
) -> FaceTrack:
    """Take jitter out of a track without lag; fast motion and hand-placed frames stay as they are.

    Args:
        track: Face to steady.
        rigid: How much to smooth the motion of the head; 0 leaves it alone.
        expression: How much to smooth the motion of the features; 0 leaves it alone.
    """
    return tracking.smooth(track, rigid=rigid, expression=expression)
