"""From the files of trained identities to what nodes put on."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mien.color import Colors
from mien.files.identities import IdentityFile
from mien.models.crop_identity import CropIdentity, FrameIdentity, LogEncoding
from mien.models.dfm import DfmModel
from mien.models.pix2pix import Pix2PixShape, build, use_own_statistics
from mien.models.swap import SwapNetwork, SwapShape
from mien.models.unet import PairedNetwork, PairedShape
from mien.types import MienError

TILE = 512
"""Side in pixels of the tiles that a network is given of large regions."""
TILES = 4
"""Tiles that a graphics card draws at once."""
EDGE = 0.1
"""Share of a square's half side over which what is drawn into it fades out."""
COUNTER = "num_batches_tracked"
"""What old batch norms did not count."""
Network = TypeVar("Network", bound=nn.Module)
Shape = TypeVar("Shape", SwapShape, PairedShape, Pix2PixShape)
WORDS = ("preset", "kind", "norm")
"""Fields of shapes that hold a word; all others hold numbers."""


def open_swap(file: IdentityFile, path: Path, colors: Colors, device: torch.device) -> CropIdentity:
    """A ``swap`` identity, ready to draw.

    Raises:
        MienError: The file's tensors do not fit what its header says.
    """
    shape = _shape(file, path, SwapShape)
    network = _loaded(lambda: SwapNetwork(shape, both=False), file.tensors, path)
    network = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    @torch.inference_mode()
    def draw(crops: Tensor) -> tuple[Tensor, Tensor]:
        with half(device):
            drawn = network(crops.to(device).contiguous(memory_format=torch.channels_last))
        return drawn.picture.float(), drawn.matte.float()

    return CropIdentity(draw, shape.size, _coverage(file, path), colors.encoding, file.digest)


def open_paired(file: IdentityFile, path: Path, colors: Colors, device: torch.device) -> CropIdentity | FrameIdentity:
    """A ``paired`` identity, ready to draw.

    Raises:
        MienError: The file's tensors do not fit what its header says.
    """
    shape = _shape(file, path, PairedShape)
    network = _loaded(lambda: PairedNetwork(shape), file.tensors, path)
    network = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    view, size, how = (file.facts.get(name) for name in ("view", "size", "encoding"))
    if view not in ("face", "outlines", "frame") or how not in ("display", "log") or not isinstance(size, int):
        raise MienError(f"{path} does not say what it was trained on. Train it again.")
    if not shape.step <= size <= 4096 or size % shape.step:
        raise MienError(f"{path} says that it is {size} pixels wide, which its network cannot be. Train it again.")
    encoding = colors.encoding if how == "display" else LogEncoding()

    @torch.inference_mode()
    def draw(seen: Tensor) -> tuple[Tensor, Tensor]:
        seen = seen.to(device)
        with half(device):
            drawn = network(seen.contiguous(memory_format=torch.channels_last)).float()
        if shape.outputs < 3:
            # What was learned is a matte: the picture stays as it is.
            return seen, drawn[:, :1]
        border = torch.ones_like(drawn[:, :1]) if view == "frame" else vignette(seen)
        return drawn[:, :3], drawn[:, 3:4] if shape.outputs == 4 else border

    if view != "frame":
        drawn = view == "outlines"
        return CropIdentity(draw, size, _coverage(file, path), encoding, file.digest, drawn=drawn)
    batch = TILES if device.type == "cuda" else 1
    return FrameIdentity(draw, max(TILE, size), shape.step, encoding, file.digest, batch)


def open_dfm(file: IdentityFile, path: Path, colors: Colors, device: torch.device) -> CropIdentity:
    """An imported ``.dfm``, ready to draw.

    Raises:
        MienError: It cannot be run here.
    """
    content = file.tensors.get("model")
    middle: Any = file.facts.get("middle")
    if content is None or content.dtype != torch.uint8 or not isinstance(middle, list) or len(middle) != 3:
        raise MienError(f"{path} holds no model, or does not say where to look. Import it again.")
    try:
        model = DfmModel(content.numpy().tobytes(), device, int(file.facts.get("size", 0)) or None)
        place = (float(middle[0]), float(middle[1]), float(middle[2]))
    except ImportError as error:
        raise MienError(f"{path} needs onnxruntime: pip install mien[engine,onnx].") from error
    except (TypeError, ValueError) as error:
        raise MienError(f"{path} cannot be run: {error}. Import it again.") from error

    def draw(crops: Tensor) -> tuple[Tensor, Tensor]:
        faces, mattes, own = model.run(crops)
        return faces, torch.minimum(mattes, own)

    return CropIdentity(draw, model.size, _coverage(file, path), colors.encoding, file.digest, place)


def open_pix2pix(file: IdentityFile, path: Path, colors: Colors, device: torch.device) -> CropIdentity | FrameIdentity:
    """An imported generator of pix2pix or CycleGAN, ready to draw.

    Raises:
        MienError: The file's tensors do not fit what its header says.
    """
    shape = _shape(file, path, Pix2PixShape)
    network = _loaded(lambda: build(shape), file.tensors, path)
    network = network.to(device).eval()
    view, size, statistics = (file.facts.get(name) for name in ("view", "size", "statistics"))
    if view not in ("face", "frame") or statistics not in ("frame", "kept") or not isinstance(size, int):
        raise MienError(f"{path} does not say how it is to be used. Import it again.")
    if not shape.step <= size <= 4096 or size % shape.step:
        raise MienError(f"{path} cannot be {size} pixels wide: take a multiple of {shape.step}. Import it again.")
    if statistics == "frame":
        use_own_statistics(network)

    @torch.no_grad()
    def draw(seen: Tensor) -> tuple[Tensor, Tensor]:
        seen = seen.to(device)
        drawn = (network(seen * 2 - 1) + 1) / 2
        if shape.outputs == 1:
            return seen, drawn
        return drawn, vignette(seen) if view == "face" else torch.ones_like(drawn[:, :1])

    if view == "face":
        return CropIdentity(draw, size, _coverage(file, path), colors.encoding, file.digest)
    return FrameIdentity(draw, size, shape.step, colors.encoding, file.digest)


def network_of(file: IdentityFile, path: Path) -> tuple[nn.Module, int, int]:
    """The network of a ``swap`` or ``paired`` identity, its size, and of what its sizes are multiples.

    Raises:
        MienError: The file's tensors do not fit what its header says.
    """
    if file.kind == "swap":
        shape = _shape(file, path, SwapShape)
        network: nn.Module = _loaded(lambda: SwapNetwork(shape, both=False), file.tensors, path)
        size = step = shape.size
    else:
        paired = _shape(file, path, PairedShape)
        network = _loaded(lambda: PairedNetwork(paired), file.tensors, path)
        size, step = int(file.facts.get("size", 256)), paired.step
    return network.eval().requires_grad_(False), size, step


def draws_matte(file: IdentityFile) -> bool:
    """Whether an identity draws nothing but a matte over the plate."""
    shape = file.facts.get("shape")
    return file.kind == "paired" and isinstance(shape, Mapping) and shape.get("outputs") == 1


def vignette(seen: Tensor) -> Tensor:
    """A (B, 1, H, W) matte that fades to nothing toward the border of a square."""
    height, width = seen.shape[-2:]
    sides = [torch.linspace(-1, 1, side, device=seen.device).abs() for side in (height, width)]
    fade = [((1 - side) / EDGE).clamp(0, 1) for side in sides]
    return torch.minimum(fade[0][:, None], fade[1]).expand(len(seen), 1, height, width)


def half(device: torch.device) -> torch.autocast:
    """Half precision inside networks on a graphics card, single elsewhere."""
    return torch.autocast(device.type, torch.float16, enabled=device.type == "cuda")


def _shape(file: IdentityFile, path: Path, kind: type[Shape]) -> Shape:
    told = file.facts.get("shape")
    known = {field.name for field in dataclasses.fields(kind)}
    try:
        if not isinstance(told, Mapping) or set(told) != known:
            raise ValueError("its shape is not told")
        values: Any = {name: str(value) if name in WORDS else int(value) for name, value in told.items()}
        shape = kind(**values)
        shape.check()
    except (TypeError, ValueError, OverflowError) as error:
        raise MienError(f"{path} is no {file.kind} identity that mien can run: {error}. Train it again.") from error
    return shape


def _coverage(file: IdentityFile, path: Path) -> float:
    value: Any = file.facts.get("coverage")
    if not isinstance(value, int | float) or not 0.5 <= value <= 8:
        raise MienError(f"{path} does not say its coverage. Train it again.")
    return float(value)


def _loaded(make: Callable[[], Network], tensors: Mapping[str, Tensor], path: Path) -> Network:
    """A network with the tensors of a file."""
    sizes = {name: value.shape for name, value in tensors.items() if not name.endswith(COUNTER)}
    try:
        # Told sizes cost nothing until a file has proved to hold them.
        with torch.device("meta"):
            wanted = {name: value.shape for name, value in make().state_dict().items() if not name.endswith(COUNTER)}
        if wanted != sizes:
            raise ValueError("tensors of other sizes")
        network = make()
        network.load_state_dict({name: value.float() for name, value in tensors.items()})
    except (RuntimeError, ValueError) as error:
        raise MienError(f"{path} holds other tensors than its network needs. Train it again.") from error
    return network


Open = Callable[[IdentityFile, Path, Colors, torch.device], CropIdentity | FrameIdentity]
TRAINED: Mapping[str, Open] = {
    "swap": open_swap,
    "paired": open_paired,
    "dfm": open_dfm,
    "pix2pix": open_pix2pix,
}
"""How each kind of identity that a network draws is opened."""
BATCHED = ("swap", "paired")
"""Kinds whose networks can be given several frames at once: imported ones may look at all that they are given."""
