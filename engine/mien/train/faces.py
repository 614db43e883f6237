"""Draw people who do not exist, with exact labels.

Shape and expression come from the face kit; skin, hair, brows, eyes, beard, hats, light and camera are made up anew
for every person. Diversity matters more than realism: a network that has seen every kind of light and skin finds
the real one among them ("Fake It Till You Make It", Wood et al., 2021).
"""

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional

from mien import mesh
from mien.train.backdrops import backdrops, chance, noise, uniform
from mien.train.facekit import (
    ATLAS_HEIGHT,
    EYE,
    HAIR,
    PAGE,
    SKIN,
    Kit,
    height_above_hairline,
    symmetric_pairs,
    vertex_normals,
)
from mien.train.raster import interpolate, rasterize
from mien.train.skins import Skins, lend

MARGIN = 1.875
"""Side of a drawn picture, in sizes of the face: the crop a network sees (1.5) and a quarter more around it."""


class Drawing(NamedTuple):
    """A batch of people.

    Attributes:
        pictures: (B, 3, S, S) display-like 0..1, background included.
        cover: (B, 1, S, S) matte of the whole person, 0..1.
        points: (B, 468, 3) mesh points in pixels; z in the same scale, 0 at their mean, smaller toward the viewer.
        visibility: (B, 468) 1 where a point is seen, 0 where the head itself, hair or the picture's edge hides it.
        matte: (B, 1, S, S) matte of the face's skin, eyes and mouth, hair excluded.
        pose: (B, 3) yaw, pitch, roll in degrees.
    """

    pictures: Tensor
    cover: Tensor
    points: Tensor
    visibility: Tensor
    matte: Tensor
    pose: Tensor


class _Looks(NamedTuple):
    """Choices that shape and texture share, (B,) each."""

    hairline: Tensor
    hair_volume: Tensor
    long_hair: Tensor
    hat: Tensor
    hat_height: Tensor
    hat_tilt: Tensor
    visor: Tensor


def draw(
    kit: Kit, batch: int, generator: Generator, size: int, margin: float = MARGIN, skins: Skins | None = None
) -> Drawing:
    """Draw one picture each of ``batch`` people.

    Args:
        kit: The face kit, on the device that shall draw.
        batch: Number of people.
        generator: CPU generator; the same seed draws the same people.
        size: Width and height of the pictures in pixels.
        margin: Side of the pictures, in sizes of the face.
        skins: Photographed skin, which some of the people wear.
    """
    # Two people share one skin and one head of hair: textures cost more than shapes.
    pairs = (batch + 1) // 2
    looks = _Looks(*(choice.repeat_interleave(2)[:batch] for choice in _choose_looks(pairs, generator)))
    vertices, points = _bodies(kit, batch, generator)
    vertices = _dress(kit, vertices, looks, generator)
    rotation, angles = _turns(batch, generator)
    normals = vertex_normals(vertices, kit.triangles) @ rotation.to(vertices).transpose(1, 2)
    flat, flat_points = _project(vertices, points, rotation.to(vertices), size, margin, generator)

    fragments = rasterize(flat, kit.triangles, size)
    diffuse, gloss = _light(kit, normals, rotation, generator)
    place = kit.texture.expand(batch, -1, -1)
    skin = (kit.part == SKIN).float()[None, :, None].expand(batch, -1, -1)
    eye = (kit.part == EYE).float()[None, :, None].expand(batch, -1, -1)
    values = torch.cat((diffuse, gloss, place, skin, eye), -1)
    seen = interpolate(fragments, kit.triangles, values).permute(0, 3, 1, 2)
    once = _Looks(*(choice[::2] for choice in looks))
    atlas = _atlases(kit, once, generator, skins).repeat_interleave(2, 0)[:batch]
    texture = functional.grid_sample(
        atlas, seen[:, 4:6].permute(0, 2, 3, 1), mode="bilinear", padding_mode="border", align_corners=False
    )
    there = (fragments.triangle >= 0)[:, None].float()
    light = texture[:, :3] * seen[:, :3] + seen[:, 3:4] * (0.04 + 0.12 * seen[:, 7:8])
    backdrop = backdrops(batch, size, generator).to(light)
    person = _develop(light, there, generator)
    cover = _soften(there)
    pictures = backdrop + _soften(there) * (_soften(person * there) / cover.clamp_min(1e-3) - backdrop)
    depth_at = _nearest_depth(fragments.depth, flat_points)
    inside = ((flat_points[..., :2] > 0) & (flat_points[..., :2] < size)).all(-1)
    slack = 0.012 * size
    visibility = ((flat_points[..., 2] < depth_at + slack) & inside).float()
    centered = flat_points - torch.tensor([0.0, 0.0, 1.0]).to(flat_points) * flat_points.mean(1, keepdim=True)
    return Drawing(pictures.clamp(0, 1), cover, centered, visibility, _soften(texture[:, 3:4] * there), angles)


def _choose_looks(batch: int, generator: Generator) -> _Looks:
    bald = chance(batch, 0.12, generator)
    hat = chance(batch, 0.12, generator)
    return _Looks(
        hairline=uniform(batch, -0.8, 1.0, generator) - 2.6 * chance(batch, 0.2, generator).float(),
        hair_volume=torch.where(bald, 0.0, uniform(batch, 0.05, 2.2, generator)),
        long_hair=chance(batch, 0.35, generator) & ~bald,
        hat=hat,
        hat_height=uniform(batch, 5.6, 8.6, generator),
        hat_tilt=uniform(batch, -0.3, 0.3, generator),
        visor=torch.where(chance(batch, 0.6, generator), uniform(batch, 1.0, 6.0, generator), 0.0),
    )


def _bodies(kit: Kit, batch: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Vertices (B, V, 3) and mesh points (B, 468, 3) of random people with random expressions."""
    spread = uniform(batch, 0.5, 1.3, generator)[:, None]
    shape = torch.randn(batch, len(kit.identity), generator=generator) * spread
    face = _expressions(kit.names, batch, generator)
    shape, face = shape.to(kit.neutral), face.to(kit.neutral)
    vertices = kit.neutral + (shape @ kit.identity + face @ kit.expression).reshape(batch, -1, 3)
    points = kit.points_neutral + (shape @ kit.points_identity + face @ kit.points_expression).reshape(batch, -1, 3)
    return vertices, points


def _expressions(names: list[str], batch: int, generator: Generator) -> Tensor:
    """Weights (B, E): a few at a time, mostly the same left and right; blinks, gaze and jaw drawn apart."""
    index = {name: k for k, name in enumerate(names)}
    count = len(names)
    busy = uniform(batch, 0.0, 0.22, generator)[:, None]
    weights = torch.rand(batch, count, generator=generator).square()
    weights = weights * (torch.rand(batch, count, generator=generator) < busy)
    for left, right in symmetric_pairs(names):
        same = chance(batch, 0.75, generator)
        weights[:, right] = torch.where(same, weights[:, left], weights[:, right])
    for name in ("PupilDilate_L", "PupilDilate_R", "mouthClose"):
        weights[:, index[name]] = 0
    weights[:, index["jawOpen"]] = torch.where(
        chance(batch, 0.4, generator), torch.rand(batch, generator=generator) ** 1.5, 0.0
    )
    blink = torch.where(chance(batch, 0.18, generator), 1.0, 0.6 * torch.rand(batch, generator=generator) ** 2)
    wink = chance(batch, 0.03, generator)
    weights[:, index["eyeBlink_L"]] = blink
    weights[:, index["eyeBlink_R"]] = torch.where(wink, 1 - blink, blink)
    smiles = torch.where(chance(batch, 0.3, generator), uniform(batch, 0.2, 1.1, generator), 0.0)
    for name, share in (("mouthSmile", 1.0), ("cheekSquint", 0.7), ("mouthUpperUp", 0.7), ("mouthLowerDown", 0.6)):
        part = smiles * share * uniform(batch, 0.3, 1.0, generator) if share < 1 else smiles
        for side in "LR":
            weights[:, index[f"{name}_{side}"]] = weights[:, index[f"{name}_{side}"]].maximum(part)
    wide = 1 - blink
    for name in ("eyeWide_L", "eyeWide_R", "eyeSquint_L", "eyeSquint_R"):
        weights[:, index[name]] *= wide
    across, upward = (torch.randn(batch, generator=generator) * scale for scale in (0.35, 0.22))
    for name, amount in (
        ("eyeLookIn_L", across),
        ("eyeLookOut_R", across),
        ("eyeLookOut_L", -across),
        ("eyeLookIn_R", -across),
        ("eyeLookUp_L", upward),
        ("eyeLookUp_R", upward),
        ("eyeLookDown_L", -upward),
        ("eyeLookDown_R", -upward),
    ):
        weights[:, index[name]] = amount.clamp(0, 1)
    return weights


def _hat_height(places: Tensor, looks: _Looks) -> Tensor:
    """Height above a hat's rim at positions (B, ..., 3)."""
    shape = (-1, *[1] * (places.ndim - 2))
    height = looks.hat_height.to(places).view(shape)
    return places[..., 1] - height - looks.hat_tilt.to(places).view(shape) * (places[..., 2] - 6)


def _dress(kit: Kit, vertices: Tensor, looks: _Looks, generator: Generator) -> Tensor:
    """Give the skull hair and hats by pushing its vertices out; hide the curtain of hair of those without it."""
    batch = len(vertices)
    skin = kit.part == SKIN
    normals = vertex_normals(kit.neutral[None], kit.triangles)[0]
    lumps = torch.randn(batch, 6, 3, generator=generator).to(vertices) * 0.5
    phase = torch.rand(batch, 6, 1, generator=generator).to(vertices) * 2 * math.pi
    wave = torch.sin(lumps @ kit.neutral.T + phase).mean(1)
    above = height_above_hairline(kit.neutral)[None] - looks.hairline.to(vertices)[:, None]
    volume = looks.hair_volume.to(vertices)[:, None] * (1 + 0.9 * wave)
    hair = (above / 1.5).clamp(0, 1) * volume
    rim = _hat_height(kit.neutral[None].expand(batch, -1, -1), looks)
    hat = ((rim + 0.4) / 0.4).clamp(0, 1) * (0.5 + 0.08 * rim.clamp(0, 6)) + hair.clamp(max=0.6)
    wears = looks.hat.to(vertices.device)[:, None]
    push = torch.where(wears, hat, hair) * (skin & (kit.neutral[:, 1] > -9))
    pushed = vertices + push[..., None] * normals
    front = torch.exp(-((rim / 0.7).square())) * (kit.neutral[:, 2] > 2) * skin * wears
    pushed[..., 2] += front * looks.visor.to(vertices)[:, None]
    curtain = kit.part == HAIR
    lengths = uniform(batch, 0.45, 1.1, generator).to(vertices)[:, None]
    widths = uniform(batch, 0.78, 1.12, generator).to(vertices)[:, None]
    # From hanging behind the ears to falling over the cheeks.
    forward = uniform(batch, -1.0, 6.0, generator).to(vertices)[:, None]
    shown = looks.long_hair.to(vertices.device)[:, None, None]
    shell = vertices[:, curtain].clone()
    shell[..., 1] = 10 + (shell[..., 1] - 10) * lengths
    shell[..., 0] = shell[..., 0] * widths + wave[:, curtain] * 0.8
    shell[..., 2] += forward * (shell[..., 0].abs() / 7).clamp(0, 1)
    pushed[:, curtain] = torch.where(shown, shell, torch.tensor(0.0).to(vertices))
    return pushed


def _turns(batch: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Rotations (B, 3, 3) in head space (y up), and their angles (B, 3) as mesh.Pose counts them."""
    near = torch.randn(batch, generator=generator) * 25
    yaw = torch.where(chance(batch, 0.4, generator), near, uniform(batch, -95, 95, generator)).clamp(-95, 95)
    pitch = (torch.randn(batch, generator=generator) * 16).clamp(-42, 42)
    roll = (torch.randn(batch, generator=generator) * 14).clamp(-42, 42)
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    return flip @ mesh.rotation_of(yaw, pitch, roll) @ flip, torch.stack((yaw, pitch, roll), 1)


def _project(
    vertices: Tensor, points: Tensor, rotation: Tensor, size: int, margin: float, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Perspective view that centers the points' bounding box; depth in pixels at the middle of the face."""
    middle = points.mean(1, keepdim=True)
    distance = torch.exp(uniform(len(points), math.log(30), math.log(250), generator)).to(points)[:, None]

    def view(positions: Tensor) -> Tensor:
        turned = (positions - middle) @ rotation.transpose(1, 2)
        closeness = distance / (distance - turned[..., 2]).clamp_min(5)
        return torch.stack((turned[..., 0] * closeness, -turned[..., 1] * closeness, -turned[..., 2]), -1)

    flat, flat_points = view(vertices), view(points)
    low, high = flat_points[..., :2].amin(1, keepdim=True), flat_points[..., :2].amax(1, keepdim=True)
    scale = size / (margin * (high - low).amax(-1, keepdim=True))
    shift = torch.cat((size / 2 - scale * (low + high) / 2, torch.zeros_like(scale)), -1)
    return flat * scale + shift, flat_points * scale + shift


def _light(kit: Kit, normals: Tensor, rotation: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Diffuse light (B, V, 3) and gloss (B, V, 1) at vertices: an environment and up to three lamps."""
    batch = len(normals)
    device = normals.device
    open_sky = kit.lit.mean(1)[None, :, None] * 2
    x, y, z = normals.unbind(-1)
    harmonics = torch.stack((torch.ones_like(x), x, y, z, x * y, y * z, x * z, x * x - y * y, 3 * z * z - 1), -1)
    tint = 1 + 0.25 * torch.randn(batch, 1, 3, generator=generator).clamp(-2, 2)
    coefficients = torch.randn(batch, 9, 3, generator=generator) * 0.08 + (
        torch.randn(batch, 9, 1, generator=generator)
        * torch.tensor([0.0, 0.35, 0.35, 0.35, 0.15, 0.15, 0.15, 0.15, 0.08])[None, :, None]
    )
    coefficients[:, :1] = 1
    ambient = (harmonics @ (coefficients * tint).to(device)).clamp_min(0.05) * open_sky.clamp(max=1.3)
    share = uniform(batch, 0.1, 1.0, generator).to(device)[:, None, None]
    diffuse, gloss = ambient * share, torch.zeros_like(normals[..., :1])
    wrap = uniform(batch, 0.0, 0.4, generator).to(device)[:, None, None]
    sharp = torch.exp(uniform(batch, math.log(6), math.log(60), generator)).to(device)[:, None, None]
    for lamp in range(3):
        toward = torch.randn(batch, 3, generator=generator)
        toward[:, 2] = toward[:, 2].abs() * (1 if lamp else 1.5) - 0.3 * (lamp == 2)
        toward = functional.normalize(toward, dim=-1)
        on = chance(batch, (0.9, 0.4, 0.2)[lamp], generator).float() * uniform(batch, 0.2, 2.0, generator)
        color = (1 + 0.3 * torch.randn(batch, 3, generator=generator)).clamp(0.2, 2) * on[:, None]
        # Shadows were cast beforehand, for the mean face: look up the directions next to this lamp's.
        in_head = (toward[:, None] @ rotation.cpu())[:, 0]
        nearness = torch.softmax(40 * in_head @ kit.directions.cpu().T, 1).to(device)
        reaches = (nearness @ kit.lit.T)[..., None]
        toward, color = toward.to(device)[:, :, None], color.to(device)[:, None]
        facing = ((normals @ toward + wrap) / (1 + wrap)).clamp_min(0)
        diffuse = diffuse + color * facing * reaches
        half = functional.normalize(toward + torch.tensor([0.0, 0.0, 1.0], device=device)[None, :, None], dim=1)
        gloss = gloss + color.mean(-1, keepdim=True) * reaches * (normals @ half).clamp_min(0) ** sharp
    oily = torch.exp(uniform(batch, math.log(0.2), math.log(12), generator)).to(device)[:, None, None]
    return diffuse, gloss * oily


def _develop(light: Tensor, there: Tensor, generator: Generator) -> Tensor:
    """Expose, white-balance and encode for display."""
    batch = len(light)
    level = (light * there).sum((1, 2, 3)) / (3 * there.sum((1, 2, 3)).clamp_min(1))
    wanted = torch.exp(uniform(batch, math.log(0.04), math.log(0.55), generator)).to(light)
    # Half of the exposure is left to the skin, so that dark skin is not always bright.
    gain = (wanted / level.clamp_min(1e-3)).sqrt() * (0.25 / level.clamp_min(1e-3)).sqrt().clamp(0.3, 3)
    gamma = uniform(batch, 1.7, 2.5, generator).to(light)
    exposed = (light * gain[:, None, None, None]).clamp(1e-5, 1.0)
    return exposed ** (1 / gamma)[:, None, None, None]


def _soften(pictures: Tensor) -> Tensor:
    """The rasterizer's hard edges over two pixels, as a lens would."""
    padded = functional.pad(pictures, (1, 1, 1, 1), mode="replicate")
    across = 0.6 * padded[..., 1:-1] + 0.2 * (padded[..., :-2] + padded[..., 2:])
    return 0.6 * across[..., 1:-1, :] + 0.2 * (across[..., :-2, :] + across[..., 2:, :])


def _nearest_depth(depth: Tensor, points: Tensor) -> Tensor:
    size = depth.shape[-1]
    texel = points[..., :2].long().clamp(0, size - 1)
    return depth.flatten(1).gather(1, texel[..., 1] * size + texel[..., 0])


def _atlases(kit: Kit, looks: _Looks, generator: Generator, skins: Skins | None) -> Tensor:
    """Albedo and face mask (B, 4, ATLAS_HEIGHT, PAGE) for each person."""
    batch = len(looks.hat)
    where = kit.regions
    page = (PAGE, PAGE)

    def each(low: float, high: float) -> Tensor:
        return uniform(batch, low, high, generator)[:, None, None, None]

    def color(spread: float) -> Tensor:
        return torch.exp(spread * torch.randn(batch, 3, 1, 1, generator=generator))

    light_skin, dark_skin = (
        torch.tensor(c).log()[None, :, None, None] for c in ((0.66, 0.43, 0.33), (0.05, 0.028, 0.02))
    )
    tone = torch.exp(torch.lerp(light_skin, dark_skin, each(0, 1) ** 1.3)) * color(0.08)
    lent = None if skins is None else lend(skins, tone, generator)
    tone = tone if lent is None else lent.tone
    mottle = torch.zeros(batch, 1, *page)
    for gain, cells in ((0.12, 8), (0.1, 24), (0.14, 80), (0.12, 200)):
        mottle = mottle + each(0.0, gain) * noise(batch, 1, page, cells, generator)
    skin = tone * torch.exp(mottle) * torch.exp(each(0, 0.06) * noise(batch, 3, page, 12, generator))
    blush = torch.tensor([0.15, -0.25, -0.2])[None, :, None, None]
    skin = skin * torch.exp(blush * (each(0, 1.2) * where.cheek + each(0, 1.0) * where.nose))
    skin = skin * torch.exp(-each(0, 0.7) * where.socket)
    freckles = (noise(batch, 1, page, 140, generator) > each(1.6, 4.0)).float() * (where.cheek + where.nose).clamp(0, 1)
    skin = skin * (1 - 0.4 * freckles)
    lipstick = torch.where(chance(batch, 0.25, generator)[:, None, None, None], each(0.2, 0.8), 0.0)
    lip_tint = torch.exp(torch.tensor([-0.05, -0.55, -0.4])[None, :, None, None] * each(0.1, 1.6))
    lip = torch.lerp(tone * lip_tint, torch.tensor([0.4, 0.03, 0.05])[None, :, None, None] * color(0.4), lipstick)
    skin = torch.lerp(skin, lip * torch.exp(0.5 * mottle), where.lips * each(0.5, 1.0))

    gray = chance(batch, 0.25, generator)[:, None, None, None]
    brown = torch.tensor([0.25, 0.14, 0.07])[None, :, None, None] * torch.exp(each(-2.6, 0.9)) * color(0.25)
    hair = torch.where(gray, torch.exp(each(-2.5, -0.4)).expand(-1, 3, -1, -1), brown)
    dyed = chance(batch, 0.05, generator)[:, None, None, None]
    hair = torch.where(dyed, torch.rand(batch, 3, 1, 1, generator=generator), hair)
    strands = noise(batch, 1, page, 120, generator)
    brow_hair = torch.lerp(hair, torch.tensor([0.03, 0.018, 0.012])[None, :, None, None], each(0, 1.0))
    thickness = each(0.15, 0.6) * (1.1 - 0.8 * where.brow_along.square())
    lift = each(-0.12, 0.12)
    brow = torch.sigmoid((thickness - (where.brow_across - lift).abs()) * each(6, 18) + 0.8 * strands)
    brow = brow * (where.brow_across.abs() < 2) * each(0.0, 1.0) ** 0.4
    skin = torch.lerp(skin, brow_hair, brow.clamp(0, 1))
    liner = torch.where(chance(batch, 0.4, generator)[:, None, None, None], each(0.2, 1.0), each(0.0, 0.4))
    skin = skin * (1 - liner * torch.sigmoid((each(0.05, 0.35) - where.lid) * 16))
    stubble = torch.where(chance(batch, 0.45, generator)[:, None, None, None], each(0, 1), 0.0)
    edge = noise(batch, 1, page, 10, generator)
    beard = (
        where.beard * torch.sigmoid(3 * edge + each(-2, 5)) * stubble * torch.sigmoid(strands + each(-1, 3))
    ).clamp(0, 1)
    skin = torch.lerp(skin, hair, beard)
    skin = skin if lent is None else torch.lerp(skin, lent.page, lent.cover)
    above = where.hairline - looks.hairline[:, None, None, None]
    has_hair = (looks.hair_volume > 0).float()[:, None, None, None]
    scalp = torch.sigmoid((above + 0.6 * edge) * each(1.5, 5)) * has_hair
    streaks = functional.interpolate(
        torch.randn(batch, 1, 6, 128, generator=generator), (64, 64), mode="bilinear", align_corners=False
    )
    hair_page = hair * torch.exp(0.35 * noise(batch, 1, page, 90, generator) + 0.25 * edge)
    skin = torch.lerp(skin, hair_page, scalp)
    rim = _hat_height(torch.nan_to_num(kit.place.cpu(), nan=0.0).expand(batch, -1, -1, -1), looks)[:, None]
    hat = (torch.sigmoid(rim * 12) * looks.hat.float()[:, None, None, None]).clamp(0, 1)
    felt = torch.rand(batch, 3, 1, 1, generator=generator) * each(0.1, 0.9)
    skin = torch.lerp(skin, felt * torch.exp(0.2 * strands), hat)
    face = where.oval * (1 - scalp) * (1 - hat)

    strip = torch.ones(batch, 4, ATLAS_HEIGHT - PAGE, PAGE)
    axis = (torch.arange(64) - 31.5) / 20
    radius = torch.hypot(axis[:, None], axis[None])
    iris = each(0.52, 0.64)
    dark = torch.tensor([0.10, 0.045, 0.02])[None, :, None, None]
    pale = torch.rand(batch, 3, 1, 1, generator=generator) * 0.3 + torch.tensor([0.05, 0.1, 0.12])[None, :, None, None]
    iris_color = torch.where(chance(batch, 0.55, generator)[:, None, None, None], dark * color(0.4), pale)
    white = torch.tensor([0.72, 0.68, 0.65])[None, :, None, None] * each(0.45, 1.1)
    eye = torch.lerp(white, iris_color * (0.6 + radius), torch.sigmoid((iris - radius) * 30))
    eye = eye * (1 - torch.sigmoid((each(0.16, 0.32) - radius) * 40)) + 0.005
    strip[:, :3, :, :64] = eye
    strip[:, :3, :, 64:128] = hair * torch.exp(0.5 * streaks)
    cloth = torch.rand(batch, 3, 1, 1, generator=generator) * each(0.05, 1.0)
    strip[:, :3, :, 128:192] = cloth * torch.exp(each(0, 0.8) * noise(batch, 3, (64, 64), 9, generator))
    strip[:, 3, :, 64:192] = 0
    strip[:, :3, :, 192:208] = torch.tensor([0.7, 0.62, 0.5])[None, :, None, None] * each(0.4, 1.1)
    strip[:, :3, :, 208:224] = torch.tensor([0.35, 0.11, 0.1])[None, :, None, None] * each(0.5, 1.2)
    strip[:, :3, :, 224:] = torch.tensor([0.12, 0.03, 0.03])[None, :, None, None] * each(0.3, 1.2)
    return torch.cat((torch.cat((skin, face), 1), strip), 2).to(kit.neutral)
