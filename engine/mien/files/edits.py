"""The text of an edit: from .otio, .otioz, .otiod and .edl, of a size and depth that a parser in C++ survives.

Public: ``edit_text``, ``BUNDLES``.
"""

import json
import re
import zipfile
import zlib
from pathlib import Path

from mien.files.whole import read_small
from mien.types import MienError

BUNDLES = (".otioz", ".otiod")
"""Endings of edits that lie in a zip file or in a folder, with their media."""
LARGEST = 1 << 27
"""Bytes of the largest edit that is read."""
DEEPEST = 200
"""Brackets within brackets: a stack in a track in a stack takes a dozen."""
CONTENT = "content.otio"
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\Z)', re.DOTALL)
_RETIME = re.compile(r"^M2\s.*$", re.MULTILINE)
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))


def edit_text(path: Path) -> str:
    """What an edit says: JSON of OpenTimelineIO, or the lines of an .edl.

    Raises:
        MienError: It is missing, damaged, too large, or nested too deep.
    """
    kind = path.suffix.lower()
    if kind == ".otioz":
        content = _zipped(path)
    else:
        content = read_small(path / CONTENT if kind == ".otiod" else path, LARGEST, "edit")
    if kind == ".edl":
        return _lines(content)
    if _too_deep(content):
        raise MienError(f"{path} is nested more than {DEEPEST} deep. Flatten it, and export it again.")
    try:
        text = content.decode("utf-8-sig")
        # OpenTimelineIO's parser is in C++, and some of what is no JSON ends the process there.
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MienError(f"{path} is no edit that can be read: {error}. Export it again.") from error
    return text


def _zipped(path: Path) -> bytes:
    try:
        with zipfile.ZipFile(path) as bundle, bundle.open(CONTENT) as stream:
            content = stream.read(LARGEST + 1)
    except OSError as error:
        raise MienError(f"Cannot read {path}: {error.strerror or error}. Check the path.") from error
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise MienError(f"{path} is no .otioz that can be read: {str(error)[:200]}. Export it again.") from error
    if len(content) > LARGEST:
        raise MienError(f"{path} holds more than {LARGEST >> 20} MiB, too large for an edit. Check the path.")
    return content


def _lines(content: bytes) -> str:
    """Old systems write names in the code page of their Windows."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", "replace")
    # The time of a retime is not looked at, but must be without drop frames to be read.
    return _RETIME.sub(lambda line: line[0].replace(";", ":"), text)


def _too_deep(content: bytes) -> bool:
    brackets = _STRING.sub(b"", content).translate(None, _NO_BRACKET)
    for _ in range(DEEPEST):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    # What never closes is no JSON: the parser says where, if it is no deeper than what it may be.
    return b"[]" in brackets or b"{}" in brackets or len(brackets) > DEEPEST
