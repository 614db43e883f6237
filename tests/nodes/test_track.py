import inspect

import numpy as np
import pytest
import torch

from mien import mesh, tracking
from mien.declare import declare
from mien.nodes.track import smooth_track, track_faces
from mien.types import FaceTrack, MienError


class Blank:
    """Three frames of gray."""

    first, last, aspect = 1, 3, 1.0

    def picture(self, frame: int) -> np.ndarray:
        return np.full((120, 160, 3), 128, np.uint8)


def test_a_detector_without_its_networks_says_what_to_do() -> None:
    with pytest.raises(MienError, match="--weights"):
        track_faces(Blank(), detector="onnx")


def test_gray_frames_hold_nobody() -> None:
    assert track_faces(Blank()) == ()


def test_defaults_agree_with_the_functions_behind_the_nodes() -> None:
    behind = inspect.signature(tracking.track).parameters
    for param in declare(track_faces).params:
        if param.name in behind:
            assert param.default == behind[param.name].default


def test_smoothing_takes_jitter_out() -> None:
    generator = torch.Generator().manual_seed(0)
    points = mesh.CANONICAL * 200 + 400 + torch.randn(30, 468, 3, generator=generator) * 0.5
    track = FaceTrack("a", 1, points, torch.ones(30, 468), torch.ones(30), torch.zeros(30, dtype=torch.bool))
    steady = smooth_track(track)
    assert steady.points.std(0).mean() < 0.5 * points.std(0).mean()
    left = smooth_track(track, rigid=0, expression=0)
    assert torch.allclose(left.points, points, atol=1e-3)
