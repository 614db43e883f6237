"""Clips from which motion is learned: squares of films as bytes, one flat file each, mapped or kept in memory."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mien.files.atomic import appearing
from mien.train.augment import spread
from mien.train.kept import read_list, write_list
from mien.types import MienError

RESIDENT = 2 << 30
"""Bytes of clips that are kept in memory."""


@dataclass(frozen=True)
class Clip:
    """One film.

    Attributes:
        name: What people call it.
        frames: (N, S, S, 3) bytes, display-like RGB.
    """

    name: str
    frames: Tensor


@dataclass(frozen=True)
class Variety:
    """How pairs of frames are varied, both alike but for the last.

    Attributes:
        flip: How often they are mirrored.
        tone: How far brightness, contrast and each color vary.
        zoom, shift, turn: How far both are scaled, moved (in half widths) and turned (in radians).
        apart: Share of these by which the two frames differ, as if the camera moved.
    """

    flip: float = 0.5
    tone: float = 0.15
    zoom: float = 0.1
    shift: float = 0.08
    turn: float = 0.1
    apart: float = 0.3


def keep_clips(clips: Iterable[tuple[str, NDArray[np.uint8]]], folder: Path) -> None:
    """Write clips (N, S, S, 3) into ``folder``, the list of them last.

    Raises:
        MienError: Nothing to write, or no room.
    """
    entries = []
    for number, (name, frames) in enumerate(clips):
        with appearing(folder / f"{number:05d}.rgb") as partial:
            partial.write_bytes(np.ascontiguousarray(frames).tobytes())
        entries.append((name, frames.shape))
    if not entries:
        raise MienError("There is no clip to learn from: no face was followed for more than a moment.")
    write_list(folder / "clips.json", entries)


def kept_clips(folder: Path) -> list[Clip]:
    """The clips that ``keep_clips`` wrote.

    Raises:
        MienError: A file is not whole.
    """
    entries = read_list(folder / "clips.json", 4, ".rgb", 1)
    total = sum(math.prod(shape) for _, shape, _ in entries)
    clips = []
    for name, shape, path in entries:
        frames = torch.from_file(str(path), shared=False, size=math.prod(shape), dtype=torch.uint8).view(shape)
        clips.append(Clip(name, frames.clone() if total <= RESIDENT else frames))
    return clips


def as_pictures(frames: Tensor, device: torch.device) -> Tensor:
    """(B, 3, S, S), 0 to 1, of byte frames (B, S, S, 3)."""
    return frames.to(device).movedim(-1, 1).float() / 255


def pairs(
    clips: Sequence[Clip], count: int, how: Variety, random: torch.Generator, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Sources and driving frames (B, 3, S, S), two frames of one clip each; long clips are drawn more often."""
    chances = torch.tensor([float(len(clip.frames)) for clip in clips]).sqrt()
    chosen = torch.multinomial(chances, count, replacement=True, generator=random).tolist()
    both = []
    for row in chosen:
        frames = clips[row].frames
        both.append(frames[torch.randint(len(frames), (2,), generator=random)])
    pictures = as_pictures(torch.cat(both), device)
    return _varied(pictures, count, how, random)


def _varied(pictures: Tensor, count: int, how: Variety, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pairs (2 B, 3, S, S), one frame after the other, mirrored, moved and toned alike."""

    def drawn(reach: float) -> Tensor:
        shared = spread(count, reach, random)[:, None].expand(-1, 2)
        own = spread(2 * count, reach * how.apart, random).view(count, 2)
        return (shared + own).reshape(-1)

    zoom, angle = torch.exp(drawn(how.zoom)), drawn(how.turn)
    flip = torch.where(torch.rand(count, generator=random) < how.flip, -1.0, 1.0).repeat_interleave(2)
    cosine, sine = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    rows = [
        torch.stack([cosine * flip, -sine, drawn(how.shift)], 1),
        torch.stack([sine * flip, cosine, drawn(how.shift)], 1),
    ]
    place = functional.affine_grid(torch.stack(rows, 1).to(pictures.device), list(pictures.shape), align_corners=False)
    moved = functional.grid_sample(pictures, place, padding_mode="reflection", align_corners=False)
    gain = 1 + spread(3 * count, how.tone, random).view(count, 3) + spread(count, how.tone, random)[:, None]
    lift = spread(count, how.tone / 2, random)[:, None].expand(-1, 3)
    gain, lift = (one.repeat_interleave(2, 0)[..., None, None].to(moved) for one in (gain, lift))
    toned = (moved * gain + lift).clamp(0, 1)
    return toned[0::2].contiguous(), toned[1::2].contiguous()
