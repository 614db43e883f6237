"""A cache on disk: layers by the hash of everything they depend on.

An entry is one file: a line that says what it is, the hash of what follows, and a safetensors document. Files
appear whole or not at all, so that several processes share a cache without a word; what is damaged, cut short or
of another version counts as absent and is removed. The least recently used go when the whole grows too large.
"""

import hashlib
import json
import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from mien.files.atomic import appearing, remove_stale
from mien.types import Layer, MienError

MAGIC = b"mien cache 1\n"
ENDING = ".layer"
LIMIT = 20 << 30
"""Bytes that a cache may take where nothing else is said."""
LARGEST = 4 << 30
"""Bytes of the largest entry that is read."""
NO_LAYER = (ValueError, TypeError, AttributeError, OverflowError, RecursionError)
"""What comes of an entry whose bytes are whole and make no layer."""
ROOM = 0.9
"""Share of the limit that is left after old entries went, so that not every new one has to make room."""


def default_folder() -> Path:
    """``$MIEN_CACHE``, else the place where this system keeps caches."""
    named = os.environ.get("MIEN_CACHE")
    if named:
        return Path(named)
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "mien" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mien"


@dataclass
class DiskCache:
    """Layers in a folder; usable from several threads and processes.

    Attributes:
        folder: Where entries lie.
        limit: Bytes that all may take.
    """

    folder: Path
    limit: int = LIMIT
    _size: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def path(self, key: str) -> Path:
        """The file of a key, a hash in hexadecimal digits."""
        if not key.isalnum() or len(key) < 8:
            raise ValueError(f"{key!r} is no key of the cache")
        return self.folder / key[:2] / f"{key}{ENDING}"

    def recall(self, key: str, device: torch.device) -> Layer | None:
        """The layer of a key, or None where it is not there whole."""
        path = self.path(key)
        try:
            with path.open("rb") as stream:
                if os.fstat(stream.fileno()).st_size > LARGEST:
                    raise ValueError("too large")
                content = stream.read()
            layer = _unpacked(content, device)
            os.utime(path)
        except FileNotFoundError:
            return None
        except (OSError, LookupError, SafetensorError, *NO_LAYER):
            with suppress(OSError):
                path.unlink()
            return None
        return layer

    def keep(self, key: str, layer: Layer) -> None:
        """Put a layer into the cache; a full or read-only disk is no error, the layer is only not kept."""
        content = _packed(layer)
        if len(content) > self.limit * (1 - ROOM) and len(content) > self.limit / 4:
            return
        try:
            with appearing(self.path(key)) as partial:
                partial.write_bytes(content)
        except MienError:
            return
        with self._lock:
            if self._size is None:
                self._size = sum(size for _, size, _ in self.entries())
            else:
                self._size += len(content)
            if self._size > self.limit:
                self._size = self._make_room(int(self.limit * ROOM))

    def entries(self) -> list[tuple[float, int, Path]]:
        """When last used, bytes, and file of every entry, least recently used first."""
        found = []
        for path in self.folder.glob(f"??/*{ENDING}"):
            with suppress(OSError):
                facts = path.stat()
                found.append((facts.st_mtime, facts.st_size, path))
        return sorted(found)

    def clear(self) -> int:
        """Remove every entry, and what killed processes left; returns the bytes that were given back."""
        before = sum(size for _, size, _ in self.entries())
        with self._lock:
            self._size = self._make_room(0)
        for folder in self.folder.glob("??"):
            with suppress(OSError):
                remove_stale(folder)
                folder.rmdir()
        return before - (self._size or 0)

    def facts(self) -> dict[str, Any]:
        """Where it lies, how many entries it holds, and how large they are, as plain data."""
        sizes = [size for _, size, _ in self.entries()]
        return {"folder": str(self.folder), "entries": len(sizes), "bytes": sum(sizes), "limit": self.limit}

    def _make_room(self, size: int) -> int:
        entries = self.entries()
        total = sum(size for _, size, _ in entries)
        for _, taken, path in entries:
            if total <= size:
                break
            with suppress(OSError):
                path.unlink(missing_ok=True)
                total -= taken
        return total


def open_cache(folder: Path | None = None, limit: int = LIMIT) -> DiskCache:
    """The cache in a folder, by default the user's own."""
    return DiskCache(default_folder() if folder is None else folder, limit)


def _packed(layer: Layer) -> bytes:
    names = list(layer.mattes)
    own = next((name for name in names if layer.mattes[name] is layer.matte), None)
    tensors = {"image": layer.image, **{f"matte.{name}": layer.mattes[name] for name in names}}
    if own is None:
        tensors["matte"] = layer.matte
    told = {"corner": layer.corner, "face_width": layer.face_width, "mattes": names, "own": own}
    document = save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, {"mien": json.dumps(told)})
    return MAGIC + hashlib.blake2b(document, digest_size=32).digest() + document


def _unpacked(content: bytes, device: torch.device) -> Layer:
    head = len(MAGIC) + 32
    document = content[head:]
    if content[: len(MAGIC)] != MAGIC:
        raise ValueError("no entry of this cache")
    if hashlib.blake2b(document, digest_size=32).digest() != content[len(MAGIC) : head]:
        raise ValueError("damaged")
    length = int.from_bytes(document[:8], "little")
    told = json.loads(json.loads(document[8 : 8 + length])["__metadata__"]["mien"])
    tensors = {name: tensor.to(device) for name, tensor in load(document).items()}
    mattes = {str(name): tensors[f"matte.{name}"] for name in told["mattes"]}
    matte = tensors["matte"] if told["own"] is None else mattes[told["own"]]
    x, y = told["corner"]
    image = tensors["image"]
    size = image.shape[-2:]
    if image.shape != (3, *size) or any(one.shape != (1, *size) for one in (matte, *mattes.values())):
        raise ValueError("no layer")
    return Layer(image, matte, (int(x), int(y)), float(told["face_width"]), mattes)
