"""The record of a shot: whose face, by which release, made of what, with which files; signed or not.

It lies beside the shot as ``NAME.provenance.json``. Its signature covers the record, and the record the hash of every
file, so that no frame can be exchanged unnoticed.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mien.credentials import SOURCE_TYPE, Checked, Studio, check, sign
from mien.files.whole import content_hash, read_small, write_whole
from mien.job import open_fingerprints
from mien.progress import ranges
from mien.qc.shot import RenderedShot, origins
from mien.types import MienError

VERSION = 1
LARGEST = 256 << 20
ENDING = ".provenance.json"
SAID = ("likeness", "release", "release_until", "warning", "identity", "recipe", "engine", "plate", "plate_space")
"""What frames say of their origin that a record gathers."""


@dataclass(frozen=True)
class Sidecar:
    """A record as it was read, and what was found when it was checked."""

    path: Path
    record: Mapping[str, Any]
    checked: Checked


def shot_record(shot: RenderedShot) -> dict[str, Any]:
    """Everything that is known of where a shot comes from, as plain data.

    Each fact is one value, or where frames differ an object from value to frames. ``plate_files`` and ``files`` go
    from names to hashes (BLAKE3, half its length): of the plate as the render saw it, and of what was rendered.
    """
    facts: dict[str, Any] = {}
    for name in SAID:
        groups = {value: frames for value, frames in origins(shot.frames, name).items() if value}
        if len(groups) == 1:
            facts[name] = next(iter(groups))
        elif groups:
            facts[name] = {value: ranges(frames) for value, frames in groups.items()}
        elif shot.likeness.get(name):
            facts[name] = shot.likeness[name]
    prints = open_fingerprints(shot.folder / "solve" / "plate.json").known
    return {
        "mien_record": VERSION,
        "shot": shot.name,
        "frames": [shot.recipe.plate.first, shot.recipe.plate.last],
        "digital_source_type": SOURCE_TYPE,
        **facts,
        "steps": [asdict(step) for step in shot.recipe.steps],
        "flags": [vars(one) for one in shot.said],
        "plate_files": {Path(name).name: str(known[2]) for name, known in sorted(prints.items())},
        "files": {
            path.relative_to(shot.folder).as_posix(): content_hash(path)
            for frame in shot.frames
            for path in frame.files.values()
        },
    }


def with_files(record: Mapping[str, Any], folder: Path, paths: Sequence[Path]) -> dict[str, Any]:
    """A record that also names these files of its folder; others are left out."""
    inside = [path for path in paths if path.absolute().is_relative_to(folder.absolute())]
    more = {path.absolute().relative_to(folder.absolute()).as_posix(): content_hash(path) for path in inside}
    return {**record, "files": {**record["files"], **more}}


def brief(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as movies and stills carry it: without the files, of which there may be thousands."""
    return {name: value for name, value in record.items() if name not in ("files", "plate_files", "steps")}


def sidecar_path(folder: Path, name: str) -> Path:
    """Where the record of a shot lies."""
    return folder / f"{name}{ENDING}"


def write_sidecar(path: Path, record: Mapping[str, Any], studio: Studio | None) -> None:
    """Write a record, signed where there is a studio to sign it.

    Raises:
        MienError: The file cannot be written.
    """
    signature = None
    if studio is not None:
        value = base64.b64encode(sign(studio, _signed(record))).decode()
        signature = {"algorithm": studio.algorithm, "certificates": studio.certificates, "value": value}
    text = json.dumps({"record": dict(record), "signature": signature}, indent=1, ensure_ascii=False, default=list)
    write_whole(path, f"{text}\n".encode())


def read_sidecar(path: Path, trust: Sequence[Path] = ()) -> Sidecar:
    """Read a record and check its signature; the files it names are not looked at.

    Raises:
        MienError: It is missing or damaged.
    """
    content = read_small(path, LARGEST, "record of a shot")
    try:
        said = json.loads(content)
        record, signature = dict(said["record"]), said["signature"]
        if record["mien_record"] != VERSION or not isinstance(record["files"], dict):
            raise ValueError("another version")
        if signature is None:
            return Sidecar(path, record, Checked())
        value, certificates = base64.b64decode(signature["value"], validate=True), str(signature["certificates"])
        checked = check(_signed(record), value, certificates, trust)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MienError(f"{path} is no record of a shot, or damaged: {str(error)[:120]}. Write it again.") from error
    return Sidecar(path, record, checked)


def changed_files(sidecar: Sidecar) -> dict[str, str]:
    """Files of a record that are not as they were when it was written: what is wrong, by name."""
    folder = sidecar.path.parent
    wrong: dict[str, str] = {}
    for name, known in sidecar.record["files"].items():
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
            wrong[name] = "lies outside the folder"
        elif not path.is_file():
            wrong[name] = "is missing"
        elif content_hash(path) != known:
            wrong[name] = "was changed"
    return wrong


def sidecar_of(path: Path) -> Path | None:
    """The record that names a frame, looked for beside it and above; None where there is none."""
    for folder in (path.absolute().parent, path.absolute().parent.parent):
        for found in sorted(folder.glob(f"*{ENDING}")):
            name = path.absolute().relative_to(folder).as_posix()
            try:
                if name in read_sidecar(found).record["files"]:
                    return found
            except MienError:
                continue
    return None


def _signed(record: Mapping[str, Any]) -> bytes:
    """The bytes of a record that are signed, which spaces and the order of names do not change."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), default=list).encode()
