"""A setting of Convert under a real pointer: pressed, pushed, swept to and fro, let go, while Live shows it.

steps(hands, ZIP, FACTS, REPORT, PUSHES): the pointer is the screen's own, moved by xdotool, so Blender sleeps between
events as it does for an artist; simulated events keep its loop busy. Writes what each push took as JSON.
"""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np

HERE = Path(__file__).parent
INSIDE = HERE.parent / "inside"
NEAR, SWEEP, EVERY = 6, 90, 0.025
"""Pixels of a push; moves of the sweep, and seconds between them."""


class DRAG_PT_one(bpy.types.Panel):
    """One setting, large, where the pointer finds it."""

    bl_label, bl_category = "Drag", "drag"
    bl_space_type, bl_region_type = "NODE_EDITOR", "UI"

    def draw(self, context):
        import host

        row = self.layout.row()
        row.scale_y = 3
        row.prop(host.setting(host.convert_node(context.scene), "matte_edge.soften"), "default_value", text="Soften")


def steps(hands, archive, facts_file, report, pushes):
    sys.path[:0] = [str(INSIDE), str(HERE)]
    import held
    import host
    import slider

    facts = SimpleNamespace(**json.loads(Path(facts_file).read_text()))
    host.install(archive)
    live = importlib.import_module(f"{host.MODULE}.ui.live")
    hands.window.workspace = bpy.data.workspaces["Compositing"]
    yield 0.5
    yield from held.built(hands, host, facts, Path(facts_file).parent / "dragged")
    area = hands.area("NODE_EDITOR")
    area.spaces[0].show_backdrop, area.spaces[0].show_region_ui = False, True
    held.dial(host, 0.05)
    held.scene().mien.live = True
    bpy.utils.register_class(DRAG_PT_one)
    area.tag_redraw()
    yield 0.5
    side = hands.region(area, "UI")
    side.active_panel_category = "drag"
    area.tag_redraw()
    yield from held.rest(hands, live)

    bpy.types.SpaceImageEditor.draw_handler_add(slider.count_draw, (), "WINDOW", "POST_PIXEL")
    bpy.app.handlers.composite_post.append(slider.count_composite)
    watch = slider.Watch(hands, live.eye, host.engines()[0])
    # X counts from the top; in the button's left half there is room for a sweep.
    x, y = side.x + side.width // 4, hands.window.height - (side.y + side.height - 40)
    point("mousemove", x, y)
    yield 0.3
    hands.photograph("pointed")
    began = held.value(host)
    point("mousedown", 1)
    try:
        # Blender takes the first pixels for a click that trembles; and Live looks seldom after a long rest.
        for _ in range(5):
            if held.value(host) == began:
                point("mousemove_relative", NEAR, 0)
                yield 0.5
        found, values = [], [held.value(host)]
        for _ in range(int(pushes)):
            yield from watch.rest()
            found.append((yield from watch.see(lambda: point("mousemove_relative", NEAR, 0), True)))
            values.append(held.value(host))
        hands.check(len(set(values)) == len(values), f"every push is a value: {values[:3]} ... {values[-1]:.4f}")
        hands.check(None not in found, "and each is seen while the button is held")

        pictures = set()
        for move in range(SWEEP):
            point("mousemove_relative", "--", NEAR if move // 30 % 2 else -NEAR, 0)
            pictures.add(slider.drawn.composed)
            yield EVERY
        hands.check(len(pictures) > 3, f"{len(pictures) - 1} pictures of a sweep of {SWEEP} moves")
    finally:
        point("mouseup", 1)
    yield from held.rest(hands, live)
    hands.photograph("let_go")
    swept, dragged = hands.viewer(), held.value(host)
    held.dial(host, 0.3)
    yield from held.rest(hands, live)
    hands.check(not np.array_equal(held.face(hands.viewer()), held.face(swept)), "another value, another picture")
    held.dial(host, dragged)
    yield from held.rest(hands, live)
    hands.check(np.array_equal(held.face(hands.viewer()), held.face(swept)), f"let go, {dragged:.4f} has its picture")
    Path(report).write_text(json.dumps({"dragged": [one for one in found if one]}))


def point(*words):
    """Do something with the pointer."""
    subprocess.run(["xdotool", *map(str, words)], check=True)
