"""What the sidebar says while a shot is built, refused, sent to the farm and its identity trained; strips laid over.

steps(hands, ZIP, FACTS): the made shot, whose plate serves as frames before and after for the training.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np

INSIDE = Path(__file__).parents[1] / "inside"


def steps(hands, archive, facts_file):
    sys.path.insert(0, str(INSIDE))
    import host

    facts = SimpleNamespace(**json.loads(Path(facts_file).read_text()))
    host.install(archive)
    open_panels(host, "trainingpanel")
    folder = Path(facts_file).parent / "flows"
    folder.mkdir(exist_ok=True)
    hands.window.workspace = bpy.data.workspaces["Compositing"]
    yield 0.5
    yield from built(hands, host, facts, folder)
    yield from trained(hands, host, facts, folder)
    yield from laid_over(hands, host, facts, folder)


def words():
    return bpy.context.window_manager.mien


def idle(hands, most=200):
    return (yield from hands.wait_for(lambda: not words().busy, most))


def open_panels(host, *names):
    """Let panels that are closed at first be open."""
    panels = sys.modules[f"{host.MODULE}.ui.panels"]
    for kind in panels.CLASSES:
        if any(kind.bl_idname.endswith(name) for name in names):
            bpy.utils.unregister_class(kind)
            kind.bl_options = set()
            bpy.utils.register_class(kind)


def built(hands, host, facts, folder):
    """Build Shot asks, reads the plate, sets the working space; what is missing is said; the farm's job is written."""
    area = hands.area("NODE_EDITOR")
    space = area.spaces[0]
    space.show_region_asset_shelf, space.show_backdrop, space.show_region_ui = False, True, True
    yield 0.5
    hands.region(area, "UI").active_panel_category = "mien"
    shot = hands.window.scene.mien
    yield from hands.point(*hands.spot(hands.region(area), 0.4, 0.6))
    with hands.over(area):
        said = host.said(bpy.ops.mien.build_shot)
    hands.check("Choose the plate" in said or "Save the file" in said, f"nothing is filled in: {said}")
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "shot.blend"))
    shot = hands.window.scene.mien
    shot.plate, shot.folder = facts.plate, "//mien"
    with hands.over(area):
        bpy.ops.mien.build_shot("INVOKE_DEFAULT")
    yield 1.0
    hands.photograph("flows_build_asks")
    yield from hands.press("RET")
    yield from idle(hands)
    yield 1.5
    scene = hands.window.scene
    hands.check(bpy.data.colorspace.working_space == "ACEScg", f"the plate's space is set: {words().warning}")
    hands.check(bool(host.node_of(scene, "comp")), "the nodes are wired")
    with hands.over(area):
        said = host.said(bpy.ops.mien.convert_shot)
    yield 0.5
    hands.photograph("flows_refused")
    hands.check("Press Track" in said, f"what is missing is said: {said}")
    shot = scene.mien
    shot.identity, shot.track = facts.identity, facts.track
    with hands.over(area):
        bpy.ops.mien.farm()
    yield from idle(hands)
    yield 0.5
    hands.photograph("flows_farm")
    hands.check((folder / "mien" / "v001" / "Scene.job" / "template.yaml").is_file(), "the farm's job is written")
    bpy.ops.scene.new(type="NEW")
    yield 1.0
    hands.photograph("flows_another_scene")
    hands.window.scene = scene
    yield 0.5


def trained(hands, host, facts, folder):
    """A training is started, paused, gone on with and stopped; its preview and losses are seen."""
    scene, area = hands.window.scene, hands.area("NODE_EDITOR")
    training = scene.mien.training
    training.kind, training.size, training.steps, training.preview = "paired", 64, 100000, 10
    for name in ("before", "after"):
        (folder / name).mkdir(exist_ok=True)
        for frame in (1001, 1002, 1003):
            pixels = np.nan_to_num(host.read(facts.plate % frame)[..., :3], posinf=1, neginf=0).clip(0, 1)
            host.write(folder / name / f"{frame}.exr", pixels * (1.0, 0.7, 0.5) if name == "after" else pixels)
    training.a, training.b = str(folder / "before"), str(folder / "after")
    scene.mien.likeness, scene.mien.release = "Nobody", "test release"
    with hands.over(area):
        bpy.ops.screen.area_split(direction="VERTICAL", factor=0.5)
    yield 0.5
    editors = sorted((one for one in hands.window.screen.areas if one.type == "NODE_EDITOR"), key=lambda one: one.x)
    editors[0].type = "IMAGE_EDITOR"
    with hands.over(editors[0]):
        bpy.ops.screen.area_split(direction="HORIZONTAL", factor=0.5)
    area = editors[1]
    area.spaces[0].show_region_ui = True
    yield 0.5
    hands.region(area, "UI").active_panel_category = "mien"
    with hands.over(area):
        hands.check(host.said(bpy.ops.mien.train_start) == "", f"it starts: {words().error}")
    took = yield from hands.wait_for(lambda: bpy.data.images.get("mien preview") or words().error, 200)
    hands.check(took is not None and not words().error, f"a preview after {took} s: {words().error}")
    shown = sorted((one for one in hands.window.screen.areas if one.type == "IMAGE_EDITOR"), key=lambda one: one.y)
    for editor, name in zip(shown, ("mien losses", "mien preview")):
        yield from hands.wait_for(lambda name=name: bpy.data.images.get(name), 60)
        editor.spaces[0].image = bpy.data.images[name]
        with hands.over(editor):
            bpy.ops.image.view_all(fit_view=True)
    before = words().training
    took = yield from hands.wait_for(lambda: words().training != before, 60)
    hands.check(took is not None, "its line goes on")
    yield from hands.wait_for(lambda: colors_of("mien losses") > 3, 200)
    yield 1.0
    hands.check(colors_of("mien losses") > 3, "the losses are drawn")
    hands.check(not bpy.data.images["mien losses"].is_dirty, "nobody is asked to save them")
    hands.photograph("flows_training")
    with hands.over(area):
        bpy.ops.mien.train_pause()
    held = ""
    for _ in range(8):
        if held == words().training:
            break
        held = words().training
        yield 6.0
    hands.check(words().training == held and words().paused, f"paused it rests: {held} / {words().training}")
    with hands.over(area):
        bpy.ops.screen.screen_full_area()
    yield 1.0
    hands.photograph("flows_paused")
    with hands.over(hands.area("NODE_EDITOR")):
        bpy.ops.screen.screen_full_area()
    yield 1.0
    area = hands.area("NODE_EDITOR")
    with hands.over(area):
        bpy.ops.mien.train_resume()
    took = yield from hands.wait_for(lambda: words().training != held, 60)
    hands.check(took is not None and not words().paused, f"it goes on: {words().training}")
    with hands.over(area):
        bpy.ops.mien.train_stop()
    took = yield from hands.wait_for(lambda: not bpy.ops.mien.train_stop.poll(), 60)
    yield 0.5
    hands.photograph("flows_stopped")
    hands.check(took is not None and scene.mien.identity.endswith("Nobody.safetensors"), f"it ends: {words().error}")


def colors_of(name):
    """How many values an image holds."""
    image = bpy.data.images[name]
    pixels = np.empty(image.size[0] * image.size[1] * 4, np.float32)
    image.pixels.foreach_get(pixels)
    return len(np.unique(pixels))


def laid_over(hands, host, facts, folder):
    """Two strips laid over in the sequencer, as an artist selects them."""
    area = hands.area("NODE_EDITOR")
    area.type = "SEQUENCE_EDITOR"
    area.spaces[0].view_type = "SEQUENCER_PREVIEW"
    area.spaces[0].show_region_ui = True
    scene = hands.window.scene
    bpy.context.workspace.sequencer_scene = scene
    strips = (scene.sequence_editor or scene.sequence_editor_create()).strips
    plate = np.full((facts.height, facts.width, 4), (0.2, 0.3, 0.6, 1), np.float32)
    face = np.zeros_like(plate)
    face[40:120, 60:130] = (0.4, 0.2, 0.1, 0.5)
    for channel, (name, pixels) in enumerate((("plate", plate), ("face", face)), start=1):
        strip = strips.new_image(name, str(host.write(folder / f"{name}.exr", pixels)), channel, scene.frame_start)
        strip.right_handle = scene.frame_start + 20
        strip.select = True
    scene.frame_set(scene.frame_start + 2)
    yield 0.5
    hands.region(area, "UI").active_panel_category = "mien"
    with hands.over(area):
        hands.check(host.said(bpy.ops.mien.add_strip_over) == "", f"Over Strips: {words().error}")
        bpy.ops.sequencer.view_all()
    yield 3.0
    hands.photograph("flows_over")
    hands.check(any(strip.type == "COMPOSITOR" for strip in strips), "the effect is there")
