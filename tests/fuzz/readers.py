"""Every reader of the engine, with whole files to spoil and a way to read one as the engine does.

A reader is given a path and must come back, or raise an error that says what is wrong. ``seeds`` writes whole files
into a folder and names them; what lies beside them stays as it is while the file is spoiled.
"""

import json
import pickle
import random
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import torch

from facesets.sets import made as made_faceset
from facesets.sets import turned
from fuzz import cuts, networks
from fuzz.spoiling import spoiled_bytes, spoiled_json, spoiled_safetensors, spoiled_zlib
from mien import mesh, recipe
from mien.client import EngineDied
from mien.color import load as load_colors
from mien.commands.importing import ImportArguments, Released, import_model
from mien.declare import DeclarationError
from mien.facesets.foreign import read_foreign_faces
from mien.files.complete import complete
from mien.files.curves import write_curves
from mien.files.exchange import faceswap, nuke
from mien.files.exchange.foreign import read_foreign
from mien.files.exchange.points import read_points
from mien.files.faceset import read_faceset
from mien.files.identities import IdentityFile, Likeness, read_identity, write_identity
from mien.files.proofs import read_proof, write_proof
from mien.files.region import Region
from mien.files.shot import open_shot, read_header, read_native, read_region
from mien.files.tracks import TrackedPlate, read_tracks
from mien.inspection import facts_of
from mien.job import open_fingerprints
from mien.models import pix2pix
from mien.models.swap import SwapNetwork, SwapShape
from mien.models.unet import PairedNetwork, PairedShape
from mien.performer import open_identity
from mien.provenance import changed_files, read_sidecar
from mien.qc.shot import read_said
from mien.recipe import RecipeError
from mien.roto import read_roto
from mien.serve.requests import RequestError, parse
from mien.train.state import read_state, write_state
from mien.types import ColorSample, Grade, MienError, Table
from shots import make_shot, texture, write_exr, write_movie

OURS = (MienError, RecipeError, DeclarationError, RequestError, EngineDied)
"""Errors that say what is wrong with a file."""
CPU = torch.device("cpu")
COLORS = load_colors(None)
PLATE = TrackedPlate("plate.####.exr", 640, 480, 1, 8, 1.0, Fraction(24))
OWN = Released("Nobody", "test release")
MOST_PIXELS = 1 << 22
"""Pictures that say they are larger are only looked at, not read: what they cost is what they say."""

Seeds = Callable[[Path], list[Path]]
Spoil = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        seeds: Writes whole files into a folder; they are read without complaint.
        read: Reads a file.
        spoil: Makes another file of a whole one.
        share: Of a thousand executions of a night, how many are this reader's; the cheap ones get most.
    """

    seeds: Seeds
    read: Callable[[Path], object]
    spoil: Spoil
    share: int


def _silent(event: object) -> None:
    pass


def _written(folder: Path, **files: bytes) -> list[Path]:
    paths = []
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        path.write_bytes(content)
        paths.append(path)
    return paths


def _recipes(folder: Path) -> list[Path]:
    made = make_shot(folder, count=2, width=40.0)
    made.with_settings(matte_edge={"grow": [[1001, 0.0], [1002, 0.1]]})
    return [made.recipe]


def _tracks(folder: Path) -> list[Path]:
    return [make_shot(folder, count=3, width=40.0).track]


def _track_arrays(folder: Path) -> list[Path]:
    (arrays,) = make_shot(folder, count=1, width=40.0).track.parent.glob("shot.track.*.safetensors")
    return [arrays]


def _read_track_arrays(path: Path) -> object:
    return read_tracks(path.parent / "shot.track.json")


def _curves(folder: Path) -> list[Path]:
    grade = Grade(((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0)), (0.0, 0.1, 0.2))
    square = ((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0))
    sample = ColorSample(5.0, (0.1, 0.2, 0.3), (0.1, 0.2, 0.3), square, square, face_quantiles=Table([[1.0, 2.0]]))
    values: dict[str, Any] = {"Grade": grade, "ColorSample": sample, "White": 2.5}
    for kind, value in values.items():
        write_curves(folder / f"{kind}.json", kind, {1001: ("a", value), 1002: ("b", None)}, "test")
    return [folder / f"{kind}.json" for kind in values]


def _identities(folder: Path) -> list[Path]:
    warp = make_shot(folder, count=1, width=40.0).identity
    swap, paired = SwapShape("df", 32, 4, 4, 2, 8), PairedShape(3, 3, 16, 4)
    likeness = Likeness("Nobody", "test release", "2031-01-01")
    facts = {"shape": vars(swap), "coverage": 1.5, "size": 32}
    trained = SwapNetwork(swap, both=False).state_dict()
    write_identity(folder / "swap.safetensors", IdentityFile("swap", likeness, facts, trained))
    facts = {"shape": vars(paired), "coverage": 1.5, "size": 32, "view": "face", "encoding": "display"}
    trained = PairedNetwork(paired).state_dict()
    write_identity(folder / "paired.safetensors", IdentityFile("paired", likeness, facts, trained))
    return [warp, folder / "swap.safetensors", folder / "paired.safetensors"]


def _read_identity(path: Path) -> object:
    return open_identity(read_identity(path), path, COLORS, CPU)(1001)


def _faceset(folder: Path) -> list[Path]:
    made_faceset(folder, [(0, 0), (10, 5)])
    return [folder / "faceset.json"]


def _landmarks() -> np.ndarray[Any, Any]:
    return mesh.to_ibug68(turned(10, 0, 0, 60, (128.0, 110.0)))[:, :2].numpy() - 0.5


def _alignments() -> dict[str, Any]:
    face = {"x": 1, "y": 2, "w": 3, "h": 4, "landmarks_xy": _landmarks().round(1).tolist(), "mask": {}}
    return {"__meta__": {"version": 2.4}, "__data__": {f"shot_{n:06d}.png": {"faces": [face]} for n in (1, 2)}}


def _alignments_json(folder: Path) -> list[Path]:
    return _written(folder, a__json=json.dumps(_alignments()).encode())


def _alignments_fsa(folder: Path) -> list[Path]:
    return _written(folder, a__fsa=zlib.compress(pickle.dumps(_alignments())))


def _faceswap_png(folder: Path) -> list[Path]:
    face = next(iter(_alignments()["__data__"].values()))["faces"][0]
    text = repr({"alignments": face, "source": {"source_filename": "a_000001.png", "face_index": 0}}).encode()

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    end = chunk(b"IDAT", zlib.compress(b"\0\0\0\0")) + chunk(b"IEND", b"")
    plain = start + chunk(b"iTXt", b"faceswap\0\0\0\0\0" + text) + end
    packed = start + chunk(b"iTXt", b"faceswap\0\1\0\0\0" + zlib.compress(text)) + end
    return _written(folder, plain__png=plain, packed__png=packed)


def _aligned(side: int = 48) -> bytes:
    told = {
        "face_type": "whole_face",
        "landmarks": _landmarks().tolist(),
        "source_filename": "00042.png",
        "source_landmarks": _landmarks(),
        "seg_ie_polys": {"polys": [{"type": 1, "pts": [[1, 1], [40, 1], [40, 40]]}]},
    }
    body = pickle.dumps(told, protocol=4)
    content = _picture_bytes(side, "jpg")
    return content[:2] + struct.pack(">BBH", 0xFF, 0xEF, len(body) + 2) + body + content[2:]


def _picture_bytes(side: int, kind: str) -> bytes:
    import cv2

    picture = (texture(side, side, 1).clip(0, 1) * 255).astype(np.uint8)
    coded: bytes = cv2.imencode(f".{kind}", picture)[1].tobytes()
    return coded


def _dfl_jpg(folder: Path) -> list[Path]:
    return _written(folder, f00001__jpg=_aligned())


def _pack(folder: Path) -> list[Path]:
    entries = [{"filename": f"{i}.jpg", "landmarks": _landmarks().tolist(), "person_name": None} for i in range(2)]
    pictures = [_picture_bytes(48, "jpg"), _aligned()]
    body = pickle.dumps(entries, protocol=4)
    head = struct.pack("<QQ", 1, len(body)) + body
    total = sum(map(len, pictures))
    offsets = [0, len(pictures[0]), len(head) + 8 * 3 + total]
    return _written(folder, faceset__pak=head + struct.pack("<3Q", *offsets) + b"".join(pictures))


def _read_foreign_faces(path: Path) -> object:
    return list(read_foreign_faces(path, lambda picture: None, lambda said: None))


def _dfm(folder: Path) -> list[Path]:
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.full((5, 3, 1, 1), 0.2, np.float32), "w")
    nodes = [
        helper.make_node("Transpose", ["in_face:0"], ["a"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["a", "w"], ["b"]),
        helper.make_node("Sigmoid", ["b"], ["c"]),
        helper.make_node("Transpose", ["c"], ["d"], perm=[0, 2, 3, 1]),
        helper.make_node("Split", ["d"], ["out_face_mask:0", "out_celeb_face:0", "out_celeb_face_mask:0"], axis=3,
                         split=[1, 3, 1]),
    ]  # fmt: skip

    def port(name: str, channels: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 32, 32, channels])

    outputs = [port("out_face_mask:0", 1), port("out_celeb_face:0", 3), port("out_celeb_face_mask:0", 1)]
    graph = helper.make_graph(nodes, "g", [port("in_face:0", 3)], outputs, [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=8)
    return _written(folder, m__dfm=model.SerializeToString())


def _import(path: Path) -> object:
    output = path.parent / "out" / "i.safetensors"
    output.parent.mkdir(exist_ok=True)
    return import_model(ImportArguments(path, output, OWN, face="whole", size=32), _silent)


def _checkpoints(folder: Path) -> list[Path]:
    state = pix2pix.build(pix2pix.Pix2PixShape("unet", 3, 3, 2, 5, "batch")).state_dict()
    torch.save(state, folder / "zip.pth")
    torch.save(state, folder / "old.pth", _use_new_zipfile_serialization=False)
    return [folder / "zip.pth", folder / "old.pth"]


def _points(folder: Path) -> list[Path]:
    names = ("left eye", "right eye", "nose", "left mouth", "right mouth")
    points = {name: [10.5, 20] for name in names}
    document = {"scheme": "five", "origin": "bottom left", "person": "a", "points": points}
    return _written(folder, p__json=json.dumps(document).encode())


def _table(folder: Path) -> list[Path]:
    rows = [f"anna,1,ibug68,{i},{10 + i},{20 + i % 7}" for i in range(68)]
    return _written(folder, t__csv="\n".join(["person,frame,scheme,point,x,y", *rows]).encode())


def _nuke(folder: Path) -> list[Path]:
    shot = read_tracks(make_shot(folder, count=2, width=40.0).track).tracks[0]
    pin = nuke.script([nuke.corner_pin(shot, 1001, 480)]).encode()
    names = ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")
    head = " \n".join(f"{{ 2 1 58 {name} {name} 1 }}" for name in ("e", "name", "track_x", "track_y", "offset_x"))
    rows = "\n".join(f' {{ {{curve K x1 1}} "{name}" {{curve x1 5 6}} {{curve x1 7 8}} {{}} }} ' for name in names)
    tracker = f"Tracker4 {{\ntracks {{ {{ 1 5 5 }} \n{{ {head} \n}} \n{{ \n{rows}\n}} \n}}\n name Tracker1\n}}\n"
    return _written(folder, pin__nk=pin, tracker__nk=tracker.encode())


def _exrs(folder: Path) -> list[Path]:
    write_exr(folder / "half.exr", texture(16, 24, 1), corner=(-4, -4), window=(16, 8), compression="zip")
    rgba = np.concatenate([texture(16, 24, 2), np.ones((16, 24, 1), np.float32)], 2)
    write_exr(folder / "float.exr", rgba, kind="float", compression="piz", **{"mien:frame": "1"})
    write_exr(folder / "lines.exr", texture(40, 40, 4), compression="zips")
    write_exr(folder / "plain.exr", texture(40, 40, 5), kind="float", compression="none")
    write_exr(folder / "dwa.exr", texture(40, 40, 3), compression="dwaa:45")
    spec = oiio.ImageSpec(40, 40, 3, "half")
    spec.tile_width = spec.tile_height = 16
    oiio.ImageBuf(spec).write(str(folder / "tiled.exr"))
    return sorted(folder.glob("*.exr"))


def _stills(folder: Path) -> list[Path]:
    buffer = oiio.ImageBuf(texture(16, 24, 1).clip(0, 1))
    paths = []
    for kind in ("png", "dpx", "tif", "jpg", "hdr", "cin"):
        path = folder / f"still.{kind}"
        if buffer.write(str(path), "uint8" if kind in ("png", "jpg") else "uint16"):
            paths.append(path)
    oiio.geterror()
    return paths


def _read_picture(path: Path) -> object:
    shot = open_shot(path)
    header = read_header(shot, shot.first)
    facts_of(path)
    complete(path)
    if max(header.size[0] * header.size[1], header.data.width * header.data.height) > MOST_PIXELS:
        return None
    read_region(shot, shot.first, shot.display)
    read_region(shot, shot.first, Region(1, 1, header.size[0] // 2, header.size[1] - 1))
    read_roto((24, 16), shot.first, 1.0, str(path), "auto", (0, 0), (16, 24))
    return read_native(shot, shot.first)


def _movies(folder: Path) -> list[Path]:
    pictures = [texture(32, 48, seed).clip(0, 1) for seed in range(3)]
    paths = [folder / "a.mp4", folder / "b.mov", folder / "c.mkv"]
    for path, codec in zip(paths, ("h264", "prores422", "h264")):
        write_movie(path, pictures, codec, size=(48, 32), fps=Fraction(24), provenance={"frame": "1"})
    return paths


def _read_movie(path: Path) -> object:
    shot = open_shot(path)
    facts_of(path)
    if shot.size[0] * shot.size[1] > MOST_PIXELS:
        return None
    return read_region(shot, shot.frames[0], shot.display)


def _prints(folder: Path) -> list[Path]:
    return _written(folder, plate__json=json.dumps({"a.exr": [12, 34, "ab"]}).encode())


def _read_prints(path: Path) -> object:
    return open_fingerprints(path).of(path)


def _training(folder: Path) -> list[Path]:
    return [write_state(folder, 5, {"preset": "df"}, {"network": {"weight": torch.zeros(4)}})]


def _read_training(path: Path) -> object:
    return read_state(path.parent, _silent)


def _requests(folder: Path) -> list[Path]:
    lines = [
        {"id": 1, "do": "render", "recipe": "a.json", "frame": 1002, "scale": 0.5, "layers": ["layer"]},
        {"id": "b", "do": "solve", "recipe": {"mien_recipe": 1, "steps": []}, "folder": "/tmp", "frames": [1, 2]},
        {"id": 3, "do": "track", "folder": "/tmp", "plate": "a", "output": "b.json", "settings": {"a": 1}},
    ]
    return [_written(folder, **{f"r{i}__json": json.dumps(line).encode()})[0] for i, line in enumerate(lines)]


def _read_request(path: Path) -> object:
    return parse(path.read_bytes())


def _config(folder: Path) -> list[Path]:
    text = """ocio_profile_version: 2
roles: {scene_linear: lin, default: lin, data: raw}
displays: {sRGB: [!<View> {name: v, colorspace: srgb}]}
active_displays: [sRGB]
active_views: [v]
colorspaces:
  - !<ColorSpace> {name: lin, isdata: false}
  - !<ColorSpace> {name: raw, isdata: true}
  - !<ColorSpace> {name: srgb, from_scene_reference: !<MatrixTransform> {matrix: [2,0,0,0,0,1,0,0,0,0,1,0,0,0,0,1]}}
"""
    return _written(folder, c__ocio=text.encode())


def _proofs(folder: Path) -> list[Path]:
    figures = {"area": 12.5, "plate": [0.1, 0.2, 0.3], "unsound": 0}
    write_proof(folder / "a.jpg", np.zeros((8, 24, 3), np.uint8), figures, {"frame": "7", "likeness": "Nobody"})
    return [folder / "a.jpg"]


def _records(folder: Path) -> list[Path]:
    record = {"mien_record": 1, "shot": "a", "files": {"a.exr": "0" * 32}, "plate_files": {}, "flags": []}
    signature = {"algorithm": "es256", "certificates": "-----BEGIN CERTIFICATE-----", "value": "QUJD"}
    signed, unsigned = ({"record": record, "signature": one} for one in (signature, None))
    return _written(folder, a__json=json.dumps(unsigned).encode(), b__json=json.dumps(signed).encode())


def _read_record(path: Path) -> object:
    return changed_files(read_sidecar(path))


def _said(folder: Path) -> list[Path]:
    return _written(folder, f__json=b'{"flags": [{"frame": 7, "words": "soft", "by": "me"}]}')


READERS: Mapping[str, Reader] = {
    "request": Reader(_requests, _read_request, spoiled_json, 300),
    "points": Reader(_points, lambda path: read_points(path, 480), spoiled_json, 150),
    "prints": Reader(_prints, _read_prints, spoiled_json, 60),
    "curves": Reader(_curves, facts_of, spoiled_json, 100),
    "recipe": Reader(_recipes, recipe.read, spoiled_json, 80),
    "track": Reader(_tracks, read_tracks, spoiled_json, 60),
    "track_arrays": Reader(_track_arrays, _read_track_arrays, spoiled_safetensors, 20),
    "table": Reader(_table, lambda path: read_foreign(path, PLATE), spoiled_bytes, 10),
    "nuke": Reader(_nuke, lambda path: nuke.read_curves(path, 480), spoiled_bytes, 40),
    "alignments": Reader(_alignments_json, faceswap.read_alignments, spoiled_json, 30),
    "fsa": Reader(_alignments_fsa, faceswap.read_alignments, spoiled_zlib, 30),
    "faceswap_png": Reader(_faceswap_png, faceswap.face_text, spoiled_bytes, 20),
    "aligned_jpg": Reader(_dfl_jpg, lambda path: _read_foreign_faces(path.parent), spoiled_bytes, 10),
    "pack": Reader(_pack, _read_foreign_faces, spoiled_bytes, 10),
    "faceset": Reader(_faceset, read_faceset, spoiled_json, 20),
    "identity": Reader(_identities, _read_identity, spoiled_safetensors, 10),
    "training": Reader(_training, _read_training, spoiled_safetensors, 10),
    "dfm": Reader(_dfm, _import, spoiled_bytes, 4),
    "checkpoint": Reader(_checkpoints, _import, spoiled_bytes, 4),
    "exr": Reader(_exrs, _read_picture, spoiled_bytes, 20),
    "still": Reader(_stills, _read_picture, spoiled_bytes, 8),
    "movie": Reader(_movies, _read_movie, spoiled_bytes, 2),
    "proof": Reader(_proofs, read_proof, spoiled_bytes, 20),
    "record": Reader(_records, _read_record, spoiled_json, 20),
    "flags": Reader(_said, read_said, spoiled_json, 20),
    "config": Reader(_config, load_colors, spoiled_bytes, 1),
    "edit": Reader(cuts.edits, cuts.read_edit, spoiled_json, 60),
    "shot_list": Reader(cuts.lists, cuts.read_list, spoiled_json, 5),
    "mapping": Reader(cuts.rules, cuts.read_mapping, spoiled_json, 30),
    "credentials": Reader(cuts.credentials, cuts.read_credentials, spoiled_bytes, 10),
    "certificates": Reader(cuts.certificates, cuts.read_certificates, spoiled_bytes, 20),
    "motion": Reader(networks.motion_checkpoints, networks.read_motion, spoiled_bytes, 6),
    "motion_config": Reader(networks.motion_configs, networks.read_motion_config, spoiled_bytes, 10),
    "motion_identity": Reader(networks.motion_identities, networks.read_motion_identity, spoiled_safetensors, 10),
    "cached": Reader(networks.cached, networks.read_cached, networks.spoiled_cached, 20),
    "training_list": Reader(networks.training_lists, networks.read_training_list, spoiled_json, 20),
    "engine_note": Reader(networks.engine_notes, networks.read_engine_note, spoiled_json, 20),
}
