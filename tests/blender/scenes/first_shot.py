"""The first shot as an artist makes it, in pictures for docs/blender.md.

steps(hands, ZIP, FOLDER): FOLDER holds what ``mien demo`` made: ``plate/``, and from ``out/`` the identity as
``hopper.safetensors`` and ``plate.track.json`` with what lies beside it.
"""

import sys
from pathlib import Path

import bpy

INSIDE = Path(__file__).parents[1] / "inside"


def steps(hands, archive, folder):
    sys.path.insert(0, str(INSIDE))
    import host

    host.install(archive)
    bpy.context.preferences.view.ui_scale = 1.0
    hands.window.workspace = bpy.data.workspaces["Compositing"]
    yield 0.5
    scene = hands.window.scene
    scene.render.compositor_device = "CPU"
    bpy.ops.wm.save_as_mainfile(filepath=str(Path(folder) / "shot.blend"))
    scene = hands.window.scene
    shot, area = scene.mien, tidy(hands)
    shot.plate, shot.folder = "//plate/plate.1001.exr", "//mien/"
    shot.identity, shot.track = "//hopper.safetensors", "//plate.track.json"
    shot.first, shot.last = 1001, 1012
    shot.name = "demo"
    show_tab(area)
    yield 1.0
    with hands.over(area):
        bpy.ops.mien.build_shot(view_transform="STANDARD")
    yield from idle(hands)
    yield 1.0
    hands.check(bpy.data.colorspace.working_space == "ACEScg", "the file works in the plate's space")
    hands.check(host.node_of(scene, "comp"), "Build Shot wires the nodes")
    with hands.over(area):
        bpy.ops.mien.convert_shot()
    state = bpy.context.window_manager.mien
    took = yield from hands.wait_for(lambda: state.progress > 0.3 or not state.busy, 200)
    scrubbed = scene.frame_start + 3
    scene.frame_set(scrubbed)
    yield 1.0
    with hands.over(area):
        bpy.ops.node.view_all()
    yield 0.5
    hands.photograph("blender_progress")
    hands.check(took is not None and scene.frame_current == scrubbed, "the artist scrubs while frames are converted")
    took = yield from hands.wait_for(lambda: not state.busy, 300)
    hands.check(took is not None and not state.error, f"converted: {state.error}")
    with hands.over(area):
        bpy.ops.mien.match()
    yield from idle(hands)
    with hands.over(area):
        bpy.ops.mien.check_shot()
    yield from idle(hands)
    yield 2.0
    frame_nodes(hands, area)
    yield 3.0
    hands.photograph("blender_shot")
    with hands.over(area):
        bpy.ops.screen.screen_full_area()
    yield 1.5
    area = hands.area("NODE_EDITOR")
    show_tab(area)
    frame_nodes(hands, area)
    yield 2.0
    hands.photograph("blender_nodes")
    with hands.over(area):
        bpy.ops.screen.screen_full_area()
    yield 1.5
    area = hands.area("NODE_EDITOR")
    hands.check(not state.missing, "nothing is missing")

    yield from hands.point(*hands.spot(hands.region(area), 0.25, 0.2))
    yield from hands.press("A", shift=True)
    yield 0.5
    yield from hands.write("mien")
    yield 0.6
    hands.photograph("blender_add")
    yield from hands.press("ESC")
    yield 0.3
    yield from hands.press("ESC")

    before = scene.frame_current
    bpy.ops.ed.undo_push(message="trial")
    host.socket(host.node_of(scene, "comp"), "Opacity").default_value = 0.5
    bpy.ops.ed.undo_push(message="opacity")
    yield from hands.point(*hands.spot(hands.region(area), 0.3, 0.3))
    yield from hands.press("Z", ctrl=True)
    yield 1.0
    scene = hands.window.scene
    opacity = host.socket(host.node_of(scene, "comp"), "Opacity").default_value
    hands.check(opacity == 1.0 and scene.frame_current == before, "Ctrl-Z takes the change back")


def tidy(hands):
    """The compositor over most of the window, its sidebar open, no asset shelf."""
    area = hands.area("NODE_EDITOR")
    space = area.spaces[0]
    space.show_region_asset_shelf, space.show_backdrop, space.show_region_ui = False, True, True
    return area


def show_tab(area):
    """Open the sidebar's tab."""
    for region in area.regions:
        if region.type == "UI":
            region.active_panel_category = "mien"


def frame_nodes(hands, area):
    """All nodes in view, the backdrop fitted."""
    with hands.over(area):
        bpy.ops.node.view_all()
        bpy.ops.node.backimage_fit()


def idle(hands):
    """Wait until nothing runs."""
    yield from hands.wait_for(lambda: not bpy.context.window_manager.mien.busy, 120)
