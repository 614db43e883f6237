"""How long an artist waits: from a changed value to the picture in the viewer, of native nodes and of the engine.

steps(hands, ZIP, FACTS, REPORT, CHANGES): installs, builds the shot, changes values, writes seconds as JSON.
"""

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np

INSIDE = Path(__file__).parents[1] / "inside"


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
    area.spaces[0].show_region_asset_shelf, area.spaces[0].show_backdrop = False, True
    scene.render.compositor_device = "CPU"
    state = bpy.context.window_manager.mien
    with hands.over(area):
        bpy.ops.mien.build_shot(view_transform="STANDARD")
    yield from hands.wait_for(lambda: not state.busy, 60)
    scene.frame_set(facts.first)
    with hands.over(area):
        bpy.ops.mien.convert_shot()
    took = yield from hands.wait_for(lambda: not state.busy, 120)
    hands.check(took is not None and not state.error, f"converted in {took} s: {state.error}")
    took = yield from hands.wait_for(lambda: face_shown(hands), 20)
    hands.check(took is not None, f"the viewer shows the shot after {took} s")
    native = yield from measure(hands, int(changes), change_native(host, scene))
    scene.mien.live = True
    live = yield from measure(hands, int(changes), change_live(host, scene))
    hands.photograph("slider")
    Path(report).write_text(json.dumps({"native": native, "live": live}))
    hands.check(len(native) == len(live) == int(changes), "every change was seen")


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


def change_native(host, scene):
    socket = host.socket(host.node_of(scene, "color_match"), "Exposure")

    def change(turn):
        socket.default_value = 0.4 * ((turn % 7) / 7) + 0.1

    return change


def change_live(host, scene):
    socket = host.setting(host.convert_node(scene), "matte_edge.soften")

    def change(turn):
        socket.default_value = 0.03 + 0.02 * (turn % 7)

    return change


def measure(hands, changes, change):
    """Seconds of each change until the viewer's pixels are others; changes that were never seen are left out."""
    found = []
    for turn in range(changes + 2):
        yield 1.2  # until what follows the last change, such as the full size, is over
        before = bits(hands)
        still = bits(hands)
        if not np.array_equal(before, still):
            continue
        change(turn)
        took = yield from hands.wait_for(lambda before=before: not np.array_equal(bits(hands), before), 6)
        if took is not None and turn >= 2:
            found.append(took)
    return found
