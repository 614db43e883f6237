"""Files of sequences, found by their names as artists give them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.files.sequence import pattern_of
from mien.hosts.frames import file_at, frames_of, parsed, spoken


def touch(folder, *names):
    for name in names:
        (folder / name).touch()


def test_a_file_belongs_to_the_sequence_of_its_name(tmp_path):
    touch(tmp_path, *(f"sh010_v002.{n}.exr" for n in (1001, 1002, 1004)), "sh010_v002.exr", "sh010_v002.1001.txt")
    found = frames_of(str(tmp_path / "sh010_v002.1002.exr"))
    assert found.pattern == str(tmp_path / "sh010_v002.%04d.exr")
    assert found.numbers == (1001, 1002, 1004) and found.range == (1001, 1004) and found.missing == (1003,)
    for name in ("sh010_v002.%04d.exr", "sh010_v002.####.exr"):
        assert frames_of(str(tmp_path / name)) == found
    assert file_at(found.pattern, 1003) == file_at(str(tmp_path / "sh010_v002.####.exr"), 1003)


def test_a_single_file_a_movie_and_a_version_are_no_sequences(tmp_path):
    touch(tmp_path, "still.exr", "a_v001.mov", "a_v002.mov", "b.0007.exr")
    for name in ("still.exr", "a_v001.mov", "b.0007.exr"):
        found = frames_of(str(tmp_path / name))
        assert found.pattern == str(tmp_path / name) and found.numbers == () and found.range is None
    assert file_at(str(tmp_path / "still.exr"), 5) == str(tmp_path / "still.exr")
    assert frames_of(str(tmp_path / "nowhere" / "p.%04d.exr")).numbers == ()


def test_padding_tells_frames_apart(tmp_path):
    touch(tmp_path, "p.9.exr", "p.10.exr", "p.0011.exr", "q.0001.exr", "q.9999.exr", "q.10000.exr", "q.00001.exr")
    assert frames_of(str(tmp_path / "p.%d.exr")).numbers == (9, 10)
    assert frames_of(str(tmp_path / "q.%04d.exr")).numbers == (1, 9999, 10000)


def test_names_mean_the_same_to_the_host_and_to_the_engine(tmp_path):
    names = [f"p.{n:04d}.exr" for n in (0, 7, 42, 1001, 12345)] + ["p.-0003.exr", "p.042.exr", "p.1e3.exr", "p..exr"]
    touch(tmp_path, *names)
    for pattern in ("p.%04d.exr", "p.####.exr", "p.%d.exr", "p.%03d.exr"):
        engine = pattern_of(tmp_path / pattern)
        assert frames_of(str(tmp_path / pattern)).numbers == engine.frames()
        for frame in (-3, 0, 7, 12345):
            assert file_at(str(tmp_path / pattern), frame) == str(engine.path(frame))


@given(st.sets(st.integers(0, 300), max_size=60))
def test_what_is_said_can_be_read_back(frames):
    assert parsed(spoken(frames, most=10**6)) == tuple(sorted(frames))


def test_ranges_in_words():
    assert spoken([1005, 1006, 1007, 1010]) == "1005-1007, 1010"
    assert spoken(range(0, 40, 2), most=2) == "0, 2 and 18 more"
    for text in ("1-", "a", "5-3", "1-99999999"):
        with pytest.raises(ValueError):
            parsed(text)
