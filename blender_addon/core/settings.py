# SPDX-License-Identifier: GPL-3.0-or-later
"""The chain's settings as controls: what a host shows for each, and the recipe's steps from what is dialed."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENGINE = Path(__file__).resolve().parents[1] / "mien"
"""The engine's own files that the extension carries: declarations, client, what all hosts do alike."""
FACE = "Sizes are in face widths, so that proxy and final look the same."


@dataclass(frozen=True)
class Control:
    """One setting of the chain.

    Attributes:
        path: ``STEP.PARAM``.
        panel, label: Where it is shown, and what it is called there.
        kind: ``float``, ``int``, ``bool`` or ``menu``.
        default, choices: As declared.
        low, high: Range of the control.
        help: Tooltip.
    """

    path: str
    panel: str
    label: str
    kind: str
    default: Any
    low: float
    high: float
    choices: tuple[str, ...]
    help: str


def declarations() -> list[dict[str, Any]]:
    """The engine's nodes."""
    return list(json.loads((ENGINE / "nodes.json").read_text("utf-8"))["nodes"])


def chain() -> list[dict[str, Any]]:
    """The usual steps: what ``mien convert`` builds."""
    return list(json.loads((ENGINE / "chain.json").read_text("utf-8")))


def titled(name: str) -> str:
    """``matte_edge`` as artists read it: ``Matte Edge``."""
    return name.replace("_", " ").title()


def controls(nodes: Sequence[Mapping[str, Any]], steps: Sequence[Mapping[str, Any]]) -> list[Control]:
    """A control for every setting of the steps that is no file, in the chain's order."""
    declared = {node["id"]: node for node in nodes}
    found = []
    for step in steps:
        for param in declared[step["node"]]["params"]:
            if param["kind"] not in ("float", "int", "bool", "menu"):
                continue
            low, high = limits(param["slider"] or {})
            unit = (param["slider"] or {}).get("unit", "")
            found.append(
                Control(
                    path=f"{step['name']}.{param['name']}",
                    panel=titled(step["name"]),
                    label=titled(param["name"]),
                    kind=param["kind"],
                    default=step.get("settings", {}).get(param["name"], param["default"]),
                    low=low,
                    high=high,
                    choices=tuple(param["choices"]),
                    help=tooltip(param["help"], unit, param["choices"]),
                )
            )
    return found


def limits(slider: Mapping[str, Any]) -> tuple[float, float]:
    """Least and largest value of a control: the declared ones, else twice as far as its slider goes."""
    low, high = float(slider.get("low", 0)), float(slider.get("high", 1))
    least, most = slider.get("min"), slider.get("max")
    reach = high - low
    return (low - reach if least is None else float(least)), (high + reach if most is None else float(most))


def tooltip(help: str, unit: str, choices: Sequence[str]) -> str:
    """What a control says of itself; units and choices included."""
    told = help if help.endswith(".") else help + "."
    if unit in ("px", "frames", "degrees"):
        told += f" In {'pixels' if unit == 'px' else unit}."
    if choices:
        told += " " + ", ".join(f"{number}: {choice}" for number, choice in enumerate(choices)) + "."
    return told + " Rendered by the engine: convert again to see it in all frames."


def shortest(value: float) -> float:
    """The shortest decimal number that is the same 32-bit float: 0.06 for 0.05999999865."""
    same = struct.pack("<f", value)
    for digits in range(1, 10):
        short = float(f"{value:.{digits}g}")
        if struct.pack("<f", short) == same:
            return short
    return value


def plain(control: Control, value: Any) -> Any:
    """A dialed value as a recipe holds it."""
    if control.kind == "menu":
        if isinstance(value, str):
            return value if value in control.choices else control.default
        return control.choices[min(max(round(value), 0), len(control.choices) - 1)]
    if control.kind == "bool":
        return bool(value)
    if control.kind == "int":
        return round(value)
    return shortest(float(value))


def dialed(all: Sequence[Control], values: Mapping[str, Any]) -> dict[str, Any]:
    """What differs from the defaults: ``STEP.PARAM`` to value or keys, as a recipe takes them."""
    return {one.path: values[one.path] for one in all if one.path in values and values[one.path] != one.default}
