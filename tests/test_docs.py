"""What the pages say is so: examples are read, tables are whole, links lead somewhere."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from mien.recipe import CODECS, Output, PlateChoice, Recipe, RecipeError, read

ROOT = Path(__file__).parents[1]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")])
RECIPE_PAGE = (ROOT / "docs" / "recipe.md").read_text("utf-8")


def example() -> dict:
    return json.loads(re.search(r"```json\n(.*?)```", RECIPE_PAGE, re.DOTALL)[1])


def test_the_example_recipe_can_be_read(tmp_path):
    path = tmp_path / "shot.recipe.json"
    path.write_text(json.dumps(example()))
    recipe = read(path)
    assert recipe.plate.path == str(tmp_path / "plates/plate.%04d.exr")
    settings = recipe.step("matte_edge").settings
    assert settings["grow"] == 0.02 and settings["soften"] == [[1001, 0.02], [1048, 0.05]]


def test_the_example_message_is_what_is_said(tmp_path, monkeypatch):
    document = example()
    document["steps"][3]["settings"] = {"grwo": 1}
    monkeypatch.chdir(tmp_path)
    Path("shot.recipe.json").write_text(json.dumps(document))
    with pytest.raises(RecipeError) as caught:
        read(Path("shot.recipe.json"))
    assert f"    {caught.value}\n" in RECIPE_PAGE


def test_every_key_of_a_recipe_is_explained():
    rows = re.findall(r"^\| (`.*?) \|", RECIPE_PAGE, re.MULTILINE)
    explained = {word for row in rows for word in re.findall(r"`([\w.]+)`", row)}
    keys = {entry.name for entry in fields(Recipe)} - {"plate", "output"}
    keys |= {f"plate.{entry.name}" for entry in fields(PlateChoice)}
    keys |= {f"output.{entry.name}" for entry in fields(Output)}
    assert explained == keys | {"mien_recipe"}
    assert all(f"`{codec}`" in RECIPE_PAGE for codec in CODECS)


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_parts_of_the_engine_are_there(page):
    for name in re.findall(r"`((?:engine|tests)/[\w./]+)`", page.read_text("utf-8")):
        assert (ROOT / name).exists() or "NAME" in name, name


def test_the_license_is_whole():
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert text.lstrip().startswith("Apache License\n") and len(text) == 11358
    assert "END OF TERMS AND CONDITIONS" in text and text.rstrip().endswith("limitations under the License.")
