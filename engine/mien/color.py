"""Color: what a plate means, the working space, and what networks see.

The working space is the OpenColorIO role ``scene_linear``. Pictures are carried to it and back by
OpenColorIO itself where they lie in main memory, and by the same operators written on tensors where they
lie on a graphics card. ``Encoding`` is the one place that turns scene-linear light into the display-like
0..1 that networks see, and tells what that loses.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy
import PyOpenColorIO as ocio
import torch
from torch import Tensor
from torch.nn import functional

from mien.operators import Step, steps_of
from mien.ops import transfer
from mien.ops.shaper import from_log, to_log
from mien.planes import packed, planar
from mien.types import Image, MienError

GLANCES, GLANCED = 49, 1.18
"""Steps of a table for glancing, and where it ends on the logarithm of light: about 2000."""
BUILT_IN = "ocio://studio-config-latest"
"""OpenColorIO's own ACES studio config, used where no other is named."""
CHROMATICITIES = {
    "lin_ap0_scene": (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.077, 0.32168, 0.33767),
    "lin_ap1_scene": (0.713, 0.293, 0.165, 0.83, 0.128, 0.044, 0.32168, 0.33767),
    "lin_rec709_scene": (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329),
    "lin_rec2020_scene": (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, 0.3127, 0.329),
    "lin_p3d65_scene": (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329),
}
"""Red, green, blue and white (x, y) of linear spaces, by their color interop ID."""
NAMES = {
    "lin_ap0_scene": ("lin_ap0", "aces2065_1", "ACES2065-1", "ACES - ACES2065-1"),
    "lin_ap1_scene": ("lin_ap1", "acescg", "ACEScg", "ACES - ACEScg"),
    "lin_rec709_scene": (
        "lin_rec709", "lin_rec709_srgb", "lin_srgb", "Linear Rec.709 (sRGB)", "Linear Rec.709",
        "Utility - Linear - sRGB", "Utility - Linear - Rec.709", "linear",
    ),
    "lin_rec2020_scene": ("lin_rec2020", "Linear Rec.2020", "Utility - Linear - Rec.2020"),
    "lin_p3d65_scene": ("lin_p3d65", "Linear P3-D65", "Utility - Linear - P3-D65"),
    "srgb_rec709_scene": (
        "srgb_texture", "srgb_tx", "sRGB - Texture", "Utility - sRGB - Texture", "texture_paint",
        "srgb_rec709_display", "srgb_display", "color_picking", "matte_paint", "sRGB",
    ),
    "srgb_rec709_display": ("srgb_display", "srgb_texture", "srgb_tx", "texture_paint", "sRGB"),
    "g24_rec709_display": (
        "rec1886_rec709_display", "g24_rec709", "g24_rec709_tx", "rec709_display",
        "Rec.1886 Rec.709 - Display", "Utility - Rec.709 - Display", "Rec.709", "rec709",
    ),
    "data": ("Raw", "raw", "none"),
}  # fmt: skip
"""Other names, aliases and roles under which configs know the spaces of a color interop ID, best first."""

# OpenColorIO's usual shortcuts without its fast logarithms, whose error shows beside the tensor path.
_EXACT = ocio.OptimizationFlags(int(ocio.OPTIMIZATION_DEFAULT.value) & ~int(ocio.OPTIMIZATION_FAST_LOG_EXP_POW.value))
# A config whose names, or what is said of it, are no UTF-8 fails where Python first looks at them.
_FAILURES = (ocio.Exception, ocio.ExceptionMissingFile, UnicodeDecodeError)
_PEAK = 65504.0
Kind = Literal["float", "integer", "movie"]


@dataclass(frozen=True, eq=False)
class Transform:
    """A way from one color space to another: call it on (..., 3, H, W) float32 pictures.

    Attributes:
        source, target: The spaces, as the config names them.
        unchanged: Nothing is done; the picture itself comes back.
        steps: The operators as functions on tensors; None where only OpenColorIO knows one of them.
    """

    source: str
    target: str
    unchanged: bool
    steps: tuple[Step, ...] | None
    processor: Any = field(repr=False)

    def __call__(self, image: Image) -> Image:
        """The picture in the target space, on the device where it was."""
        if self.unchanged:
            return image
        if image.device.type == "cpu" or self.steps is None:
            return self.packed(image.cpu()).to(image.device)
        return self.evaluate(image)

    def evaluate(self, image: Image) -> Image:
        """The same by tensor arithmetic, on any device."""
        if self.steps is None:
            raise ValueError(f"{self.source} to {self.target} needs an operator that only OpenColorIO has")
        for step in self.steps:
            image = step(image)
        return image

    def packed(self, image: Image) -> Image:
        """The same by OpenColorIO, on a packed copy in main memory."""
        if self.unchanged:
            return image
        if image.dim() > 3:
            return torch.stack([self.packed(one) for one in image])
        pixels = packed(image.float())
        self.processor.applyRGB(pixels)
        return planar(pixels)


@dataclass(frozen=True)
class Encoding:
    """How networks see the working space: Rec.709 primaries, a white level, the sRGB curve, held to 0..1.

    Attributes:
        to_display: Three rows that carry working-space light to linear Rec.709.
    """

    to_display: tuple[tuple[float, ...], ...] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

    def encode(self, image: Image, white: float = 1.0) -> Image:
        """Scene-linear light as display-like 0..1; ``white`` is the light that becomes 1. NaN becomes 0."""
        sound = image.nan_to_num(0.0, _PEAK, -_PEAK)
        light = transfer.matrix(sound, torch.tensor(self.to_display)) / white
        return transfer.monitor_curve(light.clamp(0, 1), (2.4,) * 3, (0.055,) * 3, "encode", "linear")

    def decode(self, encoded: Image, white: float = 1.0) -> Image:
        """Display-like values back to scene-linear light."""
        light = transfer.monitor_curve(encoded, (2.4,) * 3, (0.055,) * 3, "decode", "linear") * white
        back = torch.linalg.inv(torch.tensor(self.to_display, dtype=torch.float64))
        return transfer.matrix(light, back.float())

    def residual(self, image: Image, white: float = 1.0) -> Image:
        """What encoding loses: add it to the decoded picture to have the original again."""
        return image - self.decode(self.encode(image, white), white)

    def preview(self, image: Image, exposure: float) -> Tensor:
        """(..., H, W, 3) uint8 for looking at and tracking: ``exposure`` times the light, softly clipped."""
        light = transfer.matrix(image.nan_to_num(0.0, _PEAK, -_PEAK), torch.tensor(self.to_display))
        light = light.clamp(0, _PEAK) * exposure
        # Straight to 0.6, then a shoulder that reaches 1 at infinity with the same slope where they meet.
        knee = 0.6
        above = (light - knee).clamp_min(0) / (1 - knee)
        soft = torch.where(light > knee, knee + (1 - knee) * (above / (1 + above)), light)
        shown = transfer.monitor_curve(soft, (2.4,) * 3, (0.055,) * 3, "encode", "linear")
        return (shown * 255 + 0.5).to(torch.uint8).movedim(-3, -1)

    def exposure(self, image: Image) -> float:
        """The gain under which a plate's middle tones sit where a viewer expects them.

        Sets the median of what is not black to 0.18, but leaves the brightest hundredth below 4 while the
        median stays above 0.045, and never goes beyond 10 stops either way. One frame decides; hold it over a
        shot where brightness must not move.
        """
        step = max(1, int((image.shape[-1] * image.shape[-2] / 65536) ** 0.5))
        part = image[..., ::step, ::step].nan_to_num(0.0, _PEAK, -_PEAK)
        light = transfer.matrix(part, torch.tensor(self.to_display))
        luminance = (light * light.new_tensor([0.2126, 0.7152, 0.0722]).view(3, 1, 1)).sum(-3).flatten()
        lit = luminance[luminance > 1e-6]
        if lit.numel() == 0:
            return 1.0
        ordered = lit.sort().values
        middle, bright = (float(ordered[int(q * (len(ordered) - 1))]) for q in (0.5, 0.99))
        gain = min(0.18 / middle, max(4.0 / bright, 0.045 / middle))
        return min(max(gain, 2.0**-10), 2.0**10)


@dataclass(frozen=True, eq=False)
class Colors:
    """An OpenColorIO config and what we need of it.

    Attributes:
        source: Where the config came from, for messages and headers.
        working: Name of the space behind the role ``scene_linear``.
        encoding: What networks see.
    """

    config: Any = field(repr=False)
    source: str
    working: str
    encoding: Encoding

    @property
    def digest(self) -> str:
        """Hash of everything in the config that can change a picture."""
        return str(self.config.getCacheID())

    @property
    def spaces(self) -> tuple[str, ...]:
        """Names of all active color spaces."""
        return tuple(self.config.getColorSpaceNames())

    def space(self, name: str) -> str:
        """The config's own name for a space, alias, role or color interop ID; raises MienError for others."""
        found = _find(self.config, name)
        if found is None:
            aliases = [a for space in self.config.getColorSpaces() for a in space.getAliases()]
            roles = [role for role, _ in self.config.getRoles()]
            known = {known.lower(): known for known in (*aliases, *roles, *self.spaces)}
            close = [known[match] for match in get_close_matches(name.lower(), known, 4, 0.5)]
            hint = f" Did you mean {', '.join(close)}?" if close else ""
            raise MienError(f"The config {self.source} has no color space {name!r}.{hint}")
        return found

    def resolve(
        self,
        name: str | None = None,
        *,
        path: str | Path = "",
        header: Mapping[str, Any] | None = None,
        kind: Kind = "float",
    ) -> str:
        """The color space of a file: as told, as its header says, by the config's file rules, or by its kind.

        Args:
            name: What the artist says; wins over all else.
            path: The file, for the config's rules.
            header: Attributes as OpenImageIO names them: colorInteropID, chromaticities, oiio:ColorSpace.
            kind: Floats are taken for light, integers and movies for a picture on a display.
        """
        if name:
            return self.space(name)
        return self._from_header(header or {}, kind) or self._from_rules(str(path)) or self._from_kind(kind)

    def to_working(self, space: str) -> Transform:
        """The way from a space to the working space."""
        return self.between(space, self.working)

    def from_working(self, space: str) -> Transform:
        """The way from the working space to another."""
        return self.between(self.working, space)

    def between(self, source: str, target: str) -> Transform:
        """The way from one space to another."""
        here, there = self.space(source), self.space(target)
        return self._transform(ocio.ColorSpaceTransform(src=here, dst=there), here, there)

    def _transform(self, transform: Any, here: str, there: str) -> Transform:
        try:
            whole = self.config.getProcessor(transform)
        except _FAILURES as error:
            raise MienError(f"No way from {here} to {there} in {self.source}: {error}") from error
        depth = ocio.BIT_DEPTH_F32
        processor = whole.getOptimizedProcessor(depth, depth, _EXACT)
        unchanged = here == there or processor.isNoOp()
        steps = () if unchanged else steps_of(processor.createGroupTransform())
        fast = None if unchanged else whole.getOptimizedCPUProcessor(depth, depth, _EXACT)
        return Transform(here, there, unchanged, steps, fast)

    def is_linear(self, space: str) -> bool:
        """Whether a space holds scene-linear light, in which premultiplied layers may be laid over."""
        found = self.space(space)
        return found == self.working or self.config.getColorSpace(found).getEncoding() == "scene-linear"

    def _made_for_display(self, space: str) -> bool:
        return self.config.getColorSpace(self.space(space)).getEncoding() in ("sdr-video", "hdr-video")

    def for_viewing(self, space: str, *, like: str | None = None) -> Transform:
        """The way from a space to what a movie shows.

        Plates that are made for a display (``like``, else ``space`` itself) are shown in their own space; all
        others through the config's default view of its default display.
        """
        if self._made_for_display(like or space):
            return self.between(space, self.space(like or space))
        display = self.config.getDefaultDisplay()
        view = self.config.getDefaultView(display)
        return self._transform(
            ocio.DisplayViewTransform(src=self.space(space), display=display, view=view), self.space(space), view
        )

    def for_glancing(self, space: str, *, like: str | None = None) -> Callable[[Image], Tensor]:
        """``for_viewing`` of scene-linear light by a table: a twentieth of the work, right to a level of 8 bits or two.

        For small pictures that are only looked at; light beyond 2000 is taken for 2000, negatives for black.
        """
        if self._made_for_display(like or space):
            return self.for_viewing(space, like=like)
        return _Glance(_glances(self, space, like))

    def interop_id(self, space: str) -> str | None:
        """The color interop ID that other programs know a space by, where the config tells it."""
        return str(self.config.getColorSpace(self.space(space)).getInteropID()) or None

    def _from_header(self, header: Mapping[str, Any], kind: Kind) -> str | None:
        told = str(header.get("colorInteropID", "") or "")
        if told and told != "unknown" and (found := _find(self.config, told)):
            return found
        primaries = header.get("chromaticities")
        if kind == "float" and primaries is not None and len(primaries) == 8:
            for interop_id, values in CHROMATICITIES.items():
                if all(abs(float(a) - b) < 2e-3 for a, b in zip(primaries, values)):
                    return _find(self.config, interop_id)
        # For floats OpenImageIO guesses this entry; for integers it comes from the file's own tags.
        guessed = str(header.get("oiio:ColorSpace", "") or "")
        return _find(self.config, guessed) if kind == "integer" and guessed else None

    def _from_rules(self, path: str) -> str | None:
        try:
            space, rule = self.config.getColorSpaceFromFilepath(path)
        except _FAILURES:
            return None
        last = self.config.getFileRules().getNumEntries() - 1
        return _find(self.config, space) if rule < last else None

    def _from_kind(self, kind: Kind) -> str:
        if kind == "float":
            return self.working
        names = ("g24_rec709_display",) if kind == "movie" else ()
        for name in (*names, "srgb_rec709_display", "srgb_rec709_scene"):
            if found := _find(self.config, name):
                return found
        raise MienError(f"The config {self.source} has no display space. Name the plate's with --colorspace.")


def load(config: str | Path | None = None) -> Colors:
    """Open a config: the one named, else $OCIO's, else OpenColorIO's built-in ACES studio config."""
    source = str(config or os.environ.get("OCIO", "") or BUILT_IN)
    try:
        opened = ocio.Config.CreateFromFile(source)
        if not opened.hasRole("scene_linear"):
            raise MienError(f"The config {source} has no role scene_linear to work in. Add the role.")
        space = opened.getColorSpace("scene_linear")
        if space is None:
            raise MienError(f"The role scene_linear of the config {source} names no color space of it. Mend the role.")
        working = space.getName()
        return Colors(opened, source, working, Encoding(_to_rec709(opened, working)))
    except _FAILURES as error:
        said = " ".join(str(error).split())[:300]
        raise MienError(f"Cannot read the OpenColorIO config {source}: {said}") from error


def _find(config: Any, name: str) -> str | None:
    """A config's own name for a space, alias, role or color interop ID."""
    for candidate in (name, *NAMES.get(name, ())):
        if space := config.getColorSpace(candidate):
            return str(space.getName())
        for space in config.getColorSpaces():
            if space.getInteropID() == candidate:
                return str(space.getName())
    return None


def _to_rec709(config: Any, working: str) -> tuple[tuple[float, ...], ...]:
    """Rows from the working space to linear Rec.709; unchanged primaries where the config cannot tell."""
    target = _find(config, "lin_rec709_scene")
    try:
        if target is not None and config.getColorSpace(target).getEncoding() in ("", "scene-linear"):
            processor = config.getProcessor(working, target)
        else:
            processor = ocio.Config.GetProcessorFromConfigs(
                config, working, ocio.Config.CreateFromFile(BUILT_IN), "lin_rec709"
            )
    except _FAILURES:
        return Encoding().to_display
    columns = numpy.eye(3, dtype=numpy.float32)
    processor.getDefaultCPUProcessor().applyRGB(columns)
    return tuple(tuple(float(value) for value in row) for row in columns.T)


@dataclass(frozen=True)
class _Glance:
    """Looks (..., 3, H, W) light up in a (3, N, N, N) table over its logarithm."""

    table: Tensor

    def __call__(self, image: Image) -> Tensor:
        count = self.table.shape[-1]
        place = (to_log(image.float()) * ((count - 1) / GLANCED)).clamp_(0, count - 1)
        red, green, blue = place.movedim(-3, 0).reshape(3, 1, -1)
        # As one tall picture of red's slices, of which two are read: a third of what the box of them takes.
        tall = self.table.to(image).view(1, 3, count * count, count)
        near = red.floor().clamp_(max=count - 2)
        down, across = near * count + green, blue * (2 / (count - 1)) - 1
        scale = 2 / (count * count - 1)
        both = [torch.stack([across, (down + more) * scale - 1], -1)[None] for more in (0, count)]
        low, high = (functional.grid_sample(tall, grid, "bilinear", "border", align_corners=True) for grid in both)
        return torch.lerp(low, high, red - near).reshape(3, *place.shape[:-3], *place.shape[-2:]).movedim(0, -3)


@lru_cache(maxsize=8)
def _glances(colors: Colors, space: str, like: str | None) -> Tensor:
    """(3, N, N, N) a view of light, blue along the last axis, spaced evenly over its logarithm."""
    axis = torch.linspace(0, GLANCED, GLANCES)
    corners = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).reshape(3, GLANCES, -1)
    seen = colors.for_viewing(space, like=like)(from_log(corners).contiguous())
    return seen.reshape(3, GLANCES, GLANCES, GLANCES).contiguous()
