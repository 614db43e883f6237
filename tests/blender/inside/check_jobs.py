"""Jobs while an artist goes on working: undo, cancel, another scene, a killed engine, a file opened meanwhile."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import bpy
import host
import pytest


@pytest.fixture
def ready(scene, facts, tmp_path):
    """The made shot, filled in and wired; nothing converted yet."""
    host.set_up(scene, facts, tmp_path / "mien")
    assert host.said(bpy.ops.mien.inspect_plate, wait=True) == ""
    assert host.said(bpy.ops.mien.build_shot, wait=True) == ""
    yield scene
    host.settle()


def words():
    return bpy.context.window_manager.mien


def files(folder):
    return sorted(path.name for path in Path(folder).rglob("*_matte.*.exr") if not path.name.startswith("."))


def test_an_operator_returns_at_once_and_the_job_goes_on(ready, facts, tmp_path):
    began = time.perf_counter()
    assert bpy.ops.mien.convert_shot() == {"FINISHED"}
    took = time.perf_counter() - began
    assert took < 0.5, f"{took:.3f} s"
    assert words().busy
    host.pump(lambda: not words().busy)
    assert words().error == "" and len(files(tmp_path)) == facts.last - facts.first + 1


def test_progress_and_time_left_are_said(ready):
    seen = []
    bpy.ops.mien.convert_shot()
    host.pump(lambda: seen.append((words().progress, words().text)) or not words().busy)
    parts = [part for part, _ in seen]
    assert max(parts) > 0 and len({text for _, text in seen}) >= 3
    assert any("left" in text or "of" in text for _, text in seen), {text for _, text in seen}


def test_cancel_ends_it_soon_and_again_goes_on(ready, facts, tmp_path):
    bpy.ops.mien.convert_shot()
    host.pump(lambda: words().progress > 0 or not words().busy)
    assert host.said(bpy.ops.mien.cancel) == ""
    took = host.pump(lambda: not words().busy)
    assert took < 10
    assert all(host.read(path).size for path in Path(tmp_path).rglob("*_matte.*.exr")), "half a file has a final name"
    assert host.said(bpy.ops.mien.convert_shot, wait=True) == ""
    assert len(files(tmp_path)) == facts.last - facts.first + 1


def test_undo_during_a_job_is_safe(ready, facts, tmp_path):
    bpy.ops.ed.undo_push(message="before")
    ready.mien.likeness = "changed"
    bpy.ops.ed.undo_push(message="changed")
    bpy.ops.mien.convert_shot()
    for _ in range(6):
        bpy.ops.ed.undo()
        host.turn()
        bpy.ops.ed.redo()
        host.turn()
    host.pump(lambda: not words().busy)
    assert words().error == "" and len(files(tmp_path)) == facts.last - facts.first + 1
    assert host.said(bpy.ops.mien.match, wait=True) == ""


def test_a_killed_engine_is_said_in_words_and_the_next_request_has_a_new_one(ready, facts, tmp_path):
    bpy.ops.mien.convert_shot()
    host.pump(lambda: words().progress > 0 or not words().busy)
    killed = host.engines()
    assert killed
    for process in killed:
        os.kill(process, signal.SIGKILL)
    host.pump(lambda: not words().busy)
    assert words().error != ""
    assert host.said(bpy.ops.mien.convert_shot, wait=True) == "" and words().error == ""
    assert len(files(tmp_path)) == facts.last - facts.first + 1


def test_a_file_opened_during_a_job_is_safe(ready, facts, tmp_path):
    path = tmp_path / "other.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.mien.convert_shot()
    host.turn()
    bpy.ops.wm.open_mainfile(filepath=str(path))
    host.pump(lambda: not words().busy)
    assert host.said(bpy.ops.mien.convert_shot, wait=True) == ""
    assert len(files(tmp_path)) == facts.last - facts.first + 1


def test_switched_off_during_a_job_the_engine_leaves(ready):
    bpy.ops.mien.convert_shot()
    host.pump(lambda: words().progress > 0 or not words().busy)
    assert host.engines()
    host.enable(False)
    host.pump(lambda: not host.engines())
    host.enable()


def test_two_scenes_have_shots_of_their_own(ready, facts, tmp_path):
    assert host.said(bpy.ops.mien.convert_shot, wait=True) == ""
    bpy.ops.scene.new(type="NEW")
    other = bpy.context.scene
    assert other != ready and other.mien.plate == ""
    other.render.compositor_device = "CPU"
    host.set_up(other, facts, tmp_path / "second")
    assert host.said(bpy.ops.mien.build_shot, wait=True) == ""
    host.setting(host.convert_node(other), "composite.opacity").default_value = 0.5
    assert host.setting(host.convert_node(ready), "composite.opacity").default_value == 1.0
    assert host.said(bpy.ops.mien.convert_shot, wait=True) == ""
    assert len(files(tmp_path / "second")) == len(files(tmp_path / "mien")) == facts.last - facts.first + 1


def test_a_copied_scene_renders_like_its_original(ready, facts, tmp_path):
    assert host.said(bpy.ops.mien.convert_shot, wait=True) == ""
    first = host.render(ready, [facts.first], tmp_path / "one")[0]
    bpy.ops.scene.new(type="FULL_COPY")
    copy = bpy.context.scene
    assert copy.mien.plate == facts.plate
    copy.render.compositor_device = "CPU"
    assert host.same_bits(host.render(copy, [facts.first], tmp_path / "two")[0], first)
    assert host.said(bpy.ops.mien.check_shot, wait=True) == ""


def test_groups_can_be_appended_to_another_file(ready, facts, tmp_path):
    path = tmp_path / "from.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    host.fresh_scene()
    with bpy.data.libraries.load(str(path)) as (source, target):
        target.node_groups = [name for name in source.node_groups if "mien" in name.lower()]
    appended = [tree for tree in bpy.data.node_groups if tree.get("mien_kind")]
    assert {tree["mien_kind"] for tree in appended} >= {"convert", "comp", "matte"}
    host.empty_tree(bpy.context.scene)
    assert host.said(bpy.ops.mien.add_node, kind="comp") == ""


def test_names_with_spaces_and_accents(scene, facts, tmp_path):
    folder = tmp_path / "Größe 1 é"
    folder.mkdir()
    host.set_up(scene, facts, folder / "arbeit")
    scene.name = "Sc ene ü/1"
    assert host.said(bpy.ops.mien.build_shot, wait=True) == ""
    assert host.said(bpy.ops.mien.convert_shot, wait=True) == "", words().error
    assert len(files(folder)) == facts.last - facts.first + 1


def test_what_cannot_work_is_said_before_anything_starts(scene, facts, tmp_path):
    host.set_up(scene, facts, tmp_path / "mien")
    scene.mien.plate = str(tmp_path / "nothing.####.exr")
    said = host.said(bpy.ops.mien.convert_shot, wait=True)
    assert "nothing" in said and "Traceback" not in said
    scene.mien.plate, scene.mien.identity = facts.plate, ""
    said = host.said(bpy.ops.mien.convert_shot, wait=True)
    assert said and "Traceback" not in said
    scene.mien.identity, scene.mien.track = facts.identity, str(tmp_path / "none.json")
    said = host.said(bpy.ops.mien.convert_shot, wait=True)
    assert "none.json" in said or "rack" in said


def test_no_process_is_left(installed):
    host.enable(False)
    host.pump(lambda: not host.engines())
    host.enable()


KILLED = """
import sys, time, bpy
sys.path.insert(0, {here!r})
import host
from types import SimpleNamespace
host.enable()
scene = host.fresh_scene()
host.set_up(scene, SimpleNamespace(**{facts!r}), {folder!r})
bpy.ops.mien.build_shot(wait=True)
bpy.ops.mien.convert_shot()
host.pump(lambda: bpy.context.window_manager.mien.progress > 0)
print("engine", *host.engines(), flush=True)
while True:
    host.turn()
"""


def test_when_blender_is_killed_its_engine_leaves_and_files_are_whole(installed, facts, tmp_path):
    plain = {name: value for name, value in vars(facts).items() if name != "folder"}
    bpy.ops.wm.save_userpref()
    script = KILLED.format(here=str(Path(host.__file__).parent), facts=plain, folder=str(tmp_path / "mien"))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    line = next((line for line in process.stdout if line.startswith("engine ")), "")
    process.kill()
    process.wait()
    process.stdout.close()
    (engine,) = (int(word) for word in line.split()[1:])
    began = time.perf_counter()
    while Path(f"/proc/{engine}").exists() and "Z" not in Path(f"/proc/{engine}/stat").read_text().split(")")[1][:3]:
        assert time.perf_counter() - began < 10, "the engine outlives Blender"
        time.sleep(0.05)
    assert all(host.read(path).size for path in Path(tmp_path).rglob("*_matte.*.exr") if path.name[0] != ".")
