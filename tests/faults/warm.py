"""A warm process that forks children which run ``mien``: a killed run costs no second start of torch.

One JSON object a line on standard input, ``{"words": ["render", ...], "seconds": 0.7, "log": "..."}``; a child is
killed with SIGKILL after ``seconds`` if it still runs. One line back for each. ``ill`` names what is done to the child:
``clock`` makes its clocks jump by years, ``deaf`` gives it a standard output that nobody reads, ``small`` lets no file
grow beyond 4 KiB, ``abroad`` gives its machine another name.
"""

import json
import os
import random
import resource
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from mien.__main__ import main


def jumping(clock: Callable[[], float], seed: int) -> Callable[[], float]:
    """A clock that is years off, by another amount at each look."""
    moments = random.Random(seed)
    return lambda: clock() + moments.uniform(-3e8, 3e8)


def harm(ill: str) -> None:
    """Make this process ill."""
    if ill == "clock":
        time.time, time.monotonic = jumping(time.time, 1), jumping(time.monotonic, 2)
    elif ill == "deaf":
        nobody, out = os.pipe()
        os.close(nobody)
        os.dup2(out, 1)
    elif ill == "small":
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    elif ill == "abroad":
        socket.gethostname = lambda: "another-machine"


def child(words: list[str], log: str, ill: str) -> None:
    """Run the command line in this process, which ends here."""
    code = 1
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        harm(ill)
        sys.argv = ["mien", *words]
        main()
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    except BaseException:  # noqa: BLE001  the child's last words
        traceback.print_exc()
        code = 70
    finally:
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def run(words: list[str], seconds: float | None, log: str, ill: str) -> dict[str, object]:
    """Fork a child, kill it in time, and say how it ended."""
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        child(words, log, ill)
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        elapsed = time.monotonic() - began
        if done:
            break
        if seconds is not None and elapsed >= seconds:
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            break
        time.sleep(0.002)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    code = None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return {"killed": killed, "code": code, "seconds": elapsed, "log": Path(log).read_text("utf-8", "replace")[-4000:]}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(run(asked["words"], asked.get("seconds"), asked["log"], asked["ill"])), flush=True)
