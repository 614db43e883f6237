"""``mien install nuke``: put the plugin where Nuke finds it, with what all hosts share with the engine.

The plugin is copied into a folder of the user's own, and one line of the user's ``init.py`` names that folder.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mien.client import engine_files, remember_python
from mien.commands.adapters import adapter, own_files, shared_files
from mien.files.whole import write_whole
from mien.progress import Note, Tell
from mien.types import MienError

PUBLISHED = frozenset({".py", ".gizmo", ".nk", ".json", ".md", ".png"})
MARK = "# mien: written by `mien install nuke`"
LINE = re.compile(rf"^.*{re.escape(MARK)}[^\n]*\n?", re.MULTILINE)
LIMIT = 1 << 20
"""Bytes of the largest init.py that is changed."""


def home() -> Path:
    """The user's folder of Nuke."""
    return Path.home() / ".nuke"


def contents() -> Iterator[tuple[str, bytes]]:
    """Name and content of every file of the installed plugin."""
    yield from own_files(adapter("nuke_plugin", "menu.py", "Nuke plugin"), PUBLISHED)
    for name, content in shared_files():
        yield f"vendor/mien/{name}", content


def build(folder: Path) -> None:
    """Write the plugin into a folder, whole or not at all; what was there of an older one is gone.

    Raises:
        MienError: The folder cannot be written, or holds something else.
    """
    if folder.exists() and not (folder / "menu.py").is_file():
        raise MienError(f"{folder} is no plugin of mien. Remove it, or choose another folder.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".mien.", dir=folder.parent) as made:
            new, old = Path(made) / "new", Path(made) / "old"
            for name, content in contents():
                path = new / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            if folder.exists():
                folder.replace(old)
            new.replace(folder)
    except OSError as error:
        raise MienError(f"The plugin cannot be written to {folder}: {error.strerror or error}.") from error


def install(python: Path, folder: Path | None, nuke: Path | None, tell: Tell) -> Path:
    """Copy the plugin and name its folder in Nuke's ``init.py``.

    Args:
        python: The Python that runs the engine: written down for the plugin to find.
        folder: Where the plugin goes; None for the user's folder of mien.
        nuke: The user's folder of Nuke; None for ``~/.nuke``.
        tell: Hears what was done.

    Raises:
        MienError: Something cannot be written.
    """
    place = (folder or engine_files()[-1].with_name("nuke")).absolute()
    build(place)
    remembered = remember_python(python)
    tell(Note(f"Wrote {place}. The plugin will find the engine by {remembered}.", "info"))
    script = (nuke or home()) / "init.py"
    line = f"import nuke; nuke.pluginAddPath({place.as_posix()!r})  {MARK}\n"
    before = _read(script)
    kept = LINE.sub("", before)
    _write(script, kept + ("\n" if kept and not kept.endswith("\n") else "") + line)
    tell(Note(f"Nuke finds it by this line in {script}: {line.strip()}", "info"))
    return place


def remove(folder: Path | None, nuke: Path | None, tell: Tell) -> None:
    """Take the line out of ``init.py`` again, and the plugin's folder away.

    Raises:
        MienError: Something cannot be written.
    """
    script = (nuke or home()) / "init.py"
    before = _read(script)
    after = LINE.sub("", before)
    if after != before:
        _write(script, after)
        tell(Note(f"Took the line of mien out of {script}.", "info"))
    place = (folder or engine_files()[-1].with_name("nuke")).absolute()
    if (place / "menu.py").is_file():
        try:
            shutil.rmtree(place)
        except OSError as error:
            raise MienError(f"{place} cannot be removed: {error.strerror or error}.") from error
        tell(Note(f"Removed {place}.", "info"))
    elif after == before:
        tell(Note("There is no plugin of mien to remove.", "info"))


def _read(script: Path) -> str:
    try:
        if script.is_file() and script.stat().st_size > LIMIT:
            raise MienError(f"{script} is too large to be an init.py. Add the plugin's folder to NUKE_PATH instead.")
        # Read as bytes are, whatever they mean: what is not ours goes back as it was.
        return script.read_bytes().decode("utf-8", "surrogateescape") if script.is_file() else ""
    except OSError as error:
        raise MienError(f"{script} cannot be read: {error.strerror}. Add the plugin's folder to NUKE_PATH.") from error


def _write(script: Path, text: str) -> None:
    mode = script.stat().st_mode if script.is_file() else None
    write_whole(script.resolve() if script.is_symlink() else script, text.encode("utf-8", "surrogateescape"))
    if mode is not None:
        script.chmod(mode)
