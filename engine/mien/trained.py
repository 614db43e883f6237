"""From the files of trained identities to what nodes put on."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mien.color import Colors
from mien.files.identities import IdentityFile
from mien.models.crop_identity import CropIdentity
from mien.models.swap import SwapNetwork, SwapShape
from mien.types import MienError


def open_swap(file: IdentityFile, path: Path, colors: Colors, device: torch.device) -> CropIdentity:
    """A ``swap`` identity, ready to draw.

    Raises:
        MienError: The file's tensors do not fit what its header says.
    """
    shape = _shape(file, path)
    network = SwapNetwork(shape, both=False)
    _load(network, file.tensors, path)
    network = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    @torch.inference_mode()
    def draw(crops: Tensor) -> tuple[Tensor, Tensor]:
        with half(device):
            drawn = network(crops.to(device).contiguous(memory_format=torch.channels_last))
        return drawn.picture.float(), drawn.matte.float()

    return CropIdentity(draw, shape.size, _coverage(file, path), colors.encoding, file.digest)


def half(device: torch.device) -> torch.autocast:
    """Half precision inside networks on a graphics card, single elsewhere."""
    return torch.autocast(device.type, torch.float16, enabled=device.type == "cuda")


def _shape(file: IdentityFile, path: Path) -> SwapShape:
    told = file.facts.get("shape")
    known = {field.name for field in dataclasses.fields(SwapShape)}
    try:
        if not isinstance(told, Mapping) or set(told) != known:
            raise ValueError("its shape is not told")
        numbers = {name: int(value) for name, value in told.items() if name != "preset"}
        return SwapShape(str(told["preset"]), **numbers).check()
    except (TypeError, ValueError) as error:
        raise MienError(f"{path} is no swap identity that this mien can run: {error}. Train it again.") from error


def _coverage(file: IdentityFile, path: Path) -> float:
    value: Any = file.facts.get("coverage")
    if not isinstance(value, int | float) or not 0.5 <= value <= 8:
        raise MienError(f"{path} does not say its coverage. Train it again.")
    return float(value)


def _load(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    try:
        network.load_state_dict({name: value.float() for name, value in tensors.items()})
    except RuntimeError as error:
        raise MienError(f"{path} holds other tensors than its network needs. Train it again.") from error
