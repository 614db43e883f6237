"""Who may import whom, and what no part of the engine does: the arrows of the architecture, held."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ENGINE = Path(__file__).parents[1] / "engine"

ARRAYS = {"cv2", "numpy", "torch"}
VALUES = {"mien.mesh", "mien.types"}
PICTURES = VALUES | {"mien.color", "mien.files", "mien.ops", "mien.planes"}
WORKING = PICTURES | {"mien.declare", "mien.models", "mien.nodes", "mien.recipe", "mien.tracking"}
RUNNER = {
    f"mien.{name}"
    for name in (
        "chain", "converters", "deliver", "fallback", "footage", "inspection", "job", "movie", "performer",
        "heap", "pipeline", "preview", "progress", "proof", "report", "reenacted", "run", "trained", "neighbors",
        "roto", "together",
    )
}  # fmt: skip

MAY_IMPORT: dict[str, set[str]] = {
    "mien": set(),
    "mien.declare": set(),
    "mien.recipe": {"mien.declare"},
    "mien.mesh": {"torch"},
    "mien.types": {"torch"},
    "mien.planes": {*ARRAYS, "mien.types"},
    "mien.ops": {"torch", "mien.ops", *VALUES},
    "mien.operators": {"numpy", "torch", "PyOpenColorIO", "mien.ops"},
    "mien.color": {"numpy", "torch", "PyOpenColorIO", "mien.operators", "mien.ops", "mien.planes", *VALUES},
    "mien.files": {*ARRAYS, "scipy", "OpenImageIO", "av", "blake3", "isal", "safetensors", "mien.files", *VALUES},
    "mien.models": {
        *ARRAYS, "face_alignment", "onnxruntime", "safetensors", "mien.models", "mien.ops", *VALUES,
    },
    "mien.tracking": {*ARRAYS, "scipy", "mien.models", "mien.ops", "mien.tracking", *VALUES},
    "mien.nodes": {"torch", "mien.declare", "mien.models", "mien.nodes", "mien.ops", "mien.tracking", *VALUES},
    **{name: {*ARRAYS, *WORKING, *RUNNER} for name in RUNNER},
    "mien.session": {*ARRAYS, "mien.session", *WORKING, *RUNNER},
    "mien.pipeline": {"mien.types"},
    "mien.progress": {"rich", "mien.types"},
    "mien.inspection": {*ARRAYS, "rich", "mien.credentials", "mien.provenance", "mien.qc", *WORKING, *RUNNER},
    "mien.report": {*ARRAYS, "rich", *WORKING, *RUNNER},
    "mien.credentials": {"c2pa", "cryptography", "mien.files", "mien.types"},
    "mien.provenance": {*WORKING, *RUNNER, "mien.credentials", "mien.qc"},
    "mien.qc": {*ARRAYS, "mien.qc", *WORKING, *RUNNER},
    "mien.facesets": {*ARRAYS, "scipy", "mien.facesets", *WORKING},
    "mien.sheet": {*ARRAYS, "matplotlib", "OpenImageIO", "mien.files", "mien.types"},
    "mien.demo": {*ARRAYS, "matplotlib", "OpenImageIO", "skimage", *PICTURES},
    "mien.train": {
        *ARRAYS, "av", "safetensors", "scipy", "skimage", "typer", "mien.models", "mien.train", *PICTURES,
        "OpenImageIO", "mien.pipeline", "mien.progress", "mien.sheet",
    },
    "mien.timeline": {"opentimelineio", "mien.files", "mien.recipe", "mien.types"},
    "mien.rushes": {"mien.files", "mien.timeline", "mien.types"},
    "mien.farm": {"yaml", "mien.declare", "mien.farm", "mien.files", "mien.progress", "mien.recipe", "mien.types"},
    "mien.ending": {"typer"},
    "mien.farmline": {
        "typer", "mien.commands", "mien.ending", "mien.farm", "mien.files", "mien.progress", "mien.recipe",
        "mien.types",
    },
    "mien.commands": {
        *ARRAYS, *WORKING, *RUNNER, "onnxruntime", "yaml", "mien.client", "mien.commands", "mien.demo", "mien.farm",
        "mien.facesets", "mien.hosts", "mien.rushes", "mien.timeline",
        "mien.sheet",
        "mien.qc", "mien.train",
        "mien.credentials", "mien.provenance",
    },
    "mien.client": set(),
    "mien.hosts": {"mien.hosts"},
    "mien.serve": {*WORKING, *RUNNER, "mien.commands", "mien.serve", "mien.session", "mien.train"},
    "mien.trainline": {
        "typer", "mien.commands", "mien.ending", "mien.facesets", "mien.models", "mien.recipe", "mien.train", *RUNNER,
    },
    "mien.reviewline": {"typer", "mien.commands", "mien.ending", *WORKING, *RUNNER},
    "mien.installline": {"typer", "mien.client", "mien.commands", "mien.progress"},
    "mien.__main__": {
        "typer", "mien.client", "mien.commands", "mien.ending", "mien.farmline", "mien.timeline", "mien.installline",
        "mien.reviewline", "mien.serve",
        "mien.trainline", *WORKING, *RUNNER,
    },
}  # fmt: skip
"""For each module or package of the engine, what it may import beside the standard library."""

EXECUTING = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "code", "runpy"}
"""Modules that run what a file says, or read what does."""
NETWORK = {"urllib.request", "http", "socketserver", "ftplib", "smtplib", "xmlrpc", "requests", "httpx", "aiohttp"}
"""Modules that reach out, or listen."""


def sources() -> Iterator[Path]:
    return (path for path in sorted((ENGINE / "mien").rglob("*.py")))


def module(path: Path) -> str:
    parts = path.relative_to(ENGINE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def unit(name: str) -> str:
    """The row of the table that a module or an imported name belongs to."""
    return ".".join(name.split(".")[:2])


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported anywhere, inside functions too; ``from a import b`` is a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def strays(name: str, tree: ast.AST) -> list[str]:
    """What the module ``name`` imports against the table."""
    found = []
    for one in imported(tree):
        top = one.partition(".")[0]
        if top in sys.stdlib_module_names or (unit(one) if top == "mien" else top) in MAY_IMPORT[unit(name)]:
            continue
        found.append(one)
    return found


def dangers(tree: ast.AST) -> list[str]:
    """Calls and imports that would execute what a file says, start a shell, or speak to the network."""
    found = [one for one in imported(tree) if one.partition(".")[0] in EXECUTING]
    found += [one for one in imported(tree) if any(f"{one}.".startswith(f"{bad}.") for bad in NETWORK)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            whole = f"{node.value.id}.{node.attr}"
            if node.value.id == "socket" and node.attr != "gethostname":
                found.append(whole)
            if whole in ("os.system", "os.popen", "builtins.eval", "builtins.exec"):
                found.append(whole)
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if called in ("eval", "exec", "compile", "__import__"):
                found.append(called)
            if called == "torch.load" and given.get("weights_only") != "True":
                found.append("torch.load without weights_only=True")
            if given.get("allow_pickle", "False") != "False":
                found.append(f"{called} with allow_pickle")
            if given.get("shell", "False") != "False":
                found.append(f"{called} with shell")
            if called.startswith(("torch.hub.load", "torch.hub.download")) or called == "yaml.load":
                found.append(called)
    return found


@pytest.mark.parametrize("path", list(sources()), ids=module)
def test_imports_follow_the_arrows(path):
    name = module(path)
    assert unit(name) in MAY_IMPORT, f"say in the table what {unit(name)} may import"
    assert not strays(name, ast.parse(path.read_text("utf-8")))


def test_the_table_has_no_circle_below_the_runner():
    """Values, operations, files, models, tracking and nodes form a ladder."""
    below = {name: {other for other in allowed if other in MAY_IMPORT} - {name} for name, allowed in MAY_IMPORT.items()}
    for name in RUNNER | {"mien.commands"}:
        del below[name]
    while free := [name for name, needs in below.items() if not needs & set(below)]:
        for name in free:
            del below[name]
    assert not below


def test_the_table_names_only_what_there_is():
    assert set(MAY_IMPORT) == {unit(module(path)) for path in sources()}


@pytest.mark.parametrize("path", list(sources()), ids=module)
def test_nothing_executes_files_or_reaches_out(path):
    assert not dangers(ast.parse(path.read_text("utf-8")))


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "def f():\n    from pickle import loads",
        "eval(text)",
        "exec(compile(text, name, 'exec'))",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(line, shell=True)",
        "os.system(line)",
        "torch.hub.load(repository, name)",
        "import urllib.request",
        "from urllib import request",
        "import http.server",
        "import socket\nsocket.create_server(('', 80))",
    ],
)
def test_the_checks_find_what_they_should(text):
    assert dangers(ast.parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "torch.load(path, weights_only=True)",
        "np.load(path)",
        "network.eval()",
        "ast.literal_eval(text)",
        "torch.hub.get_dir()",
    ],
)
def test_the_checks_leave_the_harmless_alone(text):
    assert not dangers(ast.parse(text))


def test_the_arrows_find_what_they_should():
    assert strays("mien.ops.warp", ast.parse("def f():\n    import numpy")) == ["numpy"]
    assert strays("mien.ops.warp", ast.parse("from mien import files")) == ["mien.files"]
    assert strays("mien.nodes.convert", ast.parse("from mien.files.shot import open_shot"))
    assert not strays("mien.ops.warp", ast.parse("import math\nfrom mien.ops import blend\nfrom torch import Tensor"))


def fresh(code: str, *options: str) -> str:
    """What a new interpreter prints."""
    start = f"import sys; sys.path.insert(0, {str(ENGINE)!r}); "
    done = subprocess.run([sys.executable, *options, "-c", start + code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_is_light():
    count = "before = set(sys.modules); import mien; print(len(set(sys.modules) - before))"
    assert int(fresh(count)) <= 2


@pytest.mark.parametrize("name", ["mien.client", "mien.declare", "mien.recipe", "mien.serve.requests"])
def test_hosts_can_import_it(name):
    """-S leaves out site-packages: what is not the standard library is not there."""
    fresh(f"import {name}", "-S", "-E")


def test_the_command_line_answers_at_once():
    """Help, and errors in arguments, come without torch, numpy or OpenImageIO."""
    heavy = "{'torch', 'numpy', 'cv2', 'OpenImageIO', 'av', 'scipy', 'PyOpenColorIO', 'matplotlib'}"
    assert fresh(f"import mien.__main__; print(sorted({heavy} & set(sys.modules)))").strip() == "[]"


def test_the_service_answers_before_anything_heavy_is_imported():
    """What ``describe`` needs is the standard library, and little of that."""
    fresh("import mien.serve.engine; mien.serve.engine.describe", "-S", "-E")
    count = "before = set(sys.modules); import mien.serve.engine; print(len(set(sys.modules) - before))"
    assert int(fresh(count)) < 150


def project() -> dict[str, Any]:
    return tomllib.loads((ENGINE.parent / "pyproject.toml").read_text("utf-8"))["project"]


def test_the_base_package_has_no_dependencies():
    assert project()["dependencies"] == []


def test_what_is_imported_is_declared():
    """Every library that the engine imports stands in an extra, under the name it is installed by."""
    extras = project()["optional-dependencies"]
    named = {line.partition(">")[0].partition("[")[0].lower() for extra in extras.values() for line in extra}
    installed_by = {"cv2": "opencv-python-headless", "PyOpenColorIO": "opencolorio", "skimage": "scikit-image"}
    installed_by |= {"yaml": "pyyaml", "c2pa": "c2pa-python"}
    for path in sources():
        for one in imported(ast.parse(path.read_text("utf-8"))):
            top = one.partition(".")[0]
            if top not in sys.stdlib_module_names and top != "mien":
                assert installed_by.get(top, top).lower().replace("_", "-") in named, (module(path), top)


def test_what_is_declared_is_pinned():
    extras = project()["optional-dependencies"]
    lines = (ENGINE.parent / "constraints.txt").read_text("utf-8").splitlines()
    pins = {line.partition("==")[0].lower() for line in lines if "==" in line}
    for extra in ("engine", "test"):
        for line in extras[extra]:
            assert line.partition(">")[0].lower() in pins
