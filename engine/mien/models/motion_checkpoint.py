"""Published checkpoints of first-order motion: what is in them, and the identity that it makes."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mien.models.motion import MotionNetwork
from mien.models.motion_shape import MotionShape, shape_of_tensors

PARTS = ("kp_detector", "generator")
NAMED = 4
"""Names that a message lists at most."""


def is_motion(loaded: Any) -> bool:
    """Whether a checkpoint has the parts of a first-order motion network."""
    return isinstance(loaded, Mapping) and any(part in loaded for part in PARTS)


def network_of_checkpoint(loaded: Mapping[str, Any], shape: MotionShape | None) -> tuple[MotionShape, MotionNetwork]:
    """The network that a checkpoint holds, and what it is built of; parts that only training needs are left out.

    Args:
        loaded: What the file holds, by part.
        shape: As a configuration has it; None to tell from the tensors.

    Raises:
        ValueError: Parts or tensors are missing, surplus or of other sizes; the message names them.
    """
    states = {}
    for part in PARTS:
        held = loaded.get(part)
        if not isinstance(held, Mapping) or not all(isinstance(one, Tensor) for one in held.values()):
            raise ValueError(f"it has no weights under {part!r}; it holds {_some([str(name) for name in loaded])}")
        states[part] = {str(name).removeprefix("module."): one for name, one in held.items()}
    shape = shape or shape_of_tensors(states["kp_detector"], states["generator"])
    # Told sizes cost nothing until a file has proved to hold them.
    with torch.device("meta"):
        network = MotionNetwork(shape)
    for part, state in states.items():
        _fit(part, state, getattr(network, part).state_dict())
    network = network.to_empty(device="cpu")
    for part, state in states.items():
        counts = {name: torch.zeros(()) for name in getattr(network, part).state_dict() if name.endswith(COUNTER)}
        getattr(network, part).load_state_dict({**counts, **state})
    return shape, network.eval().requires_grad_(False)


COUNTER = "num_batches_tracked"
"""What old batch norms did not count."""


def _fit(part: str, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    missing = [name for name in wanted if name not in state and not name.endswith(COUNTER)]
    surplus = [name for name in state if name not in wanted]
    other = [
        f"{name} {tuple(state[name].shape)} for {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in state and state[name].shape != value.shape
    ]
    said = [
        f"{words} {_some(names)}"
        for words, names in (("lacks", missing), ("has besides", surplus), ("has another size of", other))
        if names
    ]
    if said:
        raise ValueError(f"{part} {' and '.join(said)}")


def _some(names: list[str]) -> str:
    listed = ", ".join(sorted(names)[:NAMED]) or "nothing"
    return listed if len(names) <= NAMED else f"{listed} and {len(names) - NAMED} more"
