import math

import cv2
import matplotlib.cbook
import numpy as np
import pytest
import torch

from mien import mesh
from mien.models.photograph import warp_source
from mien.models.warp import WarpIdentity, WarpTake, warp_identity
from mien.nodes.convert import convert_face
from mien.nodes.matte import face_matte, matte_edge
from mien.types import Face, MienError, Plate


def turned(yaw: float = 0.0, pitch: float = 0.0) -> torch.Tensor:
    a, b = math.radians(yaw), math.radians(pitch)
    around = torch.tensor([[math.cos(a), 0, -math.sin(a)], [0, 1, 0], [math.sin(a), 0, math.cos(a)]])
    nod = torch.tensor([[1, 0, 0], [0, math.cos(b), -math.sin(b)], [0, math.sin(b), math.cos(b)]])
    return mesh.CANONICAL @ (nod @ around).T


def placed(
    points: torch.Tensor = mesh.CANONICAL, scale: float = 130.0, at: tuple[float, float] = (200.0, 140.0)
) -> torch.Tensor:
    return points * scale + torch.tensor([*at, 0.0])


def a_face(points: torch.Tensor, width: float = 220.0) -> Face:
    return Face(points, torch.ones(mesh.POINTS), 1.0, width)


def grainy(height: int = 360, width: int = 400, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 20, width // 20, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)[0]
    return smooth + 0.05 * torch.randn(3, height, width, generator=generator)


def smooth_picture(height: int = 360, width: int = 400) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([0.5 + 0.4 * torch.sin(x / 9 + k) * torch.cos(y / 7 - k) for k in range(3)])


def psnr(a: torch.Tensor, b: torch.Tensor, inside: torch.Tensor) -> float:
    return float(-10 * torch.log10((a - b).square().mean(0)[inside].mean().clamp(min=1e-20)))


def open_mouth(points: torch.Tensor, by: float) -> torch.Tensor:
    lower = [95, 88, 178, 87, 14, 317, 402, 318, 324]
    moved = points.clone()
    arc = torch.sin(torch.linspace(0, math.pi, len(lower) + 2)[1:-1])
    moved[lower, 1] += by * arc
    return moved


@pytest.mark.parametrize("yaw", [0.0, 35.0])
def test_a_person_put_on_themselves_is_the_plate_grain_included(yaw: float) -> None:
    image, points = grainy(), placed(turned(yaw))
    layer = warp_identity([warp_source(image, points)])(Plate(image, (0, 0)), a_face(points))
    inside = layer.matte[0] > 0.99
    assert inside.sum() > 15000
    assert psnr(layer.image, image, inside) > 60


def test_the_region_does_not_change_the_result() -> None:
    image, points = grainy(), placed()
    identity = warp_identity([warp_source(grainy(seed=3), placed(scale=120.0))])
    whole = identity(Plate(image, (0, 0)), a_face(points))
    part = identity(Plate(image[:, 40:, 60:350], (60, 40)), a_face(points))
    assert torch.allclose(part.matte, whole.matte[:, 40:, 60:350], atol=1e-4)
    inside = whole.matte[0, 40:, 60:350] > 0
    difference = (part.image - whole.image[:, 40:, 60:350]).abs().amax(0)
    assert difference[inside].max() < 1e-3
    assert part.corner == (60, 40)


def test_what_was_drawn_before_does_not_change_the_result() -> None:
    source = placed(scale=130.0)
    photograph = grainy()
    for scale in (50.0, 85.0, 100.0, 180.0):
        points = placed(scale=scale)
        plate, face = Plate(grainy(seed=3), (0, 0)), a_face(points, 1.69 * scale)
        fresh, used = (warp_identity([warp_source(photograph, source)]) for _ in range(2))
        small = placed(scale=20.0, at=(40.0, 40.0))
        used(Plate(torch.zeros(3, 80, 80), (0, 0)), a_face(small, 34.0))
        assert torch.equal(fresh(plate, face).image, used(plate, face).image), scale


def test_an_affine_move_is_one_resampling_as_opencv_does_it() -> None:
    picture = smooth_picture()
    there = placed()
    matrix = np.array([[0.94, 0.16, 11.3], [-0.16, 0.94, 38.6]])
    linear, shift = torch.tensor(matrix[:, :2]).float(), torch.tensor(matrix[:, 2]).float()
    here = there.clone()
    here[:, :2] = there[:, :2] @ linear.T + shift
    layer = warp_identity([warp_source(picture, there)])(Plate(torch.zeros(3, 360, 400), (0, 0)), a_face(here))
    y, x = np.mgrid[:360, :400] + 0.5
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    u, v = (back[k, 0] * x + back[k, 1] * y + back[k, 2] - 0.5 for k in (0, 1))
    oracle = cv2.remap(picture.permute(1, 2, 0).numpy(), u.astype(np.float32), v.astype(np.float32), cv2.INTER_LANCZOS4)
    inside = layer.matte[0] > 0.99
    assert inside.sum() > 15000
    assert psnr(layer.image, torch.tensor(oracle).permute(2, 0, 1), inside) > 45


def test_landmarks_of_the_source_land_on_landmarks_of_the_plate() -> None:
    generator = torch.Generator().manual_seed(5)
    there = placed(scale=120.0, at=(190.0, 150.0))
    bend = torch.stack([torch.sin(there[:, 1] / 50), torch.cos(there[:, 0] / 60)], -1) * 4
    here = placed()
    here[:, :2] += bend + 0.2 * torch.randn(468, 2, generator=generator)
    y, x = torch.meshgrid(torch.arange(360) + 0.5, torch.arange(400) + 0.5, indexing="ij")
    coordinates = torch.stack([x, y, torch.zeros_like(x)])
    layer = warp_identity([warp_source(coordinates, there)])(Plate(torch.zeros(3, 360, 400), (0, 0)), a_face(here))
    seen = [p for p in mesh.RIGID if p not in mesh.OVAL]
    pixel = here[seen, :2].long()
    arrived = layer.image[:2, pixel[:, 1], pixel[:, 0]].T - (pixel + 0.5 - here[seen, :2])
    error = (arrived - there[seen, :2]).norm(dim=-1)
    assert error.quantile(0.9) < 1.5 and error.median() < 0.7


def test_a_turned_cheek_that_the_photograph_never_saw_fades() -> None:
    frontal = warp_source(grainy(), placed())
    layer = warp_identity([frontal])(Plate(grainy(seed=2), (0, 0)), a_face(placed(turned(60.0))))
    matte = layer.matte[0]
    assert torch.isfinite(layer.image).all() and matte.min() >= 0 and matte.max() <= 1
    points = placed(turned(60.0))
    nose_tip, near_ear, far_cheek = (points[k, :2].long() for k in (4, 234, 454))
    nearer, farther = sorted((near_ear, far_cheek), key=lambda p: -abs(float(p[0] - nose_tip[0])))
    assert matte[tuple(nearer.flip(0))] < 0.3
    assert matte.amax() > 0.99
    assert farther is not nearer


def test_an_open_mouth_keeps_the_plates_inside_when_the_photograph_is_closed() -> None:
    closed = placed(open_mouth(mesh.CANONICAL, -_gap(mesh.CANONICAL) + 0.001))
    opened = placed(open_mouth(mesh.CANONICAL, 0.2))
    inside = opened[[13, 14], :2].mean(0).long()
    shut = warp_identity([warp_source(grainy(), closed)])
    plate = Plate(grainy(seed=2), (0, 0))
    assert shut(plate, a_face(opened)).matte[0, inside[1], inside[0]] < 0.02
    spoken = warp_identity([warp_source(grainy(), opened)])
    assert spoken(plate, a_face(opened)).matte[0, inside[1], inside[0]] > 0.98
    lip = opened[0, :2].long()
    assert shut(plate, a_face(opened)).matte[0, lip[1], lip[0]] > 0.98


def _gap(points: torch.Tensor) -> float:
    return float(points[14, 1] - points[13, 1])


def test_the_iris_stays_round_under_a_half_closed_lid() -> None:
    there = placed()
    here = there.clone()
    upper = [173, 157, 158, 159, 160, 161, 246]
    floor = here[[133, 33], 1].mean()
    here[upper, 1] = floor + 0.5 * (here[upper, 1] - floor)
    y, x = torch.meshgrid(torch.arange(360) + 0.5, torch.arange(400) + 0.5, indexing="ij")
    image = torch.stack([x, y, torch.zeros_like(x)])
    layer = warp_identity([warp_source(image, there)])(Plate(torch.zeros_like(image), (0, 0)), a_face(here))
    column = int(here[159, 0])
    low, high = int(here[159, 1] + 4), int(here[145, 1] - 3)
    slope = (layer.image[1, high, column] - layer.image[1, low, column]) / (high - low)
    squashed = (there[145, 1] - there[159, 1]) / (here[145, 1] - here[159, 1])
    assert squashed > 1.25
    assert abs(float(slope) - 1) < 0.4 * (float(squashed) - 1)


def test_the_photograph_that_shows_the_pose_wins_and_shares_sum_to_one() -> None:
    red, green = torch.zeros(3, 360, 400), torch.zeros(3, 360, 400)
    red[0], green[1] = 1, 1
    left, right = warp_source(red, placed(turned(-30.0))), warp_source(green, placed(turned(30.0)))
    identity = WarpIdentity((left, right), "as they are")
    plate = Plate(torch.zeros(3, 360, 400), (0, 0))
    for yaw, channel in ((-30.0, 0), (30.0, 1)):
        layer = identity(plate, a_face(placed(turned(yaw))))
        inside = layer.matte[0] > 0.5
        assert layer.image[channel][inside].median() > 0.98
    layer = identity(plate, a_face(placed(turned(0.0))))
    inside = layer.matte[0] > 0.5
    assert (layer.image.sum(0)[inside] - 1).abs().max() < 1e-3
    assert 0.3 < layer.image[0][inside].mean() < 0.7


def test_two_copies_of_a_photograph_are_that_photograph() -> None:
    source = warp_source(grainy(), placed(scale=110.0))
    plate, face = Plate(grainy(seed=1), (0, 0)), a_face(placed())
    one, two = warp_identity([source])(plate, face), warp_identity([source, source])(plate, face)
    assert torch.allclose(one.image, two.image, atol=1e-5)
    assert torch.allclose(one.matte, two.matte, atol=1e-5)


def test_the_photographs_own_values_are_not_clipped() -> None:
    points = placed()
    bright = torch.full((3, 360, 400), 0.3)
    bright[:, 100:130, 190:210] = 20.0
    bright[:, 150:160, 190:210] = -0.05
    layer = convert_face(
        Plate(torch.full((3, 360, 400), 0.4), (0, 0)), a_face(points), warp_identity([warp_source(bright, points)])
    )
    assert layer.image[:, 115, 200].min() > 19
    assert torch.allclose(layer.image[:, 155, 200], torch.tensor(-0.05), atol=1e-3)


def test_an_exact_self_conversion_through_the_node() -> None:
    image, points = grainy() * 6 - 0.5, placed()
    layer = convert_face(Plate(image, (0, 0)), a_face(points), warp_identity([warp_source(image, points)]))
    assert psnr(layer.image, image, layer.matte[0] > 0.99) > 45


def test_the_plates_eyes_and_mouth_can_stay() -> None:
    points = placed(open_mouth(mesh.CANONICAL, 0.15))
    identity = warp_identity([warp_source(grainy(), points)])
    plate, face = Plate(grainy(seed=1), (0, 0)), a_face(points)
    eye, mouth = points[[159, 145], :2].mean(0).long(), points[[13, 14], :2].mean(0).long()
    full = convert_face(plate, face, identity).matte[0]
    assert full[eye[1], eye[0]] > 0.98 and full[mouth[1], mouth[0]] > 0.98
    kept = convert_face(plate, face, identity, eyes="plate", mouth="plate")
    assert kept.matte[0, eye[1], eye[0]] < 0.02 and kept.matte[0, mouth[1], mouth[0]] < 0.02
    assert kept.mattes["identity"] is kept.matte


def test_past_the_edge_of_the_photograph_the_plate_stays() -> None:
    points = placed()
    cut = grainy()[:, :, :200]
    plate = Plate(grainy(seed=1), (0, 0))
    layer = warp_identity([warp_source(cut, points)])(plate, a_face(points))
    assert layer.matte[0, 140:200, 206:].max() == 0
    assert layer.matte[0, 150:180, 170:190].min() > 0.98
    assert torch.equal(layer.image[:, 150:180, 215:250], plate.image[:, 150:180, 215:250])


def test_a_face_outside_the_region_gives_an_empty_matte() -> None:
    identity = warp_identity([warp_source(grainy(), placed())])
    plate = Plate(grainy(seed=1), (0, 0))
    layer = identity(plate, a_face(placed(at=(3000.0, 140.0))))
    assert layer.matte.max() == 0 and torch.equal(layer.image, plate.image)


def test_the_face_is_finite_whatever_the_plate_holds() -> None:
    image = grainy(seed=1)
    image[:, 2, 2], image[:, 150, 200] = torch.inf, torch.nan
    layer = convert_face(Plate(image, (0, 0)), a_face(placed()), warp_identity([warp_source(grainy(), placed())]))
    assert layer.matte[0, 2, 2] == 0
    assert torch.isfinite(layer.matte).all()
    assert torch.isfinite(layer.image[:, layer.matte[0] > 0]).all()


def test_pixel_aspect_squeezes_the_picture_and_nothing_else() -> None:
    squeeze = torch.tensor([0.5, 1.0, 1.0])
    identity = warp_identity([warp_source(smooth_picture(), placed())])
    wide = identity(Plate(torch.zeros(3, 360, 400), (0, 0)), a_face(placed()))
    thin_face = Face(placed() * squeeze, torch.ones(468), 1.0, 110.0, aspect=2.0)
    thin = identity(Plate(torch.zeros(3, 360, 200), (0, 0)), thin_face)
    halves = torch.nn.functional.avg_pool2d(wide.image, (1, 2))
    inside = torch.nn.functional.avg_pool2d(wide.matte, (1, 2))[0] > 0.99
    assert psnr(thin.image, halves, inside) > 34
    assert (thin.matte[0][inside] > 0.9).float().mean() > 0.98


def test_frames_of_a_take_meet_frames_of_the_plate() -> None:
    sources = {7: warp_source(grainy(seed=7), placed()), 8: warp_source(grainy(seed=8), placed())}
    take = WarpTake(sources.get, "footage", offset=-1000)
    first, second = take.at(1007), take.at(1008)
    assert first is not None and second is not None and take.at(1009) is None
    assert first.digest != second.digest
    layer = second(Plate(grainy(), (0, 0)), a_face(placed()))
    assert psnr(layer.image, grainy(seed=8), layer.matte[0] > 0.99) > 60


def test_the_digest_follows_what_is_seen() -> None:
    a, b = warp_source(grainy(), placed()), warp_source(grainy(seed=1), placed())
    assert warp_identity([a]).digest == warp_identity([warp_source(grainy(), placed())]).digest
    assert len({warp_identity(s).digest for s in ([a], [b], [a, b], [b, a])}) == 4


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(MienError, match="at least one picture"):
        warp_identity([])
    with pytest.raises(MienError, match="outside"):
        warp_source(grainy(), placed(at=(4000.0, 140.0)))
    with pytest.raises(ValueError, match="468"):
        warp_source(grainy(), torch.zeros(67, 3))
    identity = warp_identity([warp_source(grainy(), placed())])
    with pytest.raises(ValueError, match="mesh"):
        identity(Plate(grainy(), (0, 0)), Face(torch.zeros(5, 3), torch.ones(5), 1.0, 100.0, "five"))


def test_a_portrait_is_no_softer_than_one_resampling() -> None:
    picture = cv2.imread(str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
    photograph = torch.tensor(picture[..., ::-1].copy()).permute(2, 0, 1).float() / 255
    there = placed(scale=95.0, at=(262.0, 188.0))
    here = there + torch.tensor([40.37, 21.61, 0.0])
    layer = warp_identity([warp_source(photograph, there)])(
        Plate(torch.zeros(3, 600, 512), (0, 0)), a_face(here, 165.0)
    )
    u, v = (np.mgrid[:600, :512][k].astype(np.float32) - s for k, s in ((1, 40.37), (0, 21.61)))
    once = torch.tensor(cv2.remap(photograph.permute(1, 2, 0).numpy(), u, v, cv2.INTER_CUBIC)).permute(2, 0, 1)
    inside = (layer.matte[0] > 0.99)[1:-1, 1:-1]

    def detail(image: torch.Tensor) -> float:
        laplacian = 4 * image[:, 1:-1, 1:-1] - image[:, 2:, 1:-1] - image[:, :-2, 1:-1]
        laplacian = laplacian - image[:, 1:-1, 2:] - image[:, 1:-1, :-2]
        return float(laplacian.square().mean(0)[inside].mean().sqrt())

    assert detail(layer.image) > 0.9 * detail(once)


def test_lids_closed_in_the_plate_alone_stay_the_plates() -> None:
    there = placed()
    here = there.clone()
    upper, lower = [246, 161, 160, 159, 158, 157, 173], [7, 163, 144, 145, 153, 154, 155]
    here[upper, 1] = here[lower, 1]
    plate = Plate(grainy(seed=1), (0, 0))
    layer = warp_identity([warp_source(grainy(), there)])(plate, a_face(here))
    lid, other = here[159, :2].long(), here[[386, 374], :2].mean(0).long()
    assert layer.matte[0, lid[1], lid[0]] < 0.02
    assert layer.matte[0, other[1], other[0]] > 0.98
    asleep = warp_identity([warp_source(grainy(), here)])(plate, a_face(here))
    assert asleep.matte[0, lid[1], lid[0]] > 0.98


def test_hair_on_the_forehead_of_a_photograph_is_not_carried_over() -> None:
    points = placed()
    skin = torch.tensor([0.5, 0.35, 0.28])[:, None, None] * (1 + 0.05 * grainy())
    fringed = skin.clone()
    fringed[:, :80] *= 0.15
    plate, face = Plate(grainy(seed=1), (0, 0)), a_face(points)
    bare = warp_identity([warp_source(skin, points)])(plate, face).matte[0]
    haired = warp_identity([warp_source(fringed, points)])(plate, face).matte[0]
    assert bare[65:75, 180:220].min() > 0.98
    assert haired[65:72, 180:220].max() < 0.5
    assert haired[140:, 150:250][bare[140:, 150:250] > 0.99].min() > 0.98


def test_a_softened_edge_leaves_mouth_and_cheek_as_the_identity_faded_them() -> None:
    closed = placed(open_mouth(mesh.CANONICAL, -_gap(mesh.CANONICAL) + 0.001))
    opened, cheek = a_face(placed(open_mouth(mesh.CANONICAL, 0.2))), a_face(placed(turned(45.0)))
    identity, plate = warp_identity([warp_source(grainy(), closed)]), Plate(grainy(seed=2), (0, 0))
    for face in (opened, cheek):
        layer = convert_face(plate, face, identity)
        shaped = matte_edge(face_matte(layer, face), face, soften=0.1).matte
        assert (shaped <= layer.matte + 1e-6).all()
        deep = matte_edge(face_matte(layer, face, source="hull"), face, soften=0.1).matte > 0.999
        assert torch.allclose(shaped[deep], layer.matte[deep], atol=2e-3)


def test_photographs_taken_under_other_light_are_toned_like_the_first() -> None:
    image, gain = grainy().clamp(min=0.02), torch.tensor([0.4, 0.6, 1.7])[:, None, None]
    first, second = warp_source(image, placed()), warp_source(image * gain, placed())
    identity = warp_identity([first, second])
    assert torch.allclose(identity.sources[1].image, image, rtol=0.01, atol=1e-3)
    assert torch.equal(identity.sources[0].image, first.image)
    behind = warp_source(image * gain, placed(turned(75.0)))
    assert torch.isfinite(warp_identity([first, behind]).sources[1].image).all()


def test_68_points_carry_a_photograph_as_the_mesh_does() -> None:
    image, points = smooth_picture(), placed()
    few = mesh.to_ibug68(points)[:, :2]
    face = Face(few, torch.ones(68), 1.0, 220.0, "ibug68")
    layer = warp_identity([warp_source(image, few)])(Plate(image, (0, 0)), face)
    assert psnr(layer.image, image, layer.matte[0] > 0.99) > 45
    mixed = warp_identity([warp_source(image, points)])(Plate(image, (0, 0)), face)
    assert psnr(mixed.image, image, mixed.matte[0] > 0.99) > 26
