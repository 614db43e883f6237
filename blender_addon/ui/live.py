# SPDX-License-Identifier: GPL-3.0-or-later
"""Live: the shown frame is converted again whenever one of its settings changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def step(engine: Callable[[], Any]) -> bool:
    """One turn; whether something new is shown."""
    return False


def forget() -> None:
    """Nothing is awaited any more."""
