"""What a training is for, as files: the identity, and the curves beside its states."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mien.files.identities import IdentityFile, Likeness, write_identity
from mien.files.whole import write_whole
from mien.train.events import events
from mien.train.record import Record, page


@dataclass(frozen=True)
class Product:
    """Where a training's results go: the identity, whose face it shows, and the page of curves."""

    identity: Path
    likeness: Likeness
    curves: Path

    def write(
        self,
        kind: str,
        facts: Mapping[str, Any],
        training: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
        record: Record,
        step: int,
        told: Mapping[str, str],
    ) -> None:
        """Write identity and curves as they are after a step.

        ``facts`` are what the identity's converter needs, ``training`` the settings that it was made with, ``told``
        what the page says of it beside the steps.

        Raises:
            MienError: They cannot be written; what was written before is still there.
        """
        measured = {
            "steps": step,
            "held_out": record.held[-1][1] if record.held else None,
            "losses": record.losses[-1][1] if record.losses else {},
        }
        whole = {**facts, "training": {**training, **measured}}
        write_identity(self.identity, IdentityFile(kind, self.likeness, whole, dict(tensors)))
        write_whole(self.curves, page(record, self.identity.name, {"steps": str(step), **told}).encode())
        write_whole(self.curves.with_name("events.out.tfevents.mien"), events(record))
