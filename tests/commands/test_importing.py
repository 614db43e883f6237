"""Models of other programs: what comes in draws what it drew there, and nothing in a file is run."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from facesets.sets import COLORS, a_face, plate, turned
from mien.commands.importing import ImportArguments, import_model
from mien.commands.train import Released
from mien.files.identities import read_identity
from mien.models import pix2pix
from mien.models.dfm import FACES, DfmModel, framing
from mien.performer import open_identity
from mien.recipe import RecipeError
from mien.types import MienError, Plate

OWN = Released(own=True)
CPU = torch.device("cpu")


def silent(_event) -> None:
    pass


class Drawn(nn.Module):
    """A model with the signature of DeepFaceLive's: N, H, W, 3 in blue, green, red."""

    def __init__(self, morph=False, mask="nhwc"):
        super().__init__()
        self.layer = nn.Conv2d(3, 5, 3, 1, 1)
        self.morph, self.mask = morph, mask

    def forward(self, face, morph=None):
        drawn = torch.sigmoid(self.layer(face.permute(0, 3, 1, 2)))
        celeb, own, other = drawn.split((3, 1, 1), 1)
        if morph is not None:
            celeb = celeb * morph
        own, other = (one if self.mask == "nchw" else one.permute(0, 2, 3, 1) for one in (own, other))
        if self.mask == "flat":
            own, other = own[..., 0], other[..., 0]
        return own, celeb.permute(0, 2, 3, 1), other


def dfm(path: Path, size=32, batch=True, **kinds) -> Path:
    pytest.importorskip("onnx")
    torch.manual_seed(0)
    model = Drawn(**kinds).eval()
    names = ["in_face:0", *(["morph_value:0"] if model.morph else [])]
    given = (torch.rand(1, size, size, 3), *((torch.tensor([0.75]),) if model.morph else ()))
    outputs = ["out_face_mask:0", "out_celeb_face:0", "out_celeb_face_mask:0"]
    axes = {name: {0: "batch"} for name in ("in_face:0", *outputs)} if batch else {}
    with pytest.warns(DeprecationWarning):
        torch.onnx.export(model, given, path, input_names=names, output_names=outputs, opset_version=12, dynamo=False,
                          dynamic_axes=axes)  # fmt: skip
    return path


@pytest.mark.parametrize("kinds", [{}, {"morph": True}, {"mask": "flat"}, {"mask": "nchw"}, {"batch": False}])
def test_a_dfm_draws_exactly_what_onnxruntime_draws(tmp_path, kinds):
    import onnxruntime

    path = dfm(tmp_path / "m.dfm", **kinds)
    model = DfmModel(path.read_bytes(), CPU)
    crops = torch.rand(2, 3, 32, 32)
    faces, mattes, own = model.run(crops)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for row in range(2):
        feed = {"in_face:0": crops[row].flip(0).permute(1, 2, 0)[None].numpy()}
        if kinds.get("morph"):
            feed["morph_value:0"] = np.array([0.75], np.float32)
        mask, celeb, celeb_mask = session.run(None, feed)
        assert np.array_equal(faces[row].flip(0).permute(1, 2, 0).numpy(), celeb[0])
        assert np.array_equal(mattes[row].numpy().ravel(), celeb_mask.ravel())
        assert np.array_equal(own[row].numpy().ravel(), mask.ravel())


def test_a_dfm_becomes_an_identity(tmp_path):
    path, output = dfm(tmp_path / "m.dfm"), tmp_path / "i.safetensors"
    with pytest.raises(RecipeError, match="--face"):
        import_model(ImportArguments(path, output, OWN), silent)
    import_model(ImportArguments(path, output, OWN, face="whole"), silent)
    file = read_identity(output)
    assert file.kind == "dfm" and file.facts["face"] == "whole" and file.likeness.release == "self"
    identity = open_identity(file, output, COLORS, CPU)(1)
    layer = identity(Plate(plate(), (0, 0)), a_face(turned()))
    assert torch.isfinite(layer.image).all() and 0 < float(layer.matte.max()) <= 1


def test_squares_of_face_types_lie_as_their_templates_say():
    whole = framing("whole")
    points = turned()
    from mien import mesh
    from mien.models.aligned import aligned_matrix, in_crop

    there = in_crop(points, aligned_matrix(points, 100, whole.coverage, 1.0, whole.middle))
    eyes = torch.stack([there[mesh.RIGHT_EYE].mean(0), there[mesh.LEFT_EYE].mean(0)])[:, :2]
    assert torch.allclose(eyes, torch.tensor([[35.3, 39.3], [62.8, 39.3]]), atol=3.0)
    sides = [framing(name).coverage for name in FACES]
    assert sides == sorted(sides) and framing("full").coverage / whole.coverage == pytest.approx(1.42 / 1.80)
    with pytest.raises(ValueError, match="choose"):
        framing("ear")


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x07" * 50])
def test_what_is_no_dfm_is_refused(tmp_path, content):
    (tmp_path / "x.dfm").write_bytes(content)
    with pytest.raises(MienError, match=r"no \.dfm"):
        import_model(ImportArguments(tmp_path / "x.dfm", tmp_path / "o.safetensors", OWN, face="full"), silent)


def norm(state, name, value, kind):
    if kind == "instance":
        return functional.instance_norm(value)
    mean, spread = value.mean((0, 2, 3), keepdim=True), value.var((0, 2, 3), unbiased=False, keepdim=True)
    scale, offset = (state[f"{name}.{part}"].view(1, -1, 1, 1) for part in ("weight", "bias"))
    return (value - mean) / torch.sqrt(spread + 1e-5) * scale + offset


def unet_by_hand(state, picture, depth, kind):
    """The published U-Net, written down once more: activations in place, statistics of the picture itself."""

    def level(prefix, value, left):
        value = functional.leaky_relu(value, 0.2)
        inner = functional.conv2d(value, state[f"{prefix}.1.weight"], state.get(f"{prefix}.1.bias"), 2, 1)
        if left == 1:
            up, after = 3, 4
        else:
            inner = level(f"{prefix}.3.model", norm(state, f"{prefix}.2", inner, kind), left - 1)
            up, after = 5, 6
        inner = functional.conv_transpose2d(
            functional.relu(inner), state[f"{prefix}.{up}.weight"], state.get(f"{prefix}.{up}.bias"), 2, 1
        )
        return torch.cat([value, norm(state, f"{prefix}.{after}", inner, kind)], 1)

    value = functional.conv2d(picture, state["model.model.0.weight"], state.get("model.model.0.bias"), 2, 1)
    value = functional.relu(level("model.model.1.model", value, depth - 1))
    value = functional.conv_transpose2d(value, state["model.model.3.weight"], state["model.model.3.bias"], 2, 1)
    return torch.tanh(value)


@pytest.mark.parametrize(("kind", "depth"), [("batch", 7), ("instance", 7), ("batch", 8)])
def test_a_unet_checkpoint_draws_what_the_original_draws(tmp_path, kind, depth):
    torch.manual_seed(1)
    shape = pix2pix.Pix2PixShape("unet", 3, 3, 8, depth, kind)
    state = pix2pix.build(shape).state_dict()
    for value in state.values():
        if value.is_floating_point() and value.ndim <= 1:
            value.copy_(torch.rand_like(value))
    if kind == "instance":
        # Checkpoints of old carry statistics that nothing uses any more.
        state["model.model.1.model.2.running_mean"] = torch.zeros(16)
    torch.save(state, tmp_path / "latest_net_G.pth")
    side = 1 << depth
    output = tmp_path / "p.safetensors"
    import_model(ImportArguments(tmp_path / "latest_net_G.pth", output, OWN, size=side, view="face"), silent)
    file = read_identity(output)
    identity = open_identity(file, output, COLORS, CPU)(1)
    picture = torch.rand(1, 3, side, side)
    ours = identity.draw(picture)[0]
    theirs = (unet_by_hand(state, picture * 2 - 1, depth, kind) + 1) / 2
    assert float((ours - theirs).abs().max()) < 1e-5
    again = identity.draw(picture)[0]
    assert torch.equal(again, ours), "the statistics of one frame do not leak into the next"


def test_kept_statistics_are_used_when_asked_for(tmp_path):
    shape = pix2pix.Pix2PixShape("unet", 3, 3, 4, 5, "batch")
    network = pix2pix.build(shape)
    torch.save(network.state_dict(), tmp_path / "g.pth")
    output = tmp_path / "p.safetensors"
    asked = ImportArguments(tmp_path / "g.pth", output, OWN, size=32, view="face", statistics="kept")
    import_model(asked, silent)
    picture = torch.rand(1, 3, 32, 32)
    ours = open_identity(read_identity(output), output, COLORS, CPU)(1).draw(picture)[0]
    with torch.no_grad():
        theirs = (network.eval()(picture * 2 - 1) + 1) / 2
    assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize(("blocks", "kind", "dropout"), [(6, "instance", False), (9, "batch", True)])
def test_resnet_generators_are_known_by_their_tensors(tmp_path, blocks, kind, dropout):
    shape = pix2pix.Pix2PixShape("resnet", 3, 3, 4, blocks, kind, dropout)
    network = pix2pix.build(shape).eval()
    torch.save({f"module.{name}": value for name, value in network.state_dict().items()}, tmp_path / "g.pth")
    output = tmp_path / "r.safetensors"
    import_model(ImportArguments(tmp_path / "g.pth", output, OWN, size=64, statistics="kept"), silent)
    picture = torch.rand(1, 3, 64, 64)
    ours = open_identity(read_identity(output), output, COLORS, CPU)(1).draw(picture)[0]
    with torch.no_grad():
        theirs = (network(picture * 2 - 1) + 1) / 2
    assert torch.allclose(ours, theirs, atol=1e-6)


class Bomb:
    def __reduce__(self):
        return (exec, ("open('/tmp/mien_was_here', 'w')",))


def test_a_checkpoint_that_asks_to_run_code_is_refused(tmp_path):
    trace = Path("/tmp/mien_was_here")
    trace.unlink(missing_ok=True)
    path = tmp_path / "g.pth"
    for write in (lambda: torch.save({"a": Bomb()}, path), lambda: path.write_bytes(pickle.dumps(Bomb()))):
        write()
        with pytest.raises(MienError, match="might run code") as refused:
            import_model(ImportArguments(path, tmp_path / "o.safetensors", OWN), silent)
        # torch's own words tell how to run it all the same.
        assert "trust" not in str(refused.value) and "weights_only" not in str(refused.value)
    assert not trace.exists()


@pytest.mark.parametrize(
    "state", [{}, {"a": torch.zeros(2)}, {"model.model.0.weight": torch.zeros(8, 3, 4, 4)}, [1, 2]]
)
def test_other_checkpoints_are_refused(tmp_path, state):
    torch.save(state, tmp_path / "g.pth")
    with pytest.raises(MienError, match="generator"):
        import_model(ImportArguments(tmp_path / "g.pth", tmp_path / "o.safetensors", OWN), silent)


def test_nobody_is_brought_over_without_permission(tmp_path):
    with pytest.raises(RecipeError, match="--likeness"):
        import_model(ImportArguments(tmp_path / "g.pth", tmp_path / "o.safetensors", Released()), silent)
