"""What all tests share: where media lie, and one thread per test process."""

import os
from pathlib import Path

import hypothesis
import pytest
import torch

# Two threads of one process that wait for each other on a busy machine take twenty times as long as one.
torch.set_num_threads(1)
# No test asserts a time, and a busy disk makes any example slow.
hypothesis.settings.register_profile("mien")
hypothesis.settings.load_profile("mien")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real pictures and third-party networks, which is not part of the project."""
    folder = Path(os.environ.get("MIEN_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "media").is_dir():
        pytest.skip("needs the media folder: set MIEN_SHARED")
    return folder
