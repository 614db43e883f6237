"""mien in Nuke: groups of native nodes, and the engine beside them. Standard library only, Python 3.9.

``text``, ``groups`` and ``comp`` work without Nuke; the other modules use it, and import it when they are called.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
VERSION = 1
"""Version of the groups; a newer plug-in knows by it what an older script holds."""


def find_mien() -> None:
    """Make ``mien`` importable: what was installed beside this package, else a checkout's engine."""
    for folder in (HERE.parent / "vendor", HERE.parent.parent / "engine"):
        if (folder / "mien" / "client.py").is_file():
            if str(folder) not in sys.path:
                sys.path.insert(0, str(folder))
            return


find_mien()
