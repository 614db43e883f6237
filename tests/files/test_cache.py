"""The cache on disk: what went in comes out bit for bit, damage counts as absence, the limit holds."""

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.files.cache import MAGIC, open_cache
from mien.types import Layer

CPU = torch.device("cpu")


def layer(seed: int = 0, size: tuple[int, int] = (12, 9)) -> Layer:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(3, *size, generator=generator) * 100
    image[0, 0, :3] = torch.tensor([torch.inf, -torch.inf, torch.nan])
    matte = torch.rand(1, *size, generator=generator)
    return Layer(image, matte, (-3, 1200), 84.25, {"identity": matte, "other": matte * 0.5})


def same(one: Layer, other: Layer) -> bool:
    return (
        torch.equal(one.image.view(torch.int32), other.image.view(torch.int32))
        and torch.equal(one.matte, other.matte)
        and (one.corner, one.face_width, list(one.mattes)) == (other.corner, other.face_width, list(other.mattes))
        and all(torch.equal(one.mattes[name], other.mattes[name]) for name in one.mattes)
        and [one.matte is m for m in one.mattes.values()] == [other.matte is m for m in other.mattes.values()]
    )


def test_what_went_in_comes_out(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    key = "0123456789abcdef"
    assert cache.recall(key, CPU) is None
    cache.keep(key, layer())
    found = open_cache(tmp_path).recall(key, CPU)
    assert found is not None and same(found, layer())
    assert cache.facts()["entries"] == 1
    assert cache.clear() > 0 and cache.recall(key, CPU) is None and not list(tmp_path.iterdir())


@settings(max_examples=60)
@given(st.data())
def test_any_damage_counts_as_absence_and_is_removed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    cache = open_cache(tmp_path_factory.mktemp("damage"))
    key = "ab" * 16
    cache.keep(key, layer())
    path = cache.path(key)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= data.draw(st.integers(1, 255))
    else:
        del content[place:]
    path.write_bytes(bytes(content))
    assert cache.recall(key, CPU) is None and not path.exists()


@pytest.mark.parametrize("content", [b"", MAGIC, MAGIC + bytes(32), MAGIC + bytes(40), b"mien cache 9\n" + bytes(99)])
def test_foreign_files_are_removed(tmp_path: Path, content: bytes) -> None:
    cache = open_cache(tmp_path)
    path = cache.path("cd" * 16)
    path.parent.mkdir()
    path.write_bytes(content)
    assert cache.recall("cd" * 16, CPU) is None and not path.exists()


def test_keys_lead_nowhere_else(tmp_path: Path) -> None:
    for key in ("../../etc/passwd", "", "a", "..", "ab/cdefgh1"):
        with pytest.raises(ValueError):
            open_cache(tmp_path).path(key)


def test_the_least_recently_used_go(tmp_path: Path) -> None:
    size = open_cache(tmp_path / "one")
    size.keep("00" * 16, layer())
    taken = size.entries()[0][1]
    cache = open_cache(tmp_path / "many", limit=10 * taken)
    for number in range(10):
        cache.keep(f"{number:032d}", layer(number))
        os.utime(cache.path(f"{number:032d}"), (1000 + number, 1000 + number))
    assert cache.recall(f"{0:032d}", CPU) is not None  # used now
    for number in range(10, 14):
        cache.keep(f"{number:032d}", layer(number))
        assert sum(one for _, one, _ in cache.entries()) <= cache.limit
    assert cache.recall(f"{0:032d}", CPU) is not None and cache.recall(f"{13:032d}", CPU) is not None
    assert cache.recall(f"{1:032d}", CPU) is None


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    cache = open_cache(blocked)
    cache.keep("ef" * 16, layer())
    assert cache.recall("ef" * 16, CPU) is None and cache.entries() == []


def _busy(folder: str, seed: int) -> None:
    torch.set_num_threads(1)
    cache = open_cache(Path(folder), limit=60_000)
    for step in range(40):
        number = (step * 7 + seed) % 12
        key = f"{number:032d}"
        found = cache.recall(key, CPU)
        assert found is None or same(found, layer(number))
        cache.keep(key, layer(number))


def test_processes_share_a_cache(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_busy, args=(str(tmp_path), seed)) for seed in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    cache = open_cache(tmp_path, limit=60_000)
    for _, _, path in cache.entries():
        number = int(path.stem)
        found = cache.recall(path.stem, CPU)
        assert found is not None and same(found, layer(number))
    assert not list(tmp_path.rglob("*.partial*"))


def test_the_command_shows_and_clears(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    cache.keep("12" * 16, layer())

    def asked(*words: str) -> str:
        environment = {**os.environ, "MIEN_CACHE": str(tmp_path)}
        command = [sys.executable, "-m", "mien", "cache", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout

    assert "1 conversions" in asked() and str(tmp_path) in asked()
    told = json.loads(asked("--clear", "--json"))
    assert told["entries"] == 0 and told["freed"] > 0 and cache.entries() == []
