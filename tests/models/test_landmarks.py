"""The shipped landmark network: what it promises about shapes, ranges and errors, on drawn and real faces."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mien import mesh
from mien.models import landmarks
from mien.models.crops import crop_from_points, cut_crops, to_picture
from mien.models.landmarks import SIZE, WEIGHTS, Landmarks, load
from mien.types import MienError


@pytest.fixture(scope="module")
def network() -> Landmarks:
    return load()


@pytest.fixture(scope="module")
def portrait() -> torch.Tensor:
    data = pytest.importorskip("skimage.data")
    return torch.from_numpy(data.astronaut())


def settle(network: Landmarks, picture: torch.Tensor, crop: torch.Tensor) -> tuple[torch.Tensor, landmarks.Found]:
    """Look again from where the first looks say the face is, as a tracker does."""
    for _ in range(3):
        cut = torch.from_numpy(cut_crops(picture.numpy(), crop[None], SIZE)).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            found = network(cut)
        points = to_picture(found.points, crop[None], SIZE)[0]
        crop = crop_from_points(points, "mesh")
    return points, found


def test_answers_have_the_promised_shapes_and_ranges(network: Landmarks) -> None:
    crops = torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = network(crops)
    assert found.points.shape == (3, mesh.POINTS, 3)
    assert found.matte.shape == (3, 1, SIZE // 4, SIZE // 4)
    for share in (found.confidence, found.visibility, found.presence, found.matte):
        assert share.min() >= 0
        assert share.max() <= 1
    assert found.confidence.shape == found.visibility.shape == (3, mesh.POINTS)
    with pytest.raises(ValueError, match="128"):
        network(crops[:, :, :64])


def test_folding_normalizations_changes_nothing() -> None:
    plain = Landmarks()
    plain.load_state_dict({name: value.float() for name, value in load_file(WEIGHTS).items()})
    plain.eval()
    crops = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        for one, other in zip(plain(crops), load()(crops), strict=True):
            assert torch.allclose(one, other, atol=2e-3)


def test_finds_the_face_of_a_portrait(network: Landmarks, portrait: torch.Tensor) -> None:
    points, found = settle(network, portrait, torch.tensor([225.0, 112.0, 170.0, 0.0]))
    assert found.presence[0] > 0.9
    right_eye, left_eye, nose, mouth = (points[i, :2] for i in (33, 263, 1, 13))
    # Read off the picture by eye.
    for place, truth in ((right_eye, (197, 98)), (left_eye, (258, 104)), (nose, (225, 131)), (mouth, (223, 146))):
        assert (place - torch.tensor(truth)).norm() < 8


def test_no_face_no_presence(network: Landmarks, portrait: torch.Tensor) -> None:
    # The flag, the shuttle's model, the suit.
    crops = torch.tensor([[90.0, 250.0, 160.0, 0.0], [420.0, 250.0, 160.0, 0.0], [250.0, 420.0, 160.0, 0.0]])
    cut = torch.from_numpy(cut_crops(portrait.numpy(), crops, SIZE)).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        found = network(cut)
    assert found.presence.max() < 0.5


def test_mirrored_face_gives_mirrored_points(network: Landmarks, portrait: torch.Tensor) -> None:
    crop = torch.tensor([[225.0, 125.0, 170.0, 0.0]])
    cut = torch.from_numpy(cut_crops(portrait.numpy(), crop, SIZE)).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        points, mirrored = network(cut).points[0], network(cut.flip(-1)).points[0]
    back = mirrored[mesh.MIRROR] * torch.tensor([-1.0, 1, 1]) + torch.tensor([SIZE, 0.0, 0.0])
    eyes = (points[33] - points[263])[:2].norm()
    assert (back - points)[:, :2].norm(dim=-1).mean() < 0.06 * eyes


def test_a_look_both_ways_knows_no_left_and_right(network: Landmarks, portrait: torch.Tensor) -> None:
    crop = torch.tensor([[225.0, 125.0, 170.0, 0.2], [240.0, 120.0, 150.0, -0.1]])
    cut = torch.from_numpy(cut_crops(portrait.numpy(), crop, SIZE)).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        found, mirrored = landmarks.both_ways(network, cut), landmarks.both_ways(network, cut.flip(-1))
        plain = network(cut)
    back = mirrored.points[:, mesh.MIRROR] * torch.tensor([-1.0, 1, 1]) + torch.tensor([SIZE, 0.0, 0.0])
    torch.testing.assert_close(back, found.points, atol=1e-3, rtol=0)
    for name in ("confidence", "visibility"):
        torch.testing.assert_close(getattr(mirrored, name)[:, mesh.MIRROR], getattr(found, name))
    torch.testing.assert_close(mirrored.matte.flip(-1), found.matte)
    torch.testing.assert_close(mirrored.presence, found.presence)
    # The mean of two looks lies near either.
    assert (found.points - plain.points)[..., :2].norm(dim=-1).mean() < 2


def test_package_stays_small() -> None:
    assert WEIGHTS.stat().st_size < 10_000_000


def test_damaged_weights_are_one_clear_message(tmp_path: Path) -> None:
    with pytest.raises(MienError, match="nothing there"):
        load(tmp_path / "nothing there.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(WEIGHTS.read_bytes()[:5000])
    with pytest.raises(MienError, match="cut"):
        load(tmp_path / "cut.safetensors")
    save_file({"something": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(MienError, match="other"):
        load(tmp_path / "other.safetensors")
