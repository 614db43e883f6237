"""Detail nodes: from measuring a shot to a face with the plate's softness, smear and grain."""

from dataclasses import replace

import cv2
import matplotlib.cbook
import pytest
import torch
from skimage import data

from mien.nodes.detail import code_face, detail_face, match_detail, measure_detail, steady_face
from mien.ops import detail as details
from mien.ops import grain as grains
from mien.ops.blend import over
from mien.ops.defocus import defocus
from mien.ops.sharpness import blur
from mien.ops.skin import skin
from mien.types import Detail, DetailSample, Face, Grain, Layer, Plate, Series, Window
from shots import points_at

FILM = Grain(
    40.0,
    ((1e-5, 3e-4, 0.0),) * 3,
    ((0.0, 4.0),) * 3,
    ((0.3, 0.05, 0.0),) * 3,
    ((0.3, 0.05, 0.0),) * 3,
    ((1.0, 0.6, 0.5), (0.6, 1.0, 0.6), (0.5, 0.6, 1.0)),
)
CORNER = (10, -6)
WIDTH = 125.0


def portrait() -> torch.Tensor:
    picture = torch.from_numpy(data.astronaut()[20:260, 100:340].copy()).movedim(-1, 0).float()
    return (picture / 255) ** 2.2


def oval(soft: float = 8.0) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(240) - 85.0, torch.arange(240) - 122.0, indexing="ij")
    return ((1 - torch.hypot(x / 48, y / 62)) * 50 / soft).clamp(0, 1)[None]


def face(speed: tuple[float, float] = (0.0, 0.0)) -> Face:
    points = points_at(122.0 + CORNER[0], 85.0 + CORNER[1], WIDTH)
    velocity = torch.tensor([*speed, 0.0]).expand(468, 3)
    return Face(points, torch.ones(468), 1.0, WIDTH, velocity=velocity)


def shot(softness: float, film: Grain | None) -> tuple[list[Layer], list[Plate]]:
    layers, plates = [], []
    for frame in range(1001, 1006):
        plate = blur(portrait(), softness)
        if film is not None:
            plate = grains.lay(plate, torch.ones(1, 240, 240), film, torch.ones(3, 1, 1), CORNER, frame + 500)
        layers.append(Layer(portrait(), oval(), CORNER, WIDTH))
        plates.append(Plate(plate, CORNER, frame))
    return layers, plates


def solved(layers: list[Layer], plates: list[Plate]) -> Series[Detail]:
    samples = tuple(measure_detail(layer, plate, face()) for layer, plate in zip(layers, plates))
    return match_detail(Series[DetailSample](1001, samples), smooth=4.0)


PLAIN = Detail(WIDTH, 2.0, 2.0, 0.5, FILM, (1.0, 1.0, 1.0))


def finish(layer: Layer, plate: Plate, detail: Detail = PLAIN, speed=(0.0, 0.0), **settings) -> Layer:
    return detail_face(layer, plate, face(speed), detail, **settings)


def test_a_sharp_clean_face_becomes_as_soft_and_grainy_as_the_plate() -> None:
    layers, plates = shot(2.5, FILM)
    series = solved(layers, plates)
    results = [
        detail_face(layer, plate, face(), detail)
        for layer, plate, detail in zip(layers, plates, series.values)
        if detail is not None
    ]
    again = [measure_detail(result, plate, face()) for result, plate in zip(results, plates)]
    assert all(abs(sample.blur) < 0.4 for sample in again)
    # Told of the results themselves: what ``own`` tells is what would be left of it after one more blur.
    for result, sample in zip(results, again):
        assert min(grains.share(result.image, result.matte, sample.grain)) > 0.75
    level = 0.3
    for result, plate in zip(results, plates):
        flat = (slice(None), slice(70, 100), slice(95, 115))
        rest = [picture[flat] - blur(picture, 4.0)[flat] for picture in (result.image, plate.image)]
        assert float(rest[0].std() / rest[1].std()) == pytest.approx(1.0, abs=0.2)
    detail = series.values[0]
    assert detail is not None
    a, b, c = detail.grain.variance[1]
    assert a + level * (b + level * c) == pytest.approx(1e-5 + 3e-4 * level, rel=0.4)


def test_a_plate_like_the_face_leaves_it_as_it_is() -> None:
    layers, plates = shot(0.0, None)
    detail = solved(layers, plates).values[0]
    assert detail is not None
    assert finish(layers[0], plates[0], detail) is layers[0]


def test_settings_at_rest_give_the_layer_itself() -> None:
    layers, plates = shot(2.0, FILM)
    assert finish(layers[0], plates[0], sharpness=0.0, motion="none", grain=0.0) is layers[0]
    assert finish(layers[0], plates[0], details.UNMATCHED) is layers[0]
    empty = replace(layers[0], matte=torch.zeros(1, 240, 240))
    assert finish(empty, plates[0]) is empty


def test_a_lens_out_of_focus_is_matched_by_discs() -> None:
    plate = Plate(defocus(portrait(), 3.5), CORNER, 1001)
    layer = Layer(portrait(), oval(), CORNER, WIDTH)
    detail = match_detail(Series(1001, (measure_detail(layer, plate, face()),))).values[0]
    assert detail is not None
    matched = {lens: finish(layer, plate, detail, lens=lens, grain=0.0).image for lens in ("smooth", "disc")}
    inside = (layer.matte == 1).expand_as(plate.image)
    off = {lens: float((image - plate.image)[inside].square().mean()) for lens, image in matched.items()}
    assert off["disc"] < 0.6 * off["smooth"]
    assert not torch.equal(finish(layer, plate, detail, lens="disc", blades=5, grain=0.0).image, matched["disc"])
    assert finish(layer, plate, details.UNMATCHED, lens="disc", blades=5) is layer
    assert torch.equal(finish(layer, plate, detail, lens="smooth", blades=5, grain=0.0).image, matched["smooth"])


def test_only_smearing_touches_the_matte_and_the_plate_stays() -> None:
    layers, plates = shot(2.0, FILM)
    kept = finish(layers[0], plates[0], texture=0.7, soften=0.01)
    assert kept.matte is layers[0].matte
    moved = finish(layers[0], plates[0], speed=(20.0, 0.0))
    assert not torch.equal(moved.matte, layers[0].matte)
    assert float(moved.matte.sum()) == pytest.approx(float(layers[0].matte.sum()), rel=0.01)
    for layer in (kept, moved):
        laid = over(layer.image, plates[0].image, layer.matte)
        outside = (layer.matte == 0).expand_as(laid)
        assert torch.equal(laid[outside], plates[0].image[outside])


def test_what_stands_in_front_is_not_smeared_over() -> None:
    layers, plates = shot(2.0, None)
    front = torch.zeros(1, 240, 240)
    front[..., 122:] = 1
    held = replace(layers[0], matte=layers[0].matte * (1 - front), mattes={"held": front})
    moved = finish(held, plates[0], speed=(24.0, 0.0))
    assert float(moved.matte[..., 122:].max()) == 0


def test_a_frame_is_the_same_whatever_region_it_is_rendered_in() -> None:
    layers, plates = shot(0.0, FILM)
    layer, plate = layers[0], plates[0]
    crop = (slice(None), slice(61, 220), slice(93, 230))
    corner = (CORNER[0] + 93, CORNER[1] + 61)
    part = Layer(layer.image[crop], layer.matte[crop], corner, WIDTH)
    detail = replace(PLAIN, blur=0.0, color_blur=0.0)
    whole = finish(layer, plate, detail)
    alone = finish(part, Plate(plate.image[crop], corner, plate.frame), detail)
    seen = (layer.matte > 0).expand_as(layer.image)[crop]
    assert torch.equal(whole.image[crop][seen], alone.image[seen])
    next_frame = finish(layer, replace(plate, frame=2), detail)
    assert not torch.equal(whole.image, next_frame.image)


def test_proxies_blur_less_by_their_scale_and_have_no_grain() -> None:
    layers, plates = shot(0.0, FILM)
    small = replace(layers[0], face_width=WIDTH / 2)
    result = finish(small, plates[0], replace(PLAIN, blur=8.0, color_blur=8.0))
    inner = layers[0].matte[0] > 0
    assert torch.allclose(result.image[:, inner], blur(layers[0].image, 2.0)[:, inner], atol=1e-5)


def test_texture_of_the_plate_replaces_grain_it_brings() -> None:
    layers, plates = shot(0.0, FILM)
    smooth = replace(layers[0], image=blur(portrait(), 16.0))
    textured = finish(smooth, plates[0], replace(PLAIN, blur=0.0, color_blur=0.0), texture=1.0)
    points = face().points[:, :2] - torch.tensor([float(v) for v in CORNER])
    on = skin(points, "mesh", (240, 240), WIDTH)[0] * oval()[0] > 0.99
    got, wanted = ((p - blur(p, 3.5))[:, on].flatten() for p in (textured.image, plates[0].image))
    assert float(torch.corrcoef(torch.stack([got, wanted]))[0, 1]) > 0.9
    # The mask fades and softens toward eyes and brows, and near black a ratio is held back.
    assert 0.75 < float(got.std() / wanted.std()) < 1.1


def boiling(count: int = 5) -> tuple[Window[Layer], Window[Plate]]:
    """A still plate, and a face on it whose detail and black dot differ from frame to frame."""
    layers, plates = [], []
    for n in range(count):
        noise = 0.03 * torch.randn(3, 240, 240, generator=torch.Generator().manual_seed(n))
        image = portrait() * (1 + noise)
        image[:, 80:100, 20 + 40 * n : 40 + 40 * n] = 0.0
        layers.append(Layer(image, oval(), CORNER, WIDTH))
        plates.append(Plate(portrait(), CORNER, n))
    return Window(tuple(layers)), Window(tuple(plates))


def test_detail_that_boils_is_calmed_and_what_moved_leaves_no_ghost() -> None:
    layers, plates = boiling()
    steady = steady_face(layers, plates, radius=2)
    still = (slice(None), slice(130, 200), slice(40, 200))
    rest = [float((image[still] - portrait()[still]).std()) for image in (layers.center.image, steady.image)]
    assert rest[1] < 0.65 * rest[0]
    assert float(steady.image[:, 84:96, 104:116].abs().max()) < 0.01, "the dot stays"
    ghost = steady.image[:, 84:96, 64:76] / portrait()[:, 84:96, 64:76]
    assert float(ghost.mean()) == pytest.approx(1.0, abs=0.03), "and its neighbors' dots do not come along"


def test_a_face_is_left_alone_without_neighbors_or_radius() -> None:
    layers, plates = boiling()
    one, here = layers.center, plates.center
    assert steady_face(Window((one,)), Window((here,))) is one
    assert steady_face(layers, plates, radius=2, amount=0.0) is one
    alone = steady_face(Window((None, one, None)), Window((None, here, None)), radius=1)
    assert torch.equal(alone.image, one.image)


def test_odd_light_neither_spreads_to_neighbors_nor_is_lost() -> None:
    layers, plates = boiling(3)
    odd = layers.values[0]
    assert odd is not None
    odd.image[:, 150, 100] = torch.inf
    layers.center.image[:, 160, 100] = torch.nan
    steady = steady_face(layers, plates, radius=1)
    assert bool(torch.isnan(steady.image[:, 160, 100]).all())
    assert int((~torch.isfinite(steady.image)).sum()) == 3
    assert torch.allclose(steady.image[:, 150, 100], layers.center.image[:, 150, 100], rtol=0.2)


def test_a_face_takes_the_blocks_of_a_coded_plate_and_of_no_other() -> None:
    shown = (portrait() ** (1 / 2.2) * 255).movedim(0, -1).byte().numpy()
    packed = cv2.imencode(".jpg", shown[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 40])[1]
    decoded = cv2.imdecode(packed, cv2.IMREAD_COLOR)[..., ::-1].copy()
    coded = Plate((torch.from_numpy(decoded).movedim(-1, 0).float() / 255) ** 2.2, CORNER, 1001)
    layer = Layer(portrait(), oval(), CORNER, WIDTH)
    assert code_face(layer, coded, 1.0) is layer
    assert code_face(layer, Plate(portrait(), CORNER, 1001), 1.0, amount=1.0) is layer
    done = code_face(layer, coded, 1.0, amount=1.0)
    inner = layer.matte[0] > 0.99
    before, after = ((one.image - coded.image)[:, inner].square().mean() for one in (layer, done))
    assert float(after) < 0.7 * float(before)
    outside = (layer.matte == 0).expand_as(layer.image)
    assert torch.equal(done.image[outside], layer.image[outside])
    half = code_face(layer, coded, 1.0, amount=0.5)
    assert torch.allclose(half.image, (layer.image + done.image) / 2, atol=1e-5)


def test_grain_is_measured_as_far_around_however_far_a_region_reaches() -> None:
    """A farther reach reads more of the plate; that is no reason to take its grain for another."""
    generator = torch.Generator().manual_seed(4)
    rough = torch.rand(3, 420, 420, generator=generator)
    smooth = 0.3 + 0.02 * torch.randn(3, 420, 420, generator=generator)
    inside = torch.zeros(1, 420, 420)
    inside[:, 60:-60, 60:-60] = 1
    whole = torch.where(inside > 0, smooth, rough)
    face = Face(points_at(210.0, 210.0, 120.0), torch.ones(468), 1.0, 120.0)
    matte = torch.zeros(1, 420, 420)
    matte[:, 160:260, 160:260] = 1
    found = []
    for cut in (0, 30, 55):
        here = slice(cut, 420 - cut)
        plate = Plate(whole[:, here, here], (cut, cut))
        layer = Layer(torch.full_like(plate.image, 0.3), matte[:, here, here], (cut, cut), 120.0)
        found.append(measure_detail(layer, plate, face))
    assert found[0].grain.weight > 0 and found[0] == found[1] == found[2]


def test_a_portrait_put_on_itself_lacks_none_of_its_grain() -> None:
    path = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    picture = (torch.from_numpy(cv2.imread(str(path))[72:373, 122:401, ::-1].copy()) / 255).movedim(-1, 0) ** 2.4
    y, x = torch.meshgrid(torch.arange(301.0), torch.arange(279.0), indexing="ij")
    matte = (torch.hypot(x - 140, (y - 150) / 1.2) < 95).float()[None]
    own = details.measure(picture, picture, picture, matte, (0.0, 0.0), 197.0)
    assert own.grain.weight > 0 and own.own == (1.0, 1.0, 1.0) and own.blur == pytest.approx(0, abs=0.02)
    clean = details.measure(blur(picture, 4.0), picture, picture, matte, (0.0, 0.0), 197.0)
    assert max(clean.own) < 0.6
