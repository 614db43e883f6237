# SPDX-License-Identifier: GPL-3.0-or-later
"""Install the engine: a Python environment of its own, below the extension's folder, made only when asked to."""

import sys
from pathlib import Path
from typing import Any

import bpy

from . import programs, runner
from .props import PACKAGE, preferences, state

INSTALLING = "Installing"


class MIEN_OT_install_engine(bpy.types.Operator):
    """Make a Python environment for the engine and install it there; about 3 GB"""

    bl_idname = "mien.install_engine"
    bl_label = "Install Engine"

    @classmethod
    def poll(cls, context: Any) -> bool:
        """Only where going online is allowed."""
        if not bpy.app.online_access:
            cls.poll_message_set("Needs Preferences > System > Allow Online Access")
            return False
        if any(program.title == INSTALLING for program in runner.clock.programs):
            cls.poll_message_set("It is being installed")
            return False
        return True

    def execute(self, context: Any) -> set[str]:
        """Begin; the log says all of it."""
        folder = Path(bpy.utils.extension_path_user(PACKAGE, path="engine", create=True))
        python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        commands = (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(python), "-m", "pip", "install", preferences().engine_package],
        )

        def follow(program: programs.Program) -> None:
            state().engine = f"Installing: {program.said or 'a Python environment'}"

        def finish(program: programs.Program) -> None:
            if program.error:
                state().engine = f"The engine was not installed: {program.error} Open the log."
                return
            preferences().engine_path = str(python)
            state().engine = "The engine is installed. Press Check."

        state().engine = "Installing: a Python environment"
        runner.run(programs.Program(INSTALLING, finish, follow), commands)
        return {"FINISHED"}


CLASSES = (MIEN_OT_install_engine,)
