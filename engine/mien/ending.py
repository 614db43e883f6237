"""How every command ends."""

from typing import Any

import typer


def conclude(outcome: Any, tell: Any) -> None:
    """Tell how it went, and leave with 1 if something failed."""
    tell(outcome)
    if outcome.failed:
        raise typer.Exit(1)
