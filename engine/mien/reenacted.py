"""From the files of first-order motion to what nodes put on: the network, and a photograph bound to a performance."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mien.color import Colors
from mien.files.identities import IdentityFile, Likeness, read_identity
from mien.models.animate import Animator
from mien.models.motion import MotionNetwork
from mien.models.motion_fields import Keypoints
from mien.models.motion_shape import MotionShape
from mien.models.reenact import Reenacted, View
from mien.recipe import digest
from mien.types import MienError

MOST_LETTERS = 1000
"""Letters of a path at most."""
KIND, BOUND = "reenact", "reenacted"
"""Kinds of identity: a network that moves any photograph, and a photograph bound to a performance."""


def open_network(file: IdentityFile, path: Path, device: torch.device) -> tuple[Animator, MotionShape]:
    """A ``reenact`` identity, ready to animate.

    Raises:
        MienError: The file's tensors do not fit what its header says.
    """
    shape = _shape(file, path)
    with torch.device("meta"):
        network = MotionNetwork(shape)
    wanted = network.state_dict()
    if {name: value.shape for name, value in wanted.items()} != {n: v.shape for n, v in file.tensors.items()}:
        raise MienError(f"{path} holds other tensors than its network needs. Import or train it again.")
    network = network.to_empty(device="cpu")
    network.load_state_dict(dict(file.tensors))
    return Animator(network, device, shape.corners), shape


def coverage_of(file: IdentityFile, path: Path) -> float:
    """Side of the squares that a network learned from over the height of the face; 0 for whole frames.

    Raises:
        MienError: It does not say.
    """
    return _number(file, path, "coverage", 0.0, 8.0)


def bound(
    network: IdentityFile,
    path: Path,
    large: Tensor,
    start: Keypoints,
    facts: Mapping[str, Any],
    coverage: float,
    likeness: Likeness,
) -> IdentityFile:
    """A photograph bound to a performance, as it is kept.

    Args:
        network: The network's identity.
        path: Where that lies.
        large: (3, f S, f S) the photograph as the network sees it, or larger.
        start: The performance's keypoints when it is posed as the photograph is.
        facts: ``relative``, ``scale``, ``first`` (frame of ``start``), names of the files.
        coverage: Side of the driving square over the height of the face; 0 for whole frames.
        likeness: Whose face the photograph shows.
    """
    tensors = {"source": large, "start.place": start.place[0]}
    if start.local is not None:
        tensors["start.local"] = start.local[0]
    known = {"network": str(path.absolute()), "network_digest": network.digest, "coverage": coverage}
    return IdentityFile(BOUND, likeness, {**facts, **known}, tensors)


def open_reenacted(file: IdentityFile, path: Path, colors: Colors, device: torch.device) -> Reenacted:
    """A photograph bound to a performance, ready to draw.

    Raises:
        MienError: The network is gone or changed, or the file's tensors do not fit it.
    """
    where = Path(str(file.facts.get("network", ""))[:MOST_LETTERS])
    network = read_identity(where)
    if network.digest != file.facts.get("network_digest"):
        raise MienError(f"The network {where} that {path} uses has changed. Run mien convert again.")
    animator, shape = open_network(network, where, device)
    large, place = file.tensors.get("source"), file.tensors.get("start.place")
    local = file.tensors.get("start.local")
    fits = large is not None and large.ndim == 3 and large.shape[0] == 3 and large.shape[1] == large.shape[2]
    fits = fits and large is not None and 0 < large.shape[1] <= 16 * shape.size and large.shape[1] % shape.size == 0
    fits = fits and place is not None and place.shape == (shape.keypoints, 2)
    fits = fits and (local is None) == (shape.jacobian == "none")
    if not fits or large is None or place is None or (local is not None and local.shape != (shape.keypoints, 2, 2)):
        raise MienError(f"{path} holds tensors of the wrong shape. Run mien convert again.")
    start = Keypoints(place[None].float(), None if local is None else local[None].float())
    return reenacted(
        animator,
        shape,
        large.float(),
        on_device(start, device),
        bool(file.facts.get("relative", True)),
        _number(file, path, "scale", 0.0, 100.0),
        View(shape.size, _number(file, path, "coverage", 0.0, 8.0), colors.encoding),
        digest(file.digest, network.digest),
    )


def reenacted(
    animator: Animator,
    shape: MotionShape,
    large: Tensor,
    start: Keypoints,
    relative: bool,
    scale: float,
    view: View,
    made_of: str,
) -> Reenacted:
    """Everything put together; the network sees the photograph at its own size."""
    factor = large.shape[-1] // shape.size
    seen = avg_pool2d(large[None], factor) if factor > 1 else large[None]
    kept = large[None].to(animator.device) if factor > 1 else None
    return Reenacted(animator, animator.source(seen), kept, start, relative, scale, view, made_of)


def on_device(keypoints: Keypoints, device: torch.device) -> Keypoints:
    """Keypoints where networks run."""
    local = None if keypoints.local is None else keypoints.local.to(device)
    return Keypoints(keypoints.place.to(device), local)


def _shape(file: IdentityFile, path: Path) -> MotionShape:
    told = file.facts.get("shape")
    known = {entry.name: entry.type for entry in dataclasses.fields(MotionShape)}
    try:
        if not isinstance(told, Mapping) or set(told) != set(known):
            raise ValueError("its shape is not told")
        for name, value in told.items():
            if type(value) is not known[name] and not (known[name] is float and type(value) is int):
                raise ValueError(f"{name} is {str(value)[:40]!r}")
        return MotionShape(**told).check()
    except (TypeError, ValueError) as error:
        raise MienError(f"{path} is no network that mien can run: {error}. Import or train it again.") from error


def _number(file: IdentityFile, path: Path, name: str, low: float, high: float) -> float:
    value = file.facts.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise MienError(f"{path} does not say its {name}, {low:g} to {high:g}. Make the identity again.")
    return float(value)
