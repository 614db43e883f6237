"""A job bundle: one folder that Open Job Description's own runner and Deadline Cloud take as it is.

::

    template.yaml           the job: solve, then frames in chunks, then the finish
    parameter_values.yaml   what it is submitted with
    asset_references.yaml   which files it reads, which folder it writes
    recipe.json             the recipe, with whole paths
    commands.json           the same work as plain commands, for any other queue
    commands.txt            the same, one command a line
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mien.farm.assets import Assets
from mien.files.whole import write_whole
from mien.recipe import Recipe, write

MOST_CHUNKS = 10_000
"""Chunks of a job at most."""
LONGEST_NAME = 100
"""Characters of a job's name; farms cut off what is longer."""
RULES = "--path-mapping={{Session.PathMappingRulesFile}}"


@dataclass(frozen=True)
class Farming:
    """How the work is cut and what a machine must have.

    Attributes:
        frames: First and last frame to render.
        chunk: Frames of a task.
        device: Where pictures are computed: ``cuda`` asks the farm for a graphics card.
        memory: MiB of memory that a machine has at least.
        program: How machines of the farm start mien.
        priority: Of the job, 0 to 100.
    """

    frames: tuple[int, int]
    chunk: int = 10
    device: str = "cuda"
    memory: int = 8192
    program: str = "mien"
    priority: int = 50


def chunks(farming: Farming) -> list[tuple[int, int]]:
    """First and last frame of every chunk, in order."""
    first, last = farming.frames
    return [(start, min(start + farming.chunk - 1, last)) for start in range(first, last + 1, farming.chunk)]


def write_bundle(folder: Path, recipe: Recipe, assets: Assets, farming: Farming) -> tuple[Path, ...]:
    """Write a bundle; each file appears whole, the template last.

    Args:
        folder: The bundle.
        recipe: Checked, with whole paths.
        assets: What it draws on.
        farming: How the work is cut.

    Raises:
        MienError: The folder cannot be written.
    """
    commands = plain_commands(folder.absolute() / "recipe.json", farming)
    lines = [shlex.join(command) for step in commands for command in step["commands"]]
    contents = {
        "recipe.json": write(recipe),
        "commands.json": json.dumps(commands, indent=1) + "\n",
        "commands.txt": "\n".join(lines) + "\n",
        "asset_references.yaml": _yaml(references(assets)),
        "parameter_values.yaml": _yaml(parameter_values(farming)),
        "template.yaml": _yaml(template(recipe.output.name, farming)),
    }
    for name, text in contents.items():
        write_whole(folder / name, text.encode())
    return tuple(folder / name for name in contents)


def plain_commands(recipe: Path, farming: Farming) -> list[dict[str, Any]]:
    """Steps in order, each with its commands: those of one step may run at once, in any order, on any machine."""
    device, (first, last) = f"--device={farming.device}", farming.frames

    def command(*words: str) -> list[str]:
        return [farming.program, words[0], str(recipe), *words[1:]]

    return [
        {"step": "solve", "commands": [command("solve", device)]},
        {
            "step": "render",
            "after": "solve",
            "commands": [command("render", f"--frames={a}-{b}", device) for a, b in chunks(farming)],
        },
        {"step": "finish", "after": "render", "commands": [command("finish", f"--frames={first}-{last}")]},
    ]


def template(name: str, farming: Farming) -> dict[str, Any]:
    """The job as a template of Open Job Description, version 2023-09 with task chunking."""
    first, last = farming.frames
    return {
        "specificationVersion": "jobtemplate-2023-09",
        "extensions": ["TASK_CHUNKING"],
        "name": f"mien {name}"[:LONGEST_NAME],
        "description": "Composite with a digitally replaced face. Made by mien farm.",
        "parameterDefinitions": [
            _parameter("Recipe", "PATH", "recipe.json", "What is rendered.", objectType="FILE", dataFlow="IN"),
            _parameter("Frames", "STRING", f"{first}-{last}", "Frames to render, as in 1001-1048 or 1001,1010-1020."),
            _parameter("ChunkSize", "INT", farming.chunk, "Frames of one task.", minValue=1),
            _parameter(
                "Device", "STRING", farming.device, "Where pictures are computed; one for the whole job.",
                allowedValues=["cuda", "cpu", "auto"],
            ),
            _parameter("Mien", "STRING", farming.program, "How mien is started on the farm's machines."),
        ],
        "steps": [
            {
                "name": "Solve",
                "description": "What holds for the whole shot, once: every frame depends on it.",
                "script": _script("solve", "--device={{Param.Device}}"),
                **_needs(farming),
            },
            {
                "name": "Render",
                "description": "Frames, in any order, on any machine.",
                "dependencies": [{"dependsOn": "Solve"}],
                "parameterSpace": {
                    "taskParameterDefinitions": [
                        {
                            "name": "Frame",
                            "type": "CHUNK[INT]",
                            "range": "{{Param.Frames}}",
                            "chunks": {
                                "defaultTaskCount": "{{Param.ChunkSize}}",
                                "rangeConstraint": "CONTIGUOUS",
                            },
                        }
                    ]
                },
                "script": _script("render", "--frames={{Task.Param.Frame}}", "--device={{Param.Device}}"),
                **_needs(farming),
            },
            {
                "name": "Finish",
                "description": "Nothing is missing; the movie where one is wanted; the report.",
                "dependencies": [{"dependsOn": "Render"}],
                "script": _script("finish", "--frames={{Param.Frames}}"),
            },
        ],
    }  # fmt: skip


def _parameter(name: str, kind: str, default: Any, description: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more, "default": default, "description": description}


def _script(command: str, *words: str) -> dict[str, Any]:
    arguments = [command, "{{Param.Recipe}}", *words, RULES, "--openjd"]
    # What is killed loses nothing: every file appears whole, and the next attempt goes on from there.
    return {
        "actions": {"onRun": {"command": "{{Param.Mien}}", "args": arguments, "cancelation": {"mode": "TERMINATE"}}}
    }


def _needs(farming: Farming) -> dict[str, Any]:
    amounts = [{"name": "amount.worker.memory", "min": farming.memory}]
    if farming.device == "cuda":
        amounts.append({"name": "amount.worker.gpu", "min": 1})
    return {"hostRequirements": {"amounts": amounts}}


def parameter_values(farming: Farming) -> dict[str, Any]:
    """What Deadline Cloud is given with the template: its own settings; the template holds all others."""
    first, last = farming.frames
    values: Mapping[str, Any] = {
        "deadline:priority": farming.priority,
        "deadline:targetTaskRunStatus": "READY",
        "Frames": f"{first}-{last}",
        "ChunkSize": farming.chunk,
        "Device": farming.device,
        "Mien": farming.program,
    }
    return {"parameterValues": [{"name": name, "value": value} for name, value in values.items()]}


def references(assets: Assets) -> dict[str, Any]:
    """Deadline Cloud's list of the files that a job reads and the folders that it writes."""
    return {
        "assetReferences": {
            "inputs": {"filenames": _texts(assets.inputs), "directories": []},
            "outputs": {"directories": _texts([assets.output])},
            "referencedPaths": [],
        }
    }


def _texts(paths: Sequence[Path]) -> list[str]:
    return [str(path) for path in paths]


def _yaml(document: Mapping[str, Any]) -> str:
    return str(yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True, width=110))
