"""The part of the extension that needs no Blender, imported from the built zip as Blender would have it."""

import ast
import importlib
import json
import math
import struct
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien import recipe as recipes
from mien.color import load
from mien.commands.install_blender import build_zip, contents, source
from mien.files.exchange.points import read_points
from shots import FIRST, Made, make_shot

ADAPTER = source()
PLATFORM = {"blf", "bpy", "gpu", "gpu_extras", "numpy"}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_zip(tmp_path_factory.mktemp("zip"))


@pytest.fixture(scope="module")
def core(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """Modules of ``core`` by name, from the unpacked zip."""
    folder = tmp_path_factory.mktemp("unpacked")
    zipfile.ZipFile(archive).extractall(folder / "extension_of_mien")
    sys.path.insert(0, str(folder))
    names = ("colors", "documents", "landmarks", "plot", "settings", "shot")
    yield SimpleNamespace(**{name: importlib.import_module(f"extension_of_mien.core.{name}") for name in names})
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.startswith("extension_of_mien")]:
        del sys.modules[name]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make_shot(tmp_path, 3)


def test_the_same_sources_give_the_same_zip(archive: Path, tmp_path: Path) -> None:
    assert build_zip(tmp_path).read_bytes() == archive.read_bytes()
    assert not [path for path in tmp_path.iterdir() if path != tmp_path / archive.name]


def test_the_manifest_keeps_the_platforms_rules() -> None:
    manifest = tomllib.loads((ADAPTER / "blender_manifest.toml").read_text())
    assert manifest["id"].isidentifier() and len(manifest["tagline"]) <= 64
    assert manifest["license"] == ["SPDX:GPL-3.0-or-later"] and "wheels" not in manifest
    for reason in manifest["permissions"].values():
        assert len(reason) <= 64 and not reason.endswith(".")
    engine = tomllib.loads((ADAPTER.parent / "pyproject.toml").read_text())
    assert manifest["version"] == engine["project"]["version"]


@pytest.mark.parametrize("path", sorted(ADAPTER.rglob("*.py")), ids=lambda path: path.relative_to(ADAPTER).as_posix())
def test_only_host_and_ui_know_blender_and_only_when_switched_on(path: Path) -> None:
    tree = ast.parse(path.read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).partition(".")[0])
    strange = found - set(sys.stdlib_module_names)
    assert strange <= PLATFORM, strange
    if path.parent.name not in ("host", "ui"):
        assert strange <= {"numpy"}
    assert path.read_text().startswith("# SPDX-License-Identifier: GPL-3.0-or-later")


def test_the_engines_part_runs_in_an_older_python_without_the_engine(archive: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(archive).extractall(tmp_path / "one")
    for path in (tmp_path / "one" / "mien").rglob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 9))
        assert "from mien" not in path.read_text() and "import mien" not in path.read_text()
    code = "import one.mien.client, one.mien.hosts.frames, one.mien.hosts.recipes, one.mien.hosts.watch, one.core.shot"
    subprocess.run([sys.executable, "-S", "-E", "-c", code], cwd=tmp_path, check=True, timeout=60)


def test_chain_and_declarations_are_the_engines(core: SimpleNamespace) -> None:
    assert [step["name"] for step in core.settings.chain()] == [step.name for step in recipes.CONVERT]
    names = dict(contents(ADAPTER))
    assert names["mien/nodes.json"] == (Path(recipes.__file__).parent / "nodes.json").read_bytes()


def all_controls(core: SimpleNamespace) -> list:
    return core.settings.controls(core.settings.declarations(), core.settings.chain())


def test_every_setting_of_the_chain_is_a_control_within_its_limits(core: SimpleNamespace) -> None:
    declared = {node["id"]: node for node in core.settings.declarations()}
    wanted = {
        f"{step['name']}.{param['name']}"
        for step in core.settings.chain()
        for param in declared[step["node"]]["params"]
        if param["kind"] not in ("file", "text")
    }
    controls = all_controls(core)
    assert {one.path for one in controls} == wanted and len(controls) > 50
    for one in controls:
        assert one.help.endswith(".") and one.label and one.panel
        if one.kind in ("float", "int"):
            assert one.low <= one.default <= one.high, one.path
        if one.kind == "menu":
            assert one.default in one.choices


def test_defaults_as_blender_holds_them_are_no_change(core: SimpleNamespace) -> None:
    controls = all_controls(core)
    held = {}
    for one in controls:
        value = one.default
        if one.kind == "float":
            value = struct.unpack("<f", struct.pack("<f", value))[0]
        if one.kind == "menu":
            value = one.choices.index(value)
        held[one.path] = core.settings.plain(one, value)
    assert core.settings.dialed(controls, held) == {}


@given(st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False))
def test_the_shortest_number_is_the_same_float(core: SimpleNamespace, value: float) -> None:
    shortest = core.settings.shortest(value)
    assert struct.pack("<f", shortest) == struct.pack("<f", value)
    assert len(repr(shortest)) <= len(repr(value))


def shot(core: SimpleNamespace, made: Made, **more: object) -> object:
    return core.shot.Shot(
        name="shot", plate=made.plate, folder=str(made.folder / "mien"), track=str(made.track),
        identity=str(made.identity), **more,
    )  # fmt: skip


def test_a_recipe_of_what_is_dialed_is_one_that_the_engine_takes(core: SimpleNamespace, made: Made) -> None:
    document = core.shot.recipe(
        shot(core, made, pixels="float", face="A"), core.settings.chain(),
        {"matte_edge.grow": [[FIRST, 0.0], [FIRST + 2, 0.1]], "face_matte.source": "hull"},
    )  # fmt: skip
    recipe = recipes.parse(json.loads(json.dumps(document)), made.folder)
    assert (recipe.plate.first, recipe.plate.last) == (FIRST, FIRST + 2)
    assert recipe.step("face_matte").settings["source"] == "hull" and recipe.output.pixels == "float"
    assert recipe.output.write == ("host",) and Path(recipe.output.folder).name == "v001"


def test_another_take_goes_elsewhere(core: SimpleNamespace, made: Made) -> None:
    one = shot(core, made)
    other = replace(one, take=2)
    assert one.sequence("raw") != other.sequence("raw") and one.recipe_file != other.recipe_file


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"plate": ""}, "Choose the plate"),
        ({"plate": "/nowhere/p.####.exr"}, "/nowhere/p.####.exr"),
        ({"track": "/nowhere/t.json"}, "Press Track"),
        ({"identity": ""}, "identity"),
        ({"identity": "/nowhere/i.safetensors"}, "/nowhere/i.safetensors"),
        ({"first": 5, "last": 2}, "ends before"),
        ({"first": 1, "last": 20}, "none of 1-20"),
    ],
)
def test_what_is_missing_is_said(core: SimpleNamespace, made: Made, change: dict, words: str) -> None:
    with pytest.raises(core.shot.ShotError, match="(?s).*" + words.replace("####", ".*")):
        core.shot.recipe(replace(shot(core, made), **change), core.settings.chain(), {})


def test_missing_frames_are_those_of_which_any_file_is_gone(core: SimpleNamespace, made: Made) -> None:
    one = shot(core, made)
    for role in core.shot.ROLES:
        for frame in (1001, 1002, 1004):
            path = Path(one.sequence(role) % frame)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    assert core.shot.missing(one, 1001, 1005) == [1003, 1005]
    Path(one.sequence("matte") % 1002).unlink()
    assert core.shot.missing(one, 1001, 1005) == [1002, 1003, 1005]


@pytest.mark.parametrize("name", ["Sc ene ü/1", "../../etc", "a:b", "...", "", "シーン"])
def test_names_of_files_lead_nowhere_else(core: SimpleNamespace, name: str) -> None:
    found = core.shot.named(name)
    assert found and Path(found).name == found and not found.startswith(".")


SPACES = ["lin_ap0_scene", "lin_ap1_scene", "lin_rec709_scene", "lin_rec2020_scene", "lin_p3d65_scene"]


@pytest.mark.parametrize("target", SPACES)
@pytest.mark.parametrize("origin", SPACES)
def test_spaces_are_opencolorios(core: SimpleNamespace, origin: str, target: str) -> None:
    colors = load()
    processor = colors.config.getProcessor(colors.space(origin), colors.space(target)).getDefaultCPUProcessor()
    wanted = np.array([processor.applyRGB(list(row)) for row in np.eye(3)]).T
    # The config's matrices are rounded, and its Bradford adaptation begins from another white of D60.
    assert np.abs(np.array(core.colors.between(origin, target)) - wanted).max() < 2e-4


def test_a_move_in_another_space_does_the_same(core: SimpleNamespace) -> None:
    generator = np.random.default_rng(3)
    matrix, offset = generator.normal(0, 1, (3, 3)), generator.normal(0, 0.1, 3)
    move = (tuple(map(tuple, matrix)), tuple(offset))
    there, back = (np.array(core.colors.between(*pair)) for pair in (SPACES[1:3], SPACES[2:0:-1]))
    carried = core.colors.carried(move, SPACES[1], SPACES[2])
    color = generator.uniform(-1, 5, 3)
    wanted = there @ (matrix @ (back @ color) + offset)
    assert np.allclose(np.array(carried[0]) @ color + carried[1], wanted, atol=1e-9)
    assert core.colors.carried(move, "anything", "anything") is move


def test_modules_import_in_one_direction() -> None:
    """No circle, also not by imports within functions; ``core`` knows neither of the others, ``host`` no ``ui``."""
    needs: dict[str, set[str]] = {}
    files = [path for part in ("core", "host", "ui") for path in (ADAPTER / part).glob("[!_]*.py")]
    known = {f"{path.parent.name}.{path.stem}" for path in files}
    for path in files:
        package = ["extension", path.parent.name]
        found = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
                whole = ".".join(filter(None, base[1:]))
                found |= {whole, *(f"{whole}.{name.name}" for name in node.names)} & known
        needs[f"{path.parent.name}.{path.stem}"] = found
    assert sum(map(len, needs.values())) > 40
    for name, found in needs.items():
        below = {"core": {"core"}, "host": {"core", "host"}, "ui": {"core", "host", "ui"}}[name.partition(".")[0]]
        assert {one.partition(".")[0] for one in found} <= below, name
    while needs:
        leaves = {name for name, found in needs.items() if not found}
        assert leaves, f"a circle among {sorted(needs)}"
        needs = {name: found - leaves for name, found in needs.items() if name not in leaves}


def test_a_document_is_written_whole_or_not_at_all(core: SimpleNamespace, tmp_path: Path) -> None:
    path = core.documents.writing(tmp_path / "new" / "größe.json", {"a": [1, 2.5], "ü": None}).result()
    assert json.loads(path.read_text("utf-8")) == {"a": [1, 2.5], "ü": None}
    with pytest.raises(TypeError):
        core.documents.writing(path, {"a": object()}).result()
    assert json.loads(path.read_text("utf-8"))["a"] == [1, 2.5] and list(path.parent.iterdir()) == [path]


FIVE = {"left eye": (10.0, 20.0), "Right_Eye": (30.5, 20.0), "nose": (20.0, 30.0), "left mouth": (14.0, 40.0),
        "right mouth": (26.0, 40.0)}  # fmt: skip


def test_a_key_is_one_that_tracking_takes(core: SimpleNamespace, tmp_path: Path) -> None:
    path = core.landmarks.write(tmp_path / "keys", 1042, core.landmarks.key(FIVE, "anna"))
    assert path.name == "anna@1042.json" and not list(path.parent.glob(".*"))
    placed = read_points(path, 100)
    assert placed.scheme == "five" and placed.person == "anna"
    assert placed.positions[1].tolist() == [30.5, 20.0]
    assert core.landmarks.read(path.parent, 1042, "anna")["nose"] == (20.0, 30.0)
    assert core.landmarks.read(path.parent, 1042, "berta") == core.landmarks.read(path.parent, 7) == {}
    numbered = core.landmarks.key({f"mesh {n}": (float(n), 1.0) for n in (1, 33, 61, 263, 291)})
    placed = read_points(core.landmarks.write(tmp_path, 7, numbered), 100)
    assert placed.scheme == "mesh" and set(placed.indices) == {1, 33, 61, 263, 291}


def test_a_persons_name_leads_nowhere_else(core: SimpleNamespace, tmp_path: Path) -> None:
    path = core.landmarks.write(tmp_path / "keys", 5, core.landmarks.key(FIVE, "../../anna"))
    assert path == tmp_path / "keys" / "5.json"


@pytest.mark.parametrize(
    "points", [{}, {"nose": (1.0, 1.0)}, {**FIVE, "mesh 3": (0.0, 0.0)}, {f"mesh {n}": (0.0, 0.0) for n in range(4)},
               {f"mesh {n}": (0.0, 0.0) for n in range(466, 471)}, {f"ear {n}": (0.0, 0.0) for n in range(5)}]
)  # fmt: skip
def test_too_few_or_strange_points_are_no_key(core: SimpleNamespace, points: dict) -> None:
    with pytest.raises(core.landmarks.LandmarkError):
        core.landmarks.key(points)


def test_trackers_count_where_all_are_there(core: SimpleNamespace) -> None:
    tracks = {name: [(5, 0.25, 0.75), (6, 0.5, 0.5)] for name in FIVE}
    tracks["nose"] = [(6, 0.5, 0.5), (7, 0.0, 0.0)]
    tracks["Track.003"] = [(6, 0.0, 0.0)]
    found = core.landmarks.by_frame(tracks, (200, 100))
    assert list(found) == [6] and found[6]["nose"] == (100.0, 50.0) and "Track.003" not in found[6]
    with pytest.raises(core.landmarks.LandmarkError, match="no frame"):
        core.landmarks.by_frame({"left eye": [(1, 0, 0)], "nose": [(2, 0, 0)]}, (9, 9))


def test_the_nearest_point_within_reach_is_taken(core: SimpleNamespace) -> None:
    points = {"left eye": (0.0, 0.0), "nose": (10.0, 0.0)}
    assert core.landmarks.near(points, (7, 0), 5) == "nose" and core.landmarks.near(points, (5, 9), 5) == ""
    assert core.landmarks.next_unplaced(points) == "right eye" and core.landmarks.near({}, (0, 0), 5) == ""


def test_losses_are_drawn_where_they_are(core: SimpleNamespace) -> None:
    line = [(step, 10 ** (-step / 100)) for step in range(0, 301, 10)]
    picture = core.plot.curves({"loss": line, "bad": [(5, math.nan), (6, -1.0)]}, (301, 121))
    assert picture.shape == (121, 301, 4) and picture.dtype == np.float32
    drawn = np.all(np.isclose(picture[..., :3], core.plot.COLORS[0]), -1)
    assert drawn.any(0).all()
    middle = [np.nonzero(drawn[:, column])[0].mean() for column in (10, 150, 290)]
    assert middle == pytest.approx([120 * (1 - column / 300) for column in (10, 150, 290)], abs=2)
    assert not np.all(np.isclose(core.plot.curves({})[..., :3], core.plot.COLORS[0]), -1).any()


def test_installing_without_a_blender_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mien.commands import install_blender
    from mien.types import MienError

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    said: list[str] = []
    path = install_blender.install(Path(sys.executable), None, tmp_path / "out", lambda note: said.append(note.message))
    assert path.is_file() and any("Install from Disk" in line for line in said)
    remembered = json.loads((tmp_path / "config" / "mien" / "engine.json").read_text())
    assert remembered["python"] == sys.executable
    with pytest.raises(MienError, match=r"Blender 4\.5"):
        install_blender.install(Path(sys.executable), tmp_path / "blender", tmp_path / "out", lambda note: None)
