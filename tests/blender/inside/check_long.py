"""A long shot: converted, commented on, opened again, rendered again, without one wrong pixel outside the matte."""

from pathlib import Path

import bpy
import host
import numpy as np


def test_two_hundred_frames(installed, facts, tmp_path):
    frames = list(range(facts.first, facts.last + 1))
    scene = host.fresh_scene()
    host.set_up(scene, facts, tmp_path / "mien")
    assert host.said(bpy.ops.mien.build_shot, wait=True) == ""
    assert host.said(bpy.ops.mien.convert_shot, wait=True) == "", bpy.context.window_manager.mien.error
    assert host.said(bpy.ops.mien.match, wait=True) == "", bpy.context.window_manager.mien.error
    path = tmp_path / "shot.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    first = host.render(scene, frames, tmp_path / "first")
    wrong = [frame for frame, got in zip(frames, first) if not untouched(facts, tmp_path, frame, got, 0)]
    assert wrong == []

    bpy.ops.wm.open_mainfile(filepath=str(path))
    scene = bpy.context.scene
    match, matte, comp = (host.node_of(scene, kind) for kind in ("color_match", "matte", "comp"))
    host.socket(match, "Exposure").default_value = 0.2
    host.socket(match, "Gain").default_value = (1.05, 1.0, 0.94)
    opacity = host.socket(comp, "Opacity")
    for frame, value in ((frames[40], 1.0), (frames[60], 0.6)):
        opacity.default_value = value
        opacity.keyframe_insert("default_value", frame=frame)
    host.socket(matte, "Grow").default_value = -0.02
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=str(path))
    second = host.render(bpy.context.scene, frames, tmp_path / "second")
    wrong = [frame for frame, got in zip(frames, second) if not untouched(facts, tmp_path, frame, got, 0)]
    assert wrong == []
    same = [frame for frame, one, other in zip(frames, first, second) if host.same_bits(one, other)]
    assert same == [], "the comments changed nothing"
    check_opacity(facts, tmp_path, first, second, frames)

    bpy.ops.wm.open_mainfile(filepath=str(path))
    some = frames[55:75]
    again = host.render(bpy.context.scene, some, tmp_path / "again")
    assert all(host.same_bits(one, other) for one, other in zip(second[55:75], again)), "a part renders otherwise"


def matte_at(folder, frame):
    (path,) = Path(folder).rglob(f"*_matte.{frame}.exr")
    return host.read(path)[..., 0]


def untouched(facts, folder, frame, got, least):
    """Whether every pixel outside the matte holds the plate's bits."""
    outside = matte_at(folder, frame) <= least
    plate = host.read(facts.plate % frame)
    return outside.any() and host.same_bits(got[outside][:, :3], plate[outside][:, :3])


def check_opacity(facts, folder, first, second, frames):
    """Where the shot was thinned, the plate comes through."""
    frame = frames[-1]
    plate = host.read(facts.plate % frame)[..., :3]
    inside = matte_at(folder, frame) > 0.9
    before = np.abs(first[-1][inside][:, :3] - plate[inside]).mean()
    after = np.abs(second[-1][inside][:, :3] - plate[inside]).mean()
    assert after < 0.85 * before
