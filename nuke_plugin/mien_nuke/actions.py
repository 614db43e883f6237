"""What the buttons do."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

from mien.client import EngineError
from mien.hosts import recipes
from mien.hosts.frames import spoken
from mien.hosts.watch import Shown, freshness
from mien_nuke import nodes, plates, talk, text
from mien_nuke.nodes import ShotError

MISTAKES = (ShotError, recipes.ChainError, EngineError, OSError)
"""What an artist can put right; told, not raised."""


def tell(words: str) -> None:
    """Say something: in a window, or on the terminal."""
    import nuke

    if nuke.GUI:
        nuke.message("mien: " + words)
    else:
        raise RuntimeError("mien: " + words)


def told(action: Callable[[Any], None]) -> Callable[[Any], None]:
    """A button whose mistakes are told in words."""

    @wraps(action)
    def press(node: Any) -> None:
        try:
            action(node)
        except MISTAKES as error:
            tell(str(error))

    return press


def status(node: Any, words: str) -> None:
    """Write a node's status; callers are on the main thread."""
    node["status"].setValue(words)


def saved_recipe(node: Any) -> Path:
    """Write the recipe of a node as it is now; returns its path."""
    nodes.settle(node)
    plates.make(node)
    folder = nodes.version_folder(node)
    path = folder / (nodes.name_of(node) + ".recipe.json")
    folder.mkdir(parents=True, exist_ok=True)
    recipes.write(str(path), nodes.document(node))
    return path


@told
def analyse(node: Any) -> None:
    """Make what is missing, identity and track, then solve what holds for the shot and load it into MienComp."""
    photograph = nodes.reference(node)
    if photograph is not None:
        _perform(node, photograph, lambda: told(analyse)(node))
        return
    if not nodes.track_file(node).is_file():
        _track(node, lambda: told(analyse)(node))
        return
    path = saved_recipe(node)

    def finish(shown: Shown) -> None:
        status(node, shown.error or "solved")
        if shown.error:
            tell(shown.error)
            return
        for comp in nodes.comps(node):
            _load_widths(comp, shown.answer.get("widths", {}))
            _load_match(comp, Path(shown.answer.get("curves", {}).get(_grade_step(path), "")))

    talk.work(node.name(), "mien: analyse " + node.name(), "solve", finish, recipe=str(path))


def _perform(node: Any, photograph: str, then: Callable[[], None]) -> None:
    """Make the identity of the reference input."""
    nodes.settle(node)
    plates.make(node)
    plate, first, last, space = nodes.plate_of(node)
    output = nodes.identity_file(node)
    output.parent.mkdir(parents=True, exist_ok=True)

    def finish(shown: Shown) -> None:
        if shown.error:
            status(node, shown.error)
            tell(shown.error)
            return
        then()

    talk.work(node.name(), "mien: identity of " + node.name(), "identity", finish, folder=str(output.parent),
              sources=[photograph], output=str(output), plate=plate, frames=[first, last],
              colorspace=space or nodes.space_of(node), likeness=str(node["likeness"].value()),
              release=str(node["release"].value()))  # fmt: skip


@told
def track_only(node: Any) -> None:
    """Find the faces of the plate that flows into a MienTrack, whatever was found before."""
    _track(node, lambda: None)


def _track(node: Any, then: Callable[[], None]) -> None:
    from mien_nuke import follow

    if nodes.kind(node) == "convert_face":
        nodes.settle(node)
    for convert in [node] if nodes.kind(node) == "convert_face" else nodes.behind(node):
        plates.make(convert)
    plate, first, last, space = nodes.plate_of(node)
    holder = node if nodes.kind(node) == "track_faces" else nodes.track_node(node)
    output = nodes.track_file(node) if nodes.kind(node) != "track_faces" else nodes.own_track(node)
    output.parent.mkdir(parents=True, exist_ok=True)
    if holder is not None and not holder["track"].value():
        holder["track"].setValue(output.as_posix())
    dialed: dict = {}
    more: dict = {}
    if holder is not None:
        found = nodes.settings(holder, nodes.declared()["track_faces"], "", first, last)
        more = {name: found[name] for name in ("detector", "weights") if name in found}
        more["keys"] = follow.keys(holder, output.parent, first, last)
        for name, prefix in (("track_faces", ""), ("smooth_track", "smooth__")):
            held = nodes.settings(holder, nodes.declared()[name], prefix, first, last)
            dialed.update(
                {name + "." + param: value for param, value in held.items() if param not in ("detector", "weights")}
            )

    def finish(shown: Shown) -> None:
        if shown.error:
            status(node, shown.error)
            tell(shown.error)
            return
        lines = [f"{face['name']}: {face['first']} to {face['last']}" for face in shown.answer.get("faces", ())]
        if holder is not None:
            holder["faces"].setValue("\n".join(lines))
            holder["face"].setValues(["auto"] + [str(face["name"]) for face in shown.answer.get("faces", ())])
            status(holder, f"{len(lines)} face(s)")
        then()

    talk.work(node.name(), "mien: track", "track", finish, folder=str(output.parent), plate=plate, output=str(output),
              frames=[first, last], settings=dialed, colorspace=space or nodes.space_of(node), **more)  # fmt: skip


@told
def render_frame(node: Any) -> None:
    """Render the frame that is viewed."""
    import nuke

    _render(node, nuke.frame(), nuke.frame())


@told
def render_range(node: Any) -> None:
    """Render every frame of the range that is not up to date."""
    _render(node, *nodes.range_of(node))


def _render(node: Any, first: int, last: int) -> None:
    path = saved_recipe(node)
    if not nodes.track_file(node).is_file():
        raise ShotError(f"{node.name()}: there is no track yet. Press Analyse first.")

    def finish(shown: Shown) -> None:
        status(node, shown.line)
        show(node, shown.answer.get("color"))
        if shown.error or shown.answer.get("failed"):
            tell(shown.error or f"{shown.line} {shown.answer['failed'][0]['message']}")

    talk.work(
        node.name(),
        f"mien: render {node.name()} {first}-{last}",
        "render",
        finish,
        recipe=str(path),
        frames=[first, last],
    )


def spaces(node: Any, color: Mapping[str, str]) -> None:
    """Have layers read in the space that they hold: the plate's where it is linear, else the working space."""
    plate = nodes.fed(node, 0)
    same = plate is not None and plate.Class() == "Read" and color["layer"] == color["plate"]
    for name in ("Render", "Live"):
        read = node.node(name)
        read["raw"].setValue(bool(plate["raw"].value()) if same else False)
        read["colorspace"].fromScript(plate["colorspace"].toScript() if same else "scene_linear")


def show(node: Any, color: Mapping[str, str] | None) -> None:
    """Have the render read again, whatever was read before."""
    if color is not None:
        spaces(node, color)
    _, first, last, _ = nodes.plate_of(node)
    node["render"].setValue(nodes.layer_pattern(node))
    read = node.node("Render")
    read["first"].setValue(first)
    read["last"].setValue(last)
    read["reload"].execute()


@told
def cancel(node: Any) -> None:
    """End what runs for a node."""
    ended = talk.cancel(node.name())
    status(node, "cancelled" if ended else "nothing runs")


@told
def check(node: Any) -> None:
    """Say which frames are up to date."""
    first, last = nodes.range_of(node)

    def finish(shown: Shown) -> None:
        status(node, shown.error or freshness(shown.answer))

    talk.work(node.name(), "mien: check", "check", finish, recipe=str(saved_recipe(node)), frames=[first, last])


@told
def farm(node: Any) -> None:
    """Write the recipe and a job bundle beside it."""
    path, (first, last) = saved_recipe(node), nodes.range_of(node)
    bundle = path.with_name(f"{nodes.name_of(node)}.job")

    def finish(shown: Shown) -> None:
        status(node, shown.error or f"job for {spoken(range(first, last + 1))} in {bundle}")
        if shown.error:
            tell(shown.error)

    talk.work(node.name(), "mien: farm job", "farm", finish, recipe=str(path), bundle=str(bundle), frames=[first, last])


@told
def reload_match(comp: Any) -> None:
    """Load the solved color move of the chain that feeds a MienComp once more."""
    convert = nodes.source(comp, 1)
    while convert is not None and nodes.kind(convert) not in ("convert_face", ""):
        convert = nodes.source(convert, 0)
    if convert is None or nodes.kind(convert) != "convert_face":
        raise ShotError(f"{comp.name()}: connect a MienConvert, or what follows one, to its input face.")
    path = nodes.version_folder(convert) / (nodes.name_of(convert) + ".recipe.json")
    step = _grade_step(path)
    _load_match(comp, path.parent / (f"{nodes.name_of(convert)}.{step}.json"))


def _grade_step(recipe: Path) -> str:
    """The step of a recipe that solves the color move."""
    steps = json.loads(recipe.read_text("utf-8"))["steps"]
    return next((str(step["name"]) for step in steps if step["node"] == "match_color"), "")


def _load_widths(comp: Any, widths: Mapping[str, float]) -> None:
    """Have MienComp's face widths follow the face, by which grow and soften are measured."""
    if widths:
        comp["face_width"].fromScript(text.curve({int(frame): round(width, 2) for frame, width in widths.items()}))


def _load_match(comp: Any, curves: Path) -> None:
    """Set MienComp's matrix and offset from a file of curves, in one step of undo.

    Raises:
        ShotError: The move is none that native nodes can replay.
    """
    import nuke

    try:
        held = json.loads(curves.read_text("utf-8"))["frames"]
    except (OSError, ValueError, KeyError) as error:
        raise ShotError(f"{comp.name()}: no solved color move in {curves}. Press Analyse.") from error
    moves = {int(frame): entry["value"] for frame, entry in held.items() if entry["value"] is not None}
    if any(move["space"] != "linear" or move["curves"] or move["cube"] for move in moves.values()):
        comp["source"].setValue("finished")
        raise ShotError(
            f"{comp.name()}: this color match is more than a matrix, so the face is shown as the engine finished it. "
            "For live curves choose the method mean, reinhard or mkl in linear light."
        )
    if not moves:
        raise ShotError(f"{comp.name()}: no frame has a color move.")
    with nuke.Undo("mien match"):
        rows = [
            text.several(
                [
                    text.curve({frame: move["matrix"][row][column] for frame, move in moves.items()})
                    for column in range(3)
                ]
            )
            for row in range(3)
        ]
        comp.node("Matrix")["matrix"].fromScript(" ".join(rows))
        offsets = [text.curve({frame: move["offset"][place] for frame, move in moves.items()}) for place in range(3)]
        comp["offset"].fromScript(" ".join(offsets))


@told
def pins(node: Any) -> None:
    """Make nodes with a key on every frame that follow the face."""
    from mien_nuke import follow

    follow.pins(node)


@told
def key(node: Any) -> None:
    """Place the face by hand on the viewed frame."""
    from mien_nuke import follow

    follow.key(node)


@told
def still(node: Any) -> None:
    """Make two STMap nodes between which the face holds still."""
    from mien_nuke import follow

    follow.still(node)
