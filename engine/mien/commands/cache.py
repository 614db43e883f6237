"""``mien cache``: what is kept on disk between runs."""

import json
from pathlib import Path

from mien.files.cache import open_cache


def show_cache(folder: Path | None, clear: bool, as_json: bool) -> None:
    """Show the cache, or clear it first."""
    found = open_cache(folder)
    freed = found.clear() if clear else 0
    facts = found.facts()
    if as_json:
        print(json.dumps({**facts, "freed": freed}, indent=1))
        return
    if clear:
        print(f"Cleared {_size(freed)}.")
    print(facts["folder"])
    print(f"{facts['entries']} conversions, {_size(facts['bytes'])} of at most {_size(facts['limit'])}.")


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
