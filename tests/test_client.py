"""The client in a host's shoes: it finds the engine, hears it to the end, survives it, and never waits for it."""

import ast
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest

from mien import client
from mien.client import Engine, EngineDied, EngineError, find_python, remember_python, scrubbed
from shots import Made, make_shot, read_exr

ENGINE = Path(client.__file__)
PATIENCE = 120.0
MOMENTS = int(os.environ.get("MIEN_KILLS", "2"))
"""How many random moments of a render are killed in, of engine and of host each."""
posix = pytest.mark.skipif(os.name != "posix", reason="kills with signals")


def script(tmp_path: Path, text: str) -> str:
    """An executable that stands for the engine's Python."""
    path = tmp_path / "python"
    path.write_text(f"#!{sys.executable}\nimport os, sys, time, json\n" + textwrap.dedent(text))
    path.chmod(0o755)
    return str(path)


SPEAKS = """
def say(**message): print(json.dumps(message), flush=True)
say(id=None, event="hello", protocol=1)
"""


def test_it_is_written_for_the_pythons_of_hosts():
    text = ENGINE.read_text("utf-8")
    ast.parse(text, feature_version=(3, 9))
    modules = {name for node in ast.walk(ast.parse(text)) for name in names_of(node)}
    assert modules <= set(sys.stdlib_module_names)


def names_of(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [name.name.partition(".")[0] for name in node.names]
    return [str(node.module).partition(".")[0]] if isinstance(node, ast.ImportFrom) else []


OLD = sorted(Path.home().glob(".pyenv/versions/3.9*/bin/python")) or sorted(Path("/usr/bin").glob("python3.9"))


@pytest.mark.skipif(not OLD, reason="needs a Python 3.9")
def test_it_runs_in_python_3_9():
    code = f"import sys; sys.path.insert(0, {str(ENGINE.parents[1])!r})\n" + (
        "from mien.client import Engine\n"
        f"with Engine({sys.executable!r}) as engine: print(len(engine.call('describe', 60)['nodes']))"
    )
    done = subprocess.run([OLD[0], "-I", "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0 and int(done.stdout) > 5, done.stderr


def test_the_engine_is_found_where_it_was_said_to_be(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "engine_files", lambda: [tmp_path / "none.json", tmp_path / "a" / "engine.json"])
    monkeypatch.delenv("MIEN_PYTHON", raising=False)
    with pytest.raises(EngineDied, match="mien install engine"):
        find_python()
    remember_python(sys.executable, tmp_path / "a" / "engine.json")
    assert find_python() == sys.executable
    (tmp_path / "none.json").write_text("{broken")
    assert find_python() == sys.executable
    other = script(tmp_path, "")
    monkeypatch.setenv("MIEN_PYTHON", other)
    assert find_python() == other
    assert find_python(sys.executable) == sys.executable
    with pytest.raises(EngineDied, match=r"no Python /nowhere/python"):
        find_python("/nowhere/python")


def test_an_installation_writes_down_its_python(tmp_path):
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "APPDATA": str(tmp_path), "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "mien", "install", "engine"]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=PATIENCE)
    (written,) = tmp_path.rglob("engine.json")
    assert json.loads(written.read_text()) == {"python": sys.executable}


def test_the_environment_of_the_host_stays_with_the_host():
    host = {
        "PATH": "/bin", "HOME": "/home/artist", "PYTHONPATH": "x", "PYTHONHOME": "x", "LD_LIBRARY_PATH": "x",
        "DYLD_INSERT_LIBRARIES": "x", "QT_PLUGIN_PATH": "x", "NUKE_PATH": "x", "OCIO": "x", "OCIO_ACTIVE_VIEWS": "x",
    }  # fmt: skip
    assert scrubbed(host, ocio=False) == {"PATH": "/bin", "HOME": "/home/artist"}
    assert scrubbed(host, ocio=True).keys() == {"PATH", "HOME", "OCIO", "OCIO_ACTIVE_VIEWS"}


def test_the_engine_gets_that_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("OCIO", "/nowhere.ocio")
    python = script(tmp_path, SPEAKS + "say(id=1, event='done', env=dict(os.environ), words=sys.argv[1:])")
    engine = Engine(python, ["--memory", "2"], {"STUDIO": "yes"})
    answer = engine.call("describe", PATIENCE)
    assert answer["env"]["STUDIO"] == "yes" and not {"PYTHONPATH", "OCIO"} & answer["env"].keys()
    words = answer["words"]
    assert words == ["-P", "-m", "mien.serve", "--parent", str(os.getpid()), "--memory", "2"]
    engine.close()


def test_asking_costs_the_host_no_time(tmp_path):
    """Not even where the engine does not read: what is asked waits in the client."""
    engine = Engine(script(tmp_path, "time.sleep(600)"))
    began = time.monotonic()
    requests = [engine.ask("render", recipe="x" * 10_000) for _ in range(300)]
    assert time.monotonic() - began < 1.0 and not any(request.over for request in requests)
    assert requests[0].take() == []
    with pytest.raises(TimeoutError):
        requests[0].wait(0.01)
    engine.kill()
    for request in requests:
        with pytest.raises(EngineDied):
            request.wait(PATIENCE)
    engine.close()


def test_death_is_reported_once_with_the_last_words(tmp_path):
    reports, logs, heard = [], [], []
    python = script(
        tmp_path,
        SPEAKS + "say(id=1, event='progress', done=1); print('not json', flush=True); "
        "os.write(2, b'early\\n' + b'noise\\n' * 5000 + b'the last words'); os._exit(3)",
    )
    engine = Engine(python, on_death=reports.append, on_log=logs.append)
    request = engine.ask("render", listen=heard.append)
    with pytest.raises(EngineDied, match=r"(?s)failed with exit code 3.*the last words"):
        request.wait(PATIENCE)
    assert [event["event"] for event in heard] == ["progress", "died"]
    while engine.alive:
        time.sleep(0.01)
    # What comes from two pipes has no order between the two.
    assert len(reports) == 1 and "the last words" in reports[0].splitlines()[-2:]
    assert len(logs) == 5003 and "not json" in logs
    engine.close()
    assert len(reports) == 1


def test_an_engine_that_cannot_start_is_a_death_too():
    reports = []
    engine = Engine("/nowhere/python", on_death=reports.append)
    with pytest.raises(EngineDied, match="no Python /nowhere"):
        engine.call("describe", PATIENCE)
    while engine.alive:
        time.sleep(0.01)
    assert len(reports) == 1
    engine.close()


def test_the_next_request_starts_a_new_engine():
    reports = []
    with Engine(sys.executable, on_death=reports.append) as engine:
        first = engine.call("status", PATIENCE)["pid"]
        engine.kill()
        while engine.alive:
            time.sleep(0.01)
        second = engine.call("status", PATIENCE)["pid"]
        assert first != second and len(reports) == 1
    assert not psutil.pid_exists(second) and len(reports) == 1


def test_another_protocol_is_refused(tmp_path):
    engine = Engine(script(tmp_path, SPEAKS.replace("protocol=1", "protocol=2") + "time.sleep(600)"))
    with pytest.raises(EngineDied, match="protocol 2, not 1"):
        engine.call("describe", PATIENCE)
    engine.close()


def test_a_listener_that_fails_stops_nobody(capfd):
    def listen(event):
        raise RuntimeError("fault of the host")

    with Engine(sys.executable, on_log=listen) as engine:
        assert engine.ask("describe", listen=listen).wait(PATIENCE)["event"] == "done"
        assert engine.call("status", PATIENCE)["event"] == "done"
    assert "fault of the host" in capfd.readouterr().err


def test_many_threads_ask_at_once():
    with Engine(sys.executable) as engine:
        found: list[int] = []

        def ask() -> None:
            for _ in range(20):
                found.append(engine.call("status", PATIENCE)["id"])

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(found) == list(range(1, 161))


def test_events_of_a_request_that_nobody_takes_are_bounded(tmp_path):
    python = script(
        tmp_path,
        SPEAKS + "[say(id=1, event='progress', done=i) for i in range(5000)]; say(id=1, event='done'); time.sleep(9)",
    )
    engine = Engine(python)
    request = engine.ask("render")
    request.wait(PATIENCE)
    events = request.take()
    assert len(events) == client.MOST_EVENTS and events[-1]["event"] == "done" and request.take() == []
    engine.close()
    engine.kill()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_shot(tmp_path_factory.mktemp("shot"), count=12)


def whole(folder: Path) -> int:
    """How many files bear a final name; every one of them can be read."""
    files = [path for path in folder.rglob("*.exr") if not path.name.startswith(".")]
    for path in files:
        read_exr(path)
    for path in folder.rglob("*.json"):
        json.loads(path.read_text())
    return len(files)


@posix
def test_the_engine_may_be_killed_at_any_moment(made):
    generator = random.Random(5)
    reports: list[str] = []
    engine = Engine(sys.executable, ["--no-disk-cache"], {"OMP_NUM_THREADS": "1"}, on_death=reports.append)
    recipe = str(made.changed("killed"))
    began = time.monotonic()
    engine.call("render", PATIENCE, recipe=recipe, force=True)
    usual = time.monotonic() - began
    for moment in range(MOMENTS):
        request = engine.ask("render", recipe=recipe, force=True)
        while engine.pid is None:
            time.sleep(0.001)
        time.sleep(generator.random() * usual)
        pid = engine.pid
        os.kill(pid, signal.SIGKILL)
        try:
            request.wait(PATIENCE)
        except EngineDied as error:
            assert "SIGKILL" in str(error)
        while engine.alive:
            time.sleep(0.001)
        assert len(reports) == moment + 1 and not psutil.pid_exists(pid)
        whole(made.folder / "killed")
    answer = engine.call("render", PATIENCE, recipe=recipe)
    assert answer["done"] + answer["skipped"] == 12 and answer["failed"] == []
    assert whole(made.folder / "killed") == 24 and not list((made.folder / "killed").rglob("*.partial*"))
    engine.close(10)


HOST = """
import sys
from mien.client import Engine
engine = Engine(sys.executable, ["--no-disk-cache"], {"OMP_NUM_THREADS": "1"})
engine.ask("render", listen=lambda event: print(engine.pid, event["event"], flush=True), recipe=sys.argv[1], force=True)
engine.ask("describe").wait()
print(engine.pid, "started", flush=True)
import time
time.sleep(600)
"""


@posix
def test_the_host_may_be_killed_at_any_moment(made):
    generator = random.Random(6)
    recipe = str(made.changed("abandoned"))
    slowest = 0.0
    for _ in range(MOMENTS):
        host = subprocess.Popen([sys.executable, "-c", HOST, recipe], stdout=subprocess.PIPE, text=True)
        pid = int(host.stdout.readline().split()[0])
        time.sleep(generator.random() * 5)
        engine = psutil.Process(pid)
        host.kill()
        host.wait()
        began = time.monotonic()
        engine_gone(engine)
        slowest = max(slowest, time.monotonic() - began)
        host.stdout.close()
        whole(made.folder / "abandoned")
    print(f"the engine left at most {slowest:.2f} s after the host")
    assert slowest < 2


def engine_gone(process: psutil.Process) -> None:
    deadline = time.monotonic() + 10
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "an orphan"
        time.sleep(0.01)


@posix
def test_the_engine_leaves_with_a_host_whose_other_child_holds_the_pipe():
    """Standard input does not end, as somebody else holds its other end; the host is gone all the same."""
    code = (
        "import os, subprocess, sys, time\n"
        "read, write = os.pipe()\n"
        "words = [sys.executable, '-P', '-m', 'mien.serve', '--parent', str(os.getpid())]\n"
        "engine = subprocess.Popen(words, stdin=read, stdout=subprocess.PIPE)\n"
        "other = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(30)'], pass_fds=[write])\n"
        "engine.stdout.readline()\n"
        "print(engine.pid, other.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    host = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    engine, other = (psutil.Process(int(pid)) for pid in host.stdout.readline().split())
    host.kill()
    host.wait()
    host.stdout.close()
    try:
        engine_gone(engine)
    finally:
        other.kill()


def test_a_host_that_ends_leaves_nothing_behind():
    code = (
        "import sys\nfrom mien.client import Engine\nengine = Engine(sys.executable)\n"
        "engine.call('describe', 60)\nprint(engine.pid)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0 and done.stderr == ""
    assert not psutil.pid_exists(int(done.stdout)) or psutil.Process(int(done.stdout)).status() == "zombie"


def test_errors_hold_what_kind_they_are():
    with Engine(sys.executable) as engine, pytest.raises(EngineError, match="did you mean 'describe'") as caught:
        engine.call("descrbe", PATIENCE)
    assert caught.value.kind == "request"
