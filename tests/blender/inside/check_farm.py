"""The farm's job by a button: what it writes can be run by plain commands, and is what Blender then shows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import bpy
import host
import pytest


@pytest.fixture
def ready(scene, facts, tmp_path):
    host.set_up(scene, facts, tmp_path / "mien")
    assert host.said(bpy.ops.mien.build_shot, wait=True) == ""
    preferences().device = "cpu"
    yield scene
    preferences().submit, preferences().device = "", "auto"
    host.settle()


def preferences():
    return bpy.context.preferences.addons[host.MODULE].preferences


def words():
    return bpy.context.window_manager.mien


def program(path, body):
    path.write_text(f"import sys\n{body}\n")
    return f'"{sys.executable}" "{path}"'


def test_the_job_is_written_and_does_what_convert_shot_does(ready, facts, tmp_path):
    host.setting(host.convert_node(ready), "matte_edge.grow").default_value = 0.05
    assert host.said(bpy.ops.mien.farm, wait=True) == "", words().error
    bundle = tmp_path / "mien" / "v001" / "Scene.job"
    assert {path.name for path in bundle.iterdir()} >= {"template.yaml", "commands.json", "recipe.json"}
    assert str(bundle) in words().state and str(facts.last - facts.first + 1) in words().state
    for step in json.loads((bundle / "commands.json").read_text()):
        for command in step["commands"]:
            plain = [os.environ["MIEN_PYTHON"], "-m", "mien", *command[1:]]
            scrubbed = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
            done = subprocess.run(plain, env=scrubbed, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stdout + done.stderr
    assert host.said(bpy.ops.mien.check_shot, wait=True) == ""
    assert words().state == "up to date" and words().missing == ""
    got = host.render(ready, [facts.first], tmp_path / "out")[0]
    plate, matte = host.read(facts.plate % facts.first), host.read(next(bundle.parent.rglob("*_matte.1001.exr")))
    inside = matte[..., 0] > 0.5
    assert abs(got[inside][:, :3] - plate[inside][:, :3]).mean() > 0.01, "the farm's frames are not shown"


def test_the_job_is_handed_to_the_studios_program(ready, tmp_path):
    preferences().submit = program(
        tmp_path / "sub mit.py", f"open({str(tmp_path / 'heard')!r}, 'w').write(sys.argv[1]); print('job 17')"
    )
    assert host.said(bpy.ops.mien.farm, wait=True) == ""
    assert Path((tmp_path / "heard").read_text()).joinpath("template.yaml").is_file()
    assert words().state == "Submitted. job 17" and words().error == ""


@pytest.mark.parametrize("body", ["print('no such queue'); sys.exit(3)", None])
def test_a_program_that_cannot_submit_is_said(ready, tmp_path, body):
    preferences().submit = program(tmp_path / "submit.py", body) if body else "/nowhere/deadline bundle submit"
    bpy.ops.mien.farm(wait=True)
    assert ("no such queue" if body else "/nowhere/deadline") in words().error and "written" in words().error
    assert (tmp_path / "mien" / "v001" / "Scene.job" / "template.yaml").is_file()


def test_a_quotation_that_is_not_closed_is_said(ready):
    preferences().submit = "deadline 'bundle"
    assert "quotation" in host.said(bpy.ops.mien.farm, wait=True)
    assert "quotation" in words().error and "written" in words().error


def test_without_an_identity_there_is_no_job(ready, tmp_path):
    ready.mien.identity = ""
    assert "identity" in host.said(bpy.ops.mien.farm)
    assert not list(tmp_path.rglob("*.job"))
