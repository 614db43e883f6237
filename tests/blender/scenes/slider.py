"""How long an artist waits: from a changed value to the picture in the viewer.

steps(hands, ZIP, FACTS, REPORT, CHANGES): installs, builds the shot, changes values of native nodes, of the engine, and
of a bare tree that says what Blender itself takes here, and has the same picture drawn again; writes wall and
processor seconds of each as JSON.
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np

INSIDE = Path(__file__).parents[1] / "inside"
BLOCKS = 3
"""How often the kinds of changes take turns: a machine is not equally busy all the time."""
LOOK = 0.01
drawn = SimpleNamespace(times=0, composed=0, composed_at=0.0)


def steps(hands, archive, facts_file, report, changes):
    sys.path.insert(0, str(INSIDE))
    import host

    facts = SimpleNamespace(**json.loads(Path(facts_file).read_text()))
    began = time.perf_counter()
    host.install(archive)
    print(f"window: installed and switched on in {time.perf_counter() - began:.2f} s", flush=True)
    hands.window.workspace = bpy.data.workspaces["Compositing"]
    yield 0.5
    scene = hands.window.scene
    host.set_up(scene, facts, Path(facts_file).parent / "mien")
    area = hands.area("NODE_EDITOR")
    # As Blender ships it: the viewer in an image editor, no backdrop behind the nodes, which would be drawn as well.
    area.spaces[0].show_region_asset_shelf = False
    viewer = hands.area("IMAGE_EDITOR")
    scene.render.compositor_device = "CPU"
    state = bpy.context.window_manager.mien
    with hands.over(area):
        bpy.ops.mien.build_shot()
    yield from hands.wait_for(lambda: not state.busy, 60)
    scene.frame_set(facts.first)
    with hands.over(area):
        bpy.ops.mien.convert_shot()
    took = yield from hands.wait_for(lambda: not state.busy, 120)
    hands.check(took is not None and not state.error, f"converted in {took} s: {state.error}")
    took = yield from hands.wait_for(lambda: face_shown(hands), 20)
    hands.check(took is not None, f"the viewer shows the shot after {took} s")
    handler = bpy.types.SpaceImageEditor.draw_handler_add(count_draw, (), "WINDOW", "POST_PIXEL")
    bpy.app.handlers.composite_post.append(count_composite)
    watch = Watch(hands, importlib.import_module(f"{host.MODULE}.ui.live").eye, host.engines()[0])
    kinds = {
        "drawing alone": (whole(host, scene), lambda turn: viewer.tag_redraw()),
        "bare": (bare(host, scene), change_bare(scene)),
        "native": (whole(host, scene), change_native(host, scene)),
        "live": (whole(host, scene), change_live(host, scene)),
    }
    found = {name: [] for name in kinds}
    for block in range(BLOCKS):
        for name, (wire, change) in kinds.items():
            scene.mien.live = name == "live"
            wire()
            share = [turn for turn in range(int(changes)) if turn % BLOCKS == block]
            found[name] += yield from measure(watch, share, change, name != "drawing alone")
    scene.mien.live = False
    hands.photograph("slider")
    bpy.types.SpaceImageEditor.draw_handler_remove(handler, "WINDOW")
    Path(report).write_text(json.dumps(found))
    hands.check(all(len(ones) == int(changes) for ones in found.values()), "every change was seen")


def count_draw():
    drawn.times += 1


def count_composite(*_):
    """A round of compositing is over: the viewer holds it, and the editors that show it are drawn after this."""
    drawn.composed += 1
    drawn.composed_at = time.perf_counter()


def face_shown(hands):
    picture = bits(hands)
    return picture is not None and picture.shape[0] > 100 and picture.view(np.float32).std() > 0.01


def bits(hands):
    """The middle of the viewer, where the face is, as bits: a plate may hold NaN, which equals nothing."""
    picture = hands.viewer()
    if picture is None:
        return None
    height, width = picture.shape[:2]
    return picture[height // 4 : -height // 4, width // 4 : -width // 4, :3].copy().view(np.uint32)


def bare(host, scene):
    """One node of Blender's own between the plate and the viewer: what any change costs on this machine."""
    tree = host.tree_of(scene)
    node = tree.nodes.new("CompositorNodeExposure")
    node.name = "bare"
    tree.links.new(tree.nodes["mien Plate"].outputs[0], node.inputs[0])
    return lambda: show(host, scene, node.name)


def whole(host, scene):
    return lambda: show(host, scene, host.node_of(scene, "comp").name)


def show(host, scene, name):
    tree = host.tree_of(scene)
    ends = [node for node in tree.nodes if node.bl_idname in ("CompositorNodeViewer", "NodeGroupOutput")]
    for node in ends:
        tree.links.new(tree.nodes[name].outputs[0], node.inputs[0])


def change_bare(scene):
    def change(turn):
        tree = scene.compositing_node_group
        tree.nodes["bare"].inputs["Exposure"].default_value = 0.4 * ((turn % 7) / 7) + 0.1

    return change


def change_native(host, scene):
    def change(turn):
        socket = host.socket(host.node_of(scene, "color_match"), "Exposure")
        socket.default_value = 0.4 * ((turn % 7) / 7) + 0.1

    return change


def change_live(host, scene):
    def change(turn):
        # Never the same twice: what was asked for before is remembered.
        soften = host.setting(host.convert_node(scene), "matte_edge.soften")
        soften.default_value = 0.03 + 0.02 * (turn % 7) + turn * 1e-4

    return change


def had(process):
    """Processor seconds that a process has had."""
    words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


class Watch:
    """Sees when a change is on the screen."""

    def __init__(self, hands, eye, engine):
        self.hands, self.eye, self.engine = hands, eye, engine
        names = ((entry, entry / "comm") for entry in Path("/proc").iterdir() if entry.name.isdigit())
        self.screen = max(int(entry.name) for entry, name in names if name.read_text().strip() == "Xvfb")

    def busy(self):
        live = bpy.context.scene.mien.live and (self.eye.request is not None or not self.eye.fine)
        return live or bpy.app.is_job_running("COMPOSITE")

    def rest(self, most=15.0):
        """Until nothing has been computed or drawn for a while."""
        began = quiet = time.perf_counter()
        seen = drawn.times
        while time.perf_counter() - quiet < 0.35 and time.perf_counter() - began < most:
            if self.busy() or drawn.times != seen:
                quiet, seen = time.perf_counter(), drawn.times
            yield 0.03

    def worked(self):
        """Processor seconds that the engine has had."""
        return had(self.engine)

    def others(self):
        """Processor seconds that all but Blender, the engine and the screen have had."""
        words = Path("/proc/stat").read_text().split(maxsplit=8)
        busy = sum(int(words[index]) for index in (1, 2, 3, 6, 7)) / os.sysconf("SC_CLK_TCK")
        return busy - had(os.getpid()) - had(self.engine) - had(self.screen)

    def see(self, change, other, most=12.0):
        """Make a change; its times, or None where it was not seen.

        The viewer holds it when the round of compositing is over that left ``other`` pixels there. It is seen a turn
        after the editors were drawn, with those in the viewer when that drawing began: Blender also draws at once, what
        it had. The viewer is looked at once for each round of compositing, before the drawing; the time that this takes
        is left out.
        """
        before, first, fresh = bits(self.hands), drawn.times, None if other else drawn.times
        composed = looked = drawn.composed
        reading = np.zeros(2)
        began, processor = time.perf_counter(), time.process_time()
        request, answered, held, worked, others = None, None, None, self.worked(), self.others()

        def look(*_):
            nonlocal looked, fresh, held, reading
            if drawn.composed == looked or fresh is not None:
                return
            clocks = np.array([time.perf_counter(), time.process_time()])
            looked = drawn.composed
            if not np.array_equal(bits(self.hands), before):
                fresh, held = drawn.times, drawn.composed_at - began - reading[0]
            reading += (time.perf_counter(), time.process_time()) - clocks

        handler = bpy.types.SpaceImageEditor.draw_handler_add(look, (), "WINDOW", "PRE_VIEW")
        change()
        try:
            while time.perf_counter() - began < most:
                yield LOOK
                now = np.array([time.perf_counter() - began, time.process_time() - processor]) - reading
                request = request or self.eye.request
                if request is not None and request.over and answered is None:
                    answered = now[0]
                if fresh is not None and drawn.times > fresh:
                    return {
                        "wall": now[0], "processor": now[1], "held": held, "answer": answered,
                        "engine": self.worked() - worked, "others": (self.others() - others) / now[0],
                        "draws": drawn.times - first, "composites": drawn.composed - composed,
                    }  # fmt: skip
            return None
        finally:
            bpy.types.SpaceImageEditor.draw_handler_remove(handler, "WINDOW")


def measure(watch, turns, change, other):
    """The times of changes; what was never seen is left out. The first is for warming up."""
    found = []
    for number, turn in enumerate([turns[0] + 1, *turns]):
        yield from watch.rest()
        seen = yield from watch.see(lambda turn=turn: change(turn), other)
        if seen is not None and number:
            found.append(seen)
    return found
