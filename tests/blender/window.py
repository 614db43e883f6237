"""A Blender with a window on a virtual screen, used by simulated hands, watched and photographed.

    python tests/blender/window.py tests/blender/scenes/first_shot.py --pictures DIR [--blender blender]
                                   [--within "COMMAND ..."] [--size 1920x1080] [ARGUMENT]...

Needs Blender, Xvfb and ImageMagick on this system, or behind ``--within``: a command that runs another command where
they are, such as a container's, and sees the same files under the same paths.

A scene defines ``steps(hands, *arguments)``, a generator that runs within Blender. Every ``yield SECONDS`` lets
Blender handle events and draw; whatever waits is called by ``yield from``. The exit status is 0 when all that the
scene checked was so, 1 when something was not, 2 when it raised, 3 when Blender ended by itself or took too long.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

NAMES = {" ": "SPACE", ".": "PERIOD", ",": "COMMA", "-": "MINUS", "/": "SLASH", "_": "MINUS", ":": "SEMI_COLON"}
NAMES |= dict(zip("0123456789", ["ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE"]))
SHIFTED = "_:"
PAUSE = 0.06
"""Seconds between an event and the next: Blender merges events of one turn of its loop."""
Steps = Iterator[float]


class Hands:
    """Pointer, keys, eyes and notebook of a scene; positions are window pixels from the bottom left."""

    def __init__(self, pictures: Path) -> None:
        import bpy

        self.bpy, self.pictures = bpy, pictures
        self.wrong: list[str] = []
        self.at = (0, 0)

    @property
    def window(self) -> Any:
        """The first window; never kept, as undo and opening a file replace it."""
        return self.bpy.context.window_manager.windows[0]

    def send(self, kind: str, value: str, **more: Any) -> None:
        """One event where the pointer is."""
        self.window.event_simulate(type=kind, value=value, x=self.at[0], y=self.at[1], **more)

    def point(self, x: float, y: float) -> Steps:
        """Move the pointer."""
        self.at = (round(x), round(y))
        self.send("MOUSEMOVE", "NOTHING")
        yield PAUSE

    def press(self, kind: str, **more: Any) -> Steps:
        """Press and release a key or a button by Blender's name for it."""
        self.send(kind, "PRESS", **more)
        yield PAUSE
        self.send(kind, "RELEASE", **{name: held for name, held in more.items() if name != "unicode"})
        yield PAUSE

    def click(self, x: float, y: float, button: str = "LEFTMOUSE", **more: Any) -> Steps:
        """Click somewhere."""
        yield from self.point(x, y)
        yield from self.press(button, **more)

    def drag(self, begin: tuple[float, float], end: tuple[float, float], moves: int = 8) -> Steps:
        """Drag with the left button."""
        yield from self.point(*begin)
        self.send("LEFTMOUSE", "PRESS")
        yield PAUSE
        for move in range(1, moves + 1):
            part = move / moves
            yield from self.point(begin[0] + (end[0] - begin[0]) * part, begin[1] + (end[1] - begin[1]) * part)
        self.send("LEFTMOUSE", "RELEASE")
        yield PAUSE

    def write(self, text: str) -> Steps:
        """Type text into the field that has the focus."""
        for letter in text:
            yield from self.press(NAMES.get(letter, letter.upper()), unicode=letter,
                                  shift=letter in SHIFTED or letter.isupper())  # fmt: skip

    def wait_for(self, so: Callable[[], Any], most: float = 10.0) -> Iterator[float]:
        """Wait until something is so; returns the seconds that took, or None where it never was."""
        began = time.perf_counter()
        while time.perf_counter() - began < most:
            if so():
                return time.perf_counter() - began
            yield 0.01
        return None

    def area(self, kind: str) -> Any:
        """The largest area of a kind, such as NODE_EDITOR."""
        return max((a for a in self.window.screen.areas if a.type == kind), key=lambda a: a.width * a.height)

    def region(self, area: Any, kind: str = "WINDOW") -> Any:
        """A region of an area."""
        return next(region for region in area.regions if region.type == kind)

    def spot(self, region: Any, across: float = 0.5, up: float = 0.5) -> tuple[float, float]:
        """A position in a region by fractions of it."""
        return region.x + region.width * across, region.y + region.height * up

    def over(self, area: Any, kind: str = "WINDOW") -> Any:
        """A context in which operators run as if the pointer were in a region of an area."""
        return self.bpy.context.temp_override(window=self.window, area=area, region=self.region(area, kind))

    def viewer(self) -> Any:
        """What the compositor's viewer holds, (height, width, 4) float32 with the lowest row first; None if nothing."""
        import numpy as np

        image = self.bpy.data.images.get("Viewer Node")
        if image is None or not image.size[0]:
            return None
        pixels = np.empty(image.size[0] * image.size[1] * 4, np.float32)
        image.pixels.foreach_get(pixels)
        return pixels.reshape(image.size[1], image.size[0], 4)

    def photograph(self, name: str) -> None:
        """A picture of the whole screen; Blender's own screenshots taken from a timer may be black."""
        subprocess.run(["import", "-window", "root", str(self.pictures / f"{name}.png")], check=True)

    def check(self, so: Any, what: str) -> bool:
        """Note whether something is as it should be."""
        print("window:", "ok   " if so else "WRONG", what, flush=True)
        if not so:
            self.wrong.append(what)
        return bool(so)


def perform(hands: Hands, scene: Path, arguments: list[str]) -> Steps:
    """Everything that a run does within Blender."""
    described = importlib.util.spec_from_file_location("scene", scene)
    assert described is not None and described.loader is not None
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    yield from module.steps(hands, *arguments)


def within_blender() -> None:
    """Run a scene from a timer, write the status beside the settings, and leave without Blender's own farewell."""
    import bpy

    scene, pictures, *arguments = sys.argv[sys.argv.index("--") + 1 :]
    sys.dont_write_bytecode = True
    bpy.context.preferences.view.show_splash = False
    hands = Hands(Path(pictures))
    steps = perform(hands, Path(scene), arguments)

    def turn() -> float:
        try:
            return next(steps)
        except StopIteration:
            status = 1 if hands.wrong else 0
        except BaseException:  # noqa: BLE001  the process ends here, and says why
            traceback.print_exc()
            hands.photograph("raised")
            status = 2
        Path(os.environ["BLENDER_USER_RESOURCES"], "status").write_text(str(status))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    bpy.app.timers.register(turn, first_interval=1.0, persistent=True)


def show(scene: Path, pictures: Path, *arguments: str, blender: str = "blender", within: str = "",
         size: str = "1920x1080", patience: float = 300.0, idle: bool = False, **environment: str) -> int:  # fmt: skip
    """Play a scene in a Blender of its own on a screen of its own; returns the status.

    Where events are simulated Blender never sleeps, and its loop takes all of a core even when nothing happens:
    ``idle`` is for scenes that measure, without hands, a Blender that sleeps as an artist's does.
    """
    user = Path(tempfile.mkdtemp(prefix="blender_window_"))
    pictures.mkdir(parents=True, exist_ok=True)
    width, height = size.split("x")
    prefix = shlex.split(within)
    running: list[subprocess.Popen] = []
    try:
        reading, writing = os.pipe()
        screen = subprocess.Popen(
            [*prefix, "Xvfb", "-displayfd", str(writing), "-screen", "0", f"{width}x{height}x24"],
            pass_fds=[writing], stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        running.append(screen)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            number = pipe.readline().strip()
        if not number:
            print("window: the virtual screen did not start", flush=True)
            return 3
        surroundings = {
            **os.environ, "DISPLAY": f":{number}", "BLENDER_USER_RESOURCES": str(user), "LIBGL_ALWAYS_SOFTWARE": "1",
            "XDG_CACHE_HOME": str(user / "cache"), "XDG_CONFIG_HOME": str(user / "config"), **environment,
        }  # fmt: skip
        surroundings.pop("WAYLAND_DISPLAY", None)
        program = subprocess.Popen(
            [*prefix, blender, "--factory-startup", *([] if idle else ["--enable-event-simulate"]), "--window-geometry",
             "0", "0", width, height, "--python-exit-code", "2", "--python", str(Path(__file__).resolve()), "--",
             str(scene.resolve()), str(pictures.resolve()), *arguments],
            env=surroundings, start_new_session=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        running.insert(0, program)
        program.wait(patience)
        status = user / "status"
        if status.is_file():  # never Blender's own status: a scene that makes Blender leave half-way has not passed
            return int(status.read_text())
        print(f"window: Blender ended by itself with {program.returncode}", flush=True)
        return 3
    except subprocess.TimeoutExpired:
        print(f"window: still running after {patience:.0f} s", flush=True)
        picture = str(pictures.resolve() / "late.png")
        subprocess.run([*prefix, "import", "-window", "root", picture], env=surroundings, check=False)
        return 3
    finally:
        for process, word in zip(running, (signal.SIGKILL, signal.SIGTERM)[-len(running) :]):
            if process.poll() is None:
                os.killpg(process.pid, word)
                process.wait()
        shutil.rmtree(user, ignore_errors=True)


def main() -> int:
    """Play a scene as the command line says."""
    parser = argparse.ArgumentParser(description="Play a scene in a Blender with a window.")
    parser.add_argument("scene", type=Path)
    parser.add_argument("arguments", nargs="*")
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--blender", default="blender")
    parser.add_argument("--within", default="")
    parser.add_argument("--size", default="1920x1080")
    parser.add_argument("--patience", type=float, default=300.0)
    given = parser.parse_args()
    return show(given.scene, given.pictures, *given.arguments, blender=given.blender, within=given.within,
                size=given.size, patience=given.patience)  # fmt: skip


if __name__ == "__main__":
    if "bpy" in sys.modules:
        within_blender()
    else:
        sys.exit(main())
