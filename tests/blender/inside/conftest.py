"""What tests within Blender share: the extension installed from its zip, an empty scene, renders read as floats.

Nothing of Blender is imported here: plain pytest may pass by.
"""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def facts():
    """Where the made shot is: its folder, and what ``facts.json`` there says."""
    folder = Path(os.environ["MIEN_SHOT"])
    return SimpleNamespace(folder=folder, **json.loads((folder / "facts.json").read_text()))


@pytest.fixture(scope="session")
def installed():
    """The extension as an artist has it: its zip installed and switched on; the module's name."""
    import host

    return host.install(os.environ["MIEN_ZIP"])


@pytest.fixture
def scene(installed):
    """A new file with an empty scene, the extension switched on."""
    import host

    return host.fresh_scene()
