# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON files that an artist's button writes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any


def write(path: Path, document: Mapping[str, Any]) -> Path:
    """Write a file, whole or not at all; one that is there is replaced.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def writing(path: Path, document: Mapping[str, Any]) -> Future[Path]:
    """Write a file as ``write`` does, in a thread: a busy disk takes tens of milliseconds of who pressed a button."""
    thread = ThreadPoolExecutor(1, "mien document")
    try:
        return thread.submit(write, path, document)
    finally:
        thread.shutdown(wait=False)
