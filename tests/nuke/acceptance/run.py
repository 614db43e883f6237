"""What mien's plug-in does in a real Nuke, as a table: ``nuke -t tests/nuke/acceptance/run.py [FOLDER]``.

Needs Nuke 14 or later with any licence, and what ``mien install nuke`` does. ``FOLDER`` holds a shot as ``mien demo -o
FOLDER`` makes it; without one only nodes and the engine's answer are tried. Writes ``mien_acceptance.json`` into the
folder that it is started in; README.md beside this file says where to send it.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import time
import traceback
from pathlib import Path

import nuke

HERE = str(Path(__file__).resolve().parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)

import checks  # noqa: E402


def main(words: list) -> int:
    """Run every check, print the table, write the report; returns how many failed."""
    shot = words[0] if words else ""
    rows = []
    for name, check in checks.ALL:
        nuke.scriptClear()
        began = time.time()
        with tempfile.TemporaryDirectory() as folder:
            try:
                said = check(folder, shot)
                result = "skip" if said is checks.SKIPPED else "pass"
                said = "" if said is None or said is checks.SKIPPED else str(said)
            except Exception as error:  # noqa: BLE001 - a check that fails in any way has failed
                result, said = "FAIL", f"{type(error).__name__}: {error}"
                traceback.print_exc()
        rows.append({"check": name, "result": result, "said": said, "seconds": round(time.time() - began, 2)})
    width = max(len(row["check"]) for row in rows)
    print("")
    for row in rows:
        print(f"{row['check']:<{width}}  {row['result']:<4}  {row['seconds']:7.2f} s  {row['said']}")
    failed = sum(row["result"] == "FAIL" for row in rows)
    print(f"\n{len(rows)} checks, {failed} failed")
    report = {
        "nuke": nuke.NUKE_VERSION_STRING,
        "python": sys.version.split()[0],
        "system": f"{platform.system()} {platform.machine()}",
        "gui": bool(nuke.GUI),
        "non-commercial": bool(nuke.env.get("nc")),
        "indie": bool(nuke.env.get("indie")),
        "nukex": bool(nuke.env.get("nukex")),
        "rows": rows,
    }
    Path("mien_acceptance.json").write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    return failed


if __name__ == "__main__":
    if main([word for word in sys.argv[1:] if Path(word).is_dir()]):
        sys.exit(1)
