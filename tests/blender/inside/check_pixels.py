"""What the groups do to pixels: held against numpy, with infinities, negatives and superwhites on the plate."""

import bpy
import host
import numpy as np
import pytest

SPECIAL = np.float32([-0.5, 0, 1e-30, 1e-40, 0.1234567, 1, 1.875, 4, 100, 65504, 70000, np.inf, -np.inf, np.nan, -3, 2])
MATRIX = np.float32([[1.1, -0.2, 0.05], [0.03, 0.9, 0.1], [-0.07, 0.02, 1.3]])
OFFSET = np.float32([0.01, -0.02, 0.03])


def special():
    pixels = np.full((16, 16, 4), 0.25, np.float32)
    pixels[..., 0], pixels[..., 1] = SPECIAL, SPECIAL[:, None]
    pixels[:8, :, 3], pixels[12:, :, 3] = 1, 0
    return pixels


def noise(seed=1, low=-0.5, high=3.0):
    pixels = np.random.default_rng(seed).uniform(low, high, (16, 16, 4)).astype(np.float32)
    pixels[..., 3] = 1
    return pixels


def ramp():
    """A matte that is 0 left, 1 right and something between."""
    matte = np.ones((16, 16, 4), np.float32)
    matte[..., :3] = np.clip((np.arange(16) - 5) / 6, 0, 1)[None, :, None]
    return matte


class Bench:
    """One group between pictures and a render."""

    def __init__(self, scene, kind, folder):
        self.scene, self.folder = scene, folder
        self.tree, self.out = host.empty_tree(scene)
        assert host.said(bpy.ops.mien.add_node, kind=kind) == ""
        self.tree = host.tree_of(scene)
        self.node = next(node for node in self.tree.nodes if node.bl_idname == "CompositorNodeGroup")
        self.count = 0

    def feed(self, name, pixels, single=False):
        self.count += 1
        node = host.picture(self.tree, host.write(self.folder / f"{self.count}.exr", pixels))
        out = node.outputs[0]
        if single:
            split = self.tree.nodes.new("CompositorNodeSeparateColor")
            self.tree.links.new(out, split.inputs[0])
            out = split.outputs[0]
        self.tree.links.new(out, host.socket(self.node, name))
        return self

    def dial(self, **values):
        for name, value in values.items():
            host.socket(self.node, name.replace("_", " ")).default_value = value
        return self

    def picture(self, output):
        made = host.out_of(self.node, output)
        self.tree.links.new(made, self.out)
        return host.render(self.scene, [1], self.folder / f"render{self.count}")[0]


@pytest.fixture
def bench(scene, tmp_path):
    return lambda kind: Bench(scene, kind, tmp_path)


@pytest.mark.parametrize("opacity", [1.0, 0.37])
@pytest.mark.parametrize("plate", [noise(), special()], ids=["noise", "special"])
def test_comp_is_the_one_composite(bench, plate, opacity):
    face, matte = noise(2), ramp()
    made = bench("comp").feed("Plate", plate).feed("Face", face).feed("Matte", matte, single=True)
    got = made.dial(Opacity=opacity).picture("Image")
    m = matte[..., :1] * np.float32(opacity)
    assert host.same_bits(got[..., 3], plate[..., 3]), "alpha is the plate's"
    assert host.same_bits(got[:, :6], plate[:, :6]), "outside the matte"
    with np.errstate(invalid="ignore", over="ignore"):
        want = plate[..., :3] + m * (face[..., :3] - plate[..., :3])
    ordinary = np.isfinite(plate[..., :3]) & (np.abs(plate[..., :3]) < 1000)
    assert host.largest(got[..., :3], want, ordinary) < 1e-5


def test_comp_with_opacity_0_is_the_plate(bench):
    plate = special()
    made = bench("comp").feed("Plate", plate).feed("Face", noise(2)).feed("Matte", ramp(), single=True)
    assert host.same_bits(made.dial(Opacity=0.0).picture("Image"), plate)


@pytest.mark.parametrize("match", [1.0, 0.0, 0.4])
def test_color_match_is_matrix_and_offset(bench, match):
    face = noise(3)
    made = bench("color_match").feed("Face", face)
    made.dial(Red=MATRIX[0], Green=MATRIX[1], Blue=MATRIX[2], Offset=OFFSET, Match=match)
    got = made.picture("Face")[..., :3]
    moved = face[..., :3] @ MATRIX.T + OFFSET
    want = face[..., :3] + np.float32(match) * (moved - face[..., :3])
    assert np.abs(got - want).max() < 1e-5
    if match == 0:
        assert host.same_bits(got, face[..., :3])


def test_color_match_trims_keep_negatives_and_superwhites(bench):
    face = noise(4, -1.0, 40.0)
    color = face[..., :3]
    assert host.same_bits(bench("color_match").feed("Face", face).picture("Face")[..., :3], color)
    one_stop = bench("color_match").feed("Face", face).dial(Exposure=1.0).picture("Face")
    assert np.abs(one_stop[..., :3] - 2 * color).max() < 1e-5 * 80
    gain = bench("color_match").feed("Face", face).dial(Gain=(2.0, 1.0, 0.5)).picture("Face")
    assert np.abs(gain[..., :3] - color * np.float32([2, 1, 0.5])).max() < 1e-5 * 80
    lift = bench("color_match").feed("Face", face).dial(Lift=(-0.5, 0.0, 0.25)).picture("Face")
    assert np.abs(lift[..., :3] - (color + np.float32([-0.5, 0, 0.25]))).max() < 1e-5 * 40
    gray = bench("color_match").feed("Face", face).dial(Saturation=0.0).picture("Face")[..., :3]
    assert np.abs(gray - gray[..., :1]).max() < 1e-4
    assert gray.min() < 0 or color.mean(-1).min() >= 0


def disc(radius=5.0, size=32):
    """A matte, its signed distance in pixels and no hold-out, as the engine writes them."""
    y, x = np.mgrid[:size, :size] + 0.5
    distance = radius - np.hypot(x - size / 2, y - size / 2)
    planes = np.ones((size, size, 4), np.float32)
    planes[..., 0], planes[..., 1], planes[..., 2] = np.clip(distance + 0.5, 0, 1), distance, 0
    return planes


def matte_bench(bench, planes):
    made = bench("matte")
    made.scene.render.resolution_x, made.scene.render.resolution_y = planes.shape[1], planes.shape[0]
    for index, name in enumerate(("Matte", "Distance", "Hold-out")):
        one = planes.copy()
        one[..., :3] = planes[..., index : index + 1]
        made.feed(name, one, single=True)
    return made


def edge_of(matte):
    """Mean radius of a disc by its area."""
    return float(np.sqrt(matte[..., 0].astype(np.float64).sum() / np.pi))


def test_a_matte_that_nothing_is_dialed_on_is_the_engines_bit_for_bit(bench):
    planes = disc()
    assert host.same_bits(matte_bench(bench, planes).picture("Matte")[..., 0], planes[..., 0])


@pytest.mark.parametrize("grow", [-0.05, 0.04, 0.1])
def test_grow_moves_the_edge_by_face_widths(bench, grow):
    got = matte_bench(bench, disc(8)).dial(Grow=grow, **{"Face Width": 40.0}).picture("Matte")
    assert edge_of(got) == pytest.approx(8 + grow * 40, abs=0.15)
    assert got[..., 0].min() >= 0 and got[..., 0].max() <= 1
    twice = matte_bench(bench, disc(16, 64)).dial(Grow=grow, **{"Face Width": 80.0}).picture("Matte")
    assert edge_of(twice) == pytest.approx(2 * edge_of(got), rel=0.02), "proxy and final agree"


def test_soften_keeps_the_place_of_the_edge_and_widens_it(bench):
    got = matte_bench(bench, disc(8)).dial(Soften=0.2, **{"Face Width": 40.0}).picture("Matte")
    row = got[16, 16:, 0]
    assert np.interp(0.5, row[::-1], np.arange(16)[::-1] + 0.5) == pytest.approx(8, abs=0.4)
    soft = ((row > 0.02) & (row < 0.98)).sum()
    assert soft >= 6 and (np.diff(row) <= 1e-6).all()


def test_hold_out_and_garbage_mattes(bench):
    planes = disc(8)
    planes[:16, :, 2] = 1
    got = matte_bench(bench, planes).picture("Matte")
    assert np.allclose(got[16:, :, 0], planes[16:, :, 0])
    shut = np.ones((32, 32, 4), np.float32)
    shut[..., :3] = (np.arange(32) < 16)[None, :, None]
    out = matte_bench(bench, disc(8)).feed("Garbage Out", shut, single=True).picture("Matte")
    assert (out[:, :16, 0] == 0).all() and host.same_bits(out[:, 16:, 0], disc(8)[:, 16:, 0])
    both = matte_bench(bench, disc(8)).feed("Garbage In", shut, single=True).picture("Matte")
    assert (both[:, :16, 0] == 1).all() and host.same_bits(both[:, 16:, 0], disc(8)[:, 16:, 0])


def test_finish_that_nothing_is_dialed_on_is_the_face_bit_for_bit(bench):
    face = noise(5, -1, 10)
    assert host.same_bits(bench("finish").feed("Face", face).picture("Face")[..., :3], face[..., :3])


def test_sharpen_adds_what_a_blur_takes_away_and_clips_nothing(bench):
    size = 64
    face = np.ones((size, size, 4), np.float32)
    face[..., :3] = np.random.default_rng(6).uniform(-0.5, 4, (size, size, 3))
    made = bench("finish").feed("Face", face)
    made.scene.render.resolution_x = made.scene.render.resolution_y = size
    made.dial(Sharpen=1.0, **{"Face Width": 100.0})
    got = made.picture("Face")[..., :3]
    assert got.min() < -0.5 and got.max() > 4 and np.isfinite(got).all()
    middle = slice(16, -16)
    assert got[middle, middle].mean() == pytest.approx(face[middle, middle, :3].mean(), abs=0.03)
    assert got[middle, middle].std() > 1.3 * face[middle, middle, :3].std()
    made.dial(Sharpen=0.0, Soften=0.03)
    soft = made.picture("Face")[..., :3]
    assert soft[middle, middle].std() < 0.7 * face[middle, middle, :3].std()


def test_grain_is_seeded_moves_with_the_frame_and_keeps_the_mean(bench):
    face = np.ones((64, 64, 4), np.float32)
    face[..., :3] = 0.4
    made = bench("finish").feed("Face", face)
    made.scene.render.resolution_x = made.scene.render.resolution_y = 64
    made.dial(Grain=0.05)
    made.tree.links.new(host.out_of(made.node, "Face"), made.out)
    once = host.render(made.scene, [1, 2], made.folder / "once")
    again = host.render(made.scene, [1, 2], made.folder / "again")
    assert host.same_bits(once[0], again[0]) and host.same_bits(once[1], again[1])
    assert not host.same_bits(once[0], once[1])
    assert once[0][..., :3].mean() == pytest.approx(0.4, abs=0.01) and once[0][..., :3].std() > 0.003


def test_what_is_switched_off_leaves_no_trace_even_of_infinities(bench):
    face, finished = special(), special()[::-1]
    made = bench("color_match").feed("Face", face).feed("Finished", finished)
    made.dial(Red=MATRIX[0], Offset=OFFSET, Match=0.3, Engine_Finish=1.0)
    assert host.same_bits(made.picture("Face")[..., :3], finished[..., :3])
    assert host.same_bits(bench("finish").feed("Face", face).picture("Face")[..., :3], face[..., :3])


def test_half_of_the_engines_finish_is_half_of_each(bench):
    face, finished = noise(7), noise(8)
    made = bench("color_match").feed("Face", face).feed("Finished", finished)
    got = made.dial(Red=MATRIX[0], Green=MATRIX[1], Blue=MATRIX[2], Offset=OFFSET, Engine_Finish=0.5).picture("Face")
    want = (face[..., :3] @ MATRIX.T + OFFSET + finished[..., :3]) / 2
    assert np.abs(got[..., :3] - want).max() < 1e-5


@pytest.mark.parametrize("name", ["Grain", "Sharpen"])
def test_an_amount_may_be_painted(bench, name):
    face, painted = noise(9, 0.0, 1.0), np.zeros((16, 16, 4), np.float32)
    painted[:, 12:] = 0.5
    made = bench("finish").feed("Face", face).feed(name, painted, single=True).dial(Face_Width=100.0)
    got = made.picture("Face")[..., :3]
    assert host.same_bits(got[:, :12], face[:, :12, :3])
    assert (got[:, 12:] != face[:, 12:, :3]).mean() > 0.9


def test_a_keyed_amount_is_at_rest_only_where_it_is_0(bench):
    face = noise(10, 0.0, 1.0)
    made = bench("finish").feed("Face", face)
    grain = host.socket(made.node, "Grain")
    for frame, value in ((1, 0.0), (2, 0.1), (3, 0.0)):
        grain.default_value = value
        grain.keyframe_insert("default_value", frame=frame)
    made.tree.links.new(host.out_of(made.node, "Face"), made.out)
    first, second, third = host.render(made.scene, [1, 2, 3], made.folder / "keyed")
    assert host.same_bits(first[..., :3], face[..., :3]) and host.same_bits(third[..., :3], face[..., :3])
    assert (second[..., :3] != face[..., :3]).mean() > 0.9
