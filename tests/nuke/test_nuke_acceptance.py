"""The scripts for owners of a licence pass in the stand-in, and fail where something is wrong."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from trial import HERE, PLUGIN

from shots import make_shot


def run(folder, *words, plugin=PLUGIN):
    environment = {**os.environ, "NUKE_PATH": str(plugin), "MIEN_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(HERE / "host/run.py"), "-t", str(HERE / "acceptance/run.py"), *map(str, words)],
        capture_output=True, text=True, timeout=300, env=environment, cwd=folder, check=False,
    )  # fmt: skip
    assert (folder / "mien_acceptance.json").is_file(), done.stderr[-3000:]
    return done, json.loads((folder / "mien_acceptance.json").read_text())


@pytest.fixture(scope="module")
def shot(tmp_path_factory):
    return make_shot(tmp_path_factory.mktemp("accepted"), 2, "float")


def test_every_check_passes(shot, tmp_path):
    done, report = run(tmp_path, shot.folder)
    results = {row["check"]: (row["result"], row["said"]) for row in report["rows"]}
    assert {result for result, _ in results.values()} == {"pass"}, results
    assert len(results) == 9 and done.returncode == 0 and "9 checks, 0 failed" in done.stdout


def test_without_a_shot_the_rest_is_checked(tmp_path):
    done, report = run(tmp_path)
    assert [row["result"] for row in report["rows"]].count("skip") == 1 and done.returncode == 0


@pytest.mark.parametrize(
    ("file", "right", "wrong", "check"),
    [
        ("groups/MienComp.gizmo", "black_clamp false", "black_clamp true", "knobs keep their defaults"),
        ("groups/MienComp.gizmo", "mix {{parent.opacity}}", "mix 1", "the composite is the formula"),
        ("groups/MienMatteEdge.gizmo", "addUserKnob {7 grow", "addUserKnob {99 grow", "every group loads"),
        ("mien_nuke/actions.py", "def render_range(", "def render_all(", "buttons find the plugin"),
    ],
)
def test_a_broken_plugin_fails_its_check(tmp_path, file, right, wrong, check):
    plugin = tmp_path / "nuke_plugin"
    shutil.copytree(PLUGIN, plugin)
    (tmp_path / "engine").symlink_to(PLUGIN.parent / "engine")
    text = (plugin / file).read_text()
    assert right in text
    (plugin / file).write_text(text.replace(right, wrong))
    done, report = run(tmp_path, plugin=plugin)
    failed = [row["check"] for row in report["rows"] if row["result"] == "FAIL"]
    assert check in failed and done.returncode == 1
