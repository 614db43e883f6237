"""Whole files of edits, lists of shots, rules of a farm and signatures; and how they are read."""

import json
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import OpenImageIO as oiio

from mien.commands.convert import ConvertArguments
from mien.commands.cut import CutArguments, read_shots, wish_of
from mien.commands.plate import PlateArguments
from mien.credentials import check, embed, embedded, open_studio
from mien.farm.mapping import mapped, read_rules
from mien.timeline import Event, Result, events, placed, read_timeline, write_timeline
from shots import texture, write_movie

EDL = """TITLE: REEL 1
FCM: DROP FRAME

001  A001C003 V     C        01:00:00:03 01:00:00:06 00:00:00:00 00:00:00:03
* FROM CLIP NAME: A001C003_180214.mov
002  A001C003 V     D    002 01:00:00:02 01:00:00:06 00:00:00:03 00:00:00:07
* FROM CLIP NAME: A001C003
M2   A001C003       048.0                01:00:00:02
003  BL       AA/V  C        00:00:00:00 00:00:01:00 00:00:00:07 00:00:01:07
004  B002     B     W001 008 01:00:04:00 01:00:06:00 00:00:01:07 00:00:03:07
"""


def edits(folder: Path) -> list[Path]:
    """An edit of every kind: clips, a retime, a dissolve, a gap, a nested stack, a movie and a sequence."""
    import opentimelineio as otio

    def span(start: float, length: float) -> Any:
        return otio.opentime.TimeRange(otio.opentime.RationalTime(start, 24), otio.opentime.RationalTime(length, 24))

    schema = otio.schema
    movie = schema.ExternalReference(target_url="media/a%20b.mov", available_range=span(86400, 200))
    sequence = schema.ImageSequenceReference(
        target_url_base="media/", name_prefix="A001.", name_suffix=".exr", start_frame=1001, frame_step=1, rate=24,
        frame_zero_padding=4, available_range=span(0, 50),
    )  # fmt: skip
    offsets = {name: otio.opentime.RationalTime(2, 24) for name in ("in_offset", "out_offset")}
    told = {"mien": {"shot": "bar 0420", "face": "B", "settings": {"matte_edge.grow": 0.02}}}
    faster = [schema.LinearTimeWarp(time_scalar=2.0)]
    timeline = schema.Timeline("cut", global_start_time=otio.opentime.RationalTime(86400, 24))
    inner = schema.Track("inner", [schema.Clip("c", movie, span(86410, 4))], kind="Video")
    row = [
        schema.Clip("a", movie, span(86404, 10), metadata=told),
        schema.Transition("x", transition_type="SMPTE_Dissolve", **offsets),
        schema.Clip("b", sequence, span(5, 8), effects=faster),
        schema.Gap(source_range=span(0, 5)),
        schema.Stack("nested", [inner]),
    ]
    timeline.tracks.append(schema.Track("V1", row, kind="Video"))
    otio.adapters.write_to_file(timeline, str(folder / "a.otio"))
    (folder / "b.edl").write_text(EDL)
    with zipfile.ZipFile(folder / "c.otioz", "w") as bundle:
        bundle.writestr("version.txt", "1.0.0")
        bundle.writestr("content.otio", (folder / "a.otio").read_bytes())
    return [folder / name for name in ("a.otio", "b.edl", "c.otioz")]


def read_edit(path: Path) -> object:
    """An edit, its shots, what each is to have of its own, and the edit again with something in their place."""
    timeline = read_timeline(path, 24.0)
    cut = events(timeline, path.parent)
    asked = CutArguments(path, ConvertArguments(PlateArguments(""), path.parent))
    for event in cut:
        wish_of(event, {}, asked)
    results = {event.name: (event, _result(event, path.parent)) for event in cut}
    output = path.parent / "out" / "again.otio"
    output.parent.mkdir(exist_ok=True)
    write_timeline(output, placed(timeline, results))
    return [event.span for event in cut]


def _result(event: Event, folder: Path) -> Result:
    return Result(folder / "shot.%04d.exr", event.first, event.last, event.first)


def lists(folder: Path) -> list[Path]:
    """Lists of shots as YAML and as JSON."""
    document = {"every": {"track": "a.json"}, "a": {"source": ["b.jpg"], "settings": {"matte_edge.grow": [[1, 0.5]]}}}
    (folder / "a.json").write_text(json.dumps(document))
    (folder / "b.yaml").write_text(
        "every: &all\n  identity: a.safetensors\n  track: t.json\n"
        "sh0010:\n  <<: *all\n  skip: yes\n  settings: {matte_edge.grow: 0.02}\n  release_until: 2031-01-01\n"
    )
    return [folder / "a.json", folder / "b.yaml"]


def read_list(path: Path) -> object:
    """A list of shots, and what each shot in it is to have."""
    found = read_shots(path)
    asked = CutArguments(path, ConvertArguments(PlateArguments(""), path.parent), shots=path)
    return [wish_of(Event(name, None, (), 0, 1, Fraction(24)), found, asked) for name in found]


def rules(folder: Path) -> list[Path]:
    """Rules of a farm, for both kinds of paths."""
    rows = [
        {"source_path_format": "POSIX", "source_path": "/mnt/a b", "destination_path": "/tmp/x"},
        {"source_path_format": "WINDOWS", "source_path": "Z:\\show", "destination_path": "/tmp/y"},
    ]
    path = folder / "r.json"
    path.write_text(json.dumps({"version": "pathmapping-1.0", "path_mapping_rules": rows}))
    return [path]


def read_mapping(path: Path) -> object:
    """Rules, applied to a path of each kind."""
    found = read_rules(path)
    return [mapped(text, found) for text in ("/mnt/a b/c", "Z:\\show\\d", "")]


def studio(folder: Path) -> tuple[Path, Path]:
    """A certificate chain and its key, made up."""
    from test_provenance import studio_files

    made = studio_files(folder)
    return made.chain, made.key


def credentials(folder: Path) -> list[Path]:
    """Stills and a movie that carry content credentials."""
    chain, key = studio(folder / "studio")
    signer = open_studio(chain, key)
    picture = texture(16, 24, 1).clip(0, 1)
    paths = [folder / "a.png", folder / "b.jpg", folder / "c.mp4"]
    for path in paths[:2]:
        oiio.ImageBuf(picture).write(str(path), "uint8")
    write_movie(paths[2], [texture(32, 48, 2).clip(0, 1)] * 2, "h264", size=(48, 32), fps=Fraction(24), provenance={})
    for path in paths:
        embed(path, signer, {"mien_record": 1, "shot": "a"}, path.name, "mien 1")
    return paths


def read_credentials(path: Path) -> object:
    """What a file says of its origin, with and without somebody to trust."""
    embedded(path, ())
    return embedded(path, [path.parent / "studio" / "root.pem"])


def certificates(folder: Path) -> list[Path]:
    """A chain of certificates, and a key."""
    chain, key = studio(folder / "studio")
    chain.replace(folder / "chain.pem")
    key.replace(folder / "key.pem")
    (folder / "studio" / "chain.pem").write_bytes((folder / "chain.pem").read_bytes())
    (folder / "studio" / "key.pem").write_bytes((folder / "key.pem").read_bytes())
    return [folder / "chain.pem", folder / "key.pem"]


def read_certificates(path: Path) -> object:
    """A studio that signs with one of the two spoiled, and whether it is believed."""
    beside = path.parent / "studio"
    if path.name == "key.pem":
        return open_studio(beside / "chain.pem", path)
    text = path.read_bytes().decode("utf-8", "replace")
    check(b"content", b"signature", text, [path])
    return open_studio(path, beside / "key.pem")
