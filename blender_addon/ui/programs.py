# SPDX-License-Identifier: GPL-3.0-or-later
"""Other programs that a button runs: a thread hears them, and Blender never waits."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..mien.client import scrubbed


@dataclass
class Program:
    """Commands that run one after the other; a thread writes what is said of them.

    Attributes:
        title: Words for it.
        finish: Called once it is over.
        follow: Called while it runs.
        said: Its last line.
        error: Why it ended early, in words.
        over: Whether it has ended.
    """

    title: str
    finish: Callable[[Program], None]
    follow: Callable[[Program], None] | None = None
    said: str = ""
    error: str = ""
    over: bool = False


def split(words: str) -> list[str]:
    """A command as it is typed, in its parts; backslashes of Windows' paths stay.

    Raises:
        ValueError: A quotation is not closed.
    """
    if sys.platform == "win32":
        return [part.strip('"') for part in shlex.split(words, posix=False)]
    return shlex.split(words)


def begin(program: Program, commands: Sequence[Sequence[str]], log: Callable[[str], None]) -> None:
    """Run commands in a thread; ``log`` hears each line, in that thread."""
    threading.Thread(target=_run, args=(program, commands, log), name=f"mien {program.title}", daemon=True).start()


def _run(program: Program, commands: Sequence[Sequence[str]], log: Callable[[str], None]) -> None:
    try:
        for command in commands:
            log(f"{program.title}: {shlex.join(command)}")
            with subprocess.Popen(
                command, env=scrubbed(os.environ, False), text=True, errors="replace", stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            ) as process:  # fmt: skip
                assert process.stdout is not None
                for line in process.stdout:
                    log(line.rstrip())
                    program.said = line.strip()[:200] or program.said
            if process.returncode != 0:
                program.error = program.said or f"{command[0]} ended with {process.returncode}."
                break
    except (OSError, ValueError) as error:
        program.error = f"{error}."
    finally:
        program.over = True
