"""Learning motion from films: what is bent, what is compared, and a training that goes on where it was."""

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from mien.commands.filming import PRESETS, ReenactArguments, train_reenact
from mien.commands.train import Released
from mien.files.delivery import writing_movie
from mien.files.identities import read_identity
from mien.models.motion_fields import positions
from mien.models.motion_shape import MotionShape
from mien.progress import Note
from mien.recipe import RecipeError
from mien.reenacted import open_network
from mien.train.augment import random_of
from mien.train.bend import GRID, random_bend
from mien.train.clips import Clip, Variety, keep_clips, kept_clips, pairs
from mien.train.control import Control
from mien.train.features import VGG, Pyramid, RandomFeatures, VggFeatures
from mien.train.loop import Pace
from mien.train.reenact import MotionWeights, ReenactSetting
from mien.types import MienError

TINY = MotionShape(
    size=32, keypoints=3, detector_width=8, detector_most=32, detector_blocks=2, detector_shrink=1, motion_width=8,
    motion_most=32, motion_blocks=2, motion_shrink=1, width=8, most=32, steps=1, blocks=1,
)  # fmt: skip
CPU = torch.device("cpu")


def silent(_event) -> None:
    pass


def disc(x, y, size=48):
    """A light disc with a dark spot on a colored ground."""
    grid = np.mgrid[0:size, 0:size].astype(np.float32) + 0.5
    apart = np.hypot(grid[1] - x, grid[0] - y)
    cover = np.clip(9.5 - apart, 0, 1)[..., None] - 0.8 * np.clip(3.5 - apart, 0, 1)[..., None]
    ground = np.stack([grid[1] / size, grid[0] / size, 0 * grid[0] + 0.3], -1) * 0.6
    return ground + cover * (np.array([0.95, 0.8, 0.7], np.float32) - ground)


def film(path, seed, count=16, size=48):
    """A movie of a disc that goes around."""
    path.parent.mkdir(parents=True, exist_ok=True)
    turn = np.random.default_rng(seed).random() * 6
    with writing_movie(path, "h264", size=(size, size), fps=Fraction(24)) as append:
        for frame in range(count):
            angle = turn + 0.4 * frame
            append(disc(size / 2 + 8 * np.cos(angle), size / 2 + 8 * np.sin(angle), size).astype(np.float32))
    return path


@pytest.fixture
def films(tmp_path):
    return [str(film(tmp_path / "films" / f"{seed}.mp4", seed)) for seed in range(3)]


def arguments(films, output, steps=4, **changes):
    weights = changes.pop("weights", MotionWeights())
    setting = ReenactSetting(TINY, batch=4, scales=(1, 2), weights=weights)
    pace = Pace(steps=steps, preview=max(steps, 2), rate=1e-3, warm=2, precision="float32")
    return ReenactArguments(
        tuple(films), output, Released(own=True), setting=setting, crop="none", pace=pace, device="cpu", **changes
    )


def test_a_bend_of_nothing_changes_nothing():
    bend = random_bend(2, random_of(0, 0), CPU, 0.0, 0.0)
    picture = torch.rand(2, 3, 9, 9)
    assert torch.allclose(bend.picture(picture, True), picture, atol=1e-5)
    assert torch.allclose(bend.local(torch.rand(2, 4, 2)), torch.eye(2).expand(2, 4, 2, 2))


def test_bends_are_thin_plates_and_their_derivatives_those_of_autograd():
    bend = random_bend(2, random_of(0, 1), CPU, 0.2, 0.05)
    place = (torch.rand(2, 5, 2) * 1.6 - 0.8).double().requires_grad_()
    bend = type(bend)(bend.affine.double(), bend.pull.double())
    moved = bend.place(place)
    centers = positions(GRID, GRID, CPU).flatten(0, 1).double()
    for row in range(2):
        for k in range(5):
            far = (place[row, k] - centers).norm(dim=-1)
            wanted = bend.affine[row, :, :2] @ place[row, k] + bend.affine[row, :, 2]
            wanted = wanted + ((far**2 * torch.log(far))[:, None] * bend.pull[row]).sum(0)
            assert torch.allclose(moved[row, k], wanted, atol=1e-6)
    for axis in range(2):
        slope = torch.autograd.grad(moved[..., axis].sum(), place, retain_graph=True)[0]
        assert torch.allclose(bend.local(place)[:, :, axis], slope, atol=1e-5)


def test_a_point_of_a_bent_picture_comes_from_where_the_bend_says():
    bend = random_bend(1, random_of(0, 3), CPU, 0.1, 0.01)
    grid = positions(65, 65, CPU)
    shown = bend.picture(grid.movedim(-1, 0)[None], True)
    place = grid[10:55:9, 12:55:7].reshape(1, -1, 2)
    there = functional.grid_sample(shown, place[:, None], align_corners=True)[0, :, 0].T
    inside = (bend.place(place)[0].abs() < 1).all(-1)
    assert inside.sum() > 20 and torch.allclose(there[inside], bend.place(place)[0][inside], atol=1e-4)


def test_equal_pictures_are_equal_in_features_and_others_are_not():
    pyramid = Pyramid(RandomFeatures(0), (1, 2))
    one, other = torch.rand(2, 2, 3, 32, 32)
    assert float(pyramid(one, one)) == 0 < float(pyramid(one, other))
    assert float(pyramid(one, other)) == float(Pyramid(RandomFeatures(0), (1, 2))(one, other))
    assert float(pyramid(one, other)) != float(Pyramid(RandomFeatures(1), (1, 2))(one, other))
    # A blur costs more than its pixels differ: edges are seen.
    blurred = functional.avg_pool2d(one, 3, 1, 1)
    assert float(pyramid(one, blurred)) > 2 * float((one - blurred).abs().mean())


def vgg_state():
    random, inputs, state = torch.Generator().manual_seed(0), 3, {}
    widths = [64, 64, 128, 128, *[256] * 4, *[512] * 5]
    for number, width in zip((n for part in VGG for n in part), widths):
        state[f"features.{number}.weight"] = torch.randn(width, inputs, 3, 3, generator=random) * 0.03
        state[f"features.{number}.bias"] = torch.zeros(width)
        inputs = width
    return state


def test_vgg_is_the_network_that_torchvision_numbers():
    """Layer by layer as published: convolution, ReLU, and a pool before 5, 10, 19 and 28."""
    state = vgg_state()
    picture = torch.rand(1, 3, 32, 32)
    value, told, layer = (picture - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)), [], 0
    value = value / torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    for stage, convolutions in enumerate((2, 2, 4, 4, 1)):
        for number in range(convolutions):
            weight, bias = (state[f"features.{layer}.{name}"] for name in ("weight", "bias"))
            value = functional.conv2d(value, weight, bias, padding=1)
            value, layer = functional.relu(value), layer + 2
            told += [value] if number == 0 else []
        if stage < 4:
            value, layer = functional.max_pool2d(value, 2), layer + 1
    found = VggFeatures(state)(picture)
    assert len(found) == 5 and all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, told))


def test_weights_that_are_no_vgg_are_refused(tmp_path, films):
    with pytest.raises(ValueError, match=r"features\.5"):
        VggFeatures({name: value for name, value in vgg_state().items() if not name.startswith("features.5")})
    torch.save({"a": torch.zeros(1)}, tmp_path / "vgg.pth")
    with pytest.raises(MienError, match="no weights of VGG-19"):
        train_reenact(arguments(films, tmp_path / "a.safetensors", vgg=tmp_path / "vgg.pth"), silent)


def test_pairs_are_of_one_clip_alike_in_tone_and_the_same_again():
    clips = [Clip(str(level), torch.full((5, 16, 16, 3), level, dtype=torch.uint8)) for level in (40, 200)]
    source, driving = pairs(clips, 16, Variety(), random_of(1, 2), CPU)
    assert source.shape == driving.shape == (16, 3, 16, 16)
    assert torch.allclose(source.mean((1, 2, 3)), driving.mean((1, 2, 3)), atol=1e-5)
    assert source.mean((1, 2, 3)).max() > 0.6 and source.mean((1, 2, 3)).min() < 0.3
    again = pairs(clips, 16, Variety(), random_of(1, 2), CPU)
    assert torch.equal(again[0], source)
    assert not torch.equal(pairs(clips, 16, Variety(), random_of(1, 3), CPU)[0], source)


def test_pairs_that_are_not_varied_are_frames():
    frames = torch.randint(0, 255, (4, 16, 16, 3), dtype=torch.uint8)
    source, driving = pairs([Clip("a", frames)], 8, Variety(0, 0, 0, 0, 0, 0), random_of(0, 0), CPU)
    known = [(one.movedim(-1, 0).float() / 255) for one in frames]
    for shown in (*source, *driving):
        assert any(torch.allclose(shown, one, atol=1e-5) for one in known)


def test_clips_come_back_and_damage_is_told(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (9, 8, 8, 3), np.uint8)
    keep_clips([("a", frames), ("b", frames[:3])], tmp_path)
    first, second = kept_clips(tmp_path)
    assert np.array_equal(first.frames.numpy(), frames) and second.name == "b" and len(second.frames) == 3
    (tmp_path / "00001.rgb").write_bytes(b"short")
    with pytest.raises(MienError, match="not whole"):
        kept_clips(tmp_path)


def test_motion_is_learned_and_the_identity_opens(tmp_path, films):
    output = tmp_path / "disc.safetensors"
    notes = []
    outcome = train_reenact(replace(arguments(films[:2], output, 40), held=(films[2],)), notes.append)
    assert outcome.done == 40 and (tmp_path / "disc.training" / "previews" / "00000040.png").is_file()
    file = read_identity(output)
    assert file.kind == "reenact" and file.facts["coverage"] == 0 and file.likeness.release == "self"
    animator, shape = open_network(file, output, CPU)
    assert shape == TINY and file.facts["training"]["features"] == "random"
    source = torch.from_numpy(cv2.resize(disc(30, 24), (32, 32), interpolation=cv2.INTER_AREA)).movedim(-1, 0)[None]
    ready = animator.source(source.float())
    drawn = animator.paint(ready, animator.move(ready, ready.keypoints))
    assert float((drawn - source).abs().mean()) < 0.15


@pytest.mark.parametrize("critic", [0.0, 1.0])
def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path, films, critic):
    weights = MotionWeights(critic=critic)
    for name, parts in (("whole", (6,)), ("halves", (3, 6))):
        for steps in parts:
            asked = arguments(films, tmp_path / f"{name}.safetensors", steps, weights=weights)
            train_reenact(replace(asked, pace=replace(asked.pace, preview=100, settle=1e-9)), silent)
    whole, halves = (read_identity(tmp_path / f"{name}.safetensors") for name in ("whole", "halves"))
    assert all(torch.equal(value, halves.tensors[name]) for name, value in whole.tensors.items())


def test_stopping_saves(tmp_path, films):
    control = Control()
    control.stop()
    outcome = train_reenact(arguments(films, tmp_path / "a.safetensors", 100), silent, control)
    assert outcome.done == 0 and (tmp_path / "a.safetensors").is_file()


def test_a_folder_of_films_and_folders_of_frames_are_films(tmp_path, films):
    for frame in range(10):
        path = tmp_path / "films" / "stills" / f"a.{frame:04d}.png"
        path.parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(path), (disc(20 + frame, 24)[..., ::-1] * 255).astype(np.uint8))
    (tmp_path / "films" / "broken.mp4").write_bytes(b"no movie")
    notes = []
    train_reenact(arguments([str(tmp_path / "films")], tmp_path / "a.safetensors", 1), notes.append)
    told = [event.message for event in notes if isinstance(event, Note)]
    assert any("broken.mp4" in message for message in told)
    assert any("Learning from 3 clips, " in message for message in told)


def test_one_film_keeps_its_end_for_measuring(tmp_path, films):
    notes = []
    train_reenact(arguments(films[:1], tmp_path / "a.safetensors", 1), notes.append)
    assert any("its end is held out" in event.message for event in notes if isinstance(event, Note))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"released": Released()}, RecipeError, "--likeness"),
        ({"crop": "some"}, RecipeError, "face or none"),
        ({"films": ("missing.mp4",)}, MienError, "There is no missing"),
        ({"output": "a.pth"}, RecipeError, "safetensors"),
    ],
)
def test_what_cannot_be_learned_from_is_told(tmp_path, films, change, error, words):
    asked = arguments(films, tmp_path / "a.safetensors")
    change = {**change, **({"output": tmp_path / change["output"]} if "output" in change else {})}
    with pytest.raises(error, match=words):
        train_reenact(replace(asked, **change), silent)


def test_films_that_show_nobody_are_told(tmp_path, films):
    with pytest.raises(MienError, match="no clip to learn from"):
        train_reenact(replace(arguments(films[:1], tmp_path / "a.safetensors"), crop="face"), silent)


def test_a_film_of_a_moment_is_left_out(tmp_path):
    short = str(film(tmp_path / "short.mp4", 0, count=3))
    with pytest.raises(MienError, match="no film that can be read"):
        train_reenact(arguments([short], tmp_path / "a.safetensors"), silent)


def test_presets_can_be():
    for shape in PRESETS.values():
        assert shape.check() is shape
