"""What to show of a request while it runs: stage, frames, time left, what failed, and the last word in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mien.hosts.frames import spoken

STAGES = {
    "track": "Tracking",
    "solve": "Matching",
    "render": "Rendering",
    "movie": "Writing the movie",
    "train": "Training",
}
SETTLED = 3
"""Frames that must be done before a time that is left is said."""


@dataclass(frozen=True)
class Shown:
    """A request as a panel draws it.

    Attributes:
        stage: Words for what is being done.
        done, total: Frames, or steps of a training.
        frame: The frame that was done last.
        skipped: Frames that were up to date.
        left: Seconds until this stage is over; None while that is unknown.
        failed: What was wrong, by frame.
        notes: Warnings and notes.
        preview: The last picture that a training drew.
        losses: How a training stands.
        over: Whether the last word was said.
        error: What went wrong, in words; empty where nothing did.
        answer: The last word's facts.
    """

    stage: str = "Waiting"
    done: int = 0
    total: int = 0
    frame: int | None = None
    skipped: int = 0
    left: float | None = None
    failed: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    preview: str | None = None
    losses: Mapping[str, Any] = field(default_factory=dict)
    over: bool = False
    error: str = ""
    answer: Mapping[str, Any] = field(default_factory=dict)

    @property
    def part(self) -> float:
        """How much of the stage is done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def line(self) -> str:
        """One line for a progress bar or a status."""
        if self.over:
            return self.error or finished(self.answer)
        if not self.total:
            return f"{self.stage} ..."
        rest = "" if self.left is None else f", {duration(self.left)} left"
        return f"{self.stage} {self.done} of {self.total}{rest}"


def after(shown: Shown, events: Iterable[Mapping[str, Any]]) -> Shown:
    """What to show once more events of a request are in; see docs/serve.md for the events."""
    for event in events:
        kind = event.get("event")
        if kind == "progress":
            done, total, seconds = int(event["done"]), int(event["total"]), float(event.get("seconds") or 0.0)
            known = seconds > 0 and done >= SETTLED
            shown = replace(
                shown,
                stage=STAGES.get(str(event.get("stage")), str(event.get("stage"))),
                done=done,
                total=total,
                frame=event.get("frame"),
                skipped=int(event.get("skipped") or 0),
                left=seconds / done * (total - done) if known else None,
            )
        elif kind == "failure":
            shown = replace(shown, failed={**shown.failed, int(event["frame"]): str(event["message"])})
        elif kind == "note":
            shown = replace(shown, notes=(*shown.notes, str(event["message"]))[-50:])
        elif kind == "losses":
            shown = replace(shown, losses=dict(event), left=event.get("left", shown.left))
        elif kind == "preview":
            shown = replace(shown, preview=str(event["path"]))
        elif kind in ("done", "cancelled", "dropped", "error", "died"):
            words = {"cancelled": "Cancelled.", "dropped": "A newer request took its place."}
            said = "" if kind == "done" else words.get(str(kind), str(event.get("message", "")))
            shown = replace(shown, over=True, error=said, answer=dict(event))
    return shown


def finished(answer: Mapping[str, Any]) -> str:
    """The last word of a request that was done, as a sentence."""
    failed = [entry["frame"] for entry in answer.get("failed", ())]
    done, skipped = int(answer.get("done") or 0), int(answer.get("skipped") or 0)
    said = [f"{done} done"] if done or not skipped else []
    said += [f"{skipped} up to date"] if skipped else []
    said += [f"{len(failed)} failed: {spoken(failed)}"] if failed else []
    return ", ".join(said) + "." if "done" in answer else "Done."


def freshness(check: Mapping[str, Any]) -> str:
    """The answer of ``check`` as a status: ``up to date``, ``37 of 96``, ``changed: render again``."""
    fresh, stale, absent, no_plate = (len(check.get(name, ())) for name in ("fresh", "stale", "absent", "no_plate"))
    total = fresh + stale + absent
    said = "nothing rendered" if absent == total else "up to date" if fresh == total else f"{fresh} of {total}"
    if stale:
        said += f", changed: {spoken(check['stale'])}" if fresh else ", plate or settings changed: render again"
    if absent and absent != total:
        said += f", missing: {spoken(check['absent'])}"
    if no_plate:
        said += f", no plate: {spoken(check['no_plate'])}"
    return said


def duration(seconds: float) -> str:
    """Seconds as people say them: ``40 s``, ``3 min``, ``2 h 05``."""
    whole = max(0, round(seconds))
    if whole < 90:
        return f"{whole} s"
    if whole < 90 * 60:
        return f"{round(whole / 60)} min"
    return f"{whole // 3600} h {whole % 3600 // 60:02d}"
