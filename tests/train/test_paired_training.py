"""Training from pairs: reading them, cutting patches, and what becomes of it on a plate."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from facesets.sets import COLORS, a_face, plate, turned
from mien import mesh
from mien.commands.pairing import PairedArguments, train_paired
from mien.commands.train import Released
from mien.files.identities import read_identity, write_identity
from mien.models.aligned import outlines
from mien.models.crop_identity import FrameIdentity
from mien.models.unet import PairedNetwork, PairedShape
from mien.ops.shaper import from_log, to_log
from mien.performer import open_identity
from mien.progress import Note
from mien.recipe import RecipeError
from mien.train.augment import random_of
from mien.train.control import Control
from mien.train.loop import Pace
from mien.train.paired import PairedSetting, PairedWeights
from mien.train.pairs import Views, keep_pairs, kept_pairs, patch
from mien.train.state import read_state
from mien.types import MienError, Plate
from shots import write_exr

TINY = PairedShape(3, 3, 8, 2)
CPU = torch.device("cpu")


def texture(seed, size=(48, 64)):
    noise = np.random.default_rng(seed).random((6, 8, 3)).astype(np.float32)
    return cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC).clip(0, 1)


def darker(picture):
    return picture * np.array([0.5, 0.6, 0.9], np.float32)


def write_png(path: Path, picture) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), (picture[..., ::-1] * 255 + 0.5).astype(np.uint8))


@pytest.fixture
def look(tmp_path):
    """Twelve frames and what a grade makes of them."""
    for frame in range(1, 13):
        write_png(tmp_path / "before" / f"f.{frame:04d}.png", texture(frame))
        write_png(tmp_path / "after" / f"f.{frame:04d}.png", darker(texture(frame)))
    return str(tmp_path / "before"), str(tmp_path / "after")


def arguments(before, after, output, steps=4, **changes) -> PairedArguments:
    setting = PairedSetting(TINY, 32, batch=2, encoding=changes.pop("encoding", "auto"), **changes.pop("setting", {}))
    pace = Pace(steps=steps, preview=steps, rate=2e-3, warm=2, precision="float32")
    return PairedArguments(
        before, after, output, Released(own=True), setting=setting, pace=pace, device="cpu", **changes
    )


def silent(_event) -> None:
    pass


def test_a_look_is_learned_and_put_on_a_plate(look, tmp_path):
    output = tmp_path / "look.safetensors"
    train_paired(arguments(*look, output, 120), silent)
    file = read_identity(output)
    assert file.kind == "paired" and file.facts["encoding"] == "display" and file.facts["training"]["held_out"] > 24
    identity = open_identity(file, output, COLORS, CPU)(1)
    light = COLORS.to_working("sRGB - Texture")(torch.from_numpy(texture(99, (70, 90))).movedim(-1, 0).contiguous())
    layer = identity(Plate(light, (13, -7)), a_face(turned(at=(40.0, 30.0), scale=15)))
    assert layer.image.shape == light.shape and float(layer.matte.min()) == 1
    wanted = COLORS.to_working("sRGB - Texture")(
        torch.from_numpy(darker(texture(99, (70, 90)))).movedim(-1, 0).contiguous()
    )
    unchanged = (light - wanted).square().mean()
    assert (layer.image - wanted).square().mean() < 0.2 * unchanged


def test_an_interrupted_training_ends_the_same(look, tmp_path):
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    train_paired(arguments(*look, one, 6), silent)
    control = Control()
    train_paired(
        arguments(*look, two, 6), lambda event: control.stop() if getattr(event, "done", 0) == 3 else None, control
    )
    train_paired(arguments(*look, two, 6), silent)
    assert one.read_bytes() == two.read_bytes()


def test_results_are_compared_in_features_that_the_artist_brings(look, tmp_path):
    random = torch.Generator().manual_seed(3)
    wide = [64, 64, 128, 128, 256, 256, 256, 256, 512, 512, 512, 512, 512]
    state, inputs = {}, 3
    for number, width in zip((0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28), wide):
        state[f"features.{number}.weight"] = torch.randn(width, inputs, 3, 3, generator=random) / (3 * inputs**0.5)
        state[f"features.{number}.bias"] = torch.zeros(width)
        inputs = width
    vgg = tmp_path / "vgg19.pth"
    torch.save(state, vgg)
    output = tmp_path / "seen.safetensors"
    train_paired(arguments(*look, output, 2, vgg=vgg), silent)
    assert 0 < read_identity(output).facts["training"]["weights"]["perceptual"] < 1
    state = read_state(tmp_path / "seen.training", silent)
    assert float(state.part("sums")["perceptual"]) > 0
    torch.save({"features.0.weight": torch.zeros(4)}, vgg)
    with pytest.raises(MienError, match="holds no weights of VGG-19"):
        train_paired(arguments(*look, tmp_path / "other.safetensors", 2, vgg=vgg), silent)


def test_linear_pairs_keep_their_highlights(tmp_path):
    for frame in range(1, 6):
        bright = texture(frame) * 0.3
        bright[10:20, 10:20] = 20.0 + frame
        write_exr(tmp_path / "a" / f"f.{frame:04d}.exr", bright)
        write_exr(tmp_path / "b" / f"f.{frame:04d}.exr", bright * 0.5)
    output = tmp_path / "h.safetensors"
    train_paired(arguments(str(tmp_path / "a"), str(tmp_path / "b"), output, 60), silent)
    file = read_identity(output)
    assert file.facts["encoding"] == "log"
    light = torch.full((3, 40, 40), 0.2)
    light[:, 10:20, 10:20] = 25.0
    light[:, 0, 0] = -0.1
    layer = open_identity(file, output, COLORS, CPU)(1)(Plate(light, (0, 0)), a_face(turned(at=(20.0, 20.0), scale=8)))
    assert float(layer.image.max()) > 5 and torch.isfinite(layer.image).all()


def test_a_matte_is_learned_by_the_same_command(tmp_path):
    for frame in range(1, 9):
        picture = texture(frame) * 0.5
        matte = np.zeros((48, 64, 3), np.float32)
        x = 4 * frame
        picture[12:36, x : x + 20] = (0.9, 0.2, 0.2)
        matte[12:36, x : x + 20] = 1
        write_png(tmp_path / "a" / f"f.{frame:04d}.png", picture)
        write_png(tmp_path / "m" / f"f.{frame:04d}.png", matte)
    output = tmp_path / "m.safetensors"
    setting = {"weights": PairedWeights(critic=0.0)}
    asked = arguments(str(tmp_path / "a"), str(tmp_path / "m"), output, 150, setting=setting)
    train_paired(replace(asked, setting=replace(asked.setting, shape=PairedShape(3, 1, 8, 2))), silent)
    picture = texture(77) * 0.5
    picture[12:36, 30:50] = (0.9, 0.2, 0.2)
    light = COLORS.to_working("sRGB - Texture")(torch.from_numpy(picture).movedim(-1, 0).contiguous())
    identity = open_identity(read_identity(output), output, COLORS, CPU)(1)
    layer = identity(Plate(light, (0, 0)), a_face(turned(at=(30.0, 20.0), scale=10)))
    assert float(layer.matte[0, 16:32, 34:46].mean()) > 0.8 > 0.2 > float(layer.matte[0, :, :20].mean())
    assert torch.allclose(layer.image, light, atol=2e-3), "the picture stays as it is"


def test_side_by_side_pictures_and_bad_ones(tmp_path):
    for number in range(5):
        whole = np.concatenate([texture(number), darker(texture(number))], 1)
        write_png(tmp_path / "pairs" / f"{number}.png", whole)
    write_png(tmp_path / "pairs" / "odd.png", texture(3, (48, 63)))
    (tmp_path / "pairs" / "torn.png").write_bytes(b"\x89PNG....")
    told = []
    asked = replace(arguments(str(tmp_path / "pairs"), None, tmp_path / "s.safetensors"), side_by_side=True)
    train_paired(asked, told.append)
    words = " ".join(event.message for event in told if isinstance(event, Note))
    assert "odd.png is 63 pixels wide" in words and "torn.png" in words


def test_pairs_that_do_not_fit_are_named(tmp_path, look):
    write_png(Path(look[1]) / "f.0003.png", texture(3, (40, 40)))
    write_png(Path(look[1]) / "f.0040.png", texture(3))
    told = []
    train_paired(arguments(*look, tmp_path / "x.safetensors", 1), told.append)
    words = " ".join(event.message for event in told if isinstance(event, Note))
    assert "pair 3" in words and "1 frames have no other half" in words


def test_one_pair_is_enough_and_is_said_to_be_few(tmp_path):
    write_png(tmp_path / "one.png", texture(1))
    write_png(tmp_path / "other.png", darker(texture(1)))
    told = []
    train_paired(
        arguments(str(tmp_path / "one.png"), str(tmp_path / "other.png"), tmp_path / "o.safetensors"), told.append
    )
    assert any("Only 1 pairs" in event.message for event in told if isinstance(event, Note))


def test_nothing_in_common_is_refused(tmp_path, look):
    write_png(tmp_path / "far" / "f.0900.png", texture(1))
    write_png(tmp_path / "far" / "f.0901.png", texture(1))
    with pytest.raises(MienError, match="no frame in common"):
        train_paired(arguments(look[0], str(tmp_path / "far"), tmp_path / "o.safetensors"), silent)
    with pytest.raises(RecipeError, match="side-by-side"):
        train_paired(arguments(look[0], None, tmp_path / "o.safetensors"), silent)


def kept(folder, before, after):
    folder.mkdir()
    keep_pairs([("one", torch.cat([before, after]))], folder)
    return kept_pairs(folder, len(before), CPU)[0]


def test_patches_are_cut_where_something_was_done(tmp_path):
    before = torch.zeros(3, 512, 512)
    after = before.clone()
    after[:, 300:330, 100:130] = 1
    pair = kept(tmp_path / "p", before, after)
    views = Views(turn=0, zoom=0, flip=0)
    hits = [float(patch(pair, 64, views, random_of(0, step), CPU)[:, 3:].max()) > 0 for step in range(60)]
    assert 0.4 < sum(hits) / 60 < 0.9


def test_patches_of_both_halves_lie_on_each_other(tmp_path):
    picture = torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(0))
    pair = kept(tmp_path / "p", picture, picture)
    for step in range(5):
        cut = patch(pair, 48, Views(turn=20, zoom=0.3, flip=0.5), random_of(1, step), CPU)
        assert cut.shape == (1, 6, 48, 48) and torch.equal(cut[:, :3], cut[:, 3:])


def test_a_whole_picture_is_shown_as_it_is(tmp_path):
    picture = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)).half().float()
    cut = patch(kept(tmp_path / "p", picture, picture), 64, Views(0, 0, 0), random_of(0, 0), CPU)
    assert torch.allclose(cut[0, :3], picture, atol=1e-4)


@pytest.mark.parametrize("outputs", [1, 2, 3, 4])
def test_networks_begin_with_the_picture_as_it_is(outputs):
    torch.manual_seed(0)
    network = PairedNetwork(PairedShape(3, outputs, 8, 3)).eval()
    picture = torch.rand(2, 3, 32, 48)
    with torch.inference_mode():
        drawn = network(picture)
        assert drawn.shape == (2, outputs, 32, 48)
        if outputs >= 3:
            assert float((drawn[:, :3] - picture).abs().max()) < 0.05
        else:
            assert float((drawn - 0.5).abs().max()) < 0.05
        assert torch.allclose(torch.cat([network(one[None]) for one in picture]), drawn, atol=1e-5)


def test_tiles_of_a_large_frame_come_out_as_the_whole():
    torch.manual_seed(0)
    network = PairedNetwork(PairedShape(3, 3, 8, 2)).eval()
    torch.nn.init.normal_(network.last.weight, 0, 0.2)

    def draw(seen):
        with torch.inference_mode():
            return network(seen), torch.ones_like(seen[:, :1])

    class Plain:
        def encode(self, image, white=1.0):
            return image

        def decode(self, encoded, white=1.0):
            return encoded

    image = plate(light=1.0)[:, :200, :240]
    face = a_face(turned())
    tiles, whole = (FrameIdentity(draw, tile, 4, Plain(), "x")(Plate(image, (3, 5)), face) for tile in (128, 512))
    apart = (tiles.image - whole.image).abs()
    assert float(apart.max()) < 0.1 * float(whole.image.std()), "though the network is as wild as can be"
    assert float(apart.mean()) < 0.003
    moved = FrameIdentity(draw, 512, 4, Plain(), "x")(Plate(image[:, 8:, 12:], (15, 13)), face)
    assert torch.allclose(moved.image[:, 30:, 30:], whole.image[:, 38:, 42:], atol=1e-5), "the plate's lattice holds"


def test_outlines_are_drawn_where_the_face_is():
    points = turned(10, 0, 0, 20, (32.0, 24.0))
    drawn = outlines(points, 64)
    assert drawn.shape == (4, 64, 64) and float(drawn.min()) >= 0 and float(drawn.max()) == 1
    x, y = points[mesh.OVAL[3], :2].long().tolist()
    assert float(drawn[2, y, x]) > 0.5 and float(drawn[2, 0, 0]) == 0
    lips = points[mesh.LIPS_OUTER, :2].mean(0).long()
    assert float(drawn[3, lips[1], lips[0]]) == 1 and float(drawn[1].sum()) > 10


def test_a_face_is_learned_from_its_outlines(shared, tmp_path):
    movie = shared / "media" / "derived" / "h264_aac.mp4"
    if not movie.is_file():
        pytest.skip("needs derived/h264_aac.mp4")
    output = tmp_path / "drawn.safetensors"
    train_paired(arguments(str(movie), None, output, 40, setting={"view": "outlines"}), silent)
    file = read_identity(output)
    assert file.facts["view"] == "outlines" and file.facts["shape"]["inputs"] == 4
    identity = open_identity(file, output, COLORS, CPU)(1)
    one, other = (identity(Plate(plate(seed), (0, 0)), a_face(turned())) for seed in (0, 1))
    inside = (one.matte > 0.99).expand_as(one.image)
    assert inside.any() and torch.allclose(one.image[inside], other.image[inside]), "the plate has no say"


def test_an_identity_that_lies_about_itself_is_refused(look, tmp_path):
    output = tmp_path / "l.safetensors"
    train_paired(arguments(*look, output, 1), silent)
    file = read_identity(output)
    for lie in ({"view": "moon"}, {"size": 33}, {"size": 1 << 30}, {"encoding": None}, {"shape": {"width": 8}}):
        write_identity(output, replace(file, facts={**file.facts, **lie}))
        with pytest.raises(MienError, match="Train it again"):
            open_identity(read_identity(output), output, COLORS, CPU)


def test_log_light_and_back_is_what_an_untrained_network_gives(tmp_path):
    light = torch.tensor([0.0, 0.18, 40.0]).view(3, 1, 1).expand(3, 8, 8)
    assert torch.allclose(from_log(to_log(light)), light, rtol=1e-4, atol=1e-6)
