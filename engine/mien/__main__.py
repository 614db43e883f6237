"""The command line: ``mien demo``, ``track``, ``convert``, ``render``, ``inspect``, ``describe``, ``serve``.

Exit codes: 0 all done; 1 something failed, with a list of what; 2 bad arguments.
"""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from mien import farmline
from mien.declare import DeclarationError
from mien.ending import conclude
from mien.heap import reuse
from mien.installline import install
from mien.recipe import CODECS, RecipeError
from mien.reviewline import qc, sign, verify
from mien.trainline import export, faceset, import_, train

# On a busy machine threads that wait by spinning take the time of those that work: up to twentyfold.
os.environ.setdefault("GOMP_SPINCOUNT", "0")
reuse()

app = typer.Typer(
    help="Consented face replacement, de-aging and clean-up for compositors.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command()(faceset)
app.command("import")(import_)
app.command()(export)
app.command()(qc)
app.command()(sign)
app.command()(verify)
app.add_typer(install, name="install")
app.add_typer(train, name="train")
for command in (farmline.render, farmline.farm, farmline.solve, farmline.finish):
    app.command()(command)


class Detector(StrEnum):
    """Which networks find faces."""

    builtin = "builtin"
    face_alignment = "face-alignment"
    onnx = "onnx"


class Device(StrEnum):
    """Where pictures are computed."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


Frames = Annotated[str | None, typer.Option("--frames", help="First and last frame, as in 1001-1048.")]
Colorspace = Annotated[str | None, typer.Option(help="Color space of the plate; else header, file rules, kind.")]
Ocio = Annotated[str | None, typer.Option(help="OpenColorIO config; else $OCIO, else the built-in ACES config.")]
Part = Annotated[str | None, typer.Option("--layer", help="Layer or part of a multi-layer EXR.")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="NODE.PARAM=VALUE", help="Change a setting.")]
DeviceOption = Annotated[Device, typer.Option(help="Where pictures are computed.")]
DetectorOption = Annotated[Detector, typer.Option(help="Networks that find faces.")]
Weights = Annotated[Path | None, typer.Option(help="Folder of networks, for --detector onnx.")]
Json = Annotated[bool, typer.Option("--json", help="Tell progress as JSON lines on stdout.")]
Force = Annotated[bool, typer.Option("--force", help="Redo frames that are up to date.")]
Keys = Annotated[list[str] | None, typer.Option("--key", metavar="[NAME@]FRAME:FILE", help="Points placed by hand.")]


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", help="Folder to work in.")] = Path("mien-demo"),
    frames: Annotated[int, typer.Option(min=2, max=240, help="Length of the shot.")] = 48,
    json: Json = False,
) -> None:
    """Make a shot of one public-domain portrait, put another on it, and say where to look."""
    from mien.commands.demonstrate import demonstrate
    from mien.progress import teller

    with teller(json) as tell:
        conclude(demonstrate(output, frames, tell), tell)


@app.command()
def track(
    plate: Annotated[str, typer.Argument(help="Sequence (plate.####.exr), movie, picture, or folder.")],
    output: Annotated[Path, typer.Option("-o", help="Track file to write, NAME.json.")],
    detector: DetectorOption = Detector.builtin,
    weights: Weights = None,
    frames: Frames = None,
    colorspace: Colorspace = None,
    ocio: Ocio = None,
    layer: Part = None,
    key: Keys = None,
    settings: Settings = None,
    preview: Annotated[Path | None, typer.Option(help="Movie with mesh, names, confidence and pose drawn.")] = None,
    export: Annotated[list[Path] | None, typer.Option(help="Also write .csv or .nk (corner pin, transform).")] = None,
    source: Annotated[Path | None, typer.Option("--import", help="Points from .nk, .csv, .json, .png, .jpg.")] = None,
    name: Annotated[list[str] | None, typer.Option(metavar="FACE=NAME", help="Name a face that was found.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(metavar="FACE", help="Leave this face alone.")] = None,
    device: DeviceOption = Device.auto,
    json: Json = False,
) -> None:
    """Find and follow every face of a shot, and write where they are."""
    from mien.commands import PlateArguments, TrackArguments, track_shot
    from mien.progress import teller

    arguments = TrackArguments(
        detector=detector.value,
        weights=weights,
        keys=tuple(key or ()),
        source=source,
        settings=_assignments(settings),
        names=_pairs(name or (), "--name", "FACE=NAME"),
        ignore=tuple(ignore or ()),
        preview=preview,
        exports=tuple(export or ()),
        device=device.value,
    )
    shot = PlateArguments(plate, _range(frames), colorspace, ocio, layer)
    with teller(json) as tell:
        conclude(track_shot(shot, output, arguments, tell), tell)


@app.command()
def convert(
    plate: Annotated[str, typer.Argument(help="Sequence (plate.####.exr), movie, picture, folder; or .otio, .edl.")],
    output: Annotated[Path, typer.Option("-o", help="Folder for everything that is written.")],
    identity: Annotated[Path | None, typer.Option(help="Identity file to put on.")] = None,
    source: Annotated[list[str] | None, typer.Option(help="Photograph (may be repeated) or take.")] = None,
    source_colorspace: Annotated[str | None, typer.Option(help="Color space of the sources.")] = None,
    source_start: Annotated[int | None, typer.Option(help="Take frame that goes onto the first frame.")] = None,
    likeness: Annotated[str, typer.Option(help="Whose face is put on.")] = "",
    release: Annotated[str, typer.Option(help="Contract or release that permits it.")] = "",
    release_until: Annotated[str, typer.Option(help="Last day of the release, YYYY-MM-DD.")] = "",
    track: Annotated[Path | None, typer.Option(help="Track file; without one the shot is tracked first.")] = None,
    face: Annotated[str | None, typer.Option(help="Whose face in the track; else the most prominent.")] = None,
    frames: Frames = None,
    recipe: Annotated[Path | None, typer.Option(help="Take the chain of nodes from this recipe.")] = None,
    settings: Settings = None,
    write: Annotated[str, typer.Option(help="layer, host, full, movie, stmap; several with commas.")] = "layer",
    window: Annotated[str, typer.Option(help="Data window of layers: face or full.")] = "face",
    pixels: Annotated[str, typer.Option(help="Pixel type of layers: half or float.")] = "half",
    codec: Annotated[str, typer.Option(help=f"How movies are coded: {', '.join(CODECS)}.")] = "h264",
    side_by_side: Annotated[bool, typer.Option("--side-by-side", help="Movies show plate and result.")] = False,
    resize: Annotated[int | None, typer.Option(help="Height of movies in pixels.")] = None,
    colorspace: Colorspace = None,
    ocio: Ocio = None,
    layer: Part = None,
    crop: Annotated[str, typer.Option(help="What moves a photograph: face, or none for the whole frame.")] = "face",
    motion: Annotated[str, typer.Option(help="How it follows: relative or absolute.")] = "relative",
    adapt_scale: Annotated[
        bool | None, typer.Option("--adapt-scale/--no-adapt-scale", help="Make movements as large as it is.")
    ] = None,
    start_frame: Annotated[int | None, typer.Option(help="Frame posed as it is; else the best is found.")] = None,
    detail: Annotated[int, typer.Option(help="Draw it 1, 2 or 4 times larger than the network does.")] = 1,
    preview: Annotated[Path | None, typer.Option(help="Movie of how it follows: keypoints, motion, result.")] = None,
    detector: DetectorOption = Detector.builtin,
    weights: Weights = None,
    media: Annotated[Path | None, typer.Option(help="Of an edit: folder of its rushes; else the edit's.")] = None,
    handles: Annotated[int, typer.Option(min=0, help="Of an edit: frames rendered beyond the cut.")] = 0,
    shots: Annotated[Path | None, typer.Option(help="Of an edit: what single shots have of their own.")] = None,
    rate: Annotated[float, typer.Option(min=1, help="Of an .edl: frames per second.")] = 24.0,
    batch: Annotated[int, typer.Option(help="Frames that a trained identity's network draws at once.")] = 1,
    device: DeviceOption = Device.auto,
    force: Force = False,
    json: Json = False,
) -> None:
    """Put a consenting performer's face on a shot, or on every shot of an edit: layers, full frames, a movie."""
    from mien.commands import ConvertArguments, PlateArguments, Reenacting, TrackArguments, convert_shot
    from mien.commands.cut import CutArguments, convert_cut
    from mien.progress import teller
    from mien.timeline import is_timeline

    cut = is_timeline(plate)
    if not cut and (media or handles or shots):
        raise RecipeError("--media, --handles and --shots are for edits: .otio or .edl.")
    if cut and (frames or track or preview):
        raise RecipeError("--frames, --track and --preview are for one shot: of an edit, list tracks with --shots.")
    if not cut and identity is None and not source:
        raise RecipeError(
            "Say whose face to put on: --identity FILE, --source PHOTO, or both for a photograph that follows."
        )
    arguments = ConvertArguments(
        plate=PlateArguments(plate, _range(frames), colorspace, ocio, layer),
        folder=output,
        identity=identity,
        sources=tuple(source or ()),
        source_colorspace=source_colorspace,
        source_start=source_start,
        likeness=likeness,
        release=release,
        release_until=release_until,
        track=track,
        face=face,
        recipe=recipe,
        settings=_assignments(settings),
        write=tuple(word.strip() for word in write.split(",") if word.strip()),
        window=window,
        pixels=pixels,
        codec=codec,
        side_by_side=side_by_side,
        height=resize,
        reenacting=Reenacting(crop, motion, adapt_scale, start_frame, detail, preview),
        tracking=TrackArguments(detector=detector.value, weights=weights, device=device.value),
        batch=batch,
        device=device.value,
        force=force,
    )
    with teller(json) as tell:
        if cut:
            conclude(convert_cut(CutArguments(Path(plate), arguments, media, handles, shots, rate), tell), tell)
        else:
            conclude(convert_shot(arguments, tell), tell)


@app.command()
def crop(
    video: Annotated[str, typer.Argument(help="Movie, sequence or folder.")],
    output: Annotated[Path, typer.Option("-o", help="Folder for the crops.")],
    size: Annotated[int, typer.Option(help="Side of the crops in pixels.")] = 256,
    coverage: Annotated[float, typer.Option(help="Side of the square around a face over its height.")] = 1.7,
    least: Annotated[int, typer.Option(help="Frames that a crop has at least.")] = 24,
    frames: Frames = None,
    colorspace: Colorspace = None,
    ocio: Ocio = None,
    layer: Part = None,
    detector: DetectorOption = Detector.builtin,
    weights: Weights = None,
    device: DeviceOption = Device.auto,
    force: Force = False,
    json: Json = False,
) -> None:
    """Write every face of a video as a small movie, in a square that stands still while the face moves in it."""
    from mien.commands import PlateArguments, TrackArguments
    from mien.commands.cropping import CropArguments, crop_video
    from mien.progress import teller

    arguments = CropArguments(
        plate=PlateArguments(video, _range(frames), colorspace, ocio, layer),
        folder=output,
        size=size,
        coverage=coverage,
        least=least,
        tracking=TrackArguments(detector=detector.value, weights=weights, device=device.value),
        force=force,
    )
    with teller(json) as tell:
        conclude(crop_video(arguments, tell), tell)


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="Track, identity, recipe, curves, or a rendered frame or movie.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell what a file is, and where it comes from."""
    from mien.inspection import inspect_file

    inspect_file(file, as_json=json)


@app.command()
def describe(
    node: Annotated[str | None, typer.Argument(help="One node; else all.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print nodes.json.")] = False,
) -> None:
    """Show the nodes and their settings."""
    from mien.inspection import describe_nodes

    describe_nodes(node, as_json=json)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def serve(words: typer.Context) -> None:
    """Answer a host: requests and answers as JSON lines on the standard streams (see --help)."""
    from mien.serve.engine import main as serve_host

    serve_host(words.args)


@app.command()
def cache(
    folder: Annotated[Path | None, typer.Option(help="Cache to look at; else $MIEN_CACHE, else your own.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Remove everything in it.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what conversions are kept on disk, or remove them."""
    from mien.commands.cache import show_cache

    show_cache(folder, clear, json)


def _range(text: str | None) -> tuple[int, int] | None:
    from mien.files.sequence import parse_frames
    from mien.types import MienError

    try:
        return parse_frames(text) if text else None
    except MienError as error:
        raise RecipeError(f"--frames: {error}") from error


def _assignments(settings: list[str] | None) -> dict[str, Any]:
    return dict(_pairs(settings or (), "--set", "NODE.PARAM=VALUE"))


def _pairs(texts: Any, option: str, form: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise RecipeError(f"{option} {text!r}: write {form}.")
        pairs.append((name, value))
    return tuple(pairs)


def main() -> None:
    """Run ``mien``; errors that an artist can mend are one sentence, all else is a bug and shows its trace."""
    try:
        app()
    except (RecipeError, DeclarationError) as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # Whoever read our output has left: nothing more to say, and Python must not complain at exit.
        sys.stdout = None
        sys.exit(1)
    except KeyboardInterrupt:
        print("Stopped. Run the same command again to continue.", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        from mien.types import MienError

        if not isinstance(error, MienError):
            raise
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
