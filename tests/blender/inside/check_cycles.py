"""A hundred times: start, cancel, undo, reload. No crash, no hang, no process left."""

import random

import bpy
import host

CYCLES = 100


def test_a_hundred_cycles_of_start_cancel_undo_reload(scene, facts, tmp_path):
    chance = random.Random(7)
    host.set_up(scene, facts, tmp_path / "mien")
    assert host.said(bpy.ops.mien.build_shot) == ""
    path = tmp_path / "cycles.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    state = bpy.context.window_manager.mien
    threads = host.threads()
    for cycle in range(CYCLES):
        bpy.ops.ed.undo_push(message=f"cycle {cycle}")
        bpy.context.scene.mien.likeness = f"cycle {cycle}"
        bpy.ops.ed.undo_push(message=f"changed {cycle}")
        bpy.ops.mien.convert_shot(force=True)
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
            assert len(host.engines()) <= 1, "an engine was left behind"
    host.settle()
    assert host.said(bpy.ops.mien.convert_shot, wait=True) == "", bpy.context.window_manager.mien.error
    host.enable(False)
    host.pump(lambda: not host.engines())
    assert host.threads() <= threads + 1, "threads were left behind"
    host.enable()
