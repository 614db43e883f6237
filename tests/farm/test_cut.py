"""Edits: shots found by name and timecode, retimed, with handles; and the edit again with the results in it."""

import re
import zipfile
from fractions import Fraction
from pathlib import Path

import OpenImageIO as oiio
import pytest

from mien import recipe as recipes
from mien.commands.convert import ConvertArguments
from mien.commands.cut import CutArguments, convert_cut, read_shots, wish_of
from mien.commands.plate import PlateArguments
from mien.files.timecode import frames_of, packed, timecode_of
from mien.recipe import RecipeError
from mien.rushes import find, survey
from mien.timeline import Event, events, read_timeline
from mien.types import MienError
from shots import FIRST, Made, make_shot

otio = pytest.importorskip("opentimelineio", reason="needs mien[farm]")
BEGIN = frames_of("01:00:00:00", Fraction(24))
COUNT = 10
EDL = """TITLE: REEL 1
FCM: NON-DROP FRAME

001  A001C003 V     C        01:00:00:03 01:00:00:06 00:00:00:00 00:00:00:03
* FROM CLIP NAME: A001C003_180214.mov
002  A001C003 V     C        01:00:00:02 01:00:00:06 00:00:00:03 00:00:00:05
M2   A001C003       048.0                01:00:00:02
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Rushes A001C003_180214 with timecode from 01:00:00:00 on, frame 1001."""
    folder = tmp_path_factory.mktemp("cut")
    shot = make_shot(folder, COUNT)
    rushes = folder / "media" / "day 1"
    rushes.mkdir(parents=True)
    for row, frame in enumerate(shot.frames):
        stamped(Path(shot.plate % frame), rushes / f"A001C003_180214.{frame}.exr", BEGIN + row)
    return shot


def stamped(source: Path, path: Path, time: int) -> None:
    """A copy of a frame with a timecode."""
    picture = oiio.ImageBuf(str(source))
    code = packed(timecode_of(time, Fraction(24), False))
    picture.specmod().attribute("smpte:TimeCode", oiio.TypeTimeCode, code)
    assert picture.write(str(path)), picture.geterror()


def converted(made: Made, timeline: Path, out: Path, **options):
    each = ConvertArguments(PlateArguments(""), out, identity=made.identity, device="cpu")
    media = options.pop("media", made.folder / "media")
    shots = timeline.parent / "shots.yaml"
    if "shots" not in options:
        shots.write_text(f"every:\n  track: {made.track}\n")
        options["shots"] = shots
    told: list = []
    return convert_cut(CutArguments(timeline, each, media, **options), told.append), told


def test_an_edl_becomes_shots_and_an_edit_of_them(made: Made, tmp_path: Path) -> None:
    edl = tmp_path / "reel 1.edl"
    edl.write_text(EDL)
    outcome, _ = converted(made, edl, tmp_path / "out", handles=1)
    assert not outcome.failed
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == ["sh0010_A001C003_180214", "sh0020_A001C003"]
    frames = sorted(int(path.suffixes[-2][1:]) for path in (out / "sh0010_A001C003_180214" / "layer").iterdir())
    assert frames == [FIRST + row for row in range(2, 7)], "frames 3 to 5 of the rushes, and one more on either side"
    twice = recipes.read(out / "sh0020_A001C003" / "sh0020_A001C003.recipe.json")
    assert (twice.plate.first, twice.plate.last) == (FIRST + 1, FIRST + 5), "two frames at double speed: 2 and 4"

    edit = otio.adapters.read_from_file(str(out / "reel 1.mien.otio"))
    assert edit.duration().value == 5
    one, two = edit.find_clips()
    for clip, first in ((one, FIRST + 3), (two, FIRST + 2)):
        reference = clip.media_reference
        shown = clip.source_range.start_time - reference.available_range.start_time
        number = reference.start_frame + round(shown.value)
        assert number == first
        url = reference.target_url_for_image_number(number - reference.start_frame)
        file = Path(otio.url_utils.filepath_from_url(url))
        assert file.is_file() and file.parent.name == "layer"
        assert "plate" in clip.media_references()
    assert two.effects[0].time_scalar == 2.0, "the retime stays in the edit"
    again, _ = converted(made, out / "reel 1.mien.otio", tmp_path / "again")
    assert not again.failed and again.done == 3 + 3, "an edit of results leads back to the same shots by their names"


def span_of(start: int, length: int):
    return otio.opentime.TimeRange(otio.opentime.RationalTime(start, 24), otio.opentime.RationalTime(length, 24))


def clip_of(name: str, start: int, length: int, **more):
    return otio.schema.Clip(name=name, source_range=span_of(start, length), **more)


def timeline_of(*things):
    timeline = otio.schema.Timeline("cut")
    timeline.tracks.append(otio.schema.Track("V1", things, kind="Video"))
    return timeline


def spans(*things) -> list[tuple[int, int]]:
    return [(event.first, event.last) for event in events(timeline_of(*things), Path())]


def test_retimes_and_dissolves_say_what_is_needed() -> None:
    warp = otio.schema.LinearTimeWarp
    assert spans(clip_of("a", 100, 10)) == [(100, 109)]
    assert spans(clip_of("a", 100, 10, effects=[warp(time_scalar=2.0)])) == [(100, 118)]
    assert spans(clip_of("a", 100, 10, effects=[warp(time_scalar=0.5)])) == [(100, 105)]
    assert spans(clip_of("a", 100, 10, effects=[otio.schema.FreezeFrame()])) == [(100, 100)]
    offsets = {name: otio.opentime.RationalTime(value, 24) for name, value in (("in_offset", 2), ("out_offset", 3))}
    dissolve = otio.schema.Transition("x", transition_type="SMPTE_Dissolve", **offsets)
    assert spans(clip_of("a", 100, 10), dissolve, clip_of("b", 50, 8)) == [(100, 112), (48, 57)]


def test_a_stack_in_the_cut_shows_a_part_of_what_it_holds() -> None:
    inner = otio.schema.Track(children=[clip_of("a", 100, 20), clip_of("b", 200, 20), clip_of("c", 300, 20)])
    deep = otio.schema.Track(children=[clip_of("d", 0, 50)], source_range=span_of(10, 30))
    stack = otio.schema.Stack(children=[inner], source_range=span_of(5, 25))
    other = otio.schema.Stack(children=[deep], source_range=span_of(4, 10))
    timeline = timeline_of(clip_of("e", 7, 3), stack, other)
    shown = {event.calls[0]: (event.first, event.last) for event in events(timeline, Path())}
    # c is past the end of the stack; of d ten frames are cut by its track, four more by the stack.
    assert shown == {"e": (7, 9), "a": (105, 119), "b": (200, 209), "d": (14, 23)}


@pytest.mark.parametrize(
    ("clip", "word"),
    [
        (lambda: clip_of("a", 0, 4, effects=[otio.schema.LinearTimeWarp(time_scalar=-1.0)]), "backward"),
        (lambda: clip_of("a", 0, 4, effects=[otio.schema.TimeEffect(effect_name="Curve")]), "'Curve', whose speed"),
        (lambda: otio.schema.Clip(name="a"), "which part of its media"),
        (lambda: clip_of("a", 0, 0), "no whole frame"),
    ],
)
def test_what_frames_cannot_follow_is_refused(clip, word: str) -> None:
    with pytest.raises(MienError, match=word):
        events(timeline_of(clip()), Path())


def test_clips_that_are_switched_off_are_left_out_and_names_are_given() -> None:
    off = clip_of("b", 5, 2)
    off.enabled = False
    named = clip_of("c", 7, 2, metadata={"mien": {"shot": "bar 0420/x", "face": "B"}})
    found = events(timeline_of(clip_of("a.mov", 0, 2), off, named), Path())
    assert [event.name for event in found] == ["sh0010_a", "bar 0420_x"]
    assert found[1].told["face"] == "B"
    with pytest.raises(MienError, match="Two shots are called"):
        both = {"mien": {"shot": "same"}}
        events(timeline_of(clip_of("a", 0, 2, metadata=both), clip_of("b", 0, 2, metadata=both)), Path())


def event_of(name: str, first: int, last: int, **more) -> Event:
    return Event("shot", None, (name,), first, last, Fraction(24), **more)


def test_rushes_are_told_apart_by_timecode(made: Made, tmp_path: Path) -> None:
    media = tmp_path / "media"
    for take, begin in ((1, BEGIN), (2, BEGIN + 1000)):
        (media / f"take {take}").mkdir(parents=True)
        for row in range(4):
            stamped(Path(made.plate % (FIRST + row)), media / f"take {take}" / f"B002.{row:04d}.exr", begin + row)
    rushes = survey(media)
    found = find(event_of("B002", BEGIN + 1001, BEGIN + 1003), rushes)
    assert "take 2" in str(found.path) and (found.first, found.last) == (1, 3)
    with pytest.raises(MienError, match=r"no rushes show 01:00:00:00 to 01:00:00:08.*has 01:00:00:00 to 01:00:00:03"):
        find(event_of("B002", BEGIN, BEGIN + 8), rushes)
    with pytest.raises(MienError, match="no rushes below"):
        find(event_of("B003", BEGIN, BEGIN), rushes)
    (media / "copy").mkdir()
    for row in range(4):
        stamped(Path(made.plate % (FIRST + row)), media / "copy" / f"b002.{row:04d}.exr", BEGIN + row)
    with pytest.raises(MienError, match="2 rushes show"):
        find(event_of("B002", BEGIN, BEGIN + 3), survey(media))
    with pytest.raises(MienError, match="plays 24 frames a second, the cut 30"):
        find(Event("shot", None, ("take 2",), BEGIN, BEGIN, Fraction(30)), rushes)


def test_wishes_of_shots(tmp_path: Path) -> None:
    path = tmp_path / "shots.yaml"
    path.write_text(
        "every: {identity: who.safetensors, settings: {matte_edge.grow: 0.1, matte_edge.soften: 0.2}}\n"
        "a: {face: A}\n"
        "sh0010_a: {settings: {matte_edge.grow: [[1, 0], [9, 0.1]]}, face: B, source: [one.png, two.png]}\n"
    )
    arguments = CutArguments(tmp_path / "x.otio", ConvertArguments(PlateArguments(""), tmp_path), shots=path)
    event = Event("sh0010_a", None, ("a",), 0, 1, Fraction(24), told={"track": "t.json", "face": "C"})
    wish = wish_of(event, read_shots(path), arguments)
    assert wish.identity == str(tmp_path / "who.safetensors") and wish.track == str(tmp_path / "t.json")
    assert wish.face == "B" and wish.source == (str(tmp_path / "one.png"), str(tmp_path / "two.png"))
    assert wish.settings == {"matte_edge.grow": [[1, 0], [9, 0.1]], "matte_edge.soften": 0.2}
    path.write_text("a: {fase: B}\n")
    with pytest.raises(RecipeError, match=r"cannot have 'fase'.*face"):
        wish_of(event, read_shots(path), arguments)
    for text in ("- a\n", "a: 1\n", "a: {\n"):
        path.write_text(text)
        with pytest.raises(RecipeError, match="no list of shots"):
            read_shots(path)


def test_a_list_names_shots_that_there_are(made: Made, tmp_path: Path) -> None:
    edl = tmp_path / "cut.edl"
    edl.write_text(EDL)
    shots = tmp_path / "list.yaml"
    shots.write_text("sh0011_A001C003: {skip: true}\n")
    with pytest.raises(RecipeError, match=r"no shot 'sh0011_A001C003'.*did you mean"):
        converted(made, edl, tmp_path / "out", shots=shots)
    assert not (tmp_path / "out").exists(), "nothing is written before all is clear"


@pytest.mark.parametrize("rate", [29.97, 30000 / 1001])
def test_drop_frame_timecode_and_names_of_old_systems(tmp_path: Path, rate: float) -> None:
    path = tmp_path / "r\u00e9el 1.edl"
    lines = EDL.replace("NON-DROP", "DROP").replace("A001C003_180214", "\u00c4pfel 1")
    lines = re.sub(r"(\d\d:\d\d:\d\d):(\d\d)", r"\1;\2", lines)
    path.write_bytes(lines.replace("\n", "\r\n").encode("cp1252"))
    first, second = events(read_timeline(path, rate), tmp_path)
    assert first.name == "sh0010_\u00c4pfel 1" and first.rate == Fraction(30000, 1001)
    assert first.first == frames_of("01:00:00;03", Fraction(30000, 1001)) == 107895
    assert second.first == frames_of("01:00:00;02", Fraction(30000, 1001))
    with pytest.raises(MienError, match="--rate"):
        events(read_timeline(path, 24), tmp_path)


def test_what_shows_no_rushes_is_left_out_and_names_fit_into_file_systems() -> None:
    sound = otio.schema.Stack("s", [otio.schema.Track("a", [clip_of("boom", 0, 9)], kind="Audio")])
    bars = clip_of("bars", 0, 5, media_reference=otio.schema.GeneratorReference("bars", "SMPTEBars"))
    nested = otio.schema.Stack("n", [otio.schema.Track("v", [clip_of("inside", 30, 4)], kind="Video")])
    gap = otio.schema.Gap(source_range=clip_of("", 0, 8).source_range)
    found = events(timeline_of(bars, gap, sound, nested, clip_of("x" * 400, 0, 2)), Path())
    assert [(event.calls[0][:9], event.first, event.last) for event in found] == [("inside", 30, 33), ("x" * 9, 0, 1)]
    assert len(found[1].name) <= 80


@pytest.mark.parametrize(("start", "length"), [(1e30, 5), (-1e12, 5), (0, 1e30)])
def test_times_that_no_rushes_have_are_refused(start: float, length: float) -> None:
    with pytest.raises(MienError, match="beyond any rushes"):
        events(timeline_of(clip_of("a", start, length)), Path())


def test_an_edit_in_a_zip_is_read_and_a_deep_one_is_not(tmp_path: Path) -> None:
    text = otio.adapters.write_to_string(timeline_of(clip_of("a", 3, 4)), "otio_json")
    path = tmp_path / "cut.otioz"
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("content.otio", text)
    assert events(read_timeline(path, 24), tmp_path)[0].first == 3
    (tmp_path / "cut.otiod").mkdir()
    (tmp_path / "cut.otiod" / "content.otio").write_text(text)
    assert events(read_timeline(tmp_path / "cut.otiod", 24), tmp_path)[0].last == 6
    for content in ("[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a": ' * 300 + "1" + "}" * 300):
        (tmp_path / "deep.otio").write_text(content)
        with pytest.raises(MienError, match="nested more than"):
            read_timeline(tmp_path / "deep.otio", 24)


@pytest.mark.parametrize("text", ["", "{}", "no edit", '{"OTIO_SCHEMA": "Clip.1"}'])
def test_what_is_no_edit_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.otio"
    path.write_text(text)
    with pytest.raises(MienError):
        read_timeline(path, 24)
    with pytest.raises(MienError, match=r"Cannot read|no edit"):
        read_timeline(tmp_path / "absent.otio", 24)
