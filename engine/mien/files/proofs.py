"""Proofs on disk: small pictures of what a render did in one frame, with its figures, as a JPEG with a comment.

Plate, result and matte lie side by side, each a third of the width. The comment is JSON, ``{"mien_proof": 1, ...}``.
"""

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.files.whole import read_small, write_whole
from mien.types import MienError

VERSION = 1
LARGEST = 4 << 20
QUALITY = 82
MOST_COMMENT = 0xFFFF - 2
_COMMENT = 0xFE


@dataclass(frozen=True)
class Proof:
    """A proof as it was read.

    Attributes:
        figures: What was measured, by name; numbers, or lists of them.
        facts: Frame, key and the like: plain words.
        jpeg: The file itself.
        size: Width and height of one of the three pictures.
    """

    figures: Mapping[str, Any]
    facts: Mapping[str, str]
    jpeg: bytes
    size: tuple[int, int]


def write_proof(path: Path, picture: NDArray[np.uint8], figures: Mapping[str, Any], facts: Mapping[str, str]) -> None:
    """Write (h, 3 w, 3) R'G'B' with its figures and facts; the same values give the same bytes.

    Raises:
        MienError: The file cannot be written. ValueError: figures too many for a comment.
    """
    done, coded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    text = json.dumps({"mien_proof": VERSION, "figures": figures, **facts}, sort_keys=True).encode()
    if not done or len(text) > MOST_COMMENT:
        raise ValueError(f"a proof of {picture.shape} with {len(text)} bytes of figures")
    content = coded.tobytes()
    write_whole(path, content[:2] + struct.pack(">BBH", 0xFF, _COMMENT, len(text) + 2) + text + content[2:])


def read_proof(path: Path) -> Proof:
    """Read a proof; its pictures stay coded.

    Raises:
        MienError: Missing, damaged, or no proof.
    """
    content = read_small(path, LARGEST, "proof of a frame")
    try:
        text, size = _comment(content)
        said = json.loads(text)
        if said["mien_proof"] != VERSION:
            raise ValueError(f"version {str(said['mien_proof'])[:20]}")
        figures = {str(name): _number(value) for name, value in said["figures"].items()}
        facts = {str(name): str(value) for name, value in said.items() if name not in ("mien_proof", "figures")}
        if size[0] % 3:
            raise ValueError("its width is no multiple of three")
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, struct.error) as error:
        raise MienError(f"{path} is no proof of a render, or damaged: {str(error)[:120]}. Render it again.") from error
    return Proof(figures, facts, content, (size[0] // 3, size[1]))


def _number(value: Any) -> Any:
    if isinstance(value, list):
        return [_number(one) for one in value]
    if value is not None and not isinstance(value, bool):
        value = float(value)
        if not math.isfinite(value):
            raise ValueError("a figure that is no number")
    return value


def _comment(content: bytes) -> tuple[bytes, tuple[int, int]]:
    """The comment of a JPEG, and its width and height."""
    if content[:2] != b"\xff\xd8":
        raise ValueError("it is no JPEG")
    at, found = 2, b""
    while True:
        mark, kind, length = struct.unpack_from(">BBH", content, at)
        if mark != 0xFF or length < 2:
            raise ValueError("it is cut short")
        if kind == _COMMENT:
            found = content[at + 4 : at + 2 + length]
        if 0xC0 <= kind <= 0xC2:
            height, width = struct.unpack_from(">HH", content, at + 5)
            return found, (width, height)
        at += 2 + length
