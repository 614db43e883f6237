# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes that need no engine while an artist dials them: Matte, Color Match, Finish, Comp, and two for strips.

Plain groups of Blender's own nodes: a file that holds them renders the same where mien was never installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import bpy

from ..core import colors
from .compat import working_space
from .weave import KIND, VERSION, Weave

NAMES = {
    "convert": "mien Convert",
    "matte": "mien Matte",
    "color_match": "mien Color Match",
    "finish": "mien Finish",
    "comp": "mien Comp",
    "strip_grade": "mien Grade",
    "strip_over": "mien Over",
}
VERSIONS = {"convert": 2, "matte": 2, "color_match": 2, "finish": 2, "comp": 2, "strip_grade": 1, "strip_over": 1}
"""Raised when a group is built otherwise: files that hold an older one are offered the new."""
WIDTH = "Width of the face in pixels, keyed by Match, so that sizes mean the same in proxy and final"
ROWS = ("Red", "Green", "Blue")


def matte() -> Any:
    """The engine's matte, reshaped by its signed distance; bit for bit the engine's while nothing is dialed."""
    weave = Weave(NAMES["matte"], "matte", VERSIONS["matte"])
    made = weave.flows("Matte", "Float", "The engine's matte")
    distance = weave.flows("Distance", "Float", "Signed distance from its edge in pixels, positive inside")
    held = weave.flows("Hold-out", "Float", "What passes in front of the face, as the engine held it out")
    grow = weave.dialed("Grow", 0.0, "Distance the edge moves outward, in face widths; negative shrinks", -0.5, 0.5)
    soften = weave.dialed("Soften", 0.0, "Further width of the soft edge, in face widths", 0.0, 1.0)
    amount = weave.dialed("Amount", 1.0, "How much of the matte", 0.0, 1.0)
    outline = weave.dialed(
        "From Distance", 0.0,
        "0 keeps the engine's own edge while nothing is dialed, 1 draws it anew from the distance", 0.0, 1.0, "Edge",
    )  # fmt: skip
    edge = weave.dialed("Edge", 0.06, "Width of the engine's soft edge, in face widths", 0.0, 1.0, "Edge")
    keep = weave.dialed("Keep Hold-out", 1.0, "How far the edge keeps out of what was held out", 0.0, 1.0, "Edge")
    width = weave.dialed("Face Width", 200.0, WIDTH, 1.0, 100000.0, "Edge")
    inside = weave.dialed("Garbage In", 0.0, "Where this is 1 the face is always seen", 0.0, 1.0, "Garbage")
    outside = weave.dialed("Garbage Out", 0.0, "Where this is 1 the plate is always seen", 0.0, 1.0, "Garbage")

    ramp = weave.math("MAXIMUM", weave.math("MULTIPLY", weave.math("ADD", edge, soften), width), 1.0)
    moved = weave.math("ADD", distance, weave.math("MULTIPLY", grow, width))
    drawn = weave.math("ADD", weave.math("DIVIDE", moved, ramp), 0.5, clamp=True)
    free = weave.math("SUBTRACT", 1.0, weave.math("MULTIPLY", held, keep), clamp=True)
    touched = weave.math("ADD", weave.math("ABSOLUTE", grow), soften)
    reach = weave.math("ADD", weave.math("MULTIPLY", edge, 0.5), 0.005)
    share = weave.math("MAXIMUM", weave.math("DIVIDE", touched, reach), outline, clamp=True)
    shaped = weave.mix(made, weave.math("MULTIPLY", drawn, free), share, "FLOAT")
    kept = weave.mix(shaped, 1.0, inside, "FLOAT")
    shown = weave.math("MULTIPLY", kept, weave.math("SUBTRACT", 1.0, outside, clamp=True))
    weave.gives("Matte", "Float", weave.math("MULTIPLY", shown, amount), "The matte as it is dialed")
    return weave.tree


def color_match() -> Any:
    """The solved color move as numbers to key, and trims after it; nothing is clipped."""
    weave = Weave(NAMES["color_match"], "color_match", VERSIONS["color_match"])
    face = weave.flows("Face", "Color", "The converted face, unmatted and ungraded")
    finished = weave.flows("Finished", "Color", "The face as the engine finished it")
    done = weave.dialed(
        "Engine Finish", 0.0,
        "1 takes the face that the engine matched, lit, sharpened and grained; 0 does the move below natively",
        0.0, 1.0,
    )  # fmt: skip
    match = weave.dialed("Match", 1.0, "How much of the solved move; 0 leaves the face's own color", 0.0, 2.0)
    trims = "Trim"
    exposure = weave.dialed("Exposure", 0.0, "Stops", -10.0, 10.0, trims)
    gain = weave.dialed("Gain", (1.0, 1.0, 1.0), "Factor for red, green and blue", -100.0, 100.0, trims)
    lift = weave.dialed("Lift", (0.0, 0.0, 0.0), "What is added to red, green and blue", -100.0, 100.0, trims)
    saturation = weave.dialed("Saturation", 1.0, "0 is gray", 0.0, 4.0, trims)
    luma = weave.dialed(
        "Luminance", colors.luminance(working_space()), "How much of red, green and blue is luminance", 0.0, 1.0, trims
    )
    rows = [
        weave.dialed(
            name, tuple(float(name == other) for other in ROWS),
            f"What of the face's red, green and blue becomes {name.lower()}; keyed by Match", -1e5, 1e5, "Solved Move",
        )
        for name in ROWS
    ]  # fmt: skip
    offset = weave.dialed(
        "Offset", (0.0, 0.0, 0.0), "What the move adds to red, green and blue; keyed by Match", -1e5, 1e5, "Solved Move"
    )
    own = weave.used(weave.math("SUBTRACT", 1.0, done))
    mine = weave.when(own, face)
    moved = weave.vector("ADD", weave.joined(*(weave.vector("DOT_PRODUCT", mine, row) for row in rows)), offset)
    native = weave.mix(weave.mix(mine, moved, match, clamp=False), weave.when(own, finished), done)
    matched = weave.when(own, native, finished)

    trimmed = weave.used(
        exposure, weave.vector("DISTANCE", gain, (1.0, 1.0, 1.0)), weave.vector("LENGTH", lift),
        weave.math("SUBTRACT", saturation, 1.0),
    )  # fmt: skip
    exposed = weave.scaled(weave.when(trimmed, matched), weave.math("POWER", 2.0, exposure))
    lifted = weave.vector("MULTIPLY_ADD", exposed, gain, lift)
    # A number that flows into a color is gray.
    gray = weave.math("MULTIPLY", weave.vector("DOT_PRODUCT", lifted, luma), weave.math("SUBTRACT", 1.0, saturation))
    result = weave.when(trimmed, weave.vector("ADD", weave.scaled(lifted, saturation), gray), matched)
    weave.gives("Face", "Color", result, "The face in the plate's color")
    return weave.tree


def finish() -> Any:
    """Softer, sharper, grain; the face bit for bit while nothing is dialed."""
    weave = Weave(NAMES["finish"], "finish", VERSIONS["finish"])
    face = weave.flows("Face", "Color", "The matched face")
    soften = weave.dialed("Soften", 0.0, "Blur, as a standard deviation in face widths", 0.0, 0.2)
    sharpen = weave.dialed("Sharpen", 0.0, "How much of what a blur takes away is added", 0.0, 5.0)
    size = weave.dialed("Sharpen Size", 0.01, "Size of what is sharpened, in face widths", 0.0, 0.2)
    grain = weave.dialed(
        "Grain", 0.0, "Grain beside the engine's own: its standard deviation where the face is 1", 0.0, 1.0, "Grain"
    )
    coarse = weave.dialed("Grain Size", 0.0, "Size of a grain beyond one pixel, in pixels", 0.0, 10.0, "Grain")
    seed = weave.dialed("Seed", 0, "Another pattern", 0, 10000, "Grain")
    width = weave.dialed("Face Width", 200.0, WIDTH, 1.0, 100000.0, "Grain")

    soft = weave.blurred(face, weave.math("MULTIPLY", soften, width))
    used = weave.used(sharpen)
    some = weave.when(used, soft)
    less = weave.vector("SUBTRACT", some, weave.blurred(some, weave.math("MULTIPLY", size, width)))
    sharp = weave.when(used, weave.vector("ADD", some, weave.scaled(less, sharpen)), soft)
    weave.gives("Face", "Color", _grained(weave, sharp, grain, coarse, seed), "The face")
    return weave.tree


def _grained(weave: Weave, face: Any, amount: Any, coarse: Any, seed: Any) -> Any:
    """Noise of the frame's own, that grows with the square root of light as that of photons does."""
    used = weave.used(amount)
    lit = weave.when(used, face)
    place = weave.node("CompositorNodeImageCoordinates")
    weave.link(lit, place.inputs[0])
    noise = weave.node("ShaderNodeTexWhiteNoise", noise_dimensions="4D")
    frame = weave.node("CompositorNodeSceneTime")
    weave.link(next(one for one in place.outputs if one.name == "Pixel"), noise.inputs["Vector"])
    number = next(one for one in frame.outputs if one.name == "Frame")
    weave.link(weave.math("MULTIPLY_ADD", seed, 10007.0, number), noise.inputs["W"])
    centered = weave.vector("SUBTRACT", noise.outputs["Color"], (0.5, 0.5, 0.5))
    # A blur of standard deviation s leaves 1 / (2 sqrt(pi) s) of white noise; uniform noise has 1 / sqrt(12).
    even = weave.math("MAXIMUM", weave.math("MULTIPLY", coarse, 3.5449), 1.0)
    smooth = weave.scaled(weave.blurred(centered, coarse), weave.math("MULTIPLY", even, 3.4641))
    parts = weave.parts(lit)
    light = weave.joined(*(weave.math("SQRT", weave.math("MAXIMUM", parts[n], 0.0)) for n in ROWS))
    grain = weave.scaled(weave.vector("MULTIPLY", smooth, light), amount)
    return weave.when(used, weave.vector("ADD", lit, grain), face)


def comp() -> Any:
    """plate + matte (face - plate), the plate's alpha kept; the plate bit for bit where the matte is 0."""
    weave = Weave(NAMES["comp"], "comp", VERSIONS["comp"])
    plate = weave.flows("Plate", "Color", "What the face is laid over")
    face = weave.flows("Face", "Color", "The face, unmatted")
    matte = weave.flows("Matte", "Float", "1 where the face is seen")
    opacity = weave.dialed("Opacity", 1.0, "0 shows the plate's face, 1 the new one", 0.0, 1.0)
    factor = weave.math("MULTIPLY", matte, opacity)
    laid = weave.mix(plate, face, factor)
    weave.gives("Image", "Color", weave.with_alpha(laid, weave.parts(plate)["Alpha"]), "The finished picture")
    weave.gives("Matte", "Float", factor, "What was laid over")
    return weave.tree


def strip_grade() -> Any:
    """A grade for one strip, as a compositor modifier."""
    weave = Weave(NAMES["strip_grade"], "strip_grade", VERSIONS["strip_grade"])
    image = weave.flows("Image", "Color", "The strip's picture")
    exposure = weave.dialed("Exposure", 0.0, "Stops", -10.0, 10.0)
    gain = weave.dialed("Gain", (1.0, 1.0, 1.0), "Factor for red, green and blue", -100.0, 100.0)
    lift = weave.dialed("Lift", (0.0, 0.0, 0.0), "What is added to red, green and blue", -100.0, 100.0)
    gained = weave.vector("MULTIPLY", weave.scaled(image, weave.math("POWER", 2.0, exposure)), gain)
    graded = weave.with_alpha(weave.vector("ADD", gained, lift), weave.parts(image)["Alpha"])
    weave.gives("Image", "Color", graded, "The graded picture")
    return weave.tree


def strip_over() -> Any:
    """A face over a plate on the timeline; the fader is the first number, all else would read 0 there."""
    weave = Weave(NAMES["strip_over"], "strip_over", VERSIONS["strip_over"])
    plate = weave.flows("Plate", "Color", "The lower strip")
    face = weave.flows("Face", "Color", "The upper strip: a finished face with its matte as alpha, premultiplied")
    mix = weave.dialed("Mix", 1.0, "0 shows the plate, 1 the face", 0.0, 1.0)
    parts = weave.parts(face)
    left = weave.math("SUBTRACT", 1.0, weave.math("MULTIPLY", parts["Alpha"], mix))
    laid = weave.vector("ADD", weave.scaled(plate, left), weave.scaled(face, mix))
    weave.gives("Image", "Color", weave.with_alpha(laid, weave.parts(plate)["Alpha"]), "The picture")
    return weave.tree


BUILDERS: Mapping[str, Callable[[], Any]] = {
    "matte": matte, "color_match": color_match, "finish": finish, "comp": comp, "strip_grade": strip_grade,
    "strip_over": strip_over,
}  # fmt: skip


def shared(kind: str) -> Any:
    """The file's one group of a kind in the current version, built where there is none."""
    for tree in bpy.data.node_groups:
        if tree.get(KIND) == kind and tree.get(VERSION) == VERSIONS[kind] and tree.library is None:
            return tree
    return BUILDERS[kind]()


def kind_of(node: Any) -> str:
    """Which of our nodes a node is; empty for another."""
    tree = node.node_tree if node.bl_idname == "CompositorNodeGroup" else None
    return str(tree.get(KIND, "")) if tree is not None else ""


def ours(tree: Any, kind: str) -> list[Any]:
    """The nodes of a kind in a tree."""
    return [node for node in tree.nodes if kind_of(node) == kind] if tree is not None else []


def outdated() -> list[Any]:
    """Groups of the file that an update would rebuild."""
    return [tree for tree in bpy.data.node_groups if tree.get(KIND) in VERSIONS and _old(tree)]


def _old(tree: Any) -> bool:
    return bool(tree.get(VERSION, 0) < VERSIONS[tree[KIND]]) and tree.library is None
