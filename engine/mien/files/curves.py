"""Curves on disk: one value per frame, as JSON that a person can read and compare.

::

    {"mien_curves": 1, "type": "Grade", "made_by": "...", "frames": {"1001": {"key": "...", "value": {...}}}}

``key`` is the hash of everything that the value of that frame depends on.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from mien.files.whole import read_small, write_pieces
from mien.types import ColorSample, Detail, DetailSample, Grade, MienError, Regions, RegionSample, Table

VERSION = 1
LIMIT = 1 << 30
"""Bytes of the largest file of curves that is read."""
TYPES: Mapping[str, type] = {
    "Grade": Grade,
    "ColorSample": ColorSample,
    "White": float,
    "DetailSample": DetailSample,
    "Detail": Detail,
    "RegionSample": RegionSample,
    "Regions": Regions,
}


def write_curves(path: Path, kind: str, values: Mapping[int, tuple[str, Any]], made_by: str) -> None:
    """Write one (key, value) per frame; a value of None says that the frame has no face.

    Raises:
        MienError: The folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_pieces(path, _written(kind, values, made_by))


def _written(kind: str, values: Mapping[int, tuple[str, Any]], made_by: str) -> Iterator[bytes]:
    head = json.dumps({"mien_curves": VERSION, "type": kind, "made_by": made_by})[1:-1]
    yield f'{{{head}, "frames": {{'.encode()
    for count, (frame, (key, value)) in enumerate(sorted(values.items())):
        plain = asdict(value) if hasattr(value, "__dataclass_fields__") else value
        yield f'{"," * (count > 0)}\n  "{frame}": {json.dumps({"key": key, "value": plain}, default=list)}'.encode()
    yield b"\n}}\n"


def read_curves(path: Path) -> tuple[str, dict[int, tuple[str, Any]]]:
    """The type of the values, and (key, value) by frame.

    Raises:
        MienError: The file is missing, damaged or of another version.
    """
    content = read_small(path, LIMIT, "file of curves")
    try:
        document = json.loads(content)
        if document["mien_curves"] != VERSION:
            raise ValueError(f"it has version {document['mien_curves']!r}, this mien reads version {VERSION}")
        kind = document["type"]
        values = {
            int(frame): (str(entry["key"]), _value(TYPES[kind], entry["value"]))
            for frame, entry in document["frames"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError) as error:
        reason = str(error)[:200]
        raise MienError(f"{path} is no whole file of curves: {reason}. Delete it to have it solved again.") from error
    return kind, values


def _value(kind: Any, plain: Any) -> Any:
    if plain is None:
        return None
    if kind is float:
        return float(plain)
    given = {field.name: _field(field.type, plain[field.name]) for field in fields(kind) if field.name in plain}
    return kind(**given)


def _field(kind: Any, plain: Any) -> Any:
    if kind is str:
        return str(plain)
    if is_dataclass(kind):
        return _value(kind, plain)
    if kind is Table:
        return Table(_tuples(plain))
    if kind == tuple[int, ...]:
        return tuple(int(value) for value in plain)
    return _tuples(plain)


def _tuples(plain: Any) -> Any:
    if isinstance(plain, list):
        return tuple(_tuples(value) for value in plain)
    return float(plain)
