"""A host asks the engine for a bundle: the same that ``mien farm`` writes, below the folder of its job."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mien.client import Engine, EngineError
from mien.commands.farm import FarmArguments, farm_recipe
from shots import FIRST, make_shot

PATIENCE = 120.0
OPENJD = Path(sys.executable).with_name("openjd")


def test_a_host_gets_the_bundle_that_the_command_line_writes(tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "a shot", 5, write=("layer",))
    place = shot.recipe.parent
    with Engine(sys.executable, ("--device", "cpu", "--no-disk-cache")) as engine:
        asked = {"recipe": str(shot.recipe), "folder": str(place), "device": "cpu"}
        done = engine.call("farm", PATIENCE, **asked, bundle="to the farm", chunk=2, frames=[FIRST, FIRST + 3])
        with pytest.raises(EngineError, match=r"below|folder"):
            engine.call("farm", PATIENCE, **asked, bundle="../elsewhere")
        with pytest.raises(EngineError, match="chunk"):
            engine.call("farm", PATIENCE, **asked, chunk=0)
        with pytest.raises(EngineError, match="not all in the shot"):
            engine.call("farm", PATIENCE, **asked, frames=[9000, 9010])
    assert done["done"] == 4 and not (place.parent / "elsewhere").exists()
    served, told = place / "to the farm", place / "told"
    assert {Path(path) for path in done["written"]} == set(served.iterdir())
    farm_recipe(FarmArguments(shot.recipe, told, (FIRST, FIRST + 3), 2, "cpu"))
    for path in told.iterdir():
        text = (served / path.name).read_text()
        assert text.replace(str(served), str(told)) == path.read_text(), path.name
    steps = json.loads((served / "commands.json").read_text())
    assert [len(step["commands"]) for step in steps] == [1, 2, 1]
    if OPENJD.is_file():
        assert yaml.safe_load((served / "template.yaml").read_text())["steps"]
        subprocess.run([OPENJD, "check", served / "template.yaml"], check=True, capture_output=True)
