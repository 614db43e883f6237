# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine said of a scene's plate, kept with the scene."""

import json
from typing import Any

from ..core import colors
from ..mien.hosts.frames import spoken
from .props import state

KEPT = "mien_plate"
"""Property of a scene."""


def said_plate(scene: Any, answer: dict[str, Any]) -> None:
    """Keep what the engine says of a plate with the scene."""
    kept = {name: answer[name] for name in ("size", "data", "range", "missing", "color") if name in answer}
    kept["fps"] = _rate(str(answer.get("frames_per_second", "")))
    keep_facts(scene, kept)
    entered = scene.mien
    if not entered.first and not entered.last and answer.get("range"):
        entered.first, entered.last = answer["range"]
    gone = answer.get("missing")
    state().warning = f"The plate lacks frames {spoken(gone)}." if gone else ""
    space = str(answer.get("color", {}).get("plate", ""))
    state().state = "{} x {}, {}".format(*answer.get("size", (0, 0)), colors.NAMES.get(space, space))


def fits(scene: Any) -> bool:
    """Whether a plate lies in Blender where it should: its data window is its display window, as far as is known."""
    facts = plate_facts(scene)
    return not facts.get("data") or list(facts["data"]) == [0, 0, *facts.get("size", ())]


def _rate(text: str) -> float:
    above, _, below = text.partition("/")
    try:
        return float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        return 0.0


def keep_facts(scene: Any, facts: dict[str, Any]) -> None:
    """Keep what is known of a plate with its scene."""
    scene[KEPT] = json.dumps({**facts, "asked": _asked(scene)})


def _asked(scene: Any) -> list[str]:
    """What the answer depends on."""
    entered = scene.mien
    return [entered.plate, entered.layer, entered.colorspace, entered.ocio]


def plate_facts(scene: Any) -> dict[str, Any]:
    """What the engine said of a scene's plate; empty where it was not asked, or of another one."""
    try:
        facts = dict(json.loads(scene.get(KEPT, "{}")))
    except (TypeError, ValueError):
        return {}
    return facts if facts.get("asked") == _asked(scene) else {}
