"""``mien serve``: takes requests from standard input until it ends, and answers on standard output.

Nothing heavy is imported before the first answer is out. Whatever a library prints, in Python or in C, goes to
standard error.
"""

import argparse
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.serve.desk import KNOCKING, Cancelled, Desk, Ticket
from mien.serve.lines import LONGEST, Answers, TooLong, read_lines
from mien.serve.requests import (
    PROTOCOL,
    Cancel,
    Describe,
    Log,
    Progress,
    Quit,
    Release,
    RequestError,
    Status,
    Steer,
    parse,
)

if TYPE_CHECKING:
    from mien.serve.work import Work

PATIENCE = 1.5
"""Seconds that the engine takes at most to leave."""
WATCH = 0.5
"""Seconds between two looks whether the host still lives."""


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """The options of ``mien serve``."""
    parser = argparse.ArgumentParser(prog="mien serve", description="Answer a host in JSON lines.")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="where pictures are computed")
    parser.add_argument("--memory", type=float, default=4.0, metavar="GIB", help="pictures that are kept warm, in GiB")
    parser.add_argument("--no-disk-cache", action="store_true", help="keep nothing on disk between sessions")
    parser.add_argument(
        "--allow-path", action="append", default=[], type=Path, metavar="DIR", help="also write below this folder"
    )
    parser.add_argument("--parent", type=int, metavar="PID", help="leave when this process, the host, is gone")
    return parser.parse_args(words)


class Engine:
    """The desk, what is answered at once, and the warm part that is made when it is first needed."""

    def __init__(self, options: argparse.Namespace, answers: Answers) -> None:
        self.options = options
        self.began = time.monotonic()
        self.desk = Desk(answers, self._perform)
        self.leaving = threading.Event()
        self._answered = threading.Event()
        self._warming = threading.Lock()
        self._work: Work | None = None

    def read(self, descriptor: int) -> None:
        """Take requests until the host closes its end."""
        for line in read_lines(descriptor):
            self.desk.answers.give_way()
            try:
                self._take(line)
            except RequestError as error:
                self.desk.answers.say({"id": error.id, "event": "error", "kind": "request", "message": str(error)})
            self._answered.set()
            if self.leaving.is_set():
                return

    def _take(self, line: bytes | TooLong) -> None:
        if isinstance(line, TooLong):
            raise RequestError(f"The line is longer than {LONGEST >> 20} MiB. Send a recipe as a file.")
        ticket = Ticket(*parse(line))
        self.desk.accept(ticket)
        if ticket.lane == "at once":
            try:
                self.desk.answer(ticket, "done", self._at_once(ticket.request))
            except Exception as error:  # noqa: BLE001  the boundary of the process: the asker hears of everything
                self.desk.fail(ticket, error)

    def _at_once(self, request: Any) -> Mapping[str, Any]:
        """The answer to what needs no waiting.

        Raises:
            RequestError: It speaks of a request that is not open.
        """
        if isinstance(request, Describe):
            return describe()
        if isinstance(request, Status):
            return self.status()
        if isinstance(request, Progress):
            return {"requests": [_state(ticket) for ticket in self._chosen(request.of)]}
        if isinstance(request, Log):
            return {"lines": list(self.desk.log)[-max(0, request.lines) :] if request.lines else []}
        if isinstance(request, Cancel):
            tickets = [ticket for ticket in self._chosen(request.of, absent=True) if ticket.request is not request]
            for ticket in tickets:
                self.desk.cancel(ticket)
            return {"cancelled": [ticket.id for ticket in tickets]}
        if isinstance(request, Release):
            if self._work is not None:
                self._work.session.release(request.name)
            return {}
        if isinstance(request, Steer):
            return self._steer(request)
        assert isinstance(request, Quit)
        self.leaving.set()
        return {}

    def _steer(self, request: Steer) -> Mapping[str, Any]:
        (ticket,) = self._chosen(request.of)
        if ticket.lane != "train" or self._work is None:
            raise RequestError(f"{request.of!r} is no training.")
        self._work.steer(ticket, request.action)
        return {}

    def _chosen(self, of: int | str | None, absent: bool = False) -> list[Ticket]:
        if of is None:
            return [ticket for ticket in list(self.desk.open.values()) if ticket.lane != "at once"]
        ticket = self.desk.open.get(of)
        if ticket is None and not absent:
            raise RequestError(f"No request {of!r} is open.")
        return [] if ticket is None else [ticket]

    def status(self) -> Mapping[str, Any]:
        """What can be said of the engine without waiting."""
        warm = {"ready": False} if self._work is None else self._work.status()
        return {
            **warm,
            "protocol": PROTOCOL,
            "engine": _version(),
            "python": sys.version.split()[0],
            "pid": os.getpid(),
            "uptime": round(time.monotonic() - self.began, 3),
            "open": [_state(ticket) for ticket in self._chosen(None) if not isinstance(ticket.request, Status)],
        }

    def work(self) -> "Work":
        """The warm part; the first call imports torch and takes a second or more."""
        with self._warming:
            if self._work is None:
                from mien.serve.work import open_work

                self._work = open_work(self.options, self._noted)
                # What libraries have made by now stays: looking through it again would take 0.1 s of some answer.
                gc.collect()
                gc.freeze()
            return self._work

    def _noted(self, event: Any) -> None:
        """A note of the session, which belongs to no request."""
        self.desk.note(str(event.message), str(event.level), None)
        self.desk.answers.say({"id": None, "event": "log", "level": event.level, "message": event.message})

    def _perform(self, ticket: Ticket, tell: Callable[[Any], None], unwanted: Callable[[], bool]) -> Mapping[str, Any]:
        work = self.work()
        if isinstance(ticket.request, Status):
            return self.status()
        return work.perform(ticket, tell, unwanted)

    def show(self) -> None:
        """Work on pictures that an artist waits for, warm as soon as the first answer is out."""
        self._answered.wait()
        # Who only wanted to ask something has closed by now, and nobody waits for torch.
        if not self.leaving.wait(0.05):
            try:
                self.work()
            except Exception as error:  # noqa: BLE001  whoever needs it hears of it again, as the answer
                self.desk.note(str(error), "error", None)
        self.desk.serve("view")

    def leave(self) -> None:
        """Cancel what is open, and be gone within ``PATIENCE`` seconds."""
        self.leaving.set()
        self._answered.set()
        last = threading.Timer(PATIENCE, os._exit, (0,))
        last.daemon = True
        last.start()
        self.desk.close()

    def end(self) -> None:
        """Hand back what is held outside of this process."""
        if self._work is not None:
            self._work.session.close()


def describe() -> Mapping[str, Any]:
    """The nodes and the usual chain, as hosts read them."""
    import json
    from dataclasses import asdict
    from importlib import resources

    from mien.recipe import CONVERT

    nodes = json.loads(resources.files("mien").joinpath("nodes.json").read_text("utf-8"))
    return {
        "protocol": PROTOCOL,
        "engine": _version(),
        "nodes": nodes["nodes"],
        "chain": [asdict(step) for step in CONVERT],
    }


def _version() -> str:
    from importlib.metadata import version

    return version("mien")


def _state(ticket: Ticket) -> dict[str, Any]:
    state = "waiting" if ticket.begun is None else "cancelled" if ticket.cancelled.is_set() else "running"
    return {"id": ticket.id, "do": ticket.do, "state": state, "latest": ticket.latest}


def own_streams() -> tuple[int, int]:
    """Descriptors of the protocol's streams, taken away from everybody else in this process.

    What is printed goes to standard error from here on; standard input is empty.
    """
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return requests, answers


def alive(process: int) -> bool:
    """Whether a process runs; on Windows, where only the end of standard input tells, always."""
    try:
        if sys.platform != "win32":
            os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def watch_parent(parent: int) -> None:
    """End this process when the host is gone, even where its end of a pipe lives on in another child of it."""
    if sys.platform == "linux":
        import ctypes

        ask_for_signal = 1
        ctypes.CDLL(None, use_errno=True).prctl(ask_for_signal, signal.SIGKILL, 0, 0, 0)

    # Where a script stands between the host and this process, it and the host are watched.
    nearest = os.getppid()

    def watch() -> None:
        while alive(parent) and os.getppid() == nearest:
            time.sleep(WATCH)
        os._exit(0)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def main(words: Sequence[str]) -> None:
    """Serve until standard input ends."""
    options = arguments(words)
    requests, stream = own_streams()
    # On a busy machine threads that wait by spinning take the time of those that work.
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    if options.parent is not None:
        watch_parent(options.parent)
    answers = Answers(stream, gone=lambda: os._exit(0))
    engine = Engine(options, answers)
    answers.say({"id": None, "event": "hello", "protocol": PROTOCOL, "pid": os.getpid()})
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(KNOCKING, engine.desk.on_knock)

    def reading() -> None:
        try:
            engine.read(requests)
        finally:
            engine.leave()

    threading.Thread(target=reading, name="requests", daemon=True).start()
    views = threading.Thread(target=engine.show, name="view", daemon=True)
    views.start()
    threading.Thread(target=engine.desk.serve, args=("train",), name="train", daemon=True).start()
    try:
        engine.desk.serve("batch", interruptible=True)
        views.join(PATIENCE)
    except (KeyboardInterrupt, Cancelled):
        engine.leave()
    engine.end()
    answers.close(PATIENCE)
    sys.stderr.flush()
    # Threads of libraries would be waited for, or torn down half way.
    os._exit(0)
