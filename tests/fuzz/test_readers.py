"""Every reader of the engine reads a spoiled file, or says what is wrong with it.

A short night: ``night.py`` spoils a million files. ``corpus/READER`` holds files that once broke something.
"""

import random
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.night import read_one
from fuzz.readers import OURS, READERS
from fuzz.spoiling import spoiled_json

CORPUS = Path(__file__).parent / "corpus"
SLOW = 5
"""Readers of fewer than this share of a night get fewer files here too."""


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[Path, bytes]]]:
    """Whole files of each reader, made once; of several in a folder, only the spoiled one stays."""
    found = {}
    for name, reader in READERS.items():
        if name == "dfm":
            pytest.importorskip("onnx")
        paths = reader.seeds(tmp_path_factory.mktemp(name))
        found[name] = [(path, path.read_bytes()) for path in paths]
        for path in paths:
            path.unlink()
    return found


@pytest.mark.parametrize("name", READERS)
def test_a_spoiled_file_is_read_or_refused(name, wholes):
    reader, files = READERS[name], wholes[name]
    for path, content in files:
        assert read_one(reader, path, content, OURS) == "read"
        path.unlink()

    @settings(
        max_examples=8 if reader.share < SLOW else 40,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(files), st.integers(0, 2**32))
    def spoil(whole, seed):
        path, content = whole
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ended = read_one(reader, path, reader.spoil(content, random.Random(seed)), OURS)
        path.unlink(missing_ok=True)
        assert ended in ("read", "refused")

    spoil()


@pytest.mark.parametrize("file", sorted(p for p in CORPUS.rglob("*") if p.is_file()), ids=lambda path: path.name)
def test_what_once_broke_a_reader_does_so_no_more(file, wholes):
    name = file.parent.name
    path = wholes[name][0][0].with_name(file.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ended = read_one(READERS[name], path, file.read_bytes(), OURS)
    path.unlink(missing_ok=True)
    assert ended in ("read", "refused")


def test_a_reader_that_breaks_is_found(tmp_path):
    class Broken:
        @staticmethod
        def read(path: Path) -> object:
            return {}["frames"] if b"null" in path.read_bytes() else None

    ended = {
        read_one(Broken, tmp_path / "a", spoiled_json(b'{"frames": [1, 2]}', random.Random(seed)), OURS)
        for seed in range(200)
    }
    assert len(ended) == 2 and any(one.startswith("KeyError in") for one in ended)
