"""The warm engine that hosts talk to all day: ``Session`` answers a ``View`` with what is ``Shown``."""

from mien.session.engine import Session
from mien.session.view import Cancelled, Shown, View

__all__ = ["Cancelled", "Session", "Shown", "View"]
