"""The desk where requests arrive: which is done next, which is stale, who is told what, and what is cancelled.

There are three lanes. Long work on files goes in order, in the main thread. Pictures that an artist waits for
go beside it, the newest first, and long work gives way to them; a newer request of the same viewer takes the
place of one that still waits. A training has a thread of its own. Every request gets exactly one last answer.
"""

import _thread
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from types import FrameType
from typing import Any

from mien.serve.lines import Answers
from mien.serve.requests import Id, Lane, RequestError, Show

KNOCK = 0.04
"""Seconds after which cancelled work that did not look up is interrupted."""
KNOCKING = getattr(signal, "SIGUSR1", signal.SIGTERM)
"""The signal that says so."""
GIVE_WAY = 0.5
"""Seconds that long work waits, at each of its steps, for pictures that an artist waits for."""
MOST_OPEN = 10_000
"""Requests that may be open at once."""
REMEMBERED = 1000
"""Lines of the log that are kept."""


class Cancelled(BaseException):
    """The request that is being worked on is not wanted any more."""


@dataclass(eq=False)
class Ticket:
    """A request on its way.

    Attributes:
        id, do: What the asker calls it, and the command.
        request: Its fields.
        lane: Where it waits.
        begun: When work on it began.
        latest: The last thing that was told of it.
        on_cancel: What to do beside marking it.
    """

    id: Id
    do: str
    request: Any
    lane: Lane
    cancelled: threading.Event = field(default_factory=threading.Event)
    begun: float | None = None
    latest: Mapping[str, Any] | None = None
    on_cancel: Callable[[], None] | None = None
    over: bool = False


class Queue:
    """Tickets of one lane that wait; the newest first where ``newest``, and then one for each viewer."""

    def __init__(self, newest: bool = False) -> None:
        self._newest = newest
        self._waiting: list[Ticket] = []
        self._changed = threading.Condition()
        self._closed = False
        self.busy = False

    def put(self, ticket: Ticket) -> list[Ticket]:
        """Add a ticket; returns those that it makes stale."""
        with self._changed:
            stale = [old for old in self._waiting if self._newest and _same_viewer(old, ticket)]
            self._waiting = [old for old in self._waiting if old not in stale] + [ticket]
            self._changed.notify()
        return stale

    def take(self) -> Ticket | None:
        """The next ticket, waiting for one; None when the lane is closed."""
        with self._changed:
            self.busy = False
            while not self._waiting and not self._closed:
                self._changed.wait()
            if not self._waiting:
                return None
            self.busy = True
            return self._waiting.pop(-1 if self._newest else 0)

    def withdraw(self, ticket: Ticket) -> bool:
        """Take back a ticket that still waits."""
        with self._changed:
            if ticket not in self._waiting:
                return False
            self._waiting.remove(ticket)
            return True

    @property
    def active(self) -> bool:
        """Whether something is being done or waits here."""
        return self.busy or bool(self._waiting)

    def close(self) -> None:
        """Let ``take`` return None once nothing waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def _same_viewer(old: Ticket, new: Ticket) -> bool:
    return isinstance(old.request, Show) and isinstance(new.request, Show) and old.request.viewer == new.request.viewer


Perform = Callable[[Ticket, Callable[[Any], None], Callable[[], bool]], Mapping[str, Any]]
"""Does what a ticket asks for: the ticket, whom to tell events, and whether to stop."""


class Desk:
    """Open requests, the lanes they wait in, and what is said of them."""

    def __init__(self, answers: Answers, perform: Perform) -> None:
        self.answers = answers
        self.open: dict[Id, Ticket] = {}
        self.log: deque[Mapping[str, Any]] = deque(maxlen=REMEMBERED)
        self.queues: dict[str, Queue] = {"batch": Queue(), "view": Queue(newest=True), "train": Queue()}
        self._perform = perform
        self._lock = threading.Lock()
        self._exposed: Ticket | None = None

    def accept(self, ticket: Ticket) -> None:
        """Take in a request; those that it makes stale are answered.

        Raises:
            RequestError: Its id is in use, or too many requests are open.
        """
        with self._lock:
            if ticket.id in self.open:
                raise RequestError(f"The id {ticket.id!r} is that of a request that is still open: count on.")
            if len(self.open) >= MOST_OPEN:
                raise RequestError(f"{MOST_OPEN} requests are open: wait for answers.", ticket.id)
            self.open[ticket.id] = ticket
        if ticket.lane != "at once":
            for stale in self.queues[ticket.lane].put(ticket):
                self.answer(stale, "dropped", {"by": ticket.id})

    def answer(self, ticket: Ticket, event: str, facts: Mapping[str, Any]) -> None:
        """Say the last word on a request; nothing is said where that was done already."""
        with self._lock:
            if ticket.over:
                return
            ticket.over = True
            self.open.pop(ticket.id, None)
        self.answers.say({"id": ticket.id, "event": event, **facts})

    def fail(self, ticket: Ticket, error: BaseException) -> None:
        """Answer with what went wrong: in words where somebody can mend it, else as a fault with its trace."""
        kind = fault(error)
        message = str(error) if kind != "bug" else f"{type(error).__name__}: {error}. This is a fault of mien; see log."
        if kind == "bug":
            trace = "".join(traceback.format_exception(error))
            self.note(trace, "error", ticket.id)
            print(trace, file=sys.stderr, flush=True)
        self.answer(ticket, "error", {"kind": kind, "message": message})

    def note(self, message: str, level: str, id: Id | None) -> None:
        """Remember a line of the log."""
        self.log.append({"time": round(time.time(), 3), "level": level, "id": id, "message": message})

    def teller(self, ticket: Ticket) -> Callable[[Any], None]:
        """How work on a ticket tells its events; raises ``Cancelled`` where the ticket is."""

        def tell(event: Any) -> None:
            said = asdict(event) if is_dataclass(event) and not isinstance(event, type) else dict(event)
            if said.get("event") == "progress":
                said["seconds"] = round(time.monotonic() - (ticket.begun or time.monotonic()), 3)
                ticket.latest = said
            elif "message" in said:
                self.note(str(said["message"]), str(said.get("level", "warning")), ticket.id)
            droppable = said.get("event") == "progress" and said.get("done") != said.get("total")
            if not ticket.over and not (droppable and self.answers.crowded):
                self.answers.say({"id": ticket.id, **said})
            # What has a way of its own to end, saves before it does.
            if self.unwanted(ticket) and ticket.on_cancel is None:
                raise Cancelled

        return tell

    def unwanted(self, ticket: Ticket) -> bool:
        """Whether a ticket is cancelled; lets pictures that an artist waits for go first."""
        view = self.queues["view"]
        patience = time.monotonic() + GIVE_WAY
        while ticket.lane != "view" and view.active and not ticket.cancelled.is_set() and time.monotonic() < patience:
            time.sleep(0.002)
        return ticket.cancelled.is_set()

    def serve(self, lane: str, interruptible: bool = False) -> None:
        """Work on one lane until it closes; ``interruptible`` in the main thread only."""
        while (ticket := self.queues[lane].take()) is not None:
            event, facts = self._outcome(ticket, interruptible)
            if isinstance(facts, BaseException):
                self.fail(ticket, facts)
            else:
                self.answer(ticket, event, facts)

    def _outcome(self, ticket: Ticket, interruptible: bool) -> tuple[str, Mapping[str, Any] | Exception]:
        ticket.begun = time.monotonic()
        try:
            try:
                if interruptible:
                    self._exposed = ticket
                if ticket.cancelled.is_set():
                    raise Cancelled
                return "done", self._perform(ticket, self.teller(ticket), lambda: self.unwanted(ticket))
            finally:
                if interruptible:
                    self._exposed = None
        except Cancelled:
            return "cancelled", {}
        except Exception as error:  # noqa: BLE001  the boundary of the process: the asker hears of everything
            return "error", error

    def cancel(self, ticket: Ticket) -> None:
        """End a request; the last word on it is ``cancelled``, unless it was done before.

        It is said at once. What is being computed or written meanwhile ends by itself, before the lane goes on.
        """
        with self._lock:
            again = ticket.cancelled.is_set()
            ticket.cancelled.set()
        if again:
            return
        waited = ticket.lane != "at once" and self.queues[ticket.lane].withdraw(ticket)
        if ticket.on_cancel is not None and not waited:
            ticket.on_cancel()
            return
        if ticket.lane == "batch" and not waited:
            threading.Thread(target=self._knock, args=(ticket,), name="knock", daemon=True).start()
        self.answer(ticket, "cancelled", {})

    def _knock(self, ticket: Ticket) -> None:
        """Interrupt the main thread where it still works on a cancelled ticket, as Ctrl-C would."""
        time.sleep(KNOCK)
        while self._exposed is ticket:
            if hasattr(signal, "pthread_kill"):
                signal.pthread_kill(threading.main_thread().ident or 0, KNOCKING)
            else:
                _thread.interrupt_main(KNOCKING)
            time.sleep(KNOCK / 2)

    def on_knock(self, number: int, frame: FrameType | None) -> None:
        """The main thread's answer to a knock; a module that would be imported by half is let in first."""
        ticket = self._exposed
        if ticket is not None and ticket.cancelled.is_set() and not _importing(frame):
            self._exposed = None
            raise Cancelled

    def close(self) -> None:
        """Cancel everything and close the lanes."""
        with self._lock:
            waiting = list(self.open.values())
        for ticket in waiting:
            self.cancel(ticket)
        for lane in self.queues.values():
            lane.close()


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def fault(error: BaseException) -> str:
    """``request``: the line was wrong; ``artist``: the message says what to do; ``bug``: neither."""
    if isinstance(error, RequestError):
        return "request"
    names = {kind.__name__ for kind in type(error).__mro__}
    return "artist" if names & {"MienError", "RecipeError", "DeclarationError"} else "bug"
