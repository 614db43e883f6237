# SPDX-License-Identifier: GPL-3.0-or-later
"""Install the engine: a Python environment of its own, below the extension's folder, made only when asked to."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import bpy

from ..mien.client import scrubbed
from . import runner
from .props import PACKAGE, preferences, state

installing: dict[str, str] = {}
"""What the installation said last; ``over`` once it is, ``python`` where it succeeded. Written by its thread."""


def install(folder: Path, package: str) -> None:
    """Make the environment and install into it; runs in a thread and touches nothing of Blender."""
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    steps = ([sys.executable, "-m", "venv", "--clear", str(folder)], [str(python), "-m", "pip", "install", package])
    try:
        for step in steps:
            with subprocess.Popen(
                step, env=scrubbed(os.environ, False), text=True, errors="replace", stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            ) as process:  # fmt: skip
                assert process.stdout is not None
                for line in process.stdout:
                    runner.clock.log.append(line.rstrip())
                    installing["said"] = line.strip()[:200]
            if process.returncode != 0:
                installing["over"] = f"The engine was not installed: {installing.get('said', '')} Open the log."
                return
        installing["python"], installing["over"] = str(python), "The engine is installed. Press Check."
    except OSError as error:
        installing["over"] = f"The engine was not installed: {error}. Open the log."


def watch() -> float | None:
    """Say how the installation goes, until it is over."""
    said = state()
    said.engine = installing.get("over") or f"Installing: {installing.get('said', '')}"
    if "python" in installing:
        preferences().engine_path = installing["python"]
    runner.redraw()
    if "over" not in installing:
        return 0.5
    installing.clear()
    return None


class MIEN_OT_install_engine(bpy.types.Operator):
    """Make a Python environment for the engine and install it there; about 3 GB"""

    bl_idname = "mien.install_engine"
    bl_label = "Install Engine"

    @classmethod
    def poll(cls, context: Any) -> bool:
        """Only where going online is allowed."""
        if not bpy.app.online_access:
            cls.poll_message_set("Needs Preferences > System > Allow Online Access")
        return bool(bpy.app.online_access) and not installing

    def execute(self, context: Any) -> set[str]:
        """Begin; the log says all of it."""
        folder = Path(bpy.utils.extension_path_user(PACKAGE, path="engine", create=True))
        installing["said"] = "a Python environment"
        package = preferences().engine_package
        threading.Thread(target=install, args=(folder, package), name="mien install", daemon=True).start()
        bpy.app.timers.register(watch, first_interval=0.5)
        return {"FINISHED"}


CLASSES = (MIEN_OT_install_engine,)
