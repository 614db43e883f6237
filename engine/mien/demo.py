"""Material for a first try: two portraits that ship with dependencies, one of them as a moving shot.

Both portraits are in the public domain and nothing is downloaded: Eileen Collins (NASA), which scikit-image
brings, becomes the plate; Grace Hopper (US Navy), which matplotlib brings, is the performer.
"""

import math
from pathlib import Path

import matplotlib
import numpy as np
import OpenImageIO as oiio
import skimage.data
import torch
from torch.nn.functional import pad

from mien.color import CHROMATICITIES
from mien.files.atomic import appearing
from mien.ops.spaces import LUMINANCE
from mien.ops.warp import warp
from mien.types import Image, Matrix, MienError

FIRST = 1001
RATE = 24
WIDTH, HEIGHT = 960, 540
"""Display window of the plate; faces are about 200 pixels wide in it."""
SHUTTER = 0.5
"""Share of a frame for which the camera's shutter is open: 180 degrees."""
OVERSCAN = 24
"""Pixels around the display window that the plate holds as well."""
EXPOSURE = 0.85
"""Level of the photograph's white in the middle of the shot."""
STOPS = 0.7
"""The light falls from this much above to this much below the middle."""

ACESCG_FROM_REC709 = (
    (0.6130974, 0.3395231, 0.0473795),
    (0.0701937, 0.9163539, 0.0134524),
    (0.0206156, 0.1095697, 0.8698147),
)
"""Linear Rec.709 (D65) to ACEScg (AP1, D60), adapted after Bradford; rows sum to 1."""


def performer() -> Path:
    """The portrait of Grace Hopper: the photograph that ``mien demo`` puts on."""
    path = Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")
    if not path.is_file():
        raise MienError(f"matplotlib came without its sample picture {path}. Install it from PyPI with pip.")
    return path


def make_plate(folder: Path, frames: int = 48) -> Path:
    """Write the shot ``plate.1001.exr`` and on into ``folder``.

    A push-in with pan and slight roll through a shutter of 180 degrees, a light that falls by 1.4 stops, grain;
    24 frames per second, half float ACEScg with highlights above 1, overscan and timecode. The same call writes the
    same bytes.

    Args:
        folder: Where the frames go; made if missing.
        frames: Length of the shot.

    Returns:
        The pattern of the files, ``folder/plate.%04d.exr``.

    Raises:
        MienError: The folder cannot be written.
    """
    pattern = Path(folder, "plate.%04d.exr")
    scene = portrait()
    for row in range(frames):
        write_frame(Path(str(pattern) % (FIRST + row)), picture(scene, row, frames), FIRST + row)
    return pattern


def picture(scene: Image, row: int, frames: int) -> Image:
    """Frame ``row`` of ``frames`` of the shot over the data window, (3, HEIGHT + 2 OVERSCAN, WIDTH + 2 OVERSCAN)."""
    inset = torch.eye(3, dtype=torch.float64)
    inset[:2, 2] = OVERSCAN
    size = HEIGHT + 2 * OVERSCAN, WIDTH + 2 * OVERSCAN
    times = moments(row, frames)
    seen = torch.stack([warp(scene, inset @ camera(time, frames), size) for time in times]).mean(0)
    seen = seen * exposure(row, frames)
    return seen + grain(seen, row)


def moments(row: int, frames: int) -> list[float]:
    """Times, in frames, while the shutter is open in frame ``row``; from one to the next nothing moves past a pixel."""
    begin, end = (torch.linalg.inv(camera(row + side * SHUTTER / 2, frames)) for side in (-1, 1))
    corners = torch.tensor([[x, y, 1.0] for x in (0, WIDTH) for y in (0, HEIGHT)], dtype=torch.float64).mT
    path = camera(row, frames)[:2, :2] @ ((begin - end) @ corners)[:2]
    count = max(1, math.ceil(float(path.norm(dim=0).amax())))
    return [row + SHUTTER * ((number + 0.5) / count - 0.5) for number in range(count)]


def portrait() -> Image:
    """The portrait of Eileen Collins as the scene: (3, 512, 512) ACEScg, crisp, its highlights above 1."""
    encoded = torch.from_numpy(skimage.data.astronaut()).permute(2, 0, 1).double() / 255
    linear = torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    scene = torch.einsum("ij,jhw->ihw", torch.tensor(ACESCG_FROM_REC709, dtype=torch.float64), linear)
    crisp = (scene + 0.4 * (scene - blur(scene, 1.0))).clamp(min=0)
    return (crisp * blur(highlights(scene), 0.9)).float()


def highlights(scene: Image) -> Image:
    """Gain (1, H, W) that gives back to the brightest parts what the photograph's white cut off: white becomes 6."""
    luminance = torch.einsum("i,ihw->hw", torch.tensor(LUMINANCE, dtype=scene.dtype), scene)[None]
    knee = 0.8
    return 1 + 5 * ((luminance - knee).clamp(min=0) / (1 - knee)) ** 3


def camera(row: float, frames: int) -> Matrix:
    """Where the camera puts the portrait at ``row`` of ``frames``: portrait to plate pixels, (3, 3).

    The move eases in and out; a hand holds the camera. Positions count from outer corners of top-left pixels.
    """
    time = row / max(frames - 1, 1)
    eased = time**3 * (10 + time * (6 * time - 15))
    zoom = 2.14 * (2.34 / 2.14) ** eased
    angle = math.radians(-0.6 + 1.3 * eased)
    phase = row / RATE * 2 * math.pi
    x = 265 - 29 * eased + 0.35 * math.sin(0.9 * phase) + 0.12 * math.sin(2.3 * phase + 1)
    y = 144 - 8 * eased + 0.3 * math.sin(0.7 * phase + 2) + 0.12 * math.sin(2.9 * phase)
    cosine, sine = zoom * math.cos(angle), zoom * math.sin(angle)
    return torch.tensor(
        [
            [cosine, -sine, WIDTH / 2 - cosine * x + sine * y],
            [sine, cosine, HEIGHT / 2 - sine * x - cosine * y],
            [0, 0, 1],
        ],
        dtype=torch.float64,
    )


def exposure(row: int, frames: int) -> float:
    """Gain of the light in frame ``row`` of ``frames``."""
    time = row / max(frames - 1, 1)
    return float(EXPOSURE * 2 ** (STOPS * math.cos(math.pi * time)))


def grain(seen: Image, row: int) -> Image:
    """Grain of frame ``row``: stronger in light, as photons are; finest in green, coarsest in blue."""
    source = torch.Generator().manual_seed(FIRST + row)
    noise = torch.randn(seen.shape, generator=source)
    for channel, size in enumerate((0.65, 0.5, 0.85)):
        soft = blur(noise[channel : channel + 1], size)
        noise[channel] = soft / soft.std()
    noise = 0.85 * noise + 0.5 * noise.mean(0, keepdim=True)
    strength = torch.tensor([0.011, 0.010, 0.016])[:, None, None]
    return noise * strength * (seen.clamp(min=0) + 0.004).sqrt()


def blur(image: Image, sigma: float) -> Image:
    """``image`` under a Gaussian of ``sigma`` pixels, its edges repeated outward."""
    reach = math.ceil(3 * sigma)
    weights = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(-reach, reach + 1)]
    blurred = pad(image[:, None], (reach, reach, reach, reach), mode="replicate")[:, 0]
    # A sum of shifted pictures: for one channel and few weights far faster than a convolution.
    for axis in (-2, -1):
        length = blurred.shape[axis] - 2 * reach
        shifted = (blurred.narrow(axis, k, length) * (weight / sum(weights)) for k, weight in enumerate(weights))
        blurred = torch.stack(tuple(shifted)).sum(0)
    return blurred


def write_frame(path: Path, image: Image, frame: int) -> None:
    """Write one frame as a camera original would come: half float, overscan, timecode, ACEScg in the header."""
    height, width = image.shape[-2:]
    spec = oiio.ImageSpec(width, height, 3, "half")
    spec.x = spec.y = -OVERSCAN
    spec.full_x = spec.full_y = 0
    spec.full_width, spec.full_height = WIDTH, HEIGHT
    seconds, count = divmod(frame - FIRST, RATE)
    code = int(f"10{24 + seconds // 60:02d}{seconds % 60:02d}{count:02d}", 16)
    for name, kind, value in (
        ("compression", "string", "zip"),
        ("colorInteropID", "string", "lin_ap1_scene"),
        ("oiio:ColorSpace", "string", "lin_ap1_scene"),
        ("chromaticities", "float[8]", CHROMATICITIES["lin_ap1_scene"]),
        ("PixelAspectRatio", "float", 1.0),
        ("FramesPerSecond", "rational", (RATE, 1)),
        ("smpte:TimeCode", "timecode", (code, 0)),
        ("DateTime", "string", "2026:01:01 00:00:00"),
        ("reelName", "string", "A001_C001_DEMO"),
        ("cameraMake", "string", "mien"),
        ("cameraModel", "string", "demo plate"),
        ("ExposureTime", "float", 1 / (2 * RATE)),
        ("Copyright", "string", "Public domain: NASA portrait of Eileen Collins"),
    ):
        spec.attribute(name, oiio.TypeDesc(kind), value)
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    with appearing(path) as partial:
        output = oiio.ImageOutput.create(str(partial))
        if output is None:
            raise MienError(f"Cannot write {path}: {oiio.geterror()[:300]}. Install OpenImageIO from PyPI with pip.")
        if not (output.open(str(partial), spec) and output.write_image(pixels) and output.close()):
            raise MienError(f"Cannot write {path}: {output.geterror()[:300]}. Check permissions and free space.")
