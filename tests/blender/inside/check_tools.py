"""The timeline, points placed by hand, trackers of Blender's, trainings, and older nodes."""

import importlib
import json
from pathlib import Path

import bpy
import host
import numpy as np
import pytest


def timeline(scene):
    editor = scene.sequence_editor or scene.sequence_editor_create()
    if host.VERSION >= (5, 0):
        bpy.context.workspace.sequencer_scene = scene
    return editor, editor.strips


def footage(strips, facts, channel=1, start=1):
    files = [Path(facts.plate % frame) for frame in range(facts.first, facts.last + 1)]
    strip = strips.new_image("plate", str(files[0]), channel, start)
    for path in files[1:]:
        strip.elements.append(path.name)
    if hasattr(strip, "duration"):
        strip.right_handle = start + len(files)
    else:
        strip.frame_final_duration = len(files)
    return strip


def test_a_shot_from_a_strip_has_the_files_frame_numbers(scene, facts, tmp_path):
    editor, strips = timeline(scene)
    strip = footage(strips, facts, start=40)
    editor.active_strip = strip
    scene.mien.folder = str(tmp_path)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "edit.blend"))
    scene = bpy.context.scene
    assert host.said(bpy.ops.mien.shot_from_strip, wait=True) == ""
    made = next(one for one in bpy.data.scenes if one != scene)
    assert made.mien.plate == facts.plate and (made.mien.first, made.mien.last) == (facts.first, facts.last)
    assert (made.frame_start, made.frame_end) == (facts.first, facts.last)
    made.render.compositor_device = "CPU"
    got = host.render(made, [facts.first + 1], tmp_path / "out")[0]
    plate = host.read(facts.plate % (facts.first + 1))
    assert got.shape[:2] == plate.shape[:2]
    assert host.largest(got[..., :3], plate[..., :3], np.isfinite(plate)) < 1e-4 * 70000


def test_a_trimmed_strip_is_a_shorter_shot(scene, facts, tmp_path):
    editor, strips = timeline(scene)
    strip = footage(strips, facts)
    if hasattr(strip, "left_handle"):
        strip.left_handle, strip.right_handle = 3, 5
    else:
        strip.frame_final_start, strip.frame_final_end = 3, 5
    editor.active_strip = strip
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "edit.blend"))
    assert host.said(bpy.ops.mien.shot_from_strip, wait=True) == ""
    made = next(one for one in bpy.data.scenes if one != bpy.data.scenes["Scene"])
    assert (made.mien.first, made.mien.last) == (facts.first + 2, facts.first + 3)


@pytest.mark.skipif(host.VERSION < (5, 2), reason="before 5.2 a strip's group reads 0 for what is dialed")
def test_a_grade_on_a_strip(scene, facts, tmp_path):
    pixels = np.random.default_rng(2).uniform(0.1, 2, (16, 16, 4)).astype(np.float32)
    pixels[..., 3] = 1
    path = host.write(tmp_path / "a.exr", pixels)
    editor, strips = timeline(scene)
    scene.sequencer_colorspace_settings.name = "Linear Rec.709"
    strip = strips.new_image("a", str(path), 1, 1)
    strip.colorspace_settings.name = "Linear Rec.709"
    editor.active_strip = strip
    assert host.said(bpy.ops.mien.add_strip_grade) == ""
    group = strip.modifiers[0].node_group
    item = next(one for one in group.interface.items_tree if one.name == "Exposure")
    getattr(strip.modifiers[0].properties.inputs, item.identifier).value = 1.0
    scene.render.resolution_x = scene.render.resolution_y = 16
    scene.render.resolution_percentage = 100
    scene.view_settings.view_transform = "Standard"
    got = host.render(scene, [1], tmp_path / "out")[0]
    assert np.abs(got[..., :3] - 2 * pixels[..., :3]).max() < 1e-3


@pytest.mark.skipif(host.VERSION < (5, 2), reason="effects of the compositor on strips are new in 5.2")
def test_a_face_is_laid_over_a_plate_on_the_timeline(scene, facts, tmp_path):
    generator = np.random.default_rng(5)
    plate = generator.uniform(0.1, 2, (16, 16, 4)).astype(np.float32)
    plate[..., 3] = 1
    alpha = generator.uniform(0, 1, (16, 16, 1)).astype(np.float32)
    alpha[:4] = 0
    face = np.concatenate([generator.uniform(0, 2, (16, 16, 3)).astype(np.float32) * alpha, alpha], -1)
    _, strips = timeline(scene)
    scene.sequencer_colorspace_settings.name = "Linear Rec.709"
    for channel, (name, pixels) in enumerate((("plate", plate), ("face", face)), start=1):
        strip = strips.new_image(name, str(host.write(tmp_path / f"{name}.exr", pixels)), channel, 1)
        strip.colorspace_settings.name, strip.alpha_mode = "Linear Rec.709", "PREMUL"
        strip.right_handle = 5
        strip.select = channel == 1
    assert "Select two strips" in host.said(bpy.ops.mien.add_strip_over)
    for strip in strips:
        strip.select = True
    assert host.said(bpy.ops.mien.add_strip_over) == ""
    (effect,) = [strip for strip in strips if strip.type == "COMPOSITOR"]
    assert effect.channel == 3 and (int(effect.left_handle), int(effect.right_handle)) == (1, 5)
    scene.render.resolution_x = scene.render.resolution_y = 16
    scene.render.resolution_percentage = 100
    scene.view_settings.view_transform = "Standard"
    got = host.render(scene, [2], tmp_path / "out")[0]
    truth = plate[..., :3] * (1 - alpha) + face[..., :3]
    assert np.abs(got[..., :3] - truth).max() < 1e-3


def test_strips_say_why_older_versions_cannot(scene, facts):
    editor, strips = timeline(scene)
    editor.active_strip = footage(strips, facts)
    assert bpy.ops.mien.add_strip_grade.poll() == (host.VERSION >= (5, 2))


FIVE = {"left eye": (0.4, 0.6), "Right_Eye": (0.6, 0.61), "nose": (0.5, 0.5), "left mouth": (0.45, 0.4),
        "right mouth": (0.56, 0.41)}  # fmt: skip


def tracked_clip(facts, names):
    clip = bpy.data.movieclips.load(facts.plate % facts.first)
    for name, (x, y) in names.items():
        track = clip.tracking.tracks.new(name=name, frame=1)
        for frame in (1, 2, 3):
            track.markers.insert_frame(frame, co=(x + 0.01 * (frame - 1), y))
    return clip


def test_trackers_become_keys_of_the_track(scene, facts, tmp_path):
    host.set_up(scene, facts, tmp_path / "mien")
    scene.active_clip = tracked_clip(facts, FIVE)
    assert host.said(bpy.ops.mien.import_markers) == ""
    keys = sorted((tmp_path / "mien" / "keys").glob("*.json"))
    assert [int(path.stem) for path in keys] == [facts.first, facts.first + 1, facts.first + 2]
    document = json.loads(keys[1].read_text())
    assert set(document["points"]) == {name.lower().replace("_", " ") for name in FIVE}
    assert document["points"]["nose"] == pytest.approx([0.51 * facts.width, 0.5 * facts.height], abs=1e-3)
    scene.frame_set(facts.first + 1)
    assert host.said(bpy.ops.mien.clear_keys) == ""
    assert len(list((tmp_path / "mien" / "keys").glob("*.json"))) == 2


def test_trackers_count_from_the_clips_own_first_file(scene, facts, tmp_path):
    """The shot is shorter than the clip, and the clip lies elsewhere on the timeline."""
    host.set_up(scene, facts, tmp_path / "mien")
    scene.mien.first = facts.first + 2
    scene.active_clip = tracked_clip(facts, FIVE)
    scene.active_clip.frame_start = 500
    assert host.said(bpy.ops.mien.import_markers) == ""
    keys = sorted(int(path.stem) for path in (tmp_path / "mien" / "keys").glob("*.json"))
    assert keys == [facts.first, facts.first + 1, facts.first + 2]


def test_trackers_of_other_names_are_an_error_in_words(scene, facts, tmp_path):
    host.set_up(scene, facts, tmp_path / "mien")
    scene.active_clip = tracked_clip(facts, {"Track": (0.5, 0.5)})
    assert "left eye" in host.said(bpy.ops.mien.import_markers)
    assert not (tmp_path / "mien" / "keys").exists()


def test_keys_are_part_of_the_next_track(scene, facts, tmp_path):
    """The made plate shows no face that networks would find: the points alone carry it."""
    host.set_up(scene, facts, tmp_path / "mien")
    scene.active_clip = tracked_clip(facts, FIVE)
    assert host.said(bpy.ops.mien.import_markers) == ""
    assert host.said(bpy.ops.mien.track, wait=True) == "", bpy.context.window_manager.mien.error
    assert len(scene.mien.faces) == 1 and scene.mien.track == ""
    track = json.loads((tmp_path / "mien" / "Scene.track.json").read_text())
    assert "1001" in json.dumps(track)
    assert bpy.ops.mien.pick_face(index=0) == {"FINISHED"} and scene.mien.face == scene.mien.faces[0].found


def colors_of(name):
    """How many values an image holds; 0 where there is none."""
    image = bpy.data.images.get(name)
    if image is None:
        return 0
    pixels = np.empty(image.size[0] * image.size[1] * 4, np.float32)
    image.pixels.foreach_get(pixels)
    return len(np.unique(pixels))


def test_a_training_is_started_paused_resumed_and_stopped(scene, facts, tmp_path):
    words = bpy.context.window_manager.mien
    host.set_up(scene, facts, tmp_path / "mien")
    assert "Choose" in host.said(bpy.ops.mien.train_start)
    generator = np.random.default_rng(4)
    for folder in ("before", "after"):
        for frame in (1, 2, 3):
            (tmp_path / folder).mkdir(exist_ok=True)
            host.write(tmp_path / folder / f"{frame:04d}.exr", generator.uniform(0, 1, (96, 96, 3)))
    training = scene.mien.training
    training.kind, training.size, training.steps, training.preview = "paired", 64, 1000, 10
    training.a, training.b = str(tmp_path / "before"), str(tmp_path / "after")
    scene.mien.likeness, scene.mien.release = "Nobody", "test release"
    assert host.said(bpy.ops.mien.train_start) == ""
    host.pump(lambda: colors_of("mien losses") > 3 or words.error)
    assert not bpy.data.images["mien losses"].is_dirty
    assert bpy.data.images["mien preview"].size[0] > 0 and len(words.training) > 10
    assert words.error == "" and bpy.ops.mien.train_pause.poll()
    assert host.said(bpy.ops.mien.train_pause) == "" and words.paused
    assert host.said(bpy.ops.mien.train_resume) == "" and not words.paused
    assert host.said(bpy.ops.mien.train_stop) == ""
    host.pump(lambda: not bpy.ops.mien.train_stop.poll())
    assert words.error == "" and scene.mien.identity.endswith("Nobody.safetensors")


def test_a_plate_with_overscan_is_written_again_and_lies_where_it_should(scene, facts, tmp_path):
    import OpenImageIO as oiio

    inner = host.read(facts.plate % facts.first)
    wide = np.zeros((facts.height + 9, facts.width + 12, 3), np.float32)
    wide[2 : 2 + facts.height, 9 : 9 + facts.width] = inner[..., :3]
    spec = oiio.ImageSpec(wide.shape[1], wide.shape[0], 3, "float")
    spec.x, spec.y, spec.full_x, spec.full_y = -9, -2, 0, 0
    spec.full_width, spec.full_height = facts.width, facts.height
    for frame in (1001, 1002):
        file = oiio.ImageOutput.create(str(tmp_path / f"wide.{frame}.exr"))
        assert file.open(str(tmp_path / f"wide.{frame}.exr"), spec) and file.write_image(wide) and file.close()
    scene.mien.plate, scene.mien.folder = str(tmp_path / "wide.1001.exr"), str(tmp_path / "mien")
    assert host.said(bpy.ops.mien.inspect_plate, wait=True) == ""
    words = bpy.context.window_manager.mien
    fits = importlib.import_module(f"{host.MODULE}.ui.facts").fits
    assert not fits(scene)
    assert host.said(bpy.ops.mien.build_shot, wait=True) == ""
    assert host.said(bpy.ops.mien.fit_plate, wait=True) == "" == words.warning and fits(scene)
    assert scene.mien.plate == str(tmp_path / "mien" / "plate" / "wide.####.exr")
    scene.render.compositor_device = "CPU"
    got = host.render(scene, [1001], tmp_path / "out")[0]
    assert host.same_bits(got[..., :3], inner[..., :3])
