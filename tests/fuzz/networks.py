"""Whole files of networks that move photographs, and of what caches and trainings keep; and how they are read."""

import hashlib
import json
import os
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import yaml

from fuzz.spoiling import spoiled_safetensors
from mien.client import find_python
from mien.color import load as load_colors
from mien.commands.importing import ImportArguments, import_model
from mien.commands.train import Released
from mien.files.cache import MAGIC, open_cache
from mien.files.identities import IdentityFile, Likeness, read_identity, write_identity
from mien.models.motion import MotionNetwork
from mien.models.motion_fields import Keypoints
from mien.models.motion_shape import MotionShape
from mien.reenacted import bound, open_network, open_reenacted
from mien.train.clips import keep_clips, kept_clips
from mien.train.pairs import keep_pairs, kept_pairs
from mien.types import Layer
from models import first_order as paper

CPU = torch.device("cpu")
COLORS = load_colors(None)
SETTINGS = paper.config(
    common_params={"num_kp": 2},
    kp_detector_params={"block_expansion": 2, "max_features": 4, "num_blocks": 2, "scale_factor": 0.5},
    generator_params={"block_expansion": 2, "max_features": 4, "num_down_blocks": 1, "num_bottleneck_blocks": 1},
    dense_motion_params={"block_expansion": 2, "max_features": 4, "num_blocks": 2, "scale_factor": 0.5},
)
KEY = "0123456789abcdef"


def motion_checkpoints(folder: Path) -> list[Path]:
    """Networks of first-order motion as published, as zip and in the format before it, with what training left."""
    parts = paper.random_checkpoint(SETTINGS)
    kept = {"state": {0: {"step": 3}}, "param_groups": [{"lr": 2e-4, "params": [0]}]}
    whole = {**parts, "discriminator": {"bias": torch.zeros(1)}, "optimizer_generator": kept, "epoch": 99}
    torch.save(whole, folder / "zip.pth.tar")
    torch.save(whole, folder / "old.pth.tar", _use_new_zipfile_serialization=False)
    return [folder / "old.pth.tar", folder / "zip.pth.tar"]


def _imported(path: Path, config: Path | None) -> object:
    output = path.parent / "out" / "i.safetensors"
    output.parent.mkdir(exist_ok=True)
    return import_model(ImportArguments(path, output, Released(), config=config), lambda said: None)


def read_motion(path: Path) -> object:
    """A network whose shape is told from its tensors."""
    return _imported(path, None)


def motion_configs(folder: Path) -> list[Path]:
    """A configuration as published."""
    (folder / "beside").mkdir()
    torch.save(paper.random_checkpoint(SETTINGS), folder / "beside" / "a.pth.tar")
    path = folder / "c.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    return [path]


def read_motion_config(path: Path) -> object:
    """A network whose shape a configuration tells."""
    return _imported(path.parent / "beside" / "a.pth.tar", path)


def _shape() -> MotionShape:
    return MotionShape(
        size=32, keypoints=2, detector_width=2, detector_most=4, detector_blocks=1, detector_shrink=1, motion_width=2,
        motion_most=4, motion_blocks=1, motion_shrink=1, width=2, most=4, steps=1, blocks=1,
    ).check()  # fmt: skip


def motion_identities(folder: Path) -> list[Path]:
    """A network that moves photographs, and a photograph bound to a performance."""
    shape, likeness = _shape(), Likeness("Nobody", "test release")
    torch.manual_seed(1)
    facts: dict[str, Any] = {"shape": asdict(shape), "coverage": 1.7}
    beside = folder / "beside" / "network.safetensors"
    file = IdentityFile("reenact", Likeness(), facts, MotionNetwork(shape).state_dict())
    write_identity(beside, file)
    write_identity(folder / "network.safetensors", file)
    start = Keypoints(torch.zeros(1, 2, 2), torch.eye(2).expand(1, 2, 2, 2).contiguous())
    told = {"relative": True, "scale": 1.0, "first": 1}
    photograph = torch.rand(3, 32, 32)
    made = bound(read_identity(beside), beside, photograph, start, told, 1.7, likeness)
    write_identity(folder / "bound.safetensors", made)
    return [folder / "bound.safetensors", folder / "network.safetensors"]


def read_motion_identity(path: Path) -> object:
    """What moves photographs, or a photograph that moves."""
    file = read_identity(path)
    if path.name == "network.safetensors":
        return open_network(file, path, CPU)
    return open_reenacted(file, path, COLORS, CPU)


def cached(folder: Path) -> list[Path]:
    """A layer in a cache."""
    cache = open_cache(folder)
    matte = torch.rand(1, 4, 6)
    cache.keep(KEY, Layer(torch.rand(3, 4, 6), matte, (3, 5), 40.0, {"hull": matte, "own": torch.rand(1, 4, 6)}))
    return [cache.path(KEY)]


def read_cached(path: Path) -> object:
    """A layer as the cache remembers it, or nothing: it is never an error."""
    layer = open_cache(path.parents[1]).recall(KEY, CPU)
    if layer is not None:
        size = layer.image.shape[-2:]
        assert layer.image.shape == (3, *size) and layer.matte.shape == (1, *size)
        assert all(matte.shape == (1, *size) for matte in layer.mattes.values())
    return layer


def spoiled_cached(content: bytes, chance: random.Random) -> bytes:
    """An entry whose hash fits what was spoiled, mostly."""
    head = len(MAGIC) + 32
    if len(content) < head or chance.random() < 0.1:
        return spoiled_safetensors(content, chance)
    document = spoiled_safetensors(content[head:], chance)
    return MAGIC + hashlib.blake2b(document, digest_size=32).digest() + document


def training_lists(folder: Path) -> list[Path]:
    """What trainings from films and from pairs keep beside them."""
    keep_clips([("a", np.zeros((2, 8, 8, 3), np.uint8)), ("b", np.ones((1, 8, 8, 3), np.uint8))], folder)
    keep_pairs([("a", torch.rand(6, 20, 24)), ("b", torch.rand(6, 16, 16))], folder)
    return [folder / "clips.json", folder / "pairs.json"]


def read_training_list(path: Path) -> object:
    """Clips or pairs."""
    return kept_clips(path.parent) if path.name == "clips.json" else kept_pairs(path.parent, 3, CPU)


def engine_notes(folder: Path) -> list[Path]:
    """Where an installation wrote down which Python runs the engine."""
    path = folder / "mien" / "engine.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"python": "/bin/sh"}))
    return [path]


def read_engine_note(path: Path) -> object:
    """Which Python an adapter would start."""
    with patch.dict(os.environ, {"XDG_CONFIG_HOME": str(path.parents[1]), "MIEN_PYTHON": ""}):
        return find_python()
