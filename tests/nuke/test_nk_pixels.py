"""The evaluator of script files, against the published formulas and OpenCV."""

import cv2
import numpy as np
import pytest
from nk.evaluate import Evaluator, NotModeled, numbered
from nk.facts import load
from nk.geometry import corner_pin
from nk.pixels import RGBA, Picture, from_file
from nk.script import Script
from texts import LOOK

FACTS = load()
SIZE = (40, 30)


def picture(seed, size=SIZE, box=None, extra=(), low=-0.5, high=3.0):
    chance = np.random.default_rng(seed)
    box = box or (0, 0, *size)
    shape = (box[3] - box[1], box[2] - box[0])
    held = {name: chance.uniform(low, high, shape).astype(np.float32) for name in (*RGBA, *extra)}
    return Picture(size, box, held)


def run(text, frame=1001, **given):
    """The last node of a text, fed with pictures by name."""
    sources = "".join(f"NoOp {{\n inputs 0\n name {name}\n}}\nset N{name} [stack 0]\n" for name in given)
    script = Script(sources + text)
    assert script.problems == []
    return Evaluator(FACTS, SIZE, given).picture(script.root.children[-1], frame)


def one(text, source, frame=1001):
    return run(f"push $Na\n{text}", frame, a=source)


def test_grade_and_matrix_move_color_as_published():
    plain = picture(1)
    made = one(
        "Grade {\n whitepoint 2\n blackpoint 0.1\n white {1.5 1 0.5 1}\n black 0.2\n multiply 2\n add -0.1\n"
        " black_clamp false\n}\n",
        plain,
    )
    for index, white in enumerate((1.5, 1, 0.5)):
        gain = 2 * (white - 0.2) / (2 - 0.1)
        wanted = plain.channels[RGBA[index]] * gain + (-0.1 + 0.2 - gain * 0.1)
        np.testing.assert_allclose(made.channels[RGBA[index]], wanted, atol=2e-6)
    assert (made.channels["rgba.alpha"] == plain.channels["rgba.alpha"]).all()
    clamped = one("Grade {\n}\n", plain)
    assert clamped.channels["rgba.red"].min() == 0 and plain.channels["rgba.red"].min() < 0
    matrix = np.array([[0.9, 0.1, 0], [0, 1.25, 0], [-0.2, 0, 1.1]])
    moved = one(
        "ColorMatrix {\n matrix {\n {0.9 0.1 0}\n {0 {curve L x1001 1 x1003 1.5} 0}\n {-0.2 0 1.1}\n }\n}\n",
        plain,
        1002,
    )
    np.testing.assert_allclose(moved.whole(RGBA[:3]), plain.whole(RGBA[:3]) @ matrix.T, atol=2e-6)
    black = one("ColorMatrix {\n}\n", plain)
    assert not black.whole(RGBA[:3]).any()


def test_mix_and_mask_bring_back_the_input():
    plain = picture(2)
    half = one("Grade {\n white 3\n mix 0.25\n black_clamp false\n}\n", plain)
    np.testing.assert_allclose(half.channels["rgba.red"], plain.channels["rgba.red"] * 1.5, atol=1e-6)
    masked = run(
        "push $Nb\npush $Na\nGrade {\n inputs 1+1\n white 3\n maskChannelInput rgba.alpha\n black_clamp false\n}\n",
        a=plain,
        b=picture(3, low=0, high=1),
    )
    mask = picture(3, low=0, high=1).channels["rgba.alpha"]
    np.testing.assert_allclose(masked.channels["rgba.green"], plain.channels["rgba.green"] * (1 + 2 * mask), atol=2e-6)


def test_keymix_keeps_b_where_the_mask_is_0_and_its_window():
    b, a = picture(4), picture(5, box=(5, 6, 25, 20))
    mask = picture(6, box=(5, 6, 25, 20), low=0, high=1)
    mask.channels["rgba.alpha"][:4] = 0
    made = run("push $Nm\npush $Na\npush $Nb\nKeymix {\n inputs 3\n channels rgb\n bbox B\n}\n", a=a, b=b, m=mask)
    amount = mask.over(b.box, "rgba.alpha")[..., None]
    wanted = b.whole(RGBA[:3]) + amount * (a.whole(RGBA[:3]) - b.whole(RGBA[:3]))
    np.testing.assert_allclose(made.whole(RGBA[:3]), wanted, atol=1e-6)
    outside = amount[..., 0] == 0
    assert (made.whole()[outside] == b.whole()[outside]).all() and made.box == b.box
    a.channels["rgba.red"][0, 0] = np.inf
    bad = run("push $Nm\npush $Na\npush $Nb\nKeymix {\n inputs 3\n channels rgb\n bbox B\n}\n", a=a, b=b, m=mask)
    assert np.isnan(bad.channels["rgba.red"]).any()


def test_a_group_passes_pictures_expressions_and_disabled_nodes():
    plate = picture(7)
    face = picture(8, box=(4, 4, 30, 26), extra=("raw.red", "raw.green", "raw.blue", "matte.hull", "matte.network"))
    face = face.laid({name: np.clip(face.channels[name] / 3, 0, 1) for name in ("matte.hull", "matte.network")})
    made = run(
        "push $Nface\npush $Nplate\n" + LOOK.replace("Group {", "Group {\n inputs 2", 1), 1002, plate=plate, face=face
    )
    matrix = np.array([[0.9, 0.1, 0], [0, 1.25, 0], [-0.2, 0, 1.1]])
    raw = face.whole(("raw.red", "raw.green", "raw.blue"))
    color = raw + 0.75 * (raw @ matrix.T - raw)
    gain, black = np.array([1.375, 0.5, 2.0]), np.array([0.01, -0.02, 0.03])
    color = color + 0.75 * (color * (gain - black) + black - color)
    matte = face.over((0, 0, *SIZE), "matte.network")[..., None]
    wanted = plate.whole(RGBA[:3]) + matte * (color - plate.whole(RGBA[:3]))
    np.testing.assert_allclose(made.whole(RGBA[:3]), wanted, atol=5e-6)


def test_merges_and_copies():
    b, a = picture(9, low=0, high=1), picture(10, low=0, high=1)
    over = run("push $Na\npush $Nb\nMerge2 {\n inputs 2\n}\n", a=a, b=b)
    np.testing.assert_allclose(over.whole(), a.whole() + b.whole() * (1 - a.whole()[..., 3:]), atol=1e-6)
    copied = run("push $Na\npush $Nb\nCopy {\n inputs 2\n from0 rgba.red\n to0 rgba.alpha\n}\n", a=a, b=b)
    assert (copied.channels["rgba.alpha"] == a.channels["rgba.red"]).all()
    assert (copied.channels["rgba.red"] == b.channels["rgba.red"]).all()
    times = run("push $Na\npush $Nb\nChannelMerge {\n inputs 2\n operation multiply\n A alpha\n B red\n}\n", a=a, b=b)
    np.testing.assert_allclose(
        times.channels["rgba.alpha"], a.channels["rgba.alpha"] * b.channels["rgba.red"], atol=1e-7
    )


def ramp(size=SIZE):
    """A picture whose red and green are the positions of its pixels, x right and y up, from the bottom left."""
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32) + 0.5
    held = {"rgba.red": columns, "rgba.green": size[1] - rows, "rgba.blue": columns * 0, "rgba.alpha": columns * 0 + 1}
    return Picture(size, (0, 0, *size), held)


def test_transform_moves_positions_as_its_matrix_says():
    text = "Transform {\n translate {3.5 -2}\n rotate 10\n scale {1.1 0.9}\n center {20 15}\n}\n"
    made = one(text, ramp())
    angle = np.radians(10)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([1.1, 0.9])
    where = ramp().whole(("rgba.red", "rgba.green"))
    came = (where - np.array([20, 15]) - np.array([3.5, -2])) @ np.linalg.inv(turn).T + np.array([20, 15])
    inside = (made.channels["rgba.alpha"] > 0.999) & (came > 1).all(-1) & (came < np.array(SIZE) - 1).all(-1)
    assert inside.sum() > 500
    assert np.abs(made.whole(("rgba.red", "rgba.green")) - came)[inside].max() < 1e-3


def test_corner_pin_is_the_homography_of_its_corners():
    source = np.array([[0, 0], [40, 0], [40, 30], [0, 30]], np.float32)
    target = source + np.array([[3, 2], [-2, 4], [1, -3], [5, -1]], np.float32)
    wanted = cv2.getPerspectiveTransform(source, target)
    knobs = {f"from{i + 1}": source[i] for i in range(4)} | {f"to{i + 1}": target[i] for i in range(4)}

    def number(name, index=0):
        return float(np.eye(4).ravel()[index]) if name == "transform_matrix" else float(knobs[name][index])

    matrix = corner_pin(number, lambda name: name.startswith("enable"), lambda name: "", SIZE)
    np.testing.assert_allclose(matrix, wanted, atol=1e-5)
    lines = "".join(f" {name} {{{x} {y}}}\n" for name, (x, y) in knobs.items())
    made = one(f"CornerPin2D {{\n{lines}}}\n", ramp())
    where = ramp().whole(("rgba.red", "rgba.green")).reshape(-1, 1, 2)
    came = cv2.perspectiveTransform(where, np.linalg.inv(wanted)).reshape(SIZE[1], SIZE[0], 2)
    inside = (came > 1).all(-1) & (came < np.array(SIZE) - 1).all(-1)
    assert np.abs(made.whole(("rgba.red", "rgba.green")) - came)[inside].max() < 1e-3


def test_a_map_of_positions_fetches_from_where_it_says():
    size = SIZE
    where = ramp(size).whole(("rgba.red", "rgba.green")) + np.array([2.25, -1.5])
    chart = Picture(size, (0, 0, *size), {"rgba.red": where[..., 0] / size[0], "rgba.green": where[..., 1] / size[1]})
    made = run(
        "push $Nm\npush $Na\nSTMap {\n inputs 2\n channels rgba\n uv rgb\n filter linear\n}\n", a=ramp(), m=chart
    )
    inside = (where > 1).all(-1) & (where < np.array(size) - 1).all(-1)
    assert np.abs(made.whole(("rgba.red", "rgba.green")) - where)[inside].max() < 1e-4


def test_switch_dissolve_hold_and_constant():
    a, b = picture(11), picture(12)
    assert (run("push $Nb\npush $Na\nSwitch {\n inputs 2\n which 1\n}\n", a=a, b=b).whole() == b.whole()).all()
    half = run("push $Nb\npush $Na\nDissolve {\n inputs 2\n which 0.25\n}\n", a=a, b=b)
    np.testing.assert_allclose(half.whole(), a.whole() * 0.75 + b.whole() * 0.25, atol=1e-6)
    text = "Constant {\n inputs 0\n color {{curve L x1 0 x11 1} 0 0 1}\n}\nFrameHold {\n firstFrame 6\n}\n"
    assert run(text, 1).channels["rgba.red"][0, 0] == pytest.approx(0.5)


def test_growing_and_shrinking_are_morphology():
    mask = picture(13, low=0, high=1)
    for size in (2, -3):
        made = one(f"Dilate {{\n channels alpha\n size {size}\n}}\n", mask).over((0, 0, *SIZE), "rgba.alpha")
        square = np.ones((2 * abs(size) + 1,) * 2, np.uint8)
        change = cv2.dilate if size > 0 else cv2.erode
        wanted = change(mask.channels["rgba.alpha"], square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        np.testing.assert_array_equal(made, wanted)


def test_what_only_nuke_knows_is_refused():
    with pytest.raises(NotModeled, match="Grain2"):
        one("Grain2 {\n}\n", picture(14))
    with pytest.raises(NotModeled, match="uv is none"):
        run("push $Na\npush $Na\nSTMap {\n inputs 2\n}\n", a=picture(15))


def test_names_of_files_and_channels():
    assert numbered("a.%04d.exr", 7) == "a.0007.exr" and numbered("a.####.exr", 1001) == "a.1001.exr"
    assert [from_file(name) for name in ("R", "raw.G", "matte.hull", "A")] == [
        "rgba.red", "raw.green", "matte.hull", "rgba.alpha",
    ]  # fmt: skip
