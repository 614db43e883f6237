"""What artists do meanwhile: rename, delete, duplicate, append, move files. Each is survived, or refused in words."""

import os
import shutil
from pathlib import Path

import bpy
import host
import numpy as np
import pytest


@pytest.fixture
def ready(scene, facts, tmp_path):
    """The made shot, filled in and wired; nothing converted yet. No test may leave a traceback in the log."""
    host.set_up(scene, facts, tmp_path / "mien")
    assert host.said(bpy.ops.mien.build_shot, wait=True) == ""
    yield scene
    host.settle()
    assert "Traceback" not in log()


def words():
    return bpy.context.window_manager.mien


def log():
    bpy.ops.mien.open_log()
    return bpy.data.texts["mien log"].as_string()


def begun():
    """Convert, and let some frames be done."""
    assert host.said(bpy.ops.mien.convert_shot, force=True) == ""
    host.pump(lambda: words().progress > 0 or not words().busy)


def done(facts, folder):
    host.pump(lambda: not words().busy)
    return len(list(Path(folder).rglob("*_matte.*.exr"))) == facts.last - facts.first + 1


def in_words(said):
    assert said and "Traceback" not in said and "Error: Python" not in said, said
    for bare in ("Errno", "KeyError", "NoneType", "AttributeError", "bpy_struct"):
        assert bare not in said, said
    return said


def test_everything_is_renamed_while_it_is_converted(ready, facts, tmp_path):
    begun()
    ready.name = "Another Ü"
    node = host.convert_node(ready)
    node.name = node.label = node.node_tree.name = "mine"
    for image in bpy.data.images:
        image.name = f"{image.name} of mine"
    for tree in bpy.data.node_groups:
        tree.name = f"my {tree.name}"
    assert done(facts, tmp_path / "mien") and words().error == "" and words().state == "All frames ready"
    assert host.said(bpy.ops.mien.match, wait=True) == "" == words().error
    assert [curve for curve in host.keys_of(host.tree_of(ready)) if "Color Match" in curve.data_path]
    assert host.said(bpy.ops.mien.check_shot, wait=True) == "" and words().state == "up to date"


def test_the_group_is_deleted_while_it_is_converted(ready, facts, tmp_path):
    begun()
    bpy.data.node_groups.remove(host.convert_node(ready).node_tree)
    assert done(facts, tmp_path / "mien") and words().error == ""
    assert host.said(bpy.ops.mien.build_shot, wait=True) == "" and host.convert_node(ready)
    assert host.said(bpy.ops.mien.convert_shot, wait=True) == ""


@pytest.mark.parametrize("lost", ["node", "image"])
def test_a_picture_is_taken_out_of_the_group(ready, facts, tmp_path, lost):
    begun()
    tree = host.convert_node(ready).node_tree
    if lost == "node":
        tree.nodes.remove(tree.nodes["face"])
    else:
        bpy.data.images.remove(tree.nodes["face"].image)
    host.pump(lambda: not words().busy)
    assert "'face'" in in_words(words().error)
    assert "'face'" in in_words(host.said(bpy.ops.mien.convert_shot))
    assert "'face'" in in_words(host.said(bpy.ops.mien.build_shot))
    host.tree_of(ready).nodes.remove(host.convert_node(ready))
    assert host.said(bpy.ops.mien.build_shot) == ""
    assert host.said(bpy.ops.mien.convert_shot, wait=True) == "" == words().error


def test_the_scene_is_deleted_while_it_is_converted(ready, facts, tmp_path):
    bpy.ops.scene.new(type="NEW")
    other = bpy.context.scene
    with bpy.context.temp_override(scene=ready):
        begun()
    bpy.data.scenes.remove(ready)
    assert done(facts, tmp_path / "mien") and words().error == "" and other.mien.plate == ""


def test_undo_takes_back_what_was_solved_and_nothing_else(ready, facts):
    opacity = host.socket(host.node_of(ready, "comp"), "Opacity")
    opacity.default_value = 0.5
    bpy.ops.ed.undo_push(message="opacity")
    assert host.said(bpy.ops.mien.match, wait=True) == ""
    assert host.keys_of(host.tree_of(bpy.context.scene))
    bpy.ops.ed.undo()
    scene = bpy.context.scene
    assert not host.keys_of(host.tree_of(scene))
    assert host.socket(host.node_of(scene, "comp"), "Opacity").default_value == 0.5


def test_a_copied_scene_does_not_write_over_its_originals_frames(ready, facts, tmp_path):
    assert host.said(bpy.ops.mien.convert_shot, wait=True) == ""
    bpy.ops.scene.new(type="FULL_COPY")
    copy = bpy.context.scene
    assert host.said(bpy.ops.mien.convert_shot, wait=True) == "", "the same frames do no harm"
    host.setting(host.convert_node(copy), "composite.opacity").default_value = 0.5
    before = {path: path.read_bytes() for path in Path(tmp_path).rglob("*.exr")}
    assert ready.name in in_words(host.said(bpy.ops.mien.convert_shot, wait=True))
    assert before == {path: path.read_bytes() for path in Path(tmp_path).rglob("*.exr")}
    copy.mien.take = 2
    assert host.said(bpy.ops.mien.convert_shot, wait=True) == ""


def test_a_shot_is_appended_from_another_file(ready, facts, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    assert host.said(bpy.ops.mien.convert_shot, wait=True) == ""
    path = tmp_path / "from.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.open_mainfile(filepath=str(path))
    truth = host.render(bpy.context.scene, [facts.first], tmp_path / "one")[0]
    host.fresh_scene()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "elsewhere" / "to.blend"))
    if host.VERSION >= (5, 0):
        bpy.ops.wm.set_working_color_space(working_space="ACEScg")
    with bpy.data.libraries.load(str(path)) as (source, target):
        target.scenes = list(source.scenes)
    scene = target.scenes[0]
    assert scene.mien.plate == facts.plate
    scene.render.compositor_device = "CPU"
    assert host.same_bits(host.render(scene, [facts.first], tmp_path / "two")[0], truth)
    with bpy.context.temp_override(scene=scene):
        assert host.said(bpy.ops.mien.check_shot, wait=True) == ""
        assert words().state == "up to date"


def test_two_shots_of_two_spaces_in_one_file(ready, facts, tmp_path):
    if host.VERSION >= (5, 0):
        assert bpy.data.colorspace.working_space == "ACEScg"
    pixels = np.random.default_rng(3).uniform(0, 1, (facts.height, facts.width, 3)).astype(np.float32)
    for frame in (1, 2):
        plain(tmp_path / f"other.{frame:04d}.exr", pixels, "lin_rec709_scene", 25.0)
    bpy.ops.scene.new(type="NEW")
    other = bpy.context.scene
    other.mien.plate, other.mien.folder = str(tmp_path / "other.0001.exr"), str(tmp_path / "second")
    assert host.said(bpy.ops.mien.build_shot, wait=True) == ""
    if host.VERSION >= (5, 0):
        assert bpy.data.colorspace.working_space == "ACEScg", "the first shot was solved in it"
        assert "ACEScg" in words().warning and "Rec.709" in words().warning
    assert (other.frame_start, other.frame_end, other.render.fps, other.render.fps_base) == (1, 2, 25, 1.0)
    assert words().about == other.session_uid
    assert ready.render.fps == 24


def plain(path, pixels, space, rate):
    """An EXR that says its space and frame rate."""
    import OpenImageIO as oiio

    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], 3, "float")
    spec.attribute("colorInteropID", space)
    spec.attribute("FramesPerSecond", oiio.TypeRational, (int(rate), 1))
    file = oiio.ImageOutput.create(os.fspath(path))
    assert file.open(os.fspath(path), spec) and file.write_image(pixels) and file.close(), file.geterror()


def test_paths_relative_to_the_file_with_spaces_and_umlauts_go_where_the_file_goes(scene, facts, tmp_path):
    home = tmp_path / "Größe 1 é"
    home.mkdir()
    shutil.copytree(Path(facts.plate).parent, home / "Plätze 1")
    shutil.copy(facts.identity, home / "identität.safetensors")
    for path in Path(facts.track).parent.glob("shot.track*"):
        shutil.copy(path, home / path.name)
    shot = scene.mien
    shot.plate = "//Plätze 1/shot.####.exr"
    assert "Save the file" in in_words(host.said(bpy.ops.mien.build_shot))
    bpy.ops.wm.save_as_mainfile(filepath=str(home / "datei.blend"))
    scene = bpy.context.scene
    shot = scene.mien
    shot.plate, shot.identity, shot.track = "//Plätze 1/shot.####.exr", "//identität.safetensors", "//shot.track.json"
    assert host.said(bpy.ops.mien.build_shot, wait=True) == "", words().error
    assert host.said(bpy.ops.mien.convert_shot, wait=True) == "", words().error
    truth = host.render(scene, [facts.first], tmp_path / "one")[0]
    bpy.ops.wm.save_as_mainfile(filepath=str(home / "datei.blend"))
    moved = tmp_path / "anderswo"
    home.rename(moved)
    bpy.ops.wm.open_mainfile(filepath=str(moved / "datei.blend"))
    assert host.same_bits(host.render(bpy.context.scene, [facts.first], tmp_path / "two")[0], truth)
    assert host.said(bpy.ops.mien.check_shot, wait=True) == "" == words().missing
    assert host.said(bpy.ops.mien.convert_shot, wait=True) == "" == words().error


def test_the_range_is_changed_after_build_shot(ready, facts, tmp_path):
    ready.mien.first, ready.mien.last = facts.first + 1, facts.first + 3
    assert host.said(bpy.ops.mien.convert_shot, wait=True) == ""
    frames = sorted(int(path.name.split(".")[-2]) for path in (tmp_path / "mien").rglob("*_matte.*.exr"))
    assert frames == [facts.first + 1, facts.first + 2, facts.first + 3]
    for frame in frames:
        got = host.render(ready, [frame], tmp_path / f"out{frame}")[0]
        (matte,) = (tmp_path / "mien").rglob(f"*_matte.{frame}.exr")
        plate, outside = host.read(facts.plate % frame), host.read(matte)[..., 0] == 0
        assert host.same_bits(got[outside][:, :3], plate[outside][:, :3])
    ready.mien.first, ready.mien.last = facts.last, facts.first
    assert "ends before" in in_words(host.said(bpy.ops.mien.convert_shot))


def test_another_plate_is_chosen_after_build_shot(ready, facts, tmp_path):
    other = tmp_path / "regraded"
    other.mkdir()
    for frame in range(facts.first, facts.last + 1):
        pixels = host.read(facts.plate % frame)[..., :3]
        plain(other / f"shot.{frame}.exr", pixels * 2, "lin_ap1_scene", 24.0)
    ready.mien.plate = str(other / "shot.####.exr")
    assert host.said(bpy.ops.mien.convert_shot, wait=True) == ""
    assert "Build Shot" in words().warning
    assert host.said(bpy.ops.mien.build_shot, wait=True) == "" and "Build Shot" not in words().warning
    got = host.render(ready, [facts.first], tmp_path / "out")[0]
    assert host.same_bits(got[:4, :8, :3], host.read(other / f"shot.{facts.first}.exr")[:4, :8, :3])


def test_frames_of_the_plate_go_while_it_is_converted(ready, facts, tmp_path):
    copy = tmp_path / "plate"
    shutil.copytree(Path(facts.plate).parent, copy)
    ready.mien.plate = str(copy / "shot.####.exr")
    gone, broken = (copy / f"shot.{facts.first + step}.exr" for step in (2, 3))
    gone.unlink()
    content = broken.read_bytes()
    broken.write_bytes(b"no picture")
    assert broken.name in in_words(host.said(bpy.ops.mien.convert_shot, wait=True))
    assert broken.name in in_words(words().error)
    broken.write_bytes(content)
    host.said(bpy.ops.mien.convert_shot, wait=True)
    assert str(facts.first + 2) in in_words(words().error or words().missing)
    assert str(facts.first + 2) in words().missing
    assert len(list((tmp_path / "mien").rglob("*_matte.*.exr"))) == facts.last - facts.first
    shutil.copy(facts.plate % (facts.first + 2), gone)
    assert host.said(bpy.ops.mien.convert_shot, wait=True) == "" == words().error == words().missing


@pytest.mark.parametrize("name", ["identity", "track"])
def test_a_file_that_is_no_such_thing(ready, facts, tmp_path, name):
    path = tmp_path / "garbage.safetensors"
    path.write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00garbage!")
    setattr(ready.mien, name, str(path))
    in_words(host.said(bpy.ops.mien.convert_shot, wait=True))
    assert "garbage" in in_words(words().error)


@pytest.mark.parametrize("operator", ["build_shot", "convert_shot", "track", "match", "farm"])
def test_a_folder_that_cannot_be_written_to(ready, facts, tmp_path, operator):
    (tmp_path / "file").write_text("not a folder")
    ready.mien.folder = str(tmp_path / "file" / "mien")
    said = in_words(host.said(getattr(bpy.ops.mien, operator)))
    assert "folder" in said and str(tmp_path / "file") in said
    assert not words().busy


@pytest.mark.parametrize("operator", ["build_shot", "convert_shot", "inspect_plate", "track", "farm"])
def test_no_engine(ready, facts, tmp_path, operator):
    preferences = bpy.context.preferences.addons[host.MODULE].preferences
    kept, preferences.engine_path = preferences.engine_path, "/nowhere/python"
    ready.mien.colorspace = "ACEScg"  # What was read of the plate holds no more.
    try:
        said = in_words(host.said(getattr(bpy.ops.mien, operator), wait=True))
        assert "/nowhere/python" in said and "/nowhere/python" in words().error
    finally:
        preferences.engine_path = kept
    ready.mien.colorspace = ""
    assert host.said(bpy.ops.mien.inspect_plate, wait=True) == ""


def test_another_extension_that_raises_does_not_stop_the_clock(ready, facts, tmp_path, monkeypatch):
    import importlib

    live = importlib.import_module(f"{host.MODULE}.ui.live")
    monkeypatch.setattr(live, "step", lambda engine: 1 / 0)
    host.turn()
    assert "division" in words().error
    monkeypatch.undo()
    assert host.said(bpy.ops.mien.convert_shot, wait=True) == "" == words().error
    assert "ZeroDivisionError" in log()
    importlib.import_module(f"{host.MODULE}.ui.runner").clock.log.clear()


def test_an_image_of_the_scenes_own_name_is_no_matter(scene, facts, tmp_path):
    """Names that are taken already: images, groups and nodes of others, called as ours are."""
    for name in ("mien Plate", "mien Scene raw"):
        bpy.data.images.new(name, 4, 4)
    for name in ("mien Comp", "mien Convert", "mien Matte"):
        bpy.data.node_groups.new(name, "CompositorNodeTree")
    host.set_up(scene, facts, tmp_path / "mien")
    assert host.said(bpy.ops.mien.build_shot, wait=True) == ""
    assert host.said(bpy.ops.mien.convert_shot, wait=True) == "", words().error
    got = host.render(scene, [facts.first], tmp_path / "out")[0]
    plate = host.read(facts.plate % facts.first)
    assert host.same_bits(got[:4, :8, :3], plate[:4, :8, :3])


def test_a_stopped_engine_is_cancelled_and_ended(ready, facts):
    """An engine that hangs is no reason for Blender to: switched off, the engine is killed after its grace."""
    import signal

    begun()
    (engine,) = host.engines()
    os.kill(engine, signal.SIGSTOP)
    assert host.said(bpy.ops.mien.cancel) == ""
    host.enable(False)
    host.pump(lambda: not host.engines(), 15)
    host.enable()
