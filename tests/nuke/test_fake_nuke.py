"""The fake host refuses what it should: without this, a trial in it would prove nothing."""

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from texts import LOOK

HERE = Path(__file__).parent
HOST = HERE / "host" / "nuke"
EXTRA = {"session"}


def run(tmp_path, body, *options, plugin=None):
    """What a script that runs in the host prints last, as JSON."""
    file = tmp_path / "trial.py"
    file.write_text("import json, os, sys, threading, nuke, driver\n" + body, "utf-8")
    environment = {**os.environ, "NUKE_PATH": str(plugin or "")}
    done = subprocess.run(
        [sys.executable, str(HERE / "host" / "run.py"), *options, str(file)],
        capture_output=True, text=True, timeout=120, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


REFUSED = {
    "class": ("nuke.createNode('FaceThing')", "Unknown command"),
    "knob": ("n['sise'].setValue(1)", "does not exist"),
    "menu": ("nuke.createNode('Merge2')['operation'].setValue('ober')", "not in the menu"),
    "menu index": ("nuke.createNode('Merge2')['operation'].setValue(999)", "not in the menu"),
    "text for a number": ("n['size'].setValue('3')", "finite numbers"),
    "nan": ("n['size'].setValue(float('nan'))", "finite numbers"),
    "numpy": ("import numpy; n['size'].setValue(numpy.float32(3))", "finite numbers"),
    "count": ("nuke.createNode('Grade')['white'].setValue([1, 2])", "takes 4"),
    "number for text": ("n['label'].setValue(3)", "takes text"),
    "layer": ("n['channels'].setValue('matte')", "add_layer"),
    "frame": ("nuke.frame(1.5)", "whole number"),
    "pasted knob": ("nuke.scriptReadText('Blur {\\n sise 3\\n}\\n')", "no knob"),
    "pasted brace": ("nuke.scriptReadText('Blur {\\n size 3\\n')", "close-brace"),
    "pasted curve": ("n['size'].fromScript('{curve x1 nan}')", "finite"),
    "unknown name": ("nuke.nonsense()", "nonsense"),
    "main thread": ("nuke.executeInMainThread(print)", "hangs"),
    "exr knob": ("nuke.createNode('Write')['compression'].setValue('RLE')", "does not exist unless"),
    "metadata": ("n.metadata()", "breaks the wiring"),
    "question": ("nuke.ask('really?')", "nobody answers"),
    "progress": ("nuke.ProgressTask('x').setProgress(12.5)", "whole number"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_mistakes_raise(tmp_path, kind):
    body, said = REFUSED[kind]
    code = (
        "n = nuke.createNode('Blur')\ntry:\n    " + body + "\n    print(json.dumps(''))\n"
        "except Exception as error:\n    print(json.dumps(f'{type(error).__name__}: {error}'))\n"
    )
    assert said in run(tmp_path, code)


def test_other_threads_may_only_ask_the_main_thread(tmp_path):
    code = """
n = nuke.createNode('Blur')
size = n['size']
said = []
def work():
    for call in (lambda: size.setValue(2), lambda: n['size'], lambda: nuke.toNode('Blur1'), lambda: nuke.frame()):
        try:
            call()
        except RuntimeError as error:
            said.append('thread' in str(error))
    task = nuke.ProgressTask('working')
    task.setProgress(50)
    nuke.executeInMainThread(size.setValue, args=(7,))
    said.append(nuke.executeInMainThreadWithResult(lambda: size.value()))
thread = threading.Thread(target=work)
thread.start()
driver.spin(lambda: not thread.is_alive(), 10)
print(json.dumps([said, len(driver.tasks()), driver.problems()]))
"""
    assert run(tmp_path, code) == [[True, True, True, True, 7.0], 1, []]


def test_a_terminal_has_no_windows_and_no_loop(tmp_path):
    code = """
said = []
def attempt(call):
    try:
        call()
        said.append('went')
    except RuntimeError:
        said.append('refused')
attempt(lambda: nuke.message('hello'))
attempt(lambda: nuke.menu('Nodes'))
attempt(lambda: nuke.ProgressTask('x'))
thread = threading.Thread(target=lambda: attempt(lambda: nuke.executeInMainThread(print)))
thread.start(); thread.join()
said.append(nuke.GUI)
print(json.dumps(said))
"""
    assert run(tmp_path, code, "-t") == ["refused"] * 4 + [False]


def test_python_reaches_ten_nodes_where_it_is_limited(tmp_path):
    code = """
nuke.scriptReadText(''.join(f'Dot {{\\n inputs 0\\n name Dot{i}\\n}}\\n' for i in range(30)))
try:
    for i in range(30):
        nuke.toNode(f'Dot{i}')
except RuntimeError as error:
    print(json.dumps([i, str(error)]))
"""
    reached, said = run(tmp_path, code, "--nc")
    assert reached == 10 and "10 nodes" in said


def test_idling_must_not_touch_the_disk(tmp_path):
    code = """
n = nuke.createNode('Blur')
looks = [lambda: open(__file__), lambda: os.listdir('.'), lambda: os.path.exists('/'), lambda: None]
for look in looks:
    nuke.addUpdateUI(look)
driver.idle()
print(json.dumps(['DiskTouched' in problem for problem in driver.problems()]))
"""
    assert run(tmp_path, code)[:3] == [True, True, True]


def test_knobs_keep_curves_expressions_and_links(tmp_path):
    code = f"""
nuke.scriptReadText({LOOK!r})
g = nuke.toNode('Look1')
with g:
    gain = nuke.toNode('Gain')
got = [g['gain'].valueAt(1002), gain['white'].valueAt(1003), g['source'].value(), g['on'].value()]
g['gain'].setValueAt(3.0, 1002, 0)
got.append(g['gain'].getKeyList())
g['amount'].fromScript('{{curve x1 0 x3 1}}')
got.append([g['amount'].valueAt(f) for f in (0, 1, 3)])
g['amount'].setExpression('frame / 10')
nuke.frame(5)
got += [g['amount'].value(), g['amount'].hasExpression(), g['matrix'].value(0)]
heard = []
nuke.addKnobChanged(lambda: heard.append(nuke.thisKnob().name()), nodeClass='Group')
g['on'].setValue(False)
driver.dial(g, 'on', True)
driver.connect(g, 0, nuke.nodes.Constant())
got += [heard, g.maxInputs(), g.input(0).Class()]
again = nuke.nodes.Dot()
text = driver.script()
nuke.scriptClear()
nuke.scriptReadText(text)
got.append(nuke.toNode('Look1')['amount'].value() == 0.5 and nuke.toNode('Look1').input(0).Class() == 'Constant')
print(json.dumps(got))
"""
    got = run(tmp_path, code)
    assert got == [
        [1.375, 0.5, 2.0], [1.25, 0.5, 2.0, 1.0], "network", True, [1001.0, 1002.0, 1003.0], [0.0, 0.0, 1.0], 0.5, True,
        0.9, ["showPanel", "on", "inputChange"], 3, "Constant", True,
    ]  # fmt: skip


def test_a_paste_is_one_step_and_names_stay_apart(tmp_path):
    text = "set cut_paste_input [stack 0]\nversion 14.1 v5\npush $cut_paste_input\n"
    text += "Blur {\n name Soft1\n}\nGrade {\n name G1\n}\n"
    code = f"""
first = nuke.createNode('Constant')
before = len(driver.undo_steps())
open('paste.nk', 'w').write({text!r})
last = nuke.nodePaste('paste.nk')
steps = len(driver.undo_steps()) - before
driver.select(first)
again = nuke.nodePaste('paste.nk')
print(json.dumps([steps, last.name(), last.input(0).name(), last.input(0).input(0).name(), again.name()]))
"""
    assert run(tmp_path, f"os.chdir({str(tmp_path)!r})\n" + code) == [1, "G1", "Soft1", "Constant1", "G2"]


def test_a_write_renders_real_files_with_its_callbacks(tmp_path):
    code = f"""
c = nuke.nodes.Constant(color=[0.5, 2.0, -0.25, 1.0])
w = nuke.nodes.Write(inputs=[c])
w['file'].setValue({str(tmp_path / "out.%04d.exr")!r})
w['file_type'].setValue('exr')
w['datatype'].setValue('32 bit float')
heard = []
nuke.addBeforeRender(lambda: heard.append(nuke.thisNode().name()))
nuke.execute(w, 1, 2)
def stop():
    raise RuntimeError('stale')
nuke.addBeforeRender(stop)
try:
    nuke.execute(w, 3, 3)
except RuntimeError as error:
    heard.append(str(error))
print(json.dumps([heard, sorted(os.listdir({str(tmp_path)!r}))]))
"""
    heard, files = run(tmp_path, code)
    assert heard == ["Write1", "Write1", "stale"]
    assert files == ["out.0001.exr", "out.0002.exr", "trial.py"]


def test_folders_of_the_path_are_run_as_nuke_runs_them(tmp_path):
    plugin = tmp_path / "plugin"
    (plugin / "more").mkdir(parents=True)
    (plugin / "init.py").write_text("import nuke\nnuke.pluginAddPath('./more')\n")
    (plugin / "menu.py").write_text("import nuke\nnuke.menu('Nodes').addMenu('mien').addCommand('Look', 'made = 1')\n")
    (plugin / "more" / "Look.gizmo").write_text(LOOK)
    code = """
names = [item.name() for item in nuke.menu('Nodes').items()]
nuke.menu('Nodes').findItem('mien').findItem('Look').invoke()
print(json.dumps([names, made, nuke.createNode('Look').name()]))
"""
    assert run(tmp_path, code, plugin=plugin) == [["mien"], 1, "Look1"]
    assert run(tmp_path, "print(json.dumps(nuke.pluginPath()[-1]))", "-t", plugin=plugin).endswith("plugin")


def public_names(file):
    """Names that a file of the fake gives to the world, and the methods of its classes."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield (
                node.name,
                {
                    inner.name
                    for inner in node.body
                    if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_")
                },
            )
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, set()


def stub_names():
    """Names that the published stubs of the module know, with the methods of its classes."""
    spec = importlib.util.find_spec("nuke-stubs")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs the package types-nuke")
    found = {}
    for file in Path(spec.submodule_search_locations[0]).glob("*.pyi"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                held = found.setdefault(node.name, set())
                held |= {inner.name for inner in node.body if isinstance(inner, ast.FunctionDef)}
                held |= {base.id for base in node.bases if isinstance(base, ast.Name)}
            elif isinstance(node, ast.FunctionDef):
                found.setdefault(node.name, set())
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.setdefault(node.target.id, set())
    return found


def methods(found, name, seen=()):
    """Methods of a class and of what it is made from."""
    held = found.get(name, set())
    return held.union(
        *(methods(found, base, (*seen, name)) for base in held if base in found and base not in seen), set()
    )


def test_the_fake_has_no_name_that_nuke_has_not():
    known = stub_names()
    strange = []
    for name, held in public_names(HOST / "__init__.py"):
        strange += [] if name in known else [name]
        strange += [f"{name}.{method}" for method in held - methods(known, name)]
    for file in ("_knobs.py", "_nodes.py"):
        for name, held in public_names(HOST / file):
            if name in known:
                strange += [f"{name}.{method}" for method in held - methods(known, name)]
    assert strange == []
