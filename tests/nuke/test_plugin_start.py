"""What starting Nuke with the plug-in does: folders, menus, nothing that can fail or that is not Python's own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from trial import PLUGIN, ROOT, run

from mien.commands.install_nuke import build

LOADED = """
import time
began, worked = time.perf_counter(), time.process_time()
import mien_nuke.toolbar, mien_nuke.live, mien_nuke.actions, mien_nuke.checks, mien_nuke.follow, mien_nuke.plates
mien_nuke.toolbar.nodes.declared()
took = time.process_time() - worked
import json, sys
print(json.dumps([sorted({name.partition('.')[0] for name in sys.modules}), took]))
"""


OLD = sorted(Path.home().glob(".pyenv/versions/3.9*/bin/python")) or sorted(Path("/usr/bin").glob("python3.9"))


def loaded(python, folder=PLUGIN):
    """Top modules after the plug-in was imported, without its host, and the processor time that took."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [python, "-S", "-E", "-c", f"import sys; sys.path.insert(0, {str(folder)!r})\n{LOADED}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_nothing_but_pythons_own_is_imported():
    modules, _ = loaded(sys.executable)
    foreign = {name for name in modules if name not in sys.stdlib_module_names and not name.startswith("__")}
    assert foreign - {"mien", "mien_nuke", "_distutils_hack", "sitecustomize"} == set()


@pytest.mark.skipif(not OLD, reason="needs a Python 3.9")
def test_it_runs_in_the_oldest_python():
    assert "mien_nuke" in loaded(str(OLD[0]))[0]


def test_the_installed_plugin_stands_alone(tmp_path):
    build(tmp_path / "plugin")
    assert "mien" in loaded(sys.executable, tmp_path / "plugin")[0]
    said = run(tmp_path, "import mien\nprint(json.dumps(list(mien.__path__)))", plugin=tmp_path / "plugin")
    assert said == [str(tmp_path / "plugin" / "vendor" / "mien")]


def test_the_menu_offers_every_node_and_pastes_it_in_one_step(tmp_path):
    body = """
menu = nuke.menu('Nodes').findItem('mien')
def entries(menu):
    for item in menu.items():
        if hasattr(item, 'items'):
            yield from entries(item)
        elif item.name().startswith('Mien'):
            yield item
made = []
for item in entries(menu):
    for node in nuke.selectedNodes():
        node.setSelected(False)
    before = len(driver.undo_steps())
    item.invoke()
    made.append([item.name(), nuke.selectedNode().name(), len(driver.undo_steps()) - before])
print(json.dumps([made, driver.problems()]))
"""
    made, problems = run(tmp_path, body)
    assert problems == []
    assert {name for name, _, _ in made} == {path.stem for path in (PLUGIN / "groups").glob("*.gizmo")}
    assert [made[0][0], made[1][0], made[2][0]] == ["MienTrack", "MienConvert", "MienComp"]
    assert all(node == name + "1" and steps == 1 for name, node, steps in made)


def test_a_broken_plugin_does_not_keep_nuke_from_starting(tmp_path):
    shutil.copytree(PLUGIN, tmp_path / "plugin", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "plugin" / "mien_nuke" / "nodes.py").write_text("raise RuntimeError('broken')\n")
    assert run(tmp_path, "print(json.dumps('started'))", plugin=tmp_path / "plugin") == "started"


def test_a_terminal_gets_no_menu(tmp_path):
    body = "print(json.dumps([name for name in sys.modules if name.startswith('mien_nuke')]))"
    assert run(tmp_path, body, "-t") == []


def test_a_missing_engine_is_told(tmp_path):
    body = """
menu = nuke.menu('Nodes').findItem('mien')
menu.findItem('Engine ...').invoke()
print(json.dumps([driver.messages(), driver.problems()]))
"""
    messages, problems = run(tmp_path, body, MIEN_PYTHON="/nowhere/python")
    assert problems == [] and "There is no Python /nowhere/python" in messages[0][1]


def test_the_committed_groups_are_those_of_the_declarations(tmp_path):
    shutil.copytree(PLUGIN, tmp_path / "nuke_plugin", ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        f"import sys; sys.path[:0] = [{str(PLUGIN)!r}, {str(ROOT / 'engine')!r}]\n"
        "from pathlib import Path\nfrom mien_nuke.groups import written\n"
        f"print(written(Path({str(ROOT / 'engine/mien/nodes.json')!r}), "
        f"Path({str(PLUGIN / 'mien_nuke/chain.json')!r}), Path({str(tmp_path / 'nuke_plugin/groups')!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
