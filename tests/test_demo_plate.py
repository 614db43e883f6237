"""The demo's shot is what a camera would have delivered, and its contact sheet says what it shows."""

import hashlib
import itertools
import os
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import PyOpenColorIO as ocio
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates

from mien import demo, sheet
from mien.ops.warp import warp
from mien.types import MienError

FRAMES = 6
"""Long enough to move; the demo itself makes 48."""


@pytest.fixture(scope="module")
def shot(tmp_path_factory):
    return demo.make_plate(tmp_path_factory.mktemp("demo") / "plates", FRAMES)


def read(shot, frame):
    file = oiio.ImageInput.open(str(shot) % frame)
    pixels = file.read_image("float")
    return file.spec(), pixels


def test_numbered_from_1001(shot):
    assert sorted(path.name for path in shot.parent.iterdir()) == [f"plate.{f}.exr" for f in range(1001, 1007)]


def test_header_of_a_camera_original(shot):
    spec, _ = read(shot, 1001)
    assert str(spec.format) == "half" and spec.channelnames == ("R", "G", "B")
    assert (spec.full_x, spec.full_y, spec.full_width, spec.full_height) == (0, 0, 960, 540)
    assert (spec.x, spec.y, spec.width, spec.height) == (-24, -24, 1008, 588)
    assert spec.getattribute("PixelAspectRatio") == 1.0
    assert spec.getattribute("FramesPerSecond") == (24, 1)
    assert spec.getattribute("colorInteropID") == "lin_ap1_scene"
    red, white = spec.getattribute("chromaticities")[:2], spec.getattribute("chromaticities")[6:]
    assert red == pytest.approx((0.713, 0.293)) and white == pytest.approx((0.32168, 0.33767))


def test_timecode_counts_frames(tmp_path):
    picture = torch.zeros(3, 8, 8)
    codes = []
    for frame in (1001, 1002, 1024, 1025, 1001 + 24 * 61):
        path = tmp_path / f"t.{frame}.exr"
        demo.write_frame(path, picture, frame)
        codes.append(f"{oiio.ImageInput.open(str(path)).spec().getattribute('smpte:TimeCode')[0]:08x}")
    assert codes == ["10240000", "10240001", "10240023", "10240100", "10250100"]


def test_same_bytes_again(shot, tmp_path):
    again = demo.make_plate(tmp_path, FRAMES)
    for frame in range(1001, 1001 + FRAMES):
        first, second = (hashlib.sha256(Path(str(p) % frame).read_bytes()).digest() for p in (shot, again))
        assert first == second


def test_a_frame_is_a_function_of_its_number(shot):
    _, written = read(shot, 1005)
    alone = demo.picture(demo.portrait(), 4, FRAMES).permute(1, 2, 0).half().float().numpy()
    np.testing.assert_array_equal(written, alone)


def test_light_falls_and_highlights_stay(shot):
    pictures = [read(shot, 1001 + row)[1] for row in range(FRAMES)]
    level = [np.median(picture[..., 1]) for picture in pictures]
    assert all(after < before for before, after in itertools.pairwise(level))
    # The camera also moves, so the picture's median follows the light only nearly.
    assert np.log2(level[0] / level[-1]) == pytest.approx(2 * demo.STOPS, abs=0.1)
    assert all(np.isfinite(picture).all() for picture in pictures)
    assert all((picture > 1.0).any() for picture in pictures)
    assert pictures[0].max() > 4.0


def test_light_is_acescg():
    """Away from highlights and edges the scene is the photograph through OpenColorIO's own transform."""
    import skimage.data

    config = ocio.Config.CreateFromBuiltinConfig("studio-config-latest")
    processor = config.getProcessor("sRGB - Texture", "ACEScg").getDefaultCPUProcessor()
    rgb = skimage.data.astronaut().astype(np.float32) / 255
    processor.applyRGB(rgb)
    scene = demo.portrait().permute(1, 2, 0).numpy()
    flat = np.s_[20:60, 320:360]
    assert scene[flat].mean((0, 1)) == pytest.approx(rgb[flat].mean((0, 1)), rel=2e-3)


@pytest.mark.parametrize("row", [0, 3, 47])
def test_camera_tells_where_the_portrait_is(row):
    """Under its grain the frame is the portrait at the positions that ``camera`` says, by scipy's own spline."""
    scene = demo.portrait()
    seen = demo.picture(scene, row, 48)
    back = torch.linalg.inv(demo.camera(row, 48)).numpy()
    y, x = np.mgrid[200:260, 380:460]
    plate = np.stack([x - demo.OVERSCAN + 0.5, y - demo.OVERSCAN + 0.5, np.ones_like(x)])
    px, py, _ = np.einsum("ij,jyx->iyx", back, plate)
    expected = map_coordinates(scene[1].double().numpy(), [py - 0.5, px - 0.5], order=3) * demo.exposure(row, 48)
    difference = seen[1, 200:260, 380:460].numpy() - expected
    assert np.sqrt(np.mean(gaussian_filter(difference, 2) ** 2)) < 0.01 * expected.mean()


def test_the_data_window_is_filled():
    """The camera never looks past the edge of the photograph, overscan included."""
    corners = np.array(
        [[x, y, 1.0] for x in (-demo.OVERSCAN, demo.WIDTH + demo.OVERSCAN) for y in (-24, demo.HEIGHT + 24)]
    )
    for frames in (2, 24, 48, 240):
        for row in range(frames):
            there = corners @ torch.linalg.inv(demo.camera(row, frames)).numpy().T
            assert there[:, :2].min() > 1 and there[:, :2].max() < 511


def test_the_move_is_smooth_and_sub_pixel():
    nose = torch.tensor([228.0, 120.0, 1.0], dtype=torch.float64)
    path = torch.stack([demo.camera(row, 48) @ nose for row in range(48)])[:, :2]
    steps = path.diff(dim=0)
    assert (path[-1] - path[0]).norm() > 20
    assert steps.norm(dim=1).max() < 3
    assert steps.diff(dim=0).abs().max() < 0.3
    assert ((path % 1) - 0.5).abs().max() > 0.3


def test_what_moves_is_smeared_as_long_as_the_shutter_is_open():
    """A frame of a fast move is the mean of the crisp pictures within its half of the frame, and no others."""
    scene, row, frames = demo.portrait(), 3, 6
    inset = torch.eye(3, dtype=torch.float64)
    inset[:2, 2] = demo.OVERSCAN

    def crisp(time):
        return warp(scene, inset @ demo.camera(time, frames), (588, 1008))[:, 150:400, 300:700]

    seen = demo.picture(scene, row, frames)[:, 150:400, 300:700] / demo.exposure(row, frames)
    half = torch.stack([crisp(row + (n + 0.5) / 40 - 0.25) for n in range(20)]).mean(0)
    assert float((seen - half).abs().mean()) < 0.4 * float((seen - crisp(row)).abs().mean())
    assert len(demo.moments(3, 6)) > 5 and len(demo.moments(24, 48)) < 4


def test_grain_follows_the_light_and_differs_from_frame_to_frame():
    dark, bright = torch.full((3, 200, 200), 0.02), torch.full((3, 200, 200), 0.8)
    strengths = [float(demo.grain(light, 0).std() / light.mean()) for light in (dark, bright)]
    assert 0.005 < strengths[1] < 0.03 and strengths[0] > 2 * strengths[1]
    first, second = demo.grain(bright, 0), demo.grain(bright, 1)
    assert abs(float((first * second).mean() / first.std() / second.std())) < 0.02
    assert torch.equal(first, demo.grain(bright, 0))
    assert abs(float(first.mean())) < 3e-4


def test_performer_ships_with_matplotlib():
    spec = oiio.ImageInput.open(str(demo.performer())).spec()
    assert (spec.width, spec.height, spec.nchannels) == (512, 600, 3)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(MienError, match="Cannot write"):
        demo.make_plate(tmp_path / "inside", 2)


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "inside").write_text("in the way")
    with pytest.raises(MienError, match="Cannot write"):
        demo.make_plate(tmp_path / "inside", 2)


def gradient(level, size=(60, 90)):
    return np.full((*size, 3), level, np.uint8)


def test_sheet_shows_every_picture(tmp_path):
    path = tmp_path / "sheet.png"
    rows = [[gradient(40 + 60 * i + 20 * j) for j in range(3)] for i in range(2)]
    sheet.contact_sheet(path, rows, ["Plate", "Layer", "Comp"], ["1001", "1048"], title="Über", width=90)
    drawn = oiio.ImageInput.open(str(path)).read_image("uint8")
    for i in range(2):
        for j in range(3):
            assert (drawn == 40 + 60 * i + 20 * j).all(-1).sum() >= 60 * 90, (i, j)
    assert drawn.max() > 200
    assert [entry.name for entry in tmp_path.iterdir()] == ["sheet.png"]


def test_sheet_as_jpeg(tmp_path):
    path = tmp_path / "sheet.jpg"
    sheet.contact_sheet(path, [[gradient(100)]], ["A"], ["1001"], width=90)
    assert path.read_bytes()[:3] == b"\xff\xd8\xff"


def test_sheet_text_lies_outside_the_pictures(tmp_path):
    path = tmp_path / "sheet.png"
    sheet.contact_sheet(path, [[gradient(0)]], ["A column"], ["1001"], remark="A remark", width=90)
    drawn = oiio.ImageInput.open(str(path)).read_image("uint8")
    y, x = np.nonzero((drawn == 0).all(-1))
    assert (y.max() - y.min() + 1, x.max() - x.min() + 1) == (60, 90)
    assert not drawn[y.min() : y.max() + 1, x.min() : x.max() + 1].any()


@pytest.mark.parametrize(
    ("rows", "columns", "captions"),
    [
        ([], [], []),
        ([[gradient(0)]], ["one", "two"], ["1001"]),
        ([[gradient(0)]], ["one"], ["1001", "1002"]),
        ([[gradient(0), gradient(0, (61, 90))]], ["one", "two"], ["1001"]),
    ],
)
def test_sheet_refuses_what_does_not_fit(tmp_path, rows, columns, captions):
    with pytest.raises(ValueError):
        sheet.contact_sheet(tmp_path / "sheet.png", rows, columns, captions)
    assert not list(tmp_path.iterdir())


def test_checkerboard_shows_where_the_matte_ends():
    matte = np.zeros((64, 64), np.float32)
    matte[:, 32:] = 1
    matte[0, 0] = np.nan
    shown = sheet.over_checkerboard(gradient(200, (64, 64)), matte)
    assert (shown[:, 32:] == 200).all()
    assert set(np.unique(shown[:, :32])) == {84, 118}


def test_window_holds_the_points_and_stays_inside():
    points = np.array([[[100, 50], [200, 150]], [[110, 60], [np.nan, np.nan]]], np.float32)
    rows, columns = sheet.window_around(points, (540, 960), margin=0.5, shape=1.2)
    assert (rows.start, rows.stop) == (0, 200) and (columns.start, columns.stop) == (30, 270)
    assert sheet.window_around(points * np.nan, (540, 960)) == (slice(0, 540), slice(0, 960))
    everything = sheet.window_around(points, (100, 120), margin=2)
    assert everything == (slice(0, 100), slice(0, 120))
