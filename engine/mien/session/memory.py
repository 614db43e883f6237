"""Values that were computed before, within a budget of bytes; the least recently used go first."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

SMALL = 2048
"""Bytes that an entry counts beside its tensors: key, numbers, and what Python spends on them."""


class Memory:
    """Values by key; safe to use from several threads.

    Tensors count once however many values share them. What is larger than the whole budget is not kept.

    Attributes:
        limit: Bytes that all values together may take.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._values: OrderedDict[str, Any] = OrderedDict()
        self._holders: dict[int, list[int]] = {}
        self._used = 0
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        """Bytes taken at present."""
        return self._used

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def recall(self, key: str) -> Any | None:
        """The value of a key, now the most recently used; None where it is not, or no longer, known."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key]

    def keep(self, key: str, value: Any) -> None:
        """Remember a value; others may be forgotten for it."""
        with self._lock:
            if key in self._values:
                self._forget(key)
            if SMALL + sum(dict(_storages(value)).values()) > self.limit:
                return
            self._values[key] = value
            self._used += SMALL
            for place, size in _storages(value):
                holder = self._holders.setdefault(place, [0, size])
                self._used += size if holder[0] == 0 else 0
                holder[0] += 1
            while self._used > self.limit:
                self._forget(next(iter(self._values)))

    def shrink(self, limit: int) -> None:
        """Forget until no more than ``limit`` bytes are taken; the budget stays as it is."""
        with self._lock:
            while self._values and self._used > limit:
                self._forget(next(iter(self._values)))

    def _forget(self, key: str) -> None:
        value = self._values.pop(key)
        self._used -= SMALL
        for place, size in _storages(value):
            holder = self._holders[place]
            holder[0] -= 1
            if holder[0] == 0:
                self._used -= size
                del self._holders[place]


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor that a value holds."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, torch.nn.Module):
        yield from value.parameters()
        yield from value.buffers()
    elif is_dataclass(value) and not isinstance(value, type):
        for entry in fields(value):
            yield from tensors_in(getattr(value, entry.name))
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from tensors_in(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from tensors_in(one)


def _storages(value: Any) -> Iterator[tuple[int, int]]:
    for tensor in tensors_in(value):
        storage = tensor.untyped_storage()
        yield storage.data_ptr(), storage.nbytes()
