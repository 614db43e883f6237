"""Shots: the frames of a plate, whatever they lie in.

Public: ``Shot``, ``Native``, ``open_shot``, ``read_header``, ``read_region``, ``read_channels``, ``read_native``,
``region_of``, ``analysis_picture``, ``frame_timecode``.

A path names a sequence (``plate.####.exr``, ``plate.%04d.exr``, ``plate.@@@@.exr``, or a folder that holds
one), a single picture, or a movie. Regions are plate pixels from the top-left pixel of the display window.
What a file does not store reads as 0: outside the data window, and outside the display window of formats
without overscan.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mien.files.movies import Movie
from mien.files.region import Region
from mien.files.sequence import Pattern, frame_number, pattern_of, patterns_in
from mien.files.stills import (
    Chosen,
    Header,
    choose_channels,
    read_headers,
    read_native_pixels,
    read_pixels,
)
from mien.files.timecode import shifted
from mien.types import MienError

# fmt: off
STILLS = frozenset((
    ".exr", ".sxr", ".dpx", ".cin", ".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jpe", ".hdr", ".rgbe",
    ".tga", ".bmp", ".webp", ".jp2", ".j2k", ".jxl", ".sgi", ".psd", ".iff", ".pnm", ".ppm", ".pgm",
    ".pfm", ".tx"
))
MOVIES = frozenset((
    ".mov", ".mp4", ".m4v", ".mkv", ".webm", ".avi", ".mxf", ".mpg", ".mpeg", ".mp2", ".ts", ".m2ts",
    ".mts", ".m2v", ".3gp", ".gif", ".y4m", ".flv", ".wmv", ".ogv", ".dv", ".m4a"
))
# fmt: on
_MOST_FRAMES = 1_000_000
_HEADERS_TRIED = 100
# ITU-R BT.709 primaries and white, what an EXR without chromaticities means.
_CHROMATICITIES = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)


@dataclass(frozen=True)
class Shot:
    """Frames on disk.

    Attributes:
        path: As it was asked for.
        kind: A sequence of files, a single still, or a movie.
        first, last: Range of frame numbers, both included.
        missing: Frames of the range that have no file.
        size: Width and height of the display window.
        aspect: Width of a pixel over its height.
        fps: Frames per second, where said.
        timecode: Timecode of the first frame, where said.
        color: Name of the color space that the header gives.
        metadata: What the first readable header, or the movie, says.
        layer: The layer that was asked for.
        pattern: How the files of a sequence are named.
        movie: The open movie.
    """

    path: Path
    kind: Literal["sequence", "still", "movie"]
    first: int
    last: int
    missing: tuple[int, ...]
    size: tuple[int, int]
    aspect: float
    fps: Fraction | None
    timecode: str | None
    color: str | None
    metadata: Mapping[str, Any] = field(repr=False, hash=False)
    layer: str | None = None
    pattern: Pattern | None = None
    movie: Movie | None = field(default=None, repr=False, compare=False)
    movie_first: int = 1

    @property
    def frames(self) -> tuple[int, ...]:
        """Numbers of the frames that exist."""
        absent = frozenset(self.missing)
        return tuple(frame for frame in range(self.first, self.last + 1) if frame not in absent)

    @property
    def display(self) -> Region:
        """The display window in plate pixels."""
        return Region(0, 0, *self.size)

    @property
    def name(self) -> str:
        """What to call the shot when speaking to people."""
        return str(self.pattern or self.path)

    def file(self, frame: int) -> Path:
        """The file that holds a frame.

        Raises:
            MienError: The shot has no such frame, or its file is missing.
        """
        if not self.first <= frame <= self.last:
            raise MienError(f"{self.path} has no frame {frame}. It has {self.first} to {self.last}.")
        if frame in self.missing:
            raise MienError(f"Frame {frame} of {self.path} is missing. Render or copy it.")
        return self.path if self.pattern is None else self.pattern.path(frame)


@dataclass(frozen=True)
class Native:
    """A whole frame as stored, to be written again around what changed.

    Attributes:
        headers, pixels: Of each part: what it says, and (height, width, channels) values of its data window.
        chosen: Index of the part, and the names of the channels, that are the picture.
        source: File and frame, for messages.
    """

    headers: tuple[Header, ...]
    pixels: tuple[NDArray[Any], ...]
    chosen: Chosen
    source: str


def open_shot(
    path: str | Path,
    frames: tuple[int, int] | None = None,
    *,
    layer: str | None = None,
    first_frame: int = 1,
) -> Shot:
    """Find the frames of a plate and what they say of themselves.

    ``frames`` is the range that matters; frames in it without a file are ``missing``. ``layer`` names a
    layer, part or view of a file that has several. ``first_frame`` is the number of a movie's first frame,
    1 as hosts have it.

    Raises:
        MienError: Nothing there, several sequences in a folder, or no frame that can be read.
    """
    path = Path(path)
    if frames is not None and not 0 <= frames[1] - frames[0] < _MOST_FRAMES:
        raise MienError(f"The frame range {frames[0]}-{frames[1]} is empty or too long.")
    if path.is_dir():
        return _open_folder(path, frames, layer, first_frame)
    pattern = None if path.is_file() else pattern_of(path)
    if pattern is not None:
        return _open_sequence(path, pattern, frames, layer)
    if not path.exists():
        raise MienError(f"There is no {path}. Check the path; a sequence is written plate.####.exr.")
    if path.suffix.lower() in MOVIES:
        return _open_movie(path, frames, layer, first_frame)
    if path.suffix.lower() in STILLS:
        return _open_still(path, frames, layer)
    raise MienError(
        f"{path} is neither a picture nor a movie that is known by its ending. "
        "Convert it to .exr or .mov, or give it the right ending."
    )


def _open_folder(folder: Path, frames: tuple[int, int] | None, layer: str | None, first_frame: int) -> Shot:
    patterns = patterns_in(folder, STILLS)
    movies = sorted(entry for entry in folder.iterdir() if entry.suffix.lower() in MOVIES and entry.is_file())
    movies = [movie for movie in movies if not movie.name.startswith(".")]
    if len(patterns) == 1 and not movies:
        return _open_sequence(folder, patterns[0], frames, layer)
    if len(movies) == 1 and not patterns:
        return _open_movie(movies[0], frames, layer, first_frame)
    names = [*map(str, patterns), *map(str, movies)]
    if not names:
        raise MienError(f"{folder} holds no sequence and no movie. Name a file.")
    raise MienError(f"{folder} holds several shots. Name one: {', '.join(names[:8])}")


def _open_sequence(path: Path, pattern: Pattern, frames: tuple[int, int] | None, layer: str | None) -> Shot:
    found = pattern.frames()
    if not found:
        raise MienError(f"There is no frame of {path}. Check the path and the number of digits.")
    first, last = frames or (found[0], found[-1])
    inside = [frame for frame in found if first <= frame <= last]
    if not inside:
        raise MienError(f"{path} has no frame in {first}-{last}. It has {found[0]} to {found[-1]}.")
    if last - first >= _MOST_FRAMES:
        raise MienError(f"{path} spans {first} to {last}. Say which frames you mean with a range.")
    frame, header = _first_header(pattern, inside, layer)
    timecode = header.timecode
    if timecode is not None and header.fps is not None:
        timecode = shifted(timecode, first - frame, header.fps)
    return Shot(
        path=path,
        kind="sequence",
        first=first,
        last=last,
        missing=tuple(sorted(set(range(first, last + 1)) - set(inside))),
        size=header.size,
        aspect=header.aspect,
        fps=header.fps,
        timecode=timecode,
        color=header.color,
        metadata=header.metadata,
        layer=layer,
        pattern=pattern,
    )


def _first_header(pattern: Pattern, frames: Sequence[int], layer: str | None) -> tuple[int, Header]:
    """The first frame that can be read, and its header: a damaged one does not spoil the shot."""
    failure: MienError | None = None
    for frame in frames[:_HEADERS_TRIED]:
        path = pattern.path(frame)
        try:
            headers = read_headers(path)
            return frame, headers[choose_channels(path, headers, layer).part]
        except MienError as error:
            failure = failure or error
    assert failure is not None
    raise failure


def _open_still(path: Path, frames: tuple[int, int] | None, layer: str | None) -> Shot:
    headers = read_headers(path)
    header = headers[choose_channels(path, headers, layer).part]
    number = frame_number(path)
    frame = 1 if number is None else number
    if frames is not None and not frames[0] <= frame <= frames[1]:
        raise MienError(f"{path} is frame {frame}, which is not in {frames[0]}-{frames[1]}.")
    return Shot(
        path=path,
        kind="still",
        first=frame,
        last=frame,
        missing=(),
        size=header.size,
        aspect=header.aspect,
        fps=header.fps,
        timecode=header.timecode,
        color=header.color,
        metadata=header.metadata,
        layer=layer,
    )


def _open_movie(path: Path, frames: tuple[int, int] | None, layer: str | None, first_frame: int) -> Shot:
    if layer is not None:
        raise MienError(f"{path} is a movie and has no layer {layer!r}.")
    movie = Movie(path, first_frame)
    facts = movie.facts
    end = first_frame + facts.count - 1
    first, last = frames or (first_frame, end)
    if last < first_frame or first > end:
        raise MienError(f"{path} has no frame in {first}-{last}. It has {first_frame} to {end}.")
    missing = tuple(frame for frame in range(first, last + 1) if not first_frame <= frame <= end)
    timecode = facts.timecode
    if timecode is not None and re.fullmatch(r"\d\d:\d\d:\d\d[:;.,]\d\d", timecode):
        timecode = shifted(timecode, first - first_frame, facts.fps)
    else:
        timecode = None
    return Shot(
        path=path,
        kind="movie",
        first=first,
        last=last,
        missing=missing,
        size=facts.size,
        aspect=facts.aspect,
        fps=facts.fps,
        timecode=timecode,
        color=facts.color,
        metadata=facts.metadata,
        movie=movie,
        movie_first=first_frame,
    )


def frame_timecode(shot: Shot, frame: int) -> str | None:
    """The timecode of a frame, counted from the shot's first; None without timecode or frame rate."""
    if shot.timecode is None or shot.fps is None:
        return None
    return shifted(shot.timecode, frame - shot.first, shot.fps)


def _headers(shot: Shot, frame: int) -> tuple[Path, tuple[Header, ...], Chosen]:
    path = shot.file(frame)
    headers = read_headers(path)
    chosen = choose_channels(path, headers, shot.layer)
    size = headers[chosen.part].size
    if size != shot.size:
        raise MienError(
            f"Frame {frame}, {path}, is {size[0]} x {size[1]}; the shot is {shot.size[0]} x {shot.size[1]}. "
            "Render it again at the size of the others."
        )
    return path, headers, chosen


def read_header(shot: Shot, frame: int) -> Header:
    """What one frame says of itself: windows, channels, pixel type, timecode, metadata.

    Raises:
        MienError: The frame is missing, damaged, or of another size than the shot.
    """
    if shot.movie is not None:
        shot.file(frame)
        return _movie_header(shot, frame)
    _, headers, chosen = _headers(shot, frame)
    return headers[chosen.part]


def _movie_header(shot: Shot, frame: int) -> Header:
    assert shot.movie is not None
    facts = shot.movie.facts
    channels = ("R", "G", "B", "A") if facts.alpha else ("R", "G", "B")
    return Header(
        name="",
        view="",
        size=facts.size,
        origin=(0, 0),
        data=shot.display,
        channels=channels,
        types=("float",) * len(channels),
        bits=0,
        tiled=False,
        deep=False,
        compression="",
        aspect=facts.aspect,
        fps=facts.fps,
        timecode=frame_timecode(shot, frame),
        color=facts.color,
        chromaticities=None,
        orientation=1,
        metadata=facts.metadata,
        spec=None,
    )


def read_region(shot: Shot, frame: int, region: Region) -> NDArray[np.float32]:
    """(height, width, 3) picture of a region of a frame, as stored: no color is converted.

    Gray pictures are repeated in all three channels; luminance with color differences becomes R, G, B.

    Raises:
        MienError: The frame is missing, damaged, deep, or of another size than the shot.
    """
    if shot.movie is not None:
        shot.file(frame)
        return shot.movie.picture(frame - shot.movie_first, Region(*region))
    path, headers, chosen = _headers(shot, frame)
    header = headers[chosen.part]
    return _as_rgb(read_pixels(path, header, chosen.part, chosen.channels, Region(*region)), header, chosen)


def region_of(native: Native, region: Region) -> NDArray[np.float32]:
    """What ``read_region`` would read, from a whole frame that has been read already."""
    header = native.headers[native.chosen.part]
    columns = [header.channels.index(name) for name in native.chosen.channels]
    region = Region(*region)
    pixels = np.zeros((region.height, region.width, len(columns)), np.float32)
    inside = region.overlap(header.data)
    stored = native.pixels[native.chosen.part][inside.within(header.data)]
    scale = np.float64(2**32 - 1) if stored.dtype == np.uint32 else None
    for out, column in enumerate(columns):
        values = stored[..., column] if scale is None else stored[..., column] / scale
        # Signaling NaN is quieted on the way, which numpy would warn of.
        with np.errstate(invalid="ignore"):
            pixels[(*inside.within(region), out)] = values
    return _as_rgb(pixels, header, native.chosen)


def _as_rgb(pixels: NDArray[np.float32], header: Header, chosen: Chosen) -> NDArray[np.float32]:
    if len(chosen.channels) == 1:
        return np.repeat(pixels, 3, axis=2)
    if chosen.channels[1].rpartition(".")[2].lower() == "ry":
        return _from_luminance(pixels, header.chromaticities or _CHROMATICITIES)
    return pixels


def _from_luminance(pixels: NDArray[np.float32], chromaticities: Sequence[float]) -> NDArray[np.float32]:
    """RGB of Y, RY = (R - Y) / Y and BY = (B - Y) / Y, as OpenEXR's luminance-chroma pictures have it."""
    x, y = np.array(chromaticities[0::2], np.float64), np.array(chromaticities[1::2], np.float64)
    columns = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    weight = np.linalg.solve(columns[:, :3], columns[:, 3])
    luminance, red, blue = (pixels[..., channel] for channel in range(3))
    out = np.empty_like(pixels)
    out[..., 0] = (red + 1) * luminance
    out[..., 2] = (blue + 1) * luminance
    out[..., 1] = (luminance - out[..., 0] * weight[0] - out[..., 2] * weight[2]) / weight[1]
    return out


def read_channels(shot: Shot, frame: int, region: Region, names: Sequence[str]) -> NDArray[np.float32]:
    """(height, width, len(names)) values of named channels of a region: mattes, depth, motion.

    Channels are looked for in the part that the shot's layer lies in, then in the others.

    Raises:
        MienError: No such channel, or the frame is missing, damaged, deep or of another size.
    """
    if shot.movie is not None:
        shot.file(frame)
        if tuple(names) == ("A",):
            return shot.movie.alpha(frame - shot.movie_first, Region(*region))
        raise MienError(f"{shot.path} is a movie and has no channel {', '.join(names)}.")
    path, headers, chosen = _headers(shot, frame)
    order = sorted(range(len(headers)), key=lambda part: part != chosen.part)
    for part in order:
        if set(names) <= set(headers[part].channels):
            return read_pixels(path, headers[part], part, names, Region(*region))
    return read_pixels(path, headers[chosen.part], chosen.part, names, Region(*region))


def read_native(shot: Shot, frame: int) -> Native:
    """All channels of a whole frame, bit for bit, so that it can be written again (``layers.write_full``).

    Parts that are deep are left out. Movies come as float R, G, B and A.

    Raises:
        MienError: The frame is missing, damaged, deep, or of another size than the shot.
    """
    source = f"frame {frame} of {shot.path}"
    if shot.movie is not None:
        header = read_header(shot, frame)
        index = frame - shot.movie_first
        pixels = shot.movie.picture(index, shot.display)
        if shot.movie.facts.alpha:
            pixels = np.concatenate([pixels, shot.movie.alpha(index, shot.display)], axis=2)
        return Native((header,), (pixels,), Chosen(0, header.channels[:3]), source)
    path, headers, chosen = _headers(shot, frame)
    flat = [part for part, header in enumerate(headers) if not header.deep and header.channels]
    return Native(
        headers=tuple(headers[part] for part in flat),
        pixels=tuple(read_native_pixels(path, headers[part], part) for part in flat),
        chosen=Chosen(flat.index(chosen.part), chosen.channels),
        source=source,
    )


def analysis_picture(shot: Shot, frame: int) -> NDArray[np.uint8]:
    """(height, round(width * aspect), 3) display-like R'G'B' of a movie's frame, for trackers and previews.

    The fast way for movies, which hold display-like pictures already; other shots need their color
    converted first.

    Raises:
        MienError: The shot is no movie, or the frame is missing or damaged.
    """
    if shot.movie is None:
        raise MienError(f"{shot.path} is no movie; read its region and convert its color.")
    shot.file(frame)
    return shot.movie.thumbnail(frame - shot.movie_first)
