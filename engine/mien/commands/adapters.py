"""The hosts' adapters as an installation of mien brings them, and what they carry of the engine."""

import json
from collections.abc import Collection, Iterator
from dataclasses import asdict
from importlib import resources
from pathlib import Path

from mien.recipe import CONVERT
from mien.types import MienError

SHARED = (
    "__init__.py",
    "client.py",
    "nodes.json",
    "hosts/__init__.py",
    "hosts/frames.py",
    "hosts/recipes.py",
    "hosts/watch.py",
)
"""Files of the engine that every adapter carries."""


def package() -> Path:
    """The engine's own folder."""
    return Path(str(resources.files("mien")))


def adapter(name: str, mark: str, called: str) -> Path:
    """The folder of an adapter: in a checkout beside the engine, in an installed wheel within it.

    Args:
        name: The folder's name.
        mark: A file that is in it.
        called: What the adapter is, in words.

    Raises:
        MienError: It is in neither place.
    """
    engine = package()
    for folder in (engine / name, engine.parents[1] / name):
        if (folder / mark).is_file():
            return folder
    raise MienError(f"This installation of mien brings no {called}. Install mien from its repository.")


def own_files(folder: Path, suffixes: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Name and content of an adapter's published files, in order; its license is always one of them."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and "__pycache__" not in name and (path.suffix in suffixes or path.name == "LICENSE"):
            yield name, path.read_bytes()


def shared_files() -> Iterator[tuple[str, bytes]]:
    """Name and content of what every adapter carries of the engine, and the order of the chain's steps."""
    for name in SHARED:
        yield name, (package() / name).read_bytes()
    yield "chain.json", json.dumps([asdict(step) for step in CONVERT], indent=1).encode()
