"""``mien install blender``: build the extension's zip, let Blender check it, and install it.

The zip is self-contained: the extension's own files, and in its folder ``mien`` what all hosts share with the engine.
"""

import os
import subprocess
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

from mien.client import remember_python
from mien.commands.adapters import adapter, own_files, package, shared_files
from mien.progress import Note, Tell
from mien.types import MienError

PUBLISHED = (".py", ".toml", ".md")
STAMP = (1980, 1, 1, 0, 0, 0)
PATIENCE = 180.0


def source() -> Path:
    """The extension's folder.

    Raises:
        MienError: This installation brings none.
    """
    return adapter("blender_addon", "blender_manifest.toml", "Blender extension")


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file of the zip, in order."""
    yield from own_files(folder, PUBLISHED)
    for name, content in shared_files():
        # Within the extension the engine's package lies deeper, so its modules name each other from where they are.
        yield f"mien/{name}", content.replace(b"from mien.hosts.", b"from .")
    for license_file in (package().parents[1] / "LICENSE", package() / "LICENSE"):
        if license_file.is_file():
            yield "mien/LICENSE", license_file.read_bytes()
            break


def build_zip(output: Path) -> Path:
    """Write the extension's zip into a folder; the same files give the same bytes.

    Raises:
        MienError: The manifest is wrong, or the folder cannot be written.
    """
    folder = source()
    manifest = tomllib.loads((folder / "blender_manifest.toml").read_text("utf-8"))
    path = output / f"{manifest['id']}-{manifest['version']}.zip"
    try:
        output.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in contents(folder):
                archive.writestr(zipfile.ZipInfo(name, STAMP), content, zipfile.ZIP_DEFLATED)
        partial.replace(path)
    except OSError as error:
        raise MienError(f"The extension cannot be written to {output}: {error}.") from error
    return path


def blender_says(blender: Path, *words: str) -> str:
    """What Blender's extension tool prints.

    Raises:
        MienError: It is not there, takes too long, or refuses.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    try:
        done = subprocess.run(
            [str(blender), "--background", "--command", "extension", *words],
            env=environment, text=True, errors="replace", timeout=PATIENCE, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MienError(f"{blender} cannot be used: {error}. Give the path of Blender 4.5 or newer.") from error
    if done.returncode != 0:
        raise MienError(f"{blender} refuses the extension ({words[0]}):\n{done.stdout.strip()[-2000:]}")
    return done.stdout


def install(python: Path, blender: Path | None, output: Path, tell: Tell) -> Path:
    """Build the zip; with ``blender`` also check it there, install it and switch it on.

    Args:
        python: The Python that runs the engine: written down for the extension to find.
        blender: The program; None only builds.
        output: Folder for the zip.
        tell: Hears what was done.

    Raises:
        MienError: It cannot be built or installed.
    """
    archive = build_zip(output)
    remembered = remember_python(python)
    tell(Note(f"Wrote {archive}. The extension will find the engine by {remembered}.", "info"))
    if blender is None:
        tell(Note("In Blender: Edit > Preferences > Get Extensions > Install from Disk, and choose that file.", "info"))
        return archive
    blender_says(blender, "validate", str(archive))
    blender_says(blender, "install-file", "-r", "user_default", "--enable", str(archive))
    tell(Note(f"Installed and switched on in {blender}.", "info"))
    return archive
