"""First-order motion: geometry against independent formulas, and the fast way against the plain one."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull
from torch import nn
from torch.nn import functional

from mien.models.animate import Animator, fewer, folded
from mien.models.fewer import Doubled, Thin, Tiled
from mien.models.motion import Motion, MotionNetwork
from mien.models.motion_critic import MotionCritic
from mien.models.motion_fields import (
    Keypoints,
    bells,
    carried,
    expected,
    hull_area,
    inverse,
    movement_scale,
    positions,
    sampled,
    sparse_motions,
)
from mien.models.motion_shape import MotionShape
from mien.models.motion_view import flow_colors, marked
from mien.models.reenact import detailed
from models import first_order as paper

SMALL = MotionShape(
    size=64, keypoints=4, detector_width=8, detector_most=32, detector_blocks=2, detector_shrink=2, motion_width=8,
    motion_most=32, motion_blocks=2, motion_shrink=2, width=8, most=32, blocks=2,
)  # fmt: skip
CPU = torch.device("cpu")


def random(seed=0):
    return torch.Generator().manual_seed(seed)


def found(count=2, points=4, seed=0, local=True):
    place = torch.rand(count, points, 2, generator=random(seed)) * 1.6 - 0.8
    around = torch.eye(2) + 0.3 * torch.randn(count, points, 2, 2, generator=random(seed + 1))
    return Keypoints(place, around if local else None)


def lively(shape=SMALL, seed=0):
    """A network whose norms have seen something and whose motions differ from none."""
    torch.manual_seed(seed)
    network = MotionNetwork(shape)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2, generator=random(seed))
            module.running_var.uniform_(0.4, 1.6, generator=random(seed))
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias, 0, 0.2)
    if network.kp_detector.jacobian is not None:
        nn.init.normal_(network.kp_detector.jacobian.weight, 0, 0.02)
    return network.eval()


def pictures(count, size=64, seed=0):
    coarse = torch.rand(count, 3, size // 8, size // 8, generator=random(seed))
    return functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize(
    ("size", "inputs", "outputs"), [((8, 12), 3, 5), ((9, 7), 4, 4), ((1, 2), 2, 3), ((64, 64), 16, 8)]
)
@pytest.mark.parametrize("count", [1, 3])
def test_tiles_give_what_the_convolution_gives(size, inputs, outputs, count):
    torch.manual_seed(1)
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    value = torch.randn(count, inputs, *size)
    assert torch.allclose(Tiled(conv)(value), conv(value), atol=2e-5)


@pytest.mark.parametrize(("size", "inputs", "outputs"), [((8, 12), 3, 5), ((1, 1), 4, 4), ((5, 2), 2, 3)])
@pytest.mark.parametrize("count", [1, 3])
def test_doubling_gives_what_enlarging_and_the_convolution_give(size, inputs, outputs, count):
    torch.manual_seed(1)
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    value = torch.randn(count, inputs, *size)
    wanted = functional.relu(conv(functional.interpolate(value, scale_factor=2)))
    assert torch.allclose(Doubled(conv)(value), wanted, atol=2e-6)


@pytest.mark.parametrize("side", [1, 3, 7])
@pytest.mark.parametrize("count", [1, 3])
def test_thin_gives_what_the_convolution_gives(side, count):
    torch.manual_seed(1)
    conv = nn.Conv2d(6, 3, side, padding=side // 2)
    value = torch.randn(count, 6, 11, 9)
    assert torch.allclose(Thin(conv)(value), conv(value), atol=2e-6)


@pytest.mark.parametrize(
    "shape",
    [
        SMALL,
        MotionShape(**{**vars(SMALL), "jacobian": "shared", "corners": False}),
        MotionShape(**{**vars(SMALL), "jacobian": "none", "occlusion": False, "motion_shrink": 4}),
    ],
)
@torch.inference_mode()
def test_the_fast_way_draws_what_the_plain_one_draws_in_batches_and_one_by_one(shape):
    network = lively(shape)
    animator = Animator(network, CPU, shape.corners)
    source, driving = pictures(1), pictures(3, seed=5)
    plain = [network(source, one) for one in driving.split(1)]
    ready = animator.source(source)
    together = animator.move(ready, animator.find(driving))
    drawn = animator.paint(ready, together)
    assert drawn.shape == (3, 3, 64, 64) and drawn.std() > 0.01
    for row, (picture, motion) in enumerate(plain):
        assert torch.allclose(together.flow[row], motion.flow[0], atol=1e-4)
        assert torch.allclose(drawn[row], picture[0], atol=1e-4)
        alone = animator.paint(ready, animator.move(ready, animator.find(driving[row : row + 1])))
        assert torch.allclose(drawn[row], alone[0], atol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm2d) and "norm1" not in name for name, module in
                   fewer(folded(network)).named_modules())  # fmt: skip


def test_a_network_is_left_as_it_is_by_being_made_fast():
    network = lively()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    Animator(network, CPU, True)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_sources_may_be_as_many_as_driving_pictures():
    network = lively()
    sources, driving = pictures(2), pictures(2, seed=3)
    drawn, motion = network(sources, driving)
    for row in range(2):
        one, its = network(sources[row : row + 1], driving[row : row + 1])
        assert torch.allclose(drawn[row], one[0], atol=1e-5)
        assert torch.allclose(motion.flow[row], its.flow[0], atol=1e-5)


@pytest.mark.parametrize("kind", [torch.bfloat16])
@torch.inference_mode()
def test_positions_keep_their_digits_where_painting_is_rough(kind):
    network = lively()
    source, driving = pictures(1), pictures(2, seed=3)
    drawn, motion = network(source, driving[:1])
    with torch.autocast("cpu", kind):
        rough, moved = network(source, driving[:1])
        assert network.kp_detector(driving).place.dtype == torch.float32
    assert torch.equal(moved.flow, motion.flow) and torch.equal(moved.seen, motion.seen)
    assert rough.dtype == torch.float32 and 0 < float((rough - drawn).abs().max()) < 0.05


def test_everything_learns():
    network = lively().train()
    drawn, _ = network(pictures(2), pictures(2, seed=3))
    drawn.mean().backward()
    taught = {name for name, value in network.named_parameters() if value.grad is not None and value.grad.any()}
    # A shift before a softmax, or before a batch norm, changes nothing.
    idle = ("conv.bias", "conv1.bias", "kp_detector.kp.bias", "mask.bias")
    assert all(name in taught or name.endswith(idle) for name, _ in network.named_parameters())


def test_positions_are_those_of_the_paper():
    assert torch.allclose(positions(5, 9, CPU), paper.grid(5, 9), atol=1e-6)


def test_gaussians_are_those_of_the_paper():
    place = found().place
    drawn = bells(place, (13, 9), 0.01)
    for row in range(2):
        for k in range(4):
            assert torch.allclose(drawn[row, k], paper.gaussian(place[row, k], 13, 9), atol=1e-6)


def test_the_mean_under_a_heatmap_is_where_its_weight_is():
    heat = torch.zeros(1, 2, 5, 7)
    heat[0, 0, 1, 6] = 1
    heat[0, 1, 0, 0] = heat[0, 1, 4, 6] = 0.5
    assert torch.allclose(expected(heat), torch.tensor([[[1.0, -0.5], [0.0, 0.0]]]), atol=1e-6)


def test_inverses_are_those_of_lapack():
    matrices = found().local
    assert torch.allclose(inverse(matrices), torch.linalg.inv(matrices), atol=1e-4)


def test_motions_are_affine_about_each_keypoint():
    driving, source = found(seed=1), found(seed=2)
    motions = sparse_motions(driving, source, (6, 8))
    grid = paper.grid(6, 8)
    assert motions.shape == (2, 5, 6, 8, 2) and torch.allclose(motions[:, 0], grid.expand(2, 6, 8, 2), atol=1e-6)
    for row in range(2):
        for k in range(4):
            matrix = source.local[row, k].double() @ torch.linalg.inv(driving.local[row, k].double())
            for y in range(6):
                for x in range(8):
                    wanted = source.place[row, k] + matrix @ (grid[y, x] - driving.place[row, k]).double()
                    assert torch.allclose(motions[row, k + 1, y, x].double(), wanted, atol=1e-4)


def test_without_jacobians_motions_are_shifts():
    driving, source = found(seed=1, local=False), found(seed=2, local=False)
    motions = sparse_motions(driving, source, (6, 8))[:, 1:]
    shift = motions - paper.grid(6, 8)
    assert torch.allclose(shift, (source.place - driving.place)[:, :, None, None].expand_as(shift), atol=1e-6)


@pytest.mark.parametrize("local", [True, False])
def test_a_performance_put_on_its_own_first_frame_is_itself(local):
    """The photograph's keypoints are those of the start: what is carried is the performance, place and all."""
    driving = found(5, seed=3, local=local)
    start = driving.rows(slice(0, 1))
    onto = carried(start, driving, start, relative=True, scale=movement_scale(start, start))
    assert torch.allclose(onto.place, driving.place, atol=1e-6)
    if local:
        assert torch.allclose(onto.local, driving.local, atol=1e-5)


def test_relative_motion_is_that_of_the_paper_and_absolute_is_the_performance():
    driving, start, source = found(3, seed=1), found(1, seed=5), found(1, seed=9)
    onto = carried(source, driving, start, relative=True, scale=1.7)
    for row in range(3):
        one = driving.rows(slice(row, row + 1))
        place, local = paper.relative(*((k.place, k.local) for k in (one, start, source)), 1.7)
        assert torch.allclose(onto.place[row], place[0], atol=1e-6)
        assert torch.allclose(onto.local[row], local[0], atol=1e-4)
    assert carried(source, driving, start, relative=False) is driving


@settings(max_examples=40)
@given(st.integers(3, 12), st.integers(0, 10_000))
def test_hulls_are_as_large_as_those_of_qhull(count, seed):
    points = torch.rand(count, 2, generator=random(seed), dtype=torch.float64)
    assert hull_area(points) == pytest.approx(ConvexHull(points.numpy()).volume, abs=1e-9)


def test_hulls_of_lines_and_points_are_empty():
    assert hull_area(torch.zeros(4, 2)) == 0
    assert hull_area(torch.tensor([[0.0, 0], [1, 1], [2, 2]])) == 0
    flat = Keypoints(torch.zeros(1, 4, 2), None)
    assert movement_scale(flat, found(1)) == 1.0
    assert movement_scale(found(1), flat) == 1.0
    large = Keypoints(3 * found(1).place, None)
    assert movement_scale(large, found(1)) == pytest.approx(3)


@pytest.mark.parametrize("corners", [True, False])
def test_detail_of_a_photograph_that_stands_still_is_its_own(corners):
    large = torch.rand(1, 3, 32, 32, generator=random())
    small = functional.avg_pool2d(large, 2)
    # Where pixels are asked for at their own places.
    still = positions(16, 16, CPU)[None] * (1.0 if corners else 15 / 16)
    drawn = detailed(small, large, Motion(still, torch.ones(1, 1, 16, 16), still), corners)
    assert drawn.shape == large.shape
    inner = (..., slice(4, -4), slice(4, -4))
    assert torch.allclose(drawn[inner], large[inner], atol=1e-4)
    hidden = detailed(small, large, Motion(still, torch.zeros(1, 1, 16, 16), still), corners)
    assert torch.allclose(hidden, functional.interpolate(small, (32, 32), mode="bilinear").clamp(0, 1), atol=1e-6)


def test_the_two_ways_of_sampling_differ_by_half_a_pixel_at_the_rim():
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    grid = positions(8, 8, CPU)[None]
    assert torch.allclose(sampled(ramp, grid, True), ramp, atol=1e-5)
    assert float(sampled(ramp, grid, False, "border")[0, 0, 0, 0]) == 0
    assert (sampled(ramp, grid, False) - ramp).abs().max() > 0.4


def test_critics_have_the_published_layers():
    plain, seeing = MotionCritic(spectral=True), MotionCritic(keypoints=10)
    names = set(plain.state_dict())
    assert {f"discs.1.down_blocks.0.conv.{part}" for part in ("bias", "weight_orig", "weight_u", "weight_v")} <= names
    assert {"discs.1.down_blocks.1.norm.weight", "discs.1.conv.weight_orig"} <= names
    assert "discs.1.down_blocks.0.norm.weight" not in names
    assert seeing.state_dict()["discs.1.down_blocks.0.conv.weight"].shape == (64, 13, 4, 4)
    several = MotionCritic(scales=(1, 0.5), width=4, blocks=3)
    assert {name.split(".")[1] for name in several.state_dict()} == {"1", "0-5"}
    seen = found(2)
    judged = several(pictures(2), seen)
    assert [len(features) for features, _ in judged] == [3, 3] and judged[0][1].shape[0] == 2
    assert judged[0][1].shape[-1] > judged[1][1].shape[-1]
    shown = MotionCritic(keypoints=4, width=4, blocks=2)
    other = Keypoints(-seen.place, None)
    assert not torch.equal(shown(pictures(2), seen)[0][1], shown(pictures(2), other)[0][1])


def test_a_still_picture_is_gray_and_directions_differ():
    still = positions(4, 4, CPU)[None]
    assert torch.allclose(flow_colors(still), torch.full((1, 3, 4, 4), 0.5), atol=1e-6)
    right, left = flow_colors(still - torch.tensor([0.25, 0.0])), flow_colors(still + torch.tensor([0.25, 0.0]))
    assert (right - left).abs().max() > 0.5 and float(right.min()) >= 0 and float(right.max()) <= 1


def test_marks_lie_where_keypoints_do_and_leave_the_picture_alone():
    picture = np.zeros((101, 101, 3), np.uint8)
    drawn = marked(picture, Keypoints(torch.tensor([[[0.5, -0.5]]]), None))
    assert not picture.any() and drawn[25, 75].any() and not drawn[75, 25].any()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": 68}, "multiple of"), ({"jacobian": "some"}, "no jacobian"), ({"keypoints": 0}, "keypoints 0"),
        ({"size": 4096}, "out of bounds"), ({"temperature": 0.0}, "temperature"),
        ({"size": 16, "detector_shrink": 4}, "nothing of a heatmap"),
    ],
)  # fmt: skip
def test_networks_that_cannot_be_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        MotionShape(**{**vars(SMALL), **changes}).check()
