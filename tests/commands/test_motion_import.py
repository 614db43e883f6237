"""Checkpoints of the First Order Motion Model: all published configurations come in and draw what the paper says."""

import os
import pickle
from dataclasses import replace

import pytest
import torch
import yaml

from mien.commands.importing import ImportArguments, import_model
from mien.commands.train import Released
from mien.files.identities import read_identity
from mien.models.motion import MotionNetwork
from mien.models.motion_shape import PUBLISHED, MotionShape
from mien.types import MienError
from models import first_order as paper

SMALL = {
    "small": paper.config(
        common_params={"num_kp": 4},
        kp_detector_params={"block_expansion": 4, "max_features": 24, "num_blocks": 3, "scale_factor": 0.5},
        generator_params={"block_expansion": 6, "max_features": 16, "num_bottleneck_blocks": 2},
        dense_motion_params={"block_expansion": 6, "max_features": 20, "num_blocks": 2, "scale_factor": 0.5},
    ),
    "shifts only": paper.config(
        common_params={"num_kp": 3, "estimate_jacobian": False},
        kp_detector_params={"block_expansion": 4, "max_features": 24, "num_blocks": 2, "scale_factor": 1},
        generator_params={"block_expansion": 6, "num_down_blocks": 1, "num_bottleneck_blocks": 1,
                          "estimate_occlusion_map": False},
        dense_motion_params={"block_expansion": 6, "max_features": 20, "num_blocks": 2, "scale_factor": 1},
    ),
    "shared map": paper.config(
        common_params={"num_kp": 5},
        kp_detector_params={"block_expansion": 4, "num_blocks": 2, "scale_factor": 0.5, "single_jacobian_map": True},
        generator_params={"block_expansion": 4, "num_down_blocks": 3, "num_bottleneck_blocks": 1},
        dense_motion_params={"block_expansion": 4, "num_blocks": 2, "scale_factor": 0.25},
    ),
}  # fmt: skip


def silent(_event) -> None:
    pass


def saved(path, parts, legacy=False):
    """A checkpoint as the original wrote it, with what only training needs."""
    kept = {"state": {0: {"step": 3}}, "param_groups": [{"lr": 2e-4, "params": [0]}]}
    extra = {"discriminator": {"discs.1.conv.bias": torch.zeros(1)}, "optimizer_generator": kept, "epoch": 99}
    torch.save({**parts, **extra}, path, _use_new_zipfile_serialization=not legacy)
    return path


def imported(checkpoint, tmp_path, **options):
    output = tmp_path / "network.safetensors"
    import_model(ImportArguments(checkpoint, output, Released(), **options), silent)
    file = read_identity(output)
    shape = MotionShape(**file.facts["shape"])
    network = MotionNetwork(shape).eval()
    network.load_state_dict(dict(file.tensors))
    return file, shape, network


def written(path, settings):
    path.write_text(yaml.safe_dump(settings))
    return path


def pictures(size, seed=1):
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(2, 3, size // 8, size // 8, generator=random)
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1).split(1)


@torch.no_grad()
def compare(settings, parts, network, size, corners=True):
    source, driving = pictures(size)
    found, wanted = (paper.find(settings, parts["kp_detector"], one) for one in (source, driving))
    mine = network.kp_detector(driving)
    assert torch.allclose(mine.place, wanted[0], atol=1e-4)
    assert (mine.local is None) == (wanted[1] is None)
    if mine.local is not None:
        assert torch.allclose(mine.local, wanted[1], atol=1e-4)
    flow, seen, shares = paper.dense(settings, parts["generator"], source, wanted, found, corners)
    drawn, motion = network(source, driving)
    assert torch.allclose(motion.flow, flow, atol=1e-4) and torch.allclose(motion.shares, shares, atol=1e-4)
    assert (motion.seen is None) == (seen is None)
    if seen is not None:
        assert torch.allclose(motion.seen, seen, atol=1e-4)
    result = paper.draw(settings, parts["generator"], source, wanted, found, corners)
    assert torch.allclose(drawn, result, atol=1e-4)
    assert result.std() > 0.02 and (flow - paper.grid(*flow.shape[1:3])).abs().max() > 0.02


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("legacy", [True, False])
def test_small_networks_of_every_make_draw_what_the_paper_says(tmp_path, name, told, legacy):
    settings = SMALL[name]
    parts = paper.random_checkpoint(settings)
    checkpoint = saved(tmp_path / "small.pth.tar", parts, legacy)
    config = written(tmp_path / "small.yaml", settings) if told else None
    _, shape, network = imported(checkpoint, tmp_path, config=config)
    assert shape.corners
    compare(settings, parts, network, 64)


@pytest.mark.parametrize("sampling", ["old", "new"])
def test_both_ways_of_sampling_are_told_apart_and_remembered(tmp_path, sampling):
    settings = SMALL["small"]
    parts = paper.random_checkpoint(settings)
    _, shape, network = imported(saved(tmp_path / "a.pth.tar", parts), tmp_path, sampling=sampling)
    assert shape.corners == (sampling == "old")
    compare(settings, parts, network, 64, corners=sampling == "old")
    source, driving = pictures(64)
    mine = network(source, driving)[0]
    network.generator.corners = network.generator.dense_motion_network.corners = sampling != "old"
    assert (mine - network(source, driving)[0]).abs().mean() > 1e-3


MAKES = ("vox-256", "mgif-256")
"""One configuration of each make."""


def test_all_published_configurations_are_of_these_makes():
    assert {PUBLISHED[name] for name in paper.PUBLISHED} == {PUBLISHED[name] for name in MAKES}
    assert PUBLISHED["vox-512"] == replace(PUBLISHED["vox-256"], size=512, detector_shrink=8, motion_shrink=8)


@pytest.mark.parametrize("name", MAKES)
def test_published_networks_draw_what_the_paper_says(tmp_path, name):
    """Half the size draws as the whole does, and is quick."""
    settings = paper.PUBLISHED[name]
    parts = paper.random_checkpoint(settings)
    checkpoint = saved(tmp_path / "cpk.pth.tar", parts, legacy=True)
    told = {}
    for way, config in (("tensors", None), ("configuration", written(tmp_path / "c.yaml", settings))):
        file, shape, network = imported(checkpoint, tmp_path, config=config)
        told[way] = dict(file.tensors)
        if config is not None:
            assert shape == PUBLISHED[name]
    assert {n: tuple(v.shape) for n, v in told["tensors"].items()} == {
        n: tuple(v.shape) for n, v in told["configuration"].items()
    }
    assert set(told["tensors"]) == {f"{part}.{n}" for part in ("generator", "kp_detector") for n in parts[part]}
    compare(settings, parts, network, 128)


@pytest.mark.parametrize("name", paper.PUBLISHED)
def test_every_published_configuration_is_known_and_read(name):
    from mien.models.motion_shape import shape_of_config

    assert shape_of_config(paper.PUBLISHED[name]) == PUBLISHED[name]
    with torch.device("meta"):
        network = MotionNetwork(PUBLISHED[name])
    assert len(network.generator.state_dict()) == 196 and len(network.kp_detector.state_dict()) == 75
    assert abs(sum(one.numel() for one in network.generator.parameters()) - 45.58e6) < 0.02e6
    assert network.kp_detector.kp.weight.shape == (10, 35, 7, 7)
    maps = 4 if name == "mgif-256" else 40
    assert network.kp_detector.jacobian.weight.shape == (maps, 35, 7, 7)
    assert network.kp_detector.down.weight.shape == (3, 1, 13, 13)


def test_a_network_that_was_wrapped_for_several_cards_comes_in(tmp_path):
    parts = paper.random_checkpoint(SMALL["small"])
    wrapped = {part: {f"module.{name}": one for name, one in state.items()} for part, state in parts.items()}
    imported(saved(tmp_path / "a.pth.tar", wrapped), tmp_path)


def test_norms_that_did_not_count_come_in(tmp_path):
    parts = paper.random_checkpoint(SMALL["small"])
    bare = {p: {n: v for n, v in s.items() if "num_batches" not in n} for p, s in parts.items()}
    _, _, network = imported(saved(tmp_path / "a.pth.tar", bare), tmp_path)
    compare(SMALL["small"], parts, network, 64)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p.pop("generator"), "no weights under 'generator'"),
        (lambda p: p.pop("kp_detector"), "no weights under 'kp_detector'"),
        (lambda p: p["generator"].pop("final.bias"), "lacks final.bias"),
        (lambda p: p["kp_detector"].pop("kp.weight"), "kp.weight"),
        (lambda p: p["kp_detector"].update({"odd.weight": torch.zeros(1)}), "has besides odd.weight"),
        (lambda p: p["generator"].update({"final.weight": torch.zeros(3, 5, 7, 7)}), r"another size of final.weight"),
        (lambda p: p["generator"].update({"first.conv.weight": "text"}), "no weights under 'generator'"),
        (lambda p: p["generator"].update({"first.conv.weight": torch.zeros(())}), "generator|lacks"),
    ],
)
@pytest.mark.parametrize("told", [True, False])
def test_missing_and_surplus_tensors_are_named(tmp_path, change, words, told):
    parts = paper.random_checkpoint(SMALL["small"])
    change(parts)
    config = written(tmp_path / "small.yaml", SMALL["small"]) if told else None
    with pytest.raises(MienError, match=words):
        imported(saved(tmp_path / "a.pth.tar", parts), tmp_path, config=config)
    assert not (tmp_path / "network.safetensors").exists()


@pytest.mark.parametrize(
    "text",
    ["", "[1, 2", "model_params: 3", "!!python/object/apply:os.system ['touch ran']", "a: &a [*a]", "model_params: {}",
     "\x00", "model_params: {common_params: {num_kp: 99999999999}}"],
)  # fmt: skip
def test_configurations_that_are_none_are_refused(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    checkpoint = saved(tmp_path / "a.pth.tar", paper.random_checkpoint(SMALL["small"]))
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(MienError, match=r"bad\.yaml is no configuration"):
        imported(checkpoint, tmp_path, config=tmp_path / "bad.yaml")
    assert not (tmp_path / "ran").exists()


def test_a_configuration_of_another_network_is_told(tmp_path):
    checkpoint = saved(tmp_path / "a.pth.tar", paper.random_checkpoint(SMALL["small"]))
    with pytest.raises(MienError, match=r"another size|lacks"):
        imported(checkpoint, tmp_path, config=written(tmp_path / "b.yaml", SMALL["shared map"]))


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", ["zip", "legacy", "bare", "inside"])
def test_a_malicious_pickle_is_refused_and_nothing_runs(tmp_path, form):
    trap, checkpoint = tmp_path / "ran", tmp_path / "evil.pth.tar"
    evil = {"kp_detector": Evil(trap), "generator": {}}
    if form == "bare":
        checkpoint.write_bytes(pickle.dumps(evil))
    elif form == "inside":
        parts = paper.random_checkpoint(SMALL["small"])
        parts["generator"]["final.bias"] = Evil(trap)
        saved(checkpoint, parts)
    else:
        torch.save(evil, checkpoint, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(MienError, match="might run code"):
        imported(checkpoint, tmp_path)
    assert not trap.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02", os.urandom(300), b"\x80\x02}q\x00."])
def test_damaged_checkpoints_are_refused(tmp_path, content):
    checkpoint = tmp_path / "a.pth.tar"
    checkpoint.write_bytes(content)
    with pytest.raises(MienError):
        imported(checkpoint, tmp_path)
    checkpoint = saved(checkpoint, paper.random_checkpoint(SMALL["small"]), legacy=True)
    checkpoint.write_bytes(checkpoint.read_bytes()[:-5000])
    with pytest.raises(MienError):
        imported(checkpoint, tmp_path)
