"""``mien export``: an identity for programs that run networks themselves."""

import io
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mien.color import load as load_colors
from mien.commands.cattery import catalog, creator_script, folder_of
from mien.files.atomic import appearing
from mien.files.identities import IdentityFile, read_identity
from mien.files.whole import write_whole
from mien.models.portable import Dfm, Knobs, Light
from mien.progress import Note, Outcome, Tell
from mien.recipe import RecipeError
from mien.trained import TILE, network_of
from mien.types import MienError

TARGETS = ("torchscript", "onnx", "dfm")
CLOSE = 2e-4
"""Largest difference, in display-like values, between an export and what it was made from."""


@dataclass(frozen=True)
class ExportArguments:
    """What ``mien export`` was asked for: which identity, for what, and the file to write."""

    path: Path
    to: str
    output: Path
    ocio: str | None = None


def export_identity(arguments: ExportArguments, tell: Tell) -> Outcome:
    """Write an identity for another program, and check it against the original.

    Raises:
        RecipeError: No such target, or one that this identity cannot have.
        MienError: The identity cannot be read, or the export draws something else.
    """
    if arguments.to not in TARGETS:
        raise RecipeError(f"Cannot export to {arguments.to!r}: choose {', '.join(TARGETS)}.")
    file = read_identity(arguments.path)
    if file.kind not in ("swap", "paired"):
        raise RecipeError(f"Identities of kind {file.kind} are not exported: only swap and paired are.")
    if arguments.to == "dfm" and file.kind != "swap":
        raise RecipeError("Only swap identities have the signature of a .dfm: export this one to onnx.")
    network, size, step = network_of(file, arguments.path)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # Tracing and scripting are what hosts load, however old they have become.
        warnings.simplefilter("ignore")
        if arguments.to == "torchscript":
            written, apart = _torchscript(arguments, file, network, size, step)
        elif arguments.to == "dfm":
            written, apart = _dfm(arguments, network, size)
        else:
            written, apart = _onnx(arguments, file, network, size)
    if not apart <= CLOSE:
        raise MienError(f"{arguments.output} draws something else than {arguments.path}: they differ by {apart:.2g}.")
    tell(Note(f"Checked against the original: differs by {apart:.1g} at most."))
    likeness = file.likeness
    tell(Note(f"It shows {likeness.name or 'nobody named'}, released by {likeness.release or 'nobody named'}."))
    return Outcome(tuple(written), done=1)


def _torchscript(
    arguments: ExportArguments, file: IdentityFile, network: nn.Module, size: int, step: int
) -> tuple[list[str], float]:
    if file.facts.get("encoding") == "log":
        raise RecipeError("Identities trained on float plates see all light, which this export does not: use onnx.")
    colors = load_colors(arguments.ocio)
    light = Light(network, colors.encoding.to_display, file.kind).eval()
    example = _example(3, size)
    sizes = (size, size) if file.kind == "swap" else (step, 0)
    scripted = torch.jit.script(Knobs(torch.jit.trace(light, example), *sizes).eval())
    write_whole(arguments.output, _archive(scripted))
    loaded = torch.jit.load(str(arguments.output))
    with torch.inference_mode():
        wanted = light(example)
        found = loaded(example)
        apart = float((found[:, :3] - wanted[:, :3]).abs().max())
        apart = max(apart, float((found[:, 3] - wanted[:, 3]).abs().max()))
    script = arguments.output.with_suffix(".nk")
    write_whole(script, creator_script(arguments.output, file, size).encode())
    offered = folder_of(arguments.output) / "cat.json"
    offered.parent.mkdir(parents=True, exist_ok=True)
    write_whole(offered, catalog(arguments.output, file).encode())
    return [str(arguments.output), str(script), str(offered)], apart


def _archive(scripted: torch.jit.ScriptModule) -> bytes:
    """What hosts load, without the paths and lines of the machine that it was made on."""
    made, bare = io.BytesIO(), io.BytesIO()
    torch.jit.save(scripted, made)
    with zipfile.ZipFile(made) as whole, zipfile.ZipFile(bare, "w") as kept:
        for entry in whole.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                kept.writestr(entry, whole.read(entry))
    return bare.getvalue()


def _dfm(arguments: ExportArguments, network: nn.Module, size: int) -> tuple[list[str], float]:
    model = Dfm(network).eval()
    example = _example(3, size).permute(0, 2, 3, 1).contiguous()
    outputs = ["out_face_mask:0", "out_celeb_face:0", "out_celeb_face_mask:0"]
    return _written(arguments, model, example, ["in_face:0"], outputs, {0: "batch"})


def _onnx(arguments: ExportArguments, file: IdentityFile, network: nn.Module, size: int) -> tuple[list[str], float]:
    axes = {0: "batch"} if file.kind == "swap" else {0: "batch", 2: "height", 3: "width"}
    outputs = ["picture", "matte"] if file.kind == "swap" else ["after"]
    return _written(arguments, network, _example(3, size), ["before"], outputs, axes)


def _written(
    arguments: ExportArguments,
    model: nn.Module,
    example: Tensor,
    given: list[str],
    made: list[str],
    axes: dict[int, str],
) -> tuple[list[str], float]:
    """Write an ONNX graph and run it beside the original on another picture, two at a time."""
    try:
        import onnxruntime

        with appearing(arguments.output) as partial:
            torch.onnx.export(
                model,
                (example,),
                str(partial),
                input_names=given,
                output_names=made,
                opset_version=12,
                dynamo=False,
                dynamic_axes=dict.fromkeys((*given, *made), axes),
            )
    except (ImportError, torch.onnx.errors.OnnxExporterError) as error:
        raise MienError(f"{arguments.output} was not written: {error}. pip install mien[engine,onnx].") from error
    session = onnxruntime.InferenceSession(str(arguments.output), providers=["CPUExecutionProvider"])
    two = torch.cat([example, example.flip(1)])
    results: Any = session.run(None, {given[0]: two.numpy()})
    with torch.inference_mode():
        wanted = model(two)
    wanted = [wanted] if isinstance(wanted, Tensor) else list(wanted)
    apart = max(float(np.abs(found - one.numpy()).max()) for found, one in zip(results, wanted, strict=True))
    return [str(arguments.output)], apart


def _example(channels: int, size: int) -> Tensor:
    side = min(size, TILE)
    return torch.rand(1, channels, side, side, generator=torch.Generator().manual_seed(0))
