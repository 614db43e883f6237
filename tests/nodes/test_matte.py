"""Matte nodes."""

import math

import pytest
import torch

from mien import mesh
from mien.nodes.matte import face_matte, matte_edge
from mien.types import Face, Layer

CORNER = (37, -12)


def face(scale: float = 60.0, scheme: str = "mesh", shift: float = 0.0) -> Face:
    points = mesh.CANONICAL * scale + torch.tensor([CORNER[0] + 100 + shift, CORNER[1] + 90, 0.0])
    points = points if scheme == "mesh" else mesh.to_ibug68(points)
    return Face(points, torch.ones(len(points)), 1.0, 1.6 * scale, scheme)


def layer(own: torch.Tensor | None = None) -> Layer:
    matte = torch.ones(1, 200, 200) if own is None else own
    return Layer(torch.rand(3, 200, 200), matte, CORNER, 96.0)


@pytest.mark.parametrize("scheme", ["mesh", "ibug68"])
def test_the_hull_holds_the_face_and_little_else(scheme: str) -> None:
    shaped = face_matte(layer(), face(scheme=scheme), source="hull", forehead=1.0)
    inside = face(scheme=scheme).points[:, :2] - torch.tensor(CORNER)
    for x, y in inside.tolist():
        around = shaped.matte[0, max(int(y) - 2, 0) : int(y) + 3, max(int(x) - 2, 0) : int(x) + 3]
        assert around.max() > 0.9
    assert shaped.matte[0, 5, 5] == 0 and shaped.matte[0, -5, 100] == 0
    assert set(shaped.mattes) == {"network", "hull"}


def test_both_is_where_both_agree() -> None:
    own = torch.zeros(1, 200, 200)
    own[..., :100] = 0.7
    both = face_matte(layer(own), face(), source="both")
    hull = face_matte(layer(own), face(), source="hull")
    assert torch.equal(both.matte, torch.minimum(hull.matte, own))
    assert set(both.mattes) == {"network", "hull", "face"}
    network = face_matte(layer(own), face(), source="network")
    assert torch.equal(network.matte, own) and set(network.mattes) == {"network"}


def test_the_hull_moves_as_the_face_does() -> None:
    at, there = (face_matte(layer(), face(shift=s), source="hull").matte.double() for s in (0.0, 0.1))
    x = torch.arange(200).double() + 0.5
    centers = [float((matte * x).sum() / matte.sum()) for matte in (at, there)]
    assert centers[1] - centers[0] == pytest.approx(0.1, abs=1e-4)


def test_forehead() -> None:
    tops = []
    for forehead in (0.0, 0.5, 1.0):
        matte = face_matte(layer(), face(), source="hull", forehead=forehead).matte[0]
        tops.append(int((matte.amax(1) > 0.5).nonzero().min()))
    assert tops[0] > tops[1] > tops[2]


@pytest.mark.parametrize("scheme", ["mesh", "ibug68"])
def test_brows_can_be_left_out(scheme: str) -> None:
    """1 takes the brows in, 0 stops at the upper lids; the chin does not care."""
    lids = {"mesh": mesh.RIGHT_EYE[8:], "ibug68": [37, 38]}[scheme]
    brows = {"mesh": mesh.RIGHT_BROW[5:], "ibug68": [18, 19, 20]}[scheme]
    there = face(scheme=scheme)
    covered = {}
    for brow in (0.0, 0.5, 1.0):
        matte = face_matte(layer(), there, source="hull", forehead=0.0, brow=brow).matte[0]
        covered[brow] = matte
        x, y = (there.points[brows, :2] - torch.tensor(CORNER)).mean(0).tolist()
        assert (matte[int(y) + 1, int(x)] > 0.5) == (brow == 1.0)
        x, y = (there.points[lids, :2] - torch.tensor(CORNER)).mean(0).tolist()
        assert matte[int(y) + 4, int(x)] == 1
    assert covered[0.0].sum() < covered[0.5].sum() < covered[1.0].sum()
    assert torch.equal(covered[0.0][120:], covered[1.0][120:])
    assert torch.equal(covered[1.0], face_matte(layer(), there, source="hull", forehead=0.0).matte[0])


def test_edge_is_measured_in_face_widths() -> None:
    areas = {}
    for scale in (1, 2):
        size = 200 * scale
        y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
        disc = (50 * scale - torch.hypot(x - size / 2, y - size / 2) + 0.5).clamp(0, 1)[None]
        small = Layer(torch.zeros(3, size, size), disc, (0, 0), 96.0 * scale)
        shaped = matte_edge(small, face(), grow=0.1, soften=0.05)
        areas[scale] = float(shaped.matte.sum()) / scale**2
        assert torch.equal(shaped.mattes["edge"], shaped.matte)
        assert math.sqrt(areas[scale] / math.pi) == pytest.approx(59.6, abs=0.3)
    assert areas[1] == pytest.approx(areas[2], rel=0.01)


def test_an_edge_left_alone_keeps_every_bit() -> None:
    alone = layer(torch.rand(1, 200, 200))
    assert matte_edge(alone, face(), grow=0.0, soften=0.0) is alone


def leaning(roll: float, scheme: str, aspect: float = 1.0) -> Face:
    """A face that leans by degrees; plates of wide pixels show it narrow."""
    turn = mesh.rotation_of(*torch.tensor([0.0, 0.0, roll]))
    points = mesh.CANONICAL @ turn.T * 40 * torch.tensor([1 / aspect, 1, 1])
    points = points + torch.tensor([CORNER[0] + 100.0, CORNER[1] + 100, 0])
    points = points if scheme == "mesh" else mesh.to_ibug68(points)
    return Face(points, torch.ones(len(points)), 1.0, 96.0, scheme, aspect)


@pytest.mark.parametrize("scheme", ["mesh", "ibug68"])
@pytest.mark.parametrize("roll", [0.0, 40.0, -100.0])
@pytest.mark.parametrize(
    ("side", "toward"), [("chin", (0, 1)), ("brow", (0, -1)), ("left", (-1, 0)), ("right", (1, 0))]
)
def test_a_side_of_the_face_is_found_however_it_leans(scheme, roll, side, toward) -> None:
    y, x = torch.meshgrid(torch.arange(200) + 0.5, torch.arange(200) + 0.5, indexing="ij")
    disc = (50 - torch.hypot(x - 100, y - 100) + 0.5).clamp(0, 1)[None]
    plain = matte_edge(layer(disc), leaning(roll, scheme), grow=0.0, soften=0.02)
    shaped = matte_edge(layer(disc), leaning(roll, scheme), grow=0.0, soften=0.02, **{side: 0.1})
    gained = (shaped.matte - plain.matte)[0]
    assert gained.min() >= -1e-6 and gained.sum() > 300
    angle = math.radians(roll)
    middle = torch.stack([(gained * (x - 100)).sum(), (gained * (y - 100)).sum()]) / gained.sum()
    there = torch.tensor([toward[0] * math.cos(angle) - toward[1] * math.sin(angle),
                          toward[0] * math.sin(angle) + toward[1] * math.cos(angle)])  # fmt: skip
    assert float(torch.nn.functional.normalize(middle, dim=0) @ there) > 0.97


def test_sides_on_an_anamorphic_plate() -> None:
    y, x = torch.meshgrid(torch.arange(200) + 0.5, torch.arange(200) + 0.5, indexing="ij")
    ellipse = (40 - torch.hypot(x - 100, (y - 100) / 2) + 0.5).clamp(0, 1)[None]
    wide = leaning(0.0, "mesh", 2.0)
    left, chin = (matte_edge(layer(ellipse), wide, grow=0.0, soften=0.02, **{side: 0.1}) for side in ("left", "chin"))
    plain = matte_edge(layer(ellipse), wide, grow=0.0, soften=0.02).matte
    assert float((left.matte - plain)[0, 100].sum()) == pytest.approx(9.6, abs=0.3)
    assert float((chin.matte - plain)[0, :, 100].sum()) == pytest.approx(19.2, abs=0.6)


def test_all_nodes_survive_mattes_of_nothing_and_nonsense() -> None:
    for value in (0.0, 1.0, math.nan, math.inf):
        shaped = matte_edge(layer(torch.full((1, 200, 200), value)), face(), chin=0.1)
        assert shaped.matte.isfinite().all() and 0 <= shaped.matte.min() <= shaped.matte.max() <= 1
