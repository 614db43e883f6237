# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that Blender is told of, and untold."""

import bpy
from bpy.props import PointerProperty

from . import (
    ops_convert,
    ops_engine,
    ops_landmarks,
    ops_nodes,
    ops_shot,
    ops_strips,
    ops_train,
    panels,
    props,
    render_check,
    runner,
)

CLASSES = (
    *props.CLASSES, *ops_shot.CLASSES, *ops_convert.CLASSES, *ops_engine.CLASSES, *ops_nodes.CLASSES,
    *ops_landmarks.CLASSES, *ops_strips.CLASSES, *ops_train.CLASSES, *panels.CLASSES,
)  # fmt: skip
HANDLERS = (("render_init", render_check.before_render), ("load_post", render_check.after_load))


def register() -> None:
    """Tell Blender."""
    for kind in CLASSES:
        bpy.utils.register_class(kind)
    bpy.types.Scene.mien = PointerProperty(type=props.MienShot)
    bpy.types.WindowManager.mien = PointerProperty(type=props.MienState)
    bpy.types.NODE_MT_add.append(ops_nodes.menu)
    for name, handler in HANDLERS:
        getattr(bpy.app.handlers, name).append(handler)
    bpy.app.timers.register(runner.tick, first_interval=runner.INTERVAL, persistent=True)


def unregister() -> None:
    """Take everything back; the engine leaves."""
    if bpy.app.timers.is_registered(runner.tick):
        bpy.app.timers.unregister(runner.tick)
    runner.forget()
    runner.clock.close()
    for name, handler in HANDLERS:
        hooks = getattr(bpy.app.handlers, name)
        if handler in hooks:
            hooks.remove(handler)
    bpy.types.NODE_MT_add.remove(ops_nodes.menu)
    del bpy.types.WindowManager.mien
    del bpy.types.Scene.mien
    for kind in reversed(CLASSES):
        bpy.utils.unregister_class(kind)
