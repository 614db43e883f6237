"""What is exported draws what the identity draws."""

import warnings
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.commands.exporting import ExportArguments, export_identity
from mien.commands.importing import ImportArguments, import_model
from mien.commands.train import Released
from mien.files.identities import IdentityFile, Likeness, write_identity
from mien.models.dfm import DfmModel
from mien.models.swap import SwapNetwork, SwapShape
from mien.models.unet import PairedNetwork, PairedShape
from mien.recipe import RecipeError

SWAP = SwapShape("df", 32, 4, 4, 2, 8)
PAIRED = PairedShape(3, 3, 4, 2)
LIKENESS = Likeness("The Performer", "contract 12")


@pytest.fixture
def swap(tmp_path):
    torch.manual_seed(0)
    network = SwapNetwork(SWAP, both=False).eval()
    path = tmp_path / "who.safetensors"
    write_identity(path, IdentityFile("swap", LIKENESS, {"shape": asdict(SWAP), "coverage": 1.2}, network.state_dict()))
    return path, network


@pytest.fixture
def paired(tmp_path):
    torch.manual_seed(0)
    network = PairedNetwork(PAIRED).eval()
    torch.nn.init.normal_(network.last.weight, 0, 0.1)
    path = tmp_path / "look.safetensors"
    facts = {"shape": asdict(PAIRED), "size": 32, "view": "frame", "coverage": 1.3, "encoding": "display"}
    write_identity(path, IdentityFile("paired", LIKENESS, facts, network.state_dict()))
    return path, network


def exported(path: Path, to: str, output: Path):
    told = []
    outcome = export_identity(ExportArguments(path, to, output), told.append)
    assert any("Checked against the original" in getattr(event, "message", "") for event in told)
    assert any("The Performer" in getattr(event, "message", "") for event in told)
    return outcome


def test_a_swap_becomes_a_dfm_and_comes_back(swap, tmp_path):
    pytest.importorskip("onnx")
    path, network = swap
    exported(path, "dfm", tmp_path / "who.dfm")
    model = DfmModel((tmp_path / "who.dfm").read_bytes(), torch.device("cpu"))
    crops = torch.rand(2, 3, 32, 32)
    faces, mattes, _ = model.run(crops)
    with torch.inference_mode():
        drawn = network(crops)
    assert model.size == 32 and torch.allclose(faces, drawn.picture, atol=1e-5)
    assert torch.allclose(mattes, drawn.matte, atol=1e-5)
    back = ImportArguments(tmp_path / "who.dfm", tmp_path / "again.safetensors", Released(own=True), face="full")
    assert import_model(back, lambda _: None).done == 1


def test_a_paired_identity_becomes_onnx_of_any_size(paired, tmp_path):
    pytest.importorskip("onnx")
    import onnxruntime

    path, network = paired
    exported(path, "onnx", tmp_path / "look.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "look.onnx"), providers=["CPUExecutionProvider"])
    picture = torch.rand(1, 3, 48, 64)
    with torch.inference_mode():
        wanted = network(picture).numpy()
    assert np.abs(session.run(None, {"before": picture.numpy()})[0] - wanted).max() < 1e-5


def loaded(path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.load(str(path))


def test_torchscript_has_live_knobs_and_takes_any_size(paired, tmp_path):
    exported(paired[0], "torchscript", tmp_path / "look.pt")
    model = loaded(tmp_path / "look.pt")
    light = torch.rand(1, 3, 37, 50)
    with torch.inference_mode():
        drawn = model(light)
        assert drawn.shape == (1, 4, 37, 50) and drawn.is_contiguous()
        model.mix = 0.0
        assert torch.equal(model(light)[:, :3], light)
        model.matte_gain = 0.0
        assert float(model(light)[:, 3].max()) == 0
        assert torch.isfinite(model.half()(light.half())).all()


def test_torchscript_of_a_swap_draws_the_person(swap, tmp_path):
    path, _ = swap
    outcome = exported(path, "torchscript", tmp_path / "who.pt")
    script = (tmp_path / "who.nk").read_text()
    assert outcome.written[1].endswith("who.nk")
    assert "CatFileCreator {" in script and "rgba.alpha" in script and "32 x 32" in script
    assert script.count("{") == script.count("}")
    with torch.inference_mode():
        assert loaded(tmp_path / "who.pt")(torch.rand(1, 4, 32, 32)).shape == (1, 4, 32, 32)


def test_what_cannot_be_exported_is_said(paired, swap, tmp_path):
    with pytest.raises(RecipeError, match="choose torchscript"):
        export_identity(ExportArguments(swap[0], "tape", tmp_path / "x"), print)
    with pytest.raises(RecipeError, match="signature"):
        export_identity(ExportArguments(paired[0], "dfm", tmp_path / "x.dfm"), print)
    write_identity(tmp_path / "w.safetensors", IdentityFile("warp", LIKENESS))
    with pytest.raises(RecipeError, match="kind warp"):
        export_identity(ExportArguments(tmp_path / "w.safetensors", "onnx", tmp_path / "x.onnx"), print)
