"""Telling people, logs and hosts how far a run is: the same events in three voices."""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

Stage = Literal["track", "solve", "render", "movie", "faceset", "train"]
MOST_REASONS = 20
"""Lines about failed frames at the end of a run; each was told when it happened."""
LOG_INTERVAL = 5.0
"""Seconds between two lines of progress in a log."""


@dataclass(frozen=True)
class Advance:
    """``done`` of ``total`` frames of a stage are over; ``frame`` is the latest, ``skipped`` if up to date."""

    stage: Stage
    done: int
    total: int
    frame: int
    skipped: bool = False
    event: Literal["progress"] = "progress"


@dataclass(frozen=True)
class Failure:
    """A frame could not be done; ``message`` says why and what to do."""

    stage: Stage
    frame: int
    message: str
    event: Literal["failure"] = "failure"


@dataclass(frozen=True)
class Note:
    """Something worth knowing."""

    message: str
    level: Literal["info", "warning"] = "info"
    event: Literal["note"] = "note"


@dataclass(frozen=True)
class Outcome:
    """The end of a command: what was written, and which frames failed."""

    written: tuple[str, ...] = ()
    done: int = 0
    skipped: int = 0
    failed: dict[int, str] = field(default_factory=dict)
    event: Literal["outcome"] = "outcome"


@dataclass(frozen=True)
class Learned:
    """How a training goes.

    Attributes:
        step: Steps that are done.
        losses: Means of the losses since the last of these, by name.
        held_out: Signal over error on pictures that were not learned from, in dB; None where it was not measured.
        rate: Pictures a second.
        left: Seconds that the rest will take.
        improving: Whether it still gets better, in words.
    """

    step: int
    losses: dict[str, float]
    held_out: float | None
    rate: float
    left: float
    improving: str
    event: Literal["losses"] = "losses"


@dataclass(frozen=True)
class Preview:
    """A picture of how far a training is, written to ``path``."""

    path: str
    step: int
    event: Literal["preview"] = "preview"


Event = Advance | Failure | Note | Outcome | Learned | Preview
Tell = Callable[[Event], None]


@contextmanager
def teller(as_json: bool) -> Iterator[Tell]:
    """How a command tells its events: JSON lines on stdout, a live bar on a terminal, plain lines in a log."""
    if as_json:
        yield lambda event: print(json.dumps(asdict(event)), flush=True)
    elif sys.stderr.isatty():
        with _bar() as tell:
            yield tell
    else:
        yield _lines()


@contextmanager
def _bar() -> Iterator[Tell]:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:7}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, TaskID] = {}
        started: dict[str, float] = {}

        def tell(event: Event) -> None:
            if isinstance(event, Advance):
                if event.stage not in tasks:
                    tasks[event.stage] = progress.add_task(event.stage, total=event.total, rate="")
                    started[event.stage] = time.monotonic()
                elapsed = time.monotonic() - started[event.stage]
                rate = f"{event.done / elapsed:.1f} frames/s" if elapsed > 0.5 else ""
                progress.update(tasks[event.stage], completed=event.done, total=event.total, rate=rate)
            else:
                console.print(_words(event), highlight=False, markup=False, soft_wrap=True)

        yield tell


def _lines() -> Tell:
    latest: dict[str, float] = {}
    started: dict[str, float] = {}

    def tell(event: Event) -> None:
        if isinstance(event, Advance):
            now = time.monotonic()
            first = started.setdefault(event.stage, now)
            if event.done < event.total and now - latest.get(event.stage, -LOG_INTERVAL) < LOG_INTERVAL:
                return
            latest[event.stage] = now
            elapsed = max(now - first, 1e-3)
            left = elapsed / max(event.done, 1) * (event.total - event.done)
            rate = f", {event.done / elapsed:.1f} frames/s, {left:.0f} s left" if elapsed > 1 else ""
            print(f"{event.stage} {event.done}/{event.total}{rate}", file=sys.stderr, flush=True)
        else:
            print(_words(event), file=sys.stderr, flush=True)

    return tell


def _words(event: Event) -> str:
    if isinstance(event, Failure):
        return f"{event.stage} failed in frame {event.frame}: {event.message}"
    if isinstance(event, Note):
        return f"Warning: {event.message}" if event.level == "warning" else event.message
    if isinstance(event, Preview):
        return f"step {event.step}: {event.path}"
    if isinstance(event, Learned):
        terms = ", ".join(f"{name} {value:.4g}" for name, value in event.losses.items())
        held = "" if event.held_out is None else f"; held out {event.held_out:.2f} dB, {event.improving}"
        measured = f"{terms}; " if terms else ""
        return f"step {event.step}: {measured}{event.rate:.1f} pictures/s, {_span(event.left)} left{held}"
    if isinstance(event, Outcome):
        lines = [f"{event.done} frames done" + (f", {event.skipped} were up to date" if event.skipped else "") + "."]
        lines += failures(event.failed)
        lines += [f"  {path}" for path in event.written]
        return "\n".join(lines)
    return str(event)


def _span(seconds: float) -> str:
    """A length of time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def failures(failed: dict[int, str]) -> list[str]:
    """Which frames failed and why, line by line."""
    return [f"{len(failed)} failed: {ranges(failed)}", *_reasons(failed)] if failed else []


def _reasons(failed: dict[int, str]) -> list[str]:
    """One line for each thing that was wrong, with the frames it happened in."""
    alike: dict[str, list[int]] = {}
    for frame, message in failed.items():
        alike.setdefault(re.sub(rf"(?<!\d)0*{abs(frame)}(?!\d)", "#", message), []).append(frame)
    lines = [
        f"  {ranges(frames)}: {failed[frames[0]] if len(frames) == 1 else message}" for message, frames in alike.items()
    ]
    hidden = len(lines) - MOST_REASONS
    return lines if hidden <= 0 else [*lines[:MOST_REASONS], f"  and {hidden} more"]


def ranges(frames: "dict[int, str] | tuple[int, ...] | list[int]") -> str:
    """Frame numbers as people write them: ``1001-1004, 1010``."""
    parts: list[list[int]] = []
    for frame in sorted(frames):
        if parts and frame == parts[-1][1] + 1:
            parts[-1][1] = frame
        else:
            parts.append([frame, frame])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in parts)
