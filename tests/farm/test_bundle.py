"""Job bundles: what is in them, that Open Job Description takes them, and that chunks make the very same files."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from mien import recipe as recipes
from mien.commands.farm import FarmArguments, farm_recipe
from mien.farm.bundle import Farming, chunks, plain_commands, template
from mien.farm.mapping import Rule, mapped, moved, read_rules
from mien.recipe import RecipeError
from mien.types import MienError
from shots import FIRST, Made, make_shot

COUNT = 6
MIEN = str(Path(sys.executable).with_name("mien"))
OPENJD = Path(sys.executable).with_name("openjd")
openjd = pytest.mark.skipif(not OPENJD.is_file(), reason="needs openjd-cli: pip install mien[farm]")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_shot(tmp_path_factory.mktemp("farm"), COUNT, write=("layer", "full", "movie"))


def bundle_of(made: Made, folder: Path, **options) -> Path:
    outcome = farm_recipe(FarmArguments(made.recipe, folder, device="cpu", program=MIEN, **options))
    assert outcome.done == COUNT or "frames" in options
    assert all(Path(path).is_file() for path in outcome.written)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of an output folder but the memory of when files were changed."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "plate.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@openjd
def test_chunks_of_a_bundle_in_parallel_are_one_run_byte_for_byte(made: Made, tmp_path: Path) -> None:
    out = made.folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    subprocess.run([MIEN, "render", str(made.recipe), "--device=cpu"], check=True, capture_output=True)
    wanted = contents(out)
    assert "shot.mov" in wanted and len(wanted) > 2 * COUNT
    shutil.rmtree(out)
    bundle = bundle_of(made, tmp_path / "bundle", chunk=2)

    def step(name: str, *words: str) -> str:
        line = [str(OPENJD), "run", str(bundle / "template.yaml"), "--step", name, "--no-run-dependencies", *words]
        ran = subprocess.run(line, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout[-3000:]
        return ran.stdout

    said = step("Solve")
    assert "openjd_progress: 100.0" in said and not list(out.rglob("*.exr"))
    tasks = [json.dumps([{"Frame": f"{a}-{b}"}]) for a, b in chunks(Farming((FIRST, FIRST + COUNT - 1), 2))]
    assert len(tasks) == 3
    with ThreadPoolExecutor(len(tasks)) as pool:
        all_said = list(pool.map(lambda task: step("Render", "--tasks", task), reversed(tasks)))
    assert all("openjd_status: render 2/2" in said for said in all_said)
    assert all("solve 1/" not in said for said in all_said), "what was solved once is not solved again"
    step("Finish")
    found = contents(out)
    assert found.keys() - wanted.keys() == {"shot.recipe.json", "shot.qc.html", "shot.qc.json"}
    assert {name: found[name] for name in wanted} == wanted


@openjd
def test_the_template_is_one(made: Made, tmp_path: Path) -> None:
    bundle = bundle_of(made, tmp_path / "bundle", frames=(FIRST, FIRST + 3), chunk=3, memory=4096)
    checked = subprocess.run([str(OPENJD), "check", str(bundle / "template.yaml")], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    summary = subprocess.run(
        [str(OPENJD), "summary", str(bundle / "template.yaml"), "--output", "json"], capture_output=True, text=True
    )
    told = json.loads(summary.stdout)
    assert [step["name"] for step in told["steps"]] == ["Solve", "Render", "Finish"], summary.stdout


@openjd
def test_what_cannot_be_rendered_is_said_in_a_farm_s_own_words(made: Made, tmp_path: Path) -> None:
    bundle = bundle_of(made, tmp_path / "bundle")
    line = [str(OPENJD), "run", str(bundle / "template.yaml"), "--step", "Render", "--no-run-dependencies"]
    ran = subprocess.run([*line, "--job-param", "Frames=2001-2002"], capture_output=True, text=True)
    assert ran.returncode != 0
    assert re.search(r"openjd_fail: Frames 2001-2002 are not in the shot", ran.stdout), ran.stdout[-2000:]


def test_a_bundle_names_everything_it_needs(made: Made, tmp_path: Path) -> None:
    bundle = bundle_of(made, tmp_path / "bundle", chunk=4, priority=70)
    told = yaml.safe_load((bundle / "asset_references.yaml").read_text())["assetReferences"]
    names = [Path(name).name for name in told["inputs"]["filenames"]]
    assert [f"shot.{frame}.exr" for frame in made.frames] == names[:COUNT]
    assert {"shot.track.json", "performer.safetensors"} < set(names)
    assert any(re.fullmatch(r"shot\.track\.[0-9a-f]{16}\.safetensors", name) for name in names), "arrays of the track"
    assert told["outputs"]["directories"] == [str(made.folder / "out")]
    job = yaml.safe_load((bundle / "template.yaml").read_text())
    given = {value["name"]: value["value"] for value in
             yaml.safe_load((bundle / "parameter_values.yaml").read_text())["parameterValues"]}  # fmt: skip
    defaults = {value["name"]: value["default"] for value in job["parameterDefinitions"]}
    assert {name: given[name] for name in ("Frames", "ChunkSize", "Device", "Mien")} == {
        name: defaults[name] for name in ("Frames", "ChunkSize", "Device", "Mien")
    }
    assert given["deadline:priority"] == 70 and defaults["Frames"] == f"{FIRST}-{FIRST + COUNT - 1}"
    assert recipes.read(bundle / "recipe.json") == recipes.read(made.recipe)
    assert "&id" not in (bundle / "template.yaml").read_text()


def test_a_graphics_card_is_asked_for_where_one_is_used() -> None:
    def needs(device: str) -> list[list[str]]:
        steps = template("shot", Farming((1, 9), device=device))["steps"]
        amounts = [step.get("hostRequirements", {}).get("amounts", []) for step in steps]
        return [[amount["name"] for amount in one] for one in amounts]

    memory, card = "amount.worker.memory", "amount.worker.gpu"
    assert needs("cuda") == [[memory, card], [memory, card], []]
    assert needs("cpu") == [[memory], [memory], []]


def test_plain_commands_cover_every_frame_once(made: Made, tmp_path: Path) -> None:
    bundle = bundle_of(made, tmp_path / "a bundle", chunk=4)
    steps = json.loads((bundle / "commands.json").read_text())
    assert [(step["step"], step.get("after")) for step in steps] == [
        ("solve", None), ("render", "solve"), ("finish", "render"),
    ]  # fmt: skip
    ranges = [word for command in steps[1]["commands"] for word in command if word.startswith("--frames=")]
    assert ranges == [f"--frames={FIRST}-{FIRST + 3}", f"--frames={FIRST + 4}-{FIRST + 5}"]
    lines = (bundle / "commands.txt").read_text().splitlines()
    assert [shlex.split(line) for line in lines] == [command for step in steps for command in step["commands"]]
    assert plain_commands(Path("r"), Farming((-3, 2), 4))[1]["commands"][0][3] == "--frames=-3-0"


def test_finish_tells_which_frames_are_missing(made: Made, tmp_path: Path) -> None:
    lone = made.changed("lone", write=("layer",))
    subprocess.run([MIEN, "render", str(lone), f"--frames={FIRST}-{FIRST + 1}", "--device=cpu"], check=True)
    partial = subprocess.run([MIEN, "finish", str(lone), f"--frames={FIRST}-{FIRST + 1}"], capture_output=True)
    assert partial.returncode == 0, partial.stderr
    ended = subprocess.run([MIEN, "finish", str(lone)], capture_output=True, text=True)
    assert ended.returncode == 1 and f"{FIRST + 2}-{FIRST + COUNT - 1}" in ended.stderr


def test_rules_move_every_path(made: Made, tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    rows = [
        {"source_path_format": "POSIX", "source_path": str(made.folder), "destination_path": str(tmp_path / "there")},
        {"source_path_format": "POSIX", "source_path": str(made.folder / "out"), "destination_path": "/results"},
        {"source_path_format": "WINDOWS", "source_path": r"P:\show", "destination_path": "/mnt/show"},
    ]
    rules.write_text(json.dumps({"version": "pathmapping-1.0", "path_mapping_rules": rows}))
    read = read_rules(rules)
    recipe = moved(recipes.read(made.recipe), read)
    assert recipe.plate.path == str(tmp_path / "there" / "plate" / "shot.%04d.exr")
    assert recipe.track == str(tmp_path / "there" / "shot.track.json")
    assert recipe.output.folder == "/results", "the longest source wins"
    assert mapped(r"p:\SHOW\a\b.exr", read) == "/mnt/show/a/b.exr", "Windows does not tell cases apart"
    assert mapped(str(made.folder) + "2/x", read) == str(made.folder) + "2/x", "folders, not beginnings of names"
    steps = recipes.change_steps(recipe.steps, {"hold_out.file": [[1, "P:/show/m.%04d.exr"]]})
    keyed = moved(replace(recipe, steps=steps), [Rule(type(read[0].source)("P:/show"), Path("/m"))])
    assert keyed.step("hold_out").settings["file"] == [[1, "/m/m.%04d.exr"]]


def test_rules_that_are_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    for text in ('{"version": "2"}', "[]", "no", '{"version": "pathmapping-1.0", "path_mapping_rules": [{}]}'):
        path.write_text(text)
        with pytest.raises(MienError, match="path mapping rules"):
            read_rules(path)
    path.write_text("{}")
    assert read_rules(path) == () == read_rules(None)


def test_what_cannot_be_farmed_is_refused(made: Made, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="not all in the shot"):
        bundle_of(made, tmp_path, frames=(1, 2000))
    with pytest.raises(RecipeError, match="device 'gpu'"):
        farm_recipe(FarmArguments(made.recipe, tmp_path, device="gpu"))
    away = made.folder / "plate" / "shot.1003.exr"
    away.rename(away.with_suffix(".away"))
    try:
        bundle_of(made, tmp_path / "gap")
    finally:
        away.with_suffix(".away").rename(away)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MienError, match="Cannot write"):
        bundle_of(made, tmp_path / "file")


@openjd
def test_the_template_of_a_training_in_the_documentation_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "farm.md").read_text("utf-8")
    template = tmp_path / "train.yaml"
    template.write_text(page[page.index("specificationVersion:") :].partition("```")[0])
    checked = subprocess.run([OPENJD, "check", template], capture_output=True, text=True)
    assert checked.returncode == 0 and "torchrun" in template.read_text(), checked.stdout + checked.stderr
