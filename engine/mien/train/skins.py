"""Skin of real people on drawn ones: photographs whose license permits it, laid onto the skin page.

Brows, lids and lips then lie where photographs have them, and are seen from sides that no photograph shows.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from mien import mesh
from mien.train.backdrops import chance, uniform
from mien.train.facekit import PAGE, Kit
from mien.train.raster import Fragments, interpolate, rasterize

WORN = 0.35
"""Share of people who wear a photographed skin, where there are any."""
GAMMA = 2.2
"""Of photographs: the page holds linear light."""


class Skins(NamedTuple):
    """Photographed skins.

    Attributes:
        page: (N, 3, PAGE, PAGE) linear light, 0..1.
        known: (N, 1, PAGE, PAGE) 1 where the photograph shows the skin, 0 where it does not.
        tone: (N, 3) mean color.
    """

    page: Tensor
    known: Tensor
    tone: Tensor


class Lent(NamedTuple):
    """What people wear.

    Attributes:
        page: (B, 3, PAGE, PAGE) photographed skin.
        cover: (B, 1, PAGE, PAGE) where it is worn, 0..1.
        tone: (B, 3, 1, 1) mean color of everyone's skin.
    """

    page: Tensor
    cover: Tensor
    tone: Tensor


def project(kit: Kit, pictures: Tensor, points: Tensor) -> Skins:
    """Lay photographs onto the skin page; what turns away is taken from the other half of the face.

    Args:
        kit: The face kit.
        pictures: (N, 3, H, W) display-like, 0..1.
        points: (N, 468, 2 or more) mesh points in picture pixels.
    """
    count, _, height, width = pictures.shape
    flat = points[..., :2].float()
    page = functional.pad(kit.point_texture.cpu(), (0, 1))[None]
    # Openings take part, so that the skin's cover reaches the rims of lids and lips.
    once = rasterize(page, mesh.TRIANGLES, PAGE)
    fragments = Fragments(*(part.expand(count, *part.shape[1:]) for part in once))
    values = torch.cat((flat, facing(flat)[..., None]), -1)
    laid = interpolate(fragments, mesh.TRIANGLES, values)
    places = laid[..., :2] * torch.tensor([2 / width, 2 / height]) - 1
    seen = functional.grid_sample(pictures**GAMMA, places, padding_mode="border", align_corners=False)
    known = ((laid[..., 2] - 0.25) / 0.3).clamp(0, 1)[:, None] * (fragments.triangle >= 0)[:, None]
    known = (2 * soft(known) - 1).clamp(0, 1)
    other, other_known = seen.flip(-1), 0.2 * known.flip(-1) * (1 - known)
    page = (seen * known + other * other_known) / (known + other_known).clamp_min(1e-6)
    known = torch.maximum(known, known.flip(-1))
    tone = (page * known).sum((2, 3)) / known.sum((2, 3)).clamp_min(1e-6)
    return Skins(page, known, tone.clamp_min(1e-3))


def facing(flat: Tensor) -> Tensor:
    """How much the skin around points (N, 468, 2) faces the camera, 0 to 1: its area beside that of the mean face."""
    triangles = mesh.TRIANGLES
    a, b, c = mesh.CANONICAL[triangles].unbind(1)
    whole = torch.linalg.cross(b - a, c - a).norm(dim=-1)
    a, b, c = flat[:, triangles].unbind(2)
    across, down = b - a, c - a
    area = across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0]
    share = area / whole
    share = share / share.quantile(0.9, 1, keepdim=True).clamp_min(1e-6)
    total = torch.zeros(len(flat), mesh.POINTS)
    weight = torch.zeros(mesh.POINTS)
    for corner in triangles.unbind(1):
        total.index_add_(1, corner, share * whole)
        weight.index_add_(0, corner, whole)
    return (total / weight.clamp_min(1e-9)).clamp(0, 1)


def soft(cover: Tensor) -> Tensor:
    """Covers (N, 1, PAGE, PAGE) with edges some ten texels wide."""
    for _ in range(2):
        cover = functional.avg_pool2d(cover, 11, 1, 5, count_include_pad=False)
    return cover


def lend(skins: Skins, tone: Tensor, generator: torch.Generator) -> Lent:
    """Give some people a photographed skin, its color moved toward the ``tone`` (B, 3, 1, 1) they were drawn with."""
    batch = len(tone)
    which = torch.randint(len(skins.page), (batch,), generator=generator)
    wears = chance(batch, WORN, generator)[:, None, None, None]
    own = skins.tone[which][:, :, None, None]
    moved = torch.exp(torch.lerp(own.log(), tone.log(), uniform(batch, 0, 0.9, generator)[:, None, None, None]))
    page, known = skins.page[which] * (moved / own), skins.known[which]
    flip = chance(batch, 0.5, generator)[:, None, None, None]
    page, known = torch.where(flip, page.flip(-1), page), torch.where(flip, known.flip(-1), known)
    return Lent(page, known * wears, torch.where(wears, moved, tone))
