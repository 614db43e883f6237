"""Frame names: spelled, found, parsed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.files.sequence import Pattern, frame_number, parse_frames, pattern_of, patterns_in
from mien.types import MienError


@pytest.mark.parametrize(
    ("spelled", "frame", "name"),
    [
        ("plate.####.exr", 42, "plate.0042.exr"),
        ("plate.%04d.exr", 42, "plate.0042.exr"),
        ("plate.@@@.exr", 42, "plate.042.exr"),
        ("plate.%d.exr", 42, "plate.42.exr"),
        ("plate.####.exr", 123456, "plate.123456.exr"),
        ("plate.####.exr", -7, "plate.-0007.exr"),
        ("a b[1].(x)_####.dpx", 1, "a b[1].(x)_0001.dpx"),
    ],
)
def test_every_way_to_spell_a_frame_number(spelled: str, frame: int, name: str) -> None:
    pattern = pattern_of(Path("shots") / spelled)
    assert pattern is not None
    assert pattern.path(frame) == Path("shots") / name


def test_a_name_without_a_place_is_no_pattern() -> None:
    assert pattern_of(Path("plate.exr")) is None


@pytest.mark.parametrize("path", ["####/plate.exr", "plate.##.##.exr", "plate.%04d.####.exr"])
def test_a_misplaced_number_is_refused(path: str) -> None:
    with pytest.raises(MienError, match="number"):
        pattern_of(Path(path))


@given(st.integers(-99_999, 99_999), st.integers(1, 6))
def test_frames_found_are_those_written(tmp_path_factory: pytest.TempPathFactory, frame: int, digits: int) -> None:
    folder = tmp_path_factory.mktemp("frames")
    pattern = Pattern(folder, "a.b_", digits, ".exr")
    pattern.path(frame).touch()
    assert pattern.frames() == (frame,)


def test_only_names_that_the_pattern_makes_are_frames(tmp_path: Path) -> None:
    for name in ("p.0001.exr", "p.0010.exr", "p.12345.exr", "p.00002.exr", "p.3.exr", "p.0004.exr.bak", "xp.0005.exr"):
        (tmp_path / name).touch()
    assert Pattern(tmp_path, "p.", 4, ".exr").frames() == (1, 10, 12345)


def test_a_folder_tells_its_sequences(tmp_path: Path) -> None:
    for name in (
        "b_v2.0998.exr",
        "b_v2.1001.EXR",
        "a.9.exr",
        "a.10.exr",
        ".hidden.0001.exr",
        "note.0001.txt",
        "one.exr",
    ):
        (tmp_path / name).touch()
    found = patterns_in(tmp_path, [".exr"])
    assert [(pattern.prefix, pattern.digits, pattern.suffix) for pattern in found] == [
        ("a.", 1, ".exr"),
        ("b_v2.", 4, ".EXR"),
        ("b_v2.", 4, ".exr"),
    ]


@pytest.mark.parametrize(
    ("name", "number"), [("p.0042.exr", 42), ("p_-3.exr", -3), ("p_v02.exr", None), ("p.exr", None), ("p-7.jpg", 7)]
)
def test_a_single_file_keeps_its_number(name: str, number: int | None) -> None:
    assert frame_number(Path(name)) == number


def test_ranges() -> None:
    assert parse_frames("1001-1100") == (1001, 1100)
    assert parse_frames(" 7 ") == (7, 7)
    assert parse_frames("-5--2") == (-5, -2)
    for text in ("", "x", "5-", "9-3", "1-2-3", "1.5"):
        with pytest.raises(MienError):
            parse_frames(text)
