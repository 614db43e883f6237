"""The engine as hosts meet it: lines in, lines out, one last word on each request, nothing outside its fence."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from facesets.sets import person
from mien import recipe as recipes
from mien.client import Engine, EngineDied, EngineError
from mien.commands import PlateArguments, TrackArguments
from mien.declare import shipped
from mien.serve.desk import Cancelled, Desk, Queue, Ticket
from mien.serve.fence import Fence
from mien.serve.lines import LONGEST, TooLong, as_line, read_lines
from mien.serve.requests import COMMANDS, Describe, Render, RequestError, Show, Status, Track, parse
from shots import Made, make_shot, read_exr

PATIENCE = 120.0
"""Seconds after which a test gives up on a busy machine."""
LAST = ("done", "error", "cancelled", "dropped")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_shot(tmp_path_factory.mktemp("shot"), count=8)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    cache = tmp_path_factory.mktemp("cache")
    with Engine(sys.executable, ["--device", "cpu"], {"XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"}) as engine:
        yield engine
        assert engine.call("status", PATIENCE)["open"] == []


def start(*options: str) -> subprocess.Popen:
    command = [sys.executable, "-P", "-m", "mien.serve", "--no-disk-cache", *options]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def talk(text: bytes, *options: str) -> list[dict]:
    """What a new engine says to some bytes and their end."""
    process = start(*options)
    out, _ = process.communicate(text, timeout=PATIENCE)
    assert process.returncode == 0
    return [json.loads(line) for line in out.splitlines()]


def lines_of(*requests: dict) -> bytes:
    return b"".join(json.dumps(request).encode() + b"\n" for request in requests)


def through_a_pipe(pieces: list[bytes], longest: int = LONGEST) -> list[bytes | TooLong]:
    read, write = os.pipe()

    def feed() -> None:
        for piece in pieces:
            os.write(write, piece)
        os.close(write)

    feeder = threading.Thread(target=feed)
    feeder.start()
    found = list(read_lines(read, longest))
    feeder.join()
    os.close(read)
    return found


def test_lines_arrive_however_they_are_cut():
    text = b"one\n\ntwo and more\nlast"
    whole = [b"one", b"", b"two and more", b"last"]
    for size in range(1, len(text) + 1):
        assert through_a_pipe([text[i : i + size] for i in range(0, len(text), size)]) == whole


def test_a_long_line_is_passed_over_and_the_next_one_is_read():
    found = through_a_pipe([b"a" * 30 + b"\nb\n", b"c" * 9, b"c" * 9 + b"\n" + b"d" * 10 + b"\n" + b"e" * 11], 10)
    assert [type(line) is TooLong or line for line in found] == [True, b"b", True, b"d" * 10, True]


def test_a_message_is_one_line_of_standard_json():
    line = as_line({"a": [float("inf"), 1.5, {"b": float("nan")}], "c": "ü\n\ud800", "d": Path("x")})
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert json.loads(line, parse_constant=lambda word: pytest.fail(word)) == {
        "a": [None, 1.5, {"b": None}], "c": "ü\n\ud800", "d": "x",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ([], "JSON object"),
        ({"do": "describe"}, "needs an id"),
        ({"id": None, "do": "describe"}, "needs an id"),
        ({"id": True, "do": "describe"}, "needs an id"),
        ({"id": 1.5, "do": "describe"}, "needs an id"),
        ({"id": "x" * 129, "do": "describe"}, "needs an id"),
        ({"id": 1}, "no command None"),
        ({"id": 1, "do": "rendr"}, "did you mean 'render'"),
        ({"id": 1, "do": ["render"]}, "no command"),
        ({"id": 1, "do": "describe", "protocol": 2}, "protocol 1, not 2"),
        ({"id": 1, "do": "render"}, "needs 'recipe'"),
        ({"id": 1, "do": "render", "recipe": 5}, "recipe is 5: give text or an object"),
        ({"id": 1, "do": "render", "recipe": "a\0b"}, "give text"),
        ({"id": 1, "do": "render", "recipe": "\ud800"}, "give text"),
        ({"id": 1, "do": "render", "recipe": "r", "frames": [1]}, "a list of 2"),
        ({"id": 1, "do": "render", "recipe": "r", "frames": [1, 2.5]}, "a whole number"),
        ({"id": 1, "do": "render", "recipe": "r", "frames": [1, 10**400]}, "a number"),
        ({"id": 1, "do": "render", "recipe": "r", "frame": "one"}, "a number"),
        ({"id": 1, "do": "render", "recipe": "r", "frame": True}, "a number"),
        ({"id": 1, "do": "render", "recipe": "r", "force": 1}, "true or false"),
        ({"id": 1, "do": "track", "folder": "/", "plate": "p"}, "needs 'output'"),
    ],
)
def test_what_is_no_request_is_told(request_, says):
    with pytest.raises(RequestError, match=says):
        parse(json.dumps(request_).encode())


@pytest.mark.parametrize("line", [b"", b"\xff\xfe", b"{", b"[" * 100_000, b'{"id": NaN}', b"1" * 5000, b"null"])
def test_what_is_no_json_is_told(line):
    with pytest.raises(RequestError) as caught:
        parse(line)
    assert caught.value.id is None


def test_unknown_fields_are_ignored_and_null_is_as_good_as_nothing():
    id, do, request, lane = parse(b'{"id": "a", "do": "render", "recipe": "/r", "frames": null, "later": {"x": 1}}')
    assert (id, do, request, lane) == ("a", "render", Render("/r"), "batch")


def test_one_frame_is_for_eyes_and_a_range_is_for_files():
    shown = parse(b'{"id": 1, "do": "render", "recipe": {"a": 1}, "frame": 7, "region": [0, 0, 9, 9], "scale": 0.5}')
    assert shown[2:] == (Show({"a": 1}, frame=7, region=(0, 0, 9, 9), scale=0.5), "view")
    assert parse(b'{"id": 1, "do": "status"}')[2:] == (Status(), "at once")


def test_every_command_is_explained():
    page = (Path(__file__).parents[1] / "docs" / "serve.md").read_text("utf-8")
    assert all(f"### `{name}`" in page for name in COMMANDS)


def ticket(id: int, **fields: object) -> Ticket:
    return Ticket(id, "render", Show("/r", **fields), "view")


def test_the_newest_picture_comes_first_and_makes_older_ones_of_its_viewer_stale():
    queue = Queue(newest=True)
    first, other, second, third = ticket(1), ticket(2, viewer="b"), ticket(3), ticket(4, viewer="c")
    assert queue.put(first) == [] and queue.put(other) == []
    assert queue.put(second) == [first] and queue.put(third) == []
    queue.close()
    assert [queue.take() for _ in range(4)] == [third, second, other, None]


def test_work_on_files_is_done_in_order():
    queue = Queue()
    tickets = [ticket(number) for number in range(5)]
    for one in tickets:
        assert queue.put(one) == []
    assert queue.withdraw(tickets[2]) and not queue.withdraw(tickets[2])
    queue.close()
    assert [queue.take() for _ in range(5)] == [*tickets[:2], *tickets[3:], None]


class Said(list):
    """Takes what is said, as the writer does."""

    crowded = False

    def say(self, message: object) -> None:
        self.append(message)


def test_long_work_gives_way_to_a_picture_and_stops_when_it_is_cancelled():
    said = Said()
    order: list[int | str] = []
    begun = threading.Event()

    def perform(ticket, tell, unwanted):
        if isinstance(ticket.request, Show):
            order.append("picture")
            return {}
        for step in range(10_000):
            order.append(step)
            begun.set()
            tell({"event": "progress", "done": step, "total": 10_000})
            time.sleep(0.001)
        return {}

    desk = Desk(said, perform)
    threads = [threading.Thread(target=desk.serve, args=(lane,), daemon=True) for lane in ("batch", "view")]
    for thread in threads:
        thread.start()
    long = Ticket(1, "render", Render("/r"), "batch")
    desk.accept(long)
    begun.wait(10)
    desk.accept(ticket(2))
    while not any(message["id"] == 2 for message in list(said)):
        time.sleep(0.001)
    desk.cancel(long)
    desk.close()
    for thread in threads:
        thread.join(10)
    last = {message["id"]: message["event"] for message in said if message["event"] in LAST}
    assert last == {1: "cancelled", 2: "done"}
    assert "picture" in order and order.index("picture") < len(order) < 10_000
    assert desk.open == {}


def test_an_id_that_is_open_is_refused_without_a_second_answer():
    said = Said()
    desk = Desk(said, lambda ticket, tell, unwanted: {})
    desk.accept(Ticket(1, "render", Render("/r"), "batch"))
    with pytest.raises(RequestError, match="still open") as caught:
        desk.accept(Ticket(1, "describe", Describe(), "at once"))
    assert caught.value.id is None and not said


def test_nothing_is_said_after_the_last_word():
    said = Said()
    desk = Desk(said, lambda ticket, tell, unwanted: {})
    one = Ticket(1, "render", Render("/r"), "batch")
    desk.accept(one)
    desk.answer(one, "done", {})
    desk.answer(one, "error", {})
    desk.teller(one)({"event": "progress", "done": 1, "total": 2})
    one.cancelled.set()
    with pytest.raises(Cancelled):
        desk.teller(one)({"event": "progress", "done": 1, "total": 2})
    assert [message["event"] for message in said] == ["done"]


def test_outputs_stay_below_the_folder_of_the_job(tmp_path):
    job, elsewhere = tmp_path / "job", tmp_path / "elsewhere"
    job.mkdir(), elsewhere.mkdir()
    (job / "link").symlink_to(elsewhere)
    (job / "inner").symlink_to(job)
    fence = Fence()
    for fine in ("a.json", "new/folder/a.json", job / "b", "inner/c", "x/../a"):
        fence.output(fine, job)
    for bad in ("../a", "link/a", "/etc/a", str(elsewhere / "a"), "new/../../a", "link"):
        with pytest.raises(RequestError, match="outside the job's folder"):
            fence.output(bad, job)
        Fence((elsewhere, Path("/etc"), tmp_path)).output(bad, job)
    with pytest.raises(RequestError, match="not absolute"):
        fence.folder("job")
    with pytest.raises(RequestError, match="no folder"):
        fence.folder(str(tmp_path / "none"))


def test_describe_is_what_is_shipped_and_needs_no_torch():
    hello, answer, status, left = talk(
        lines_of({"id": 1, "do": "describe"}, {"id": 2, "do": "status"}, {"id": "q", "do": "quit"})
    )
    assert hello["event"] == "hello" and hello["protocol"] == 1
    assert [node["id"] for node in answer["nodes"]] == [node.id for node in shipped()]
    assert [step["name"] for step in answer["chain"]] == [step.name for step in recipes.CONVERT]
    assert (answer["event"], answer["id"], status["ready"], left["id"]) == ("done", 1, False, "q")


def test_the_command_line_serves_too():
    command = [sys.executable, "-m", "mien", "serve"]
    done = subprocess.run(command, input=lines_of({"id": 1, "do": "describe"}), capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 2


def test_garbage_gets_errors_and_the_engine_lives_on():
    garbage = [b"\x00\xff\xfe", b"", b"{}", b"[1, 2]", b'{"id": 3}', b'{"id": 4, "do": "rm"}', b'"' * 3, b"[" * 50_000]
    said = talk(b"\n".join([*garbage, b'{"id": 5, "do": "describe"}', b""]))[1:]
    assert [one["event"] for one in said] == ["error"] * len(garbage) + ["done"]
    assert [one["id"] for one in said] == [None] * 4 + [3, 4, None, None, 5]
    assert all(one["kind"] == "request" and one["message"] for one in said[:-1])


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of a process from /proc")
def test_a_line_of_100_megabytes_is_survived_in_little_memory():
    process = start()
    for _ in range(100):
        process.stdin.write(b"x" * 10**6)
    process.stdin.write(b"\n" + lines_of({"id": 1, "do": "describe"}))
    process.stdin.flush()
    said = [json.loads(process.stdout.readline()) for _ in range(3)]
    assert "longer than 16 MiB" in said[1]["message"] and said[2]["id"] == 1
    peak = Path(f"/proc/{process.pid}/status").read_text().split("VmHWM:")[1].split()[0]
    process.communicate(timeout=PATIENCE)
    # torch may be on its way in; the line itself would be 97,000 kB more.
    assert int(peak) < 400_000


def test_whatever_is_printed_goes_to_standard_error():
    code = (
        "import os, subprocess, sys, ctypes\n"
        "from mien.serve.engine import own_streams\n"
        "read, write = own_streams()\n"
        "print('from python')\n"
        "os.write(1, b'from a descriptor\\n')\n"
        "ctypes.CDLL(None).puts(b'from C'); ctypes.CDLL(None).fflush(None)\n"
        "subprocess.run([sys.executable, '-c', 'print(\"from a child\")'])\n"
        "assert sys.stdin.read() == ''\n"
        "os.write(write, b'protocol: ' + os.read(read, 100))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], input=b"request", capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0 and done.stdout == b"protocol: request"
    assert all(f"from {one}".encode() in done.stderr for one in ("python", "a descriptor", "C", "a child"))


def layer_files(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: read_exr(path)[1] for path in sorted((folder / "layer").glob("*.exr"))}


def test_a_range_is_rendered_as_the_command_line_does_and_only_once(engine, made):
    recipe = made.changed("served")
    seen = []
    answer = engine.ask("render", recipe=str(recipe), frames=[1002, 1004], listen=seen.append).wait(PATIENCE)
    assert (answer["done"], answer["skipped"], answer["failed"]) == (3, 0, [])
    assert [one["frame"] for one in seen if one.get("stage") == "render"] == [1002, 1003, 1004]
    assert all(Path(path).is_file() for path in answer["curves"].values()) and "match_color" in answer["curves"]
    again = engine.call("render", PATIENCE, recipe=str(recipe), frames=[1002, 1004])
    assert (again["done"], again["skipped"]) == (0, 3)
    command = [sys.executable, "-m", "mien", "render", str(made.changed("by_hand")), "--frames", "1002-1004"]
    subprocess.run([*command, "--device", "cpu"], check=True, capture_output=True, timeout=PATIENCE)
    served, by_hand = layer_files(made.folder / "served"), layer_files(made.folder / "by_hand")
    assert served.keys() == by_hand.keys() and len(served) == 3
    assert all(np.array_equal(served[name], by_hand[name], equal_nan=True) for name in served)


def pixels_of(shown: dict) -> np.ndarray:
    """(height, width, channels) of what was handed over, read by the documented layout alone."""
    content = np.fromfile(shown["path"], np.uint8)
    kind = {"half": "<f2", "float": "<f4"}[shown["pixels"]]
    shape = (shown["height"], len(shown["channels"]), shown["width"])
    size = np.dtype(kind).itemsize
    strides = (shown["stride"], shown["width"] * size, size)
    return np.ndarray(shape, kind, content, shown["offset"], strides).transpose(0, 2, 1).copy()


def test_a_shown_frame_is_what_would_be_rendered(engine, made):
    recipe = str(made.changed("shown", write=("layer",)))
    settings = {"matte_edge.grow": 0.02}
    early = engine.call("render", PATIENCE, recipe=recipe, settings=settings, frame=1003, scale=1)
    assert early["solve"] in ("none", "stale")
    engine.call("solve", PATIENCE, recipe=recipe, settings=settings)
    shown = engine.call("render", PATIENCE, recipe=recipe, settings=settings, frame=1003, scale=1)
    assert shown["solve"] == "fresh" and shown["face"]
    document = json.loads(recipes.write(recipes.read(Path(recipe))))
    engine.call("render", PATIENCE, recipe=document, folder=str(made.folder), settings=settings, frames=[1003, 1003])
    spec, rendered = read_exr(made.folder / "shown" / "layer" / "shot.1003.exr")
    x, y = shown["corner"][0] - spec.x, shown["corner"][1] - spec.y
    part = rendered[y : y + shown["height"], x : x + shown["width"], [spec.channelnames.index(c) for c in "RGBA"]]
    picture = pixels_of(shown)[..., [shown["channels"].index(channel) for channel in "RGBA"]]
    assert np.array_equal(picture, part.astype(np.float16)) and picture[..., 3].max() == 1
    engine.call("release", PATIENCE, name=shown["name"])


def test_values_for_every_frame_are_honored(engine, made):
    recipe = str(made.changed("keyed"))
    keys = [[frame, 1.0 if frame % 2 else 0.25, "constant"] for frame in made.frames]
    asked = {"recipe": recipe, "settings": {"composite.opacity": keys}, "scale": 1}
    tops = [pixels_of(engine.call("render", PATIENCE, frame=frame, **asked)).max() for frame in (1003, 1004)]
    assert tops[0] > 2 * tops[1] > 0


def test_every_request_of_a_drag_is_answered_once(engine, made):
    recipe = str(made.changed("dragged"))
    engine.call("render", PATIENCE, recipe=recipe, frame=1003)
    heard: list[dict] = []
    requests = [
        engine.ask("render", recipe=recipe, frame=1003, settings={"matte_edge.grow": i / 1000}, listen=heard.append)
        for i in range(60)
    ]
    for request in requests:
        wait_for(lambda request=request: request.over)
    last = [request.answer["event"] for request in requests]
    assert last[-1] == "done" and Counter(last)["dropped"] > 0 and set(last) <= {"done", "dropped"}
    assert Counter(one["id"] for one in heard if one["event"] in LAST) == dict.fromkeys([r.id for r in requests], 1)


def oiio_write(path, pixels):
    import OpenImageIO as oiio

    assert oiio.ImageBuf(pixels).write(str(path))


def test_cancel_ends_long_work_and_leaves_nothing_half_written(engine, tmp_path):
    long = make_shot(tmp_path, count=60, write=("layer",))
    for do in ("solve", "render"):
        begun = threading.Event()
        request = engine.ask(do, recipe=str(long.recipe), listen=lambda event, begun=begun: begun.set())
        waiting = engine.ask("solve", recipe=str(long.recipe))
        assert begun.wait(PATIENCE)
        waiting.cancel()
        request.cancel()
        with pytest.raises(EngineError, match="cancelled"):
            request.wait(5)
        with pytest.raises(EngineError, match="cancelled"):
            waiting.wait(5)
    assert engine.call("status", PATIENCE)["open"] == []
    assert engine.call("render", PATIENCE, recipe=str(long.recipe), frames=[1001, 1002])["failed"] == []
    assert not list(tmp_path.rglob("*.partial*"))


def test_check_tells_what_a_render_would_write(engine, tmp_path):
    made = make_shot(tmp_path, count=4, write=("layer",))
    ask = {"recipe": str(made.recipe)}
    nothing: dict = {"fresh": [], "stale": [], "absent": [], "no_plate": []}

    def found(**changes):
        answer = engine.call("check", PATIENCE, **ask, **changes)
        return {name: answer[name] for name in nothing}

    frames = list(made.frames)
    assert found() == {**nothing, "absent": frames}
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").rglob("*.exr"))
    written = engine.call("render", PATIENCE, **ask, frames=[1001, 1003])["done"]
    assert written == 3
    assert found() == {**nothing, "fresh": [1001, 1002, 1003], "absent": [1004]}
    assert found(frames=[1002, 1003]) == {**nothing, "fresh": [1002, 1003]}
    # A setting of the finish leaves the solve true; one of the matte asks for a new one.
    assert found(settings={"composite.opacity": 0.5})["stale"] == [1001, 1002, 1003]
    assert found(settings={"composite.opacity": [[1001, 1.0], [1002, 1.0], [1003, 0.5]]})["fresh"] == [1001, 1002]
    assert found(settings={"matte_edge.grow": 0.01})["stale"] == [1001, 1002, 1003]
    plate = next(path for path in sorted(made.folder.rglob("*1002.exr")) if str(path).startswith(made.plate[:-8]))
    plate.unlink()
    assert found()["no_plate"] == [1002]


def test_inspect_tells_of_plates_and_files(engine, made):
    plate = engine.call("inspect", PATIENCE, path=made.plate)
    assert plate["range"] == [made.frames[0], made.frames[-1]] and plate["missing"] == []
    assert len(plate["size"]) == 2 and len(plate["data"]) == 4
    assert engine.call("inspect", PATIENCE, path=str(made.track))["is"] == "track"
    assert "identity" in engine.call("inspect", PATIENCE, path=str(made.identity))["is"]
    for path, says in [("/none/there.exr", "there.exr"), ("here.exr", "not absolute")]:
        with pytest.raises(EngineError, match=says):
            engine.call("inspect", PATIENCE, path=path)


def test_an_identity_of_a_photograph_says_whose_it_is(engine, tmp_path):
    from skimage import data

    photo = tmp_path / "collins.png"
    oiio_write(photo, data.astronaut())
    ask = {"folder": str(tmp_path), "sources": ["collins.png"], "plate": "collins.png", "output": "one.safetensors"}
    made = engine.call("identity", PATIENCE, **ask, likeness="Eileen Collins", release="public domain")
    assert made["written"] == [str(tmp_path / "one.safetensors")] and made["likeness"] == "Eileen Collins"
    for changes, says in [
        ({"sources": []}, "sources is empty"),
        ({"output": "../one.safetensors"}, "outside the job"),
        ({"release_until": "soon"}, "YYYY-MM-DD"),
    ]:
        with pytest.raises(EngineError, match=says):
            engine.call("identity", PATIENCE, **{**ask, **changes})


def test_faults_of_a_recipe_are_told_in_words(engine, made):
    recipe = str(made.recipe)
    for changes, kind, says in [
        ({"settings": {"matte_edge.grwo": 1}}, "artist", "did you mean 'grow'"),
        ({"settings": {"matte_edge.soften": -5}}, "artist", "must lie between"),
        ({"frames": [5, 6]}, "artist", "not in the shot"),
        ({"recipe": "shot.json"}, "request", "not absolute"),
        ({"recipe": str(made.folder / "none.json")}, "artist", "Check the path"),
        ({"recipe": {}}, "request", "needs 'folder'"),
        ({"recipe": {"mien_recipe": 9}, "folder": str(made.folder)}, "artist", "version is 1"),
        ({"frame": 1003, "scale": 0.3}, "artist", "choose 1, 0.5"),
        ({"frame": 1003, "layers": ["layers"]}, "request", "did you mean 'layer'"),
        ({"frame": 1003, "layers": []}, "request", "layers is empty"),
    ]:
        with pytest.raises(EngineError, match=says) as caught:
            engine.call("render", PATIENCE, **{"recipe": recipe, **changes})
        assert caught.value.kind == kind


def test_a_recipe_cannot_write_outside_its_folder(engine, made, tmp_path):
    recipe = made.changed("escaped")
    document = json.loads(recipe.read_text())
    for folder in (str(tmp_path), "../.."):
        document["output"]["folder"] = folder
        for do in ("render", "solve"):
            with pytest.raises(EngineError, match="outside the job's folder"):
                engine.call(do, PATIENCE, recipe=document, folder=str(made.folder))
    inside = made.folder / "linked"
    inside.mkdir()
    (inside / "layer").symlink_to(tmp_path)
    document["output"]["folder"] = str(inside)
    with pytest.raises(EngineError, match="outside the job's folder"):
        engine.call("render", PATIENCE, recipe=document, folder=str(made.folder))
    assert not list(tmp_path.iterdir())
    with Engine(sys.executable, ["--allow-path", str(tmp_path), "--no-disk-cache"]) as other:
        answer = other.call("render", PATIENCE, recipe=document, folder=str(made.folder), frames=[1003, 1003])
    assert answer["done"] == 1 and [path.name for path in tmp_path.iterdir()] == ["shot.1003.exr"]


def test_tracking_says_who_was_found(engine, made):
    fields = {"folder": str(made.folder), "plate": made.plate, "output": "tracks/new.json", "frames": [1001, 1003]}
    answer = engine.call("track", PATIENCE, **fields)
    assert answer["faces"] == [] and len(answer["failed"]) == 3
    assert Path(answer["written"][0]) == made.folder / "tracks" / "new.json"
    for name, value in {"output": "../a.json", "preview": "/tmp/a.mov", "exports": ["../a.csv"]}.items():
        with pytest.raises(EngineError, match="outside the job's folder"):
            engine.call("track", PATIENCE, **{**fields, name: value})


def test_a_track_goes_to_other_programs(engine, made, tmp_path):
    fields = {"folder": str(made.folder), "track": str(made.track), "outputs": ["out/face.nk", "out/face.csv"]}
    answer = engine.call("export", PATIENCE, **fields)
    assert [Path(path).name for path in answer["written"]] == ["face.nk", "face.csv"]
    assert "CornerPin2D {" in (made.folder / "out" / "face.nk").read_text()
    with pytest.raises(EngineError, match="no face called 'nobody'"):
        engine.call("export", PATIENCE, **fields, face="nobody")
    with pytest.raises(EngineError, match="outside the job's folder"):
        engine.call("export", PATIENCE, **{**fields, "outputs": [str(tmp_path / "a.nk")]})


def test_a_training_of_pairs_runs_through_the_service(tmp_path):
    rng = np.random.default_rng(4)
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
    for number in range(4):
        picture = rng.uniform(0.1, 0.9, (48, 48, 3)).astype(np.float32)
        oiio_write(tmp_path / "before" / f"p.{number:04d}.exr", picture)
        oiio_write(tmp_path / "after" / f"p.{number:04d}.exr", picture * 0.5)
    settings = {
        "before": "before",
        "after": "after",
        "released": {"likeness": "Nobody", "release": "test"},
        "setting": {"size": 32, "batch": 2, "shape": {"width": 4, "levels": 3}},
        "pace": {"steps": 4, "preview": 2, "precision": "float32"},
    }
    training = {"folder": str(tmp_path), "kind": "paired", "output": "look.safetensors", "settings": settings}
    with Engine(sys.executable, ["--device", "cpu", "--no-disk-cache"], {"OMP_NUM_THREADS": "1"}) as engine:
        request = engine.ask("train", **training)
        done = request.wait(PATIENCE)
        assert done["done"] == 4 and str(tmp_path / "look.safetensors") in done["written"]
        assert {"progress", "losses", "preview"} <= {event["event"] for event in request.take()}
        facts = engine.call("inspect", PATIENCE, path=str(tmp_path / "look.safetensors"))
        assert "paired" in facts["is"] and facts["likeness"] == "Nobody"


def test_a_training_can_be_started_paused_resumed_and_stopped(tmp_path):
    person(tmp_path / "a", 24, (0.5, 0.3, 0.2), 1)
    person(tmp_path / "b", 22, (0.2, 0.3, 0.5), 2)
    settings = {
        "a": "a",
        "b": "b",
        "released": {"likeness": "Nobody", "release": "test"},
        "shape": {"preset": "df", "size": 32, "encoder": 4, "decoder": 4, "matte": 2, "code": 8},
        "pace": {"steps": 100_000, "preview": 3, "precision": "float32", "rate": 1e-3, "warm": 2},
        "batch": 2,
    }
    training = {"folder": str(tmp_path), "kind": "swap", "output": "id.safetensors", "settings": settings}
    with Engine(sys.executable, ["--device", "cpu", "--no-disk-cache"], {"OMP_NUM_THREADS": "1"}) as engine:
        request = engine.ask("train", **training)
        wait_for(lambda: "preview" in {event["event"] for event in request.take()})
        engine.call("train", PATIENCE, of=request.id, action="pause")
        wait_for(lambda: (tmp_path / "id.safetensors").is_file())
        time.sleep(0.5)
        request.take()
        time.sleep(0.5)
        assert request.take() == [] and not request.over
        engine.call("train", PATIENCE, of=request.id, action="resume")
        wait_for(lambda: "progress" in {event["event"] for event in request.take()})
        with pytest.raises(EngineError, match="did you mean 'stop'"):
            engine.call("train", PATIENCE, of=request.id, action="stopp")
        engine.call("train", PATIENCE, of=request.id, action="stop")
        done = request.wait(PATIENCE)
        assert done["done"] > 3 and str(tmp_path / "id.safetensors") in done["written"]
        again = engine.ask("train", **training)
        wait_for(lambda: any(e.get("stage") == "train" and e["done"] > done["done"] for e in again.take()))
        again.cancel()
        with pytest.raises(EngineError, match="cancelled"):
            again.wait(PATIENCE)
        for changes, says in [
            ({"kind": "swop"}, "did you mean 'swap'"),
            ({"output": "../id.safetensors"}, "outside the job's folder"),
            ({"settings": {**settings, "stepz": 3}}, "has no 'stepz'"),
            ({"settings": {**settings, "pace": {"steps": "all"}}}, "settings.pace.steps is 'all': give a number"),
            ({"settings": {"a": "a"}}, "lacks"),
            ({"settings": {**settings, "released": {}}}, "Say whose face"),
        ]:
            with pytest.raises(EngineError, match=says):
                engine.call("train", PATIENCE, **{**training, **changes})


def wait_for(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_progress_and_log_can_be_asked_for(engine, tmp_path):
    made = make_shot(tmp_path, count=30, write=("layer",))
    Path(made.plate % 1005).unlink()
    begun = threading.Event()
    request = engine.ask("render", recipe=str(made.recipe), listen=lambda event: begun.set())
    begun.wait(PATIENCE)
    (state,) = engine.call("progress", PATIENCE, of=request.id)["requests"] or [None]
    assert (state["id"], state["do"], state["state"]) == (request.id, "render", "running")
    answer = request.wait(PATIENCE)
    assert answer["done"] == 29 and [one["frame"] for one in answer["failed"]] == [1005]
    with pytest.raises(EngineError, match="No request"):
        engine.call("progress", PATIENCE, of=request.id)
    assert engine.call("log", PATIENCE, lines=5)["lines"] is not None


def test_status_says_what_the_engine_runs_on(engine):
    status = engine.call("status", PATIENCE, wait=True)
    assert status["ready"] and status["device"] == "cpu" and status["pid"] == engine.pid
    assert {"torch", "numpy", "OpenImageIO", "mien"} <= status["versions"].keys()
    assert status["memory"]["limit"] == 4 << 30


@pytest.mark.parametrize("busy", [False, True])
def test_it_leaves_when_standard_input_ends(made, busy):
    process = start()
    if busy:
        recipe = str(made.changed("left"))
        process.stdin.write(lines_of({"id": 1, "do": "render", "recipe": recipe, "force": True}))
        process.stdin.flush()
        while json.loads(process.stdout.readline())["event"] != "progress":
            pass
    began = time.monotonic()
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and time.monotonic() - began < 10
    last = [json.loads(line) for line in out.splitlines() if json.loads(line)["event"] in LAST]
    assert [one["event"] for one in last] == (["cancelled"] if busy else [])


def test_a_request_for_a_track_holds_what_the_command_line_takes():
    takes = {one.name for kind in (PlateArguments, TrackArguments) for one in fields(kind)}
    # The span of a shot is told by an edit, of which a track knows nothing.
    assert {one.name for one in fields(Track)} == takes - {"path", "device", "span"} | {"folder", "plate", "output"}


def test_a_closed_engine_is_not_asked():
    engine = Engine(sys.executable)
    engine.close()
    with pytest.raises(EngineDied):
        engine.ask("describe")
