"""Which frames a movie holds, by its container alone: where each lies and when it is shown; nothing is decoded.

Public: ``open_container``, ``listing``, ``packets``, ``rate_of``, ``Coded``.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av

from mien.files.stills import nearest_rate
from mien.types import MienError

_LONGEST_SIDE = 1 << 14
_MOST_FRAMES = 1 << 23
_LENGTH = re.compile(r"(?P<hours>\d{1,6}):(?P<minutes>\d\d):(?P<seconds>\d\d(\.\d{1,9})?)")
# Playlists, slide shows and text that FFmpeg would also open could lead anywhere.
_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mxf,mxf_opatom,mpeg,mpegts,mpegvideo,"
    "h264,hevc,ivf,obu,flv,asf,ogg,dv,nut,yuv4mpegpipe,gif,apng",
}


class Coded(NamedTuple):
    """A frame as the container lists it: when it is shown, where a seek finds it, whether one can start there."""

    shown: int
    decoded: int
    key: bool


def open_container(path: Path) -> Any:
    """FFmpeg's view of a movie file, and of nothing else: no network, no playlists, no stills."""
    return av.open(f"file:{path}", options=_OPTIONS, metadata_errors="replace")


def listing(path: Path) -> list[Coded]:
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
        coded, found, end = _from_index(path) or _from_packets(path, container, stream)
        if not coded:
            raise MienError(f"{path} holds no frame. Copy it again.")
        coded = sorted({frame.shown: frame for frame in coded}.values())
        # What a file cut short promised is numbered too, so that people hear which frames are missing.
        step = max(1, round((coded[-1].shown - coded[0].shown) / max(1, len(coded) - 1)))
        lacking = max(promised - found, int(_lacking(container, stream, end) / step + 0.5))
        for _ in range(min(lacking, _MOST_FRAMES - len(coded))):
            last = coded[-1]
            coded.append(Coded(last.shown + step, last.decoded + step, False))
        return coded


def _lacking(container: Any, stream: Any, end: int) -> Fraction:
    """Ticks between the ``end`` of what was found and that of which a Matroska file tells: it counts no frames."""
    told = _LENGTH.fullmatch(next((text for name, text in stream.metadata.items() if name.upper() == "DURATION"), ""))
    if told is None or container.format.name != "matroska,webm":
        return Fraction(0)
    seconds = 3600 * int(told["hours"]) + 60 * int(told["minutes"]) + Fraction(told["seconds"])
    return max(Fraction(0), seconds / Fraction(stream.time_base) - end)


def _from_index(path: Path) -> tuple[list[Coded], int, int] | None:
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
        first = next((packet for packet in packets(container, stream) if packet.size), None)
        if first is None or first.pts is None or first.pts != first.dts:
            return None
        late = first.pts - entries[0].timestamp
        coded = [Coded(entry.timestamp + late, entry.timestamp + late, True) for entry in entries]
        return coded, len(entries), coded[-1].shown


def _from_packets(path: Path, container: Any, stream: Any) -> tuple[list[Coded], int, int]:
    """Frames by reading through the file; how many there were with those that are not to be shown; when all end."""
    coded: list[Coded] = []
    found = end = 0
    for packet in packets(container, stream):
        if packet.size == 0:
            continue
        found += 1
        if packet.is_discard:
            continue
        shown = packet.pts if packet.pts is not None else packet.dts
        if shown is None:
            raise MienError(f"{path} does not say when its frames are shown. Rewrap it as .mov or .mp4.")
        decoded = packet.dts if packet.dts is not None else shown
        coded.append(Coded(shown, decoded, packet.is_keyframe))
        end = max(end, shown + (packet.duration or 0))
        if found > _MOST_FRAMES:
            raise MienError(f"{path} has more than {_MOST_FRAMES} frames. Cut it into shots.")
    return coded, found, end


def packets(container: Any, stream: Any) -> Iterator[Any]:
    """A stream's packets in the order they lie in the file, as far as it goes."""
    coming = container.demux(stream)
    while True:
        try:
            yield next(coming)
        except (StopIteration, av.error.FFmpegError):
            # What comes after a break in the file is not there; frames before it are.
            return


def rate_of(stream: Any, shown: list[int]) -> tuple[Fraction, bool]:
    """Frames per second of frames ``shown`` at these ticks of a stream, and whether they come at uneven intervals."""
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
