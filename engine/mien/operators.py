"""OpenColorIO's operators as functions on tensors, for where pictures lie on a graphics card."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import numpy
import PyOpenColorIO as ocio
import torch
from torch import Tensor

from mien.ops import transfer

Step = Callable[[Tensor], Tensor]


def steps_of(group: Any) -> tuple[Step, ...] | None:
    """OpenColorIO's operators as functions on tensors; None where one of them is not known here."""
    steps: list[Step] = []
    for operator in group:
        step = _step(operator)
        if step is None:
            return None
        steps.append(step)
    return tuple(steps)


def _step(operator: Any) -> Step | None:
    inverse = operator.getDirection() == ocio.TRANSFORM_DIR_INVERSE
    reader = _READERS.get(type(operator))
    return None if reader is None else reader(operator, inverse)


def _matrix(operator: Any, inverse: bool) -> Step | None:
    values = torch.tensor(operator.getMatrix(), dtype=torch.float64).view(4, 4)
    offset = torch.tensor(operator.getOffset(), dtype=torch.float64)
    if inverse:
        values = torch.linalg.inv(values)
        offset = -values @ offset
    if bool(values[:3, 3].any()):
        return None
    return partial(transfer.matrix, rows=values[:3, :3].float(), offset=offset[:3].tolist())


def _camera_log(operator: Any, inverse: bool) -> Step:
    toe = operator.getLinearSlopeValue()
    return partial(
        transfer.camera_log,
        direction="decode" if inverse else "encode",
        base=operator.getBase(),
        **_affine(operator),
        breaks=operator.getLinSideBreakValue(),
        toe_slope=None if any(value != value for value in toe) else toe,
    )


def _affine_log(operator: Any, inverse: bool) -> Step:
    direction: Literal["decode", "encode"] = "decode" if inverse else "encode"
    return partial(transfer.logarithm, direction=direction, base=operator.getBase(), **_affine(operator))


def _affine(operator: Any) -> dict[str, Any]:
    return {
        "log_slope": operator.getLogSideSlopeValue(),
        "log_offset": operator.getLogSideOffsetValue(),
        "linear_slope": operator.getLinSideSlopeValue(),
        "linear_offset": operator.getLinSideOffsetValue(),
    }


def _plain_log(operator: Any, inverse: bool) -> Step:
    return partial(transfer.logarithm, direction="decode" if inverse else "encode", base=operator.getBase())


def _exponent(operator: Any, inverse: bool) -> Step | None:
    powers = [1 / value if inverse else value for value in operator.getValue()[:3]]
    styles: dict[Any, Literal["clamp", "mirror", "keep"]] = {
        ocio.NEGATIVE_CLAMP: "clamp",
        ocio.NEGATIVE_MIRROR: "mirror",
        ocio.NEGATIVE_PASS_THRU: "keep",
    }
    style = styles.get(operator.getNegativeStyle())
    return None if style is None else partial(transfer.exponent, powers=powers, negative=style)


def _monitor_curve(operator: Any, inverse: bool) -> Step | None:
    powers, offsets = operator.getGamma()[:3], operator.getOffset()[:3]
    if any(p <= 1 for p in powers) or any(o <= 0 for o in offsets):
        return None
    mirror = operator.getNegativeStyle() == ocio.NEGATIVE_MIRROR
    return partial(
        transfer.monitor_curve,
        powers=powers,
        offsets=offsets,
        direction="encode" if inverse else "decode",
        negative="mirror" if mirror else "linear",
    )


def _span(operator: Any, inverse: bool) -> Step:
    ends = [
        (operator.hasMinInValue(), operator.getMinInValue(), operator.getMinOutValue()),
        (operator.hasMaxInValue(), operator.getMaxInValue(), operator.getMaxOutValue()),
    ]
    if inverse:
        ends = [(has, there, here) for has, here, there in ends]
    (has_low, low_in, low_out), (has_high, high_in, high_out) = ends
    scale = (high_out - low_out) / (high_in - low_in) if has_low and has_high else 1.0
    offset = low_out - low_in * scale if has_low else high_out - high_in * scale if has_high else 0.0
    clamped = operator.getStyle() == ocio.RANGE_CLAMP
    return partial(
        transfer.span,
        scale=scale,
        offset=offset,
        low=low_out if has_low and clamped else None,
        high=high_out if has_high and clamped else None,
    )


def _table(operator: Any, inverse: bool) -> Step | None:
    if inverse or operator.getHueAdjust() != ocio.HUE_NONE or operator.getOutputRawHalfs():
        return None
    values = torch.from_numpy(numpy.array(operator.getData(), dtype=numpy.float32).reshape(-1, 3))
    if operator.getInputHalfDomain():
        return partial(transfer.half_table, values=values)
    return partial(transfer.table, values=values)


def _cube(operator: Any, inverse: bool) -> Step | None:
    if inverse:
        return None
    size = operator.getGridSize()
    values = torch.from_numpy(numpy.array(operator.getData(), dtype=numpy.float32)).view(size, size, size, 3)
    four = operator.getInterpolation() in (ocio.INTERP_TETRAHEDRAL, ocio.INTERP_BEST)
    return partial(transfer.cube, values=values, interpolation="tetrahedral" if four else "linear")


_READERS: Mapping[Any, Callable[[Any, bool], Step | None]] = {
    ocio.MatrixTransform: _matrix,
    ocio.LogCameraTransform: _camera_log,
    ocio.LogAffineTransform: _affine_log,
    ocio.LogTransform: _plain_log,
    ocio.ExponentTransform: _exponent,
    ocio.ExponentWithLinearTransform: _monitor_curve,
    ocio.RangeTransform: _span,
    ocio.Lut1DTransform: _table,
    ocio.Lut3DTransform: _cube,
}
