"""Hosts run their part in Pythons of their own: old ones too."""

import ast
import subprocess
from pathlib import Path

import pytest

ENGINE = Path(__file__).parents[2] / "engine"
OLD = sorted(Path.home().glob(".pyenv/versions/3.9*/bin/python")) or sorted(Path("/usr/bin").glob("python3.9"))
SOURCES = [ENGINE / "mien" / "client.py", *sorted((ENGINE / "mien" / "hosts").glob("*.py"))]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
@pytest.mark.parametrize("minor", [9, 10, 11, 13])
def test_the_grammar_of_the_hosts_pythons_is_kept(path, minor):
    ast.parse(path.read_text("utf-8"), feature_version=(3, minor))


@pytest.mark.skipif(not OLD, reason="needs a Python 3.9")
def test_python_3_9_reads_frames_and_writes_recipes(tmp_path):
    code = f"import sys; sys.path.insert(0, {str(ENGINE)!r})\n" + (
        "from mien.hosts import frames, recipes, watch\n"
        "print(frames.spoken([1, 2, 5]), recipes.keys_of({1: 0.0, 2: 1.0, 3: 2.0}), watch.Shown().line)\n"
        f"recipes.write({str(tmp_path / 'r.json')!r}, {{'a': 1}})\n"
    )
    done = subprocess.run([OLD[0], "-I", "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "1-2, 5 [[1, 0.0], [3, 2.0]] Waiting ...", done.stderr
    assert (tmp_path / "r.json").read_text() == '{\n "a": 1\n}\n'
