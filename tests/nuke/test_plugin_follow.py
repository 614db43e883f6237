"""MienTrack in the fake host with the real engine: tracking, nodes that follow, a face that holds still, hand keys."""

import numpy as np
import pytest
from nk.check import check
from nk.evaluate import Evaluator, loaded
from nk.facts import load
from nk.pixels import RGBA
from nk.script import Script
from nk.values import Values
from trial import SCENE, run

from mien.files.exchange.rigid import affine_moves, reference_frame
from mien.files.tracks import read_tracks
from shots import SIZE, make_shot

FACTS = load()
NOSE = 1
"""Landmark at the tip of the nose."""
WORK = """
from mien_nuke import follow
read, convert = scene(SHOT)
driver.select(read)
track = nuke.createNode('MienTrack')
track['track'].setValue(TRACK)
track['smooth__rigid'].setValue(0.0)
track['smooth__expression'].setValue(0.0)
nuke.scriptSaveAs(here + '/comp.nk', 1)
before = len(driver.undo_steps())
press(track, 'pins')
said = [track['status'].value(), len(driver.undo_steps()) - before]
press(track, 'still')
made = [node.name() for node in nuke.allNodes()]
nuke.scriptSaveAs(here + '/done.nk', 1)
print(json.dumps([said, made, driver.problems(), driver.messages()]))
"""


@pytest.fixture(scope="module")
def shot(tmp_path_factory):
    return make_shot(tmp_path_factory.mktemp("plates"), 3, "float")


@pytest.fixture(scope="module")
def done(shot, tmp_path_factory):
    folder = tmp_path_factory.mktemp("follow")
    body = WORK.replace("SHOT", repr(str(shot.folder))).replace("TRACK", repr(str(shot.track)))
    return folder, run(folder, SCENE + body)


@pytest.fixture(scope="module")
def script(done):
    text = (done[0] / "done.nk").read_text()
    assert check(text, FACTS) == []
    return Script(text)


def node(script, name):
    return next(child for child in script.root.children if child.name.startswith(name))


def test_buttons_make_the_nodes(done):
    (status, steps), made, problems, messages = done[1]
    assert problems == [] and messages == [] and status == "written"
    assert steps <= 3
    for name in ("CornerPin2D", "Transform", "Stabilize", "Restore", "Painted"):
        assert any(each.startswith(name) for each in made), name


def test_a_pin_and_a_transform_move_with_the_face(shot, script):
    track = read_tracks(shot.track).tracks[0]
    moves = dict(affine_moves(track, reference_frame(track)))
    values = Values(FACTS, SIZE)
    pin = node(script, "CornerPin2D")
    for frame in shot.frames:
        for number in range(1, 5):
            start = [values.number(pin, f"from{number}", frame, index) for index in (0, 1)]
            end = [values.number(pin, f"to{number}", frame, index) for index in (0, 1)]
            down = np.array([start[0], SIZE[1] - start[1], 1.0])
            moved = moves[frame].double().numpy() @ down
            assert abs(moved[0] - end[0]) < 0.01 and abs(SIZE[1] - moved[1] - end[1]) < 0.01


def test_paint_on_the_still_face_goes_back_and_nothing_else_changes(shot, script):
    painted, paint = node(script, "Painted"), node(script, "Paint")
    for frame in shot.frames:
        plate = loaded(shot.plate % frame).whole(RGBA[:3])
        out = Evaluator(FACTS, SIZE, {}, script.layers).picture(painted, frame).whole(RGBA[:3])
        assert out.tobytes() == plate.tobytes()
    track = read_tracks(shot.track).tracks[0]
    reference = reference_frame(track)
    moves = dict(affine_moves(track, reference))
    nose = track.points[reference - track.first, NOSE, :2].double().numpy()
    for frame in shot.frames:
        evaluator = Evaluator(FACTS, SIZE, {}, script.layers)
        still = evaluator.picture(node(script, "Stabilize"), frame)
        dabbed = dab(still, nose)
        evaluator = Evaluator(FACTS, SIZE, {paint.name: dabbed}, script.layers)
        out = evaluator.picture(painted, frame)
        changed = np.abs(out.over((0, 0, *SIZE), "rgba.green") - 5.0) < 0.5
        y, x = np.argwhere(changed).mean(0) + 0.5
        wanted = moves[frame].double().numpy() @ np.array([*nose, 1.0])
        assert abs(x - wanted[0]) < 0.6 and abs(y - wanted[1]) < 0.6


def dab(picture, place, radius=5):
    """The picture with a round dab of green in rgba."""
    from nk.pixels import Picture

    box = (0, 0, *SIZE)
    rows, columns = np.mgrid[0 : SIZE[1], 0 : SIZE[0]] + 0.5
    inside = (rows - place[1]) ** 2 + (columns - place[0]) ** 2 < radius**2
    channels = {name: np.array(picture.over(box, name)) for name in RGBA}
    for name, value in zip(RGBA, (0.0, 5.0, 0.0, 1.0)):
        channels[name] = np.where(inside, np.float32(value), channels[name])
    return Picture(SIZE, box, channels)


def test_hand_keys_reach_the_track(shot, tmp_path):
    places = ((85, 85), (108, 85), (96, 75), (88, 62), (105, 62))
    five = dict(zip(("left_eye", "right_eye", "nose", "left_mouth", "right_mouth"), places))
    body = (
        SCENE
        + f"""
from mien_nuke import follow
read, convert = scene({str(shot.folder)!r})
driver.select(read)
track = nuke.createNode('MienTrack')
driver.connect(convert, 0, track)
for name, place in {five!r}.items():
    track[name].setValue([float(number) for number in place])
nuke.frame(1002)
driver.press(track, 'key')
said = [track['status'].value(), follow.keyed(track)]
press(track, 'analyse')
said += [track['faces'].value(), track['face'].values(), str(nodes.own_track(track))]
print(json.dumps([said, driver.problems(), driver.messages()]))
"""
    )
    (status, frames, found, menu, file), problems, messages = run(tmp_path, body)
    assert problems == [] and messages == []
    assert status == "placed by hand: 1002" and frames == [1002]
    held = read_tracks(tmp_path / "mien" / "comp" / "track.json").tracks
    assert file.endswith("mien/comp/track.json") and len(held) == 1
    assert menu == ["auto", held[0].name] and found.startswith(held[0].name)
    row = held[0].points[1002 - held[0].first, :, :2]
    low, high = row.amin(0), row.amax(0)
    assert held[0].keyed[1002 - held[0].first] and low[0] < 85 < 108 < high[0]
    assert low[1] < SIZE[1] - 85 < SIZE[1] - 62 < high[1]


MISTAKES = {
    "no track": ("track['track'].setValue('/nowhere/track.json')", "pins", "Press Track first"),
    "one place": ("track['nose'].setValue([910.0, 590.0]); driver.press(track, 'key')", "analyse", "Drag them apart"),
    "no plate": ("driver.connect(track, 0, None)", "analyse", "connect the plate"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_mistakes_are_told(shot, tmp_path, kind):
    change, button, said = MISTAKES[kind]
    body = (
        SCENE
        + f"""
read, convert = scene({str(shot.folder)!r})
driver.select(read)
track = nuke.createNode('MienTrack')
nuke.frame(1002)
{change}
driver.press(track, {button!r})
print(json.dumps([driver.problems(), driver.messages()]))
"""
    )
    problems, messages = run(tmp_path, body)
    assert problems == [] and len(messages) == 1 and said in messages[0][1]
