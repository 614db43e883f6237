"""Animation curves as script files hold them: ``curve x1001 1.02 x1002 1.03``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

LETTERS = re.compile(r"[KLSRCkl]+")
INTERPOLATIONS = {"K": "constant", "L": "linear", "S": "smooth", "R": "catmull-rom", "C": "cubic"}


class CurveError(ValueError):
    """Words that make no curve."""


@dataclass(frozen=True)
class Key:
    """A key: its frame, its value, and how the curve goes on to the next."""

    frame: float
    value: float
    interpolation: str = "smooth"


@dataclass(frozen=True)
class Curve:
    """Keys in order; before the first and after the last their values hold."""

    keys: tuple[Key, ...]

    def at(self, frame: float) -> float:
        """Value at a frame. Between keys, ``smooth`` and ``cubic`` are taken as Catmull-Rom: their exact slopes are
        Nuke's own."""
        keys = self.keys
        if frame <= keys[0].frame:
            return keys[0].value
        if frame >= keys[-1].frame:
            return keys[-1].value
        row = max(index for index, key in enumerate(keys) if key.frame <= frame)
        here, following = keys[row], keys[row + 1]
        if frame == here.frame or here.interpolation == "constant":
            return here.value
        width = following.frame - here.frame
        along = (frame - here.frame) / width
        if here.interpolation == "linear":
            return here.value + (following.value - here.value) * along
        out, back = (self._slope(at) * width for at in (row, row + 1))
        rise = following.value - here.value
        return here.value + along * (out + along * (3 * rise - 2 * out - back + along * (out + back - 2 * rise)))

    def _slope(self, row: int) -> float:
        first, last = self.keys[max(row - 1, 0)], self.keys[min(row + 1, len(self.keys) - 1)]
        return (last.value - first.value) / (last.frame - first.frame)


def parsed(words: Sequence[str], explicit: bool = True) -> Curve:
    """A curve from the words behind ``curve``.

    Args:
        words: Letters, ``x`` frames, values, slopes (``s``, ``t``) and angles (``u``, ``v``).
        explicit: Refuse keys without a frame of their own, as what we write must have one.

    Raises:
        CurveError: Something is no number, a frame is missing or out of order, or there is no key.
    """
    keys: list[Key] = []
    how, frame, step = "smooth", None, None
    for word in words:
        if LETTERS.fullmatch(word):
            for letter in word:
                how = INTERPOLATIONS.get(letter, how)
            continue
        kind, text = (word[0], word[1:]) if word[0] in "xstuv" else ("", word)
        number = _number(text, word)
        if kind == "x":
            frame = number
        elif not kind:
            if frame is None and (explicit or not keys):
                raise CurveError(f"a curve key has no x: {word}")
            at = frame if frame is not None else keys[-1].frame + (step or 1.0)
            if keys and at <= keys[-1].frame:
                raise CurveError(f"curve frames do not increase at {word}")
            step = at - keys[-1].frame if keys else step
            keys.append(Key(at, number, how))
            frame = None
    if not keys:
        raise CurveError("a curve without keys")
    return Curve(tuple(keys))


def _number(text: str, word: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise CurveError(f'"{word}" is not a finite number') from None
    if not math.isfinite(number):
        raise CurveError(f'"{word}" is not a finite number')
    return number
