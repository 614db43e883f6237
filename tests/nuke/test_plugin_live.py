"""Auto update in the fake host with the real engine: what is seen, how long the interface waits, and what is kept."""

import numpy as np
import OpenImageIO as oiio
import pytest
from nk.check import check
from nk.facts import load
from trial import SCENE, run

from shots import make_shot

WORK = """
read, convert = scene(SHOT)
edge = after(convert, 'MienMatteEdge')
press(convert, 'analyse')
press(convert, 'render_range')
from mien_nuke import live
import shutil
shutil.copy(here + '/mien/comp/MienConvert1_v001/layer/MienConvert1.1001.exr', here + '/rendered.exr')
def seen(frame):
    return 2 if convert['live_on'].value() and convert['live_frame'].value() == frame else 1
def settled():
    watch = live.eye.watched[convert.fullName()]
    return watch.request is None and convert['live_on'].value() and convert['live_frame'].value() == nuke.frame() \
        and convert['live_scale'].value() == 1 and not live.eye.waiting
def kept(name):
    shutil.copy(convert['live'].value(), here + '/' + name)
said, held = {}, []
nuke.frame(1001)
driver.show(convert)
driver.dial(convert, 'auto_update', True)
held.append(driver.spin(settled, 60, True))
kept('first.exr')
rendered = convert['live'].value()
for step in range(12):
    driver.dial(edge, 'grow', 0.005 * step)
driver.spin(lambda: convert['live'].value() != rendered and settled(), 60, True)
kept('grown.exr')
asked = live.eye.watched[convert.fullName()].turn
driver.goto(1002)
said['moved'] = seen(1002)
held.append(driver.spin(settled, 60, True))
kept('moved.exr')
said['status'] = convert['status'].value()
driver.dial(convert, 'status', 'x')
said['quiet'] = live.eye.watched[convert.fullName()].request is None
nuke.scriptSaveAs(here + '/live.nk', 1)
driver.press(convert, 'render_range')
write = after(convert, 'Write', file=here + '/out.%04d.exr', channels='rgba')
write['file_type'].setValue('exr')
driver.render(write, 1002, 1002)
said['at render'] = convert['live_on'].value()
driver.dial(convert, 'auto_update', False)
said['end'] = [convert['live_on'].value(), len(live.eye.watched)]
edge['grow'].setValue(0.1)
said['deaf'] = len(live.eye.watched)
print(json.dumps([said, max(held), asked, driver.problems(), driver.messages()]))
"""


@pytest.fixture(scope="module")
def shot(tmp_path_factory):
    return make_shot(tmp_path_factory.mktemp("plates"), 3, "float")


@pytest.fixture(scope="module")
def done(shot, tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    return folder, run(folder, SCENE + WORK.replace("SHOT", repr(str(shot.folder))))


def pixels(path, channels=("R", "G", "B", "A")):
    """Named channels over the display window and around it."""
    buffer = oiio.ImageBuf(str(path))
    spec = buffer.spec()
    whole = np.zeros((spec.full_height + 200, spec.full_width + 200, len(channels)), np.float32)
    order = [spec.channelnames.index(name) for name in channels]
    part = buffer.get_pixels(oiio.FLOAT)[..., order]
    x, y = spec.x - spec.full_x + 100, spec.y - spec.full_y + 100
    whole[y : y + spec.height, x : x + spec.width] = part
    return whole


def test_pictures_follow_knobs_and_playhead(done):
    folder, (said, _, asked, problems, messages) = done
    assert problems == [] and messages == []
    assert asked >= 13
    first, grown, moved = (pixels(folder / name) for name in ("first.exr", "grown.exr", "moved.exr"))
    assert (grown[..., 3] > 0.5).sum() > (first[..., 3] > 0.5).sum() + 50
    center = [np.argwhere(each[..., 3] > 0.5).mean(0) for each in (grown, moved)]
    assert np.abs(center[0] - center[1]).max() > 0.5
    assert said["moved"] == 1, "until its picture is there a frame shows the render"
    assert said["status"].startswith("live: frame 1002, ")


def test_at_rest_the_picture_is_the_render(done):
    folder, _ = done
    live = pixels(folder / "first.exr")
    rendered = pixels(folder / "rendered.exr")
    np.testing.assert_allclose(live, rendered, atol=2e-3, rtol=2e-3)
    assert pixels(folder / "first.exr", ("raw.R", "raw.G")).max() > 0.1


def test_the_interface_never_waits(done):
    assert done[1][1] < 0.25


def test_only_what_changes_the_picture_is_asked_for(done):
    assert done[1][0]["quiet"]


def test_renders_get_what_was_rendered(done):
    said = done[1][0]
    assert said["at render"] is False and said["end"] == [False, 0] and said["deaf"] == 0


def test_a_script_keeps_no_quick_picture(done):
    text = (done[0] / "live.nk").read_text()
    assert check(text, load()) == []
    names = [
        line.split()[0] for line in text.splitlines() if line.strip() and not line.strip().startswith("addUserKnob")
    ]
    assert not {"live", "live_on", "live_frame", "live_scale", "auto_update"} & set(names)


def test_a_mistake_is_said_in_the_status(shot, tmp_path):
    body = (
        SCENE
        + f"""
from mien_nuke import live
read, convert = scene({str(shot.folder)!r})
convert['identity'].setValue('')
driver.dial(convert, 'auto_update', True)
driver.dial(convert, 'identity', '/nowhere.safetensors')
first = convert['status'].value()
driver.spin(lambda: live.eye.watched['MienConvert1'].request is None, 60)
print(json.dumps([first, convert['status'].value(), driver.problems(), driver.messages()]))
"""
    )
    _, second, problems, messages = run(tmp_path, body)
    assert "nowhere" in second and problems == [] and messages == []


def test_ten_nodes_are_enough(shot, tmp_path):
    body = (
        SCENE
        + f"""
from mien_nuke import live
read, convert = scene({str(shot.folder)!r})
edge = after(convert, 'MienMatteEdge')
nuke.frame(1002)
driver.dial(convert, 'auto_update', True)
driver.dial(edge, 'grow', 0.05)
driver.spin(lambda: convert['live_on'].value(), 60)
print(json.dumps([driver.problems(), driver.messages()]))
"""
    )
    assert run(tmp_path, body, "--nc") == [[], []]
