"""The toolbar: mien's nodes by what they do, and what concerns the whole program."""

from __future__ import annotations

from functools import partial

from mien_nuke import HERE, nodes
from mien_nuke.groups import WHOLE, title

FIRST = ("MienTrack", "MienConvert", "MienComp")
"""What every shot needs; the rest lies in menus of its own."""
WORDS = {
    "convert": "Face", "matte": "Matte", "match": "Color", "detail": "Detail", "finish": "Finish", "track": "Track",
    "reenact": "Performance",
}  # fmt: skip
"""Menus by the group of a declaration."""


def place(name: str) -> None:
    """Paste a node behind the selected one and open its panel; one step of undo."""
    import nuke

    with nuke.Undo("Create " + name):
        made = nuke.nodePaste((HERE.parent / "groups" / (name + ".gizmo")).as_posix())
        if made is not None:
            made.showControlPanel()


def build() -> None:
    """Build the menus, and listen to knobs, the playhead and renders for whoever works live."""
    import nuke
    from mien_nuke import live

    menu = nuke.menu("Nodes").addMenu("mien", icon="")
    for name in FIRST:
        menu.addCommand(name, partial(place, name))
    menu.addSeparator()
    for entry in nodes.declared().values():
        if entry["id"] not in WHOLE:
            name, inner = "Mien" + title(entry["id"]), menu.addMenu(WORDS.get(entry["group"], "More"))
            inner.addCommand(name, partial(place, name), tooltip=entry["help"])
    menu.addSeparator()
    menu.addCommand("Check before rendering", checked)
    menu.addCommand("Engine ...", engine)
    nuke.addKnobChanged(live.heard, nodeClass="Group")
    nuke.addUpdateUI(live.idled)
    nuke.addBeforeRender(live.rest)
    nuke.addOnScriptClose(live.forget)


def checked() -> None:
    """Switch the check of renders on or off for this session."""
    import nuke
    from mien_nuke import checks

    if checks.end():
        nuke.message("mien: renders are not checked any more.")
    else:
        checks.begin("warn")
        nuke.message(
            "mien: before a Write renders, missing and stale frames of the MienConverts before it are told."
        )


def engine() -> None:
    """Say which engine there is; without one, how to get it."""
    import nuke
    from mien.client import EngineError, find_python

    try:
        python = find_python()
    except EngineError as error:
        nuke.message(f"mien: {error}")
        return
    from mien_nuke import talk

    def finish(shown: talk.Shown) -> None:
        facts = shown.answer
        device = facts.get("device_name") or facts.get("device")
        said = shown.error or f"engine {facts.get('engine')} on {device}"
        nuke.message(f"mien: {said}\n{python}")

    talk.work("engine", "mien: starting the engine", "status", finish, wait=True)
