"""A judged shot as one HTML page that needs nothing else, and as JSON."""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mien.files.proofs import Proof
from mien.files.whole import write_pieces, write_whole
from mien.progress import ranges
from mien.qc.figures import KINDS, Judged, summary
from mien.qc.shot import origins, plain

PICTURES = 18_000_000
"""Bytes of a page that its pictures may take."""
SMALLEST = 48
"""Pixels below which pictures are not shrunk to fit."""
QUALITY = 72
FACTS = ("likeness", "release", "release_until")


def report(judged: Judged) -> dict[str, Any]:
    """All figures, flags and origins as plain data."""
    shot = judged.shot
    return {
        "mien_qc": 1,
        "shot": shot.name,
        "summary": summary(judged),
        "plate": shot.recipe.plate.path,
        "frames": [frame.frame for frame in shot.frames],
        "curves": [{**asdict(curve), "values": [plain(value) for value in curve.values]} for curve in judged.curves],
        "flags": [asdict(flag) for flag in judged.flags],
        "limits": asdict(judged.limits),
        "warnings": list(judged.warnings),
        "origin": origin(judged),
    }


def origin(judged: Judged) -> dict[str, str]:
    """Where a shot comes from, in words: what its frames say, and where they differ."""
    shot = judged.shot
    names = (*FACTS, "identity", "recipe", "engine", "plate", "plate_space", "synthetic")
    found: dict[str, str] = {}
    for name in names:
        groups = {value: frames for value, frames in origins(shot.frames, name).items() if value}
        if len(groups) == 1:
            found[name] = next(iter(groups))
        elif groups:
            found[name] = "; ".join(f"{value} ({ranges(frames)})" for value, frames in groups.items())
        elif shot.likeness.get(name):
            found[name] = shot.likeness[name]
    return found


def write_json(path: Path, judged: Judged) -> None:
    """Write the figures as JSON that a person can read.

    Raises:
        MienError: The file cannot be written.
    """
    said = report(judged)
    rows = ",\n ".join(f"{json.dumps(name)}: {json.dumps(value, allow_nan=False)}" for name, value in said.items())
    write_whole(path, f"{{{rows}}}\n".encode())


def write_page(path: Path, judged: Judged) -> None:
    """Write the page; its pictures are shrunk where the shot is long, so that it stays below 20 MB.

    Raises:
        MienError: The file cannot be written.
    """
    proofs = [frame.proof for frame in judged.shot.frames]
    count = sum(proof is not None for proof in proofs)
    most = PICTURES * 3 // 4 // max(1, count)
    template = files("mien.qc").joinpath("page.html").read_text("utf-8")
    head, data, rest = template.partition("{{report}}")
    between, pictures, tail = rest.partition("{{pictures}}")
    assert data and pictures
    title = _safe(f"{judged.shot.name} · mien qc")
    said = {**report(judged), "kinds": dict(KINDS)}
    write_pieces(
        path,
        _pieces(head.replace("{{title}}", title), json.dumps(said, allow_nan=False), between, proofs, most, tail),
    )


def _pieces(head: str, said: str, between: str, proofs: list[Proof | None], most: int, tail: str) -> Iterable[bytes]:
    # Inside a script only the end of the script has a meaning.
    yield (head + said.replace("<", "\\u003c") + between).encode()
    for row, proof in enumerate(proofs):
        coded = "" if proof is None else base64.b64encode(fitted(proof, most)).decode()
        yield f'{"," if row else ""}\n"{coded}"'.encode()
    yield tail.encode()


def fitted(proof: Proof, most: int) -> bytes:
    """The JPEG of a proof in at most about ``most`` bytes: as it is, or shrunk."""
    if len(proof.jpeg) <= most or proof.size[0] <= 1:
        return proof.jpeg
    picture = cv2.imdecode(np.frombuffer(proof.jpeg, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        return b""
    coded, share = proof.jpeg, 1.0
    while len(coded) > most and share * max(proof.size) > SMALLEST:
        share *= min(0.9, (most / len(coded)) ** 0.5)
        width, height = (max(1, round(side * share)) for side in proof.size)
        small = cv2.resize(picture, (3 * width, height), interpolation=cv2.INTER_AREA)
        coded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    return coded


def _safe(text: str) -> str:
    marks: Mapping[str, str] = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
    return "".join(marks.get(letter, letter) for letter in text)
