"""``mien install``: what hosts need to find the engine, and the plugins themselves."""

import sys
from pathlib import Path
from typing import Annotated

import typer

install = typer.Typer(no_args_is_help=True, help="Let hosts find the engine; install the plugins of Nuke and Blender.")


@install.command()
def engine() -> None:
    """Write down for hosts which Python runs the engine: this one."""
    from mien.client import remember_python

    print(f"Hosts will find {sys.executable}: wrote {remember_python(sys.executable)}.")


@install.command()
def nuke(
    folder: Annotated[Path | None, typer.Option(help="Folder for the plugin; else mien's own.")] = None,
    home: Annotated[Path | None, typer.Option(help="Your folder of Nuke; else ~/.nuke.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the plugin and its line away again.")] = False,
) -> None:
    """Copy the Nuke plugin, and add the one line to init.py by which Nuke finds it."""
    from mien.commands import install_nuke
    from mien.progress import teller

    with teller(as_json=False) as tell:
        if remove:
            install_nuke.remove(folder, home, tell)
        else:
            install_nuke.install(Path(sys.executable), folder, home, tell)


@install.command()
def blender(
    program: Annotated[Path | None, typer.Option("--blender", help="Blender itself, to install into.")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the extension's zip.")] = Path(),
) -> None:
    """Build the Blender extension's zip; with --blender also check and install it there."""
    from mien.commands import install_blender
    from mien.progress import teller

    with teller(as_json=False) as tell:
        install_blender.install(Path(sys.executable), program, output, tell)
