"""Tracks from and for other programs, against files made the way those programs make them."""

import contextlib
import io
import json
import math
import pickle
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.files.exchange import deepfacelab, faceswap, nuke, placed_in, points, read_foreign, table, write_foreign
from mien.files.exchange.people import people
from mien.files.exchange.pickled import PickleRefused, read_pickle
from mien.files.shot import open_shot, read_header, read_region
from mien.files.tracks import TrackedPlate
from mien.types import FaceTrack, MienError, PlacedPoints

HEIGHT = 1080


def face68(x: float = 400.0, y: float = 300.0, size: float = 100.0) -> np.ndarray[Any, Any]:
    generator = np.random.default_rng(7)
    return generator.uniform(-0.5, 0.5, (68, 2)) * size + (x, y)


def moving_track(frames: int = 20, aspect: float = 1.0, lost: tuple[int, ...] = ()) -> tuple[FaceTrack, torch.Tensor]:
    """A face under known similarity moves (in square pixels), and those moves about the origin."""
    generator = torch.Generator().manual_seed(3)
    shape = torch.rand(68, 2, generator=generator).double() * 200 + 300
    moves, rows = [], []
    for frame in range(frames):
        turn, scale = 0.3 * frame, 1 + 0.02 * frame
        cosine, sine = scale * math.cos(turn), scale * math.sin(turn)
        move = torch.tensor([[cosine, -sine, 5.0 * frame], [sine, cosine, -3.0 * frame], [0, 0, 1]]).double()
        square = shape * torch.tensor([aspect, 1.0])
        moved = square @ move[:2, :2].T + move[:2, 2]
        rows.append(torch.cat((moved / torch.tensor([aspect, 1.0]), torch.zeros(68, 1)), 1))
        moves.append(move)
    points_, confidence = torch.stack(rows).float(), torch.ones(frames)
    for frame in lost:
        points_[frame], confidence[frame] = torch.nan, 0
    track = FaceTrack(
        "anna",
        1001,
        points_,
        torch.ones(frames, 68),
        confidence,
        torch.zeros(frames, dtype=torch.bool),
        "ibug68",
        aspect,
    )
    return track, torch.stack(moves)


FIVE = {
    "left eye": [10, 20],
    "right_eye": [30.5, 20],
    "Nose": [20, 30, 0],
    "left mouth": [12, 40],
    "right mouth": [28, 40],
}


class TestPoints:
    def write(self, folder: Path, text: Any) -> Path:
        path = folder / "points.json"
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        return path

    def test_five_by_name(self, tmp_path: Path) -> None:
        placed = points.read_points(self.write(tmp_path, {"person": "anna", "points": FIVE}), HEIGHT)
        assert (placed.scheme, placed.indices, placed.person) == ("five", (0, 1, 2, 3, 4), "anna")
        assert placed.positions.tolist() == [[10, 20], [30.5, 20], [20, 30], [12, 40], [28, 40]]

    def test_positions_read_off_nukes_viewer(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, {"origin": "bottom left", "points": FIVE})
        assert points.read_points(path, HEIGHT).positions[1].tolist() == [30.5, 1060]

    def test_numbered_and_whole(self, tmp_path: Path) -> None:
        some = {str(index): [index, 2 * index] for index in (467, 3, 7, 11, 13)}
        placed = points.read_points(self.write(tmp_path, {"scheme": "mesh", "points": some}), HEIGHT)
        assert placed.indices == (467, 3, 7, 11, 13)
        assert placed.positions[0].tolist() == [467, 934]
        path = self.write(tmp_path, {"scheme": "ibug68", "points": face68().tolist()})
        assert points.read_points(path, HEIGHT).indices == tuple(range(68))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{", "JSON"),
            ([1, 2], "no points"),
            ({"points": {"left eye": [1, 2]}}, "at least 5"),
            ({"points": {**FIVE, "chin": [1, 2]}}, "'chin'"),
            ({"points": {**FIVE, "left_eye": [1, 2]}}, "twice"),
            ({"points": {**FIVE, "nose": [1, 2]}}, "twice"),
            ({"points": {**FIVE, "Nose": [1, "2"]}}, "Nose"),
            ({"points": {**FIVE, "Nose": [1, 1e12]}}, "far from"),
            ('{"points": {"left eye": [NaN, 1], "right eye": [1, 1], "nose": [1, 1]}}', "far from"),
            ({"points": [[1, 2]] * 4}, "five has 5"),
            ({"scheme": "wflw", "points": []}, "wflw"),
            ({"origin": "center", "points": []}, "center"),
            ({"point": []}, "'point'"),
            ({"person": 3, "points": []}, "quotes"),
        ],
    )
    def test_mistakes_are_told(self, tmp_path: Path, text: Any, message: str) -> None:
        with pytest.raises(MienError, match=message) as error:
            points.read_points(self.write(tmp_path, text), HEIGHT)
        assert "points.json" in str(error.value)

    def test_argument(self) -> None:
        assert points.key_argument("1001:C:/x/a.json") == (1001, Path("C:/x/a.json"))
        for wrong in ("a.json", "x:a.json", "1001:", ""):
            with pytest.raises(MienError, match=r"FRAME:points\.json"):
                points.key_argument(wrong)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('ran')",))


class Built:
    def __setstate__(self, state: Any) -> None:
        raise SystemExit("ran")

    def __getstate__(self) -> Any:
        return {"a": 1}


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner, inner),
    max_leaves=20,
)


class TestPickle:
    @settings(max_examples=150)
    @given(PLAIN, st.integers(0, 5))
    def test_agrees_with_python_on_plain_values(self, value: Any, protocol: int) -> None:
        assert read_pickle(pickle.dumps(value, protocol)) == value

    @pytest.mark.parametrize("protocol", range(6))
    @pytest.mark.parametrize("kind", ["f2", "f4", ">f4", "f8", "i4", ">i8", "u1", "u2", "b1"])
    def test_arrays(self, protocol: int, kind: str) -> None:
        array = np.arange(24).reshape(2, 3, 4).astype(kind)
        value = {"a": array, "f": np.asfortranarray(array), "s": array.flat[5], "again": array}
        read = read_pickle(pickle.dumps(value, protocol))
        assert all((read[key] == array).all() for key in ("a", "f", "again"))
        assert read["s"] == array.flat[5]
        assert read["a"].dtype == array.dtype.newbyteorder("=")

    def test_numpy_one_wrote_other_names(self) -> None:
        content = pickle.dumps(np.arange(3), 2)
        assert b"numpy._core" in content
        assert read_pickle(content.replace(b"numpy._core", b"numpy.core")).tolist() == [0, 1, 2]

    @pytest.mark.parametrize("protocol", range(6))
    @pytest.mark.parametrize(
        "value", [Evil(), {"landmarks": [Evil()]}, Built(), np.array([Evil()], object), print, 1j, {1, 2}, Path("x")]
    )
    def test_nothing_runs(self, value: Any, protocol: int) -> None:
        with pytest.raises(PickleRefused):
            read_pickle(pickle.dumps(value, protocol))

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"N",
            b".",
            b"garbage",
            b"cos\nsystem\n(S'true'\ntR.",
            b"(S'true'\nios\nsystem\n.",
            b"cnumpy.core.multiarray\n_reconstruct\n.",
            b"cnumpy\ndtype\n(V\x4f8\nI00\nI01\ntR.",
            b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
            b"Pperson\n.",
            b"]q\x00h\x00a.",
            b"(" * 1000 + b".",
            b"h\x05.",
            b"B\xff\xff\xff\x7fx.",
            b"\x8a\xffx.",
        ],
    )
    def test_damage_and_tricks(self, content: bytes) -> None:
        with pytest.raises(PickleRefused):
            read_pickle(content)

    def test_small_files_stay_small(self) -> None:
        layers: list[Any] = []
        for _ in range(40):
            layers = [layers, layers]
        read = read_pickle(pickle.dumps(layers))
        assert read[0] is read[1], "what is shared stays shared: 2 to the 40 lists otherwise"

    @settings(max_examples=200)
    @given(st.binary(max_size=200), st.integers(0, 400))
    def test_noise_never_escapes(self, noise: bytes, at: int) -> None:
        whole = pickle.dumps({"a": [1, 2.5, "x"], "b": np.arange(4.0)}, 4)
        for content in (noise, whole[:at] + noise + whole[at:]):
            with contextlib.suppress(PickleRefused):
                read_pickle(content)


def png(path: Path, text: str, compressed: bool) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    body = zlib.compress(text.encode()) if compressed else text.encode()
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
        + chunk(b"iTXt", b"faceswap\0" + bytes([compressed]) + b"\0\0\0" + body)
        + chunk(b"IDAT", zlib.compress(b"\0\0\0\0"))
        + chunk(b"IEND", b"")
    )


class TestFaceswap:
    def alignment(self, x: float) -> dict[str, Any]:
        return {"x": 1, "y": 2, "w": 3, "h": 4, "landmarks_xy": face68(x).tolist(), "mask": {}, "identity": {}}

    @pytest.mark.parametrize("compressed", [False, True])
    def test_extracted_faces(self, tmp_path: Path, compressed: bool) -> None:
        for frame in (1001, 1002, 1004):
            source = {"source_filename": f"sc010.{frame}.exr", "face_index": 0, "alignments_version": 2.4}
            text = repr({"alignments": self.alignment(400 + frame - 1001), "source": source})
            png(tmp_path / f"sc010.{frame}_0.png", text, compressed)
        (track,) = faceswap.read_faces(tmp_path)
        assert (track.scheme, track.first, track.last) == ("ibug68", 1001, 1004)
        assert track.confidence.tolist() == [1, 1, 0, 1]
        np.testing.assert_allclose(track.points[3, :, :2], face68(403) + 0.5, atol=1e-3)

    def test_a_face_cannot_run_code(self, tmp_path: Path) -> None:
        png(tmp_path / "a.png", "__import__('os').abort()", False)
        with pytest.raises(MienError, match=r"a\.png"):
            faceswap.read_faces(tmp_path)

    @pytest.mark.parametrize("wrapped", [False, True])
    def test_alignments(self, tmp_path: Path, wrapped: bool) -> None:
        frames = {
            f"shot_{frame:06d}.png": {
                "faces": [self.alignment(400 + frame), self.alignment(900 - frame)][:: 1 if frame % 2 else -1]
            }
            for frame in range(1, 9)
        }
        text = {"__meta__": {"version": 2.4}, "__data__": frames} if wrapped else frames
        (tmp_path / "a.json").write_text(json.dumps(text))
        (tmp_path / "a.fsa").write_bytes(zlib.compress(pickle.dumps(text)))
        for name in ("a.json", "a.fsa"):
            tracks = faceswap.read_alignments(tmp_path / name)
            assert [track.first for track in tracks] == [1, 1]
            centers = sorted(track.points[:, :, 0].mean(1).tolist() for track in tracks)
            assert all(np.abs(np.diff(line)).max() < 1.01 for line in centers), "nobody jumps to the other face"

    def test_an_fsa_cannot_run_code(self, tmp_path: Path) -> None:
        (tmp_path / "a.fsa").write_bytes(zlib.compress(pickle.dumps({"a": Evil()})))
        with pytest.raises(MienError, match="export them as JSON"):
            faceswap.read_alignments(tmp_path / "a.fsa")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ({}, "no faces"),
            ({"__data__": 3}, "understood"),
            ({"a1.png": {"faces": [{}]}}, "understood"),
            ({"a1.png": {"faces": [{"landmarks_xy": [[1, 2]] * 98}]}}, "98"),
            ({"face.png": {"faces": [{"landmarks_xy": [[1, 2]] * 68}]}}, "no number"),
        ],
    )
    def test_mistakes_are_told(self, tmp_path: Path, text: Any, message: str) -> None:
        (tmp_path / "a.json").write_text(json.dumps(text))
        with pytest.raises(MienError, match=message):
            faceswap.read_alignments(tmp_path / "a.json")


def aligned_jpg(path: Path, entries: bytes) -> None:
    app15 = struct.pack(">BBH", 0xFF, 0xEF, len(entries) + 2) + entries
    jfif = struct.pack(">BBH", 0xFF, 0xE0, 16) + b"JFIF\0\1\1\0\0\1\0\1\0\0"
    path.write_bytes(b"\xff\xd8" + jfif + app15 + b"\xff\xda\0\2rest\xff\xd9")


class TestDeepFaceLab:
    def entries(self, frame: int) -> dict[str, Any]:
        return {
            "face_type": "whole_face",
            "landmarks": face68().tolist(),
            "source_filename": f"{frame:05d}.png",
            "source_rect": np.array([1, 2, 3, 4]),
            "source_landmarks": face68(400 + frame),
            "image_to_face_mat": np.eye(3, dtype=np.float32)[:2],
            "xseg_mask": np.frombuffer(b"\x89PNG", np.uint8),
        }

    @pytest.mark.parametrize("protocol", [2, 3, 4])
    def test_aligned_faces(self, tmp_path: Path, protocol: int) -> None:
        for frame in (1, 2, 3):
            aligned_jpg(tmp_path / f"{frame:05d}_0.jpg", pickle.dumps(self.entries(frame), protocol))
        (track,) = deepfacelab.read_faces(tmp_path)
        assert (track.first, track.last, track.scheme) == (1, 3, "ibug68")
        np.testing.assert_allclose(track.points[2, :, :2], face68(403) + 0.5, atol=1e-3)

    def test_a_face_cannot_run_code(self, tmp_path: Path) -> None:
        aligned_jpg(tmp_path / "00001_0.jpg", pickle.dumps({**self.entries(1), "seg_ie_polys": Evil()}))
        with pytest.raises(MienError, match="may run code"):
            deepfacelab.read_faces(tmp_path)

    def test_mistakes_are_told(self, tmp_path: Path) -> None:
        with pytest.raises(MienError, match="no aligned faces"):
            deepfacelab.read_faces(tmp_path)
        aligned_jpg(tmp_path / "1_0.jpg", pickle.dumps({**self.entries(1), "source_landmarks": None}))
        with pytest.raises(MienError, match="no 68 landmarks"):
            deepfacelab.read_faces(tmp_path)
        content = (tmp_path / "1_0.jpg").read_bytes()
        for damaged in (b"", content[:60], b"GIF" + content):
            (tmp_path / "1_0.jpg").write_bytes(damaged)
            with pytest.raises(MienError):
                deepfacelab.read_faces(tmp_path)


def test_people_crossing_and_leaving() -> None:
    faces = {
        frame: [face68(100 + 8 * frame, 200, 90), face68(500 - 8 * frame, 260, 110)][:: (-1) ** frame]
        + ([face68(900, 500, 60)] if frame in (3, 4, 40) else [])
        for frame in range(50)
    }
    tracks = people(faces)
    assert [len(track.points) for track in tracks] == [50, 50, 2, 1]
    for track in tracks[:2]:
        assert (track.points[:, :, 0].mean(1).diff().abs() < 8.1).all()
    assert people({}) == ()
    with pytest.raises(MienError, match="one shot"):
        people({0: [face68()], 10**9: [face68()]})


class TestTable:
    def test_round_trip(self, tmp_path: Path) -> None:
        track, _ = moving_track(lost=(4, 5))
        path = tmp_path / "a.csv"
        path.write_text(table.table([track]))
        (read,) = table.read_table(path)
        torch.testing.assert_close(read.points, track.points, atol=1e-4, rtol=0, equal_nan=True)
        assert read.confidence.tolist() == track.confidence.tolist()
        assert (read.name, read.scheme, read.first) == ("anna", "ibug68", 1001)
        assert path.read_text() == table.table([read])

    def test_the_least_a_table_needs(self, tmp_path: Path) -> None:
        lines = [f"{frame},{index},{x + frame},{y}" for frame in (7, 9) for index, (x, y) in enumerate(face68())]
        (tmp_path / "a.csv").write_text("\ufeffFrame, Point, X, Y\n" + "\n".join(lines[:-60]))
        (track,) = table.read_table(tmp_path / "a.csv")
        assert (track.scheme, track.first, track.last) == ("ibug68", 7, 9)
        assert track.confidence.tolist() == [1, 0, 1]
        assert track.weight[2].tolist() == [1.0] * 8 + [0.0] * 60
        np.testing.assert_allclose(track.points[2, :, :2], face68(409), atol=1e-3)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "column 'frame'"),
            ("frame,point,x\n", "column 'y'"),
            ("frame,point,x,y\n", "no points"),
            ("frame,point,x,y\n1,0,a,2\n", "line 2: x"),
            ("frame,point,x,y\n1,0,1\n", "line 2: y"),
            ("frame,point,x,y\n1,468,1,1\n", "line 2: no point 468"),
            ("frame,point,x,y\n1.5,0,1,1\n", "frame 1.5"),
            ("frame,point,x,y\n1,0,nan,1\n", "line 2: x"),
            ("frame,point,x,y,scheme\n1,0,1,1,wflw\n", "wflw"),
            ("frame,point,x,y\n1,0,1,1\n", "no frame of face has all"),
            ("frame,point,x,y\n0,0,1,1\n99999999,0,1,1", "too long"),
        ],
    )
    def test_mistakes_are_told(self, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "a.csv").write_text(text)
        with pytest.raises(MienError, match=message):
            table.read_table(tmp_path / "a.csv")


COLUMNS = ("enable", "name", "track_x", "track_y", "offset_x", "offset_y", "T", "R", "S", "error")


def tracker_text(tracks: dict[str, list[tuple[int, float, float]]]) -> str:
    """A Tracker4 as Nuke saves it: consecutive keys without frame numbers."""
    columns = " \n".join(f"{{ 2 1 58 {name} {name} 1 }}" for name in COLUMNS)
    rows = []
    for name, keys in tracks.items():
        curves = []
        for axis in (1, 2):
            curve, former = [], None
            for key in keys:
                curve.append(f"{key[axis]}" if former == key[0] - 1 else f"x{key[0]} {key[axis]}")
                former = key[0]
            curves.append("{curve " + " ".join(curve) + "}")
        rows.append(
            f' {{ {{curve K x{keys[0][0]} 1}} "{name}" {curves[0]} {curves[1]} {{}} {{curve K x1 0}} 1 0 0 {{}} }} '
        )
    return (
        "set cut_paste_input [stack 0]\nversion 14.1 v5\npush $cut_paste_input\nTracker4 {\n"
        f"tracks {{ {{ 1 31 {len(tracks)} }} \n{{ {columns} \n}} \n{{ \n" + "\n".join(rows) + "\n} \n}\n"
        ' label "a \\"b\\" \\{c"\n name Tracker1\n selected true\n}\n'
    )


class TestNukeIn:
    NAMES = ("left_eye", "right eye", "nose", "left mouth", "right_mouth")

    def test_trackers_named_after_points(self, tmp_path: Path) -> None:
        frames = [1001, 1002, 1003, 1007]
        tracks = {
            name: [(frame, 100 + 10 * index + frame - 1001, 500 + index) for frame in frames if index or frame < 1007]
            for index, name in enumerate(self.NAMES)
        }
        (tmp_path / "a.nk").write_text("Group {\n name G\n}\n" + tracker_text(tracks) + "end_group\n")
        (curves,) = nuke.read_curves(tmp_path / "a.nk", HEIGHT)
        assert (curves.node, curves.names) == ("Tracker1", self.NAMES)
        placed = nuke.named_points(curves, "anna")
        assert sorted(placed) == [1001, 1002, 1003]
        assert placed[1003].indices == (0, 1, 2, 3, 4)
        assert placed[1003].positions[2].tolist() == [122, HEIGHT - 502]
        assert placed[1003].person == "anna"

    def test_trackers_numbered(self, tmp_path: Path) -> None:
        tracks = {name: [(1, 2.0, 3.0)] for name in ("mesh 1", "mesh.33", "mesh_263", "Mesh 61", "mesh 291", "other")}
        (tmp_path / "a.nk").write_text(tracker_text(tracks))
        placed = nuke.named_points(nuke.read_curves(tmp_path / "a.nk", HEIGHT)[0])
        assert (placed[1].scheme, placed[1].indices) == ("mesh", (1, 33, 263, 61, 291))
        del tracks["mesh 1"]
        (tmp_path / "a.nk").write_text(tracker_text(tracks))
        with pytest.raises(MienError, match="Tracker1 are not called after"):
            nuke.named_points(nuke.read_curves(tmp_path / "a.nk", HEIGHT)[0])

    @pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
    def test_points_are_carried_as_freely_as_the_curves_determine(self, tmp_path: Path, count: int) -> None:
        generator = np.random.default_rng(count)
        spots = generator.uniform(100, 900, (count, 2))
        c, s = 1.1 * math.cos(0.4), 1.1 * math.sin(0.4)
        move = {
            1: np.array([[1, 0, 30], [0, 1, -12], [0, 0, 1.0]]),
            2: np.array([[c, -s, 30], [s, c, -12], [0, 0, 1.0]]),
            3: np.array([[c, -0.2, 30], [s, 0.8, -12], [0, 0, 1.0]]),
        }.get(count, np.array([[c, -0.2, 30], [s, 0.8, -12], [2e-4, 1e-4, 1.0]]))

        def moved(positions: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            flat = np.c_[positions, np.ones(len(positions))] @ move.T
            return flat[:, :2] / flat[:, 2:]

        text = {
            f"track {index}": [(1, a[0], HEIGHT - a[1]), (2, b[0], HEIGHT - b[1])]
            for index, (a, b) in enumerate(zip(spots, moved(spots)))
        }
        (tmp_path / "a.nk").write_text(tracker_text(text))
        (curves,) = nuke.read_curves(tmp_path / "a.nk", HEIGHT)
        placed = PlacedPoints("ibug68", tuple(range(68)), torch.tensor(face68()).float(), "anna")
        carried = nuke.carried_points(curves, placed, 1)
        torch.testing.assert_close(carried[1].positions, placed.positions, atol=1e-3, rtol=0)
        np.testing.assert_allclose(carried[2].positions, moved(face68()), atol=2e-2)
        assert carried[2].person == "anna"
        with pytest.raises(MienError, match="no key on frame 3; it has 1 to 2"):
            nuke.carried_points(curves, placed, 3)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "no Tracker"),
            ("Tracker4 {\n name T\n", "never closed"),
            ("} Tracker4 {}", "never opened"),
            ("CornerPin2D {\n to1 {10 10}\n name P\n}", "no Tracker"),
            ("CornerPin2D {\n to1 {{curve x1 nan} 1}\n name P\n}", "P has a curve with 'nan'"),
            ("CornerPin2D {\n to1 {{curve x1e99 3} 1}\n name P\n}", "'x1e99'"),
            ("CornerPin2D {\n to1 {{parent.Tracker1.a} 1}\n name P\n}", "expression"),
            ("Tracker4 {\n tracks {{1 31 1} {{1 1 1 name}} {{a}}}\n name T\n}", "no name, track_x"),
        ],
    )
    def test_mistakes_are_told(self, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "a.nk").write_text(text)
        with pytest.raises(MienError, match=message):
            nuke.read_curves(tmp_path / "a.nk", HEIGHT)


class TestNukeOut:
    def test_corner_pin_reads_back_and_carries_the_face(self, tmp_path: Path) -> None:
        track, _ = moving_track(aspect=2.0, lost=(6,))
        (tmp_path / "a.nk").write_text(nuke.script([nuke.corner_pin(track, 1004, HEIGHT)]))
        (curves,) = nuke.read_curves(tmp_path / "a.nk", HEIGHT)
        placed = PlacedPoints("ibug68", tuple(range(68)), track.points[3, :, :2])
        carried = nuke.carried_points(curves, placed, 1004)
        assert sorted(carried) == [frame for frame in range(1001, 1021) if frame != 1007]
        for frame, one in carried.items():
            torch.testing.assert_close(one.positions, track.points[frame - 1001, :, :2], atol=5e-3, rtol=0)

    def test_transform_does_what_nuke_does_with_it(self) -> None:
        track, _ = moving_track(lost=(6,))
        text = nuke.transform(track, 1004, HEIGHT)
        knobs = {line.split()[0]: line for line in text.splitlines() if line.startswith(" ")}

        def curve(knob: str, which: int = 0) -> dict[int, float]:
            words = knobs[knob].split("{curve ")[which + 1].split("}")[0].split()
            return {int(frame[1:]): float(value) for frame, value in zip(words[::2], words[1::2])}

        center = np.array([float(word) for word in knobs["center"].split("{")[1].strip("}").split()])
        source = track.points[3, :, :2].numpy() * (1, -1) + (0, HEIGHT)
        turns = curve("rotate")
        assert np.abs(np.diff(list(turns.values()))).max() < 60, "no jump of a full turn"
        for frame, turn in turns.items():
            angle, scale = math.radians(turn), curve("scale")[frame]
            matrix = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
            shift = np.array([curve("translate")[frame], curve("translate", 1)[frame]])
            result = (source - center) @ matrix.T + center + shift
            expected = track.points[frame - 1001, :, :2].numpy() * (1, -1) + (0, HEIGHT)
            np.testing.assert_allclose(result, expected, atol=2e-2)

    def test_the_scripts_are_valid(self, tmp_path: Path, shared: Path) -> None:
        track, _ = moving_track(lost=(0, 6))
        strange = FaceTrack(**{**track.__dict__, "name": 'Zoë "the [exit] {one\\'})
        files = []
        for index, text in enumerate(
            write(each, 1004, HEIGHT) for each in (track, strange) for write in (nuke.corner_pin, nuke.transform)
        ):
            files.append(tmp_path / f"{index}.nk")
            files[-1].write_text(nuke.script([text, text.replace(" name ", " name Other")]))
        check = shared / "checks" / "nk_check.py"
        run = subprocess.run(
            ["/usr/bin/env", "python3", check, "--explicit-x", *files], capture_output=True, text=True, check=False
        )
        if run.returncode == 2:
            pytest.skip("the checker of Nuke scripts needs tkinter")
        assert (run.returncode, run.stdout) == (0, "")

    def test_a_lost_reference_is_told(self) -> None:
        track, _ = moving_track(lost=(0, 3))
        for write in (nuke.corner_pin, nuke.transform):
            with pytest.raises(MienError, match=r"lost on frame 1004\. It is seen from frame 1002 to 1020"):
                write(track, 1004, HEIGHT)


def test_reading_tracks_needs_no_unpickler() -> None:
    """No module of the exchange may reach Python's own pickle reader."""
    folder = Path(nuke.__file__).parent
    for module in folder.glob("*.py"):
        words = io.StringIO(module.read_text())
        assert not any(line.startswith(("import pickle\n", "from pickle ", "import marshal")) for line in words)
    assert sys.modules[nuke.__name__] is nuke


PLATE = TrackedPlate("plates/sc010.####.exr", 640, 360, 1001, 1020, 1.0)


class TestForeign:
    def five(self, folder: Path, name: str = "a.json", **more: Any) -> Path:
        path = folder / name
        path.write_text(json.dumps({"points": FIVE, **more}))
        return path

    def test_keys(self, tmp_path: Path) -> None:
        path = self.five(tmp_path)
        named = self.five(tmp_path, "b.json", person="bob")
        placed = placed_in([f"1001:{path}", f"anna@1002:{path}", f"1003:{named}", f"1009:{path}"], None, HEIGHT)
        assert {person: sorted(frames) for person, frames in placed.items()} == {
            "": [1001, 1009],
            "anna": [1002],
            "bob": [1003],
        }
        assert placed_in([], None, HEIGHT) == {}

    def test_a_corner_pin_carries_the_face_that_a_key_places(self, tmp_path: Path) -> None:
        track, _ = moving_track()
        script = tmp_path / "pin.nk"
        script.write_text(nuke.script([nuke.corner_pin(track, 1004, HEIGHT)]))
        with pytest.raises(MienError, match="--key FRAME"):
            placed_in([], script, HEIGHT)
        truth = {frame: track.points[frame - 1001, :, :2] for frame in range(1001, 1021)}
        (tmp_path / "a.json").write_text(json.dumps({"scheme": "ibug68", "points": truth[1006].tolist()}))
        placed = placed_in([f"anna@1006:{tmp_path / 'a.json'}"], script, HEIGHT)["anna"]
        assert sorted(placed) == sorted(truth)
        for frame, points_there in placed.items():
            torch.testing.assert_close(points_there.positions, truth[frame], atol=1e-2, rtol=0)

    def test_named_trackers_need_no_key(self, tmp_path: Path) -> None:
        (tmp_path / "a.nk").write_text(tracker_text({name: [(3, 1.0, 2.0)] for name in TestNukeIn.NAMES}))
        assert list(placed_in([], tmp_path / "a.nk", HEIGHT)[""]) == [3]

    def test_whole_faces(self, tmp_path: Path) -> None:
        track, _ = moving_track()
        (written,) = write_foreign(tmp_path / "a.csv", [track], PLATE)
        (read,) = read_foreign(written, PLATE)
        torch.testing.assert_close(read.points, track.points, atol=1e-4, rtol=0)
        aligned_jpg(tmp_path / "01002_0.jpg", pickle.dumps(TestDeepFaceLab().entries(1002)))
        assert read_foreign(tmp_path, PLATE)[0].first == 1002
        assert read_foreign(tmp_path / "01002_0.jpg", PLATE)[0].first == 1002
        with pytest.raises(MienError, match="Number both alike"):
            read_foreign(written, TrackedPlate("a.exr", 640, 360, 1, 20))
        with pytest.raises(MienError, match=r"\.fbx is not known"):
            read_foreign(tmp_path / "a.fbx", PLATE)

    def test_scripts_for_everybody_who_is_seen(self, tmp_path: Path) -> None:
        track, _ = moving_track()
        others = [
            FaceTrack(**{**track.__dict__, "name": "bob"}),
            FaceTrack(**{**track.__dict__, "name": "eve", "ignored": True}),
            FaceTrack(**{**track.__dict__, "name": "gone", "confidence": track.confidence * 0}),
        ]
        (path,) = write_foreign(tmp_path / "a.nk", [track, *others], PLATE)
        names = [line.split()[1] for line in path.read_text().splitlines() if line.startswith(" name ")]
        assert names == ["CornerPin2D_anna", "Transform_anna", "CornerPin2D_bob", "Transform_bob"]
        for wrong in ("a.xml", "a"):
            with pytest.raises(MienError, match="is not known"):
                write_foreign(tmp_path / wrong, [track], PLATE)
        with pytest.raises(MienError, match="Nobody"):
            write_foreign(tmp_path / "b.nk", others[1:], PLATE)
        with pytest.raises(MienError, match=r"a\.####\.exr"):
            write_foreign(tmp_path / "a.exr", [track], PLATE)

    def test_st_maps_hold_the_face_still_and_undo_it(self, tmp_path: Path) -> None:
        """A picture taken through both maps is itself again, and the still face is where it was."""
        generator = torch.Generator().manual_seed(2)
        shape = torch.rand(68, 2, generator=generator) * 100 + torch.tensor([250.0, 130.0])
        rows = []
        for frame in range(3):
            cosine, sine = math.cos(0.1 * frame), math.sin(0.1 * frame)
            turn = torch.tensor([[cosine, -sine], [sine, cosine]]) * (1 + 0.05 * frame)
            rows.append((shape - 300) @ turn.T + 300 + torch.tensor([12.5, -7.25]) * frame)
        spots = torch.cat((torch.stack(rows), torch.zeros(3, 68, 1)), 2)
        track = FaceTrack("a", 7, spots, torch.ones(3, 68), torch.ones(3), torch.zeros(3).bool(), "ibug68")
        made = write_foreign(tmp_path / "map.####.exr", [track], PLATE)
        assert [path.name for path in made] == ["map.stabilize.%04d.exr", "map.restore.%04d.exr"]
        y, x = np.mgrid[0:360, 0:640].astype(np.float32) + 0.5
        plate = np.stack((np.sin(x / 17) * np.cos(y / 23), x / 640, y / 360), -1).astype(np.float32)
        for frame in (7, 9):
            maps = {}
            for kind, path in zip(("stabilize", "restore"), made):
                shot = open_shot(str(tmp_path / path.name.replace("%04d", f"{frame:04d}")))
                assert set(read_header(shot, frame).types) == {"float"}
                maps[kind] = read_region(shot, frame, shot.display)
            still = through(plate, maps["stabilize"])
            again = through(still, maps["restore"])
            inside = np.s_[100:260, 220:420]
            np.testing.assert_allclose(again[inside], plate[inside], atol=5e-3)
            place = through(np.stack((x, y, x), -1), maps["stabilize"])
            for here, there in zip(shape.numpy(), rows[frame - 7].numpy()):
                row, column = int(here[1]), int(here[0])
                near = place[row, column, :2] - there
                assert np.abs(near).max() < 2, "the still picture shows at the first place what is now elsewhere"


def through(picture: np.ndarray[Any, Any], coordinates: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What a host's STMap node makes of a picture: u to the right, v upward, both from 0 to 1 across pixels."""
    height, width = picture.shape[:2]
    x = (coordinates[..., 0] * width - 0.5).astype(np.float32)
    y = ((1 - coordinates[..., 1]) * height - 0.5).astype(np.float32)
    return cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


PAGE = (Path(__file__).parents[2] / "docs" / "tracks.md").read_text("utf-8")


@pytest.mark.parametrize("example", re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
def test_the_examples_of_the_page_are_read(tmp_path: Path, example: str) -> None:
    (tmp_path / "points.json").write_text(example)
    placed = points.read_points(tmp_path / "points.json", HEIGHT)
    eyes = placed.positions[:2]
    assert placed.indices[:2] == {"five": (0, 1), "mesh": (33, 263)}[placed.scheme]
    assert torch.allclose(eyes, torch.tensor([[912.5, 430.0], [1010.0, 428.5]]), atol=1)


def test_the_page_names_what_is_there() -> None:
    assert all(f"`{column}`" in PAGE for column in table.COLUMNS)
    assert all(f"`{name}`" in PAGE for name in points.FIVE)
    assert all(scheme in PAGE for scheme in points.COUNTS)
