"""A hundred times: start, cancel, undo, reload. No crash, no hang, no process left."""

import random

import bpy
import host

CYCLES = 100


def test_a_hundred_cycles_of_start_cancel_undo_reload(scene, facts, tmp_path):
    chance = random.Random(7)
    host.set_up(scene, facts, tmp_path / "mien")
    assert host.said(bpy.ops.mien.build_shot, wait=True) == ""
    path = tmp_path / "cycles.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    state = bpy.context.window_manager.mien
    threads, started = host.threads(), 0
    for cycle in range(CYCLES):
        bpy.ops.ed.undo_push(message=f"cycle {cycle}")
        bpy.context.scene.mien.likeness = f"cycle {cycle}"
        bpy.ops.ed.undo_push(message=f"changed {cycle}")
        said = host.said(bpy.ops.mien.convert_shot, force=True)
        assert said == "" or "still running" in said, said
        started += said == ""
        for _ in range(chance.randrange(4)):
            host.turn(chance.uniform(0, 0.05))
        choice = cycle % 4
        if choice == 0:
            bpy.ops.mien.cancel()
        if choice != 3:
            bpy.ops.ed.undo()
        if choice == 1:
            bpy.ops.mien.cancel()
            bpy.ops.ed.redo()
        if choice == 2:
            bpy.ops.wm.open_mainfile(filepath=str(path))
        if choice == 3:
            host.enable(False)
            host.enable()
            bpy.ops.wm.open_mainfile(filepath=str(path))
        state = bpy.context.window_manager.mien
        if state.busy and chance.random() < 0.5:
            bpy.ops.mien.cancel()
        if cycle % 10 == 9:
            if state.busy:
                bpy.ops.mien.cancel()
            host.pump(lambda: not bpy.context.window_manager.mien.busy)
            # An engine that was told to leave has three seconds for it.
            host.pump(lambda: len(host.engines()) <= 1, 20)
    host.settle()
    assert started > CYCLES / 2
    assert host.said(bpy.ops.mien.convert_shot, wait=True) == "", bpy.context.window_manager.mien.error
    host.enable(False)
    host.pump(lambda: not host.engines())
    host.pump(lambda: len(host.threads()) <= len(threads), 20)
    host.enable()
