"""Trials in the fake host: a script of ours that runs there, with the plug-in on its path and the real engine."""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PLUGIN = ROOT / "nuke_plugin"
IMPORTS = "import json, os, sys, threading, time\nimport nuke, driver\n"


def run(folder, body, *options, plugin=PLUGIN, python=sys.executable, timeout=300, **environment):
    """What a script that runs in the host prints last, as JSON; it gets the folder as ``here``."""
    file = folder / "trial.py"
    file.write_text(f"{IMPORTS}here = {str(folder)!r}\n{body}", "utf-8")
    everything = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        "NUKE_PATH": str(plugin or ""),
        "MIEN_PYTHON": sys.executable,
        "OMP_NUM_THREADS": "1",
        **environment,
    }
    done = subprocess.run(
        [str(python), str(HERE / "host" / "run.py"), *options, str(file)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=everything,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


SCENE = """
from mien_nuke import nodes, talk

def scene(shot, first=1001, last=1003):
    nuke.scriptSaveAs(here + '/comp.nk', 1)
    read = nuke.createNode('Read')
    read['file'].setValue(shot + '/plate/shot.%04d.exr')
    read['first'].setValue(first)
    read['last'].setValue(last)
    read['raw'].setValue(True)
    convert = nuke.createNode('MienConvert')
    convert['identity'].setValue(shot + '/performer.safetensors')
    convert['track'].setValue(shot + '/shot.track.json')
    convert['quality'].setValue('float')
    return read, convert

def press(node, name):
    driver.press(node, name)
    if nuke.GUI:
        longest = driver.spin(lambda: not talk.running(node.name()), 200)
        end = time.monotonic() + 0.4
        return max(longest, driver.spin(lambda: time.monotonic() > end))

def after(node, cls, **knobs):
    driver.select(node)
    made = nuke.createNode(cls)
    for name, value in knobs.items():
        made[name].setValue(value)
    return made
"""
"""Beginning of trials that work on a shot."""
