"""Training swap identities: the loop, its state, what it survives, and what it writes."""

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

import av
import pytest
import torch
from safetensors.torch import load_file

from facesets.sets import COLORS, a_face, person, plate, turned
from mien.commands.train import Released, SwapArguments, swap_shape, train_swap
from mien.files.faceset import read_faceset
from mien.files.identities import read_identity, write_identity
from mien.models.swap import CLASSIC, SwapNetwork, SwapShape
from mien.performer import open_identity
from mien.progress import Advance, Learned, Note, Preview
from mien.recipe import RecipeError
from mien.train import losses
from mien.train.augment import Augment, moved, plain_cut, random_of, recolored, toned
from mien.train.budget import swap_bytes
from mien.train.control import Control
from mien.train.events import checksum
from mien.train.loop import Pace
from mien.train.record import Record, improving, page
from mien.train.state import read_state, states
from mien.train.stock import evenly, held_out, stock
from mien.train.swap import SwapWeights
from mien.types import MienError, Plate

TINY = SwapShape("df", 32, 4, 4, 2, 8)
RELEASED = Released("The Performer", "contract 12", "2999-01-01")


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    person(folder / "a", 24, (0.5, 0.3, 0.2), 1)
    person(folder / "b", 22, (0.2, 0.3, 0.5), 2)
    return folder / "a", folder / "b"


def arguments(sets, output: Path, steps=6, shape=TINY, **changes) -> SwapArguments:
    pace = Pace(steps=steps, preview=4, precision="float32", rate=1e-3, warm=2, **changes.pop("pace", {}))
    return SwapArguments(*sets, output, RELEASED, shape, batch=2, pace=pace, device="cpu", **changes)


def silent(_event) -> None:
    pass


def test_a_training_writes_all_that_it_promises(sets, tmp_path):
    output, told = tmp_path / "who.safetensors", []
    outcome = train_swap(arguments(sets, output, 8), told.append)
    assert outcome.done == 8
    file = read_identity(output)
    assert file.kind == "swap" and file.likeness.name == "The Performer" and file.likeness.release == "contract 12"
    assert file.facts["sets"]["b"] and file.facts["training"]["steps"] == 8
    assert not [name for name in file.tensors if ".a." in name], "only what draws b is given away"
    previews = [event for event in told if isinstance(event, Preview)]
    assert [event.step for event in previews] == [4, 8] and all(Path(event.path).is_file() for event in previews)
    learned = [event for event in told if isinstance(event, Learned)]
    assert learned[-1].held_out > 5 and learned[-1].rate > 0
    curves = (tmp_path / "who.training" / "curves.html").read_text()
    assert "<polyline" in curves and "src=" not in curves
    assert json.loads((tmp_path / "who.training" / "settings.json").read_text())["shape"]["size"] == 32


def test_an_interrupted_training_ends_with_the_very_same_weights(sets, tmp_path):
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    train_swap(arguments(sets, one, 9), silent)
    control = Control()

    def stop_at(step):
        return lambda event: control.stop() if getattr(event, "done", 0) == step else None

    train_swap(arguments(sets, two, 9), stop_at(4), control)
    assert states(tmp_path / "two.training")[0][0] == 4
    train_swap(arguments(sets, two, 9), silent)
    assert one.read_bytes() == two.read_bytes()
    last = [states(tmp_path / f"{name}.training")[0][1] for name in ("one", "two")]
    tensors = [load_file(path) for path in last]
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])


def test_a_critic_too_is_taken_up_bit_for_bit(sets, tmp_path):
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    sharp = {"weights": replace(SwapArguments(*sets, one, RELEASED).weights, sharpen=0.1, true_face=0.1)}
    train_swap(arguments(sets, one, 6, **sharp), silent)
    train_swap(arguments(sets, two, 6, **sharp), silent, stopped_after(two, 3, sets, sharp))
    train_swap(arguments(sets, two, 6, **sharp), silent)
    assert one.read_bytes() == two.read_bytes()


def test_true_face_makes_codes_alike_and_may_come_and_go(sets, tmp_path):
    def told(true_face):
        """How far apart the codes of both people are, over their spread, after a short training."""
        output = tmp_path / f"{true_face}.safetensors"
        weights = SwapWeights(true_face=true_face)
        train_swap(arguments(sets, output, 150, weights=weights, pace={"settle": 0.0}), silent)
        network = SwapNetwork(TINY).eval()
        kept = read_state(tmp_path / f"{true_face}.training", silent)
        network.load_state_dict(dict(kept.part("network")))
        with torch.inference_mode():
            crops = [cuts(one, tmp_path / one.name) for one in sets]
            one, two = (network.numbers(network.encode(crop)) for crop in crops)
        return float((one.mean(0) - two.mean(0)).norm() / torch.cat([one - one.mean(0), two - two.mean(0)]).std())

    assert told(0.3) < 0.6 * told(0.0)
    # The same training goes on without, and with the other critic.
    output = tmp_path / "0.3.safetensors"
    for step, weights in ((152, SwapWeights()), (154, SwapWeights(sharpen=0.1)), (156, SwapWeights(true_face=0.1))):
        train_swap(arguments(sets, output, step, weights=weights), silent)
    assert read_identity(output).facts["training"]["steps"] == 156
    with pytest.raises(RecipeError, match="liae"):
        liae = replace(TINY, preset="liae")
        train_swap(arguments(sets, tmp_path / "l.safetensors", shape=liae, weights=SwapWeights(true_face=1)), silent)


def cuts(folder: Path, path: Path):
    """(N, 3, size, size) plain cuts of a set."""
    person = stock(read_faceset(folder), TINY.size, 1.15, path, COLORS, torch.device("cpu"), silent)
    rows = person.rows(torch.arange(len(person.pictures)), torch.device("cpu"))
    return plain_cut(rows, TINY.size, person.margin)[:, :3]


def stopped_after(output, step, sets, changes):
    """A control with which a training ends at once: the steps before were done by another."""
    control = Control()
    train_swap(
        arguments(sets, output, 6, **changes),
        lambda event: control.stop() if getattr(event, "done", 0) == step else None,
        control,
    )
    return control


def test_killed_at_any_moment_it_goes_on_and_ends_the_same(sets, tmp_path):
    whole = tmp_path / "whole.safetensors"
    train_swap(arguments(sets, whole, 24), silent)
    output = tmp_path / "killed.safetensors"
    engine = Path(__file__).parents[2] / "engine"
    code = (
        "import sys, torch; torch.set_num_threads(1); sys.path[:0] = sys.argv[1:3]\n"
        "from pathlib import Path\n"
        "from train.test_swap_training import arguments\n"
        "from mien.commands.train import train_swap\n"
        "sets = (Path(sys.argv[3]), Path(sys.argv[4]))\n"
        "print('ready', flush=True)\n"
        "train_swap(arguments(sets, Path(sys.argv[5]), 24, pace={'save': 0.0}), lambda event: None)\n"
    )
    line = [sys.executable, "-c", code, str(engine), str(engine.parent / "tests"), *map(str, sets), str(output)]
    random, kills = torch.Generator().manual_seed(3), 0
    for _ in range(2):
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline().strip() == b"ready"
        try:
            process.wait(float(torch.rand(1, generator=random)) * 0.8 + 0.1)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.communicate()
    assert kills
    train_swap(arguments(sets, output, 24), silent)
    assert output.read_bytes() == whole.read_bytes()
    assert not list((tmp_path / "killed.training").glob(".*partial*")), "what was half written is cleared away"


def test_a_pause_saves_and_waits(sets, tmp_path):
    control, times = Control(), {}
    output = tmp_path / "p.safetensors"

    def tell(event):
        if isinstance(event, Advance) and event.stage == "train":
            times[event.done] = time.monotonic()
            if event.done == 2:
                control.pause()
                threading.Timer(1.0, control.go_on).start()

    assert train_swap(arguments(sets, output, 3), tell, control).done == 3
    assert times[3] - times[2] > 0.9
    assert [step for step, _ in states(tmp_path / "p.training")] == [3, 2]


def test_a_damaged_state_costs_the_steps_since_the_one_before(sets, tmp_path):
    output = tmp_path / "d.safetensors"
    train_swap(arguments(sets, output, 3), silent)
    train_swap(arguments(sets, output, 5), silent)
    folder = tmp_path / "d.training"
    newest = states(folder)[0][1]
    newest.write_bytes(newest.read_bytes()[:1000])
    told = []
    kept = read_state(folder, told.append)
    assert kept is not None and kept.step == 3
    assert any(isinstance(event, Note) and "damaged" in event.message for event in told)
    for _, path in states(folder):
        path.write_bytes(b"nothing")
    with pytest.raises(MienError, match="start from the beginning"):
        read_state(folder, silent)


def test_a_full_disk_loses_nothing_that_was_saved(sets, tmp_path, monkeypatch):
    output, told = tmp_path / "f.safetensors", []
    train_swap(arguments(sets, output, 3), silent)
    before = output.read_bytes()

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    def full_in_words(path, *_args, **_kwargs):
        raise MienError(f"Cannot write {path}: No space left on device. Check permissions and free space.")

    monkeypatch.setattr("mien.train.state.save_file", full)
    for writer in ("mien.files.identities.write_whole", "mien.train.sheets.contact_sheet"):
        monkeypatch.setattr(writer, full_in_words)
    with pytest.raises(MienError, match="No space left"):
        train_swap(arguments(sets, output, 5, pace={"save": 0.0}), told.append)
    assert sum(isinstance(event, Note) and "The training goes on" in event.message for event in told) >= 2
    assert output.read_bytes() == before
    assert [step for step, _ in states(tmp_path / "f.training")] == [3]


def test_another_network_is_not_gone_on_with(sets, tmp_path):
    output = tmp_path / "n.safetensors"
    train_swap(arguments(sets, output, 2), silent)
    with pytest.raises(MienError, match="another network"):
        train_swap(arguments(sets, output, 4, shape=replace(TINY, code=10)), silent)
    before = sorted(path.name for path in (tmp_path / "n.training").iterdir())
    told = []
    with pytest.raises(MienError, match="another network"):
        train_swap(arguments(sets, output, 4, shape=replace(TINY, size=TINY.size + 16)), told.append)
    assert not told and before == sorted(path.name for path in (tmp_path / "n.training").iterdir())


def test_nobody_is_learned_without_a_word_of_permission(sets, tmp_path):
    with pytest.raises(RecipeError, match="--likeness"):
        train_swap(replace(arguments(sets, tmp_path / "x.safetensors"), released=Released("Somebody")), silent)
    with pytest.raises(RecipeError, match="YYYY-MM-DD"):
        Released("Somebody", "contract", "soon").checked()
    assert Released(own=True).checked().release == "self"
    late = Released("Somebody", "contract", "2001-01-01").checked()
    assert late.warnings(date(2026, 1, 1))


@pytest.mark.parametrize("name", ["classic", "df", "liae"])
def test_presets_draw_what_they_should(name):
    shape = CLASSIC if name == "classic" else SwapShape(name, 64, 8, 8, 4, 16)
    torch.manual_seed(0)
    network = SwapNetwork(shape).eval()
    crops = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        a, b = network(crops, "a"), network(crops, "b")
        assert a.picture.shape == (2, 3, 64, 64) and a.matte.shape == (2, 1, 64, 64)
        assert float(a.picture.min()) >= 0 and float(a.picture.max()) <= 1
        assert not torch.allclose(a.picture, b.picture)
        alone = SwapNetwork(shape, both=False).eval()
        kept = {key: v for key, v in network.state_dict().items() if not key.startswith(("decoders.a.", "codes.a."))}
        alone.load_state_dict(kept)
        assert torch.equal(alone(crops).picture, b.picture)
        one_by_one = torch.cat([network(crop[None]).picture for crop in crops])
    assert torch.allclose(one_by_one, b.picture, atol=1e-5)


def test_classic_is_the_network_of_old():
    """Counted from the published layers: 69.6 million weights before a decoder, 6.2 million in one."""
    network = SwapNetwork(CLASSIC)
    shared = sum(w.numel() for name, w in network.named_parameters() if not name.startswith("decoders"))
    picture = sum(w.numel() for name, w in network.decoders["a"].named_parameters() if not name.startswith("matte"))
    encoder = 3 * 128 * 25 + 128 + 128 * 256 * 25 + 256 + 256 * 512 * 25 + 512 + 512 * 1024 * 25 + 1024
    dense = 16384 * 1024 + 1024 + 1024 * 16384 + 16384
    assert shared == encoder + dense + 1024 * 2048 * 9 + 2048
    assert picture == 512 * 1024 * 9 + 1024 + 256 * 512 * 9 + 512 + 128 * 256 * 9 + 256 + 64 * 3 * 25 + 3


def test_recomputing_gives_the_same_gradients():
    torch.manual_seed(0)
    network = SwapNetwork(TINY).train()
    crops = torch.rand(2, 3, 32, 32)
    gradients = []
    for frugal in (False, True):
        network.frugal = frugal
        network.zero_grad()
        network(crops, "a").picture.mean().backward()
        gradients.append([w.grad.clone() for w in network.parameters() if w.grad is not None])
    assert all(torch.allclose(a, b) for a, b in zip(*gradients))


@pytest.mark.parametrize(
    ("preset", "widths", "word"),
    [("classic", {"size": 128}, "64"), ("df", {"size": 100}, "multiple of 16"), ("worst", {}, "preset"),
     ("df", {"code": 1}, "code"), ("classic", {"code": 5}, "--code")],
)  # fmt: skip
def test_impossible_networks_are_refused_in_words(preset, widths, word):
    with pytest.raises(RecipeError, match=word):
        swap_shape(preset, widths)


def test_memory_is_told_before_it_is_taken(sets, tmp_path):
    assert swap_bytes(TINY, 8, frugal=False, half=False) > swap_bytes(TINY, 2, frugal=False, half=False)
    assert swap_bytes(SwapShape(), 8, frugal=True, half=False) < swap_bytes(SwapShape(), 8, frugal=False, half=False)
    with pytest.raises(MienError, match="Use --size 64"):
        train_swap(arguments(sets, tmp_path / "m.safetensors", shape=SwapShape("df", 256), memory=0.05), silent)


def test_held_out_blocks_are_apart_from_what_is_learned():
    assert held_out(1) == [0] and held_out(5) == [4]
    held = held_out(800)
    assert len(held) == 80 and held[:8] == list(range(72, 80))


def test_of_a_large_set_an_even_share_is_measured():
    rows = torch.arange(1500)
    some = evenly(rows, 128)
    assert len(some) == 128 and some[0] == 0 and some[-1] == 1499
    assert (some.diff() - 1499 / 127).abs().max() <= 1
    assert torch.equal(evenly(rows[:7], 128), rows[:7])


def test_a_picture_that_cannot_be_read_is_left_out_of_the_stock(sets, tmp_path):
    folder = tmp_path / "set"
    shutil.copytree(sets[0], folder)
    broken = read_faceset(folder)
    broken.picture(3).write_bytes(b"no picture")
    told = []
    kept = stock(broken, 32, 1.2, tmp_path / "a", COLORS, torch.device("cpu"), told.append)
    whole = stock(read_faceset(sets[0]), 32, 1.2, tmp_path / "b", COLORS, torch.device("cpu"), silent)
    assert sum("Skipped" in getattr(event, "message", "") for event in told) == 1
    assert torch.equal(kept.pictures, whole.pictures[[row for row in range(len(whole.pictures)) if row != 3]])


def test_views_are_the_same_for_a_step_and_differ_between_steps():
    pictures = torch.rand(3, 5, 48, 48)
    one, again = (moved(pictures, 32, 1.3, Augment(), random_of(7, 5)) for _ in range(2))
    other = moved(pictures, 32, 1.3, Augment(), random_of(7, 6))
    assert torch.equal(one[0], again[0]) and not torch.equal(one[0], other[0])


def test_without_any_reach_a_view_is_the_plain_cut():
    pictures = torch.rand(2, 5, 48, 48)
    still = Augment(turn=0, zoom=0, shift=0, bend=0, flip=0, tone=0, recolor=0)
    bent, plain = moved(pictures, 32, 1.3, still, random_of(0, 0))
    assert torch.allclose(plain, plain_cut(pictures, 32, 1.3), atol=1e-5)
    assert torch.allclose(bent, plain[:, :3], atol=1e-5)
    (kept,) = toned((plain[:, :3].clamp(0.01, 0.99),), still, random_of(0, 0))
    assert torch.allclose(kept, plain[:, :3].clamp(0.01, 0.99), atol=1e-5)


def test_a_mirrored_view_is_mirrored():
    pictures = torch.rand(2, 5, 32, 32)
    mirror = Augment(turn=0, zoom=0, shift=0, bend=0, flip=1.0)
    assert torch.allclose(moved(pictures, 32, 1.0, mirror, random_of(0, 0))[1], pictures.flip(-1), atol=1e-5)


def test_recoloring_looks_at_faces_only():
    generator = torch.Generator().manual_seed(0)
    mine, like = (torch.rand(4, 3, 16, 16, generator=generator) * 0.2 + offset for offset in (0.3, 0.5))
    matte = torch.zeros(4, 1, 16, 16)
    matte[..., 4:12, 4:12] = 1
    wild = torch.where(matte > 0, like, torch.rand(4, 3, 16, 16, generator=generator))
    always = Augment(recolor=1.0)
    one = recolored((mine,), matte, like, matte, always, random_of(1, 1))[0]
    two = recolored((mine,), matte, wild, matte, always, random_of(1, 1))[0]
    assert torch.allclose(one, two) and not torch.allclose(one, mine)


def test_dissimilarity_agrees_with_scikit_image():
    from skimage.metrics import structural_similarity

    generator = torch.Generator().manual_seed(0)
    one = torch.nn.functional.avg_pool2d(torch.rand(1, 1, 72, 72, generator=generator), 5, 1)
    two = (one + 0.05 * torch.rand(one.shape, generator=generator)).clamp(0, 1)
    _, full = structural_similarity(
        one[0, 0].numpy(), two[0, 0].numpy(), data_range=1.0, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, full=True,
    )  # fmt: skip
    ours = float(losses.dissimilarity(one, two, torch.ones_like(one), scales=1))
    assert ours == pytest.approx(float((1 - full[5:-5, 5:-5].mean()) / 2), abs=2e-4)
    assert float(losses.dissimilarity(one, one, torch.ones_like(one))) == pytest.approx(0, abs=1e-5)


def test_peak_signal_by_its_formula():
    one, two = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.1)
    weight = torch.zeros(1, 1, 4, 4)
    weight[..., :2] = 1
    two[..., 2:] = 0.9
    assert losses.peak_signal(one, two, weight) == pytest.approx(20, abs=1e-4)


def test_improvement_is_told_honestly():
    rising = [(step, 20 + step / 1000) for step in range(0, 3000, 100)]
    assert improving(rising).startswith("still improving, +1.00")
    wobble = [(step, 20 + (-1) ** (step // 100) * 0.3) for step in range(0, 3000, 100)]
    assert improving(wobble).startswith("no longer improving")
    assert improving([(step, 30 - step / 1000) for step, _ in rising]).startswith("getting worse")
    assert improving(rising[:2]).startswith("too early")


def test_the_page_of_curves_needs_nothing_else():
    record = Record([(25, {"color": 0.1}), (50, {"color": 0.05})], [(50, 21.0)])
    text = page(record, "<who>", {"steps": "50"})
    assert "&lt;who&gt;" in text and "http" not in text and text.count("<polyline") == 2
    assert Record.of(json.loads(json.dumps(record.plain))) == record


def test_previews_become_a_movie_and_losses_events(sets, tmp_path):
    output = tmp_path / "m.safetensors"
    outcome = train_swap(arguments(sets, output, 26), silent)
    folder = tmp_path / "m.training"
    assert str(folder / "previews.mp4") in outcome.written
    with av.open(str(folder / "previews.mp4")) as movie:
        assert sum(1 for _ in movie.decode(video=0)) == 7
    content = (folder / "events.out.tfevents.mien").read_bytes()
    lengths, place = [], 0
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        assert struct.unpack_from("<I", content, place + 8)[0] == checksum(content[place : place + 8])
        lengths.append(length)
        place += 16 + length
    assert len(lengths) == 1 + 4 + 7 and b"loss/color" in content
    assert checksum(b"123456789") == (((0xE3069283 >> 15) | (0xE3069283 << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def test_a_swap_identity_draws_a_layer(sets, tmp_path):
    output = tmp_path / "i.safetensors"
    train_swap(arguments(sets, output, 2), silent)
    identity = open_identity(read_identity(output), output, COLORS, torch.device("cpu"))(1)
    image = plate()
    image[:, 0, 0] = torch.tensor([float("inf"), float("nan"), -3.0])
    where = Plate(image, (40, 30))
    face = a_face(turned(at=(190.0, 160.0)))
    layer = identity(where, face)
    assert layer.image.shape == image.shape and layer.matte.shape == (1, *image.shape[1:]) and layer.corner == (40, 30)
    outside = (layer.matte == 0).expand_as(image)
    assert torch.isfinite(layer.image[:, layer.matte[0] > 0]).all()
    assert torch.equal(layer.image[:, 0, 0].isnan(), image[:, 0, 0].isnan()), "the plate shows outside, bit for bit"
    assert outside.any() and (layer.matte > 0).any()
    assert torch.equal(identity(where, face).image.nan_to_num(), layer.image.nan_to_num())


def test_an_identity_that_lies_about_itself_is_refused(sets, tmp_path):
    output = tmp_path / "l.safetensors"
    train_swap(arguments(sets, output, 1), silent)
    file = read_identity(output)
    shape = file.facts["shape"]
    for lie in (
        {"shape": {**shape, "code": 9}},
        {"shape": {"size": 32}},
        {"coverage": -1},
        {"shape": {**shape, "size": 1 << 40}},
    ):
        write_identity(output, replace(file, facts={**file.facts, **lie}))
        with pytest.raises(MienError, match="Train it again"):
            open_identity(read_identity(output), output, COLORS, torch.device("cpu"))
