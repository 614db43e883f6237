"""``mien sign`` and ``mien verify``: records of shots, and content credentials in movies and stills."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mien.credentials import MEDIA, Checked, Studio, embed, embedded, open_studio, who_signed
from mien.files.shot import MOVIES
from mien.job import ENGINE
from mien.progress import Note, Outcome, Tell
from mien.provenance import (
    ENDING,
    brief,
    changed_files,
    read_sidecar,
    shot_record,
    sidecar_of,
    sidecar_path,
    with_files,
    write_sidecar,
)
from mien.qc.shot import open_rendered, recipe_in
from mien.recipe import RecipeError
from mien.types import MienError

CERTIFICATE, KEY, PASSWORD, TRUST = "MIEN_CERTIFICATE", "MIEN_KEY", "MIEN_KEY_PASSWORD", "MIEN_TRUST"


@dataclass(frozen=True)
class SignArguments:
    """What ``mien sign`` was asked for.

    Attributes:
        path: Folder of a render, or its recipe.
        shot: Which shot of the folder, where it holds several.
        stills: Pictures and movies made of the shot that are to carry its record too.
        certificate, key: PEM; without them $MIEN_CERTIFICATE and $MIEN_KEY.
    """

    path: Path
    shot: str | None = None
    stills: tuple[Path, ...] = ()
    certificate: Path | None = None
    key: Path | None = None


def sign_shot(arguments: SignArguments, tell: Tell) -> Outcome:
    """Write the record of a shot, and put it into its movie; signed where there is a certificate.

    Raises:
        RecipeError: A certificate without a key, or the other way round.
        MienError: There is no render, or something cannot be signed or written.
    """
    studio = _studio(arguments)
    shot = open_rendered(recipe_in(arguments.path, arguments.shot))
    missing = [frame.frame for frame in shot.frames if frame.absent or frame.damaged]
    if missing:
        tell(Note(f"{len(missing)} frames are not whole: the record leaves out what is missing.", "warning"))
    movies = [
        path for path in sorted(shot.folder.glob(f"{shot.name}.*")) if path.suffix.lower() in MOVIES and path.is_file()
    ]
    record = shot_record(shot)
    written = [str(sidecar_path(shot.folder, shot.name))]
    if studio is None:
        tell(Note("There is no certificate: the record is not signed, and movies and stills carry none. "
                  "Give --certificate and --key, or set $MIEN_CERTIFICATE and $MIEN_KEY.", "warning"))  # fmt: skip
    for path in (*movies, *arguments.stills):
        if studio is None:
            continue
        if path in movies and path.suffix.lower() not in MEDIA:
            tell(Note(f"{path} is of a kind that carries no content credentials; the record covers the frames."))
            continue
        embed(path, studio, brief(record), path.name, f"mien {ENGINE}")
        written.append(str(path))
    # What carries the record is part of it as it is now.
    record = with_files(record, shot.folder, (*movies, *arguments.stills))
    write_sidecar(sidecar_path(shot.folder, shot.name), record, studio)
    return Outcome(tuple(written), done=len(record["files"]))


def verify_files(paths: Sequence[Path], trust: Sequence[Path], signed: bool, tell: Tell) -> Outcome:
    """Check records and content credentials: of folders, of frames, of movies and stills.

    What was changed, is missing, is signed wrongly or says nothing counts as failed; with ``signed`` also what
    nobody signed; and where certificates are trusted, what they do not vouch for.

    Raises:
        MienError: A path is not there.
    """
    anchors = tuple(trust) or tuple(Path(text) for text in os.environ.get(TRUST, "").split(os.pathsep) if text)
    failed: list[str] = []
    done = 0
    for path in _expanded(paths):
        wrong, said = _verified(path, anchors, signed)
        done += 1
        failed += [f"{path}: {text}" for text in wrong]
        if not wrong:
            tell(Note(f"{path}: {said}"))
    return Outcome((), done=done - len({text.partition(": ")[0] for text in failed}), failed=dict(enumerate(failed, 1)))


def _expanded(paths: Sequence[Path]) -> list[Path]:
    """Files to check: of a folder its records, and the movies beside them."""
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise MienError(f"There is no {path}. Check the path.")
        if not path.is_dir():
            found.append(path)
            continue
        records = sorted(path.glob(f"*{ENDING}"))
        if not records:
            raise MienError(f"{path} holds no *{ENDING}. Write one with mien sign {path}.")
        for record in records:
            name = record.name.removesuffix(ENDING)
            found += [record, *(one for one in sorted(path.glob(f"{name}.*")) if one.suffix.lower() in MOVIES & MEDIA)]
    return found


def _verified(path: Path, trust: tuple[Path, ...], signed: bool) -> tuple[list[str], str]:
    """What is wrong with one file, and what is right."""
    if path.name.endswith(ENDING):
        sidecar = read_sidecar(path, trust)
        wrong = [f"{name} {how}" for name, how in changed_files(sidecar).items()]
        faults, who = _judged(sidecar.checked, trust, signed)
        count = len(sidecar.record["files"])
        return faults + wrong, f"{who}, {count} files as they were"
    if path.suffix.lower() in MEDIA:
        found = embedded(path, trust)
        if found is None:
            return (["it carries no content credentials"] if signed else []), "it carries no content credentials"
        faults, who = _judged(found, trust, signed)
        return faults, f"{who}, unchanged; likeness: {found.record.get('likeness', 'not named')}"
    beside = sidecar_of(path)
    if beside is None:
        return ["no record beside it names it; write one with mien sign"], ""
    sidecar = read_sidecar(beside, trust)
    faults, who = _judged(sidecar.checked, trust, signed)
    name = path.absolute().relative_to(beside.absolute().parent).as_posix()
    how = changed_files(sidecar).get(name)
    return faults + ([f"it {how}"] if how else []), f"{who} by {beside.name}, unchanged"


def _judged(checked: Checked, trust: tuple[Path, ...], signed: bool) -> tuple[list[str], str]:
    if checked.wrong:
        return [checked.wrong], ""
    if not checked.signer and signed:
        return ["nobody signed it"], ""
    if checked.signer and trust and not checked.trusted:
        return [f"signed by {checked.signer}, for whom none of the trusted certificates vouches"], ""
    return [], who_signed(checked)


def _studio(arguments: SignArguments) -> Studio | None:
    certificate = arguments.certificate or _named(CERTIFICATE)
    key = arguments.key or _named(KEY)
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise RecipeError("A certificate and its key belong together: give both --certificate and --key.")
    return open_studio(certificate, key, os.environ.get(PASSWORD) or None)


def _named(variable: str) -> Path | None:
    text = os.environ.get(variable, "")
    return Path(text) if text else None
