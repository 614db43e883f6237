"""Movies: the right frame, the right values, the right time, sound and names; there and back."""

import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.files.delivery import DELIVERIES, sound_of, times_of, writing_movie
from mien.files.layers import read_provenance
from mien.files.region import Region
from mien.files.shot import (
    Shot,
    analysis_picture,
    frame_timecode,
    open_shot,
    read_channels,
    read_header,
    read_native,
    read_region,
)
from mien.files.yuv import WEIGHTS, Coding, from_rgb, to_rgb
from mien.types import MienError
from shots import write_movie

Floats = np.ndarray[Any, np.dtype[np.float32]]
SIZE = (96, 64)


def soft(seed: int, channels: int = 3, size: tuple[int, int] = SIZE) -> Floats:
    """A smooth picture within 0.1 to 0.9, which chroma at half the resolution can hold."""
    width, height = size
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width] / max(size)
    waves = [
        0.5 + 0.4 * np.sin(random.uniform(2, 6) * columns + random.uniform(2, 6) * rows + random.uniform(0, 6))
        for _ in range(channels)
    ]
    return np.stack(waves, -1).astype(np.float32)


def numbered(count: int) -> Iterator[Floats]:
    """Flat frames whose level tells their number."""
    for number in range(count):
        yield np.full((SIZE[1], SIZE[0], 3), 0.1 + 0.8 * number / count, np.float32)


def number_of(shot: Shot, frame: int, count: int) -> int:
    level = float(read_region(shot, frame, Region(30, 20, 8, 8)).mean())
    return round((level - 0.1) / 0.8 * count)


@pytest.mark.parametrize("matrix", sorted(WEIGHTS))
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_codes_are_those_of_the_recommendations(matrix: str, full: bool, bits: int) -> None:
    """Primaries, black and white by the published formula, in exact arithmetic, and back again."""
    red, blue = WEIGHTS[matrix]
    colors = np.array([[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0.25, 0.5, 0.75]], np.float64)
    luma = colors @ [red, 1 - red - blue, blue]
    chroma = ((colors[:, 2] - luma) / (2 - 2 * blue), (colors[:, 0] - luma) / (2 - 2 * red))
    unit = 1 << (bits - 8)
    top = (1 << bits) - 1
    if full:
        expected = [luma * top, *(one * top + (1 << (bits - 1)) for one in chroma)]
    else:
        expected = [luma * 219 * unit + 16 * unit, *(one * 224 * unit + 128 * unit for one in chroma)]
    coding = Coding(matrix, bits, full)
    picture = colors.astype(np.float32)[None]
    planes = from_rgb(picture, coding)
    for plane, exact in zip(planes, expected):
        assert np.abs(plane[0] - np.clip(exact, 0, top)).max() <= 0.5 + 1e-3 * unit
    tolerance = 2.5 / (219 * unit)
    assert np.abs(to_rgb(planes, coding, Region(0, 0, 6, 1)) - picture).max() < tolerance


def test_values_beyond_white_and_black_survive() -> None:
    planes = [np.array([[255, 1]], np.uint8), np.full((1, 2), 128, np.uint8), np.full((1, 2), 128, np.uint8)]
    levels = to_rgb(planes, Coding("bt709", 8, full=False), Region(0, 0, 2, 1))[0, :, 0]
    assert np.allclose(levels, [(255 - 16) / 219, (1 - 16) / 219])


@pytest.mark.parametrize("subsampling", [(2, 1), (2, 2)])
def test_chroma_sits_where_the_standard_puts_it(subsampling: tuple[int, int]) -> None:
    """A ramp of chroma, sampled on the left pixel of two and between rows, comes back as the same ramp."""
    across, down = subsampling
    columns, rows = np.arange(0, 32, across), np.arange(0, 16, down) + (down - 1) / 2
    ramp = 20000 + 300 * columns[None, :] + 500 * rows[:, None]
    planes = [np.full((16, 32), 30000, np.uint16), np.full(ramp.shape, 32768, np.uint16), ramp.astype(np.uint16)]
    coding = Coding("bt709", 16, full=True, subsampling=subsampling)
    red = to_rgb(planes, coding, Region(0, 0, 32, 16))[..., 0]
    exact = 20000 + 300 * np.arange(32)[None, :] + 500 * np.arange(16)[:, None]
    expected = 30000 / 65535 + 2 * (1 - 0.2126) * (exact - 32768) / 65535
    inside = np.s_[1:-1, : 32 - across]
    assert np.abs(red[inside] - expected[inside]).max() < 2e-5


@settings(max_examples=40)
@given(
    st.sampled_from([(1, 1), (2, 1), (2, 2), (4, 1)]), st.booleans(),
    st.integers(0, 30), st.integers(0, 20), st.integers(1, 20), st.integers(1, 20),
)  # fmt: skip
def test_a_region_equals_the_whole_cut(
    subsampling: tuple[int, int], centered: bool, x: int, y: int, width: int, height: int
) -> None:
    random = np.random.default_rng(0)
    across, down = subsampling
    coarse = (-(-40 // down), -(-50 // across))
    planes = [random.integers(0, 1024, shape).astype(np.uint16) for shape in ((40, 50), coarse, coarse)]
    coding = Coding("bt601", 10, full=False, subsampling=subsampling, centered=centered)
    whole = to_rgb(planes, coding, Region(0, 0, 50, 40))
    part = to_rgb(planes, coding, Region(x, y, width, height))
    assert np.allclose(part, whole[y : y + height, x : x + width], atol=1e-6)


REAL = {
    "derived/h264_aac.mp4": (24, (320, 320), Fraction(24), "yuv420p"),
    "derived/prores4444_alpha_pcm.mov": (8, (320, 320), Fraction(24), "yuva444p12le"),
    "derived/prores422hq_23976.mov": (8, (320, 320), Fraction(24000, 1001), "yuv422p10le"),
    "derived/h264_odd_319x321.mp4": (24, (319, 321), Fraction(24), "yuv444p"),
    "derived/hevc_10bit.mp4": (12, (320, 320), Fraction(24), "yuv420p10le"),
    "derived/ffv1_rgb16.mkv": (4, (320, 320), Fraction(24), "gbrp16le"),
    "derived/one_frame.mp4": (1, (320, 320), Fraction(24), "yuv420p"),
    "torchcodec/test/resources/bt709_full_range.mp4": (30, (1280, 720), Fraction(30), "yuvj420p"),
    "torchcodec/test/resources/h264_10bits.mp4": (30, (200, 200), Fraction(30), "yuv420p10le"),
    "torchcodec/test/resources/h265_10bits.mp4": (30, (200, 200), Fraction(30), "yuv420p10le"),
    "torchcodec/test/resources/av1_video.mkv": (125, (640, 360), Fraction(25), "yuv420p"),
    "intel/preview/head-pose-face-detection-male.gif": (62, (480, 270), Fraction(12), "bgra"),
}


@pytest.mark.parametrize("name", REAL)
def test_real_movies_agree_with_ffmpegs_own_scaler(shared: Path, name: str) -> None:
    """The picture for looking at comes from swscale, the exact one from our formula: half a code apart."""
    shot = open_shot(shared / "media" / name)
    assert shot.movie is not None
    facts = shot.movie.facts
    assert (facts.count, shot.size, shot.fps, facts.layout) == REAL[name]
    assert (shot.first, shot.last, facts.variable) == (1, facts.count, False)
    for frame in {1, shot.last // 2 + 1, shot.last}:
        exact = np.clip(read_region(shot, frame, shot.display), 0, 1) * 255
        seen = analysis_picture(shot, frame)
        assert seen.shape == exact.shape
        # The last column differs by how the two go on beyond the edge; 16 bits are cut to 8, not rounded.
        away = np.abs(exact - seen)[:, :-2]
        if facts.codec in ("prores", "libdav1d") and facts.layout.startswith(("yuv420p", "yuv422p")):
            # These do not say where chroma sits, and swscale then takes the middle, which is half a pixel off.
            assert away.mean() < 1
        else:
            assert away.max() < (1.01 if facts.layout == "gbrp16le" else 0.53)


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_pictures_come_back(tmp_path: Path, delivery: str) -> None:
    way = DELIVERIES[delivery]
    path = tmp_path / f"m{way.endings[0]}"
    alpha = bool(way.layout_alpha)
    # DNxHR and 601/709 rules both look at the size; 722 rows would hide a missing tag.
    pictures = [soft(seed, 4 if alpha else 3, (256, 128)) for seed in range(5)]
    write_movie(
        path, pictures, delivery, size=(256, 128), fps=Fraction(24000, 1001), timecode="10:59:59:22",
        provenance={"recipe": 'ä "quoted"', "engine": "0.1.0"},
    )  # fmt: skip
    shot = open_shot(path)
    assert shot.movie is not None
    assert (shot.size, shot.last, shot.fps, shot.color) == (
        (256, 128),
        5,
        Fraction(24000, 1001),
        "g24_rec709_display",
    )
    assert shot.timecode == "10:59:59:22" and frame_timecode(shot, 3) == "11:00:00:00"
    assert read_header(shot, 3).timecode == "11:00:00:00"
    assert read_provenance(path) == {"recipe": 'ä "quoted"', "engine": "0.1.0"}
    limit = 0.012 if way.bits == 8 else 0.006
    for frame, picture in enumerate(pictures, 1):
        assert np.abs(read_region(shot, frame, shot.display) - picture[..., :3]).mean() < limit
    if alpha:
        got = read_channels(shot, 2, shot.display, ["A"])[..., 0]
        assert np.abs(got - pictures[1][..., 3]).max() < 0.002
        assert read_native(shot, 2).pixels[0].shape == (128, 256, 4)
    assert list(tmp_path.iterdir()) == [path]


def test_odd_sizes_are_padded_and_sizes_changed(tmp_path: Path) -> None:
    picture = soft(0, size=(97, 65))
    write_movie(tmp_path / "a.mp4", [picture] * 2, "h264", size=(97, 65), fps=Fraction(25))
    shot = open_shot(tmp_path / "a.mp4")
    assert shot.size == (98, 66)
    assert np.abs(read_region(shot, 1, Region(0, 0, 97, 65)) - picture).mean() < 0.012
    write_movie(tmp_path / "b.mov", [soft(0)] * 2, "prores422hq", size=(48, 32), fps=Fraction(25), aspect=2.0)
    small = open_shot(tmp_path / "b.mov")
    assert (small.size, small.aspect) == ((48, 32), 2.0)
    assert np.abs(read_region(small, 1, small.display) - soft(0)[::2, ::2]).mean() < 0.02
    assert analysis_picture(small, 1).shape == (32, 96, 3)


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".mov"])
def test_any_order_gives_the_same_frames(tmp_path: Path, ending: str) -> None:
    """Long groups of pictures with B frames, read forward, backward and at random, also from threads."""
    count = 60
    path = tmp_path / f"m{ending}"
    write_movie(path, numbered(count), "h264", size=SIZE, fps=Fraction(24))
    order = [*range(1, 61), *range(60, 0, -1), *np.random.default_rng(0).integers(1, 61, 40).tolist()]
    shot = open_shot(path)
    assert [number_of(shot, frame, count) for frame in order] == [frame - 1 for frame in order]
    reference = {frame: read_region(shot, frame, shot.display) for frame in range(1, 61)}
    alone = read_region(open_shot(path), 37, shot.display)
    assert np.array_equal(alone, reference[37])
    wrong: list[int] = []

    def read(frames: range) -> None:
        for frame in frames:
            if not np.array_equal(read_region(shot, frame, shot.display), reference[frame]):
                wrong.append(frame)

    threads = [threading.Thread(target=read, args=(frames,)) for frames in (range(1, 61, 2), range(60, 0, -3))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_frames_that_an_edit_list_hides_are_not_counted(shared: Path, tmp_path: Path) -> None:
    """Cut on a phone: the file holds frames before the first that is shown."""
    path = tmp_path / "m.mp4"
    with (
        av.open(str(shared / "media/derived/h264_aac.mp4")) as source,
        av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as container,
    ):
        stream = container.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                assert packet.pts is not None and packet.dts is not None
                packet.pts -= 5 * 512
                packet.dts -= 5 * 512
                packet.stream = stream
                container.mux(packet)
    whole = open_shot(shared / "media/derived/h264_aac.mp4")
    shot = open_shot(path)
    assert (shot.last, shot.missing) == (19, ())
    for frame in (1, 19, 7):
        assert np.array_equal(read_region(shot, frame, shot.display), read_region(whole, frame + 5, whole.display))


def test_the_first_frame_may_be_numbered_and_a_range_chosen(tmp_path: Path) -> None:
    write_movie(tmp_path / "m.mov", numbered(10), "prores422", size=SIZE, fps=Fraction(24), timecode="01:00:00:00")
    shot = open_shot(tmp_path / "m.mov", (1003, 1005), first_frame=1001)
    assert (shot.first, shot.last, shot.timecode) == (1003, 1005, "01:00:00:02")
    assert [number_of(shot, frame, 10) for frame in (1003, 1005)] == [2, 4]
    with pytest.raises(MienError, match="1003 to 1005"):
        read_region(shot, 1002, shot.display)
    with pytest.raises(MienError, match="1001 to 1010"):
        open_shot(tmp_path / "m.mov", (1, 10), first_frame=1001)
    longer = open_shot(tmp_path / "m.mov", (8, 12))
    assert longer.missing == (11, 12)


def test_frames_of_a_variable_rate_are_all_there_and_keep_their_time(shared: Path, tmp_path: Path) -> None:
    shot = open_shot(shared / "media/derived/h264_vfr.mp4")
    assert shot.movie is not None and shot.movie.facts.variable and shot.movie.facts.count == 24
    with av.open(str(shot.path)) as container:
        stream = container.streams.video[0]
        shown = [frame.pts * stream.time_base for frame in container.decode(stream)]
    times = times_of(shot, shot.frames)
    assert times is not None and list(times) == [Fraction(at - shown[0]) for at in shown]
    pictures = [read_region(shot, frame, shot.display) for frame in shot.frames]
    assert shot.fps is not None
    write_movie(tmp_path / "m.mov", pictures, "prores422", size=shot.size, fps=shot.fps, times=times)
    again = open_shot(tmp_path / "m.mov")
    assert again.movie is not None and again.movie.facts.variable
    assert max(abs(a - b) for a, b in zip(again.movie.times, times, strict=True)) <= Fraction(1, 24000)
    assert times_of(open_shot(shared / "media/derived/h264_aac.mp4"), [1, 2]) is None


@pytest.mark.parametrize(("source", "ending"), [("h264_aac.mp4", ".mp4"), ("prores4444_alpha_pcm.mov", ".mov")])
def test_sound_is_copied_packet_by_packet(shared: Path, tmp_path: Path, source: str, ending: str) -> None:
    shot = open_shot(shared / "media/derived" / source)
    first, last = shot.first + 1, shot.last - 1
    sound = sound_of(shot, first, last)
    assert sound is not None and shot.fps is not None
    pictures = [soft(0, size=(320, 320))] * (last - first + 1)
    delivery = "h264" if ending == ".mp4" else "prores4444"
    path = tmp_path / f"m{ending}"
    write_movie(path, pictures, delivery, size=(320, 320), fps=shot.fps, sound=sound)

    def packets(file: Path) -> list[tuple[Fraction, bytes]]:
        with av.open(str(file)) as container:
            stream = container.streams.audio[0]
            return [(packet.pts * stream.time_base, bytes(packet)) for packet in container.demux(stream) if packet.size]

    before, after = packets(shot.path), packets(path)
    content = [data for _, data in before]
    start = content.index(after[0][1])
    assert content[start : start + len(after)] == [data for _, data in after]
    assert len(after) >= 3
    # Each packet is heard at the same distance from the first picture as before, to a sample or so.
    for (now, _), (then, _) in zip(after, before[start:]):
        assert abs(now - (then - sound.start)) < Fraction(1, 1000)
    assert before[start][0] <= sound.start and abs(after[-1][0] - len(pictures) / shot.fps) < Fraction(1, 8)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_the_rotation_tag_is_honored(tmp_path: Path, degrees: int) -> None:
    picture = soft(3)
    path = tmp_path / "m.mov"
    codes = np.rint(picture * 255).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=24, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "rgb24"
        stream.set_display_rotation(degrees)
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(codes, format="rgb24").reformat(format="bgr0")))
        container.mux(stream.encode(None))
    shot = open_shot(path)
    upright = np.rot90(codes, degrees // 90).astype(np.float32) / np.float32(255)
    assert shot.size == (upright.shape[1], upright.shape[0])
    assert np.array_equal(read_region(shot, 1, shot.display), upright)
    assert np.array_equal(read_region(shot, 2, Region(7, 11, 20, 30)), upright[11:41, 7:27])
    around = read_region(shot, 2, Region(-3, -2, 10, 9))
    assert np.array_equal(around[2:, 3:], upright[:7, :7]) and not around[:2].any()
    assert np.abs(analysis_picture(shot, 1) / 255 - upright).max() < 1e-6


def test_the_same_pictures_give_the_same_movie(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_movie(tmp_path / f"{name}.mov", [soft(1)] * 3, "prores4444", size=SIZE, fps=Fraction(24))
        write_movie(tmp_path / f"{name}.mp4", numbered(9), "h264", size=SIZE, fps=Fraction(24))
    assert (tmp_path / "a.mov").read_bytes() == (tmp_path / "b.mov").read_bytes()
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_movie_that_fails_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m.mov"
    with pytest.raises(KeyError), writing_movie(path, "prores422", size=SIZE, fps=Fraction(24)) as append:
        append(soft(0))
        raise KeyError
    with pytest.raises(MienError, match="no picture"):
        write_movie(path, [], "prores422", size=SIZE, fps=Fraction(24))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(MienError, match="prores422hq"):
        write_movie(path, [soft(0)], "vhs", size=SIZE, fps=Fraction(24))
    with pytest.raises(MienError, match=r"\.mov"):
        write_movie(tmp_path / "m.mp4", [soft(0)], "prores422", size=SIZE, fps=Fraction(24))


def test_a_matroska_file_cut_short_lacks_the_frames_that_its_length_tells_of(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.mkv", tmp_path / "cut.mkv"
    with av.open(str(whole), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        noise = np.random.default_rng(0)
        for _ in range(20):
            codes = noise.integers(0, 256, (48, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(codes, format="rgb24")))
        container.mux(stream.encode(None))
    assert len(open_shot(whole).frames) == 20
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    shot = open_shot(cut)
    assert len(shot.frames) == 20
    assert read_region(shot, 2, Region(0, 0, 8, 8)).shape == (8, 8, 3)
    with pytest.raises(MienError, match=r"Frame 20 of .*cut\.mkv is damaged"):
        read_region(shot, 20, Region(0, 0, 8, 8))


@pytest.mark.parametrize("times", [[0, 10, 200, 210, 900, 2000], [500, 540, 580, 3000]])
def test_a_matroska_file_of_uneven_times_is_whole(tmp_path: Path, times: list[int]) -> None:
    with av.open(str(tmp_path / "m.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for time in times:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), time % 251, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert len(open_shot(tmp_path / "m.mkv").frames) == len(times)
