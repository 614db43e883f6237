#!/usr/bin/env python3
"""Start the fake host: ``run.py [-t] [--nc] SCRIPT ARGUMENTS...``.

As Nuke does, it runs ``init.py`` of every folder of ``NUKE_PATH``, with a GUI also ``menu.py``, then the script.
``-t``: a terminal without a GUI. ``--nc``: Python reaches ten nodes.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(words: list[str]) -> None:
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    from nuke._session import session

    import nuke

    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option == "-t":
            session.gui = nuke.GUI = nuke.INTERACTIVE = nuke.env["gui"] = nuke.env["interactive"] = False
        elif option == "--nc":
            session.limited = nuke.env["nc"] = True
        else:
            raise SystemExit(f"there is no option {option}")
    folders = [folder for folder in os.environ.get("NUKE_PATH", "").split(os.pathsep) if folder]
    for name in ("init.py", "menu.py") if session.gui else ("init.py",):
        done = set()
        # Folders that an init.py adds have an init.py of their own.
        while waiting := [folder for folder in (*folders, *session.plugin_path) if folder not in done]:
            done.add(waiting[0])
            if waiting[0] not in session.plugin_path:
                session.plugin_path.append(waiting[0])
            if waiting[0] not in sys.path:
                sys.path.append(waiting[0])
            file = Path(waiting[0]) / name
            if file.is_file():
                exec(compile(file.read_text("utf-8"), str(file), "exec"), {"__file__": str(file), "__name__": name})
    sys.argv = words
    runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
