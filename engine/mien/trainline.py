"""The part of the command line that makes identities: ``mien faceset`` and ``mien train``."""

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

Range = Annotated[str | None, typer.Option(metavar="LOW:HIGH", help="Keep faces in this range.")]


def faceset(
    sources: Annotated[list[str], typer.Argument(help="Movies, sequences, pictures, folders; or face sets.")],
    output: Annotated[Path, typer.Option("-o", help="Folder of the face set.")],
    size: Annotated[int, typer.Option(help="Side of the crops in pixels.")] = 256,
    coverage: Annotated[float, typer.Option(help="Side of the crops over the height of the face.")] = 1.6,
    every: Annotated[int, typer.Option(min=1, help="Take every n-th frame.")] = 1,
    person: Annotated[str | None, typer.Option(help="Whose face in a track; else the most prominent.")] = None,
    like: Annotated[Path | None, typer.Option(help="Photograph of the person: leave others out.")] = None,
    unlike: Annotated[float, typer.Option(help="Largest difference from --like.")] = 0.42,
    yaw: Range = None,
    pitch: Range = None,
    light: Range = None,
    mouth: Range = None,
    smallest: Annotated[float, typer.Option(help="Least width of a face in source pixels.")] = 0.0,
    sharpest: Annotated[float, typer.Option(min=0, max=1, help="Share to keep, the sharpest.")] = 1.0,
    apart: Annotated[float, typer.Option(help="Leave out faces that differ less from another; 0.3 is little.")] = 0.0,
    most: Annotated[int | None, typer.Option(min=1, help="At most so many faces.")] = None,
    sort: Annotated[str, typer.Option(help="frame, yaw, pitch, roll, sharpness, size, light, mouth, eyes.")] = "frame",
    against: Annotated[Path | None, typer.Option(help="Face set to compare with in the report.")] = None,
    colorspace: Annotated[str | None, typer.Option(help="Color space of the sources.")] = None,
    ocio: Annotated[str | None, typer.Option(help="OpenColorIO config.")] = None,
    detector: Annotated[str, typer.Option(help="builtin, face-alignment or onnx.")] = "builtin",
    weights: Annotated[Path | None, typer.Option(help="Folder of networks, for --detector onnx.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Track the sources again.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Tell progress as JSON lines on stdout.")] = False,
) -> None:
    """Collect one person's faces for training, choose among them, and say what they lack."""
    from mien.commands import TrackArguments
    from mien.commands.faceset import FacesetArguments, make_faceset
    from mien.facesets.extract import CropShape
    from mien.facesets.selection import Selection
    from mien.progress import teller

    choice = Selection(
        yaw=_range("--yaw", yaw),
        pitch=_range("--pitch", pitch),
        light=_range("--light", light),
        mouth=_range("--mouth", mouth),
        smallest=smallest,
        sharpest=sharpest,
        apart=apart,
        unlike=unlike,
        most=most,
        order=sort,
    )
    arguments = FacesetArguments(
        sources=tuple(sources),
        folder=output,
        shape=CropShape(size, coverage),
        every=every,
        person=person,
        choice=choice,
        like=like,
        against=against,
        colorspace=colorspace,
        ocio=ocio,
        tracking=TrackArguments(detector=detector, weights=weights, device=device),
        force=force,
    )
    with teller(json) as tell:
        _finish(make_faceset(arguments, tell), tell)


def _range(option: str, text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    low, colon, high = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return float(low or "-inf"), float(high or "inf")
    except ValueError:
        _refuse(f"{option} {text!r}: write LOW:HIGH, as in -30:30.")


def _refuse(message: str) -> NoReturn:
    print(f"Error: {message}", file=sys.stderr)
    raise typer.Exit(2)


def _finish(outcome: Any, tell: Any) -> None:
    tell(outcome)
    if outcome.failed:
        raise typer.Exit(1)
