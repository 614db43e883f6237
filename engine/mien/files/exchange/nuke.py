"""Nuke scripts: reads trackers and corner pins, writes CornerPin2D and Transform.

A script is read as text: blocks, knobs and curves, nothing is evaluated. Nuke counts y upward from the bottom
of the format; here, as everywhere in mien, positions are plate pixels with y down.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from mien.files.exchange.points import COUNTS, FIVE, LEAST, point_index
from mien.files.exchange.rigid import affine_moves, similarity_moves
from mien.files.whole import read_small
from mien.types import FaceTrack, MienError, PlacedPoints

LARGEST = 256 << 20
TOKEN = re.compile(r"[{}\"]|\\.|[^{}\"\\\s]+|\s+", re.DOTALL)
HEADER = "set cut_paste_input [stack 0]\nversion 14.1 v5\npush $cut_paste_input\n"

Curve = Mapping[int, float]


@dataclass(frozen=True)
class PointCurves:
    """Positions over time that came from one node.

    Attributes:
        node: Name of the node.
        positions: For every point, in order, its (x, y) plate pixels by frame; a CornerPin2D has four.
        names: What the points are called.
    """

    node: str
    positions: tuple[Mapping[int, tuple[float, float]], ...]
    names: tuple[str, ...]

    def keyed(self, frame: int) -> bool:
        """Whether all points have a key on a frame."""
        return all(frame in one for one in self.positions)


def read_curves(path: Path, height: int) -> tuple[PointCurves, ...]:
    """The trackers and corner pins of a script, in order; ``height`` of the plate turns y over.

    Frames without a key are not guessed: where a curve holds few keys, few frames come in.

    Raises:
        MienError: The file is no script, or holds neither, or its curves are expressions.
    """
    text = read_small(path, LARGEST, "Nuke script").decode("utf-8", "replace")
    found = []
    for kind, body in _blocks(path, text):
        knobs = _knobs(path, body)
        node = knobs.get("name", kind)
        positions = _corners(path, node, knobs) if kind == "CornerPin2D" else _trackers(path, node, knobs)
        if positions:
            up = tuple({frame: (x, height - y) for frame, (x, y) in one.items()} for one in positions.values())
            found.append(PointCurves(node, up, tuple(positions)))
    if not found:
        raise MienError(
            f"{path} holds no Tracker or CornerPin2D with keys. Select the node in Nuke, copy it, "
            "and paste it into a text file."
        )
    return tuple(found)


def named_points(curves: PointCurves, person: str | None = None) -> dict[int, PlacedPoints]:
    """Points of a face by frame, where trackers are called after points of a face.

    Names are those of the five points (``left eye``) or numbers with the scheme before them (``ibug68 36``,
    ``mesh 152``). Frames on which fewer than five points have keys are left out.

    Raises:
        MienError: The names are not those of at least five points of one scheme.
    """
    for scheme in COUNTS:
        indices = [_named_index(scheme, name) for name in curves.names]
        known = [index for index in indices if index is not None]
        if len(known) >= LEAST and len(set(known)) == len(known):
            rows = [row for row, index in enumerate(indices) if index is not None]
            return dict(_frames_of(scheme, known, [curves.positions[row] for row in rows], person))
    raise MienError(
        f"The {len(curves.names)} tracks of {curves.node} are not called after points of a face. "
        f"Call five of them {', '.join(FIVE)}, or number them, as in 'mesh 152'; "
        "or place the face on one frame."
    )


def carried_points(curves: PointCurves, placed: PlacedPoints, frame: int) -> dict[int, PlacedPoints]:
    """Points placed on one frame, carried to all frames by the curves, which may mean anything.

    One point moves the face, two turn and scale it, three shear it, and a corner pin or more points keep its
    perspective.

    Raises:
        MienError: The curves have no key on the frame.
    """
    frames = sorted(set.intersection(*(set(positions) for positions in curves.positions)))
    if frame not in frames:
        some = f"{frames[0]} to {frames[-1]}" if frames else "no frame"
        raise MienError(f"{curves.node} has no key on frame {frame}; it has {some}. Place the face there.")
    corners = {
        each: torch.tensor([positions[each] for positions in curves.positions], dtype=torch.float64) for each in frames
    }
    carried = {}
    for each in frames:
        move = _plane_move(corners[frame], corners[each])
        flat = torch.cat((placed.positions.double(), torch.ones(len(placed.positions), 1).double()), 1) @ move.T
        carried[each] = replace(placed, positions=(flat[:, :2] / flat[:, 2:]).float())
    return carried


def script(nodes: Iterable[str]) -> str:
    """Text to paste into Nuke: every node takes what is selected there as its input."""
    return HEADER + "push $cut_paste_input\n".join(nodes)


def corner_pin(track: FaceTrack, reference: int, height: int) -> str:
    """A CornerPin2D that moves the box around the face of one frame along with the face.

    Lost frames have no keys. Tick ``invert`` in Nuke to hold the face still instead.

    Raises:
        MienError: The face is lost on the reference frame.
    """
    moves = affine_moves(track, reference)
    corners = _box(_face_at(track, reference))
    frames = [frame for frame, _ in moves]
    lines = []
    for number, corner in enumerate(corners.tolist(), 1):
        spots = [_moved(move, corner) for _, move in moves]
        lines.append(f" to{number} {{{_curve(frames, (x for x, _ in spots))} ")
        lines[-1] += f"{_curve(frames, (height - y for _, y in spots))}}}"
    lines += [
        f" from{number} {{{_value(x)} {_value(height - y)}}}" for number, (x, y) in enumerate(corners.tolist(), 1)
    ]
    return _node("CornerPin2D", lines, track.name, f"moves with {track.name}\\nfrom frame {reference}")


def transform(track: FaceTrack, reference: int, height: int) -> str:
    """A Transform that moves, turns and scales along with the face from one frame.

    Lost frames have no keys. Turning is measured in square pixels.

    Raises:
        MienError: The face is lost on the reference frame.
    """
    moves = similarity_moves(track, reference)
    frames = [frame for frame, _ in moves]
    center = _face_at(track, reference).mean(0).tolist()
    spots = [_moved(move, center) for _, move in moves]
    turns = _unwound(_turn(move, track.aspect) for _, move in moves)
    scales = [math.sqrt(abs(float(torch.linalg.det(move[:2, :2])))) for _, move in moves]
    lines = [
        f" translate {{{_curve(frames, (x - center[0] for x, _ in spots))} "
        f"{_curve(frames, (center[1] - y for _, y in spots))}}}",
        f" rotate {{{_curve(frames, turns)}}}",
        f" scale {{{_curve(frames, scales)}}}",
        f" center {{{_value(center[0])} {_value(height - center[1])}}}",
    ]
    return _node("Transform", lines, track.name, f"moves with {track.name}\\nfrom frame {reference}")


def _blocks(path: Path, text: str) -> Iterator[tuple[str, str]]:
    """Class and body of every node that carries point curves, also of those in groups."""
    former = ""
    for word in _words(path, text):
        if word.startswith("{") and re.fullmatch(r"Tracker[34]|CornerPin2D", former):
            yield former, word[1:-1]
        former = word


def _knobs(path: Path, body: str) -> dict[str, str]:
    words = list(_words(path, body))
    return dict(zip(words[::2], words[1::2]))


def _words(path: Path, text: str) -> Iterator[str]:
    """The words of a Tcl list; a word in braces keeps the outer pair, one in quotes loses them."""
    parts: list[str] = []
    depth, quoted = 0, False
    for match in TOKEN.finditer(text):
        token = match[0]
        if token == '"' and depth == 0 and (quoted or not parts):
            if quoted:
                yield "".join(parts)
                parts = []
            quoted = not quoted
        elif depth == 0 and not quoted and token.isspace():
            if parts:
                yield "".join(parts)
            parts = []
        else:
            parts.append(token)
            depth += 0 if quoted else (token == "{") - (token == "}")
        if depth < 0:
            raise MienError(f"{path} is no whole Nuke script: a brace closes that was never opened.")
    if depth or quoted:
        raise MienError(f"{path} is no whole Nuke script: a brace or quote is never closed. Copy it again.")
    if parts:
        yield "".join(parts)


def _corners(path: Path, node: str, knobs: Mapping[str, str]) -> dict[str, Mapping[int, tuple[float, float]]]:
    for side in ("to", "from"):
        curves = {}
        for number in range(1, 5):
            values = list(_words(path, _inside(knobs.get(f"{side}{number}", "")))) or ["0", "0"]
            if len(values) != 2:
                raise MienError(f"{path}: {side}{number} of {node} is no pair of curves. Copy the node again.")
            curves[f"{side}{number}"] = _keys(path, node, values[0]), _keys(path, node, values[1])
        frames = sorted(set().union(*(keys for pair in curves.values() for keys in pair if isinstance(keys, dict))))
        if frames:
            return {corner: _joined(x, y, frames) for corner, (x, y) in curves.items()}
    return {}


def _trackers(path: Path, node: str, knobs: Mapping[str, str]) -> dict[str, Mapping[int, tuple[float, float]]]:
    if "tracks" not in knobs:
        return _old_trackers(path, node, knobs)
    parts = list(_words(path, _inside(knobs["tracks"])))
    if len(parts) < 3:
        return {}
    columns = [list(_words(path, _inside(column))) for column in _words(path, _inside(parts[1]))]
    names = [column[3] if len(column) > 3 else "" for column in columns]
    if not {"name", "track_x", "track_y"} <= set(names):
        raise MienError(
            f"{path}: the tracks of {node} have no name, track_x and track_y. Export them as a CornerPin2D."
        )
    places = [names.index(name) for name in ("name", "track_x", "track_y")]
    positions: dict[str, Mapping[int, tuple[float, float]]] = {}
    for row in _words(path, _inside(parts[2])):
        cells = list(_words(path, _inside(row)))
        if len(cells) <= max(places):
            raise MienError(f"{path}: a track of {node} is cut short. Copy the whole node again.")
        name, x, y = (cells[place] for place in places)
        joined = _joined(_keys(path, node, x), _keys(path, node, y))
        if joined:
            positions[_unlike(name, positions)] = joined
    return positions


def _old_trackers(path: Path, node: str, knobs: Mapping[str, str]) -> dict[str, Mapping[int, tuple[float, float]]]:
    positions: dict[str, Mapping[int, tuple[float, float]]] = {}
    for number in range(1, 5):
        values = list(_words(path, _inside(knobs.get(f"track{number}", ""))))
        if len(values) == 2:
            joined = _joined(_keys(path, node, values[0]), _keys(path, node, values[1]))
            if joined:
                positions[f"track{number}"] = joined
    return positions


def _unlike(name: str, others: Iterable[str]) -> str:
    """The name, with a number behind it where others already have it."""
    taken, candidate, count = set(others), name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name} #{count}"
    return candidate


def _inside(word: str) -> str:
    return word[1:-1] if word.startswith("{") and word.endswith("}") else word


def _keys(path: Path, node: str, word: str) -> dict[int, float] | float:
    """Keys of a curve by frame, or the number where nothing moves; keys between frames are left out."""
    tokens = _inside(word).split()
    if tokens[:1] == ["curve"]:
        return dict(_curve_keys(path, node, tokens[1:]))
    try:
        return float(tokens[0]) if len(tokens) == 1 else {}
    except ValueError:
        raise MienError(
            f"{path}: {node} is driven by an expression ({_inside(word)[:40]}). Bake it in Nuke first."
        ) from None


def _curve_keys(path: Path, node: str, tokens: list[str]) -> Iterator[tuple[int, float]]:
    frame, step, given = 0.0, 1.0, False
    first = True
    for token in tokens:
        if re.fullmatch(r"[KLSRCkliI]", token) or token[0] in "stuv":
            continue
        try:
            number = float(token[1:] if token[0] == "x" else token)
        except ValueError:
            raise MienError(f"{path}: {node} has a curve with {token[:20]!r} in it. Bake it in Nuke.") from None
        if not math.isfinite(number) or (token[0] == "x" and abs(number) > 1e8):
            raise MienError(f"{path}: {node} has a curve with {token[:20]!r} in it. Mend the curve in Nuke.")
        if token[0] == "x":
            step = step if first else number - frame
            frame, given = number, True
            continue
        if not given and not first:
            frame += step
        first, given = False, False
        if frame == int(frame):
            yield int(frame), number


def _joined(
    x: dict[int, float] | float, y: dict[int, float] | float, frames: Iterable[int] | None = None
) -> dict[int, tuple[float, float]]:
    """Positions on the frames where both have keys; a number that never moves has a key on all of them."""
    if isinstance(x, float) and isinstance(y, float):
        return dict.fromkeys(frames or (), (x, y))
    keyed = [set(keys) for keys in (x, y) if isinstance(keys, dict)]
    return {
        frame: (x[frame] if isinstance(x, dict) else x, y[frame] if isinstance(y, dict) else y)
        for frame in sorted(set.intersection(*keyed))
    }


def _named_index(scheme: str, name: str) -> int | None:
    plain = " ".join(re.sub(r"[._]", " ", name).lower().split())
    if scheme == "five":
        return point_index("five", plain) if plain in FIVE else None
    head, _, number = plain.partition(" ")
    return point_index(scheme, number) if head == scheme else None


def _frames_of(
    scheme: str, indices: list[int], positions: list[Mapping[int, tuple[float, float]]], person: str | None
) -> Iterator[tuple[int, PlacedPoints]]:
    for frame in sorted(set().union(*positions)):
        there = [(index, one[frame]) for index, one in zip(indices, positions) if frame in one]
        if len(there) >= LEAST:
            spots = torch.tensor([spot for _, spot in there], dtype=torch.float32)
            yield frame, PlacedPoints(scheme, tuple(index for index, _ in there), spots, person)


def _plane_move(source: Tensor, target: Tensor) -> Tensor:
    """(3, 3) map from (K, 2) to (K, 2): as free as the number of points determines."""
    count = len(source)
    move = torch.eye(3, dtype=torch.float64)
    if count == 1:
        move[:2, 2] = (target - source)[0]
        return move
    center, size = source.mean(0), (source - source.mean(0)).norm(dim=1).mean().clamp_min(1e-6)
    normal = torch.cat(((source - center) / size, torch.ones(count, 1).double()), 1)
    if count == 2:
        turned = torch.stack((-normal[:, 1], normal[:, 0]), 1)
        one, none = torch.ones(2).double(), torch.zeros(2).double()
        rows_x = torch.stack((normal[:, 0], turned[:, 0], one, none), 1)
        rows_y = torch.stack((normal[:, 1], turned[:, 1], none, one), 1)
        a, b, x, y = torch.linalg.lstsq(torch.cat((rows_x, rows_y)), target.T.reshape(-1)).solution
        solved = torch.stack((torch.stack((a, -b, x)), torch.stack((b, a, y)), move[2]))
    elif count == 3:
        solved = torch.cat((torch.linalg.lstsq(normal, target).solution.T, move[2:]))
    else:
        none = torch.zeros(count, 3).double()
        middle, reach = target.mean(0), (target - target.mean(0)).norm(dim=1).mean().clamp_min(1e-6)
        x, y = ((target - middle) / reach).T
        rows_x = torch.cat((normal, none, -x[:, None] * normal), 1)
        rows_y = torch.cat((none, normal, -y[:, None] * normal), 1)
        plane = torch.linalg.svd(torch.cat((rows_x, rows_y))).Vh[-1].reshape(3, 3)
        back = torch.diag(torch.stack((reach, reach, torch.ones((), dtype=torch.float64))))
        back[:2, 2] = middle
        solved = back @ plane
    forth = torch.diag(torch.tensor([1 / size, 1 / size, 1.0], dtype=torch.float64))
    forth[:2, 2] = -center / size
    return solved @ forth


def _face_at(track: FaceTrack, frame: int) -> Tensor:
    return track.points[frame - track.first, :, :2].double()


def _box(points: Tensor) -> Tensor:
    """Corners in Nuke's order: bottom left, bottom right, top right, top left on screen."""
    (left, top), (right, bottom) = points.amin(0).tolist(), points.amax(0).tolist()
    return torch.tensor([[left, bottom], [right, bottom], [right, top], [left, top]], dtype=torch.float64)


def _moved(move: Tensor, position: Iterable[float]) -> tuple[float, float]:
    x, y, w = (move @ torch.tensor([*position, 1.0], dtype=torch.float64)).tolist()
    return x / w, y / w


def _turn(move: Tensor, aspect: float) -> float:
    """Degrees that a similarity turns counterclockwise on screen."""
    return -math.degrees(math.atan2(float(move[1, 0]) / aspect, float(move[0, 0])))


def _unwound(turns: Iterable[float]) -> list[float]:
    unwound: list[float] = []
    for turn in turns:
        near = unwound[-1] if unwound else 0.0
        unwound.append(turn - 360 * round((turn - near) / 360))
    return unwound


def _value(value: float) -> str:
    text = f"{value:.5f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _curve(frames: Iterable[int], values: Iterable[float]) -> str:
    return "{curve " + " ".join(f"x{frame} {_value(value)}" for frame, value in zip(frames, values)) + "}"


def _node(kind: str, lines: list[str], person: str, label: str) -> str:
    plain = re.sub(r"\W", "_", person, flags=re.ASCII) or "face"
    shown = re.sub(r"[\[\]{}\"$;]|\\(?!n)", "", label)
    return "\n".join([f"{kind} {{", *lines, f' label "{shown}"', f" name {kind}_{plain}", "}", ""])
