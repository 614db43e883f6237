"""Identity files: tensors in safetensors, and a header that says what they are and whose face it is.

The header is JSON in the file's metadata under ``mien_identity``. Nothing in an identity file is executed.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mien.files.whole import read_small, write_whole
from mien.types import MienError

VERSION = 1
LIMIT = 8 << 30
"""Bytes of the largest identity that is read."""


@dataclass(frozen=True)
class Likeness:
    """Whose face an identity shows, and by which permission.

    Attributes:
        name: The person.
        release: The contract or release that covers the use; empty if none was named.
        until: Last day of the permission as YYYY-MM-DD; empty if it has no end.
    """

    name: str = ""
    release: str = ""
    until: str = ""

    def warnings(self, today: date) -> tuple[str, ...]:
        """What a supervisor should know about the permission, one sentence each."""
        found = []
        if not self.name:
            found.append("The identity does not say whose face it is: name the person with --likeness.")
        if not self.release:
            found.append("No release is named for this face: name the contract with --release.")
        if self.until and date.fromisoformat(self.until) < today:
            found.append(f"The release for this face ended on {self.until}.")
        return tuple(found)


@dataclass(frozen=True)
class IdentityFile:
    """What an identity file holds.

    Attributes:
        kind: Which converter reads the tensors, such as ``warp``.
        likeness: Whose face, by which permission.
        facts: What the converter needs besides tensors, and a record of how the identity was made.
        tensors: By name.
        digest: Hash of everything that determines a result; whose likeness it is does not change pictures,
            but it is part of every record, so it counts.
    """

    kind: str
    likeness: Likeness
    facts: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    digest: str = ""


def write_identity(path: Path, identity: IdentityFile) -> str:
    """Write an identity whole or not at all; returns its digest.

    Raises:
        MienError: The folder cannot be written.
    """
    header = {
        "version": VERSION,
        "kind": identity.kind,
        "likeness": asdict(identity.likeness),
        "facts": dict(identity.facts),
    }
    text = json.dumps(header, sort_keys=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in identity.tensors.items()}
    content = save(tensors, {"mien_identity": text})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)
    return _digest(content)


def read_identity(path: Path) -> IdentityFile:
    """Read an identity file.

    Raises:
        MienError: Missing, damaged, or not an identity of this version.
    """
    content = read_small(path, LIMIT, "identity")
    try:
        size = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + size])["__metadata__"]
        header = json.loads(metadata["mien_identity"])
        if header["version"] != VERSION:
            version = str(header["version"])[:40]
            raise MienError(f"{path} is an identity of version {version}; this mien reads {VERSION}.")
        likeness = Likeness(**{name: str(value) for name, value in header["likeness"].items()})
        if likeness.until:
            date.fromisoformat(likeness.until)
        kind, facts = str(header["kind"]), dict(header["facts"])
        tensors = load(content)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError, MemoryError) as error:
        reason = str(error)[:200] or "it cannot be read"
        raise MienError(f"{path} is no mien identity: {reason}. Make it again.") from error
    return IdentityFile(kind, likeness, facts, tensors, _digest(content))


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
