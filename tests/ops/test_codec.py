"""Coding: OpenCV's JPEG files told by their pixels alone, and done to pictures that were never in one."""

import cv2
import numpy
import pytest
import torch
from skimage import data

from mien.ops import codec

TO_WORKING = numpy.array([[0.6131, 0.3395, 0.0474], [0.0702, 0.9164, 0.0134], [0.0206, 0.1096, 0.8698]])
ALL = torch.ones(1, 400, 400)


def portrait(seed: int = 0) -> numpy.ndarray:
    """400² pixels of a grainy portrait, 0 to 255."""
    large = cv2.resize(data.astronaut()[:260, 90:350], (400, 400), interpolation=cv2.INTER_CUBIC)
    grain = numpy.random.default_rng(seed).normal(0, 2, large.shape)
    return numpy.clip(large + grain, 0, 255).astype(numpy.uint8)


def jpeg(picture: numpy.ndarray, quality: int) -> numpy.ndarray:
    packed = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(packed, cv2.IMREAD_COLOR)[..., ::-1]


def light(picture: numpy.ndarray) -> torch.Tensor:
    """Scene-linear light in the working space of an sRGB picture."""
    shown = picture / 255
    linear = numpy.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4) @ TO_WORKING.T
    return torch.from_numpy(linear.astype(numpy.float32)).movedim(-1, 0)


def bright(image: torch.Tensor) -> torch.Tensor:
    return codec._encoded(image, 1.0)


@pytest.mark.parametrize(("quality", "scale"), [(80, 0.4), (60, 0.8), (40, 1.25), (20, 2.5)])
@pytest.mark.parametrize("begins", [(0, 0), (3, 6)])
def test_the_grid_and_the_table_of_a_jpeg_are_found(quality: int, scale: float, begins: tuple[int, int]) -> None:
    plate = light(jpeg(portrait(), quality))[:, begins[1] :, begins[0] :]
    corner = (800 + begins[0], 160 + begins[1])
    found = codec.measure(plate, corner, 1.0)
    assert found.corner == (0, 0)
    assert found.scale == pytest.approx(scale, rel=0.1)
    # A plate under other light was coded alike.
    assert codec.measure(plate * 3.7, corner, 3.7) == found


def test_pictures_that_were_not_coded_or_were_scaled_since_show_no_coding() -> None:
    plain = portrait()
    assert codec.measure(light(plain), (0, 0), 1.0) == codec.UNCODED
    scaled = cv2.resize(jpeg(plain, 40), None, fx=1.3, fy=1.3, interpolation=cv2.INTER_CUBIC)
    assert codec.measure(light(scaled), (0, 0), 1.0) == codec.UNCODED
    noise = torch.rand(3, 300, 300, generator=torch.Generator().manual_seed(3))
    for flat in (noise, torch.full((3, 300, 300), 0.4), torch.zeros(3, 9, 300)):
        assert codec.measure(flat, (0, 0), 1.0) == codec.UNCODED


@pytest.mark.parametrize("quality", [70, 40, 20])
def test_a_face_is_coded_as_the_codec_would_have_done(quality: int) -> None:
    plain = portrait()
    known = light(jpeg(plain, quality))
    coding = codec.measure(known, (5, 2), 1.0)
    face = light(plain)
    done = codec.code(face, ALL, coding, (5, 2), 1.0, 1.0)
    before, after = ((bright(picture) - bright(known)).square().mean().sqrt() for picture in (face, done))
    # What is left is mostly color, of which the codec kept less too.
    assert float(after) < 0.7 * float(before)
    assert codec.measure(done, (5, 2), 1.0).corner == coding.corner
    assert codec.measure(done, (5, 2), 1.0).scale == pytest.approx(coding.scale, rel=0.15)


def test_any_part_of_a_face_is_coded_as_in_the_whole() -> None:
    face, coding = light(portrait()), codec.Coding((3, 5), 1.5)
    whole = codec.code(face, ALL, coding, (40, 80), 1.0, 1.0)
    part = codec.code(face[:, 51:300, 30:350], ALL[:, 51:300, 30:350], coding, (70, 131), 1.0, 1.0)
    inner = (..., slice(8, -8), slice(8, -8))
    assert torch.allclose(part[inner], whole[:, 51:300, 30:350][inner], atol=1e-6)


def test_nothing_changes_without_coding_beside_the_matte_and_where_light_is_odd() -> None:
    face, coding = light(portrait()), codec.Coding((0, 0), 2.0)
    assert codec.code(face, ALL, codec.UNCODED, (0, 0), 1.0, 1.0) is face
    assert codec.code(face, ALL, coding, (0, 0), 1.0, 0.0) is face
    face[:, 10, 10], face[0, 100, 50], face[1, 200, 90], face[:, 300, 300] = 40.0, torch.nan, torch.inf, -0.5
    matte = ALL.clone()
    matte[..., 150:] = 0
    done = codec.code(face, matte, coding, (0, 0), 1.0, 1.0)
    assert torch.equal(done[..., 150:], face[..., 150:])
    assert not torch.equal(done[..., :150], face[..., :150])
    assert bool((done[:, 10, 10] == 40).all()) and bool((done[:, 300, 300] == -0.5).all())
    assert bool(torch.isnan(done[0, 100, 50])) and bool(torch.isinf(done[1, 200, 90]))
    assert bool(torch.isfinite(done[:, 120:140, 100:140]).all())


def test_shapes_are_told() -> None:
    with pytest.raises(ValueError, match=r"\(3, H, W\)"):
        codec.measure(torch.zeros(1, 64, 64), (0, 0), 1.0)
