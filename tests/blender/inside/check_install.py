"""The zip as an artist meets it: valid, self-contained, switched on and off without a trace."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import bpy
import host
import pytest

HANDLERS = [name for name in dir(bpy.app.handlers) if isinstance(getattr(bpy.app.handlers, name), list)]


@pytest.fixture(scope="module")
def archive():
    return Path(os.environ["MIEN_ZIP"])


def test_the_zip_is_what_the_platform_takes(archive, tmp_path):
    with zipfile.ZipFile(archive) as file:
        names = file.namelist()
        manifest = tomllib.loads(file.read("blender_manifest.toml").decode())
        file.extractall(tmp_path)
    assert manifest["id"] == "mien" and manifest["license"] == ["SPDX:GPL-3.0-or-later"]
    assert not [name for name in names if name.endswith((".whl", ".so", ".pyd", ".pyc")) or "__pycache__" in name]
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 2_000_000
    tool = Path(bpy.utils.system_resource("SCRIPTS")) / "addons_core" / "bl_pkg" / "cli" / "blender_ext.py"
    done = subprocess.run([sys.executable, tool, "validate", tmp_path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_heavy_is_imported(installed):
    heavy = {"torch", "cv2", "av", "PyOpenColorIO", "scipy", "mien.types", "mien.ops"}
    assert not heavy & set(sys.modules)


def test_what_an_artist_sees_is_there(scene):
    assert hasattr(scene, "mien") and hasattr(bpy.context.window_manager, "mien")
    for name in ("check_engine", "inspect_plate", "track", "convert_shot", "convert_frame", "build_shot", "cancel"):
        assert getattr(bpy.ops.mien, name).get_rna_type().description, name
    assert any(panel.bl_category == "mien" for panel in panels())


def panels():
    return [kind for kind in bpy.types.Panel.__subclasses__() if kind.__module__.startswith(host.MODULE)]


def traces():
    """Everything of the extension that Blender still knows of."""
    hooks = [name for name in HANDLERS for hook in getattr(bpy.app.handlers, name) if ours(hook)]
    operators = [name for name in dir(bpy.ops.mien) if not name.startswith("_")]
    kinds = [kind.__name__ for base in (bpy.types.Panel, bpy.types.Operator, bpy.types.PropertyGroup, bpy.types.Menu,
             bpy.types.AddonPreferences, bpy.types.UIList) for kind in base.__subclasses__()
             if kind.__module__.startswith(host.MODULE) and getattr(kind, "is_registered", False)]  # fmt: skip
    menus = [hook for hook in drawn(bpy.types.NODE_MT_add) if ours(hook)]
    properties = [owner.__name__ for owner in (bpy.types.Scene, bpy.types.WindowManager) if hasattr(owner, "mien")]
    return hooks + operators + kinds + menus + properties


def ours(hook):
    return getattr(hook, "__module__", "").startswith(host.MODULE)


def drawn(menu):
    return getattr(menu.draw, "_draw_funcs", [])


def test_switched_off_nothing_is_left_and_switched_on_all_is_back(scene):
    before = sorted(map(str, traces()))
    assert before
    for _ in range(5):
        host.enable(False)
        assert traces() == []
        host.enable()
        assert sorted(map(str, traces())) == before


def test_installing_again_over_itself_works(installed, archive):
    host.install(archive)
    assert "FINISHED" in bpy.ops.mien.check_engine(wait=True)


def test_check_says_which_engine_runs_where(scene):
    assert host.said(bpy.ops.mien.check_engine, wait=True) == ""
    words = bpy.context.window_manager.mien.engine
    assert "0.1.0" in words and "cpu" in words.lower(), words


def test_an_engine_that_is_not_there_is_an_error_in_words(scene):
    preferences = bpy.context.preferences.addons[host.MODULE].preferences
    kept = preferences.engine_path
    try:
        preferences.engine_path = "/nowhere/python"
        words = host.said(bpy.ops.mien.check_engine, wait=True)
        assert "/nowhere/python" in words
        assert "/nowhere/python" in bpy.context.window_manager.mien.error
    finally:
        preferences.engine_path = kept
    assert host.said(bpy.ops.mien.check_engine, wait=True) == ""


def test_without_online_access_the_engine_is_not_installed(scene):
    assert not bpy.app.online_access
    assert not bpy.ops.mien.install_engine.poll()


def wheel(folder):
    """A package that pip installs without going online."""
    path = folder / "tiny-0.1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("tiny.py", "")
        file.writestr("tiny-0.1.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 0.1\n")
        file.writestr("tiny-0.1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("tiny-0.1.dist-info/RECORD", "")
    return path


def test_the_engine_is_installed_into_an_environment_of_its_own_and_the_log_says_how(scene, tmp_path):
    system, words = bpy.context.preferences.system, bpy.context.window_manager.mien
    chosen = bpy.context.preferences.addons[host.MODULE].preferences
    kept = chosen.engine_path, chosen.engine_package
    system.use_online_access = True
    try:
        chosen.engine_package = str(tmp_path / "nowhere.whl")
        assert bpy.ops.mien.install_engine() == {"FINISHED"}
        assert not bpy.ops.mien.install_engine.poll(), "one at a time"
        host.pump(lambda: "not installed" in words.engine, 300)
        bpy.ops.mien.open_log()
        assert "nowhere.whl" in words.engine + bpy.data.texts["mien log"].as_string()
        assert chosen.engine_path == kept[0]
        chosen.engine_package = str(wheel(tmp_path))
        assert bpy.ops.mien.install_engine() == {"FINISHED"}
        host.pump(lambda: "is installed" in words.engine or "not installed" in words.engine, 300)
        assert "Press Check" in words.engine
        done = subprocess.run([chosen.engine_path, "-c", "import tiny"], env={}, capture_output=True, timeout=60)
        assert done.returncode == 0 and "extension" in chosen.engine_path
    finally:
        chosen.engine_path, chosen.engine_package = kept
        system.use_online_access = False
