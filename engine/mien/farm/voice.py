"""A run's events as a worker of Open Job Description hears them: lines on standard output.

``openjd_progress: 42.0``, ``openjd_status: render 12/48``, ``openjd_fail: ...``; what else there is to say goes on
lines of its own, into the task's log.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from mien.progress import Advance, Event, Failure, Learned, Note, Outcome, Preview, Tell, ranges
from mien.recipe import RecipeError
from mien.types import MienError

MOST_FAILED = 5
"""Failed frames whose reasons are part of the last status; the log has them all."""


@contextmanager
def worker_voice() -> Iterator[Tell]:
    """How a task tells its events to the worker that runs it; an error becomes its failure message."""
    try:
        yield tell
    except (MienError, RecipeError) as error:
        _say("fail", str(error))
        raise


def tell(event: Event) -> None:
    """Print one event."""
    if isinstance(event, Advance):
        _say("progress", f"{100 * event.done / max(event.total, 1):.1f}")
        _say("status", f"{event.stage} {event.done}/{event.total}, frame {event.frame}")
    elif isinstance(event, Failure):
        print(f"{event.stage} failed in frame {event.frame}: {_line(event.message)}", flush=True)
    elif isinstance(event, Note):
        print(f"{'Warning: ' if event.level == 'warning' else ''}{_line(event.message)}", flush=True)
    elif isinstance(event, Preview):
        print(f"step {event.step}: {event.path}", flush=True)
    elif isinstance(event, Learned):
        held = "" if event.held_out is None else f", held out {event.held_out:.2f} dB"
        _say("status", f"step {event.step}{held}, {event.improving}")
    elif isinstance(event, Outcome):
        _end(event)


def _end(outcome: Outcome) -> None:
    for path in outcome.written:
        print(f"wrote {path}", flush=True)
    if not outcome.failed:
        _say("progress", "100.0")
        _say("status", f"{outcome.done} done, {outcome.skipped} were up to date")
        return
    some = [f"{frame}: {_line(message)}" for frame, message in list(outcome.failed.items())[:MOST_FAILED]]
    hidden = len(outcome.failed) - len(some)
    more = f" and {hidden} more" if hidden else ""
    _say("fail", f"{len(outcome.failed)} frames failed ({ranges(outcome.failed)}): {'; '.join(some)}{more}")


def _say(word: str, message: str) -> None:
    print(f"openjd_{word}: {_line(message)}", flush=True)


def _line(message: str) -> str:
    """A message on one line: what follows a line break would be taken for another message."""
    return " ".join(message.split())
