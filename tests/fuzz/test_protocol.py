"""Anything may stand on a line: each line is answered once, cleanly, and the engine lives on.

``MIEN_FUZZ_LINES`` says how many lines the engine gets; 100,000 take some minutes.
"""

import json
import os
import random
import string
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from fuzz.spoiling import ODD, odd, spoiled
from mien.serve.lines import as_line
from mien.serve.requests import COMMANDS, RequestError, parse
from shots import make_shot

LINES = int(os.environ.get("MIEN_FUZZ_LINES", "1500"))
LAST = {"done", "error", "cancelled", "dropped"}
SEED = int(os.environ.get("MIEN_FUZZ_SEED", "20"))
OPEN = 50
"""Requests that are open at once at most, so that work is also finished and not only cancelled."""
PATIENCE = 300.0

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FIELDS = sorted({entry for kind, _ in COMMANDS.values() for entry in kind.__dataclass_fields__} | {"frame", "of"})
REQUESTS = st.builds(
    lambda id, do, rest: {"id": id, "do": do, **rest},
    st.integers() | st.text(max_size=5) | JSON,
    st.sampled_from(sorted(COMMANDS)) | st.text(max_size=8),
    st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), JSON, max_size=6),
)


@given(st.binary() | REQUESTS.map(lambda request: json.dumps(request).encode()))
@example(b'{"id": 1, "do": "log", "lines": 1e308}')
@example(b'{"id": 1, "do": "log", "lines": -0.5}')
@example(b"[" * 2000)
def test_a_line_is_a_request_or_a_clean_error(line):
    try:
        id, do, request, lane = parse(line)
    except RequestError as error:
        assert str(error) and len(str(error)) < 2000
        assert json.loads(as_line({"id": error.id, "message": str(error)}))["id"] == error.id
        return
    assert do in COMMANDS and isinstance(id, int | str) and lane and request is not None


def seeds(folder: Path) -> list[dict]:
    """Requests that mean something, to be spoiled."""
    made = make_shot(folder, count=3, width=40.0, write=("layer",))
    recipe = str(made.recipe)
    document = json.loads(made.recipe.read_text())
    return [
        {"do": "describe"},
        {"do": "status"},
        {"do": "progress"},
        {"do": "log", "lines": 3},
        {"do": "cancel", "of": 5},
        {"do": "release", "name": "00000001.exr"},
        {"do": "solve", "recipe": recipe},
        {"do": "render", "recipe": recipe, "frame": 1002, "viewer": "a", "scale": 0.5, "layers": ["layer", "matte"]},
        {"do": "render", "recipe": recipe, "frame": 1001, "region": [9, 9, 50, 60], "settings": {"matte_edge.grow": 1}},
        {"do": "render", "recipe": document, "folder": str(folder), "frame": 1003},
        {"do": "render", "recipe": document, "folder": str(folder), "frames": [1001, 1001]},
        {"do": "track", "folder": str(folder), "plate": made.plate, "output": "fuzz.json", "frames": [1001, 1001]},
        {"do": "train", "folder": str(folder), "kind": "swap", "output": "id", "settings": {"a": "a", "b": "b"}},
    ]


def noise(chance: random.Random) -> bytes:
    kind = chance.randrange(4)
    if kind == 0:
        return chance.randbytes(chance.randrange(200)).replace(b"\n", b" ")
    if kind == 1:
        return "".join(chance.choices(string.printable, k=chance.randrange(80))).replace("\n", "").encode()
    if kind == 2:
        return chance.choice((b"[", b'{"a":', b"-", b"1e", b'"')) * chance.randrange(2000)
    return json.dumps(odd(chance, ODD)).encode()


def fuzzed(number: int, known: list[dict], chance: random.Random) -> bytes:
    """One line; a request among them has its number for an id, unless that was spoiled."""
    if chance.random() < 0.2:
        return noise(chance)
    line = json.dumps(spoiled({"id": number, **chance.choice(known)}, chance, ODD)).encode()
    if chance.random() < 0.15:
        cut = bytearray(line)
        for _ in range(chance.randrange(1, 4)):
            cut[chance.randrange(len(cut))] = chance.choice(b'{}[]",:0\\ e\xff\0')
        line = bytes(cut[: chance.randrange(1, len(cut) + 1)]).replace(b"\n", b"")
    return b"" if b"quit" in line else line


def test_every_line_has_one_answer_and_the_engine_lives_on(tmp_path):
    known = seeds(tmp_path)
    chance = random.Random(SEED)
    command = [sys.executable, "-P", "-m", "mien.serve", "--device", "cpu", "--no-disk-cache", "--memory", "0.2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        try:
            converse(process, [fuzzed(number, known, chance) for number in range(LINES)])
        finally:
            process.kill()


def converse(process: subprocess.Popen, lines: list[bytes]) -> None:
    said: list[dict] = []
    answered = threading.Semaphore(0)
    printed: list[bytes] = []

    def hear() -> None:
        for line in process.stdout:
            message = json.loads(line, parse_constant=printed.append)
            if message["event"] in LAST:
                said.append(message)
                answered.release()

    threads = [threading.Thread(target=hear), threading.Thread(target=lambda: printed.extend(process.stderr))]
    for thread in threads:
        thread.start()

    def tell(line: bytes) -> None:
        process.stdin.write(line + b"\n")
        process.stdin.flush()

    for number, line in enumerate(lines):
        tell(line)
        if number >= OPEN:
            assert answered.acquire(timeout=PATIENCE), f"no answer after line {number}"
    for _ in range(min(OPEN, len(lines))):
        assert answered.acquire(timeout=PATIENCE), "a line has no answer"
    tell(b'{"id": "last", "do": "status", "wait": true}')
    assert answered.acquire(timeout=PATIENCE) and process.poll() is None
    process.stdin.close()
    for thread in threads:
        thread.join()
    assert process.wait() == 0
    assert len(said) == len(lines) + 1 and said[-1]["id"] == "last" and said[-1]["open"] == []
    bugs = [message["message"] for message in said if message.get("kind") == "bug"]
    assert bugs == [], b"".join(printed[-60:]).decode()
    print(Counter(message.get("kind", message["event"]) for message in said))
