"""Inputs that are no Reads: rendered once with their data window, again when they change, and what the recipe says."""

import numpy as np
import OpenImageIO as oiio
import pytest
from trial import SCENE, run

from shots import make_shot

WORK = """
from mien_nuke import plates
import glob
read, convert = scene(SHOT)
driver.select(read)
grade = nuke.createNode('Grade')
grade['white'].setValue([2.0, 2.0, 2.0, 1.0])
grade['black_clamp'].setValue(False)
driver.connect(convert, 0, grade)
matte = after(read, 'Expression')
matte['expr3'].setValue('x < 96 ? 1 : 0')
driver.connect(convert, 1, matte)
driver.connect(convert, 0, grade)
press(convert, 'analyse')
press(convert, 'render_range')
recipe = nodes.document(convert)
first = recipe['plate']['path']
roto = [step['settings'].get('file') for step in recipe['steps'] if step['node'] == 'hold_out'][0]
stamps = [os.stat(first % frame).st_mtime_ns for frame in (1001, 1002, 1003)]
said = {'same': plates.changed(convert)}
press(convert, 'check')
said['check'] = convert['status'].value()
os.remove(first % 1002)
press(convert, 'check')
said['kept'] = [os.stat(first % frame).st_mtime_ns == stamp for frame, stamp in zip((1001, 1002, 1003), stamps)]
grade['label'].setValue('mine')
said['label'] = plates.changed(convert)
grade['white'].setValue([3.0, 2.0, 2.0, 1.0])
said['knob'] = plates.changed(convert)
grade['white'].setValue([2.0, 2.0, 2.0, 1.0])
plate = read['file'].value() % 1002
kept = os.stat(plate)
os.utime(plate, (1e9, 1e9))
said['file'] = plates.changed(convert)
os.utime(plate, ns=(kept.st_atime_ns, kept.st_mtime_ns))
said['back'] = plates.changed(convert)
grade['white'].setValue([3.0, 2.0, 2.0, 1.0])
press(convert, 'check')
said['other'] = [nodes.document(convert)['plate']['path'] != first, convert['status'].value()]
said['off'] = convert.node('Cache')['disable'].value()
print(json.dumps([said, recipe, roto, driver.problems(), driver.messages()]))
"""


@pytest.fixture(scope="module")
def shot(tmp_path_factory):
    return make_shot(tmp_path_factory.mktemp("plates"), 3, "float")


@pytest.fixture(scope="module")
def done(shot, tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    return run(folder, SCENE + WORK.replace("SHOT", repr(str(shot.folder))))


def test_what_changes_is_rendered_again_and_nothing_else(done):
    said, _, _, problems, messages = done
    assert problems == [] and messages == []
    assert [said[name] for name in ("same", "label", "knob", "file", "back")] == [False, False, True, True, False]
    assert said["check"] == "up to date" and said["kept"] == [True, False, True]
    assert said["other"][0] and "render again" in said["other"][1] and said["off"]


def test_files_hold_what_flowed_in_with_its_data_window(done, shot):
    _, recipe, roto, _, _ = done
    assert recipe["plate"]["colorspace"] == "scene_linear"
    for frame in shot.frames:
        made, plate = (oiio.ImageBuf(path % frame) for path in (recipe["plate"]["path"], shot.plate))
        assert made.spec().roi == plate.spec().roi and made.spec().roi_full == plate.spec().roi_full
        pixels, wanted = (each.get_pixels(oiio.FLOAT)[..., :3] for each in (made, plate))
        sure = np.isfinite(wanted)
        np.testing.assert_allclose(pixels[sure], 2 * wanted[sure], rtol=1e-5, atol=1e-6)
        held = oiio.ImageBuf(roto % frame)
        alpha = held.get_pixels(oiio.FLOAT)[..., held.spec().channelnames.index("A")]
        inside = np.arange(held.spec().x, held.spec().x + held.spec().width) < 96
        assert (alpha == inside).all()


def test_before_it_is_rendered_the_way_is_told(shot, tmp_path):
    body = (
        SCENE
        + f"""
read, convert = scene({str(shot.folder)!r})
grade = after(read, 'Grade')
driver.connect(convert, 0, grade)
from mien_nuke import live
driver.dial(convert, 'auto_update', True)
print(json.dumps([convert['status'].value(), driver.problems(), driver.messages()]))
"""
    )
    said, problems, messages = run(tmp_path, body)
    assert problems == [] and messages == [] and "Press Analyse" in said
