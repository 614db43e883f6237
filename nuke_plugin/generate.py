"""Write the groups from the engine's declarations: ``python nuke_plugin/generate.py``."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "engine")]

from mien_nuke.groups import written  # noqa: E402

from mien.recipe import CONVERT  # noqa: E402

CHAIN = HERE / "mien_nuke" / "chain.json"


def main() -> None:
    """Write what changed, and say what that was."""
    CHAIN.write_text(json.dumps({"steps": [asdict(step) for step in CONVERT]}, indent=1) + "\n", "utf-8")
    for name in written(HERE.parent / "engine" / "mien" / "nodes.json", CHAIN, HERE / "groups"):
        print(name)


if __name__ == "__main__":
    main()
