"""Compositing waits for the engine, which has stopped to answer, while the artist undoes, opens a file, or leaves.

steps(hands, ZIP, FACTS, LEAVE): with ``leave`` as the last argument Blender is closed while it waits; by then all else
was checked, and it has to end by itself with status 0.
"""

import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np

INSIDE = Path(__file__).parents[1] / "inside"
LONG = 3.0
"""Seconds that nothing of this may take; compositing waits for 0.5."""


def steps(hands, archive, facts_file, leave=""):
    sys.path.insert(0, str(INSIDE))
    import host

    facts = SimpleNamespace(**json.loads(Path(facts_file).read_text()))
    host.install(archive)
    live = importlib.import_module(f"{host.MODULE}.ui.live")
    hands.window.workspace = bpy.data.workspaces["Compositing"]
    yield 0.5
    yield from built(hands, host, facts, Path(facts_file).parent / "held")
    path = Path(facts_file).parent / "held.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    engine = host.engines()[0]
    scene().mien.live = True
    yield from rest(hands, live)
    first = hands.viewer()
    dial(host, 0.12)
    bpy.ops.ed.undo_push(message="before")
    yield from rest(hands, live)
    second = hands.viewer()
    hands.check(not np.array_equal(face(first), face(second)), "a setting changes the picture")

    for name, disturb in DISTURBANCES.items():
        hands.check(scene().mien.live, f"{name}: live is on")
        dial(host, 0.12)
        yield from rest(hands, live)
        before = hands.viewer()
        bpy.ops.ed.undo_push(message="before")
        yield from waiting(hands, host, live, engine)
        began = time.perf_counter()
        disturb(hands, path)
        took = time.perf_counter() - began
        yield 0.05
        os.kill(engine, signal.SIGCONT)
        hands.check(took < LONG, f"{name}: done after {took:.2f} s")
        yield 0.5
        if not scene().mien.live:  # Another file was opened.
            scene().mien.live = True
            dial(host, 0.12)
        yield from rest(hands, live)
        hands.check(abs(value(host) - 0.12) < 1e-6, f"{name}: the value is {value(host):.2f}")
        hands.check(np.array_equal(face(hands.viewer()), face(before)), f"{name}: and this is its picture")
        hands.check(host.engines() == [engine], f"{name}: the engine is the same one")
        hands.photograph(f"held_{name}")

    if leave:
        yield from waiting(hands, host, live, engine)
        print("window: leaving", flush=True)
        bpy.ops.wm.quit_blender()
        yield LONG
        hands.check(False, "it ends")


def undone(hands, path):
    with hands.over(hands.area("NODE_EDITOR")):
        bpy.ops.ed.undo()


def opened(hands, path):
    bpy.ops.wm.open_mainfile(filepath=str(path))


def begun_anew(hands, path):
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    bpy.ops.wm.open_mainfile(filepath=str(path))


def switched_off(hands, path):
    scene().mien.live = False
    bpy.ops.ed.undo()


DISTURBANCES = {"undone": undone, "opened": opened, "begun_anew": begun_anew, "switched_off": switched_off}


def scene():
    return bpy.context.window_manager.windows[0].scene


def dial(host, soften):
    entry = host.setting(host.convert_node(scene()), "matte_edge.soften")
    if abs(entry.default_value - soften) > 1e-6:
        entry.default_value = soften


def value(host):
    return host.setting(host.convert_node(scene()), "matte_edge.soften").default_value


def face(picture):
    height, width = picture.shape[:2]
    return picture[height // 4 : -height // 4, width // 4 : -width // 4, :3].copy().view(np.uint32)


def built(hands, host, facts, folder):
    host.set_up(scene(), facts, folder)
    area = hands.area("NODE_EDITOR")
    area.spaces[0].show_region_asset_shelf, area.spaces[0].show_backdrop = False, True
    scene().render.compositor_device = "CPU"
    words = bpy.context.window_manager.mien
    with hands.over(area):
        bpy.ops.mien.build_shot()
    yield from hands.wait_for(lambda: not words.busy, 60)
    scene().frame_set(facts.first)
    with hands.over(area):
        bpy.ops.mien.convert_shot()
    took = yield from hands.wait_for(lambda: not words.busy, 120)
    hands.check(took is not None and not words.error, f"converted in {took} s: {words.error}")
    yield 1.0


def rest(hands, live):
    """Until the frame is there at full size, and composited."""
    quiet = time.perf_counter()
    while time.perf_counter() - quiet < 1.0:
        if live.eye.request is not None or not live.eye.fine or bpy.app.is_job_running("COMPOSITE"):
            quiet = time.perf_counter()
        yield 0.03


def waiting(hands, host, live, engine):
    """Dial something else while the engine does not answer, until compositing waits for it."""
    live.eye.quick = True  # As on a machine that is less busy.
    os.kill(engine, signal.SIGSTOP)
    dial(host, 0.02)
    took = yield from hands.wait_for(lambda: live.eye.held is not None and bpy.app.is_job_running("COMPOSITE"), 2.0)
    hands.check(took is not None, "compositing waits")
