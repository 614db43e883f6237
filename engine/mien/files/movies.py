"""Movies, frame by frame: any frame by its place, at the depth, matrix and range it was coded with.

Public: ``Movie``.

Every coded frame is one frame, also where their durations differ; ``Movie.times`` keeps when each is shown.
Frames that are damaged, or promised and not there, raise an error of their own and leave the others readable.
"""

import bisect
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from mien.files.region import Region
from mien.files.stills import first_line, nearest_rate
from mien.files.yuv import Coding, Plane, to_rgb
from mien.types import MienError

_LONGEST_SIDE = 1 << 14
_MOST_FRAMES = 1 << 23
# Decoding on is cheaper than going back to a key frame when the wanted frame is this near.
_NEAR = 24
# So many decoded frames stay at hand, so that going backwards does not decode each anew.
_KEPT_BYTES = 96 << 20
_KEPT_LEAST = 3
_PLANAR = re.compile(r"(?P<kind>yuvj|yuva|yuv|gbrp|gbrap|gray)(?P<chroma>4\d\dp)?(?P<float>f)?(?P<depth>\d*)(le)?")
_SUBSAMPLING = {"444p": (1, 1), "440p": (1, 2), "422p": (2, 1), "420p": (2, 2), "411p": (4, 1), "410p": (4, 4)}
# Codecs that put chroma in the middle of its pixels.
_CENTERED = frozenset(("mpeg1video", "mjpeg"))
# The same samples, laid out in planes.
_UNPACKED = {
    "nv12": "yuv420p", "nv21": "yuv420p", "nv16": "yuv422p", "nv24": "yuv444p", "nv42": "yuv444p",
    "yuyv422": "yuv422p", "uyvy422": "yuv422p", "yvyu422": "yuv422p",
    "p010le": "yuv420p10le", "p210le": "yuv422p10le", "p410le": "yuv444p10le", "y210le": "yuv422p10le",
    "p012le": "yuv420p12le", "p212le": "yuv422p12le", "p412le": "yuv444p12le", "y212le": "yuv422p12le",
    "p016le": "yuv420p16le", "p216le": "yuv422p16le", "p416le": "yuv444p16le", "ayuv64le": "yuva444p16le",
    "rgb24": "gbrp", "bgr24": "gbrp", "rgb0": "gbrp", "bgr0": "gbrp", "0rgb": "gbrp", "0bgr": "gbrp",
    "rgba": "gbrap", "bgra": "gbrap", "argb": "gbrap", "abgr": "gbrap", "pal8": "gbrap",
    "rgb48le": "gbrp16le", "rgb48be": "gbrp16le", "bgr48le": "gbrp16le",
    "rgba64le": "gbrap16le", "rgba64be": "gbrap16le", "bgra64le": "gbrap16le",
    "ya8": "gray", "ya16le": "gray16le", "monow": "gray", "monob": "gray",
}  # fmt: skip
_MATRIX = {1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020"}
_MATRIX_NAME = {8: "YCgCo", 10: "BT.2020 constant luminance", 14: "ICtCp"}
_SWSCALE = {"bt709": 1, "fcc": 4, "bt601": 5, "smpte240m": 7, "bt2020": 9}
_LIMITED, _FULL = 1, 2
# Playlists, slide shows and text that FFmpeg would also open could lead anywhere.
_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mxf,mxf_opatom,mpeg,mpegts,mpegvideo,"
    "h264,hevc,ivf,obu,flv,asf,ogg,dv,nut,yuv4mpegpipe,gif,apng",
}
# Color primaries and transfer, as ITU-T H.273 numbers them, and the interchange name of the space.
_COLOR = {
    (1, 1): "g24_rec709_display", (1, 6): "g24_rec709_display", (5, 6): "g24_rec709_display",
    (6, 6): "g24_rec709_display", (1, 4): "g22_rec709_display", (1, 13): "srgb_rec709_display",
    (9, 16): "pq_rec2020_display", (9, 18): "hlg_rec2020_display", (12, 13): "srgb_p3d65_display",
}  # fmt: skip


class _Coded(NamedTuple):
    """A frame as the container lists it: when it is shown, where a seek finds it, whether one can start there."""

    shown: int
    decoded: int
    key: bool


@dataclass(frozen=True)
class MovieFacts:
    """What a movie says of itself.

    Attributes:
        count: Number of frames, damaged ones included.
        size: Width and height as shown, turned by the rotation tag.
        aspect: Width of a shown pixel over its height.
        fps: Frames per second; for a variable rate, the mean.
        variable: Frames are not shown at even intervals.
        timecode: Timecode of the first frame, where there is one.
        color: Interchange name of the color space that the stream is tagged with.
        codec: Name of the codec.
        layout: FFmpeg's name of the sample layout (depth and subsampling).
        alpha: There is an alpha channel.
        metadata: What the container and the stream say, by name.
    """

    count: int
    size: tuple[int, int]
    aspect: float
    fps: Fraction
    variable: bool
    timecode: str | None
    color: str | None
    codec: str
    layout: str
    alpha: bool
    metadata: dict[str, str]


class Movie:
    """An open movie. Frames are counted from 0; ``name`` is how the first of them is numbered to people.

    May be used from several threads; one decodes at a time.
    """

    def __init__(self, path: Path, first: int = 1) -> None:
        self.path = path
        self._first = first
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, Any] = OrderedDict()
        self._container: Any = None
        self._decoded: Iterator[Any] = iter(())
        self._position: int | None = None
        with _explained(path):
            self._coded = _listing(path)
        self._shown = [coded.shown for coded in self._coded]
        self._keys = [coded for coded in self._coded if coded.key] or self._coded[:1]
        try:
            with self._lock, _explained(path):
                self._open()
                self._turned, color = self._first_frame()
                self.facts = self._facts(color)
        except BaseException:
            # Else its threads live on until somebody collects garbage.
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._container is not None:
                self._container.close()
            self._container = None
            self._kept.clear()

    @property
    def start(self) -> Fraction:
        """When the first frame is shown, in seconds of the file, which its sound counts in."""
        return self._shown[0] * Fraction(self._base)

    @property
    def times(self) -> tuple[Fraction, ...]:
        """When each frame is shown, in seconds from the first."""
        base = Fraction(self._base)
        return tuple((shown - self._shown[0]) * base for shown in self._shown)

    def picture(self, index: int, region: Region) -> NDArray[np.float32]:
        """(height, width, 3) R'G'B' of a region of a frame, 0 black to 1 white; zero outside the picture.

        Raises:
            MienError: The frame is damaged or missing.
        """
        return self._drawn(index, region, self._rgb)

    def alpha(self, index: int, region: Region) -> NDArray[np.float32]:
        """(height, width, 1) alpha of a region of a frame; 1 inside the picture of a movie without.

        Raises:
            MienError: The frame is damaged or missing.
        """
        return self._drawn(index, region, _alpha)

    def thumbnail(self, index: int) -> NDArray[np.uint8]:
        """(height, width, 3) R'G'B' in 8 bits with square pixels: width is the picture's times its aspect.

        Fast, for looking at: values beyond black and white are cut.

        Raises:
            MienError: The frame is damaged or missing.
        """
        frame = self._frame(index)
        coding = _coding(self.path, frame, self.facts.codec)
        width, height, aspect = frame.width, frame.height, self.facts.aspect
        if self._turned in (90, 270):
            height = max(1, round(height * aspect))
        else:
            width = max(1, round(width * aspect))
        matrix = _SWSCALE.get(coding.matrix)
        small = frame.reformat(
            width=width,
            height=height,
            format="rgb24",
            src_colorspace=matrix,
            dst_colorspace=matrix,
            interpolation=Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT,
            src_color_range=_FULL if coding.full else _LIMITED,
            dst_color_range=_FULL,
            threads=1,
        )
        return np.ascontiguousarray(np.rot90(small.to_ndarray(), self._turned // 90))

    def _rgb(self, frame: Any, region: Region) -> NDArray[np.float32]:
        return to_rgb(_planes(_planar(frame)), _coding(self.path, frame, self.facts.codec), region)

    def _drawn(self, index: int, region: Region, draw: Any) -> NDArray[np.float32]:
        frame = self._frame(index)
        shown = Region(0, 0, *self.facts.size)
        wanted = region.overlap(shown)
        turns = self._turned // 90
        inside = _unturned(wanted, shown, turns)
        if wanted == region:
            return np.ascontiguousarray(np.rot90(draw(frame, inside), turns))
        part = np.rot90(draw(frame, inside), turns) if wanted.width and wanted.height else None
        picture = np.zeros((region.height, region.width, part.shape[2] if part is not None else 3), np.float32)
        if part is not None:
            picture[wanted.within(region)] = part
        return picture

    def _frame(self, index: int) -> Any:
        if not 0 <= index < len(self._coded):
            first, last = self._first, self._first + len(self._coded) - 1
            raise MienError(f"{self.path} has no frame {index + first}. It has {first} to {last}.")
        with self._lock, _explained(self.path):
            shown = self._shown[index]
            if shown not in self._kept:
                self._decode_to(index)
            frame = self._kept.get(shown)
        if frame is None or frame.is_corrupt:
            raise MienError(
                f"Frame {index + self._first} of {self.path} is damaged. Copy the movie again or leave it out."
            )
        return frame

    def _decode_to(self, index: int) -> None:
        """Decode until a frame is kept, or it is certain that it will not come."""
        shown = self._shown[index]
        place = max(0, bisect.bisect_right(self._keys, shown, key=lambda coded: coded.shown) - 1)
        if self._container is None:
            self._open()
        elif self._position is not None and self._position < shown:
            start = bisect.bisect_left(self._shown, self._position)
            if index - start <= _NEAR or self._keys[place].shown <= self._position:
                self._run_to(shown)
                return
        while place >= 0:
            self._seek(self._keys[place])
            begin = self._run_to(shown)
            # A seek may land behind its key frame, in containers that know no better: try the one before.
            if begin is None or begin <= shown:
                return
            place -= 1
        self._open()
        self._run_to(shown)

    def _run_to(self, shown: int) -> int | None:
        """Decode up to a presentation time; answers the first time that came."""
        begin: int | None = None
        for frame in self._decoded:
            if frame.pts is None:
                continue
            begin = frame.pts if begin is None else begin
            self._position = frame.pts
            self._kept[frame.pts] = frame
            self._kept.move_to_end(frame.pts)
            size = sum(plane.buffer_size for plane in frame.planes)
            while len(self._kept) > max(_KEPT_LEAST, _KEPT_BYTES // max(1, size)):
                self._kept.popitem(last=False)
            if frame.pts >= shown:
                return begin
        self._position = None
        return begin

    def _open(self) -> None:
        if self._container is not None:
            self._container.close()
        self._container = open_container(self.path)
        stream = self._container.streams.video[0]
        stream.codec_context.thread_type = "AUTO"
        stream.codec_context.thread_count = 2
        self._base = stream.time_base
        self._position = None
        self._decoded = _decoded(self._container, stream)

    def _seek(self, key: _Coded) -> None:
        stream = self._container.streams.video[0]
        try:
            self._container.seek(key.decoded, stream=stream, backward=True, any_frame=False)
        except av.error.FFmpegError:
            self._open()
            return
        self._position = None
        self._decoded = _decoded(self._container, stream)

    def _first_frame(self) -> tuple[int, str | None]:
        """Degrees counterclockwise that show the picture upright, and its color space as it is tagged."""
        for frame in self._decoded:
            if frame.pts is not None:
                self._position = frame.pts
                self._kept[frame.pts] = frame
            tags = (int(frame.color_primaries), int(frame.color_trc))
            return round(frame.rotation / 90) * 90 % 360, _COLOR.get(tags)
        return 0, None

    def _facts(self, color: str | None) -> MovieFacts:
        container, stream = self._container, self._container.streams.video[0]
        context = stream.codec_context
        width, height = context.width, context.height
        sample = stream.sample_aspect_ratio or context.sample_aspect_ratio
        aspect = float(sample) if sample and 0.01 < sample < 100 else 1.0
        if self._turned in (90, 270):
            width, height, aspect = height, width, 1.0 / aspect
        fps, variable = _rate(stream, self._shown)
        codes = [_lowered(source.metadata).get("timecode") for source in (stream, container, *container.streams)]
        metadata = {**_lowered(container.metadata), **_lowered(stream.metadata)}
        if color is not None:
            metadata["colorInteropID"] = color
        return MovieFacts(
            count=len(self._coded),
            size=(width, height),
            aspect=aspect,
            fps=fps,
            variable=variable,
            timecode=next((code for code in codes if code), None),
            color=color,
            codec=context.name,
            layout=context.pix_fmt or "",
            alpha=any(component.is_alpha for component in context.format.components),
            metadata=metadata,
        )


def open_container(path: Path) -> Any:
    """FFmpeg's view of a movie file, and of nothing else: no network, no playlists, no stills."""
    return av.open(f"file:{path}", options=_OPTIONS, metadata_errors="replace")


def _lowered(metadata: Any) -> dict[str, str]:
    """Names in small letters: Matroska shouts what QuickTime says."""
    return {name.lower(): value for name, value in metadata.items()}


class _explained:
    """Turns what FFmpeg raises into something a person can mend."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FileNotFoundError):
            raise MienError(f"Cannot read {self.path}: there is no such file. Check the path.") from error
        if isinstance(error, (av.error.FFmpegError, OSError)):
            reason = first_line(error.strerror or str(error))
            raise MienError(f"Cannot read {self.path}: {reason}. It is no movie or damaged.") from error


def _listing(path: Path) -> list[_Coded]:
    """All frames of the first video stream in the order they are shown, without decoding them."""
    with open_container(path) as container:
        if not container.streams.video:
            raise MienError(f"{path} has no pictures, only {container.format.long_name}. Choose another file.")
        stream = container.streams.video[0]
        context = stream.codec_context
        if context is None:
            raise MienError(f"{path} does not say how its pictures are coded. It is damaged.")
        if not (0 < context.width <= _LONGEST_SIDE and 0 < context.height <= _LONGEST_SIDE):
            raise MienError(f"{path} claims {context.width} x {context.height} pixels. It is damaged.")
        if context.format is None:
            raise MienError(f"{path} does not say how its pictures are stored. It is damaged.")
        # An edit list may leave out frames that the track counts; the index then knows better.
        promised = len(stream.index_entries) if len(stream.index_entries) > 1 else stream.frames
        coded, found = _from_index(path) or _from_packets(path, container, stream)
        if not coded:
            raise MienError(f"{path} holds no frame. Copy it again.")
        coded = sorted({frame.shown: frame for frame in coded}.values())
        # What a file cut short promised is numbered too, so that people hear which frames are missing.
        step = max(1, round((coded[-1].shown - coded[0].shown) / max(1, len(coded) - 1)))
        for _ in range(found, min(promised, _MOST_FRAMES)):
            last = coded[-1]
            coded.append(_Coded(last.shown + step, last.decoded + step, False))
        return coded


def _from_index(path: Path) -> tuple[list[_Coded], int] | None:
    """Frames by the container's own table, where every frame is a key frame and is shown as it is decoded.

    Long ProRes and DNxHR movies then open without being read through.
    """
    with open_container(path) as container:
        stream = container.streams.video[0]
        entries = stream.index_entries
        if not 1 < len(entries) == stream.frames <= _MOST_FRAMES:
            return None
        if not all(entry.is_keyframe and not entry.is_discard for entry in entries):
            return None
        first = next((packet for packet in _packets(container, stream) if packet.size), None)
        if first is None or first.pts is None or first.pts != first.dts:
            return None
        late = first.pts - entries[0].timestamp
        return [_Coded(entry.timestamp + late, entry.timestamp + late, True) for entry in entries], len(entries)


def _from_packets(path: Path, container: Any, stream: Any) -> tuple[list[_Coded], int]:
    """Frames by reading through the file; and how many there were with those that are not to be shown."""
    coded: list[_Coded] = []
    found = 0
    for packet in _packets(container, stream):
        if packet.size == 0:
            continue
        found += 1
        if packet.is_discard:
            continue
        shown = packet.pts if packet.pts is not None else packet.dts
        if shown is None:
            raise MienError(f"{path} does not say when its frames are shown. Rewrap it as .mov or .mp4.")
        decoded = packet.dts if packet.dts is not None else shown
        coded.append(_Coded(shown, decoded, packet.is_keyframe))
        if found > _MOST_FRAMES:
            raise MienError(f"{path} has more than {_MOST_FRAMES} frames. Cut it into shots.")
    return coded, found


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    packets = container.demux(stream)
    while True:
        try:
            yield next(packets)
        except (StopIteration, av.error.FFmpegError):
            # What comes after a break in the file is not there; frames before it are.
            return


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    for packet in _packets(container, stream):
        try:
            yield from packet.decode()
        except av.error.FFmpegError:
            # A damaged frame: it will be missed under its own number.
            continue


def _rate(stream: Any, shown: list[int]) -> tuple[Fraction, bool]:
    base = Fraction(stream.time_base)
    guess = stream.average_rate or stream.guessed_rate or stream.base_rate
    if len(shown) < 2:
        return nearest_rate(float(guess)) if guess else Fraction(24), False
    mean = Fraction(len(shown) - 1) / ((shown[-1] - shown[0]) * base)
    for candidate in (guess, stream.guessed_rate, stream.base_rate, mean):
        if not candidate:
            continue
        rate = nearest_rate(float(candidate))
        # Times are whole ticks of the time base, so that even frames may seem up to one tick off.
        if all(abs((at - shown[0]) - index / rate / base) <= 1 for index, at in enumerate(shown)):
            return rate, False
    return nearest_rate(float(mean)), True


def _coding(path: Path, frame: Any, codec: str) -> Coding:
    """What the samples of a frame mean, once they lie in planes."""
    name = _UNPACKED.get(frame.format.name, frame.format.name)
    layout = _PLANAR.fullmatch(name)
    bits = int((layout["depth"] if layout else "") or 8)
    floats = bool(layout and layout["float"])
    tagged = int(frame.color_range)
    if layout is None or layout["kind"] in ("gbrp", "gbrap", "gray"):
        matrix = "gray" if layout and layout["kind"] == "gray" else "rgb"
        return Coding(matrix, 0 if floats else bits if layout else 16, full=tagged != _LIMITED)
    code = int(frame.colorspace)
    if code in _MATRIX_NAME:
        raise MienError(f"{path} codes color as {_MATRIX_NAME[code]}, which is not read. Convert it to BT.709.")
    return Coding(
        _MATRIX.get(code, "bt709" if frame.height >= 720 else "bt601"),
        bits,
        full=tagged == _FULL or layout["kind"] == "yuvj",
        subsampling=_SUBSAMPLING[layout["chroma"]],
        centered=codec in _CENTERED,
    )


def _planar(frame: Any) -> Any:
    name = frame.format.name
    if _PLANAR.fullmatch(name):
        return frame
    wanted = _UNPACKED.get(name)
    if wanted is None and name.endswith("be") and _PLANAR.fullmatch(name[:-2] + "le"):
        wanted = name[:-2] + "le"
    alpha = any(component.is_alpha for component in frame.format.components)
    return frame.reformat(format=wanted or ("gbrap16le" if alpha else "gbrp16le"), threads=1)


def _planes(frame: Any) -> list[Plane]:
    name = frame.format.name
    planes: list[Plane] = []
    for plane, component in zip(frame.planes, frame.format.components):
        kind: Any = np.float32 if "f32" in name else np.uint16 if component.bits > 8 else np.uint8
        values = np.frombuffer(plane, kind).reshape(-1, plane.line_size // np.dtype(kind).itemsize)
        planes.append(values[: plane.height, : plane.width])
    return planes


def _alpha(frame: Any, region: Region) -> NDArray[np.float32]:
    planar = _planar(frame)
    components = planar.format.components
    index = next((place for place, component in enumerate(components) if component.is_alpha), None)
    if index is None:
        return np.ones((region.height, region.width, 1), np.float32)
    values = _planes(planar)[index][region.y : region.bottom, region.x : region.right].astype(np.float32)
    if "f32" not in planar.format.name:
        values /= np.float32((1 << components[index].bits) - 1)
    return values[..., None]


def _unturned(region: Region, shown: Region, turns: int) -> Region:
    """The region of the stored picture that becomes ``region`` after quarter turns counterclockwise."""
    x, y, width, height = region
    if turns == 1:
        return Region(shown.height - y - height, x, height, width)
    if turns == 2:
        return Region(shown.width - x - width, shown.height - y - height, width, height)
    if turns == 3:
        return Region(y, shown.width - x - width, height, width)
    return region
