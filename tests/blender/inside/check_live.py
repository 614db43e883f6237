"""Live: the shown frame follows its settings, at rest it is what a render would write, and renders are left alone."""

import importlib
import time
from pathlib import Path

import bpy
import host
import pytest


@pytest.fixture
def live(scene, facts, tmp_path):
    host.set_up(scene, facts, tmp_path / "mien")
    assert host.said(bpy.ops.mien.inspect_plate, wait=True) == ""
    assert host.said(bpy.ops.mien.build_shot, wait=True) == ""
    assert host.said(bpy.ops.mien.match, wait=True) == ""
    scene.frame_set(facts.first + 1)
    scene.mien.live = True
    yield scene
    bpy.context.scene.mien.live = False
    host.settle()


def matte(folder, frame):
    found = list(Path(folder).rglob(f"*_matte.{frame}.exr"))
    return host.read(found[0])[..., 0] if found else None


def test_a_slider_shows_in_the_frame_alone_and_blender_never_waits(live, facts, tmp_path):
    frame, words = facts.first + 1, bpy.context.window_manager.mien
    host.pump(lambda: matte(tmp_path, frame) is not None)
    first = matte(tmp_path, frame).sum()
    host.setting(host.convert_node(live), "matte_edge.grow").default_value = 0.1
    turns = []

    def grown():
        began = time.thread_time()
        host.turn(0)
        turns.append(time.thread_time() - began)
        return matte(tmp_path, frame).sum() > 1.05 * first

    host.pump(grown)
    assert sorted(turns)[len(turns) // 2] < 0.01, "turns take the time of whoever works in the window"
    assert words.error == "" and f"frame {frame}" in words.text
    assert matte(tmp_path, facts.first) is None
    assert host.said(bpy.ops.mien.check_shot, wait=True) == ""


def test_at_rest_the_frame_is_final(live, facts, tmp_path):
    frame = facts.first + 1
    host.pump(lambda: matte(tmp_path, frame) is not None)
    began = time.perf_counter()
    host.pump(lambda: time.perf_counter() - began > 2.0)
    live.mien.live = False
    before = matte(tmp_path, frame)
    assert host.said(bpy.ops.mien.convert_shot, wait=True) == "", bpy.context.window_manager.mien.error
    assert host.same_bits(matte(tmp_path, frame), before)


def test_the_full_frame_is_given_up_for_a_new_value(live, facts, tmp_path):
    eye = importlib.import_module(f"{host.MODULE}.ui.live").eye
    soften = host.setting(host.convert_node(live), "matte_edge.soften")
    host.pump(lambda: eye.request is not None and eye.whole)
    whole, soften.default_value = eye.request, 0.11
    host.turn(0)
    assert eye.request is not None and eye.request is not whole and not eye.whole
    proxy = eye.request
    host.pump(lambda: proxy.over and whole.over)
    assert proxy.answer["event"] == "done" and whole.answer["event"] in ("cancelled", "done")
    host.pump(lambda: eye.fine and eye.request is None)
    assert bpy.context.window_manager.mien.error == ""


def test_another_frame_is_followed_and_one_without_a_shot_is_an_error_in_words(live, facts, tmp_path):
    live.frame_set(facts.first + 3)
    host.pump(lambda: matte(tmp_path, facts.first + 3) is not None)
    live.frame_set(facts.last + 50)
    host.pump(lambda: str(facts.last + 50) in bpy.context.window_manager.mien.error)


def test_live_is_not_saved(live, tmp_path):
    path = tmp_path / "live.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.open_mainfile(filepath=str(path))
    assert not bpy.context.scene.mien.live
