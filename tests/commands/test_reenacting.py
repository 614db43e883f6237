"""A photograph follows a performance: through the command, its recipe and its layers, and what cannot be is told."""

from dataclasses import asdict, replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from skimage import data

from mien import recipe as recipes
from mien.commands import ConvertArguments, PlateArguments, Reenacting, convert_shot, render_recipe
from mien.commands.cropping import CropArguments, crop_video, tubes
from mien.files.delivery import writing_movie
from mien.files.identities import IdentityFile, Likeness, read_identity, write_identity
from mien.files.region import Region
from mien.files.shot import open_shot, read_channels, read_region
from mien.files.tracks import TrackedPlate, read_tracks, write_tracks
from mien.job import open_job
from mien.models.motion import MotionNetwork
from mien.models.motion_fields import movement_scale
from mien.models.reenact import Reenacted
from mien.progress import Note
from mien.recipe import CONVERT, RecipeError
from mien.types import Face, FaceTrack, MienError, Plate
from models.test_motion import SMALL, lively
from shots import FIRST, OVERSCAN, SIZE, face_center, make_shot, points_at

WIDTH = 80.0


def silent(_event) -> None:
    pass


def write_png(path, pixels):
    import cv2

    assert cv2.imwrite(str(path), np.ascontiguousarray(pixels[..., ::-1]))
    return str(path)


@pytest.fixture
def photo(tmp_path):
    return write_png(tmp_path / "collins.png", data.astronaut()[:300, 80:380])


@pytest.fixture
def network(tmp_path):
    path = tmp_path / "motion.safetensors"
    facts = {"shape": asdict(SMALL), "coverage": 1.7}
    write_identity(path, IdentityFile("reenact", Likeness(), facts, lively().state_dict()))
    return path


@pytest.fixture
def shot(tmp_path):
    made = make_shot(tmp_path / "shot", count=4)
    # What comes after the identity is tested elsewhere.
    steps = tuple(step for step in CONVERT if step.node in ("smooth_track", "convert_face", "face_matte"))
    steps = tuple(replace(s, inputs={**s.inputs, "layer": "convert_face"}) if "layer" in s.inputs else s for s in steps)
    path = made.folder / "short.recipe.json"
    path.write_text(recipes.write(replace(recipes.read(made.recipe), steps=steps)))
    return made


def asked(shot, network, photo, folder="out", **changes):
    return ConvertArguments(
        PlateArguments(shot.plate),
        shot.folder / folder,
        identity=network,
        sources=(photo,),
        likeness="Eileen Collins",
        release="public domain",
        **{"track": shot.track, "recipe": shot.folder / "short.recipe.json", "device": "cpu", **changes},
    )


def job_of(outcome):
    return open_job(recipes.read(next(p for p in map(path_of, outcome.written) if p.suffix == ".json")), "cpu")


def path_of(text):
    from pathlib import Path

    return Path(text)


def notes(arguments):
    told = []
    outcome = convert_shot(arguments, told.append)
    return outcome, [event.message for event in told if isinstance(event, Note)]


def test_a_photograph_becomes_layers_and_every_frame_is_its_own(shot, network, photo):
    outcome, told = notes(asked(shot, network, photo, recipe=None))
    assert outcome.done == 4 and not outcome.failed
    assert any("Starting from frame" in message for message in told)
    job = job_of(outcome)
    identity = job.chain.identity_at(FIRST)
    assert isinstance(identity, Reenacted) and job.identity.likeness.name == "Eileen Collins"
    layers = sorted((shot.folder / "out" / "layer").glob("*.exr"))
    before = [path.read_bytes() for path in layers]
    alpha = read_channels(open_shot(layers[0]), FIRST, open_shot(layers[0]).display, ("A",))
    assert len(layers) == 4 and 0.1 < float((alpha > 0.5).mean()) < 0.6
    # Again: nothing to do. One frame alone: the same bytes.
    again = convert_shot(asked(shot, network, photo, recipe=None), silent)
    assert (again.done, again.skipped) == (0, 4)
    layers[2].unlink()
    recipe = next(p for p in map(path_of, outcome.written) if p.suffix == ".json")
    render_recipe(recipe, (FIRST + 2, FIRST + 2), "cpu", False, silent)
    assert [path.read_bytes() for path in layers] == before


def test_the_square_that_drives_reaches_beyond_the_region_of_other_identities(shot, network, photo):
    """What the network sees is cut from the plate, not from the narrow region that is drawn."""
    outcome, _ = notes(asked(shot, network, photo))
    job = job_of(outcome)
    from mien.chain import face_in, region
    from mien.run import plate_at, solved

    job = solved(job, silent)
    face, identity = face_in(job.chain, FIRST), job.chain.identity_at(FIRST)
    small = identity.look(plate_at(job, FIRST), face).picture
    whole = Region(-OVERSCAN, -OVERSCAN, SIZE[0] + 2 * OVERSCAN, SIZE[1] + 2 * OVERSCAN)
    pixels = torch.from_numpy(read_region(job.shot, FIRST, whole)).movedim(-1, 0)
    large = identity.look(Plate(job.colors.to_working(job.space)(pixels), (whole.x, whole.y), FIRST), face).picture
    assert torch.allclose(small, large, atol=1e-4)
    x0, _, x1, _ = region(job.chain, FIRST, face)
    assert x1 - x0 > 1.7 * 1.1 * face.width


def test_a_driving_frame_as_the_source_starts_where_it_is(shot, network, photo):
    """Relative motion from the start frame: there the photograph is drawn as it is posed itself."""
    arguments = asked(shot, network, photo, reenacting=Reenacting(start_frame=FIRST + 1, adapt_scale=False))
    outcome, _ = notes(arguments)
    job = job_of(outcome)
    from mien.chain import face_in
    from mien.run import plate_at, solved

    job = solved(job, silent)
    identity = job.chain.identity_at(FIRST)
    assert read_identity(path_of(job.recipe.identity)).facts["start"] == FIRST + 1
    drawn, motion = identity.draw(identity.look(plate_at(job, FIRST + 1), face_in(job.chain, FIRST + 1)))
    own = identity.animator.move(identity.source, identity.source.keypoints)
    assert torch.allclose(motion.flow, own.flow, atol=2e-3)
    assert torch.allclose(drawn, identity.animator.paint(identity.source, own), atol=5e-3)


@pytest.mark.parametrize(("adapt", "own"), [(None, False), (True, True), (False, False)])
def test_movements_around_faces_are_adapted_only_where_asked(shot, network, photo, adapt, own):
    outcome, _ = notes(asked(shot, network, photo, reenacting=Reenacting(adapt_scale=adapt)))
    identity = job_of(outcome).chain.identity_at(FIRST)
    wanted = movement_scale(identity.source.keypoints, identity.start) if own else 1.0
    assert identity.scale == pytest.approx(min(max(wanted, 0.1), 10), rel=1e-3)
    assert own == (abs(identity.scale - 1) > 1e-3)


@pytest.mark.parametrize("motion", ["relative", "absolute"])
@pytest.mark.parametrize("detail", [1, 2])
def test_motion_and_detail(shot, network, photo, motion, detail):
    how = Reenacting(motion=motion, detail=detail, preview=shot.folder / "how.mp4")
    outcome, _ = notes(asked(shot, network, photo, reenacting=how, write=("layer",)))
    assert outcome.done == 4
    identity = job_of(outcome).chain.identity_at(FIRST)
    assert identity.relative == (motion == "relative")
    assert (identity.large is None) == (detail == 1) and identity.source.picture.shape[-1] == 64
    preview = open_shot(shot.folder / "how.mp4")
    assert preview.size == (5 * 256, 256) and len(preview.frames) == 4
    assert read_region(preview, 2, preview.display).std() > 0.05


def test_whole_frames_drive_a_drawing_without_any_face(tmp_path, network):
    movie = tmp_path / "body.mp4"
    with writing_movie(movie, "h264", size=(96, 64), fps=Fraction(24)) as append:
        for frame in range(4):
            ground = np.full((64, 96, 3), 0.3, np.float32)
            ground[10:40, 10 + 8 * frame : 30 + 8 * frame] = 0.9
            append(ground)
    drawing = write_png(tmp_path / "cat.png", data.chelsea()[:200, 50:350])
    arguments = ConvertArguments(
        PlateArguments(str(movie)),
        tmp_path / "out",
        identity=network,
        sources=(drawing,),
        likeness="a cat",
        release="CC0",
        write=("layer", "movie"),
        reenacting=Reenacting(crop="none"),
        device="cpu",
    )
    outcome, told = notes(arguments)
    assert outcome.done == 4 and not any("another shape" in message for message in told)
    layer = open_shot(next((tmp_path / "out" / "layer").glob("*.exr")))
    pixels = read_channels(layer, layer.first, layer.display, ("R", "G", "B", "A"))
    assert layer.size == (96, 64) and np.array_equal(pixels[..., 3], np.ones((64, 96), np.float32))
    result = open_shot(tmp_path / "out" / "body.mp4")
    assert result.size == (96, 64) and len(result.frames) == 4
    recipe = recipes.read(tmp_path / "out" / "body.recipe.json")
    assert [step.node for step in recipe.steps] == ["convert_face"]
    # Whole frames are adapted by default. Seen through the layer is what the network drew, enlarged.
    job = open_job(recipe, "cpu")
    identity = job.chain.identity_at(1)
    face = Face(read_tracks(path_of(recipe.track)).tracks[0].points[0], torch.ones(468), 1.0, 96.0)
    plate = Plate(torch.rand(3, 64, 96), (0, 0), 1)
    assert identity.scale == pytest.approx(movement_scale(identity.source.keypoints, identity.start), rel=1e-3)
    drawn, _ = identity.draw(identity.look(plate, face))
    light = identity.view.encoding.decode(drawn[0])
    shown = identity(plate, face).image
    wanted = torch.nn.functional.interpolate(light[None], (64, 96), mode="bilinear", align_corners=False)[0]
    assert float((shown - wanted).abs().mean()) < 0.01


def test_a_drawing_of_another_shape_is_told(tmp_path, shot, network):
    tall = write_png(tmp_path / "tall.png", data.chelsea()[:300, 100:180])
    arguments = replace(asked(shot, network, tall), reenacting=Reenacting(crop="none"), track=None, recipe=None)
    assert any("another shape" in message for message in notes(arguments)[1])


def test_a_face_that_leaves_the_frame_leaves_the_plate_as_it_is(shot, network, photo):
    tracks = read_tracks(shot.track)
    (track,) = tracks.tracks
    points = torch.stack([points_at(*face_center(frame), WIDTH) for frame in shot.frames])
    confidence = torch.ones(4)
    points[2:] = torch.nan
    confidence[2:] = 0
    weight = torch.ones(points.shape[:2])
    gone = replace(track, points=points, confidence=confidence, weight=weight)
    # In the second frame half of it is outside.
    gone.points[1] += torch.tensor([-80.0, 0, 0])
    write_tracks(shot.track, (gone,), tracks.plate)
    outcome, _ = notes(asked(shot, network, photo, write=("layer", "full")))
    assert outcome.done == 4 and not outcome.failed
    full = [read_region(open_shot(path), FIRST + row, open_shot(path).display)
            for row, path in enumerate(sorted((shot.folder / "out" / "full").glob("*.exr")))]  # fmt: skip
    plate = open_shot(shot.plate)
    for row in (2, 3):
        assert np.array_equal(full[row], read_region(plate, FIRST + row, plate.display), equal_nan=True)
    assert not np.array_equal(full[0], read_region(plate, FIRST, plate.display), equal_nan=True)


def test_of_several_faces_one_drives_and_that_is_told(shot, network, photo):
    tracks = read_tracks(shot.track)
    (track,) = tracks.tracks
    own = {name: getattr(track, name).clone() for name in ("weight", "confidence", "keyed")}
    other = replace(track, name="B", points=track.points * 0.5, **own)
    write_tracks(shot.track, (track, other), tracks.plate)
    _, told = notes(asked(shot, network, photo))
    assert any("2 faces were found (A, B): A drives" in message for message in told)
    outcome, told = notes(asked(shot, network, photo, face="B"))
    assert not any("drives" in message for message in told)
    assert read_identity(path_of(job_of(outcome).recipe.identity)).facts["face"] == "B"


def test_several_faces_in_the_photograph_are_refused(tmp_path, shot, network):
    one = data.astronaut()[:300, 80:380]
    twins = write_png(tmp_path / "twins.png", np.concatenate([one, one[:, ::-1]], 1))
    with pytest.raises(MienError, match="2 faces in the source"):
        convert_shot(asked(shot, network, twins), silent)


def test_a_photograph_without_a_face_names_the_way_out(tmp_path, shot, network):
    cat = write_png(tmp_path / "cat.png", data.coffee())
    with pytest.raises(MienError, match=r"No face in the source .*--crop none"):
        convert_shot(asked(shot, network, cat), silent)


def test_a_small_photograph_is_told(tmp_path, shot, network):
    import cv2

    small = cv2.resize(data.astronaut()[:300, 80:380], (90, 90), interpolation=cv2.INTER_AREA)
    path = write_png(tmp_path / "small.png", small)
    _, told = notes(asked(shot, network, path))
    assert any("small.png is small" in message and "choose a larger one" in message for message in told)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reenacting": Reenacting(crop="some")}, "face or none"),
        ({"reenacting": Reenacting(motion="some")}, "relative or absolute"),
        ({"reenacting": Reenacting(detail=3)}, "1, 2 or 4"),
        ({"reenacting": Reenacting(start_frame=5)}, "--start-frame 5"),
        ({"sources": ()}, "give it one with --source"),
        ({"sources": ("a.png", "b.png")}, "one photograph follows"),
        ({"identity": None, "reenacting": Reenacting(detail=2)}, "kind reenact"),
        ({"release_until": "soon"}, "YYYY-MM-DD"),
    ],
)
def test_what_cannot_be_is_told(shot, network, photo, changes, words):
    with pytest.raises(RecipeError, match=words):
        convert_shot(replace(asked(shot, network, photo), **changes), silent)


def test_a_take_is_no_photograph(shot, network):
    with pytest.raises(RecipeError, match="is a take of 4 frames"):
        convert_shot(asked(shot, network, shot.plate), silent)


def test_other_identities_take_no_photograph(shot, network, photo):
    with pytest.raises(RecipeError, match="leave out --source"):
        convert_shot(asked(shot, shot.identity, photo), silent)


def test_a_network_by_itself_shows_nobody(shot, network):
    recipe = recipes.read(shot.recipe)
    path = shot.folder / "bare.recipe.json"
    path.write_text(recipes.write(replace(recipe, identity=str(network))))
    with pytest.raises(MienError, match="Give it one: mien convert"):
        render_recipe(path, None, "cpu", False, silent)


def test_a_network_that_changed_or_is_gone_is_told(shot, network, photo):
    outcome, _ = notes(asked(shot, network, photo))
    recipe = next(p for p in map(path_of, outcome.written) if p.suffix == ".json")
    file = read_identity(network)
    write_identity(network, replace(file, tensors=lively(seed=4).state_dict()))
    with pytest.raises(MienError, match="has changed"):
        render_recipe(recipe, None, "cpu", False, silent)
    network.unlink()
    with pytest.raises(MienError, match="Cannot read"):
        render_recipe(recipe, None, "cpu", False, silent)


@pytest.mark.parametrize(
    "facts",
    [
        {}, {"shape": 3}, {"shape": {}}, {"shape": {**asdict(SMALL), "keypoints": 5}},
        {"shape": {**asdict(SMALL), "width": "wide"}}, {"shape": {**asdict(SMALL), "width": 10**9}},
        {"shape": {**asdict(SMALL), "corners": 1}}, {"shape": asdict(SMALL)},
        {"shape": asdict(SMALL), "coverage": float("inf")},
    ],
)  # fmt: skip
def test_networks_whose_header_lies_are_refused(shot, network, photo, facts):
    write_identity(network, IdentityFile("reenact", Likeness(), facts, lively().state_dict()))
    with pytest.raises(MienError, match=r"motion\.safetensors"):
        convert_shot(asked(shot, network, photo), silent)


@pytest.mark.parametrize(
    "change",
    [
        {"source": torch.zeros(3, 60, 60)}, {"source": torch.zeros(3, 64, 128)}, {"start.place": torch.zeros(3, 2)},
        {"start.local": torch.zeros(4, 4)},
    ],
)  # fmt: skip
def test_bound_photographs_that_do_not_fit_are_refused(shot, network, photo, change):
    outcome, _ = notes(asked(shot, network, photo))
    recipe = next(p for p in map(path_of, outcome.written) if p.suffix == ".json")
    bound = path_of(recipes.read(recipe).identity)
    file = read_identity(bound)
    write_identity(bound, replace(file, tensors={**file.tensors, **change}))
    with pytest.raises(MienError, match="wrong shape"):
        render_recipe(recipe, None, "cpu", False, silent)


def a_track(places, width=40.0):
    points = torch.stack([points_at(*place, width) if place else torch.full((468, 3), torch.nan) for place in places])
    seen = torch.tensor([float(place is not None) for place in places])
    return FaceTrack("A", 11, points, torch.ones(points.shape[:2]), seen, torch.zeros(len(places), dtype=torch.bool))


def test_crops_stand_still_while_the_face_moves_in_them():
    (tube,) = tubes(a_track([(100.0 + 2 * k, 80.0) for k in range(8)]), 1.7)
    assert (tube.first, tube.last) == (11, 18)
    x, _, side = tube.square
    assert x == pytest.approx(107, abs=1) and side > 1.7 * 40


def test_a_new_crop_begins_where_the_face_was_lost_or_went_far():
    places = [(100.0, 80.0)] * 3 + [None] * 2 + [(100.0, 80.0)] * 2 + [(300.0, 80.0)] * 3
    found = [(tube.first, tube.last) for tube in tubes(a_track(places), 1.7)]
    assert found == [(11, 13), (16, 17), (18, 20)]
    assert not list(tubes(replace(a_track(places), ignored=True), 1.7))


def test_every_face_of_a_video_becomes_a_movie(tmp_path):
    one = data.astronaut()[:240, 100:360].astype(np.float32) / 255
    video = tmp_path / "two.mp4"
    with writing_movie(video, "h264", size=(520, 240), fps=Fraction(24)) as append:
        for _ in range(6):
            append(np.concatenate([one, one[:, ::-1]], 1))
    arguments = CropArguments(PlateArguments(str(video)), tmp_path / "crops", size=64, least=3)
    outcome = crop_video(arguments, silent)
    movies = [open_shot(path) for path in outcome.written if path.endswith(".mp4")]
    assert len(movies) == 2 and all(one.size == (64, 64) and len(one.frames) == 6 for one in movies)
    pictures = [read_region(one, 3, one.display) for one in movies]
    assert float(np.abs(pictures[0] - pictures[1][:, ::-1]).mean()) < 0.05
    told = []
    assert crop_video(replace(arguments, least=7), told.append).done == 0
    assert any("shorter than 7 frames" in event.message for event in told if isinstance(event, Note))
    with pytest.raises(RecipeError, match="--size"):
        crop_video(replace(arguments, size=3), silent)


def test_facts_of_a_track_over_the_whole_frame(tmp_path):
    from mien.color import load
    from mien.commands.plate import OpenPlate
    from mien.commands.reenacting import whole_track

    shot = make_shot(tmp_path, count=2)
    plate = open_shot(shot.plate)
    path = whole_track(OpenPlate(plate, load(), "ACEScg"), tmp_path / "frame.json")
    (track,) = read_tracks(path).tracks
    assert isinstance(read_tracks(path).plate, TrackedPlate) and len(track.points) == 2
    assert track.points[0, :, :2].amin(0).tolist() == [0, 0] and track.points[0, :, :2].amax(0).tolist() == list(SIZE)


def test_the_network_of_these_tests_is_one():
    assert isinstance(lively(), MotionNetwork)
