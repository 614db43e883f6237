"""Start the engine, ask it, and hear from it: what hosts and scripts use.

Standard library only, Python 3.9 syntax. No call blocks but those that say so: starting the engine, writing to
it and reading from it happen in threads of their own::

    engine = Engine()                                    # finds the engine's Python; starts nothing yet
    nodes = engine.call("describe")["nodes"]             # waits for the answer: for scripts, terminals, farms
    request = engine.ask("render", recipe=path, frame=1001, listen=print)    # hears events in a thread
    while not request.over: ... request.take() ...                           # or looks for them now and then
    engine.close()

What the answers hold is described in docs/serve.md.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Event = dict[str, Any]
Listener = Callable[[Event], None]

PROTOCOL = 1
"""Version of the protocol that is spoken here."""
LAST = ("done", "error", "cancelled", "dropped", "died")
"""Events that end a request; ``died`` is said by the client when the engine is gone."""
SCRUBBED = ("PYTHON", "LD_LIBRARY_PATH", "DYLD_", "QT_", "NUKE_", "BLENDER_", "__PYVENV_LAUNCHER__")
"""Beginnings of names of environment variables that belong to the host and would break the engine."""
LAST_WORDS = 40
"""Lines of standard error that are kept for the report of a death."""
MOST_EVENTS = 1000
"""Events of one request that are kept for ``take``; of more, the oldest go."""
GRACE = 2.0
"""Seconds for which output is waited for after the engine's end, in case a child of it holds the pipe."""


class EngineError(Exception):
    """What the engine answered instead of a result; ``kind`` is ``artist``, ``request``, ``bug`` or an event."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class EngineDied(EngineError):
    """The engine is gone, or could not be started; the message holds its last words."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "died")


def engine_files() -> list[Path]:
    """Where an installation may have written which Python runs the engine, the nearest first."""
    if sys.platform == "win32":
        home = Path(os.environ.get("APPDATA") or Path.home())
    elif sys.platform == "darwin":
        home = Path.home() / "Library" / "Application Support"
    else:
        home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return [Path(__file__).with_name("engine.json"), home / "mien" / "engine.json"]


def remember_python(python: str | Path, file: Path | None = None) -> Path:
    """Write down, for hosts, which Python runs the engine; returns the file."""
    path = file or engine_files()[-1]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps({"python": str(python)}) + "\n", "utf-8")
    partial.replace(path)
    return path


def find_python(python: str | Path | None = None) -> str:
    """The Python that runs the engine: the argument, else ``MIEN_PYTHON``, else what an installation wrote down.

    Raises:
        EngineDied: None is named, or the one that is named is not there.
    """
    named = str(python or os.environ.get("MIEN_PYTHON") or "")
    source = "as asked" if python else "named by MIEN_PYTHON"
    for file in engine_files() if not named else ():
        try:
            found = json.loads(file.read_text("utf-8"))["python"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
        named, source = str(found), f"named in {file}"
        break
    if not named:
        raise EngineDied(
            "The engine's Python is not known. Run 'mien install engine' there, or set MIEN_PYTHON to its path."
        )
    try:
        there = Path(named).is_file()
    except OSError:
        there = False
    if not there:
        raise EngineDied(f"There is no Python {named[:400]}, {source}. Correct the path.")
    return named


def scrubbed(environment: Mapping[str, str], ocio: bool) -> dict[str, str]:
    """An environment without what belongs to the host; ``ocio`` keeps the host's color config."""
    dropped = SCRUBBED if ocio else (*SCRUBBED, "OCIO")
    return {name: value for name, value in environment.items() if not name.upper().startswith(dropped)}


class Request:
    """One request: what was said of it, and how it ended. Every method may be called from any thread."""

    def __init__(self, engine: Engine, id: int, listen: Listener | None) -> None:
        self.id = id
        self.answer: Event | None = None
        self._engine = engine
        self._listen = listen
        self._events: deque[Event] = deque(maxlen=MOST_EVENTS)
        self._over = threading.Event()

    @property
    def over(self) -> bool:
        """Whether the last word was said; it is then in ``answer``."""
        return self._over.is_set()

    def take(self) -> list[Event]:
        """What was said since the last call, without waiting: for a host's timer."""
        taken = []
        while self._events:
            taken.append(self._events.popleft())
        return taken

    def cancel(self) -> None:
        """Ask for the end of it; the answer will be ``cancelled``, unless it is over already."""
        if not self.over and self._engine.alive:
            self._engine.ask("cancel", of=self.id)

    def wait(self, timeout: float | None = None) -> Event:
        """Block until it is over and return the answer. Not for a host's main thread.

        Raises:
            EngineError: The engine refused, failed, or did not finish it.
            TimeoutError: It goes on after ``timeout`` seconds.
        """
        if not self._over.wait(timeout):
            raise TimeoutError(f"No answer after {timeout or 0:g} seconds.")
        answer = self.answer or {}
        event = str(answer.get("event"))
        if event == "died":
            raise EngineDied(str(answer.get("message")))
        if event != "done":
            raise EngineError(str(answer.get("message", event)), str(answer.get("kind", event)))
        return answer

    def hear(self, event: Event) -> None:
        """Take in what the engine says; nothing is taken in after the last word."""
        if self.over:
            return
        last = event.get("event") in LAST
        if last:
            self.answer = event
        self._events.append(event)
        if last:
            self._over.set()
        if self._listen is not None:
            _tell(self._listen, event)


class Engine:
    """An engine in a process of its own, started when first needed and again after it died.

    Every method may be called from any thread. Listeners are called in a thread of the client, never in the
    caller's; a listener must not block.
    """

    def __init__(
        self,
        python: str | Path | None = None,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        ocio: bool = False,
        on_log: Callable[[str], None] | None = None,
        on_death: Callable[[str], None] | None = None,
    ) -> None:
        """
        Args:
            python: The engine's Python; else see ``find_python``.
            options: Words of ``mien serve``, such as ``--memory 8``.
            environment: Variables that the engine gets beside those of the host that harm nothing.
            ocio: The host's ``OCIO`` holds for the engine too.
            on_log: Hears each line that the engine prints, and its notes.
            on_death: Hears the report, once for each engine that dies.
        """
        self._command = (python, tuple(options), dict(environment or {}), ocio)
        self._on_log = on_log
        self._on_death = on_death
        self._lock = threading.Lock()
        self._life: _Life | None = None
        self._closed = False
        self._count = 0
        atexit.register(_kill, weakref.ref(self))

    def ask(self, do: str, listen: Listener | None = None, **fields: Any) -> Request:
        """Send a request; returns at once. An engine that is not there is started first."""
        with self._lock:
            if self._closed:
                raise EngineDied("This engine was closed.")
            self._count += 1
            request = Request(self, self._count, listen)
            message = dict(fields, id=request.id, do=do)
            if self._life is None or not self._life.send(request, message):
                # It has the request before it can die of its own start, so that each death is told once.
                self._life = _Life(self._command, self._on_log, self._died)
                self._life.send(request, message)
                self._life.begin()
        return request

    def call(self, do: str, timeout: float | None = None, **fields: Any) -> Event:
        """Send a request and block until it is answered. Not for a host's main thread.

        Raises:
            EngineError, TimeoutError: As ``Request.wait``.
        """
        return self.ask(do, **fields).wait(timeout)

    @property
    def pid(self) -> int | None:
        """Process id of the engine; None while there is none."""
        life = self._life
        return None if life is None else life.pid

    @property
    def alive(self) -> bool:
        """Whether an engine runs or is being started."""
        life = self._life
        return life is not None and not life.over.is_set()

    def close(self, timeout: float = 0.0) -> None:
        """Let the engine leave, and kill it when it has not left after a few seconds; blocks for ``timeout``."""
        with self._lock:
            self._closed = True
            life = self._life
        if life is not None:
            life.close()
            life.over.wait(timeout)

    def kill(self) -> None:
        """End the engine now; what it has written stays whole."""
        life = self._life
        if life is not None:
            life.kill()

    def _died(self, report: str) -> None:
        if self._on_death is not None:
            _tell(self._on_death, report)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close(5.0)


def _kill(engine: weakref.ref[Engine]) -> None:
    """At the host's exit: nothing is left behind, whatever state its threads are in."""
    left = engine()
    if left is not None:
        left.kill()


class _Life:
    """One process of the engine, from start to death."""

    def __init__(
        self,
        command: Any,
        on_log: Callable[[str], None] | None,
        on_death: Callable[[str], None],
    ) -> None:
        self.over = threading.Event()
        self._command = command
        self._on_log = on_log
        self._on_death = on_death
        self._lock = threading.Lock()
        self._open: dict[int, Request] = {}
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._words: deque[str] = deque(maxlen=LAST_WORDS)
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = False
        self._killed = False

    def begin(self) -> None:
        """Start the process, in a thread of its own."""
        # Linux ends the engine when the thread that started it ends, so this thread stays as long as it.
        threading.Thread(target=self._live, name="mien engine", daemon=True).start()

    @property
    def pid(self) -> int | None:
        process = self._process
        return None if process is None else process.pid

    def send(self, request: Request, message: Mapping[str, Any]) -> bool:
        """Send a message soon; False if this engine is dead."""
        line = json.dumps(message, allow_nan=False).encode("ascii") + b"\n"
        with self._lock:
            if self._closing or self.over.is_set():
                return False
            self._open[request.id] = request
            self._closing = message["do"] == "quit"
            self._lines.put(line)
        return True

    def close(self) -> None:
        with self._lock:
            self._closing = True
        self._lines.put(None)
        timer = threading.Timer(GRACE + 1, self.kill)
        timer.daemon = True
        timer.start()

    def kill(self) -> None:
        self._killed = True
        process = self._process
        if process is not None and process.poll() is None:
            process.kill()

    def _live(self) -> None:
        try:
            process = self._start()
        except (OSError, EngineError) as error:
            self._end(str(error) if isinstance(error, EngineError) else f"The engine cannot start: {error}")
            return
        threads = [
            threading.Thread(target=work, args=(process,), name="mien engine", daemon=True)
            for work in (self._write, self._listen, self._overhear)
        ]
        for thread in threads:
            thread.start()
        code = process.wait()
        deadline = time.monotonic() + GRACE
        for thread in threads[1:]:
            thread.join(max(0.0, deadline - time.monotonic()))
        said = "\n".join(self._words)
        self._end(f"The engine {_ending(code)}." + (f" Its last words:\n{said}" if said else ""))

    def _start(self) -> subprocess.Popen[bytes]:
        python, options, environment, ocio = self._command
        extra: dict[str, Any] = {}
        if sys.platform == "win32":
            extra["creationflags"] = subprocess.CREATE_NO_WINDOW
        else:
            # A Ctrl-C in the terminal that the host was started from is meant for the host.
            extra["start_new_session"] = True
        process = subprocess.Popen(
            [find_python(python), "-P", "-m", "mien.serve", "--parent", str(os.getpid()), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(scrubbed(os.environ, ocio), **environment),
            **extra,
        )
        self._process = process
        if self._killed:
            process.kill()
        return process

    def _end(self, report: str) -> None:
        """Report the death, once, and end what was open."""
        with self._lock:
            self.over.set()
            orphans = list(self._open.values())
            self._open.clear()
            wanted = self._closing
        # The writer may wait for a line that never comes.
        self._lines.put(None)
        for request in orphans:
            request.hear({"id": request.id, "event": "died", "message": report})
        if not wanted:
            self._on_death(report)

    def _write(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        try:
            while True:
                line = self._lines.get()
                if line is None:
                    break
                process.stdin.write(line)
                process.stdin.flush()
        except (OSError, ValueError):
            pass
        finally:
            with contextlib.suppress(OSError):
                process.stdin.close()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self._hear(line)

    def _hear(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            id, kind = event["id"], event["event"]
        except (ValueError, KeyError, TypeError):
            self._say(line)
            return
        if kind == "hello" and event.get("protocol") != PROTOCOL:
            self._say(f"It speaks protocol {event.get('protocol')}, not {PROTOCOL}: install one version.".encode())
            self.kill()
        with self._lock:
            request = self._open.pop(id, None) if kind in LAST else self._open.get(id)
        if request is not None:
            request.hear(event)
        elif "message" in event:
            self._say(str(event["message"]).encode("utf-8"))

    def _overhear(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                self._say(line)

    def _say(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip()
        self._words.append(text)
        if self._on_log is not None:
            _tell(self._on_log, text)


def _tell(listener: Callable[[Any], None], what: Any) -> None:
    """Call what the host gave us; its faults are shown and do not stop the others from hearing."""
    try:
        listener(what)
    except Exception:  # noqa: BLE001  another program's code
        traceback.print_exc()


def _ending(code: int) -> str:
    """How a process ended, in words."""
    if code < 0:
        import signal

        try:
            return f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"was ended by signal {-code}"
    return "left" if code == 0 else f"failed with exit code {code}"
