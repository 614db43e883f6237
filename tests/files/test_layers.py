"""Pictures out: untouched pixels keep their bits, layers lie right over any plate, nothing is half written."""

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import pytest

from mien.files.atomic import appearing, remove_stale
from mien.files.layers import (
    read_provenance,
    write_empty_layer,
    write_full,
    write_host,
    write_layer,
    write_plain,
    write_stmap,
)
from mien.files.region import Region
from mien.files.shot import Native, open_shot, read_channels, read_header, read_native, read_region
from mien.files.timecode import packed
from mien.types import MienError

MADE = {"recipe": '{"steps": []}', "identity": "9f" * 32, "engine": "0.1.0"}
Floats = np.ndarray[Any, np.dtype[np.float32]]


def bits(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return values.view({2: np.uint16, 4: np.uint32}[values.dtype.itemsize])


def patch(native: Native, seed: int = 0) -> tuple[Floats, np.ndarray[Any, np.dtype[np.bool_]], tuple[int, int]]:
    """A face and a ragged mask that reach beyond the data window on one side."""
    data = native.headers[native.chosen.part].data
    random = np.random.default_rng(seed)
    height, width = max(1, data.height * 2 // 3), max(1, data.width * 2 // 3)
    image = random.uniform(-0.1, 20, (height, width, 3)).astype(np.float32)
    return image, random.random((height, width)) < 0.4, (data.x - width // 4, data.y + height // 8)


REAL = (
    "openexr/TestImages/AllHalfValues.exr",
    "openexr/TestImages/BrightRingsNanInf.exr",
    "openexr/TestImages/WideFloatRange.exr",
    "openexr/Beachball/multipart.0001.exr",
    "openexr/MultiResolution/ColorCodedLevels.exr",
    "openexr/ScanLines/Cannon.exr",
    "openexr/TestImages/stripes.exr",
    "openexr/MultiView/Fog.exr",
    "tinyexr/asakusa.exr",
    "tinyexr/test/unit/regression/flaga.exr",
    *(f"openexr/DisplayWindow/t{number:02d}.exr" for number in range(1, 17)),
)


@pytest.mark.parametrize("name", REAL)
def test_outside_the_mask_not_one_bit_differs(shared: Path, tmp_path: Path, name: str) -> None:
    shot = open_shot(shared / "media" / name)
    native = read_native(shot, shot.first)
    image, mask, corner = patch(native)
    write_full(tmp_path / "full.exr", native, image=image, mask=mask, corner=corner, provenance=MADE)
    again = open_shot(tmp_path / "full.exr")
    written = read_native(again, 1)
    assert written.chosen == native.chosen
    data = native.headers[native.chosen.part].data
    touched = np.zeros((data.height, data.width), bool)
    region = Region(*corner, mask.shape[1], mask.shape[0])
    inside = region.overlap(data)
    touched[inside.within(data)] = mask[inside.within(region)]
    assert touched.any()
    for part, (before, after) in enumerate(zip(native.pixels, written.pixels, strict=True)):
        assert before.dtype == after.dtype
        differs = bits(before) != bits(after)
        if part != native.chosen.part:
            assert not differs.any()
            continue
        assert not differs[~touched].any()
        column = native.headers[part].channels.index(native.chosen.channels[0])
        assert differs[..., column][touched].mean() > 0.9
    for before, after in zip(native.headers, written.headers, strict=True):
        for field in ("name", "view", "size", "origin", "data", "channels", "types", "aspect", "chromaticities"):
            assert getattr(before, field) == getattr(after, field), field
        kept = {key for key in before.metadata if not key.startswith(("oiio:", "openexr:", "thumbnail", "wrap"))}
        changed = {key for key in kept if after.metadata.get(key) != before.metadata[key]}
        assert changed <= {"compression", "textureformat"}
        assert after.compression not in ("b44", "b44a", "dwaa", "dwab")
    assert read_provenance(tmp_path / "full.exr") == MADE
    if len(native.chosen.channels) == 3:
        got = read_region(again, 1, inside)[mask[inside.within(region)]]
        meant = image[inside.within(region)][mask[inside.within(region)]]
        assert np.abs(got - meant).max() < 0.01


def test_mixed_types_keep_their_bits(tmp_path: Path) -> None:
    """Half color, float depth and 32-bit object numbers in one part: numbers move to a part of their own."""
    random = np.random.default_rng(3)
    kinds = {"R": "half", "G": "half", "B": "half", "Z": "float", "id": "uint"}
    source = str(tmp_path / "p.exr")
    spec = oiio.ImageSpec(16, 16, 5, "float")
    spec.channelnames, spec.channelformats = tuple(kinds), tuple(kinds.values())
    file = oiio.ImageOutput.create(source)
    assert file is not None and file.open(source, spec)
    assert file.write_image(random.random((16, 16, 5))) and file.close()
    before = oiio.ImageInput.open(source)
    assert before is not None and len(before.spec().channelformats) == 5
    native = read_native(open_shot(source), 1)
    target = str(tmp_path / "f.exr")
    nothing = np.zeros((16, 16, 3), np.float32)
    write_full(Path(target), native, image=nothing, mask=np.zeros((16, 16), bool), corner=(0, 0), provenance={})
    after = oiio.ImageInput.open(target)
    assert after is not None
    for name, kind in kinds.items():
        part = int(kind == "uint")
        assert after.seek_subimage(part, 0)
        one = before.spec().channelnames.index(name)
        two = after.spec().channelnames.index(name)
        wanted = before.read_image(0, 0, one, one + 1, kind)
        assert np.array_equal(bits(wanted), bits(after.read_image(part, 0, two, two + 1, kind))), name
        assert len(np.unique(wanted)) > 200


def test_integer_plates_become_float_with_exact_values(tmp_path: Path) -> None:
    codes = np.arange(40 * 50 * 3, dtype=np.uint16).reshape(40, 50, 3) * 7
    file = oiio.ImageOutput.create(str(tmp_path / "p.0001.tif"))
    assert file is not None and file.open(str(tmp_path / "p.0001.tif"), oiio.ImageSpec(50, 40, 3, "uint16"))
    assert file.write_image(codes) and file.close()
    native = read_native(open_shot(tmp_path / "p.0001.tif"), 1)
    mask = np.zeros((10, 10), bool)
    mask[2:5, 3:4] = True
    image = np.full((10, 10, 3), 16.0, np.float32)
    write_full(tmp_path / "f.exr", native, image=image, mask=mask, corner=(20, 20), provenance=MADE)
    shot = open_shot(tmp_path / "f.exr")
    pixels = read_region(shot, 1, shot.display)
    expected = codes.astype(np.float32) / np.float32(65535)
    expected[22:25, 23:24] = 16.0
    assert np.array_equal(pixels, expected)


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    """A plate with overscan, an origin off zero, timecode, rate, aspect, primaries and a line of its own."""
    path = tmp_path / "plate.1001.exr"
    spec = oiio.ImageSpec(120, 90, 4, "half")
    spec.channelnames = ("R", "G", "B", "A")
    spec.x, spec.y = 90, 45
    spec.full_x, spec.full_y, spec.full_width, spec.full_height = 100, 50, 100, 80
    spec["PixelAspectRatio"] = 2.0
    spec["compression"] = "dwaa"
    spec["shot"] = "sc010"
    spec["mien:recipe"] = "of an earlier pass"
    spec["colorInteropID"] = "lin_ap1_scene"
    spec.attribute("FramesPerSecond", "rational", (25, 1))
    spec.attribute("smpte:TimeCode", "timecode", packed("10:00:00:07"))
    spec.attribute("chromaticities", "float[8]", (0.713, 0.293, 0.165, 0.83, 0.128, 0.044, 0.32168, 0.33767))
    file = oiio.ImageOutput.create(str(path))
    assert file is not None and file.open(str(path), spec)
    pixels = np.random.default_rng(0).random((90, 120, 4)).astype(np.float16)
    assert file.write_image(pixels) and file.close()
    return path


def layer_of(random: np.random.Generator, height: int = 30, width: int = 40) -> tuple[Floats, Floats, Floats]:
    image = random.uniform(-0.05, 16, (height, width, 3)).astype(np.float32)
    rows, columns = np.mgrid[0:height, 0:width]
    away = np.hypot((rows - height / 2) / height, (columns - width / 2) / width)
    matte = np.clip(2.2 - 6 * away, 0, 1).astype(np.float32)
    image[matte == 0] = np.nan
    return image, matte, random.uniform(-0.05, 16, (height, width, 3)).astype(np.float32)


def test_a_layer_lies_over_the_plate_in_any_program(plate: Path, tmp_path: Path) -> None:
    """OpenImageIO's own ``over``: outside the matte the plate's bits, inside plate + matte * (face - plate)."""
    shot = open_shot(plate)
    header = read_header(shot, 1001)
    image, matte, raw = layer_of(np.random.default_rng(1))
    edge = matte**2
    path = tmp_path / "layer.1001.exr"
    write_layer(
        path,
        header,
        image=image,
        matte=matte,
        raw=raw,
        mattes={"hull": matte, "edge": edge},
        corner=(-5, 12),
        provenance=MADE,
        pixel_type="float",
    )
    layer = open_shot(path)
    written = read_header(layer, 1001)
    assert written.channels == ("R", "G", "B", "A", "matte.edge", "matte.hull", "raw.R", "raw.G", "raw.B")
    assert (written.size, written.origin, written.data) == ((100, 80), (100, 50), Region(-5, 12, 40, 30))
    assert (written.aspect, written.fps, written.timecode) == (2.0, Fraction(25), "10:00:00:07")
    assert written.metadata["shot"] == "sc010"
    assert written.color == "lin_ap1_scene" and written.chromaticities == header.chromaticities
    assert written.compression == "zip"
    assert read_provenance(path) == MADE
    region = Region(-5, 12, 40, 30)
    multiplied = np.where(matte[..., None] > 0, image * matte[..., None], 0).astype(np.float32)
    assert np.array_equal(read_region(layer, 1001, region), multiplied)
    assert np.array_equal(read_channels(layer, 1001, region, ["raw.R", "raw.G", "raw.B"]), raw)
    assert np.array_equal(read_channels(layer, 1001, region, ["matte.edge"])[..., 0], edge)
    back = oiio.ImageBuf(str(plate))
    front = oiio.ImageBufAlgo.channels(oiio.ImageBuf(str(path)), ("R", "G", "B", "A"))
    comp = oiio.ImageBufAlgo.over(front, back)
    whole = header.data
    roi = oiio.ROI(whole.x + 100, whole.right + 100, whole.y + 50, whole.bottom + 50, 0, 1, 0, 3)
    got, before = comp.get_pixels("float", roi), back.get_pixels("float", roi)
    full = np.zeros((whole.height, whole.width), np.float32)
    full[region.within(whole)] = matte
    assert np.array_equal(bits(got[full == 0]), bits(before[full == 0]))
    plate_part = before[region.within(whole)]
    meant = plate_part + matte[..., None] * (np.nan_to_num(image) - plate_part)
    assert np.abs(got[region.within(whole)] - meant).max() < 1e-5


def test_half_layers_stay_finite_and_zero_where_alpha_is(plate: Path, tmp_path: Path) -> None:
    header = read_header(open_shot(plate), 1001)
    image = np.full((2, 2, 3), 1e6, np.float32)
    matte = np.array([[1.0, 0.5], [1e-9, 0.0]], np.float32)
    write_layer(
        tmp_path / "l.exr", header, image=image, matte=matte, raw=-image, mattes={}, corner=(3, 4), provenance={}
    )
    shot = open_shot(tmp_path / "l.exr")
    pixels = read_native(shot, 1).pixels[0]
    assert pixels.dtype == np.float16 and np.isfinite(pixels).all()
    assert (pixels[0, 0, :3] == 65504).all() and (pixels[1, :, :4] == 0).all()
    assert (pixels[..., 4:7] == -65504).all()


def test_full_windows_and_empty_frames(plate: Path, tmp_path: Path) -> None:
    shot = open_shot(plate)
    header = read_header(shot, 1001)
    image, matte, raw = layer_of(np.random.default_rng(2))
    arguments: dict[str, Any] = {"image": image, "matte": matte, "raw": raw, "mattes": {"hull": matte}}
    arguments["provenance"] = MADE
    write_layer(tmp_path / "r.exr", header, corner=(-5, 60), **arguments)
    write_layer(tmp_path / "f.exr", header, corner=(-5, 60), window="full", **arguments)
    region, full = open_shot(tmp_path / "r.exr"), open_shot(tmp_path / "f.exr")
    assert read_header(full, 1).data == full.display == Region(0, 0, 100, 80)
    for names in (["R", "G", "B", "A"], ["raw.G", "matte.hull"]):
        a, b = (read_channels(one, 1, full.display, names) for one in (region, full))
        assert np.array_equal(a, b)
    write_empty_layer(tmp_path / "e.exr", header, mattes=["hull"], provenance=MADE)
    empty = open_shot(tmp_path / "e.exr")
    assert read_header(empty, 1).channels == read_header(region, 1).channels
    assert read_header(empty, 1).data == Region(0, 0, 1, 1) and empty.size == (100, 80)
    assert not read_channels(empty, 1, empty.display, ["R", "A", "raw.R", "matte.hull"]).any()


def test_another_color_space_drops_what_no_longer_holds(plate: Path, tmp_path: Path) -> None:
    header = read_header(open_shot(plate), 1001)
    write_empty_layer(tmp_path / "e.exr", header, mattes=[], provenance={}, color="lin_rec709_scene")
    written = read_header(open_shot(tmp_path / "e.exr"), 1)
    assert written.color == "lin_rec709_scene" and written.chromaticities is None


def test_host_pictures_of_floats_keep_every_bit_of_a_finite_face(plate: Path, tmp_path: Path) -> None:
    header = read_header(open_shot(plate), 1001)
    _, matte, raw = layer_of(np.random.default_rng(5))
    shapes = {"matte": matte, "distance": matte, "hold_out": matte}
    paths = tmp_path / "raw.exr", tmp_path / "face.exr", tmp_path / "matte.exr"
    write_host(paths, header, raw=raw, face=raw * 2, **shapes, corner=(0, 0), provenance=MADE, pixel_type="float")
    region = Region(0, 0, matte.shape[1], matte.shape[0])
    for path, picture in zip(paths, (raw, raw * 2)):
        written = open_shot(path)
        assert set(read_header(written, 1).types) == {"float"}
        assert np.array_equal(read_region(written, 1, region).view(np.uint32), picture.view(np.uint32))


def test_host_pictures(plate: Path, tmp_path: Path) -> None:
    shot = open_shot(plate)
    header = read_header(shot, 1001)
    _, matte, raw = layer_of(np.random.default_rng(4))
    raw[0, 0] = (np.inf, -np.inf, np.nan)
    distance = (matte - 0.5) * 20
    hold_out = 1 - matte
    paths = tmp_path / "raw.1001.exr", tmp_path / "face.1001.exr", tmp_path / "matte.1001.exr"
    write_host(
        paths, header, raw=raw, face=raw + 1, matte=matte, distance=distance, hold_out=hold_out, corner=(-5, 60),
        provenance=MADE,
    )  # fmt: skip
    first, finished, second = (open_shot(path) for path in paths)
    assert read_header(first, 1001).channels == read_header(finished, 1001).channels == ("R", "G", "B")
    assert set(read_header(first, 1001).types) == {"half"} and set(read_header(second, 1001).types) == {"float"}
    for one in (first, finished, second):
        assert read_header(one, 1001).data == one.display
    shown = Region(0, 60, 35, 20)
    inside = shown.within(Region(-5, 60, 40, 30))
    assert np.isfinite(read_region(first, 1001, first.display)).all()
    assert np.array_equal(read_region(first, 1001, shown), raw[inside].astype(np.float16).astype(np.float32))
    assert np.array_equal(read_region(finished, 1001, shown), (raw[inside] + 1).astype(np.float16).astype(np.float32))
    shapes = read_channels(second, 1001, second.display, ["R", "G", "B", "A"])
    assert np.array_equal(shapes[60:80, 0:35, 0], matte[inside])
    assert np.array_equal(shapes[60:80, 0:35, 1], distance[inside])
    assert np.array_equal(shapes[60:80, 0:35, 2], hold_out[inside])
    assert (shapes[..., 3] == 1).all()
    assert (shapes[:60, :, 0] == 0).all() and (shapes[:60, :, 1] == distance.min()).all()
    assert read_header(second, 1001).color == "data"


def test_st_maps_are_32_bit(plate: Path, tmp_path: Path) -> None:
    header = read_header(open_shot(plate), 1001)
    coordinates = np.random.default_rng(5).random((12, 9, 2)).astype(np.float32)
    write_stmap(tmp_path / "st.exr", header, coordinates=coordinates, corner=(8, 9), provenance=MADE)
    shot = open_shot(tmp_path / "st.exr")
    assert set(read_header(shot, 1).types) == {"float"}
    assert np.array_equal(read_region(shot, 1, Region(8, 9, 9, 12))[..., :2], coordinates)


def test_the_same_values_give_the_same_bytes(plate: Path, tmp_path: Path) -> None:
    shot = open_shot(plate)
    native = read_native(shot, 1001)
    header = native.headers[0]
    image, matte, raw = layer_of(np.random.default_rng(6))
    image = np.nan_to_num(image)
    for name in ("a", "b"):
        write_layer(
            tmp_path / f"l{name}.exr",
            header,
            image=image,
            matte=matte,
            raw=raw,
            mattes={"hull": matte},
            corner=(1, 2),
            provenance=MADE,
        )
        write_full(tmp_path / f"f{name}.exr", native, image=image, mask=matte > 0, corner=(1, 2), provenance=MADE)
    for kind in "lf":
        content = (tmp_path / f"{kind}a.exr").read_bytes()
        assert content == (tmp_path / f"{kind}b.exr").read_bytes()
    # OpenImageIO stamps the current time unless told otherwise.
    assert read_header(open_shot(tmp_path / "la.exr"), 1).metadata["DateTime"] == header.metadata["DateTime"]
    write_plain(tmp_path / "p.exr", image, provenance=MADE)
    assert b"capDate" not in (tmp_path / "p.exr").read_bytes()


def test_a_lossy_plate_is_written_without_further_loss(plate: Path, tmp_path: Path) -> None:
    native = read_native(open_shot(plate), 1001)
    assert native.headers[0].compression.startswith("dwaa")
    nothing = np.zeros((1, 1), bool)
    write_full(
        tmp_path / "f.exr", native, image=np.zeros((1, 1, 3), np.float32), mask=nothing, corner=(0, 0), provenance={}
    )
    again = read_native(open_shot(tmp_path / "f.exr"), 1)
    assert again.headers[0].compression == "zip"
    assert np.array_equal(bits(native.pixels[0]), bits(again.pixels[0]))


def test_an_error_leaves_the_former_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "p.exr"
    path.write_bytes(b"former")
    with pytest.raises(KeyError), appearing(path) as partial:
        partial.write_bytes(b"half of it")
        assert partial.name.startswith(".") and partial.suffix == ".exr"
        raise KeyError
    assert path.read_bytes() == b"former"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MienError, match=r"Cannot write .*file/p\.exr.*permissions and free space"):
        write_plain(tmp_path / "file/p.exr", np.zeros((4, 4, 3), np.float32), provenance={})


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from mien.files.layers import write_plain
from mien.types import MienError
pixels = np.random.default_rng(0).random((400, 400, 3)).astype(np.float32)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_plain(Path(sys.argv[1]), pixels, provenance={})
except MienError as error:
    print(error)
"""


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "p.exr"
    path.write_bytes(b"former")
    said = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.startswith(f"Cannot write {path}") and "free space" in said
    assert path.read_bytes() == b"former"
    assert list(tmp_path.iterdir()) == [path]


KILLED = """
import os, signal, sys
from pathlib import Path
from mien.files.atomic import appearing
with appearing(Path(sys.argv[1])) as partial:
    partial.write_bytes(b"half of it")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_kill_leaves_is_swept_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "p.0001.exr"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", KILLED, str(path)], env=environment, check=False)
    assert not path.exists()
    left = list(tmp_path.iterdir())
    assert len(left) == 1
    mine = [tmp_path / ".p.partial.exr", tmp_path / "p.0002.exr", tmp_path / ".notes.partial"]
    for other in mine:
        other.write_bytes(b"")
    with appearing(tmp_path / "p.0003.exr") as partial:
        partial.write_bytes(b"")
        assert remove_stale(tmp_path) == left
        assert partial.exists()
    assert all(other.exists() for other in mine)
