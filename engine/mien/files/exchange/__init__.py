"""Tracks from and for other programs: one module for each foreign format."""

from mien.files.exchange.foreign import placed_in, read_foreign, write_foreign

__all__ = ["placed_in", "read_foreign", "write_foreign"]
