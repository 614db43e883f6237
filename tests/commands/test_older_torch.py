"""Exports in the versions of torch that hosts carry.

``MIEN_OLDER_TORCH`` names pythons in which they are installed, separated as in PATH; nothing else is needed there.
"""

import json
import os
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from mien.color import load as load_colors
from mien.commands.exporting import ExportArguments, export_identity
from mien.files.identities import IdentityFile, Likeness, read_identity, write_identity
from mien.models.portable import Light
from mien.models.swap import CLASSIC, SwapNetwork, SwapShape
from mien.models.unet import PairedNetwork, PairedShape
from mien.trained import network_of

PYTHONS = [Path(one).absolute() for one in os.environ.get("MIEN_OLDER_TORCH", "").split(os.pathsep) if one]
SHAPES = {
    "df": SwapShape("df", 64, 8, 8, 4, 32),
    "liae": SwapShape("liae", 64, 8, 8, 4, 32),
    "classic": CLASSIC,
    "matte": PairedShape(3, 1, 8, 3),
    "picture": PairedShape(3, 3, 8, 3),
    "picture_and_alpha": PairedShape(3, 4, 8, 3),
}
RUN = """
import array, json, sys, torch
folder = sys.argv[1]

def read(name, shape):
    values = array.array("f")
    values.frombytes(open(f"{folder}/{name}", "rb").read())
    return torch.tensor(values).view(shape)

torch.set_num_threads(1)
model = torch.jit.load(f"{folder}/export.pt").eval()
found = {"torch": torch.__version__, "apart": []}
with torch.no_grad():
    for name, height, width in json.loads(sys.argv[2]):
        light, wanted = read(f"{name}.in", (1, 3, height, width)), read(f"{name}.out", (1, 4, height, width))
        drawn = model(light)
        found["apart"].append(float((drawn - wanted).abs().max()))
        found["alpha"] = float((model(torch.cat([light, light[:, :1]], 1)) - drawn).abs().max())
    model.mix = 0.25
    found["mix"] = float((model(light)[:, :3] - (light + 0.25 * (drawn[:, :3] - light))).abs().max())
    model.matte_gain = 0.5
    found["gain"] = float((model(light)[:, 3] - 0.5 * drawn[:, 3]).abs().max())
    try:
        model(torch.rand(1, 3, 300, 400))
        found["larger"] = ""
    except Exception as error:
        found["larger"] = str(error)
    model.mix, model.matte_gain = 1.0, 1.0
    try:
        found["half"] = bool(torch.isfinite(model.half()(20 * light.half())).all())
    except RuntimeError as error:
        # torch 2.1 has convolutions of halves on graphics cards only.
        found["half"] = None if "not implemented for 'Half'" in str(error) else False
print(json.dumps(found))
"""


def identity(name, path):
    """An identity with random weights, of what its trainer writes."""
    torch.manual_seed(7)
    shape = SHAPES[name]
    likeness = Likeness("The Performer", "contract 12")
    if isinstance(shape, SwapShape):
        network = SwapNetwork(shape, both=False)
        facts = {"shape": asdict(shape), "coverage": 1.2}
        tensors = {key: value.half() for key, value in network.state_dict().items()}
        write_identity(path, IdentityFile("swap", likeness, facts, tensors))
    else:
        network = PairedNetwork(shape)
        torch.nn.init.normal_(network.last.weight, 0, 0.1)
        facts = {"shape": asdict(shape), "size": 64, "view": "frame", "coverage": 1.3, "encoding": "display"}
        write_identity(path, IdentityFile("paired", likeness, facts, network.state_dict()))
    file = read_identity(path)
    network, _, step = network_of(file, path)
    return Light(network, load_colors(None).encoding.to_display, file.kind).eval(), step


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.skipif(not PYTHONS, reason="MIEN_OLDER_TORCH names no python")
def test_an_export_draws_alike_in_older_versions(name, tmp_path):
    light, step = identity(name, tmp_path / "who.safetensors")
    swap = isinstance(SHAPES[name], SwapShape)
    export = tmp_path / "export.pt"
    export_identity(ExportArguments(tmp_path / "who.safetensors", "torchscript", export), lambda _: None)
    assert str(Path(__file__).parents[2]).encode() not in export.read_bytes()
    sizes = [("whole", 64, 64), ("odd", 37, 51)] + [("wide", 121, 203)] * (not swap)
    generator = torch.Generator().manual_seed(1)
    for file, height, width in sizes:
        seen = torch.rand(1, 3, height, width, generator=generator)
        rows, columns = ((torch.arange(-(-side // step) * step)).clamp(max=side - 1) for side in (height, width))
        with torch.inference_mode():
            wanted = light(seen[:, :, rows][..., columns])[..., :height, :width]
        (tmp_path / f"{file}.in").write_bytes(seen.numpy().tobytes())
        (tmp_path / f"{file}.out").write_bytes(wanted.contiguous().numpy().tobytes())
    for python in PYTHONS:
        run = [str(python), "-W", "ignore", "-c", RUN, str(tmp_path), json.dumps(sizes)]
        # Nothing of this environment may be found there.
        bare = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
        done = subprocess.run(run, capture_output=True, text=True, timeout=120, env=bare, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        found = json.loads(done.stdout)
        assert max(found["apart"]) <= 1e-5, found
        assert found["alpha"] == 0 and found["mix"] <= 1e-6 and found["gain"] <= 1e-6, found
        assert ("reformat the face" in found["larger"]) == swap, found
        assert found["half"] or (found["half"] is None and found["torch"].startswith("2.1")), found
