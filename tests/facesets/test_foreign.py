"""Face sets of DeepFaceLab and faceswap: pictures, landmarks and masks come over, and nothing is run."""

import pickle
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from facesets.sets import turned
from mien import mesh
from mien.commands.faceset import FacesetArguments, make_faceset
from mien.facesets.extract import CropShape
from mien.facesets.foreign import count_foreign_faces, is_foreign, read_foreign_faces
from mien.files.faceset import read_face, read_faceset
from mien.types import MienError

POINTS = turned(10, 0, 0, 60, (128.0, 110.0))
IBUG = mesh.to_ibug68(POINTS)[:, :2].numpy() - 0.5


def jpeg(seed=0, side=256) -> bytes:
    noise = np.random.default_rng(seed).random((8, 8, 3), np.float32)
    picture = (cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC).clip(0, 1) * 255).astype(np.uint8)
    return cv2.imencode(".jpg", picture)[1].tobytes()


def aligned(seed=0, **changes) -> bytes:
    """A JPEG as DeepFaceLab writes it: a pickle in APP15."""
    told = {
        "face_type": "whole_face",
        "landmarks": IBUG.tolist(),
        "source_filename": "shot_0042.png",
        "source_landmarks": (IBUG * 2).tolist(),
        **changes,
    }
    body = pickle.dumps(told, protocol=4)
    content = jpeg(seed)
    return content[:2] + struct.pack(">BBH", 0xFF, 0xEF, len(body) + 2) + body + content[2:]


def no_find(_picture):
    raise AssertionError("DeepFaceLab's own landmarks are used")


def read(path: Path, find=no_find):
    skipped: list[str] = []
    return list(read_foreign_faces(path, find, skipped.append)), skipped


def test_aligned_faces_bring_points_and_source(tmp_path):
    (tmp_path / "00001_0.jpg").write_bytes(aligned())
    assert is_foreign(tmp_path)
    (face,), skipped = read(tmp_path)
    assert not skipped and face.source == "shot_0042.png" and face.picture.shape == (256, 256, 3)
    assert torch.allclose(mesh.to_ibug68(face.points)[:, :2], torch.tensor(IBUG + 0.5).float(), atol=0.5)
    assert face.matte is None


def test_masks_and_polygons_become_mattes(tmp_path):
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 16:48] = 255
    (tmp_path / "a.jpg").write_bytes(aligned(xseg_mask=cv2.imencode(".png", mask)[1].tobytes()))
    square = [[40, 40], [200, 40], [200, 200], [40, 200]]
    hole = [[100, 100], [140, 100], [140, 140], [100, 140]]
    polygons = {"polys": [{"type": 0, "pts": hole}, {"type": 1, "pts": square}]}
    (tmp_path / "b.jpg").write_bytes(aligned(seg_ie_polys=polygons))
    (one, two), _ = read(tmp_path)
    assert float(one.matte[0, 128, 128]) == 1 and float(one.matte[0, 20, 20]) == 0
    assert float(two.matte[0, 60, 60]) == 1 and float(two.matte[0, 120, 120]) == 0 == float(two.matte[0, 20, 20])


def pack(entries, pictures) -> bytes:
    body = pickle.dumps(entries, protocol=4)
    offsets, total = [], 0
    for picture in pictures:
        offsets.append(total)
        total += len(picture)
    head = struct.pack("<QQ", 1, len(body)) + body
    # As the original does it: the last offset counts from the beginning of the file.
    offsets.append(len(head) + 8 * (len(pictures) + 1) + total)
    return head + struct.pack(f"<{len(offsets)}Q", *offsets) + b"".join(pictures)


def test_a_pack_is_read_though_its_last_offset_is_absolute(tmp_path):
    entries = [{"filename": f"{i}.jpg", "landmarks": IBUG.tolist(), "person_name": None} for i in range(3)]
    path = tmp_path / "faceset.pak"
    path.write_bytes(pack(entries, [jpeg(0), aligned(1), jpeg(2)]))
    faces, skipped = read(path)
    assert not skipped and [face.name for face in faces] == ["0.jpg", "1.jpg", "2.jpg"]
    assert is_foreign(tmp_path) and len(read(tmp_path)[0]) == 3 == count_foreign_faces(tmp_path)


class Bomb:
    def __reduce__(self):
        return (exec, ("open('/tmp/mien_was_here', 'w')",))


def test_nothing_in_them_is_run(tmp_path):
    trace = Path("/tmp/mien_was_here")
    trace.unlink(missing_ok=True)
    (tmp_path / "evil.jpg").write_bytes(aligned(face_type=Bomb()))
    (tmp_path / "good.jpg").write_bytes(aligned())
    faces, skipped = read(tmp_path)
    assert [face.name for face in faces] == ["good.jpg"] and "evil.jpg" in skipped[0]
    bad = tmp_path / "faceset.pak"
    bad.write_bytes(pack([Bomb()], [jpeg()]))
    with pytest.raises(MienError, match="was not read"):
        read(bad)
    assert not trace.exists()


@pytest.mark.parametrize("landmarks", [[[1, 2]], "text", [[float("nan"), 0]] * 68, [[1e30, 0]] * 68, None])
def test_impossible_landmarks_skip_that_face(tmp_path, landmarks):
    (tmp_path / "bad.jpg").write_bytes(aligned(landmarks=landmarks))
    faces, skipped = read(tmp_path)
    assert not faces and "landmarks" in skipped[0]


@pytest.mark.parametrize(
    "content", [b"", b"\1" * 16, struct.pack("<QQ", 1, 1 << 60), struct.pack("<QQ", 1, 4) + b"abcd"]
)
def test_damaged_packs_are_refused(tmp_path, content):
    path = tmp_path / "x.pak"
    path.write_bytes(content)
    with pytest.raises(MienError, match=r"pack|was not read"):
        read(path)


def extracted(seed=0) -> bytes:
    """A PNG as faceswap writes it: a literal in iTXt, landmarks and mask in the frame's pixels."""
    shift = np.array([300.0, 200.0])
    frame = IBUG + 0.5 + shift
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 255
    to_mask = np.array([[0.125, 0, -shift[0] * 0.125], [0, 0.125, -shift[1] * 0.125]])
    told = {
        "alignments": {
            "landmarks_xy": frame.tolist(),
            "mask": {"extended": {"mask": zlib.compress(mask.tobytes()), "affine_matrix": to_mask.tolist(),
                                  "interpolator": 1, "stored_size": 32, "stored_centering": "face"}},
        },
        "source": {"source_filename": "shot_000007.png", "source_frame_dims": (720, 1280)},
    }  # fmt: skip
    body = b"faceswap\0\0\0\0\0" + repr(told).encode()
    chunk = struct.pack(">I", len(body)) + b"iTXt" + body + struct.pack(">I", zlib.crc32(b"iTXt" + body))
    picture = cv2.imencode(".png", cv2.imdecode(np.frombuffer(jpeg(seed), np.uint8), 1))[1].tobytes()
    return picture[:33] + chunk + picture[33:]


def test_faces_of_faceswap_bring_points_and_mask(tmp_path):
    (tmp_path / "a_0.png").write_bytes(extracted())
    assert is_foreign(tmp_path)
    (face,), skipped = read(tmp_path, find=lambda picture: POINTS)
    assert not skipped and face.source == "shot_000007.png"
    assert torch.allclose(mesh.to_ibug68(face.points)[:, :2], torch.tensor(IBUG + 0.5).float(), atol=1.0)
    assert float(face.matte[0, 128, 128]) == 1 and float(face.matte[0, 30, 30]) == 0


def test_they_become_a_set(tmp_path):
    for number in range(3):
        (tmp_path / "aligned" / f"{number:05d}_0.jpg").parent.mkdir(exist_ok=True)
        (tmp_path / "aligned" / f"{number:05d}_0.jpg").write_bytes(aligned(number))
    outcome = make_faceset(
        FacesetArguments((str(tmp_path / "aligned"),), tmp_path / "set", CropShape(64, 1.4)), lambda _: None
    )
    found = read_faceset(tmp_path / "set")
    assert outcome.done == 3 and abs(found.faces[0].yaw - 10) < 3
    assert np.isfinite(read_face(found.picture(0), 64)).all()
    assert "shot_0042.png" in (tmp_path / "set" / "origins.json").read_text()


def test_ordinary_pictures_are_not_taken_for_theirs(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg())
    assert not is_foreign(tmp_path) and not is_foreign(tmp_path / "a.jpg")


MEMORY = """
import sys, torch
from pathlib import Path
from mien import heap
from mien.commands.faceset import FacesetArguments, make_faceset
from mien.facesets.extract import CropShape

torch.set_num_threads(1)
heap.reuse()
held = {}

def tell(event):
    if event.event == "progress" and event.done in (130, 450):
        heap.trim()
        status = Path("/proc/self/status").read_text()
        held[event.done] = int(status.split("RssAnon:")[1].split()[0]) // 1024

make_faceset(FacesetArguments((sys.argv[1],), Path(sys.argv[2]), CropShape(64, 1.4)), tell)
print(held[450] - held[130])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_import_holds_no_pictures(tmp_path):
    (tmp_path / "aligned").mkdir()
    first = tmp_path / "aligned" / "00000.jpg"
    first.write_bytes(aligned())
    for number in range(1, 450):
        (tmp_path / "aligned" / f"{number:05d}.jpg").hardlink_to(first)
    run = [sys.executable, "-c", MEMORY, str(tmp_path / "aligned"), str(tmp_path / "set")]
    done = subprocess.run(run, capture_output=True, text=True, timeout=300, check=True)
    # 320 crops of 64 pixels alone are 20 MiB, their pictures 240.
    assert int(done.stdout) < 8
    assert len(read_faceset(tmp_path / "set").faces) == 450
