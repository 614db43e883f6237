"""The plug-in in the Pythons of Nuke 14 to 17 and later, where they are found: from Read to a rendered frame."""

import shutil
from pathlib import Path

import pytest
from trial import SCENE, run

from shots import make_shot


def interpreter(version):
    found = [*Path.home().glob(f".pyenv/versions/{version}.*/bin/python"), shutil.which(f"python{version}")]
    return next((str(path) for path in found if path and "shims" not in str(path)), None)


@pytest.fixture(scope="module")
def shot(tmp_path_factory):
    return make_shot(tmp_path_factory.mktemp("pythons"), 2)


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.11", "3.13"])
def test_a_frame_is_rendered(shot, tmp_path, version):
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    body = (
        SCENE
        + f"""
read, convert = scene({str(shot.folder)!r}, 1001, 1002)
edge = after(convert, 'MienMatteEdge', soften=0.05)
nuke.frame(1002)
for name in ('analyse', 'render_frame', 'check'):
    press(convert, name)
print(json.dumps([sys.version.split()[0], convert['status'].value(), driver.problems(), driver.messages()]))
"""
    )
    found, status, problems, messages = run(tmp_path, body, "-t" if version == "3.10" else "--nc", python=python)
    assert found.startswith(version + ".") and problems == [] and messages == []
    assert status == "1 of 2, missing: 1001"
    made = tmp_path / "mien" / "comp" / "MienConvert1_v001" / "layer"
    assert [path.name for path in made.iterdir()] == ["MienConvert1.1002.exr"]
