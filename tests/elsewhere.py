"""A device that is not the processor, imitated on machines without one.

Tensors that lie ``elsewhere`` call themselves CUDA and hold their values in ordinary memory, out of reach: whoever
mixes them with tensors of the processor, or takes one for an array, fails as a graphics card would make him fail.
Kernels are the processor's, so values come out the same; what a real card's kernels differ in is not seen here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("elsewhere")
# Networks say where they want no mixed precision, and torch asks a device for its own.
torch.elsewhere.get_amp_supported_dtype = lambda: [torch.float16, torch.bfloat16]  # type: ignore[attr-defined]
PLACE = torch.device("elsewhere", 0)
aten = torch.ops.aten
BETWEEN = {aten.copy_.default, aten._to_copy.default}
"""Operations whose tensors may lie in different places."""
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}
"""Operations whose indices, but not their values, may lie with the processor."""


class Elsewhere(Tensor):
    """A tensor on the imitated device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "Elsewhere":
        """Wrap a tensor of the processor."""
        made = Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=PLACE,
        )  # fmt: skip
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        """Whatever is done with it."""
        return run(function, arguments, options or {})

    def tolist(self) -> Any:
        """Its values, copied to the processor."""
        return self.held.tolist()

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        """Its values, for tests that fail."""
        return f"Elsewhere({self.held!r})"


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        return run(function, arguments, options or {})


class _Made(TorchFunctionMode):
    """Tensors and indices made of Python's numbers, which torch makes past all dispatch."""

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        options = dict(options or {})
        if function in (torch.tensor, torch.as_tensor) and options.get("device") is not None:
            place = options.pop("device")
            return function(*arguments, **options).to(place)
        if function is Tensor.new_tensor:
            like, *data = arguments
            place = options.pop("device", like.device)
            return torch.tensor(*data, **{"dtype": like.dtype, **options}).to(place)
        if function in (Tensor.__getitem__, Tensor.__setitem__):
            key = arguments[1] if isinstance(arguments[1], tuple) else (arguments[1],)
            key = tuple(torch.tensor(one) if isinstance(one, list) else one for one in key)
            arguments = (arguments[0], key, *arguments[2:])
        return function(*arguments, **options)


def run(function: Any, arguments: Any, options: dict[str, Any]) -> Any:
    """Do an operation where its tensors lie.

    Raises:
        RuntimeError: They lie in two places.
    """
    tensors: list[Tensor] = []
    near = [_near(one, tensors) for one in arguments]
    nearby = {name: _near(one, tensors) for name, one in options.items()}
    far = any(isinstance(one, Elsewhere) for one in tensors)
    if far and function not in BETWEEN:
        judged = [arguments[0], *arguments[2:3]] if function in INDEXED else tensors
        strangers = [one for one in judged if isinstance(one, Tensor) and one.dim() and not isinstance(one, Elsewhere)]
        if strangers:
            sizes = ", ".join(str(tuple(one.shape)) for one in strangers)
            raise RuntimeError(f"{function}: expected all tensors on one device, but {sizes} lie with the processor")
    if (asked := options.get("device")) is not None:
        far = torch.device(asked).type == PLACE.type
        nearby["device"] = torch.device("cpu")
    result = function(*near, **nearby)
    return _away(result, {id(one.held): one for one in tensors if isinstance(one, Elsewhere)}) if far else result


def _near(value: Any, tensors: list[Tensor]) -> Any:
    """A value with its tensors within reach; they are noted as they were."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return value.held if isinstance(value, Elsewhere) else value
    return [_near(one, tensors) for one in value] if isinstance(value, list | tuple) else value


def _away(value: Any, known: dict[int, Elsewhere]) -> Any:
    """A result out of reach; what an operation changed in place stays who it was."""
    if isinstance(value, Tensor):
        return known[id(value)] if id(value) in known else Elsewhere(value)
    return type(value)(_away(one, known) for one in value) if isinstance(value, list | tuple) else value


@contextmanager
def elsewhere() -> Iterator[torch.device]:
    """The imitated device, for as long as this lasts."""
    # Tensors of inference mode know no version of theirs, which views of wrapped ones ask for.
    with patch("torch._C._InferenceMode", lambda mode: torch.no_grad()), _Made(), _Mode(), torch.no_grad():
        yield PLACE
