"""A whole shot with the real engine: converted, built, rendered, saved, and rendered where mien was never installed."""

import os
import subprocess
import sys
from pathlib import Path

import bpy
import host
import numpy as np
import pytest

APART = """
import sys, bpy
sys.path.insert(0, {here!r})
import host
assert not [name for name in bpy.context.preferences.addons.keys() if "mien" in name]
bpy.ops.wm.open_mainfile(filepath={blend!r})
assert not hasattr(bpy.context.scene, "mien") or not hasattr(bpy.types.Scene, "mien")
scene = bpy.data.scenes[{scene!r}]
scene.render.compositor_device = "CPU"
host.render(scene, list(range({first}, {last} + 1)), {folder!r})
import os; os._exit(0)
"""


def frames_of(facts):
    return list(range(facts.first, facts.last + 1))


def built(facts, folder, native=True):
    """The made shot converted and wired in a new file; the scene."""
    scene = host.fresh_scene()
    host.set_up(scene, facts, folder)
    assert host.said(bpy.ops.mien.inspect_plate, wait=True) == ""
    assert host.said(bpy.ops.mien.build_shot, view_transform="STANDARD") == ""
    if native:
        host.dial_native(host.convert_node(scene), facts)
    assert host.said(bpy.ops.mien.convert_shot, wait=True) == "", bpy.context.window_manager.mien.error
    assert host.said(bpy.ops.mien.match, wait=True) == "", bpy.context.window_manager.mien.error
    scene.render.compositor_device, scene.render.compositor_precision = "CPU", "FULL"
    return scene


@pytest.fixture(scope="module")
def shot(installed, facts, tmp_path_factory):
    """The shot's file, saved, and its renders; tests open it anew."""
    folder = tmp_path_factory.mktemp("work")
    scene = built(facts, folder / "mien")
    path = folder / "shot.blend"
    renders = host.render(scene, frames_of(facts), folder / "first")
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    return path, renders, folder


@pytest.fixture
def opened(shot):
    bpy.ops.wm.open_mainfile(filepath=str(shot[0]))
    return bpy.context.scene


def plate_at(facts, frame):
    return host.read(facts.plate % frame)


def masks(facts, folder):
    """The engine's mattes of the shot by frame."""
    files = sorted(Path(folder).rglob("*_matte.*.exr"))
    found = {int(path.name.split(".")[-2]): host.read(path)[..., 0] for path in files}
    assert sorted(found) == frames_of(facts), files
    return found


def test_outside_the_matte_every_bit_is_the_plates(shot, facts):
    mattes = masks(facts, shot[2])
    for frame, got in zip(frames_of(facts), shot[1]):
        plate, outside = plate_at(facts, frame), mattes[frame] == 0
        assert 0.1 < outside.mean() < 0.95
        assert host.same_bits(got[outside][:, :3], plate[outside][:, :3]), frame
        inside = mattes[frame] > 0.5
        assert np.abs(got[inside][:, :3] - plate[inside][:, :3]).mean() > 0.01, "no face was put on"


def engines_own(facts, frame):
    """The full frame that ``mien render`` wrote."""
    return host.read(facts.folder / "out" / "full" / f"shot.{frame}.exr")


def test_inside_it_is_the_engines_own_composite(shot, facts):
    """The finished face of the engine, mixed natively."""
    for frame, got in zip(frames_of(facts), shot[1]):
        truth = engines_own(facts, frame)
        assert host.largest(got[..., :3], truth[..., :3], np.ones_like(truth[..., :3], bool)) < 1e-5, frame


def test_the_solved_move_done_natively_is_the_engines_too(opened, facts, tmp_path):
    """Matrix, offset and mix by native nodes on the ungraded face, keyed over time."""
    host.socket(host.node_of(opened, "color_match"), "Engine Finish").default_value = 0.0
    for frame, got in zip(frames_of(facts), host.render(opened, frames_of(facts), tmp_path)):
        truth = engines_own(facts, frame)
        assert host.largest(got[..., :3], truth[..., :3], np.ones_like(truth[..., :3], bool)) < 1e-5, frame


def test_what_blender_converted_is_what_the_command_line_converts(shot, facts):
    for frame in frames_of(facts):
        for kind in ("raw", "matte"):
            (mine,) = Path(shot[2]).rglob(f"*_{kind}.{frame}.exr")
            theirs = facts.folder / "out" / "host" / f"shot_{kind}.{frame}.exr"
            assert host.same_bits(host.read(mine), host.read(theirs))


def test_the_solved_move_is_keys_that_can_be_read_and_trimmed(opened, facts):
    node = host.node_of(opened, "color_match")
    curves = host.keys_of(host.tree_of(opened))
    assert len([curve for curve in curves if node.name in curve.data_path]) >= 12
    assert all(len(curve.keyframe_points) >= 1 for curve in curves)


def apart(shot, scene, facts, folder):
    """Render the saved file in a second process that has never heard of mien; the pictures."""
    script = APART.format(
        here=str(Path(host.__file__).parent), blend=str(shot), scene=scene, folder=str(folder),
        first=facts.first, last=facts.last,
    )  # fmt: skip
    environment = {**os.environ, "BLENDER_USER_RESOURCES": str(folder / "user")}
    for name in ("MIEN_PYTHON", "MIEN_ZIP"):
        environment.pop(name, None)
    (folder / "user").mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300, cwd=folder
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return [host.read(folder / f"out.{frame:04d}.exr") for frame in frames_of(facts)]


def test_without_the_extension_the_file_renders_to_the_same_bits(shot, facts, tmp_path):
    for mine, theirs in zip(shot[1], apart(shot[0], "Scene", facts, tmp_path)):
        assert host.same_bits(mine, theirs)


def test_opened_again_it_renders_to_the_same_bits(opened, shot, facts, tmp_path):
    for first, again in zip(shot[1], host.render(opened, frames_of(facts), tmp_path)):
        assert host.same_bits(first, again)


def test_a_missing_frame_shows_the_plate_and_is_said(opened, shot, facts, tmp_path):
    frame = facts.first + 2
    gone = [path for path in Path(shot[2]).rglob(f"*.{frame}.exr") if "mien" in str(path.parent)]
    assert len(gone) >= 2
    kept = {path: path.read_bytes() for path in gone}
    try:
        for path in gone:
            path.unlink()
        got = host.render(opened, frames_of(facts), tmp_path / "holes")
        assert host.same_bits(got[2][..., :3], plate_at(facts, frame)[..., :3])
        assert host.same_bits(got[1], shot[1][1]) and host.same_bits(got[3], shot[1][3])
        assert host.said(bpy.ops.mien.check_shot, wait=True) == ""
        assert str(frame) in bpy.context.window_manager.mien.missing
        host.slate(host.convert_node(opened))
        slate = host.render(opened, [frame], tmp_path / "slate")[0]
        assert not host.same_bits(slate[..., :3], plate_at(facts, frame)[..., :3]), "a slate should be seen"
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
    assert host.said(bpy.ops.mien.check_shot, wait=True) == ""
    assert bpy.context.window_manager.mien.missing == ""


FARM = """
import sys, bpy
sys.path.insert(0, {here!r})
import host
host.enable()
bpy.ops.wm.open_mainfile(filepath={blend!r})
bpy.context.scene.mien.check_renders = {choice!r}
host.render(bpy.context.scene, list(range({first}, {last} + 1)), {folder!r})
import os; os._exit(0)
"""


@pytest.mark.parametrize(("choice", "status"), [("ERROR", 1), ("WARN", 0), ("OFF", 0)])
def test_a_farm_can_be_told_to_stop_at_missing_frames(shot, facts, tmp_path, choice, status):
    frame = facts.first + 1
    (matte,) = Path(shot[2]).rglob(f"*_matte.{frame}.exr")
    content = matte.read_bytes()
    matte.unlink()
    try:
        script = FARM.format(
            here=str(Path(host.__file__).parent), blend=str(shot[0]), choice=choice, folder=str(tmp_path),
            first=facts.first, last=facts.last,
        )  # fmt: skip
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    finally:
        matte.write_bytes(content)
    assert done.returncode == status, done.stderr[-2000:]
    assert (str(frame) in done.stderr and "missing" in done.stderr) == (choice != "OFF")
    assert len(list(tmp_path.glob("out.*.exr"))) == (0 if status else facts.last - facts.first + 1)


def test_a_note_from_the_supervisor_changes_what_is_rendered_and_nothing_outside(opened, shot, facts, tmp_path):
    opacity = host.socket(host.node_of(opened, "comp"), "Opacity")
    opacity.default_value = 1.0
    opacity.keyframe_insert("default_value", frame=facts.first)
    opacity.default_value = 0.0
    opacity.keyframe_insert("default_value", frame=facts.last)
    got = host.render(opened, frames_of(facts), tmp_path)
    assert host.same_bits(got[0], shot[1][0])
    assert host.same_bits(got[-1][..., :3], plate_at(facts, facts.last)[..., :3])
    assert not host.same_bits(got[2], shot[1][2])


def test_a_changed_setting_is_stale_not_lost(opened, shot, facts):
    (before,) = {path.parent for path in Path(shot[2]).rglob("*_matte.*.exr")}
    host.setting(host.convert_node(opened), "matte_edge.soften").default_value = 0.15
    assert host.said(bpy.ops.mien.check_shot, wait=True) == ""
    words = bpy.context.window_manager.mien
    assert words.missing == "" and ("changed" in words.state or "render again" in words.state), words.state
    assert len(list(before.glob("*_matte.*.exr"))) == facts.last - facts.first + 1


def test_one_frame_is_converted_alone(opened, shot, facts):
    opened.frame_set(facts.first + 3)
    host.setting(host.convert_node(opened), "matte_edge.soften").default_value = 0.12
    paths = sorted(Path(shot[2]).rglob("*_matte.*.exr"))
    before = {path: path.read_bytes() for path in paths}
    try:
        assert host.said(bpy.ops.mien.convert_frame, wait=True) == "", bpy.context.window_manager.mien.error
        after = sorted(Path(shot[2]).rglob("*_matte.*.exr"))
        changed = [path for path in after if before.get(path) != path.read_bytes()]
        assert [int(path.name.split(".")[-2]) for path in changed] == [facts.first + 3]
    finally:
        for path, content in before.items():
            path.write_bytes(content)


def test_nodes_of_an_older_version_are_updated_and_the_shot_renders_to_the_same_bits(opened, shot, facts, tmp_path):
    before = {(curve.data_path, curve.array_index) for curve in host.keys_of(host.tree_of(opened))}
    links = len(host.tree_of(opened).links)
    trees = [tree for tree in bpy.data.node_groups if tree.get("mien_kind")]
    for tree in trees:
        tree["mien_version"] = 0
    host.dial(host.convert_node(opened), "matte_edge.grow", 0.03)
    assert host.said(bpy.ops.mien.update_nodes) == ""
    assert all(tree["mien_version"] > 0 for tree in bpy.data.node_groups if tree.get("mien_kind") and tree.users)
    assert {(curve.data_path, curve.array_index) for curve in host.keys_of(host.tree_of(opened))} == before
    assert len(host.tree_of(opened).links) == links
    assert host.setting(host.convert_node(opened), "matte_edge.grow").default_value == pytest.approx(0.03)
    for first, again in zip(shot[1], host.render(opened, frames_of(facts), tmp_path)):
        assert host.same_bits(first, again)
