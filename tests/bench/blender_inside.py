"""The part of the Blender bench that runs in Blender's Python; ``tests/bench/blender.py`` starts it.

Writes ``{"what": [seconds, ...]}`` to the file that MIEN_REPORT names.
"""

import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parents[1] / "blender" / "inside"))

import bpy
import host

TIMES = 20


def timed(found, name, call, *arguments, **named):
    """Call something and note the seconds that it took and those that this thread computed."""
    wall, busy = time.perf_counter(), time.thread_time()
    outcome = call(*arguments, **named)
    found.setdefault(f"{name}", []).append(time.perf_counter() - wall)
    found.setdefault(f"{name}, processor", []).append(time.thread_time() - busy)
    return outcome


def forget():
    """Let the next switching on import every module anew."""
    host.enable(False)
    for name in [name for name in sys.modules if name == host.MODULE or name.startswith(host.MODULE + ".")]:
        del sys.modules[name]


def main():
    """Measure, report, and leave without Blender's own farewell."""
    found = {}
    folder = Path(os.environ["MIEN_SHOT"])
    facts = SimpleNamespace(**json.loads((folder / "facts.json").read_text()))
    host.install(os.environ["MIEN_ZIP"])
    for _ in range(TIMES):
        forget()
        timed(found, "switch on, imports included", host.enable)
    scene = host.fresh_scene()
    host.set_up(scene, facts, Path.cwd() / "mien")
    bpy.ops.mien.inspect_plate(wait=True)
    for _ in range(3):
        bpy.ops.mien.build_shot()
    state = bpy.context.window_manager.mien
    for turn in range(4):
        timed(found, "convert_shot returns", bpy.ops.mien.convert_shot, force=turn > 0)
        while state.busy:
            time.sleep(0.02)
            timed(found, "one turn of the timer", host.turn, 0)
        timed(found, "match returns", bpy.ops.mien.match)
        host.pump(lambda: not state.busy)
        timed(found, "convert_frame returns", bpy.ops.mien.convert_frame)
        timed(found, "cancel returns", bpy.ops.mien.cancel)
        host.pump(lambda: not state.busy)
        timed(found, "check_shot returns", bpy.ops.mien.check_shot)
        host.pump(lambda: not state.busy)
    for _ in range(TIMES):
        timed(found, "build_shot again", bpy.ops.mien.build_shot)
    Path(os.environ["MIEN_REPORT"]).write_text(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
