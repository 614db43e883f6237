"""``mien inspect`` and ``mien describe``: what a file is and where it comes from, and which nodes there are."""

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mien import recipe as recipes
from mien.credentials import MEDIA, embedded, who_signed
from mien.declare import Node, Param, nearest, shipped, to_json
from mien.files.curves import read_curves
from mien.files.faceset import INDEX, is_faceset, read_faceset
from mien.files.identities import read_identity
from mien.files.layers import read_provenance
from mien.files.sequence import frame_number as number_in
from mien.files.shot import MOVIES, STILLS, open_shot, read_header
from mien.files.tracks import read_tracks, track_path
from mien.progress import ranges
from mien.provenance import read_sidecar, sidecar_of
from mien.qc.shot import read_said
from mien.recipe import RecipeError
from mien.report import print_tracks, track_report
from mien.types import MienError

Facts = Mapping[str, Any]


def inspect_file(path: Path, *, as_json: bool) -> None:
    """Print what a file is.

    Raises:
        MienError: It is missing, damaged, or nothing that mien knows.
    """
    if track_path(path) and not as_json:
        print_tracks(read_tracks(path), Console())
        return
    facts = facts_of(path)
    if as_json:
        print(json.dumps(facts, indent=1, default=str))
        return
    console = Console(highlight=False)
    for name, value in facts.items():
        console.print(f"[bold]{name.replace('_', ' ')}[/bold]  {escape(_plain(value))}", soft_wrap=True)


def facts_of(path: Path) -> Facts:
    """What a file is, as plain data.

    Raises:
        MienError: It is missing, damaged, or nothing that mien knows.
    """
    if not path.exists():
        raise MienError(f"There is no {path}. Check the path.")
    if track_path(path):
        return {"is": "track", **track_report(read_tracks(path))}
    if is_faceset(path) or path.name == INDEX:
        return _faceset(path)
    if path.suffix.lower() in STILLS | MOVIES:
        return _picture(path)
    if path.suffix == ".safetensors":
        return _identity(path)
    if path.suffix == ".json":
        return _document(path)
    raise MienError(f"{path} is no track, identity, face set, recipe, curves, frame or movie. Check its ending.")


def _picture(path: Path) -> Facts:
    shot = open_shot(path)
    header = read_header(shot, shot.first)
    made = read_provenance(path)
    return {
        "is": ("a movie" if shot.movie is not None else "a frame") + (" made by mien" if made else ""),
        "display_window": f"{header.size[0]} x {header.size[1]}",
        "data_window": f"{header.data.width} x {header.data.height} at {header.data.x}, {header.data.y}",
        "channels": list(header.channels),
        "pixel_type": sorted(set(header.types)),
        "compression": header.compression,
        "pixel_aspect": header.aspect,
        "frames": f"{shot.first}-{shot.last}",
        "frames_per_second": str(shot.fps or "not said"),
        "timecode": header.timecode or "none",
        "color_space": header.color or "not said",
        **{f"mien_{name}": value for name, value in made.items()},
        **_beside(path, made),
        **_credentials(path),
    }


def _beside(path: Path, made: Mapping[str, str]) -> dict[str, str]:
    """What the record of a shot says of one of its frames, and what people said of it."""
    frame = made.get("frame", "")
    found: dict[str, str] = {}
    beside = sidecar_of(path) if made else None
    if beside is not None:
        sidecar = read_sidecar(beside)
        found["record"] = f"{beside.name}, {who_signed(sidecar.checked)}"
        for name, digest in sidecar.record["plate_files"].items():
            if str(number_in(Path(name))) == frame:
                found["plate_hash"] = digest
    for list_of_flags in sorted(path.absolute().parent.parent.glob("*.flags.json")):
        if path.name.startswith(list_of_flags.name.removesuffix(".flags.json")):
            said = [f"{one.words} ({one.by})" for one in read_said(list_of_flags) if str(one.frame) == frame]
            found |= {"flagged": "; ".join(said)} if said else {}
    return found


def _credentials(path: Path) -> dict[str, str]:
    """Who signed a movie or a still, where that can be told."""
    if path.suffix.lower() not in MEDIA:
        return {}
    try:
        found = embedded(path, ())
    except MienError as error:
        return {"content_credentials": str(error)}
    return {"content_credentials": "none" if found is None else who_signed(found)}


def _identity(path: Path) -> Facts:
    identity = read_identity(path)
    likeness = identity.likeness
    warnings = likeness.warnings(date.today())
    return {
        "is": f"an identity of kind {identity.kind}",
        "likeness": likeness.name or "not named",
        "release": likeness.release or "none named",
        "release_until": likeness.until or "no end",
        **({"warning": " ".join(warnings)} if warnings else {}),
        "hash": identity.digest,
        **dict(identity.facts),
        "tensors": {name: list(tensor.shape) for name, tensor in identity.tensors.items()},
    }


def _faceset(path: Path) -> Facts:
    found = read_faceset(path)
    yaws = sorted(face.yaw for face in found.faces) or [0.0]
    return {
        "is": "a face set",
        "faces": len(found.faces),
        "crops": f"{found.size} pixels, {found.coverage:g} heights of the face",
        "color_space": found.space,
        "yaw": f"{yaws[0]:.0f} to {yaws[-1]:.0f} degrees",
        "sources": list(found.sources),
        "hash": found.digest,
    }


def _document(path: Path) -> Facts:
    try:
        recipe = recipes.read(path)
    except RecipeError as error:
        if "is no mien recipe" not in str(error):
            raise
        kind, values = read_curves(path)
        frames = sorted(values)
        without = [frame for frame in frames if values[frame][1] is None]
        return {
            "is": f"curves of {kind}",
            "frames": ranges(frames),
            **({"without_a_value": ranges(without)} if without else {}),
        }
    return {
        "is": "a recipe",
        "plate": recipe.plate.path,
        "frames": f"{recipe.plate.first}-{recipe.plate.last}",
        "colorspace": recipe.plate.colorspace or "from header, file rules or kind",
        "track": recipe.track,
        "face": recipe.face or "the most prominent",
        "identity": recipe.identity,
        "writes": list(recipe.output.write),
        "into": recipe.output.folder,
        **{f"step {step.name}": _settings(step) for step in recipe.steps},
    }


def _settings(step: recipes.Step) -> str:
    return ", ".join(f"{name}={value}" for name, value in step.settings.items()) or "no settings"


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return str(value)


def describe_nodes(name: str | None, *, as_json: bool) -> None:
    """Print one node, or all.

    Raises:
        RecipeError: There is no such node.
    """
    nodes = shipped()
    if name is not None:
        nodes = tuple(node for node in nodes if node.id == name)
        if not nodes:
            raise RecipeError(f"There is no node {name!r}{nearest(name, [node.id for node in shipped()])}")
    if as_json:
        print(to_json(nodes), end="")
        return
    console = Console(highlight=False)
    for node in nodes:
        _describe(console, node)


def _describe(console: Console, node: Node) -> None:
    flows = ", ".join(f"{port.name} ({port.type})" for port in node.inputs)
    console.print(f"\n[bold]{node.id}[/bold]  {node.help}")
    console.print(f"  [dim]{escape(flows)} -> {escape(node.output)}[/dim]")
    if not node.params:
        return
    table = Table(box=None, padding=(0, 2), show_header=False)
    for param in node.params:
        table.add_row(f"  {param.name}", escape(str(param.default)), escape(_travel(param)), escape(param.help))
    console.print(table)


def _travel(param: Param) -> str:
    if param.choices:
        return " | ".join(param.choices)
    if param.slider is None:
        return param.kind
    unit = {"face": " face widths", "px": " px", "frames": " frames"}.get(param.slider.unit, "")
    return f"{param.slider.low:g} to {param.slider.high:g}{unit}"
