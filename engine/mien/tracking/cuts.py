"""Where one shot of an edit ends and the next begins."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Thumbnail = NDArray[np.float32]

WIDTH, HEIGHT = 48, 27
CUT = 0.35
"""Pictures less alike than this belong to different shots."""
DROP = 0.35
"""So do pictures less alike than their predecessors were, by this much."""


def thumbnail(picture: NDArray[np.uint8]) -> Thumbnail:
    """A small (27, 48, 3) picture by which frames are compared."""
    stride = max(1, min(picture.shape[0] // (4 * HEIGHT), picture.shape[1] // (4 * WIDTH)))
    coarse: NDArray[Any] = np.ascontiguousarray(picture[::stride, ::stride])
    small = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2LAB), np.float32)


def likeness(before: Thumbnail, after: Thumbnail) -> float:
    """How alike two frames are, up to 1: best correlation over small camera moves; blind to exposure and flashes."""
    border = 3
    inner = after[border:-border, border:-border]
    scores = [
        cv2.matchTemplate(channel, np.ascontiguousarray(within), cv2.TM_CCOEFF_NORMED)
        for channel, within in zip(before.transpose(2, 0, 1).copy(), inner.transpose(2, 0, 1))
    ]
    spread = inner.reshape(-1, 3).std(0) + before.reshape(-1, 3).std(0) + 1e-3
    weight = spread / spread.sum()
    total = sum(float(w) * np.nan_to_num(score) for w, score in zip(weight, scores))
    return float(np.max(total))


def is_cut(alike: float, recent: Sequence[float]) -> bool:
    """Whether a frame begins a new shot, from its likeness to the one before and the likenesses before that."""
    usual = float(np.median(recent)) if len(recent) else 1.0
    return alike < CUT and alike < usual - DROP * usual
