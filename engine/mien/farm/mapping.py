"""Where a farm put the files of a job: the rules of Open Job Description, applied to a recipe.

Public: ``Rule``, ``read_rules``, ``mapped``, ``moved``.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any

from mien.declare import shipped
from mien.files.whole import read_small
from mien.recipe import Recipe, Step
from mien.types import MienError

VERSION = "pathmapping-1.0"
LIMIT = 1 << 22
"""Bytes of the largest file of rules that is read."""
FORMATS: dict[str, type[PurePath]] = {"POSIX": PurePosixPath, "WINDOWS": PureWindowsPath}


@dataclass(frozen=True)
class Rule:
    """What lies below ``source`` where a job was written lies below ``destination`` here."""

    source: PurePath
    destination: Path


def read_rules(path: Path | None) -> tuple[Rule, ...]:
    """The rules of a file that a farm's worker wrote, the longest source first; none without a file.

    Raises:
        MienError: The file is missing, or no ``pathmapping-1.0`` document.
    """
    if path is None:
        return ()
    try:
        document = json.loads(read_small(path, LIMIT, "path mapping rules"))
        # A session without rules gets an empty document.
        if document == {}:
            return ()
        if document["version"] != VERSION:
            raise ValueError(f"version {document['version']!r}, this mien reads {VERSION}")
        rules = [
            Rule(FORMATS[rule["source_path_format"].upper()](rule["source_path"]), Path(rule["destination_path"]))
            for rule in document["path_mapping_rules"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise MienError(f"{path} holds no path mapping rules of Open Job Description: {str(error)[:200]}.") from error
    return tuple(sorted(rules, key=lambda rule: -len(rule.source.parts)))


def mapped(text: str, rules: Sequence[Rule]) -> str:
    """A path by the first rule that it lies below; as it is where none fits."""
    for rule in rules:
        path = type(rule.source)(text)
        if path.is_relative_to(rule.source):
            return str(rule.destination.joinpath(*path.relative_to(rule.source).parts))
    return text


def moved(recipe: Recipe, rules: Sequence[Rule]) -> Recipe:
    """The recipe with every path in it mapped: plate, track, identity, config, outputs, files of settings."""
    if not rules:
        return recipe

    def there(text: str) -> str:
        return mapped(text, rules)

    return replace(
        recipe,
        plate=replace(recipe.plate, path=there(recipe.plate.path)),
        track=there(recipe.track),
        identity=there(recipe.identity),
        ocio=recipe.ocio if recipe.ocio is None or "://" in recipe.ocio else there(recipe.ocio),
        output=replace(recipe.output, folder=there(recipe.output.folder)),
        steps=tuple(_moved_step(step, rules) for step in recipe.steps),
    )


def _moved_step(step: Step, rules: Sequence[Rule]) -> Step:
    named = files_named(step)
    return replace(step, settings={**step.settings, **{name: _each(step.settings[name], rules) for name in named}})


def files_named(step: Step) -> tuple[str, ...]:
    """Names of a step's settings that hold paths."""
    node = next(node for node in shipped() if node.id == step.node)
    return tuple(param.name for param in node.params if param.kind == "file" and param.name in step.settings)


def _each(value: Any, rules: Sequence[Rule]) -> Any:
    if isinstance(value, list | tuple):
        return [[key[0], mapped(str(key[1]), rules), *key[2:]] for key in value]
    return mapped(value, rules) if isinstance(value, str) and value not in ("", ".") else value
