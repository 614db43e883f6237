"""Where the engine may write: below the job's folder, and below what whoever started the engine allowed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mien.serve.requests import RequestError


@dataclass(frozen=True)
class Fence:
    """Folders below which every job may write beside its own."""

    allowed: tuple[Path, ...] = ()

    def folder(self, text: str) -> Path:
        """A job's folder.

        Raises:
            RequestError: It is no absolute path, or not there.
        """
        path = Path(text)
        if not path.is_absolute():
            raise RequestError(f"The job's folder {text!r} is not absolute: write the whole path.")
        if not path.is_dir():
            raise RequestError(f"There is no folder {text}. Make it, or choose another one.")
        return path

    def output(self, text: str | Path, folder: Path) -> Path:
        """``text``, relative to the job's folder, as a path that may be written; links are followed.

        Raises:
            RequestError: It leads elsewhere.
        """
        path = folder / text
        real = path.resolve()
        if not any(real.is_relative_to(root.resolve()) for root in (folder, *self.allowed)):
            raise RequestError(
                f"{path} is outside the job's folder {folder}. Write below it, or start the engine with "
                f"--allow-path {real.parent}."
            )
        return path

    def outputs(self, folder: Path, inner: Sequence[str], job: Path) -> None:
        """Check a folder of outputs and the folders in it that files are written to.

        Raises:
            RequestError: One of them leads elsewhere.
        """
        self.output(folder, job)
        for name in inner:
            self.output(folder / name, job)
