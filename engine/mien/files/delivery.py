"""Movies out: ProRes, DNxHR and H.264, with the source's sound, timecode and where they came from.

Public: ``DELIVERIES``, ``Sound``, ``sound_of``, ``times_of``, ``writing_movie``.

Pictures are display-like R'G'B', 0 black to 1 white, (height, width, 3), or with a straight alpha
(height, width, 4) for ProRes 4444. They become limited-range BT.709 with the tags that say so. A movie appears
under its name when it is whole.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from mien.files.atomic import appearing
from mien.files.listing import open_container
from mien.files.shot import Shot
from mien.files.stills import first_line
from mien.files.yuv import Coding, from_rgb
from mien.types import MienError

_BT709 = 1
_LIMITED = 1
# Times of frames that are not shown at even intervals are kept to this part of a second.
_TICKS = 90_000


@dataclass(frozen=True)
class Delivery:
    """A way to code a movie.

    Attributes:
        codec: FFmpeg's name of the encoder.
        layout, layout_alpha: FFmpeg's name of the sample layout, without and with alpha (empty if it has none).
        bits: Depth of the samples.
        subsampling: Pixels per chroma sample across and down; sizes are padded up to multiples.
        endings: File endings of containers that take it.
        options: What the encoder is told.
    """

    codec: str
    layout: str
    layout_alpha: str
    bits: int
    subsampling: tuple[int, int]
    endings: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)


_QUICKTIME = (".mov", ".mkv")
_ANY = (".mp4", ".mov", ".m4v", ".mkv")
DELIVERIES: Mapping[str, Delivery] = {
    "prores4444": Delivery(
        "prores_ks", "yuv444p10le", "yuva444p10le", 10, (1, 1), _QUICKTIME, {"profile": "4", "vendor": "apl0"}
    ),
    "prores422hq": Delivery("prores_ks", "yuv422p10le", "", 10, (2, 1), _QUICKTIME, {"profile": "3", "vendor": "apl0"}),
    "prores422": Delivery("prores_ks", "yuv422p10le", "", 10, (2, 1), _QUICKTIME, {"profile": "2", "vendor": "apl0"}),
    "dnxhr-hqx": Delivery("dnxhd", "yuv422p10le", "", 10, (2, 1), (".mov",), {"profile": "dnxhr_hqx"}),
    "dnxhr-444": Delivery("dnxhd", "yuv444p10le", "", 10, (1, 1), (".mov",), {"profile": "dnxhr_444"}),
    "h264": Delivery("libx264", "yuv420p", "", 8, (2, 2), _ANY, {"crf": "16", "preset": "medium"}),
    "h264-10bit": Delivery("libx264", "yuv420p10le", "", 10, (2, 2), _ANY, {"crf": "14", "preset": "medium"}),
}


@dataclass(frozen=True)
class Sound:
    """Sound to be copied, packet by packet, from a movie: what lies between two times of it, in seconds."""

    path: Path
    start: Fraction
    stop: Fraction


def sound_of(shot: Shot, first: int, last: int) -> Sound | None:
    """The sound of a movie under a range of its frames; None for other shots."""
    movie = shot.movie
    if movie is None:
        return None
    times = movie.times
    begin, end = (min(max(frame - shot.movie_first, 0), len(times) - 1) for frame in (first, last))
    after = times[end + 1] if end + 1 < len(times) else times[end] + 1 / movie.facts.fps
    return Sound(movie.path, movie.start + times[begin], movie.start + after)


def times_of(shot: Shot, frames: Iterable[int]) -> tuple[Fraction, ...] | None:
    """When frames of a movie of variable rate are shown, from the first; None where the rate is even."""
    if shot.movie is None or not shot.movie.facts.variable:
        return None
    times = shot.movie.times
    shown = [times[frame - shot.movie_first] for frame in frames]
    return tuple(time - shown[0] for time in shown)


Append = Callable[[NDArray[np.float32]], None]


@contextmanager
def writing_movie(
    path: Path,
    delivery: str,
    *,
    size: tuple[int, int],
    fps: Fraction,
    times: Iterable[Fraction] | None = None,
    timecode: str | None = None,
    aspect: float = 1.0,
    sound: Sound | None = None,
    provenance: Mapping[str, str] | None = None,
) -> Iterator[Append]:
    """Lend a function that appends one picture to a movie; at the end the movie appears under its name.

    ``size`` is the width and height to deliver; pictures of another size are resampled. Where the coding
    needs even sizes, the last column or row is repeated. ``times`` are seconds from the first frame at which
    each is shown, for sources of variable rate; without, frames follow each other at ``fps``. The sound
    is cut to whole packets.

    Raises:
        MienError: Unknown delivery, a container that cannot hold it, or a disk that cannot.
    """
    way = DELIVERIES.get(delivery)
    if way is None:
        raise MienError(f"There is no movie delivery {delivery!r}. Choose one of {', '.join(DELIVERIES)}.")
    if path.suffix.lower() not in way.endings:
        raise MienError(f"{path}: {delivery} goes into {' or '.join(way.endings)}. Change the ending.")
    with appearing(path) as partial:
        partial.touch()
        try:
            with ExitStack() as stack:
                yield _Writer(stack, partial, way, size, fps, times, timecode, aspect, sound, provenance or {}).append
        except (av.error.FFmpegError, OSError) as error:
            reason = first_line(getattr(error, "strerror", None) or str(error))
            raise MienError(f"Cannot write {path}: {reason}. Check permissions and free space.") from error


class _Writer:
    """An open movie that grows: streams are set up when the first picture tells whether there is alpha."""

    def __init__(
        self,
        stack: ExitStack,
        path: Path,
        way: Delivery,
        size: tuple[int, int],
        fps: Fraction,
        times: Iterable[Fraction] | None,
        timecode: str | None,
        aspect: float,
        sound: Sound | None,
        provenance: Mapping[str, str],
    ) -> None:
        # First in, last out: the sound is still read while the movie is finished.
        self._source: Any = stack.enter_context(open_container(sound.path)) if sound else None
        options = {} if path.suffix.lower() == ".mkv" else {"movflags": "+faststart+write_colr", "write_tmcd": "1"}
        self._container: Any = av.open(f"file:{path}", "w", format=_FORMATS[path.suffix.lower()], options=options)
        stack.push(self._finish)
        self._way, self._size, self._fps, self._aspect, self._timecode = way, size, fps, aspect, timecode
        self._times = None if times is None else iter(times)
        self._stream: Any = None
        self._count = 0
        self._sound = sound
        self._packets: Iterator[Any] = iter(())
        self._waiting: Any = None
        if provenance:
            self._container.metadata["comment"] = json.dumps({"mien": dict(provenance)}, sort_keys=True)

    def append(self, picture: NDArray[np.float32]) -> None:
        """Add one picture."""
        if self._stream is None:
            self._begin(picture.shape[2] == 4 and bool(self._way.layout_alpha))
        frame = self._frame(_fitted(picture, self._size))
        self._container.mux(self._stream.encode(frame))
        self._copy_sound(frame.pts * frame.time_base)

    def _begin(self, alpha: bool) -> None:
        way = self._way
        stream = self._container.add_stream(way.codec, rate=self._fps, options=dict(way.options))
        across, down = way.subsampling
        stream.width = -(-self._size[0] // across) * across
        stream.height = -(-self._size[1] // down) * down
        stream.pix_fmt = way.layout_alpha if alpha else way.layout
        context = stream.codec_context
        context.time_base = Fraction(1, _TICKS) if self._times is not None else 1 / self._fps
        context.sample_aspect_ratio = Fraction(self._aspect).limit_denominator(1000)
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        context.color_range = _LIMITED
        # More threads would change nothing but the moment at which frames come out.
        context.thread_count = 2
        if self._timecode is not None:
            stream.metadata["timecode"] = self._timecode
        self._stream = stream
        if self._source is not None and self._source.streams.audio:
            template = self._source.streams.audio[0]
            target = self._container.add_stream_from_template(template)
            self._packets = self._cut(template, target)
            self._waiting = next(self._packets, None)

    def _frame(self, picture: NDArray[np.float32]) -> Any:
        stream, way = self._stream, self._way
        height, width = picture.shape[:2]
        if (height, width) != (stream.height, stream.width):
            gap = ((0, stream.height - height), (0, stream.width - width), (0, 0))
            picture = np.pad(picture, gap, mode="edge")
        coding = Coding("bt709", way.bits, full=False, subsampling=way.subsampling)
        planes = from_rgb(np.ascontiguousarray(picture[..., :3]), coding)
        if stream.pix_fmt == way.layout_alpha:
            alpha = picture[..., 3] if picture.shape[2] == 4 else np.ones(picture.shape[:2], np.float32)
            top = (1 << way.bits) - 1
            planes.append(np.rint(np.clip(np.nan_to_num(alpha), 0, 1) * np.float32(top)).astype(np.uint16))
        frame = av.VideoFrame(stream.width, stream.height, stream.pix_fmt)
        kind = np.uint8 if way.bits == 8 else np.uint16
        for plane, samples in zip(frame.planes, planes):
            rows = np.zeros((plane.height, plane.line_size // np.dtype(kind).itemsize), kind)
            rows[:, : samples.shape[1]] = samples
            plane.update(rows.tobytes().ljust(plane.buffer_size, b"\0"))
        frame.colorspace, frame.color_range = _BT709, _LIMITED
        frame.color_primaries = frame.color_trc = _BT709
        frame.time_base = stream.codec_context.time_base
        if self._times is None:
            frame.pts = self._count
        else:
            frame.pts = round(next(self._times) * _TICKS)
        self._count += 1
        return frame

    def _cut(self, template: Any, target: Any) -> Iterator[Any]:
        """Packets of the sound between its start and stop, timed from 0."""
        assert self._sound is not None
        base = template.time_base
        begin, end = round(self._sound.start / base), round(self._sound.stop / base)
        for packet in self._source.demux(template):
            if packet.dts is None or packet.size == 0 or packet.is_discard:
                continue
            if packet.dts + (packet.duration or 0) <= begin:
                continue
            if packet.dts >= end:
                return
            packet.dts -= begin
            if packet.pts is not None:
                packet.pts -= begin
            packet.stream = target
            yield packet

    def _copy_sound(self, until: Fraction) -> None:
        """Sound goes beside the picture it belongs to, so that players find both in one place."""
        while self._waiting is not None and self._waiting.dts * self._waiting.time_base <= until:
            self._container.mux(self._waiting)
            self._waiting = next(self._packets, None)

    def _finish(self, kind: object, error: object, trace: object) -> None:
        try:
            if error is None:
                if self._stream is None:
                    raise MienError("There is no picture to make a movie of.")
                self._container.mux(self._stream.encode(None))
                if self._sound is not None:
                    self._copy_sound(self._sound.stop)
        finally:
            self._container.close()


_FORMATS = {".mov": "mov", ".mp4": "mp4", ".m4v": "mp4", ".mkv": "matroska"}


def _fitted(picture: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    height, width = picture.shape[:2]
    if (width, height) == size:
        return picture
    smaller = size[0] < width or size[1] < height
    resized: NDArray[np.float32] = cv2.resize(
        picture, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    )
    return resized
