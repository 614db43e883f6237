"""Everything that computes pictures runs on a device that is not the processor, and finds the same there.

The device is imitated (see elsewhere.py), so that a forgotten transfer fails on machines without a graphics card.
"""

import shutil
from dataclasses import replace

import pytest
import torch

from elsewhere import PLACE, Elsewhere, elsewhere
from mien import job as jobs
from mien import recipe as recipes
from mien.chain import declaration, evaluate
from mien.models import detector, landmarks
from mien.models.motion import MotionNetwork
from mien.models.motion_shape import MotionShape
from mien.run import plate_at, plate_of, read_steady, solved, with_neighbors
from shots import make_shot

PARAMS = [param for step in recipes.CONVERT for param in declaration(step.node).params]
VARIANTS = max(len(param.choices) for param in PARAMS if param.kind == "menu")
"""Recipes between which every choice of every menu is taken at least once."""


def test_the_imitated_device_refuses_what_a_real_one_does():
    near = torch.ones(3, 4)
    with elsewhere() as place:
        far = near.to(place)
        assert far.device == PLACE and (far + 1).device == PLACE and float(far.sum()) == 12
        assert torch.equal((far * 2).cpu(), near * 2) and not isinstance(far.cpu(), Elsewhere)
        far[:, [0, 2]] += 1
        assert far.cpu().tolist() == [[2, 1, 2, 1]] * 3
        for mixed in (
            lambda: far + near,
            lambda: torch.cat([near, far]),
            lambda: torch.where(far > 0, near, far),
            lambda: near[far.long()],
            lambda: far.numpy(),
        ):
            with pytest.raises(RuntimeError):
                mixed()


def dialed(recipe, turn):
    """A recipe whose sliders are off their rest, with the turn's choice in every menu that has so many."""
    steps = []
    for step in recipe.steps:
        settings = dict(step.settings)
        for param in declaration(step.node).params:
            if param.kind == "menu" and turn < len(param.choices):
                settings[param.name] = param.choices[turn]
            elif param.kind in ("float", "int") and param.slider and turn:
                end = param.slider.high if param.slider.high != param.default else param.slider.low
                settings[param.name] = type(param.default)(param.default + 0.37 * (end - param.default))
        steps.append(replace(step, settings=settings))
    return replace(recipe, steps=tuple(steps))


@torch.no_grad()
def picture(recipe, place, monkeypatch):
    monkeypatch.setattr(jobs, "choose_device", lambda name: place)
    shutil.rmtree(recipe.output.folder, ignore_errors=True)
    job = jobs.open_job(recipe)
    job = with_neighbors(solved(job, lambda event: None), plate_at)
    frame = job.shot.frames[1]
    plate = plate_of(job, frame, read_steady(job, frame, "", True))
    last = recipe.steps[-1].name
    layer = evaluate(job.chain, frame, plate, last)[last]
    assert layer.image.device == place
    return layer.image.cpu(), layer.matte.cpu()


@pytest.mark.parametrize("turn", range(VARIANTS))
def test_the_whole_chain_runs_on_another_device(tmp_path, monkeypatch, turn):
    recipe = dialed(recipes.read(make_shot(tmp_path, 2, width=48).recipe), turn)
    here = picture(recipe, torch.device("cpu"), monkeypatch)
    with elsewhere() as place:
        there = picture(recipe, place, monkeypatch)
    for near, far in zip(here, there):
        assert torch.allclose(near, far, atol=2e-4, equal_nan=True)
    assert here[1].max() > 0.5


@torch.no_grad()
def test_networks_of_the_tracker_run_on_another_device():
    random = torch.Generator().manual_seed(1)
    crops = torch.rand(2, 3, landmarks.SIZE, landmarks.SIZE, generator=random)
    network = landmarks.load()
    near = landmarks.both_ways(network, crops)
    with elsewhere() as place:
        far = landmarks.both_ways(network.to(place), crops.to(place))
    assert all(torch.allclose(one, other.cpu(), atol=1e-4) for one, other in zip(near, far))
    picture = torch.rand(120, 160, 3, generator=random).numpy()
    here = detector.find(detector.load(detector.WEIGHTS), picture, 24, torch.device("cpu"))
    with elsewhere() as place:
        there = detector.find(detector.load(detector.WEIGHTS).to(place), picture, 24, place)
    assert all(torch.allclose(one, other.cpu(), atol=1e-4) for one, other in zip(here, there))


@torch.no_grad()
def test_reenactment_runs_on_another_device():
    shape = MotionShape(
        size=64, keypoints=4, detector_width=4, detector_blocks=3, motion_width=4, motion_blocks=3, width=4, most=16
    )
    torch.manual_seed(1)
    network = MotionNetwork(shape).eval()
    source, driving = torch.rand(2, 1, 3, 64, 64)
    near = network(source, driving)[0]
    with elsewhere() as place:
        far = network.to(place)(source.to(place), driving.to(place))[0]
    assert torch.allclose(near, far.cpu(), atol=1e-4)
