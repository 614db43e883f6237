"""Curves survive the disk exactly, and damage is told."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.files.curves import read_curves, write_curves
from mien.types import ColorSample, Grade, MienError

number = st.floats(allow_nan=False, allow_infinity=False, width=64)
triple = st.tuples(number, number, number)
grades = st.builds(Grade, st.tuples(triple, triple, triple), triple)


@given(st.dictionaries(st.integers(-100, 10_000), st.one_of(st.none(), grades), max_size=5))
def test_grades_come_back_bit_for_bit(tmp_path_factory, values) -> None:
    path = tmp_path_factory.mktemp("curves") / "match.json"
    entries = {frame: (f"k{frame}", value) for frame, value in values.items()}
    write_curves(path, "Grade", entries, "test")
    assert read_curves(path) == ("Grade", entries)


def test_samples_come_back(tmp_path: Path) -> None:
    sample = ColorSample(3.5, (0.1, 0.2, 0.3), (1.0, 2.0, math.pi), ((1.0,) * 3,) * 3, ((0.0,) * 3,) * 3)
    write_curves(tmp_path / "a.json", "ColorSample", {7: ("x", sample)}, "test")
    assert read_curves(tmp_path / "a.json")[1][7] == ("x", sample)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"mien_curves": 2, "type": "Grade", "frames": {}}',
        '{"mien_curves": 1, "type": "os", "frames": {"1": {}}}',
        '{"mien_curves": 1, "type": "Grade", "frames": {"1": {"key": "", "value": {"matrix": 3}}}}',
        "[" * 100_000,
    ],
)
def test_damage_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(MienError, match=r"bad\.json"):
        read_curves(path)


def test_one_frame_is_one_line(tmp_path: Path) -> None:
    write_curves(tmp_path / "a.json", "White", {f: ("k", float(f)) for f in range(5)}, "test")
    text = (tmp_path / "a.json").read_text()
    assert text.count("\n") == 7 and json.loads(text)["type"] == "White"
