"""The command line of those who judge and hand over: ``mien qc``, ``mien sign``, ``mien verify``."""

from pathlib import Path
from typing import Annotated

import typer

from mien.ending import conclude
from mien.recipe import RecipeError

Json = Annotated[bool, typer.Option("--json", help="Tell progress as JSON lines on stdout.")]


def qc(
    folder: Annotated[Path, typer.Argument(help="Folder that mien convert -o wrote, or its recipe.")],
    shot: Annotated[str | None, typer.Option(help="Which shot, where the folder holds several.")] = None,
    output: Annotated[Path | None, typer.Option("-o", help="Page to write; else SHOT.qc.html in the folder.")] = None,
    fail_on: Annotated[str, typer.Option(help="Exit with 1 on these: any, missing, flicker, ...; with commas.")] = "",
    limit: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="When to flag a frame.")] = None,
    flag: Annotated[list[str] | None, typer.Option(metavar="FRAME=WORDS", help="Flag a frame yourself.")] = None,
    by: Annotated[str, typer.Option(help="Who flags it.")] = "",
    json: Json = False,
) -> None:
    """Write a page on what was rendered: frames that need another look first, a wipe, curves, provenance."""
    from mien.commands.qc import QcArguments, check_shot
    from mien.progress import teller

    arguments = QcArguments(
        path=folder,
        shot=shot,
        output=output,
        fail_on=tuple(word.strip() for word in fail_on.split(",") if word.strip()),
        limits=dict(_pairs(limit, "--limit")),
        flags=_pairs(flag, "--flag"),
        by=by,
    )
    with teller(json) as tell:
        conclude(check_shot(arguments, tell), tell)


def sign(
    folder: Annotated[Path, typer.Argument(help="Folder that mien convert -o wrote, or its recipe.")],
    files: Annotated[list[Path] | None, typer.Argument(help="Stills and movies of it, to carry its record.")] = None,
    shot: Annotated[str | None, typer.Option(help="Which shot, where the folder holds several.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="The studio's PEM chain; else $MIEN_CERTIFICATE.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key, PEM; else $MIEN_KEY.")] = None,
    json: Json = False,
) -> None:
    """Write the record of a shot; with a certificate, sign it and put content credentials into its movie."""
    from mien.commands.verify import SignArguments, sign_shot
    from mien.progress import teller

    with teller(json) as tell:
        conclude(sign_shot(SignArguments(folder, shot, tuple(files or ()), certificate, key), tell), tell)


def verify(
    paths: Annotated[list[Path], typer.Argument(help="Folders of renders, frames, movies, stills.")],
    trust: Annotated[list[Path] | None, typer.Option(help="PEM of whom you trust; else $MIEN_TRUST.")] = None,
    signed: Annotated[bool, typer.Option("--signed", help="Also fail on what nobody signed.")] = False,
    json: Json = False,
) -> None:
    """Check that what was rendered is unchanged, and who signed it."""
    from mien.commands.verify import verify_files
    from mien.progress import teller

    with teller(json) as tell:
        conclude(verify_files(paths, trust or (), signed, tell), tell)


def _pairs(texts: list[str] | None, option: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise RecipeError(f"{option} {text!r}: write it with = between its two parts.")
        pairs.append((name, value))
    return tuple(pairs)
