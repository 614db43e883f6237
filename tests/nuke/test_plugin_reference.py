"""The reference input, the output template, and the face's width on MienComp."""

from pathlib import Path

import pytest
from skimage import data
from trial import SCENE, run

from mien.files.identities import read_identity
from mien.files.tracks import read_tracks
from shots import make_shot
from test_serve import oiio_write

WORK = """
read, convert = scene(SHOT)
photo = nuke.createNode('Read')
photo['file'].setValue(PHOTO)
driver.connect(convert, 0, read)
driver.connect(convert, 2, photo)
convert['identity'].setValue('')
convert['template'].setValue('<script>/takes/<node>.<version>')
convert['version'].setValue(7)
press(convert, 'analyse')
unsaid = driver.messages()
convert['likeness'].setValue('Eileen Collins')
convert['release'].setValue('public domain')
driver.select(read)
comp = nuke.createNode('MienComp')
driver.connect(comp, 1, convert)
press(convert, 'analyse')
made = nodes.identity_file(convert)
stamp = os.stat(str(made)).st_mtime_ns
press(convert, 'analyse')
said = {
    'unsaid': unsaid, 'again': os.stat(str(made)).st_mtime_ns == stamp, 'identity': str(made),
    'folder': str(nodes.version_folder(convert)), 'status': convert['status'].value(),
    'widths': [comp['face_width'].getValueAt(frame) for frame in (1001, 1002, 1003)],
    'recipe': nodes.document(convert)['identity'], 'problems': driver.problems(), 'messages': driver.messages(),
}
full = nodes.document(convert)
read['proxy'].setValue(SHOT + '/proxy/shot.%04d.exr')
nuke.root()['proxy'].setValue('true')
said['proxy'] = [nuke.filename(read), nodes.document(convert) == full]
nuke.root()['proxy'].setValue('false')
refused = []
for template in ('<node>', '../<node><version>', '/x/<node><version>'):
    convert['template'].setValue(template)
    try:
        nodes.version_folder(convert)
    except nodes.ShotError as error:
        refused.append(str(error))
said['refused'] = refused
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    shot = make_shot(folder / "shot", 3, "float")
    photo = folder / "collins.png"
    oiio_write(photo, data.astronaut())
    body = SCENE + WORK.replace("SHOT", repr(str(shot.folder))).replace("PHOTO", repr(str(photo)))
    return shot, run(folder, body)


def test_an_identity_is_made_of_the_reference_once_somebody_says_whose_it_is(done):
    _, said = done
    assert any("likeness" in text for _, text in said["unsaid"]) and len(said["messages"]) == 1
    assert said["problems"] == [] and said["status"] == "solved" and said["again"]
    likeness = read_identity(Path(said["identity"])).likeness
    assert (likeness.name, likeness.release) == ("Eileen Collins", "public domain")
    assert said["recipe"] == said["identity"]


def test_files_go_where_the_template_says_and_nowhere_else(done):
    _, said = done
    assert said["folder"].endswith("mien/comp/comp/takes/MienConvert1.007")
    assert "<node> and <version>" in said["refused"][0]
    assert len(said["refused"]) == 3 and all("leads out" in one for one in said["refused"][1:])


def test_the_width_of_the_face_is_keyed(done):
    shot, said = done
    points = read_tracks(shot.track).tracks[0].points
    spans = (points[..., 0].amax(1) - points[..., 0].amin(1)).tolist()
    assert said["widths"] == pytest.approx(spans, rel=0.1)


def test_proxy_mode_makes_the_same_recipe(done):
    _, said = done
    assert "/proxy/" in said["proxy"][0] and said["proxy"][1]
