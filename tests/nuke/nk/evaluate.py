"""The picture that a script makes, by the published formulas of Nuke's nodes.

Exact are color, mattes, merges, channels and the geometry of transforms. Resampling is bilinear whatever the filter
says; blurs, sharpening and filtered erosion are kernels of about Nuke's size: their exact shapes are Nuke's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
from scipy import ndimage

from nk import pixels, tcl
from nk.expression import evaluate
from nk.facts import Facts
from nk.geometry import MATRICES
from nk.pixels import RGBA, Array, Picture, from_file, grown, joined, named, sampled
from nk.script import GROUPS, Node
from nk.values import At, Values

AS_STORED = (
    "",
    "scene_linear",
    "linear",
    "default",
    "default (scene_linear)",
    "default (linear)",
    "compositing_linear",
)
"""Color spaces in which a Read leaves the values of a linear file alone."""
MASKED = frozenset(
    [
        "Grade",
        "ColorMatrix",
        "Expression",
        "Dilate",
        "FilterErode",
        "Erode",
        "Blur",
        "Sharpen",
        "Multiply",
        "Invert",
        "Clamp",
    ]
)
"""Classes whose result is mixed with their input, and by a mask."""


class NotModeled(ValueError):
    """Something whose pixels only Nuke knows."""


class Evaluator:
    """Pictures of the nodes of a script.

    Attributes:
        size: Width and height of the script's format, for what has no picture.
        given: Pictures by name of a node, in place of what it would compute: what a script is tried on.
        layers: Channels of the script's layers; where a picture has none of them, they are 0.
    """

    def __init__(
        self,
        facts: Facts,
        size: tuple[int, int],
        given: dict[str, Picture] | None = None,
        layers: Mapping[str, tuple[str, ...] | None] | None = None,
    ) -> None:
        self.size = size
        self.given = given or {}
        self.layers = layers or {}
        self._values = Values(facts, size)
        self._made: dict[tuple[Node, float], Picture] = {}

    def picture(self, node: Node | None, frame: float) -> Picture:
        """What a node hands on at a frame.

        Raises:
            NotModeled: Its pixels, or those of a node that feeds it, are only Nuke's to know.
            OSError: A Read that says so finds no file.
        """
        if node is None:
            return Picture(self.size)
        if node.name in self.given:
            return self.given[node.name]
        if (node, frame) not in self._made:
            self._made[node, frame] = self._computed(node, frame)
        return self._made[node, frame]

    def _computed(self, node: Node, frame: float) -> Picture:
        values = self._values
        if node.cls == "Input":
            number = int(values.number(node, "number", frame))
            group = node.parent
            fed = group.inputs[number] if group is not None and number < len(group.inputs) else None
            return self.picture(fed, frame)
        if values.facts.knob(node, "disable") is not None and values.truth(node, "disable", frame):
            return self.picture(node.inputs[0] if node.inputs else None, frame)
        if node.cls in GROUPS:
            return self.picture(next(child for child in node.children if child.cls == "Output"), frame)
        work = _Work(self, self._values, node, frame)
        rule = RULES.get(node.cls)
        if rule is None:
            raise NotModeled(f"{node.path}: what a {node.cls} does is not modeled")
        made = rule(work)
        return work.mixed(made) if node.cls in MASKED else made


class _Work:
    """One node at one frame: its inputs and knobs."""

    def __init__(self, evaluator: Evaluator, values: Values, node: Node, frame: float) -> None:
        self.evaluator, self.values, self.node, self.frame = evaluator, values, node, frame

    def input(self, index: int, frame: float | None = None) -> Picture:
        source = self.node.inputs[index] if index < len(self.node.inputs) else None
        return self.evaluator.picture(source, self.frame if frame is None else frame)

    def connected(self, index: int) -> bool:
        return index < len(self.node.inputs) and self.node.inputs[index] is not None

    def number(self, name: str, index: int = 0) -> float:
        return self.values.number(self.node, name, self.frame, index)

    def numbers(self, name: str) -> list[float]:
        return self.values.numbers(self.node, name, self.frame)

    def truth(self, name: str) -> bool:
        return self.values.truth(self.node, name, self.frame)

    def choice(self, name: str) -> str:
        return self.values.choice(self.node, name, self.frame)

    def text(self, name: str) -> str:
        return self.values.text(self.node, name, self.frame)

    def channels(self, name: str, picture: Picture) -> list[str]:
        return named(tcl.split(self.text(name)), picture.channels)

    def mixed(self, made: Picture) -> Picture:
        """A result brought back toward the input by ``mix`` and the mask."""
        before = self.input(0)
        amount: float | Array = self.number("mix") if self.values.facts.knob(self.node, "mix") else 1.0
        mask_name = self.text("maskChannelInput")
        if mask_name != "none":
            mask = self.input(len(self.node.inputs) - 1)
            amount = amount * mask.over(made.box, named([mask_name], mask.channels)[0])
        if isinstance(amount, float) and amount == 1.0:
            return made
        return made.laid(
            {
                name: (before.over(made.box, name) * (1 - amount) + channel * amount).astype(np.float32)
                for name, channel in made.channels.items()
            }
        )


def _passed(work: _Work) -> Picture:
    return work.input(0)


def _read(work: _Work) -> Picture:
    evaluator, frame = work.evaluator, work.frame
    if not work.truth("raw") and work.choice("colorspace") not in AS_STORED:
        raise NotModeled(f"{work.node.path}: color space {work.choice('colorspace')}")
    first, last = work.number("first"), work.number("last")
    if not first <= frame <= last:
        how = work.choice("before" if frame < first else "after")
        if how == "black":
            return Picture(evaluator.size)
        if how != "hold":
            raise NotModeled(f"{work.node.path}: {how}")
        frame = first if frame < first else last
    offset = work.text("frame")
    if offset:
        how = work.choice("frame_mode")
        if how == "expression":
            frame = evaluate(offset, At(work.values, work.node, frame))
        else:
            frame = frame + float(offset) if how == "offset" else frame - first + float(offset)
    path = numbered(work.text("file"), int(frame))
    try:
        return loaded(path)
    except OSError:
        if work.choice("on_error") == "black":
            return Picture(evaluator.size)
        raise


def numbered(pattern: str, frame: int) -> str:
    """A path with the frame's number where ``%04d`` or ``####`` stand."""
    pattern = re.sub(r"#+", lambda found: f"%0{len(found.group())}d", pattern)
    return re.sub(r"%0?(\d*)d", lambda found: f"{frame:0{int(found.group(1) or 1)}d}", pattern)


def loaded(path: str) -> Picture:
    """The picture of an EXR file, with the names that Nuke gives its channels.

    Raises:
        OSError: It cannot be read.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(path)
    buffer = oiio.ImageBuf(path)
    spec = buffer.spec()
    array = buffer.get_pixels(oiio.FLOAT)
    if array is None:
        raise OSError(buffer.geterror())
    left, top = spec.x - spec.full_x, spec.y - spec.full_y
    box = (left, top, left + spec.width, top + spec.height)
    channels = {from_file(name): np.ascontiguousarray(array[..., i]) for i, name in enumerate(spec.channelnames)}
    return Picture((spec.full_width, spec.full_height), box, channels)


def _constant(work: _Work) -> Picture:
    width, height = work.evaluator.size
    color = work.numbers("color")
    held = {name: np.full((height, width), value, np.float32) for name, value in zip(RGBA, color)}
    return Picture((width, height), (0, 0, width, height), held)


def _color_matrix(work: _Work) -> Picture:
    picture = work.input(0)
    names = work.channels("channels", picture)
    matrix = np.array(work.numbers("matrix"), np.float32).reshape(3, 3)
    if work.truth("invert"):
        matrix = np.linalg.inv(matrix)
    if names != list(RGBA[:3]):
        raise NotModeled(f"{work.node.path}: channels {names}")
    stacked = np.stack([picture.over(picture.box, name) for name in names], axis=-1)
    moved = stacked @ matrix.T
    return picture.laid({name: moved[..., index] for index, name in enumerate(names)})


def _grade(work: _Work) -> Picture:
    picture = work.input(0)
    changed = {}
    knobs = {
        name: work.numbers(name) for name in ("blackpoint", "whitepoint", "black", "white", "multiply", "add", "gamma")
    }
    if work.truth("reverse"):
        raise NotModeled(f"{work.node.path}: reverse")
    for name in work.channels("channels", picture):
        index = RGBA.index(name) if name in RGBA else 0
        one = {knob: values[index] for knob, values in knobs.items()}
        gain = one["multiply"] * (one["white"] - one["black"]) / (one["whitepoint"] - one["blackpoint"])
        offset = one["add"] + one["black"] - gain * one["blackpoint"]
        value = picture.over(picture.box, name) * np.float32(gain) + np.float32(offset)
        if one["gamma"] != 1:
            value = np.where(value > 0, np.abs(value) ** np.float32(1 / one["gamma"]), value)
        value = np.maximum(value, 0) if work.truth("black_clamp") else value
        changed[name] = np.minimum(value, 1) if work.truth("white_clamp") else value
    return picture.laid(changed)


def _multiply(work: _Work) -> Picture:
    picture, factors = work.input(0), work.numbers("value")
    names = work.channels("channels", picture)
    return picture.laid(
        {name: picture.over(picture.box, name) * np.float32(factors[RGBA.index(name) % len(factors)]) for name in names}
    )


def _invert(work: _Work) -> Picture:
    picture = work.input(0)
    if work.evaluator.size and picture.box[2] <= picture.box[0]:
        picture = picture.boxed((0, 0, *picture.size))
    return picture.laid({name: 1 - picture.over(picture.box, name) for name in work.channels("channels", picture)})


def _clamp(work: _Work) -> Picture:
    picture = work.input(0)
    low, high = work.numbers("minimum"), work.numbers("maximum")
    changed = {}
    for name in work.channels("channels", picture):
        index = RGBA.index(name) if name in RGBA else 0
        value = picture.over(picture.box, name)
        value = np.maximum(value, np.float32(low[index])) if work.truth("minimum_enable") else value
        changed[name] = np.minimum(value, np.float32(high[index])) if work.truth("maximum_enable") else value
    return picture.laid(changed)


def _expression(work: _Work) -> Picture:
    picture = work.input(0)
    box = picture.box
    rows, columns = np.mgrid[box[1] : box[3], box[0] : box[2]].astype(np.float32)
    given = dict(zip("rgba", (picture.over(box, name) for name in RGBA)))
    given |= {"x": columns, "y": picture.size[1] - 1 - rows}
    given |= {"red": given["r"], "green": given["g"], "blue": given["b"], "alpha": given["a"]}
    declared = [name for names in work.evaluator.layers.values() for name in names or ()]
    given |= {name: picture.over(box, name) for name in (*declared, *picture.channels)}
    for number in range(4):
        name, formula = work.text(f"temp_name{number}"), work.node.values.get(f"temp_expr{number}")
        if name and formula:
            given[name] = evaluate(formula, At(work.values, work.node, work.frame, 0, given))
    changed = {}
    for number in range(4):
        formula = work.node.values.get(f"expr{number}")
        if formula:
            made = evaluate(formula, At(work.values, work.node, work.frame, 0, given))
            for name in work.channels(f"channel{number}", picture):
                changed[name] = np.broadcast_to(np.asarray(made, np.float32), columns.shape)
    return picture.laid(changed)


def _keymix(work: _Work) -> Picture:
    b, a, mask = (work.input(index) for index in range(3))
    how = work.choice("bbox")
    box = {"B": b.box, "A": a.box, "union": joined(a.box, b.box)}[how]
    wanted = named(tcl.split(work.text("channels")), {**b.channels, **a.channels})
    if work.connected(2):
        amount = mask.over(box, named([work.text("maskChannel")], mask.channels)[0])
        amount = 1 - amount if work.truth("invertMask") else amount
    else:
        amount = np.ones((box[3] - box[1], box[2] - box[0]), np.float32)
    amount = amount * np.float32(work.number("mix"))
    made = b.boxed(box)
    with np.errstate(invalid="ignore"):
        return made.laid({name: b.over(box, name) * (1 - amount) + a.over(box, name) * amount for name in wanted})


def _over(a: Array, b: Array, alpha: Array, under: Array) -> Array:
    return a + b * (1 - alpha)


MERGES: dict[str, Callable[[Array, Array, Array, Array], Array]] = {
    "over": _over,
    "under": lambda a, b, alpha, under: a * (1 - under) + b,
    "plus": lambda a, b, alpha, under: a + b,
    "from": lambda a, b, alpha, under: b - a,
    "minus": lambda a, b, alpha, under: a - b,
    "multiply": lambda a, b, alpha, under: np.where((a < 0) & (b < 0), a, a * b),
    "max": lambda a, b, alpha, under: np.maximum(a, b),
    "min": lambda a, b, alpha, under: np.minimum(a, b),
    "copy": lambda a, b, alpha, under: a,
    "mask": lambda a, b, alpha, under: b * alpha,
    "stencil": lambda a, b, alpha, under: b * (1 - alpha),
    "in": lambda a, b, alpha, under: a * under,
    "out": lambda a, b, alpha, under: a * (1 - under),
    "screen": lambda a, b, alpha, under: np.where((a <= 1) & (b <= 1), a + b - a * b, np.maximum(a, b)),
    "difference": lambda a, b, alpha, under: np.abs(a - b),
    "matte": lambda a, b, alpha, under: a * alpha + b * (1 - alpha),
}
"""``Merge2`` by operation: A, B, alpha of A, alpha of B."""


def _merge(work: _Work) -> Picture:
    b, a = work.input(0), work.input(1)
    operation = work.choice("operation")
    if operation not in MERGES:
        raise NotModeled(f"{work.node.path}: merge {operation}")
    how = work.choice("bbox")
    box = {"B": b.box, "A": a.box, "union": joined(a.box, b.box), "intersection": pixels.shared(a.box, b.box)}[how]
    alpha, under = a.over(box, RGBA[3]), b.over(box, RGBA[3])
    amount = np.float32(work.number("mix"))
    made = b.boxed(box)
    changed = {}
    for name in named(tcl.split(work.text("output")), {**a.channels, **b.channels}):
        before = b.over(box, name)
        after = MERGES[operation](a.over(box, name), before, alpha, under)
        changed[name] = (before + (after - before) * amount if amount != 1 else after).astype(np.float32)
    return made.laid(changed)


def _channel_merge(work: _Work) -> Picture:
    b, a = work.input(0), work.input(1)
    operation = work.choice("operation")
    if operation not in MERGES or operation in ("over", "under", "mask", "stencil", "in", "out", "matte"):
        raise NotModeled(f"{work.node.path}: channel merge {operation}")
    box = joined(a.box, b.box)
    first, second, target = (
        named([work.text(knob)], held)[0] for knob, held in (("A", a.channels), ("B", b.channels), ("output", {}))
    )
    before = b.over(box, second)
    after = MERGES[operation](a.over(box, first), before, before, before)
    amount = np.float32(work.number("mix"))
    kept = b.over(box, target)
    return b.boxed(box).laid({target: (kept + (after - kept) * amount if amount != 1 else after).astype(np.float32)})


def _copy(work: _Work) -> Picture:
    b, a = work.input(0), work.input(1)
    box = joined(a.box, b.box)
    changed = {name: a.over(box, name) for name in named(tcl.split(work.text("channels")), a.channels)}
    for number in range(4):
        source, target = work.text(f"from{number}"), work.text(f"to{number}")
        if source != "none" and target != "none":
            changed[named([target], {})[0]] = a.over(box, named([source], {})[0])
    return b.boxed(box).laid(changed)


def _shuffle(work: _Work) -> Picture:
    sources = []
    for knob in ("fromInput1", "fromInput2"):
        text = work.node.values.get(knob, "{0} B")
        index, *items = tcl.split(text)
        sources.append(work.input({"B": 0, "A": 1}[items[int(index)]]))
    main = work.input(0)
    box = joined(main.box, *(source.box for source in sources))
    words = work.text("mappings").split()
    if len(words) != 1 + 6 * int(words[0]):
        raise NotModeled(f"{work.node.path}: mappings")
    changed = {}
    for at in range(1, len(words), 6):
        source, layer, _, target, _, _ = words[at : at + 6]
        shape = (box[3] - box[1], box[2] - box[0])
        if source in ("black", "white"):
            changed[target] = np.full(shape, source == "white", np.float32)
        else:
            changed[target] = sources[int(layer)].over(box, source)
    out = {
        name
        for knob in ("out1", "out2")
        for name in named([work.text(knob)], main.channels)
        if work.text(knob) != "none"
    }
    if not out <= set(changed):
        raise NotModeled(f"{work.node.path}: nothing is mapped to {sorted(out - set(changed))}")
    return main.boxed(box).laid(changed)


def _filtered(kernel: Callable[[_Work, Array, float, float], Array]) -> Callable[[_Work], Picture]:
    """A rule from a filter of one channel; ``size`` has two numbers."""

    def rule(work: _Work) -> Picture:
        picture = work.input(0)
        size = work.numbers("size")
        reach = int(np.ceil(max(abs(size[0]), abs(size[1])) * 1.5)) + 1
        box = grown(picture.box, reach)
        wide = picture.boxed(box)
        return wide.laid(
            {
                name: kernel(work, wide.over(box, name), size[0], size[1]).astype(np.float32)
                for name in work.channels("channels", picture)
            }
        )

    return rule


def _blur(work: _Work, channel: Array, x: float, y: float) -> Array:
    return ndimage.gaussian_filter(channel, (y / 3, x / 3), mode="constant", truncate=4)


def _sharpen(work: _Work, channel: Array, x: float, y: float) -> Array:
    soft = _blur(work, channel, x, y)
    inside = (channel >= work.number("minimum")) & (channel <= work.number("maximum"))
    return np.where(inside, channel + (channel - soft) * work.number("amount"), channel)


def _dilate(work: _Work, channel: Array, x: float, y: float) -> Array:
    """Largest (or of negative sizes smallest) of a square; of fractions, between the two next whole sizes."""

    def whole(steps: int) -> Array:
        if not steps:
            return channel
        apply = ndimage.maximum_filter if steps > 0 else ndimage.minimum_filter
        return apply(channel, 2 * abs(steps) + 1, mode="constant")

    near = int(np.trunc(x))
    part = abs(x - near)
    return whole(near) if not part else whole(near) * (1 - part) + whole(near + int(np.sign(x))) * part


def _transformed(work: _Work) -> Picture:
    """A picture moved by the matrix of its node, which counts upward from the bottom left."""
    picture = work.input(0)
    width, height = picture.size
    matrix = MATRICES[work.node.cls](work.number, work.truth, work.choice, picture.size)
    flip = np.array([[1, 0, 0], [0, -1, height], [0, 0, 1]], np.float64)
    back = flip @ np.linalg.inv(matrix) @ flip
    box = (0, 0, width, height)
    rows, columns = np.mgrid[0:height, 0:width] + 0.5
    x, y, w = np.einsum("ij,jhw->ihw", back, np.stack([columns, rows, np.ones_like(rows)]))
    x, y = x / w - picture.box[0], y / w - picture.box[1]
    held = {name: sampled(channel, y, x) for name, channel in picture.channels.items()}
    return Picture(picture.size, box, held)


def _stmap(work: _Work) -> Picture:
    picture, chart = work.input(0), work.input(1)
    names = named([work.text("uv")], chart.channels)
    if len(names) < 2:
        raise NotModeled(f"{work.node.path}: uv is none")
    width, height = picture.size
    u, v = (chart.over(chart.box, name).astype(np.float64) for name in names[:2])
    x, y = u * width - picture.box[0], (1 - v) * height - picture.box[1]
    # Of a map pixel that holds nothing, Nuke takes the corner; no map of ours has one inside its window.
    held = {name: sampled(picture.over(picture.box, name), y, x) for name in work.channels("channels", picture)}
    return Picture(picture.size, chart.box, held)


def _switch(work: _Work) -> Picture:
    return work.input(min(max(0, int(work.number("which"))), max(len(work.node.inputs) - 1, 0)))


def _dissolve(work: _Work) -> Picture:
    # The third input of a Dissolve is its mask; further pictures come after it.
    which = work.number("which")
    low = int(np.floor(which))
    order = [index for index in range(len(work.node.inputs)) if index != 2]
    b, a = (work.input(order[min(max(0, index), len(order) - 1)]) for index in (low, low + 1))
    part = np.float32(which - low)
    if part == 0:
        return b
    box = joined(a.box, b.box)
    names = {**b.channels, **a.channels}
    return Picture(b.size, box, {name: b.over(box, name) * (1 - part) + a.over(box, name) * part for name in names})


def _held(work: _Work) -> Picture:
    if work.number("increment"):
        raise NotModeled(f"{work.node.path}: increment")
    return work.input(0, work.number("firstFrame"))


def _crop(work: _Work) -> Picture:
    picture = work.input(0)
    x, y, r, t = work.numbers("box")
    height = picture.size[1]
    box = pixels.shared(picture.box, (int(x), int(height - t), int(r), int(height - y)))
    moved = picture.boxed(box)
    return replace(moved, size=(int(r - x), int(t - y))) if work.truth("reformat") else moved


def _premult(work: _Work) -> Picture:
    picture = work.input(0)
    alpha = picture.over(picture.box, RGBA[3])
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = alpha if work.node.cls == "Premult" else np.where(alpha != 0, 1 / alpha, 1)
    names = [name for name in work.channels("channels", picture) if name != RGBA[3]]
    return picture.laid({name: (picture.over(picture.box, name) * factor).astype(np.float32) for name in names})


def _removed(work: _Work) -> Picture:
    picture = work.input(0)
    names = work.channels("channels", picture)
    keep = work.choice("operation") == "keep"
    return Picture(picture.size, picture.box, {n: c for n, c in picture.channels.items() if (n in names) == keep})


RULES: dict[str, Callable[[_Work], Picture]] = {
    **dict.fromkeys(("Dot", "NoOp", "Output", "Write", "BlackOutside", "Assert", "AdjBBox"), _passed),
    "Read": _read,
    "Constant": _constant,
    "ColorMatrix": _color_matrix,
    "Grade": _grade,
    "Multiply": _multiply,
    "Invert": _invert,
    "Clamp": _clamp,
    "Expression": _expression,
    "Keymix": _keymix,
    "Merge2": _merge,
    "ChannelMerge": _channel_merge,
    "Copy": _copy,
    "Shuffle2": _shuffle,
    "Blur": _filtered(_blur),
    "Sharpen": _filtered(_sharpen),
    "Dilate": _filtered(_dilate),
    "FilterErode": _filtered(lambda work, channel, x, y: _dilate(work, channel, -x, -y)),
    "Erode": _filtered(lambda work, channel, x, y: _dilate(work, channel, -x, -y)),
    "Transform": _transformed,
    "CornerPin2D": _transformed,
    "STMap": _stmap,
    "Switch": _switch,
    "Dissolve": _dissolve,
    "FrameHold": _held,
    "Crop": _crop,
    "Premult": _premult,
    "Unpremult": _premult,
    "Remove": _removed,
}
