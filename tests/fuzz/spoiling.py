"""Whole files, spoiled: bytes exchanged and cut, values in documents exchanged, taken away and added."""

import copy
import json
import random
import struct
import zlib
from typing import Any

ODD: list[Any] = [
    None, True, 0, -1, 1.5, 1e308, 10**30, "", "x", "../../etc", "\0", "\ud800", "é" * 50, [], [[]], {}, [1, 2], [3, 1],
    [10**9, 10**9], {"a": {"b": []}}, [None], ["layer"] * 20, "/", "/dev/null", "/dev/zero", "/proc/self/mem", -0.0,
    1003,
]  # fmt: skip
NUMBERS: list[Any] = [
    float("inf"), float("nan"), -(2**31), 2**31, 2**53, 2**63, 2**64, -(10**400), 1e-320, "1e999", "9" * 5000,
    [0] * 300,
]  # fmt: skip
EDGES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63, 2**64 - 1]
NAMES = ("later", "force", "frames", "x", "version", "mien", "", "__metadata__")


def odd(chance: random.Random, values: list[Any]) -> object:
    """Something that hardly anybody expects."""
    return copy.deepcopy(chance.choice(values))


def spoiled(document: Any, chance: random.Random, values: list[Any]) -> Any:
    """A document with one or two things in it, at any depth, exchanged, taken away or added."""
    document = copy.deepcopy(document)
    for _ in range(chance.choice((0, 1, 1, 1, 2))):
        place = document
        if not isinstance(place, dict | list):
            return odd(chance, values)
        while True:
            names: list[Any] = list(place) if isinstance(place, dict) else list(range(len(place)))
            inner = [name for name in names if isinstance(place[name], dict | list) and place[name]]
            if not inner or chance.random() < 0.4:
                break
            place = place[chance.choice(inner)]
        if not names or chance.random() < 0.15:
            if isinstance(place, dict):
                place[chance.choice(NAMES)] = odd(chance, values)
            else:
                place.append(odd(chance, values))
        elif chance.random() < 0.2:
            del place[chance.choice(names)]
        else:
            place[chance.choice(names)] = odd(chance, values)
    return document


def spoiled_bytes(content: bytes, chance: random.Random) -> bytes:
    """A file with a few bytes exchanged, numbers at the edges of their types put in, pieces doubled or cut away."""
    spoilt = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        at = chance.randrange(len(spoilt) + 1)
        # Headers come first, and decide more than what follows.
        if chance.random() < 0.5:
            at = min(at, chance.randrange(512))
        way = chance.randrange(7)
        if way == 0:
            spoilt[at : at + 1] = bytes([chance.randrange(256)])
        elif way == 1 and at < len(spoilt):
            spoilt[at] ^= 1 << chance.randrange(8)
        elif way == 2:
            code = chance.choice(("<B", "<H", "<I", "<Q", ">H", ">I", ">Q"))
            packed = struct.pack(code, chance.choice(EDGES) & ((1 << 8 * struct.calcsize(code)) - 1))
            spoilt[at : at + len(packed)] = packed
        elif way == 3:
            del spoilt[at : at + chance.choice((1, 2, 4, 16, 256))]
        elif way == 4:
            other = chance.randrange(len(spoilt) + 1)
            spoilt[at:at] = spoilt[other : other + chance.choice((1, 4, 16, 64))]
        elif way == 5:
            spoilt[at:at] = chance.randbytes(chance.choice((1, 2, 4, 16)))
        elif chance.random() < 0.2:
            del spoilt[at:]
    return bytes(spoilt)


def spoiled_json(content: bytes, chance: random.Random) -> bytes:
    """A JSON file with values exchanged, now and then with bytes exchanged too."""
    try:
        text = json.dumps(spoiled(json.loads(content), chance, ODD + NUMBERS)).encode()
    except (ValueError, RecursionError, UnicodeError):
        return spoiled_bytes(content, chance)
    if chance.random() < 0.05:
        return b"[" * chance.choice((500, 5000, 200_000))
    return spoiled_bytes(text, chance) if chance.random() < 0.15 else text


def spoiled_safetensors(content: bytes, chance: random.Random) -> bytes:
    """A safetensors file whose header, the JSON inside its metadata, or bytes are spoiled; its length fits again."""
    if chance.random() < 0.2 or len(content) < 9:
        return spoiled_bytes(content, chance)
    size = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + size])
        inner = header.get("__metadata__")
        named = list(inner) if isinstance(inner, dict) else []
        if named and chance.random() < 0.7:
            name = chance.choice(named)
            inner[name] = json.dumps(spoiled(json.loads(inner[name]), chance, ODD + NUMBERS))
        else:
            header = spoiled(header, chance, ODD + NUMBERS)
        text = json.dumps(header).encode()
    except (ValueError, AttributeError, TypeError, RecursionError, UnicodeError):
        return spoiled_bytes(content, chance)
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def spoiled_zlib(content: bytes, chance: random.Random) -> bytes:
    """A compressed file, spoiled inside."""
    try:
        return zlib.compress(spoiled_bytes(zlib.decompress(content), chance), 1)
    except zlib.error:
        return spoiled_bytes(content, chance)
