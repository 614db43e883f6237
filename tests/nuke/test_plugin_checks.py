"""The check before a render: it warns or ends it for what is stale or missing, with the engine and without."""

import os

import pytest
from trial import SCENE, run

from shots import make_shot

WORK = """
from mien_nuke import checks
read, convert = scene(SHOT)
edge = after(convert, 'MienMatteEdge')
write = after(edge, 'Write', file=here + '/out.%04d.exr', channels='rgb')
write['file_type'].setValue('exr')
def attempt():
    count = len(driver.messages())
    try:
        driver.render(write, 1001, 1001)
        return ['rendered', [text for _, text in driver.messages()[count:]]]
    except RuntimeError as error:
        return ['ended', [str(error)]]
if not os.environ.get('MIEN_CHECK'):
    checks.begin('warn')
said = {'nothing': attempt()}
if not os.environ.get('LONELY'):
    press(convert, 'analyse')
    press(convert, 'render_range')
    said['fresh'] = attempt()
    edge['grow'].setValue(0.05)
    said['changed'] = attempt()
    edge['grow'].clearAnimated()
    edge['grow'].setValue(-0.025)
    os.remove(here + '/mien/comp/MienConvert1_v001/layer/MienConvert1.1002.exr')
    said['missing'] = attempt()
    nuke.scriptSaveAs(here + '/kept.nk', 1)
convert['show'].setValue('plate')
said['plate'] = attempt()
checks.end()
convert['show'].setValue('render')
said['off'] = attempt()
print(json.dumps([said, driver.problems()]))
"""


@pytest.fixture(scope="module")
def shot(tmp_path_factory):
    return make_shot(tmp_path_factory.mktemp("plates"), 3, "float")


@pytest.fixture(scope="module")
def desk(shot, tmp_path_factory):
    folder = tmp_path_factory.mktemp("desk")
    return folder, run(folder, SCENE + WORK.replace("SHOT", repr(str(shot.folder))))


def test_the_desktop_warns_and_goes_on(desk):
    said, problems = desk[1]
    assert problems == [] and all(each[0] == "rendered" for each in said.values())
    assert said["fresh"][1] == said["plate"][1] == said["off"][1] == []
    assert len(said["nothing"][1]) == 1 and "are not rendered" in said["nothing"][1][0]
    assert len(said["changed"][1]) == 1 and "render again" in said["changed"][1][0]
    assert (
        "2 of 3" in said["missing"][1][0]
        and "1002" in said["missing"][1][0]
        and "MienConvert1" in said["missing"][1][0]
    )


def test_a_farm_without_the_engine_ends_the_render(desk):
    folder = desk[0]
    layer = folder / "mien/comp/MienConvert1_v001/layer"
    body = f"""
nuke.scriptOpen({str(folder / "kept.nk")!r})
write, edge = nuke.toNode('Write1'), nuke.toNode('MienMatteEdge1')
def attempt():
    try:
        driver.render(write, 1001, 1001)
        return 'rendered'
    except RuntimeError as error:
        return str(error)
said = [attempt()]
import shutil
shutil.copy({str(layer / "MienConvert1.1001.exr")!r}, {str(layer / "MienConvert1.1002.exr")!r})
said.append(attempt())
plate = nuke.toNode('Read1')['file'].value() % 1003
kept = os.stat(plate)
os.utime(plate, (2e9, 2e9))
said.append(attempt())
os.utime(plate, (kept.st_atime, kept.st_mtime))
edge['soften'].setValue(0.2)
said.append(attempt())
print(json.dumps([said, driver.problems()]))
"""
    lonely = {"MIEN_CHECK": "fail", "MIEN_PYTHON": os.devnull}
    (missing, fine, late, changed), problems = run(folder, body, "-t", **lonely)
    assert problems == [] and fine == "rendered"
    assert "frames 1002 are not rendered" in missing and "MienConvert1" in missing
    assert "1003 are newer" in late
    assert "settings changed" in changed


def test_fail_ends_the_render_with_the_engine_too(shot, tmp_path):
    body = SCENE + WORK.replace("SHOT", repr(str(shot.folder)))
    said, problems = run(tmp_path, body, "-t", MIEN_CHECK="fail", LONELY="1")
    assert problems == [] and said["nothing"][0] == "ended" and "are not rendered" in said["nothing"][1][0]
    assert said["off"] == said["plate"] == ["rendered", []]


def test_a_mode_that_is_none_is_named(tmp_path):
    with pytest.raises(AssertionError, match="set it to warn or fail"):
        run(tmp_path, "print(json.dumps(1))", "-t", MIEN_CHECK="loud")
