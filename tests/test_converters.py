"""Converters from elsewhere: the page's example, installed as a package is, draws; others are told what is wrong."""

import os
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch

from mien import converters
from mien import recipe as recipes
from mien.color import load
from mien.converters import checked, open_installed
from mien.files.identities import IdentityFile, Likeness
from mien.performer import open_identity
from mien.types import MienError
from shots import Made, make_shot, read_exr

PAGE = (Path(__file__).parents[1] / "docs" / "identities.md").read_text("utf-8")
PATIENCE = 120
CPU = torch.device("cpu")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def installed(folder: Path) -> dict[str, str]:
    """The page's package, installed by pip from a wheel into a folder; the environment in which it is found."""
    name, version = re.findall(r'(?:name|version) = "(.*)"', blocks("toml")[0])
    group, entry = re.search(r'entry-points\."(.*)"\]\n(.*)', blocks("toml")[0]).groups()
    wheel = folder / "another_net-1.0-py3-none-any.whl"
    inside = "another_net-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("another_net.py", blocks("python")[0])
        file.writestr(f"{inside}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        file.writestr(f"{inside}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{inside}/entry_points.txt", f"[{group}]\n{entry.replace(chr(34), '')}\n")
        file.writestr(f"{inside}/RECORD", "")
    site = folder / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "--target", site, wheel], capture_output=True, text=True, timeout=PATIENCE)
    if "No module named pip" in done.stderr:
        pytest.skip("needs pip")
    assert done.returncode == 0, done.stderr
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_shot(tmp_path_factory.mktemp("shot"), count=2, write=("layer",))


def test_the_example_of_the_page_draws(made):
    environment = installed(made.folder)
    make = [sys.executable, "-c", blocks("python")[1]]
    subprocess.run(make, env=environment, cwd=made.folder, check=True, timeout=PATIENCE)
    recipe = replace(recipes.read(made.recipe), identity=str(made.folder / "hopper.safetensors"))
    recipe = replace(recipe, steps=recipes.change_steps(recipe.steps, {"face_matte.source": "network"}))
    path = made.folder / "another.recipe.json"
    path.write_text(recipes.write(recipe))
    render = [sys.executable, "-m", "mien", "render", str(path), "--device", "cpu"]
    alone = subprocess.run(render, capture_output=True, text=True, timeout=PATIENCE)
    assert alone.returncode == 1 and "kind 'another'" in alone.stderr and "Install the package" in alone.stderr
    done = subprocess.run(render, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    spec, pixels = read_exr(made.folder / "out" / "layer" / "shot.1001.exr")
    matte = pixels[..., spec.channelnames.index("matte.identity")]
    assert 0.2 < np.nanmax(matte) < 1 and (matte > 0).any() and (matte == 0).any()
    assert spec.getattribute("mien:likeness") == "Grace Hopper"


def identity(kind: str = "another", **facts: object) -> IdentityFile:
    given = {"size": 32, "coverage": 1.3, **facts}
    return IdentityFile(kind, Likeness("Nobody", "test"), given, {"gain": torch.tensor(0.5)}, "0" * 32)


def named(monkeypatch, *functions: str) -> None:
    entries = [EntryPoint("another", f"test_converters:{name}", converters.GROUP) for name in functions]
    monkeypatch.setattr(converters, "entry_points", lambda group: entries)


def halves(facts, tensors, device):
    return lambda crops: (crops * tensors["gain"], torch.ones_like(crops[:, :1]))


def refuses(facts, tensors, device):
    raise KeyError("layer 7")


def test_a_converter_is_given_the_identity_and_draws_crops(monkeypatch):
    named(monkeypatch, "halves")
    file, colors = identity(), load()
    found = open_identity(file, Path("a.safetensors"), colors, CPU)(1)
    crops = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    pictures, mattes = found.draw(crops)
    assert torch.equal(pictures, crops * 0.5) and torch.equal(mattes, torch.ones(2, 1, 32, 32))
    assert found.size == 32 and found.coverage == 1.3 and found.digest != file.digest


@pytest.mark.parametrize(
    ("functions", "file", "says"),
    [
        (("halves", "refuses"), identity(), "several packages draw 'another'"),
        (("refuses",), identity(), "cannot be opened by.*layer 7"),
        (("missing",), identity(), "cannot be opened by"),
        (("halves",), identity(size=None), "does not say its size"),
        (("halves",), identity(size=10**6), "does not say its size"),
        (("halves",), identity(coverage=True), "does not say its coverage"),
        (("halves",), identity("unknown"), "neither this version of mien nor an installed converter"),
    ],
)
def test_what_cannot_be_drawn_is_told(monkeypatch, functions, file, says):
    named(monkeypatch, *functions)
    with pytest.raises(MienError, match=says):
        open_identity(file, Path("a.safetensors"), load(), CPU)


@pytest.mark.parametrize(
    "draw",
    [
        lambda crops: crops,
        lambda crops: (crops, crops),
        lambda crops: (crops[:, :, :-1], crops[:, :1]),
        lambda crops: (crops[:1], crops[:1, :1]),
        lambda crops: None,
        lambda crops: 1 / 0,
        lambda crops: (torch.zeros(2, 3, 0, 0), torch.zeros(2, 1, 0, 0)),
    ],
)
def test_faults_of_a_converter_are_told_as_its_own(draw):
    with pytest.raises(MienError, match="Ask its author"):
        checked(draw, "another-net 1.0")(torch.rand(2, 3, 8, 8))


def test_a_full_graphics_card_is_not_taken_for_a_fault():
    def draw(crops):
        raise torch.OutOfMemoryError("full")

    with pytest.raises(torch.OutOfMemoryError):
        checked(draw, "another-net 1.0")(torch.rand(1, 3, 8, 8))


def test_without_a_package_there_is_nothing_to_open(monkeypatch):
    named(monkeypatch)
    assert open_installed(identity(), Path("a.safetensors"), load(), CPU) is None
