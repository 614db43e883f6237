"""Pictures that show what a track holds: mesh, names, trust and head pose drawn over the plate."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien import mesh
from mien.files.delivery import writing_movie
from mien.files.shot import Shot
from mien.progress import Advance, Tell
from mien.types import FaceTrack, Footage

Picture = NDArray[np.uint8]
Color = tuple[int, int, int]

COLORS: tuple[Color, ...] = (
    (86, 204, 242), (255, 176, 59), (111, 222, 140), (240, 128, 190), (190, 160, 255), (235, 225, 90),
)  # fmt: skip
"""Of people, in the order of the track; told apart by people who see fewer colors too."""
AXES: tuple[Color, Color, Color] = ((255, 92, 87), (98, 220, 110), (90, 150, 255))
LOST: Color = (255, 110, 100)
KEYED: Color = (255, 255, 255)
DARK: Color = (16, 16, 16)
SHIFT = 4
"""Binary digits behind the point with which OpenCV draws."""
USUAL_RATE = Fraction(24)
IBUG68_LINES = (
    (range(17), False), (range(17, 22), False), (range(22, 27), False), (range(27, 31), False),
    (range(31, 36), False), (range(36, 42), True), (range(42, 48), True), (range(48, 60), True), (range(60, 68), True),
)  # fmt: skip
MESH_LINES = (
    (mesh.OVAL, True), (mesh.RIGHT_EYE, True), (mesh.LEFT_EYE, True), (mesh.RIGHT_BROW, True),
    (mesh.LEFT_BROW, True), (mesh.LIPS_OUTER, True), (mesh.LIPS_INNER, True),
)  # fmt: skip


_SIDES = mesh.SKIN_TRIANGLES.numpy()[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
EDGES: NDArray[np.int64] = np.unique(np.sort(_SIDES, axis=1), axis=0)
"""(E, 2) edges of the mesh, openings left out, each once."""


@dataclass(frozen=True)
class MarkedFace:
    """One face to draw.

    Attributes:
        name: Whom it shows.
        points: (N, 3) landmarks in pixels of the picture; None where the face is lost.
        weight: (N,) trust in each point.
        confidence: Trust in the face, 0 to 1.
        scheme: ``mesh`` or ``ibug68``.
        color: R, G and B, 0 to 255.
        keyed: An artist placed it on this frame.
        ignored: Nothing is done to this person.
    """

    name: str
    points: Tensor | None
    weight: Tensor
    confidence: float
    scheme: str
    color: Color
    keyed: bool = False
    ignored: bool = False


def marked_faces(tracks: Sequence[FaceTrack], frame: int) -> tuple[MarkedFace, ...]:
    """The people of a track in one frame, lost ones included, in pixels of a picture with square pixels."""
    faces = []
    for index, track in enumerate(tracks):
        row = frame - track.first
        there = 0 <= row < len(track.points)
        confidence = float(track.confidence[row]) if there else 0.0
        points = track.points[row] if there else torch.full((1, 3), torch.nan)
        seen = confidence > 0 and bool(torch.isfinite(points).all())
        faces.append(
            MarkedFace(
                name=track.name,
                points=points * torch.tensor([track.aspect, 1.0, 1.0]) if seen else None,
                weight=track.weight[row] if there else torch.zeros(1),
                confidence=confidence,
                scheme=track.scheme,
                color=COLORS[index % len(COLORS)],
                keyed=there and bool(track.keyed[row]),
                ignored=track.ignored,
            )
        )
    return tuple(faces)


def draw(picture: Picture, faces: Iterable[MarkedFace], title: str = "") -> Picture:
    """A copy of an R'G'B' picture with the faces drawn over it, and a line below that says who is lost.

    The mesh is drawn faint and the features bright; points of little trust fade. From the root of the nose
    the axes of the head point right (red), down (green) and forward (blue).
    """
    canvas = np.ascontiguousarray(picture).copy()
    held = tuple(faces)
    size = _text_size(canvas)
    for face in held:
        if face.points is not None:
            _draw_wires(canvas, face)
    for face in held:
        if face.points is not None:
            _draw_pose(canvas, face)
            _draw_label(canvas, face, size)
    lost = [face.name for face in held if face.points is None and not face.ignored]
    lines = [(title, (235, 235, 235))] if title else []
    lines += [(f"lost: {', '.join(lost)}", LOST)] if lost else []
    margin = round(size * 0.6)
    for number, (text, color) in enumerate(lines):
        _write(
            canvas,
            text,
            (margin, canvas.shape[0] - margin - round((len(lines) - 1 - number) * size * 1.5)),
            size,
            color,
        )
    return canvas


def preview_frames(footage: Footage, tracks: Sequence[FaceTrack]) -> Iterator[tuple[int, Picture]]:
    """Frame by frame, what the track holds drawn over the shot; frames that cannot be read are gray."""
    shape: tuple[int, ...] = (360, 640, 3)
    for frame in range(footage.first, footage.last + 1):
        picture = footage.picture(frame)
        title = f"{frame}" if picture is not None else f"{frame}  no picture"
        if picture is None:
            picture = np.full(shape, 48, np.uint8)
        shape = picture.shape
        yield frame, draw(picture, marked_faces(tracks, frame), title)


def write_preview(path: Path, shot: Shot, footage: Footage, tracks: Sequence[FaceTrack], tell: Tell) -> None:
    """Write a silent movie (H.264) of the shot with its track drawn over it.

    Raises:
        MienError: The movie cannot be written.
    """
    total = footage.last - footage.first + 1
    size = (round(shot.size[0] * shot.aspect), shot.size[1])
    with writing_movie(
        path,
        "h264",
        size=size,
        fps=shot.fps or USUAL_RATE,
        timecode=shot.timecode,
        provenance={"source": shot.name, "shows": "track"},
    ) as append:
        for count, (frame, picture) in enumerate(preview_frames(footage, tracks), 1):
            append(picture.astype(np.float32) / np.float32(255))
            tell(Advance("movie", count, total, frame))


def _draw_wires(canvas: Picture, face: MarkedFace) -> None:
    assert face.points is not None
    flat = face.points[:, :2].double().numpy()
    extent = float((flat.max(0) - flat.min(0)).max())
    thick = max(1, round(extent / 260))
    trust = face.weight.clamp(0, 1).double().numpy() * (0.35 if face.ignored else 1.0)
    if face.scheme == "mesh":
        # What turns away from the camera would cover what faces it.
        trust = trust * np.where(_facing(face.points), 1.0, 0.15)
        edges = EDGES
        dense = min(max(extent / 240, 0.3), 1.0)
        _lines(canvas, flat[edges], (0.04 + 0.32 * trust[edges].min(1)) * dense, face.color, 1)
    closed = MESH_LINES if face.scheme == "mesh" else IBUG68_LINES
    order = [np.array([*indices, *([indices[0]] if ring else [])]) for indices, ring in closed]
    pairs = np.concatenate([np.stack((line[:-1], line[1:]), 1) for line in order])
    strength = 0.1 + 0.85 * trust[pairs].min(1)
    if extent > 150:
        _lines(canvas, flat[pairs], strength * 0.4, DARK, thick + 2)
    _lines(canvas, flat[pairs], strength, face.color, thick)
    if extent > 150 and (face.scheme != "mesh" or face.keyed):
        for dot in flat if face.scheme != "mesh" else flat[::6]:
            cv2.circle(canvas, _fixed(dot), round(20 * thick), KEYED, -1, cv2.LINE_AA, SHIFT)


def _lines(canvas: Picture, ends: NDArray[Any], strength: NDArray[Any], color: Color, thick: int) -> None:
    """Blend anti-aliased lines (K, 2, 2) over the canvas, in eight steps of strength."""
    bounds = ends.reshape(-1, 2)
    height, width = canvas.shape[:2]
    low = np.clip(np.floor(bounds.min(0)).astype(int) - 3, 0, (width, height))
    high = np.clip(np.ceil(bounds.max(0)).astype(int) + 3, 0, (width, height))
    if (high <= low).any():
        return
    part = canvas[low[1] : high[1], low[0] : high[0]]
    cover = np.zeros(part.shape[:2], np.uint8)
    fixed = np.rint((ends - low - 0.5) * (1 << SHIFT)).astype(np.int32)
    steps = np.rint(strength * 8).astype(int)
    for step in range(1, 9):
        chosen = fixed[steps == step]
        if len(chosen):
            cv2.polylines(cover, list(chosen), False, step * 32 - 1, thick, cv2.LINE_AA, SHIFT)
    alpha = cover[..., None].astype(np.float32) / 255
    part[:] = np.rint(part + (np.array(color, np.float32) - part) * alpha).astype(np.uint8)


def _facing(points: Tensor) -> NDArray[np.bool_]:
    """(468,) which points lie on a triangle that faces the camera."""
    corners = points[mesh.SKIN_TRIANGLES, :2].double()
    one, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    front = one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0] > 0
    facing = torch.zeros(len(points), dtype=torch.bool)
    facing[mesh.SKIN_TRIANGLES[front].flatten()] = True
    result: NDArray[np.bool_] = facing.numpy()
    return result


def _draw_pose(canvas: Picture, face: MarkedFace) -> None:
    assert face.points is not None
    if face.scheme != "mesh" or face.ignored:
        return
    pose = mesh.pose_of(face.points.double(), face.weight.double().clamp_min(1e-3))
    origin = pose.translation[:2]
    for axis, color in enumerate(AXES):
        # z grows away from the viewer: forward is its other end.
        reach = pose.rotation[:, axis] * pose.scale * (-0.75 if axis == 2 else 0.5)
        thick = max(1, round(float(pose.scale) / 110))
        cv2.arrowedLine(
            canvas,
            _fixed(origin.numpy()),
            _fixed((origin + reach[:2]).numpy()),
            color,
            thick,
            cv2.LINE_AA,
            SHIFT,
            0.18,
        )


def _draw_label(canvas: Picture, face: MarkedFace, size: float) -> None:
    assert face.points is not None
    flat = face.points[:, :2]
    left, top = flat.amin(0).tolist()
    right, _ = flat.amax(0).tolist()
    note = " ignored" if face.ignored else " keyed" if face.keyed else ""
    text = f"{face.name}{note}"
    across, _ = _measure(text, size)
    x = min(max((left + right - across) / 2, size * 0.3), canvas.shape[1] - across - size * 0.3)
    y = max(top - size * 1.1, size * 1.4)
    _write(canvas, text, (round(x), round(y)), size, KEYED if face.keyed else face.color)
    # A bar rather than a number: it reads at a glance and does not flicker.
    low, high = round(y + size * 0.35), round(y + size * 0.35) + max(2, round(size * 0.18))
    end = round(x + across * min(max(face.confidence, 0.0), 1.0))
    cv2.rectangle(canvas, (round(x), low), (round(x + across), high), (40, 40, 40), -1)
    cv2.rectangle(canvas, (round(x), low), (end, high), _trust_color(face.confidence), -1)


def _trust_color(confidence: float) -> Color:
    return _mixed(LOST, (111, 222, 140), min(max((confidence - 0.2) / 0.6, 0.0), 1.0))


def _mixed(one: Color, other: Color, share: float) -> Color:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other))
    return red, green, blue


def _fixed(position: NDArray[Any]) -> tuple[int, int]:
    """OpenCV counts from the first pixel's center, and draws with binary digits behind the point."""
    x, y = np.clip(np.rint((np.asarray(position) - 0.5) * (1 << SHIFT)), -(2**26), 2**26).astype(int)
    return int(x), int(y)


def _text_size(canvas: Picture) -> float:
    """Height of capitals in pixels: readable on a small picture, modest on a large one."""
    return float(max(11.0, canvas.shape[0] / 54))


def _measure(text: str, size: float) -> tuple[int, int]:
    (across, up), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size / 22, max(1, round(size / 14)))
    return int(across), int(up)


def _write(canvas: Picture, text: str, position: tuple[int, int], size: float, color: Color) -> None:
    """Text with a dark rim, so that it reads on any plate."""
    plain = text.encode("ascii", "replace").decode()
    thick = max(1, round(size / 14))
    ink = np.zeros(canvas.shape[:2], np.uint8)
    cv2.putText(ink, plain, position, cv2.FONT_HERSHEY_SIMPLEX, size / 22, 255, thick, cv2.LINE_AA)
    left, top, across, down = cv2.boundingRect(ink)
    if not across:
        return
    edge = 2 * thick
    rows = slice(max(0, top - edge), top + down + edge)
    columns = slice(max(0, left - edge), left + across + edge)
    rim = cv2.GaussianBlur(cv2.dilate(ink[rows, columns], np.ones((edge + 1, edge + 1), np.uint8)), (0, 0), edge / 3)
    part = canvas[rows, columns]
    for cover, shade in ((rim * np.float32(0.75), DARK), (ink[rows, columns], color)):
        alpha = cover[..., None].astype(np.float32) / 255
        part[:] = np.rint(part + (np.array(shade, np.float32) - part) * alpha).astype(np.uint8)
