"""Movies, frame by frame: any frame by its place, at the depth, matrix and range it was coded with.

Public: ``Movie``.

Every coded frame is one frame, also where their durations differ; ``Movie.times`` keeps when each is shown.
Frames that are damaged, or promised and not there, raise an error of their own and leave the others readable.
"""

import bisect
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from mien.files.listing import Coded, listing, open_container, packets, rate_of
from mien.files.region import Region
from mien.files.samples import alpha_of, eight_bits, rgb_of
from mien.files.stills import first_line
from mien.types import MienError

# Decoding on is cheaper than going back to a key frame when the wanted frame is this near.
_NEAR = 24
# So many decoded frames stay at hand, so that going backwards does not decode each anew.
_KEPT_BYTES = 96 << 20
_KEPT_LEAST = 3
# Color primaries and transfer, as ITU-T H.273 numbers them, and the interchange name of the space.
_COLOR = {
    (1, 1): "g24_rec709_display", (1, 6): "g24_rec709_display", (5, 6): "g24_rec709_display",
    (6, 6): "g24_rec709_display", (1, 4): "g22_rec709_display", (1, 13): "srgb_rec709_display",
    (9, 16): "pq_rec2020_display", (9, 18): "hlg_rec2020_display", (12, 13): "srgb_p3d65_display",
}  # fmt: skip


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
            self._coded = listing(path)
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
        return self._drawn(index, region, alpha_of)

    def thumbnail(self, index: int) -> NDArray[np.uint8]:
        """(height, width, 3) R'G'B' in 8 bits with square pixels: width is the picture's times its aspect.

        Fast, for looking at: values beyond black and white are cut.

        Raises:
            MienError: The frame is damaged or missing.
        """
        frame = self._frame(index)
        width, height, aspect = frame.width, frame.height, self.facts.aspect
        if self._turned in (90, 270):
            height = max(1, round(height * aspect))
        else:
            width = max(1, round(width * aspect))
        small = eight_bits(self.path, frame, self.facts.codec, (width, height))
        return np.ascontiguousarray(np.rot90(small, self._turned // 90))

    def _rgb(self, frame: Any, region: Region) -> NDArray[np.float32]:
        return rgb_of(self.path, frame, self.facts.codec, region)

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

    def _seek(self, key: Coded) -> None:
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
        fps, variable = rate_of(stream, self._shown)
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


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    for packet in packets(container, stream):
        try:
            yield from packet.decode()
        except av.error.FFmpegError:
            # A damaged frame: it will be missed under its own number.
            continue
