"""A training's record as TensorBoard reads it: protocol buffers in framed records, written without its packages."""

import struct

from mien.train.record import Record

_POLYNOMIAL = 0x82F63B78


def _table() -> list[int]:
    values = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        values.append(value)
    return values


_TABLE = _table()


def checksum(content: bytes) -> int:
    """CRC-32C, turned and offset as the record format wants it."""
    value = 0xFFFFFFFF
    for byte in content:
        value = _TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    value ^= 0xFFFFFFFF
    return (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def framed(content: bytes) -> bytes:
    """One record: length, its checksum, content, its checksum."""
    length = struct.pack("<Q", len(content))
    return length + struct.pack("<I", checksum(length)) + content + struct.pack("<I", checksum(content))


def events(record: Record) -> bytes:
    """All losses and held-out figures as one event file; steps stand for seconds, so that equal records are equal."""
    begin = _fixed(1, 0.0) + _bytes(3, b"brain.Event:2")
    parts = [framed(begin)]
    for step, terms in record.losses:
        parts += [framed(_event(step, f"loss/{name}", value)) for name, value in terms.items()]
    parts += [framed(_event(step, "held out, dB", value)) for step, value in record.held]
    return b"".join(parts)


def _event(step: int, tag: str, value: float) -> bytes:
    scalar = _bytes(1, tag.encode()) + b"\x15" + struct.pack("<f", value)
    return _fixed(1, float(step)) + b"\x10" + _varint(step) + _bytes(5, _bytes(1, scalar))


def _fixed(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
