"""A matte learned from five painted frames holds out what passes in front of the face in all of them."""

from pathlib import Path

import numpy as np
import pytest

from mien.commands.convert import ConvertArguments, convert_shot
from mien.commands.pairing import PairedArguments, train_paired
from mien.commands.plate import PlateArguments
from mien.commands.train import Released
from mien.models.unet import PairedShape
from mien.train.loop import Pace
from mien.train.paired import PairedSetting, PairedWeights
from shots import FIRST, SIZE, face_center, make_shot, read_exr, texture, write_exr

HAND = (0.9, 0.12, 0.1)
COUNT = 8


def silent(_event: object) -> None:
    pass


def hand(frame: int) -> np.ndarray:
    """(height, width, 1) 1 where something red stands in front of the face, which it crosses."""
    matte = np.zeros((SIZE[1], SIZE[0], 1), np.float32)
    x, y = face_center(frame)
    across = int(x) - 34 + 8 * (frame - FIRST)
    matte[int(y) : int(y) + 30, across : across + 24] = 1
    return matte


def plate(frame: int) -> np.ndarray:
    matte = hand(frame)
    return (1 - matte) * texture(SIZE[1], SIZE[0], 7) * 0.6 + matte * np.array(HAND, np.float32)


@pytest.fixture(scope="module")
def shot(tmp_path_factory):
    """A shot that something crosses, with five of its frames painted, the learned matte, and that on the shot."""
    made = make_shot(tmp_path_factory.mktemp("hand"), COUNT)
    painted = made.folder / "painted" / "roto.%04d.exr"
    for frame in made.frames:
        write_exr(Path(made.plate % frame), plate(frame), colorInteropID="lin_ap1_scene")
    for frame in (FIRST, FIRST + 2, FIRST + 3, FIRST + 5, FIRST + 7):
        write_exr(Path(str(painted) % frame), hand(frame))
    identity = made.folder / "hand.safetensors"
    setting = PairedSetting(PairedShape(3, 1, 8, 2), 64, batch=2, weights=PairedWeights(critic=0.0))
    pace = Pace(steps=150, preview=150, rate=3e-3, warm=2, precision="float32")
    train_paired(
        PairedArguments(
            made.plate, str(painted), identity, Released(own=True), setting=setting, pace=pace, device="cpu"
        ),
        silent,
    )
    folder = made.folder / "mattes"
    asked = ConvertArguments(PlateArguments(made.plate), folder, identity=identity, track=made.track, device="cpu")
    assert not convert_shot(asked, silent).failed
    return made, folder


def test_a_learned_matte_is_rendered_as_the_network_draws_it(shot):
    _made, folder = shot
    for frame in (FIRST + 1, FIRST + 4, FIRST + 6):
        spec, pixels = read_exr(folder / "layer" / f"shot.{frame}.exr")
        alpha = pixels[..., spec.channelnames.index("A")]
        rows, columns = slice(spec.y, spec.y + spec.height), slice(spec.x, spec.x + spec.width)
        wanted = hand(frame)[rows, columns, 0]
        assert wanted.sum() > 200, "none of these was painted"
        assert ((alpha > 0.5) & (wanted > 0.5)).sum() > 0.9 * ((alpha > 0.5) | (wanted > 0.5)).sum()


def test_it_is_held_out_by_the_shot_s_recipe(shot):
    made, folder = shot
    settings = {"hold_out.file": str(folder / "layer" / "shot.####.exr")}
    results = {}
    for name, changes in (("open", {}), ("held", settings)):
        asked = ConvertArguments(
            PlateArguments(made.plate, frames=(FIRST + 4, FIRST + 4)),
            made.folder / name,
            identity=made.identity,
            track=made.track,
            settings=changes,
            write=("full",),
            device="cpu",
        )
        assert not convert_shot(asked, silent).failed
        results[name] = read_exr(made.folder / name / "full" / f"shot.{FIRST + 4}.exr")[1][..., :3].astype(np.float32)
    behind = plate(FIRST + 4).astype(np.float16).astype(np.float32)
    there = hand(FIRST + 4)[..., 0] > 0
    x, y = face_center(FIRST + 4)
    inner = np.zeros_like(there)
    inner[int(y) + 4 : int(y) + 26, int(x) - 20 : int(x) + 20] = True
    covered = [float(np.abs(results[name] - behind)[there & inner].mean()) for name in ("open", "held")]
    assert covered[0] > 0.1 and covered[1] < 0.15 * covered[0]
    # Beside it the face is shown as before, but for its color: what is no skin is no longer measured.
    beside = inner & ~there
    shown = [float(np.abs(results[name] - behind)[beside].mean()) for name in ("open", "held")]
    assert beside.sum() > 200 and shown[1] > 0.05 and shown[1] == pytest.approx(shown[0], rel=0.35)
