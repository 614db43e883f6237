"""The finished layer: lit, joined and carried as asked, opacity in the matte, identity settings exact."""

from typing import Any

import pytest
import torch

from mien.nodes import finish
from mien.nodes.finish import relight
from mien.ops.blend import carry_highlights, over
from mien.types import Face, Layer, Plate, Window
from shots import points_at

FAR = Face(torch.full((468, 3), -1000.0), torch.ones(468), 1.0, 100.0)
"""A face whose eyes and mouth lie outside the layer."""


def composite(layer: Layer, plate: Plate, face: Face, white: float, **settings: Any) -> Layer:
    """The node on one frame alone."""
    return finish.composite(Window((layer,)), Window((plate,)), face, white, **settings)


def some(height: int = 12, width: int = 14, corner: tuple[int, int] = (3, 5)) -> tuple[Layer, Plate]:
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(3, height, width, generator=generator)
    matte = torch.rand(1, height, width, generator=generator)
    plate = torch.rand(3, height, width, generator=generator)
    return Layer(image, matte, corner, 100.0), Plate(plate, corner)


def test_without_highlights_the_layer_is_untouched() -> None:
    layer, plate = some()
    result = composite(layer, plate, FAR, 1.0, highlights=0.0)
    assert torch.equal(result.image, layer.image) and result.matte is layer.matte


def test_a_face_on_itself_is_exact() -> None:
    _, plate = some()
    light = plate.image * 8 - 0.5
    assert torch.allclose(carry_highlights(light, light, 1.0), light, atol=1e-6)


def test_a_glint_of_the_plate_survives_and_the_faces_own_goes() -> None:
    layer, plate = some()
    layer.image[:] = 0.4
    layer.image[:, 2, 2] = 30.0
    plate.image[:] = 0.4
    plate.image[:, 6, 6] = 8.0
    plate.image[:, 7, 7] = -0.05
    lit = composite(layer, plate, FAR, 1.0).image
    assert lit[:, 6, 6].min() > 4
    assert torch.allclose(lit[:, 7, 7], torch.tensor(0.35))
    assert lit[:, 2, 2].max() <= 1
    assert torch.equal(lit[:, 4, 4], layer.image[:, 4, 4])


def test_infinite_light_is_not_carried() -> None:
    layer, plate = some()
    plate.image[:, 6, 6] = torch.inf
    plate.image[:, 7, 7] = torch.nan
    assert composite(layer, plate, FAR, 1.0).image.isfinite().all()


@pytest.mark.parametrize("opacity", [0.0, 0.3, 1.0])
def test_opacity_scales_the_matte_once(opacity: float) -> None:
    layer, plate = some()
    result = composite(layer, plate, FAR, 1.0, opacity=opacity, highlights=0.0)
    laid = over(result.image, plate.image, result.matte)
    assert torch.allclose(laid, plate.image + layer.matte * opacity * (layer.image - plate.image), atol=1e-6)


def test_regions_that_differ_meet_where_they_overlap() -> None:
    layer, _ = some()
    plate = Plate(torch.full((3, 6, 6), 9.0), (5, 8))
    lit = composite(layer, plate, FAR, 1.0).image
    assert (lit[:, 3:9, 2:8] >= 8).all()
    assert torch.equal(lit[:, :3], layer.image[:, :3])


def test_glints_of_the_plates_teeth_and_eyes_stay_with_the_plates_face() -> None:
    layer, plate = some(120, 100, (0, 0))
    layer.image[:], plate.image[:] = 0.4, 0.4
    points = points_at(50, 60, 90)
    face = Face(points, torch.ones(468), 1.0, 90.0)
    tooth, eye, cheek = (points[i, :2].long() for i in (13, 159, 50))
    for x, y in (tooth, eye, cheek):
        plate.image[:, y, x] = 8.0
    lit = composite(layer, plate, face, 1.0).image
    assert lit[:, tooth[1], tooth[0]].max() < 0.5
    assert lit[:, eye[1], eye[0]].max() < 3
    assert lit[:, cheek[1], cheek[0]].min() > 4


METHODS = ("over", "gradient", "mixed", "multiband")


def scene(width: float = 90.0) -> tuple[Layer, Plate, Face]:
    """A face of a width in pixels that is half as bright as the plate's, whose light falls from the left."""
    height, across = int(1.6 * width), int(1.4 * width)
    points = points_at(across / 2, height / 2, width)
    generator = torch.Generator().manual_seed(2)
    x = (torch.arange(across) + 0.5) / width
    light = torch.exp(1.0 - 1.4 * x).expand(3, height, across)
    plate = 0.3 * light * (1 + 0.02 * torch.randn(3, height, across, generator=generator))
    image = 0.15 * (1 + 0.02 * torch.randn(3, height, across, generator=generator))
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(across) + 0.5, indexing="ij")
    away = torch.hypot(x - across / 2, (y - height / 2) * 0.85)
    matte = ((0.42 * width - away) / (0.06 * width) + 0.5).clamp(0, 1)[None]
    face = Face(points, torch.ones(468), 1.0, width)
    return Layer(image, matte, (7, -4), width), Plate(plate, (7, -4)), moved(face, (7.0, -4.0, 0.0))


def moved(face: Face, by: tuple[float, float, float]) -> Face:
    return Face(face.points + torch.tensor(by), face.weight, face.confidence, face.width)


def test_settings_that_ask_for_nothing_give_the_very_same_layer() -> None:
    layer, plate, face = scene()
    assert composite(layer, plate, face, 2.0, highlights=0.0) is layer
    assert relight(layer, plate, face, 2.0, strength=0.0) is layer


@pytest.mark.parametrize("method", METHODS)
def test_the_plate_put_on_itself_is_the_plate(method: str) -> None:
    layer, plate, face = scene()
    same = Layer(plate.image.clone(), layer.matte, layer.corner, layer.face_width)
    lit = composite(relight(same, plate, face, 2.0), plate, face, 2.0, method=method)
    assert torch.allclose(over(lit.image, plate.image, lit.matte), plate.image, atol=2e-6)


@pytest.mark.parametrize("method", METHODS)
def test_outside_the_matte_the_plate_stays_bit_for_bit(method: str) -> None:
    layer, plate, face = scene()
    plate.image[:, 3, 3], plate.image[:, 4, 4], plate.image[:, 5, 5] = torch.inf, torch.nan, -0.0
    lit = composite(relight(layer, plate, face, 2.0), plate, face, 2.0, method=method, wrap=0.05, opacity=0.7)
    outside = layer.matte[0] == 0
    laid = over(lit.image, plate.image, lit.matte)
    assert torch.equal(laid[:, outside].view(torch.int32), plate.image[:, outside].view(torch.int32))
    assert torch.isfinite(lit.image).all()


@pytest.mark.parametrize("method", METHODS)
def test_the_matte_is_the_same_whatever_is_done_to_the_picture(method: str) -> None:
    layer, plate, face = scene()
    lit = composite(relight(layer, plate, face, 2.0), plate, face, 2.0, method=method, wrap=0.05)
    assert lit.matte is layer.matte and lit.corner == layer.corner


@pytest.mark.parametrize("method", METHODS)
def test_alpha_is_linear_in_opacity(method: str) -> None:
    layer, plate, face = scene()
    whole = composite(layer, plate, face, 2.0, method=method, wrap=0.03)
    half = composite(layer, plate, face, 2.0, method=method, wrap=0.03, opacity=0.5)
    back = plate.image.double()
    exact = back + 0.5 * layer.matte.double() * (whole.image.double() - back)
    assert (over(half.image, plate.image, half.matte) - exact).abs().max() < 1e-6


def test_relight_brings_the_light_of_the_plate() -> None:
    layer, plate, face = scene()
    inside = layer.matte[0] >= 1
    lit = relight(layer, plate, face, 2.0, strength=1.0, protect=0.0)
    spread = [(plate.image / p.image).log()[:, inside].std() for p in (layer, lit)]
    assert spread[1] < 0.35 * spread[0]
    half = relight(layer, plate, face, 2.0, strength=0.5, protect=0.0)
    assert torch.allclose(half.image.log(), (layer.image.log() + lit.image.log()) / 2, atol=1e-5)


def test_relight_spares_eyes_and_mouth_as_far_as_asked() -> None:
    layer, plate, face = scene()
    tooth = (face.points[13, :2] - torch.tensor([7.0, -4.0])).long()
    here = (slice(None), tooth[1], tooth[0])
    spared = relight(layer, plate, face, 2.0, strength=1.0, protect=1.0)
    assert torch.equal(spared.image[here], layer.image[here])
    assert (relight(layer, plate, face, 2.0, strength=1.0, protect=0.0).image[here] > 1.3 * layer.image[here]).all()


def test_relight_without_tint_keeps_hues() -> None:
    layer, plate, face = scene()
    warm = Plate(plate.image * torch.tensor([1.5, 1.0, 0.6])[:, None, None], plate.corner)
    for tint, least, most in ((0.0, 0.0, 1e-4), (1.0, 0.3, 2.0)):
        lit = relight(layer, warm, face, 2.0, strength=1.0, tint=tint)
        inside = layer.matte[0] >= 1
        turned = ((lit.image[0] / lit.image[2]) / (layer.image[0] / layer.image[2])).log()[inside].mean()
        assert least <= turned <= most


@pytest.mark.parametrize("method", ["gradient", "multiband"])
def test_a_proxy_looks_like_the_final_picture(method: str) -> None:
    pictures = []
    for width in (160.0, 80.0):
        layer, plate, face = scene(width)
        lit = composite(relight(layer, plate, face, 2.0), plate, face, 2.0, method=method)
        shown = over(lit.image, plate.image, lit.matte)
        pictures.append(torch.nn.functional.avg_pool2d(shown, 2) if width == 160 else shown)
    height, width = (min(p.shape[n] for p in pictures) for n in (1, 2))
    apart = (pictures[0][:, :height, :width] / pictures[1][:, :height, :width]).log()
    assert apart.abs().mean() < 0.03


def test_wrap_brightens_the_rim_only() -> None:
    layer, plate, face = scene()
    bright = Plate(torch.where(layer.matte > 0, plate.image, 3.0), plate.corner)
    plain = composite(layer, bright, face, 20.0, highlights=0.0)
    spilled = composite(layer, bright, face, 20.0, highlights=0.0, wrap=0.04, wrap_amount=1.0)
    added = spilled.image - plain.image
    rim, middle = (layer.matte[0] > 0.3) & (layer.matte[0] < 0.9), layer.matte[0] >= 1
    assert added[:, rim].mean() > 0.2 and added[:, 60:80, 55:70].abs().max() < 0.01 and (added >= 0).all()
    assert middle.any()


@pytest.mark.parametrize("matte", [0.0, float("nan")])
@pytest.mark.parametrize("method", METHODS)
def test_an_empty_matte_leaves_everything(matte: float, method: str) -> None:
    layer, plate, face = scene()
    empty = Layer(layer.image, torch.full_like(layer.matte, matte), layer.corner, layer.face_width)
    lit = composite(relight(empty, plate, face, 2.0), plate, face, 2.0, method=method, wrap=0.05)
    assert torch.equal(over(lit.image, plate.image, lit.matte), plate.image)


def frames_of(count: int, method: str, steady: int, **settings: Any) -> list[torch.Tensor]:
    """The middle of a face joined to a plate past whose rim something dark comes and goes."""
    shot = []
    for frame in range(count + 2 * steady):
        layer, plate, face = scene()
        shade = 1 - 0.6 * (frame % 3 == 0)
        dim = torch.ones_like(plate.image)
        dim[:, :, :45] = shade
        shot.append((layer, Plate(plate.image * dim, plate.corner), face))
    results = []
    for frame in range(steady, steady + count):
        near = shot[frame - steady : frame + steady + 1]
        layers, plates = Window(tuple(s[0] for s in near)), Window(tuple(s[1] for s in near))
        done = finish.composite(layers, plates, near[0][2], 2.0, method=method, steady=steady, **settings)
        results.append(done.image[:, 60:85, 50:75].mean())
    return results


@pytest.mark.parametrize("method", ["gradient", "mixed"])
def test_what_passes_by_the_rim_flickers_less_when_steadied(method: str) -> None:
    moving = torch.stack(frames_of(6, method, 0, highlights=0.0)).log().std()
    steady = torch.stack(frames_of(6, method, 2, highlights=0.0)).log().std()
    assert moving > 0.01 and steady < 0.35 * moving


@pytest.mark.parametrize("method", METHODS)
def test_a_still_shot_is_the_same_however_steadied(method: str) -> None:
    layer, plate, face = scene()
    alone = composite(layer, plate, face, 2.0, method=method)
    for layers, plates in (((layer,) * 5, (plate,) * 5), ((None, layer, None), (None, plate, plate))):
        among = finish.composite(Window(layers), Window(plates), face, 2.0, method=method, steady=len(layers) // 2)
        assert torch.allclose(among.image, alone.image, rtol=1e-5)


def test_light_moves_with_the_face_from_frame_to_frame() -> None:
    layer, plate, face = scene()
    wide, high = plate.image.shape[2], plate.image.shape[1]
    beside = Layer(layer.image, layer.matte, (layer.corner[0] + 40, layer.corner[1] - 3), layer.face_width)
    there = Plate(plate.image, beside.corner)
    alone = composite(layer, plate, face, 2.0, method="gradient")
    among = finish.composite(
        Window((beside, layer, beside)), Window((there, plate, there)), face, 2.0, method="gradient", steady=1
    )
    assert among.image.shape[-2:] == (high, wide) and torch.allclose(among.image, alone.image, rtol=1e-4)


def test_neighbors_without_a_matte_do_not_count() -> None:
    layer, plate, face = scene()
    empty = Layer(layer.image, torch.zeros_like(layer.matte), layer.corner, layer.face_width)
    alone = composite(layer, plate, face, 2.0, method="gradient")
    among = finish.composite(
        Window((empty, layer, empty)), Window((plate,) * 3), face, 2.0, method="gradient", steady=1
    )
    assert torch.allclose(among.image, alone.image, rtol=1e-5)
