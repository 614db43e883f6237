"""Photographed skin lands where its points lie, is taken from either half of a face, and changes no label."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from mien import mesh
from mien.train.album import filmed_skins
from mien.train.facekit import PAGE, Kit, load_kit
from mien.train.faces import draw
from mien.train.skins import GAMMA, Skins, facing, lend, project
from mien.types import MienError

SIZE = 200


@pytest.fixture(scope="module")
def kit(shared: Path) -> Kit:
    path = shared / "facekit" / "facekit.npz"
    if not path.exists():
        pytest.skip("needs facekit.npz in the shared folder")
    return load_kit(path)


def turned(yaw: float) -> torch.Tensor:
    """Points (1, 468, 3) of the mean face in a picture of SIZE pixels."""
    angles = (torch.tensor([value]) for value in (yaw, 0.0, 0.0))
    return mesh.CANONICAL @ mesh.rotation_of(*angles).mT * 80 + torch.tensor([SIZE / 2, SIZE / 2 - 10, 0])


def sampled(values: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """Values (C, P) of a map (C, S, S) at positions (P, 2)."""
    places = at[None, None] * 2 / values.shape[-1] - 1
    return functional.grid_sample(values[None], places, align_corners=False)[0, :, 0]


def wash() -> torch.Tensor:
    """A picture (1, 3, SIZE, SIZE) whose color tells the place."""
    axis = torch.linspace(0.2, 0.9, SIZE)
    across, down = axis.expand(SIZE, SIZE), axis[:, None].expand(SIZE, SIZE)
    return torch.stack((across, down, 1.1 - across))[None]


def test_skin_lands_where_its_points_lie(kit: Kit) -> None:
    points, picture = turned(0.0), wash()
    skins = project(kit, picture, points)
    place = kit.point_texture
    sure = sampled(skins.known[0], place)[0] > 0.99
    assert sure.sum() > 120
    wanted = sampled(picture[0] ** GAMMA, points[0, :, :2])
    assert (sampled(skins.page[0], place) - wanted)[:, sure].abs().max() < 0.02


def test_facing_falls_as_the_head_turns() -> None:
    right, left = 50, 280
    ahead = facing(turned(0.0)[..., :2])[0]
    assert ahead[[right, left]].min() > 0.6
    away = facing(turned(60.0)[..., :2])[0]
    assert away[right] > 0.6 or away[left] > 0.6
    assert min(away[right], away[left]) < 0.1


def test_the_hidden_half_is_taken_from_the_other(kit: Kit) -> None:
    picture = torch.zeros(1, 3, SIZE, SIZE)
    picture[:, 0] = 0.8
    skins = project(kit, picture, turned(55.0))
    near = sampled(skins.known[0], kit.point_texture[[50, 280]])[0]
    assert near.min() > 0.5
    inside = skins.known[0, 0] > 0.5
    assert torch.allclose(skins.page[0, 0][inside], torch.tensor(0.8**GAMMA), atol=1e-3)
    assert skins.page[0, 1][inside].max() < 1e-6
    torch.testing.assert_close(skins.known, skins.known.flip(-1), atol=0.05, rtol=0)


def test_color_moves_between_the_photograph_and_the_drawn_tone() -> None:
    page = torch.full((1, 3, PAGE, PAGE), 0.3)
    skins = Skins(page, torch.ones(1, 1, PAGE, PAGE), torch.full((1, 3), 0.3))
    lent = lend(skins, torch.full((200, 3, 1, 1), 0.05), torch.Generator().manual_seed(0))
    wears = lent.cover[:, 0, 0, 0] > 0
    assert 40 < wears.sum() < 100
    worn = lent.page[wears][:, 0, 0, 0]
    assert ((worn > 0.05) & (worn < 0.3 + 1e-6)).all()
    torch.testing.assert_close(worn, lent.tone[wears][:, 0, 0, 0])
    assert (lent.tone[~wears] == 0.05).all()


def test_skin_changes_pictures_but_no_label(kit: Kit) -> None:
    skins = project(kit, wash(), turned(0.0))
    plain = draw(kit, 4, torch.Generator().manual_seed(1), 96)
    worn = draw(kit, 4, torch.Generator().manual_seed(1), 96, skins=skins)
    torch.testing.assert_close(plain.points, worn.points)
    torch.testing.assert_close(plain.visibility, worn.visibility)
    assert (plain.pictures - worn.pictures).abs().mean() > 0.01


def test_no_filmed_faces_is_one_clear_message(kit: Kit, tmp_path: Path) -> None:
    with pytest.raises(MienError, match="album film"):
        filmed_skins(kit, tmp_path)
