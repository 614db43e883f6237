"""SMPTE timecode as text and as a number of frames.

Public: ``frames_of``, ``timecode_of``, ``shifted``.
"""

import re
from fractions import Fraction

from mien.types import MienError

_TIMECODE = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})([:;.,])(\d{2,3})")


def frames_of(timecode: str, fps: Fraction) -> int:
    """Frames from 00:00:00:00 to a timecode; ``;`` before the frames means drop frame.

    Raises:
        MienError: The text is no timecode.
    """
    match = _TIMECODE.fullmatch(timecode.strip())
    if match is None:
        raise MienError(f"{timecode!r} is no timecode. Write hh:mm:ss:ff.")
    hours, minutes, seconds, frames = (int(match[group]) for group in (1, 2, 3, 5))
    base = round(fps)
    number = ((hours * 60 + minutes) * 60 + seconds) * base + frames
    if match[4] != ":":
        # Two numbers in thirty are left out at each minute but the tenth, so that the clock keeps time.
        number -= base // 15 * (hours * 60 + minutes - (hours * 60 + minutes) // 10)
    return number


def timecode_of(number: int, fps: Fraction, drop: bool) -> str:
    """The timecode that many frames after 00:00:00:00, within one day."""
    base = round(fps)
    dropped = base // 15 if drop else 0
    ten_minutes = base * 600 - dropped * 9
    number %= ten_minutes * 6 * 24
    if dropped:
        tens, rest = divmod(number, ten_minutes)
        minute = base * 60 - dropped
        number += dropped * (9 * tens + max(0, rest - dropped) // minute)
    seconds, frames = divmod(number, base)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours:02d}:{minutes:02d}:{seconds % 60:02d}{';' if drop else ':'}{frames:02d}"


def shifted(timecode: str, frames: int, fps: Fraction) -> str:
    """The timecode a number of frames later (earlier where negative).

    Raises:
        MienError: The text is no timecode.
    """
    drop = not re.fullmatch(r"[^;.,]*", timecode)
    return timecode_of(frames_of(timecode, fps) + frames, fps, drop)


def packed(timecode: str) -> tuple[int, int]:
    """A timecode as the two 32-bit words that EXR and DPX headers hold.

    Raises:
        MienError: The text is no timecode.
    """
    match = _TIMECODE.fullmatch(timecode.strip())
    if match is None:
        raise MienError(f"{timecode!r} is no timecode. Write hh:mm:ss:ff.")
    word = (match[4] != ":") << 6
    for group, shift in ((1, 24), (2, 16), (3, 8), (5, 0)):
        tens, ones = divmod(int(match[group]) % 100, 10)
        word |= (tens << 4 | ones) << shift
    return word, 0
