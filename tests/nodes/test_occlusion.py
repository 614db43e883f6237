"""Nodes that work on what a matte keeps and holds out: roto, other layers, hair, halos, flicker."""

import math

import pytest
import torch

from mien.nodes.matte import clean_edge, combine_mattes, hold_out, refine_matte, steady_matte
from mien.types import Layer, Plate, Window

CORNER = (37, -12)
SIZE = (80, 100)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def disc(x: float = 50.0, y: float = 40.0, radius: float = 28.0, soft: float = 1.0) -> torch.Tensor:
    down, across = torch.meshgrid(torch.arange(SIZE[0]) + 0.5, torch.arange(SIZE[1]) + 0.5, indexing="ij")
    return ((radius - torch.hypot(across - x, down - y)) / soft + 0.5).clamp(0, 1)[None]


def layer(matte: torch.Tensor | None = None, **mattes: torch.Tensor) -> Layer:
    own = disc() if matte is None else matte
    return Layer(noise(3, *SIZE), own, CORNER, 60.0, mattes)


def plate(image: torch.Tensor | None = None) -> Plate:
    return Plate(noise(3, *SIZE, seed=1) if image is None else image, CORNER)


def roto_of(matte: torch.Tensor):
    def read(file: str, channel: str, corner: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
        assert (file, channel, corner, size) == ("hand.####.exr", "auto", CORNER, SIZE)
        return matte

    return read


def test_nothing_is_held_out_without_a_file() -> None:
    one = layer()
    assert hold_out(one, roto_of(disc())) is one
    assert hold_out(one, roto_of(disc()), file="") is one
    assert hold_out(one, roto_of(disc()), file="hand.####.exr", amount=0.0) is one


@pytest.mark.parametrize(
    ("use", "invert", "expected"),
    [
        ("hold out", False, lambda own, hand: own * (1 - hand)),
        ("hold out", True, lambda own, hand: own * hand),
        ("keep", False, lambda own, hand: own * hand),
        ("replace", False, lambda own, hand: hand),
    ],
)
def test_ways_to_use_a_roto(use, invert, expected) -> None:
    hand, one = disc(70, 40, 20, 9.0), layer()
    for amount in (1.0, 0.4):
        shaped = hold_out(one, roto_of(hand), file="hand.####.exr", use=use, invert=invert, amount=amount)
        wanted = torch.lerp(one.matte, expected(one.matte, hand), amount)
        assert torch.allclose(shaped.matte, wanted, atol=1e-6)
    assert shaped.image is one.image


def test_what_is_held_out_is_told_and_adds_up() -> None:
    first, second = disc(30, 40, 15, 5.0), disc(40, 40, 15, 5.0)
    once = hold_out(layer(), roto_of(first), file="hand.####.exr")
    assert torch.equal(once.mattes["hold_out"], first)
    twice = hold_out(once, roto_of(second), file="hand.####.exr")
    assert torch.allclose(twice.mattes["hold_out"], 1 - (1 - first) * (1 - second))
    assert torch.allclose(twice.matte, layer().matte * (1 - twice.mattes["hold_out"]), atol=1e-6)
    grown = hold_out(layer(), roto_of(first), file="hand.####.exr", grow=0.05)
    assert float(grown.mattes["hold_out"].sum()) > 1.3 * float(first.sum())


OPERATIONS = {
    "min": lambda a, b: torch.minimum(a, b),
    "max": lambda a, b: torch.maximum(a, b),
    "multiply": lambda a, b: a * b,
    "subtract": lambda a, b: (a - b).clamp(min=0),
    "stencil": lambda a, b: a * (1 - b),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_two_mattes_make_one(operation: str) -> None:
    own, other = disc(soft=12.0), disc(65, 30, 20, 6.0)
    shaped = combine_mattes(layer(own), layer(other), operation=operation)
    assert torch.allclose(shaped.matte, OPERATIONS[operation](own, other), atol=1e-7)
    assert shaped.matte.min() >= 0 and shaped.matte.max() <= 1
    assert combine_mattes(one := layer(own), layer(other), operation=operation, amount=0.0) is one


def test_the_smaller_of_two_soft_edges_does_not_choke() -> None:
    soft = disc(soft=20.0)
    assert torch.equal(combine_mattes(layer(soft), layer(soft)).matte, soft)
    assert combine_mattes(layer(soft), layer(soft), operation="multiply").matte.sum() < 0.98 * soft.sum()


def test_layers_that_lie_elsewhere_are_brought_into_place() -> None:
    own = disc()
    other = Layer(noise(3, 30, 40), torch.ones(1, 30, 40), (CORNER[0] + 10, CORNER[1] - 5), 60.0)
    shaped = combine_mattes(layer(own), other).matte
    assert torch.equal(shaped[:, :25, 10:50], own[:, :25, 10:50])
    assert (shaped[:, 25:] == 0).all() and (shaped[:, :, :10] == 0).all() and (shaped[:, :, 50:] == 0).all()
    away = Layer(noise(3, 5, 5), torch.ones(1, 5, 5), (900, 900), 60.0)
    assert (combine_mattes(layer(own), away).matte == 0).all()


def test_refining_is_off_until_asked_for() -> None:
    one = layer()
    assert refine_matte(one, plate()) is one


@pytest.mark.parametrize("method", ["guided", "hair"])
def test_a_rough_matte_is_pulled_to_the_picture(method: str) -> None:
    truth, rough = disc(50, 40, 24), disc(51.5, 40, 26)
    dark, bright = torch.tensor([0.1, 0.06, 0.04])[:, None, None], torch.tensor([0.6, 0.7, 0.9])[:, None, None]
    picture = truth * dark + (1 - truth) * bright + 0.01 * noise(3, *SIZE)
    shaped = refine_matte(layer(rough), plate(picture), method=method, amount=1.0, radius=0.12)
    error, before = (shaped.matte - truth).abs().sum(), (rough - truth).abs().sum()
    assert error < 0.35 * before
    assert (shaped.matte[disc(51.5, 40, 42) == 0] == 0).all()
    assert (shaped.matte[disc(51.5, 40, 10) > 0] == 1).all()
    half = refine_matte(layer(rough), plate(picture), method=method, amount=0.5, radius=0.12)
    assert torch.allclose(half.matte, (rough + shaped.matte) / 2, atol=1e-5)


@pytest.mark.parametrize("method", ["guided", "hair"])
def test_refining_shows_nothing_that_the_identity_has_not_drawn(method: str) -> None:
    truth, rough, network = disc(50, 40, 24), disc(50, 40, 21), disc(46, 40, 22, 5.0)
    picture = (truth * 0.6 + (1 - truth) * 0.1).expand(3, -1, -1) + 0.01 * noise(3, *SIZE)
    one = layer(torch.minimum(rough, network), network=network)
    shaped = refine_matte(one, plate(picture), method=method, amount=1.0, radius=0.12)
    assert (shaped.matte <= torch.maximum(network, one.matte) + 1e-6).all()
    assert shaped.matte.sum() > one.matte.sum()


def test_what_is_held_out_is_refined_too() -> None:
    truth, rough = disc(50, 40, 12), disc(51.5, 40, 14)
    picture = (truth * 0.6 + (1 - truth) * 0.1).expand(3, -1, -1) + 0.01 * noise(3, *SIZE)
    one = layer(disc(50, 40, 36) * (1 - rough), hold_out=rough)
    shaped = refine_matte(one, plate(picture), amount=1.0, radius=0.12)
    assert (shaped.mattes["hold_out"] - truth).abs().sum() < 0.5 * (rough - truth).abs().sum()
    inside = disc(50, 40, 24) == 1
    assert (shaped.matte + shaped.mattes["hold_out"] - 1)[inside].abs().mean() < 0.02


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_refining_a_matte_without_an_edge_leaves_it(value: float) -> None:
    flat = torch.full((1, *SIZE), value)
    bad = noise(3, *SIZE)
    bad[:, 3, 4], bad[:, 9, 9] = math.nan, math.inf
    for method in ("guided", "hair"):
        assert torch.equal(refine_matte(layer(flat), plate(bad), method=method, amount=1.0).matte, flat)


def test_a_hole_of_nan_in_a_matte_stays_a_hole() -> None:
    holed = disc()
    holed[0, 40, 50] = math.nan
    for method in ("guided", "hair"):
        shaped = refine_matte(layer(holed), plate(), method=method, amount=1.0).matte
        near = disc(50, 40, 12) > 0
        assert shaped[~near].isfinite().all()


def test_refining_reaches_only_as_far_as_the_plate() -> None:
    small = Plate(noise(3, 30, 40, seed=2), (CORNER[0] + 20, CORNER[1] + 5))
    shaped = refine_matte(layer(), small, amount=1.0).matte
    outside = torch.ones(1, *SIZE, dtype=torch.bool)
    outside[:, 5:35, 20:60] = False
    assert torch.equal(shaped[outside], disc()[outside])
    away = Plate(noise(3, 5, 5), (900, 900))
    assert refine_matte(one := layer(), away, amount=1.0) is one


def composed(front: Layer, back: Plate) -> torch.Tensor:
    return back.image + front.matte * (front.image - back.image)


def test_hair_in_front_keeps_its_color_and_loses_the_old_skin() -> None:
    """A half transparent strand over skin: beneath it the new face must show, not a mixture with the old one."""
    hair, skin, new = 0.03, 0.6, 0.25
    x = torch.arange(100.0).expand(1, *SIZE)
    strand = (0.8 - ((x - 50) / 6).abs() * 0.4).clamp(0, 1)
    shaded = skin * (0.8 + 0.4 * x / 100)
    picture = (strand * hair + (1 - strand) * shaded).expand(3, -1, -1)
    face = Layer(torch.full((3, *SIZE), new), 1 - strand, CORNER, 60.0, {"hold_out": strand})
    truth = strand * hair + (1 - strand) * new
    cleaned = clean_edge(face, plate(picture), radius=0.3)
    before, after = composed(face, plate(picture)), composed(cleaned, plate(picture))
    soft = ((strand > 0.05) & (strand < 0.95)).expand(3, -1, -1)
    assert (after - truth)[soft].abs().mean() < 0.35 * (before - truth)[soft].abs().mean()
    clear = (strand == 0).expand(3, -1, -1)
    assert torch.equal(after[clear], before[clear])


def test_a_clean_edge_costs_nothing_where_nothing_is_soft() -> None:
    hard = (disc() > 0.5).float()
    for one in (layer(), layer(hold_out=hard), layer(network=hard)):
        assert clean_edge(one, plate(), own=1.0) is one
    soft = layer(hold_out=disc(soft=9.0))
    assert clean_edge(soft, plate(), amount=0.0) is soft


def test_a_clean_edge_survives_garbage_and_keeps_light() -> None:
    bad = noise(3, *SIZE) * 40
    bad[:, 40, 25], bad[:, 9, 9] = math.nan, math.inf
    cleaned = clean_edge(layer(hold_out=disc(soft=20.0)), plate(bad))
    assert cleaned.image.isfinite().all()


def test_the_identitys_own_edge_loses_its_background() -> None:
    own = disc(soft=16.0)
    face = Layer(own * 0.3 + (1 - own) * torch.ones(3, *SIZE), own, CORNER, 60.0, {"network": own})
    cleaned = clean_edge(face, plate(), own=1.0, radius=0.2).image
    soft = ((own > 0.3) & (own < 1)).expand(3, -1, -1)
    assert (cleaned - 0.3)[soft].abs().mean() < 0.2 * (face.image - 0.3)[soft].abs().mean()


def moving(step: float, flicker: float, seed: int = 0) -> tuple[Layer, Plate]:
    """A textured disc that moves by ``step`` pixels, with a matte whose size flickers."""
    x, y = 50 + step, 40 + 0.5 * step
    down, across = torch.meshgrid(torch.arange(SIZE[0]) + 0.5, torch.arange(SIZE[1]) + 0.5, indexing="ij")
    u, v = across - x, down - y
    skin = 0.35 + 0.1 * torch.sin(u / 2.1) * torch.cos(v / 2.7) + 0.06 * torch.sin((u + v) / 1.6)
    wall = 0.1 + 0.04 * torch.sin(across / 3) * torch.cos(down / 4)
    there = disc(x, y, 26)
    picture = (there * skin + (1 - there) * wall).expand(3, -1, -1) + 0.004 * noise(3, *SIZE, seed=seed)
    return layer(disc(x, y, 22 + flicker, 3.0)), plate(picture)


def test_steadying_is_off_until_asked_for_and_alone_changes_nothing() -> None:
    one, here = moving(0, 0)
    assert steady_matte(Window((one,)), Window((here,))) is one
    alone = steady_matte(Window((None, one, None)), Window((None, here, None)), radius=1)
    assert torch.equal(alone.matte, one.matte)


@pytest.mark.parametrize("speed", [0.0, 1.3, 4.0])
def test_flicker_is_calmed_along_the_motion(speed: float) -> None:
    flicker = [1.5, -1.5, 1.5]
    frames = [moving((k - 1) * speed, flicker[k], k) for k in range(3)]
    steady = steady_matte(Window(tuple(f[0] for f in frames)), Window(tuple(f[1] for f in frames)), radius=1)
    truth = disc(50, 40, 22, 3.0)
    raw = float((frames[1][0].matte - truth).sum().abs())
    assert float((steady.matte - truth).sum().abs()) < 0.1 * raw
    assert (steady.matte - truth).abs().sum() < 0.7 * raw
    assert steady.matte.min() >= 0 and steady.matte.max() <= 1


def test_a_neighbor_that_shows_something_else_is_not_believed() -> None:
    one, here = moving(0, 0)
    strange = plate(noise(3, *SIZE, seed=9))
    other = layer(disc(20, 60, 12))
    steady = steady_matte(Window((other, one, other)), Window((strange, here, strange)), radius=1)
    assert (steady.matte - one.matte).abs().mean() < 0.02


def test_a_neighbor_of_another_region_is_brought_into_place() -> None:
    one, here = moving(0, -1.5)
    other, there = moving(0, 1.5, 3)
    shifted = Layer(other.image[:, 4:, 6:], other.matte[:, 4:, 6:], (CORNER[0] + 6, CORNER[1] + 4), 60.0)
    cut = Plate(there.image[:, 4:, 6:], shifted.corner)
    steady = steady_matte(Window((shifted, one, shifted)), Window((cut, here, cut)), radius=1)
    truth = disc(50, 40, 22, 3.0)
    assert float((steady.matte - truth).sum().abs()) < 0.1 * float((one.matte - truth).sum().abs())
