"""Identity files: what is written comes back, what is damaged is refused, permissions are told."""

from datetime import date
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from mien.files.identities import IdentityFile, Likeness, read_identity, write_identity
from mien.types import MienError

SOME = IdentityFile(
    "warp", Likeness("Grace Hopper", "public domain"), {"colorspace": "ACEScg", "n": 1}, {"image": torch.rand(3, 4, 5)}
)


def test_round_trip(tmp_path: Path) -> None:
    digest = write_identity(tmp_path / "a.safetensors", SOME)
    back = read_identity(tmp_path / "a.safetensors")
    assert (back.kind, back.likeness, dict(back.facts)) == (SOME.kind, SOME.likeness, SOME.facts)
    assert torch.equal(back.tensors["image"], SOME.tensors["image"])
    assert back.digest == digest == write_identity(tmp_path / "b.safetensors", SOME)


def test_permissions_are_told() -> None:
    today = date(2026, 5, 1)
    assert Likeness("A", "contract 7", "2026-05-01").warnings(today) == ()
    assert "ended on 2026-04-30" in Likeness("A", "contract 7", "2026-04-30").warnings(today)[0]
    assert len(Likeness().warnings(today)) == 2


def test_other_safetensors_are_refused(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(MienError, match=r"weights\.safetensors is no mien identity"):
        read_identity(tmp_path / "weights.safetensors")


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_changed_byte_is_refused_or_read(tmp_path_factory, place: int, value: int) -> None:
    path = tmp_path_factory.mktemp("identity") / "a.safetensors"
    write_identity(path, SOME)
    content = bytearray(path.read_bytes())
    content[place % len(content)] = value
    path.write_bytes(content[: len(content) - place % 7])
    try:
        read_identity(path)
    except MienError as error:
        assert "a.safetensors" in str(error)
