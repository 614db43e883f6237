"""What a face set holds and what it lacks beside another: one HTML page with pictures, and plain advice."""

import base64
import html
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mien.color import Colors
from mien.facesets.people import people
from mien.facesets.selection import features
from mien.files.faceset import FaceSet, SetFace, read_face
from mien.files.whole import write_whole
from mien.types import MienError

Picture = NDArray[np.uint8]

THUMBNAIL = 96
MOST_SHOWN = 48
MOST_EACH = 8
"""Pictures of each person, where there seem to be several."""
SAMPLED = 120
"""Pictures that are looked at for what does not stand in the index."""
LOOKED_AT = 1000
"""Faces that are compared with each other: many more would take minutes and tell the same."""
FEW, DISTINCT = 100, 60
"""Fewer faces, or fewer that differ, rarely train well."""
STILL = 0.012
"""Spread over time, in display-like values, below which a background counts as constant."""
PLAIN = 1.0
"""Distance of ``features`` beyond which a face is not covered by another."""

HISTOGRAMS: tuple[tuple[str, Callable[[SetFace], float], float, float], ...] = (
    ("yaw, degrees", lambda face: face.yaw, -90, 90),
    ("pitch, degrees", lambda face: face.pitch, -60, 60),
    ("mouth open", lambda face: face.mouth, 0, 1),
    ("eyes open", lambda face: face.eyes, 0, 0.6),
    ("brightness", lambda face: face.light, 0, 1),
    ("light from the left", lambda face: face.key, -0.6, 0.6),
    ("skin, red over green", lambda face: face.tone[0] / max(face.tone[1], 1e-3), 0.8, 2.2),
    ("skin, blue over green", lambda face: face.tone[2] / max(face.tone[1], 1e-3), 0.3, 1.3),
    ("sharpness", lambda face: face.sharpness, 0, 0.25),
    ("width in source, pixels", lambda face: face.width, 0, 800),
)
STYLE = """body{font:14px/1.45 sans-serif;background:#1b1b1b;color:#ddd;margin:24px;max-width:1180px}
h1{font-size:20px}h2{font-size:16px;margin-top:28px}img{border-radius:2px}svg{background:#242424;margin:4px}
.a{color:#8fc1ff}.b{color:#ffb36b}li{margin:4px 0}"""


def write_report(path: Path, own: FaceSet, other: FaceSet | None, colors: Colors) -> tuple[Path, list[str]]:
    """Write the page; returns its path and the advice that stands in it.

    Raises:
        MienError: It cannot be written.
    """
    advice = advise(own, other, colors)
    parts = [f"<!doctype html><meta charset=utf-8><title>{html.escape(own.folder.name)}</title><style>{STYLE}</style>"]
    parts.append(f"<h1>Face set <span class=a>{html.escape(own.folder.name)}</span>: {len(own.faces)} faces")
    if other is not None:
        parts.append(f" beside <span class=b>{html.escape(other.folder.name)}</span>: {len(other.faces)}")
    parts.append("</h1><p>From " + html.escape(", ".join(own.sources[:12])) + "</p><h2>Advice</h2><ul>")
    parts += [f"<li>{html.escape(line)}</li>" for line in advice] or ["<li>Nothing to complain of.</li>"]
    parts.append("</ul>")
    groups = people(own)
    for place, group in enumerate(groups if len(groups) > 1 else (), start=1):
        parts.append(f"<h2>Person {place}</h2>")
        parts.append(_strip(own, _evenly(group, MOST_EACH), colors))
    parts.append("<h2>What it holds</h2>")
    for name, value, low, high in HISTOGRAMS:
        rows = [[value(face) for face in one.faces] for one in (own, other) if one is not None]
        parts.append(_histogram(name, rows, low, high))
    if other is not None:
        parts += _uncovered(own, other, colors)
    parts.append(f"<h2>Faces of {html.escape(own.folder.name)}</h2>")
    parts.append(_strip(own, _evenly(range(len(own.faces)), MOST_SHOWN), colors))
    write_whole(path, "\n".join(parts).encode())
    return path, advice


def advise(own: FaceSet, other: FaceSet | None, colors: Colors) -> list[str]:
    """What an artist should mend before training for hours, one sentence each."""
    lines = []
    count = len(own.faces)
    if count < FEW:
        lines.append(f"Only {count} faces: 300 and more train better. Add footage, or lower --every.")
    groups = people(own)
    if len(groups) > 1:
        shares = ", ".join(f"{len(rows) / sum(map(len, groups)):.0%}" for rows in groups)
        lines.append(
            f"It seems to show {len(groups)} people ({shares} of the faces): a network learns a mixture of them. "
            "Look at the groups below, and keep one person with --like PHOTO."
        )
    distinct, looked_at = _distinct(own)
    if count >= FEW and distinct < max(DISTINCT, looked_at // 10):
        lines.append(f"Of {count} faces only about {distinct} differ: the rest repeat them. Add other takes.")
    spread = background_spread(own, colors)
    if spread is not None and spread < STILL:
        lines.append(
            "The background is nearly the same in all pictures: the network may learn it with the face. "
            "Add footage from elsewhere, or rely on the matte."
        )
    small = sum(face.width < 0.6 * own.size / own.coverage for face in own.faces)
    if small > count // 2:
        lines.append(f"{small} faces are smaller in their source than in the crop: a smaller --size loses nothing.")
    blurred = sum(face.sharpness < 0.02 for face in own.faces)
    if blurred > count // 3:
        lines.append(f"{blurred} faces are soft: sort with --sort sharpness and keep the best with --sharpest 0.7.")
    if other is not None:
        missing = uncovered(own, other)
        if len(missing) > 0.02 * len(other.faces):
            yaws = sorted(other.faces[row].yaw for row in missing)
            lines.append(
                f"{len(missing)} of {len(other.faces)} faces of {other.folder.name} have no like in this set in pose "
                f"or expression (yaw {yaws[0]:.0f} to {yaws[-1]:.0f}): find footage of that, or expect guesses there."
            )
        here, there = (float(np.median([face.light for face in one.faces])) for one in (own, other))
        if abs(here - there) > 0.15:
            word = "darker" if here < there else "brighter"
            by = f"{abs(here - there):.2f}"
            lines.append(f"This set is {word} than {other.folder.name} by {by}: keep --recolor up in training.")
    return lines


def uncovered(own: FaceSet, other: FaceSet) -> list[int]:
    """Rows of ``other`` that no face of ``own`` resembles in pose and expression."""
    # Light and color are matched in training and after it: pose and what the face does are not.
    here, there = (torch.cat([features(one)[:, :2], _expression(one)], 1) for one in (own, other))
    nearest = torch.cat([torch.cdist(part, here).amin(1) for part in there.split(512)])
    return (nearest > PLAIN).nonzero().flatten().tolist()


def _expression(one: FaceSet) -> torch.Tensor:
    return torch.tensor([[face.mouth / 0.25, face.eyes / 0.2] for face in one.faces]).reshape(-1, 2)


def _distinct(own: FaceSet) -> tuple[int, int]:
    """How many faces differ plainly, of how many that were looked at: at most a thousand, evenly spread."""
    facts = features(own)[_evenly(range(len(own.faces)), LOOKED_AT)]
    kept = facts.new_zeros(facts.shape)
    found = 0
    for fact in facts:
        if not found or float((kept[:found] - fact).square().sum(1).min()) >= 0.15:
            kept[found] = fact
            found += 1
    return found, len(facts)


def background_spread(own: FaceSet, colors: Colors) -> float | None:
    """Typical spread over the set of pixels around the face, in display-like values; None for one picture."""
    rows = _evenly(range(len(own.faces)), SAMPLED)
    if len(rows) < 2:
        return None
    seen, weight = [], []
    for row in rows:
        crop, matte = shown(own, row, 32, colors)
        seen.append(crop.astype(np.float32) / 255)
        weight.append(1 - matte)
    pixels, outside = np.stack(seen), np.stack(weight)
    bare = (outside > 0.99).mean(0) > 0.9
    if not bare.any():
        return None
    return float(np.median(pixels[:, bare].std(0)))


def shown(own: FaceSet, row: int, side: int, colors: Colors) -> tuple[Picture, NDArray[np.float32]]:
    """A display-like (side, side, 3) picture of a face, and its matte."""
    values = read_face(own.picture(row), own.size)
    picture = torch.from_numpy(values[..., :3].copy()).movedim(-1, 0)
    light = colors.between(own.space, colors.working)(picture)
    display = (colors.encoding.encode(light).movedim(0, -1).numpy() * 255 + 0.5).astype(np.uint8)
    small = cv2.resize(display, (side, side), interpolation=cv2.INTER_AREA)
    matte = cv2.resize(np.ascontiguousarray(values[..., 3]), (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8), np.asarray(matte, np.float32)


def _uncovered(own: FaceSet, other: FaceSet, colors: Colors) -> list[str]:
    parts = []
    for one, two in ((own, other), (other, own)):
        missing = uncovered(one, two)
        name, of = html.escape(one.folder.name), html.escape(two.folder.name)
        parts.append(f"<h2>{len(missing)} of {len(two.faces)} faces of {of} that {name} does not cover</h2>")
        if missing:
            parts.append(_strip(two, _evenly(missing, 24), colors))
    return parts


def _strip(one: FaceSet, rows: Sequence[int], colors: Colors) -> str:
    """Small pictures of faces, inside the page."""
    images = []
    for row in rows:
        face = one.faces[row]
        try:
            picture, _ = shown(one, row, THUMBNAIL, colors)
        except MienError:
            continue
        jpeg = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()
        tip = f"frame {face.frame}, yaw {face.yaw:.0f}, pitch {face.pitch:.0f}, sharpness {face.sharpness:.3f}"
        code = base64.b64encode(jpeg).decode()
        images.append(f'<img width={THUMBNAIL} title="{html.escape(tip)}" src="data:image/jpeg;base64,{code}">')
    return "<p>" + " ".join(images) + "</p>"


def _histogram(name: str, rows: list[list[float]], low: float, high: float, bins: int = 28) -> str:
    width, height = 270, 90
    step = width / bins
    bars = []
    for values, color in zip(rows, ("#8fc1ff", "#ffb36b")):
        counts = np.histogram(np.clip(values, low, high), bins, (low, high))[0] / max(len(values), 1)
        for place, share in enumerate(counts):
            tall = min(share * 3, 1) * (height - 24)
            bars.append(
                f'<rect x="{place * step:.1f}" y="{height - 14 - tall:.1f}" width="{step - 1:.1f}" '
                f'height="{tall:.1f}" fill="{color}" opacity="0.6"/>'
            )
    text = 'fill="#bbb" font-size="11" font-family="sans-serif"'
    return (
        f'<svg width="{width}" height="{height}">{"".join(bars)}<text x="4" y="12" {text}>{html.escape(name)}</text>'
        f'<text x="2" y="{height - 2}" {text}>{low:g}</text>'
        f'<text x="{width - 2}" y="{height - 2}" text-anchor="end" {text}>{high:g}</text></svg>'
    )


def _evenly(rows: Sequence[int], most: int) -> list[int]:
    """At most so many of the rows, evenly spread."""
    if len(rows) <= most:
        return list(rows)
    return [rows[int(place)] for place in np.linspace(0, len(rows) - 1, most)]
