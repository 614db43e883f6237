"""Converters from elsewhere: networks that somebody else wrote, each a function in an installed package.

A package names its function under the entry-point group ``mien.converters``; the name is the kind of identity
that it draws::

    converter(facts, tensors, device) -> draw
    draw(crops) -> (pictures, mattes)

``facts`` and ``tensors`` are what the identity file holds; ``facts`` say ``size``, the side in pixels of the
square that the network sees, and ``coverage``, that side over the height of the face. ``crops`` are
(B, 3, size, size) display-like R'G'B', 0 to 1, on the device, the face level; ``pictures`` (B, 3, S, S) are like
them, and ``mattes`` (B, 1, S, S) say where they count, 0 to 1. S may be larger than ``size``.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mien.color import Colors
from mien.files.identities import IdentityFile
from mien.models.crop_identity import CropIdentity, Draw
from mien.recipe import digest
from mien.types import MienError

GROUP = "mien.converters"
LARGEST = 4096
"""Pixels along the side of the largest square that is drawn."""
Converter = Callable[[Mapping[str, Any], Mapping[str, Tensor], torch.device], Draw]


def installed() -> dict[str, list[EntryPoint]]:
    """Converters of installed packages, by the kind of identity that they draw."""
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        found.setdefault(entry.name, []).append(entry)
    return found


def open_installed(file: IdentityFile, path: Path, colors: Colors, device: torch.device) -> CropIdentity | None:
    """An identity that a converter from elsewhere draws; None where none is installed for its kind.

    Raises:
        MienError: Several are, or the one refuses the file.
    """
    entries = installed().get(file.kind, [])
    if not entries:
        return None
    if len(entries) > 1:
        raise MienError(f"{path}: several packages draw {file.kind!r}: {', '.join(map(_source, entries))}. Keep one.")
    size, coverage = _number(file, path, "size", 16, LARGEST), _number(file, path, "coverage", 0.5, 8)
    try:
        converter: Converter = entries[0].load()
        draw = converter(file.facts, file.tensors, device)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise MienError(f"{path} cannot be opened by {_source(entries[0])}: {error}. Ask its author.") from error
    # What another version of the package draws is another picture.
    made_by = digest(file.digest, _source(entries[0]))
    return CropIdentity(checked(draw, _source(entries[0])), int(size), coverage, colors.encoding, made_by)


def checked(draw: Draw, source: str) -> Draw:
    """``draw``, with what comes of it held against what was agreed, and its faults told as such.

    Raises:
        MienError: From the result, when it fails or gives something else.
    """

    @torch.inference_mode()
    def drawn(crops: Tensor) -> tuple[Tensor, Tensor]:
        try:
            pictures, mattes = draw(crops)
            shapes = tuple(pictures.shape), tuple(mattes.shape)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise MienError(f"{source} failed to draw: {error}. Ask its author.") from error
        side = shapes[0][-1]
        if shapes != ((len(crops), 3, side, side), (len(crops), 1, side, side)) or not 0 < side <= LARGEST:
            raise MienError(f"{source} drew pictures and mattes of shapes {shapes}: they do not fit. Ask its author.")
        return pictures.float(), mattes.float().clamp(0, 1)

    return drawn


def _source(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value


def _number(file: IdentityFile, path: Path, name: str, low: float, high: float) -> float:
    value = file.facts.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise MienError(f"{path} does not say its {name}, {low:g} to {high:g}. Make the identity again.")
    return float(value)
