"""Color moves on pictures: nothing is clipped, nothing is changed that should not be."""

import math
from dataclasses import replace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_pictures import FULL, picture

from mien.ops import grade, match, measure


def test_apply_clips_nothing_and_identity_is_the_picture() -> None:
    image = torch.tensor([16.0, -0.05, math.inf, math.nan]).expand(3, 1, 4).clone()
    assert grade.apply(image, grade.IDENTITY) is image
    move = grade.mix(grade.IDENTITY, 0.3)
    assert torch.equal(grade.apply(image, move)[:, 0, :2], image[:, 0, :2])
    gain = replace(grade.IDENTITY, matrix=((2.0, 0.0, 0.0), (0.0, 2.0, 0.0), (0.0, 0.0, 2.0)), offset=(0.5,) * 3)
    assert torch.allclose(grade.apply(image, gain)[0, 0, :2], torch.tensor([32.5, 0.4]))
    stack = torch.stack([image, image * 2])
    assert torch.equal(grade.apply(stack, gain)[1, :, :, :2], grade.apply(stack[1], gain)[:, :, :2])


@settings(max_examples=30, deadline=None)
@given(amount=st.floats(0, 1))
def test_mix_runs_straight(amount: float) -> None:
    move = match.mkl(measure.measure(picture(1), picture(2, 0.8), FULL))
    image = picture(4)
    expected = image + amount * (grade.apply(image, move) - image)
    assert torch.allclose(grade.apply(image, grade.mix(move, amount)), expected, atol=1e-5)
