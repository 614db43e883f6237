"""What ``mien install nuke`` puts where, and that it takes nothing else away."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mien.commands.install_nuke import MARK, build, install, remove
from mien.types import MienError

MINE = b"# my own caf\xe9 line\nimport nuke\r\nnuke.pluginAddPath('/shows')"


def silent(event):
    pass


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("APPDATA", str(tmp_path / "config"))
    nuke = tmp_path / "nüke"
    return tmp_path / "plug in", nuke


def test_one_line_is_added_once_and_taken_out_again(places):
    folder, nuke = places
    nuke.mkdir()
    script = nuke / "init.py"
    script.write_bytes(MINE)
    script.chmod(0o640)
    for _ in range(2):
        install(Path(sys.executable), folder, nuke, silent)
        lines = script.read_bytes().splitlines()
        assert sum(MARK.encode() in line for line in lines) == 1 and script.read_bytes().startswith(MINE)
        assert script.stat().st_mode & 0o777 == 0o640
    seen: list[str] = []
    namespace = {"pluginAddPath": seen.append}
    stub = type("nuke", (), {"pluginAddPath": staticmethod(namespace["pluginAddPath"])})
    line = next(line for line in script.read_text("latin-1").splitlines() if MARK in line)
    exec(line.replace("import nuke; ", ""), {"nuke": stub})
    assert seen == [folder.as_posix()]
    assert (folder / "menu.py").is_file() and (folder / "init.py").is_file()
    remove(folder, nuke, silent)
    assert script.read_bytes().rstrip(b"\n") == MINE and not folder.exists()
    said = []
    remove(folder, nuke, said.append)
    assert "no plugin" in said[0].message


def test_the_plugin_brings_what_it_needs_of_the_engine(places):
    folder, _ = places
    build(folder)
    (folder / "old.py").touch()
    build(folder)
    assert not (folder / "old.py").exists()
    code = "import mien.client, mien.hosts.recipes, mien.hosts.watch, sys; "
    code += "print(mien.client.__file__, 'torch' in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(folder / 'vendor')!r}); {code}"],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    assert done.stdout.split()[-1] == "False" and str(folder) in done.stdout
    assert (folder / "vendor" / "mien" / "nodes.json").is_file()


def test_other_folders_are_left_alone(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(MienError, match="no plugin of mien"):
        build(tmp_path / "photos")
    assert (tmp_path / "photos" / "a.jpg").is_file()


def test_the_command_says_what_it_did(tmp_path):
    home = {"XDG_CONFIG_HOME": str(tmp_path / "c"), "APPDATA": str(tmp_path / "c"), "HOME": str(tmp_path)}
    environment = {**os.environ, **home}
    words = [sys.executable, "-m", "mien", "install", "nuke"]
    how = {"env": environment, "capture_output": True, "text": True, "check": True, "timeout": 120}
    done = subprocess.run(words, **how)
    assert "pluginAddPath" in done.stdout + done.stderr and (tmp_path / ".nuke" / "init.py").is_file()
    done = subprocess.run([*words, "--remove"], **how)
    assert "Took the line" in done.stdout + done.stderr
    assert (tmp_path / ".nuke" / "init.py").read_text() == ""
