"""The part of the command line that makes identities: ``mien faceset`` and ``mien train``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mien.ending import conclude
from mien.recipe import RecipeError

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
    sheets: Annotated[bool, typer.Option("--sheets", help="Write contact sheets of all faces.")] = False,
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
        sheets=sheets,
    )
    with teller(json) as tell:
        conclude(make_faceset(arguments, tell), tell)


def import_(
    file: Annotated[Path, typer.Argument(help="Model: .dfm, .onnx, .pth of pix2pix or CycleGAN, .pth.tar.")],
    output: Annotated[Path, typer.Option("-o", help="Identity to write, NAME.safetensors.")],
    likeness: Annotated[str, typer.Option(help="Whose face is put on.")] = "",
    release: Annotated[str, typer.Option(help="Contract or release that permits it.")] = "",
    release_until: Annotated[str, typer.Option(help="Last day of the release, YYYY-MM-DD.")] = "",
    own: Annotated[bool, typer.Option("--self", help="The face is your own.")] = False,
    face: Annotated[str | None, typer.Option(help="What a .dfm looks at: half, midfull, full, whole, head.")] = None,
    fit: Annotated[Path | None, typer.Option(help="Picture of a face on which to find that out.")] = None,
    size: Annotated[int | None, typer.Option(help="Side of the crops, where the file leaves it open.")] = None,
    statistics: Annotated[str, typer.Option(help="Of batch norms: the frame's own, or kept.")] = "frame",
    view: Annotated[str, typer.Option(help="What a pix2pix looks at: frame or face.")] = "frame",
    coverage: Annotated[float, typer.Option(help="Side of the square over the height of the face.")] = 1.3,
    config: Annotated[Path | None, typer.Option(help="YAML of a .pth.tar; else told from its tensors.")] = None,
    sampling: Annotated[str, typer.Option(help="Of a .pth.tar: old (torch before 1.3, as published) or new.")] = "old",
    json: Annotated[bool, typer.Option("--json", help="Tell progress as JSON lines on stdout.")] = False,
) -> None:
    """Bring over a model of another program as an identity; nothing in it is run but its network."""
    from mien.commands.importing import ImportArguments, import_model
    from mien.commands.train import Released
    from mien.progress import teller

    released = Released(likeness, release, release_until, own)
    arguments = ImportArguments(file, output, released, face, fit, size, statistics, view, coverage, config, sampling)
    with teller(json) as tell:
        conclude(import_model(arguments, tell), tell)


def export(
    identity: Annotated[Path, typer.Argument(help="Identity of kind swap or paired.")],
    to: Annotated[str, typer.Option(help="torchscript (for Nuke's Inference), onnx, or dfm.")],
    output: Annotated[Path, typer.Option("-o", help="File to write.")],
    ocio: Annotated[str | None, typer.Option(help="OpenColorIO config of the compositor.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Tell progress as JSON lines on stdout.")] = False,
) -> None:
    """Write an identity for programs that run networks themselves, and check it against the original."""
    from mien.commands.exporting import ExportArguments, export_identity
    from mien.progress import teller

    with teller(json) as tell:
        conclude(export_identity(ExportArguments(identity, to, output, ocio), tell), tell)


train = typer.Typer(help="Train identities; Ctrl-C saves, the same command goes on.", no_args_is_help=True)

Output = Annotated[Path, typer.Option("-o", help="Identity to write, NAME.safetensors.")]
Likeness = Annotated[str, typer.Option(help="Whose face is put on.")]
Release = Annotated[str, typer.Option(help="Contract or release that permits it.")]
ReleaseUntil = Annotated[str, typer.Option(help="Last day of the release, YYYY-MM-DD.")]
Own = Annotated[bool, typer.Option("--self", help="The face is your own.")]
Steps = Annotated[int, typer.Option(min=1, help="Steps in all.")]
Minutes = Annotated[float | None, typer.Option(help="Stop after so long.")]
Save = Annotated[float, typer.Option(help="Minutes between saves.")]
PreviewEvery = Annotated[int, typer.Option(min=1, help="Steps between previews.")]
Precision = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16, inside the network.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
DeviceName = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Json = Annotated[bool, typer.Option("--json", help="Tell progress as JSON lines on stdout.")]


@train.command()
def swap(
    a: Annotated[Path, typer.Argument(help="Face set of the person on the plate.")],
    b: Annotated[Path, typer.Argument(help="Face set of the person whose face is put on.")],
    output: Output,
    likeness: Likeness = "",
    release: Release = "",
    release_until: ReleaseUntil = "",
    own: Own = False,
    preset: Annotated[str, typer.Option(help="classic (64 pixels), df or liae.")] = "df",
    size: Annotated[int | None, typer.Option(help="Side of the crops: 64 to 512 and more.")] = None,
    encoder: Annotated[int | None, typer.Option(help="Width of the encoder.")] = None,
    decoder: Annotated[int | None, typer.Option(help="Width of the decoders.")] = None,
    matte: Annotated[int | None, typer.Option(help="Width of the mattes' decoders.")] = None,
    code: Annotated[int | None, typer.Option(help="Numbers a face is squeezed through.")] = None,
    coverage: Annotated[float, typer.Option(help="Side of the crops over the height of the face.")] = 1.15,
    batch: Annotated[int | None, typer.Option(min=1, help="Pictures of each person in a step.")] = None,
    memory: Annotated[float | None, typer.Option(help="Gigabytes that may be used; else what there is.")] = None,
    frugal: Annotated[bool, typer.Option("--frugal", help="Half the memory, a third slower.")] = False,
    steps: Steps = 100_000,
    minutes: Minutes = None,
    rate: Annotated[float, typer.Option(help="Learning rate.")] = 2e-4,
    color: Annotated[float, typer.Option(help="Weight of colors.")] = 1.0,
    structure: Annotated[float, typer.Option(help="Weight of structure.")] = 1.0,
    features: Annotated[float, typer.Option(help="Extra weight of eyes and mouth.")] = 1.0,
    matte_weight: Annotated[float, typer.Option(help="Weight of the matte.")] = 0.3,
    sharpen: Annotated[float, typer.Option(help="Weight of a critic that asks for detail; 0.1 is enough.")] = 0.0,
    true_face: Annotated[float, typer.Option(help="Weight of B's own looks over A's; 0.01 is enough.")] = 0.0,
    bend: Annotated[float, typer.Option(help="Random bending; 0 for the last touches.")] = 0.03,
    flip: Annotated[float, typer.Option(help="How often pictures are mirrored.")] = 0.0,
    tone: Annotated[float, typer.Option(help="How far brightness, contrast and saturation vary.")] = 0.1,
    recolor: Annotated[float, typer.Option(help="How often b takes on colors of a.")] = 0.5,
    save: Save = 10.0,
    preview: PreviewEvery = 250,
    precision: Precision = "auto",
    seed: Seed = 0,
    ocio: Annotated[str | None, typer.Option(help="OpenColorIO config.")] = None,
    device: DeviceName = "auto",
    json: Json = False,
) -> None:
    """Learn to draw B with the expressions of A, from two face sets."""
    from mien.commands.train import Released, SwapArguments, swap_shape, train_swap
    from mien.progress import teller
    from mien.train.augment import Augment
    from mien.train.control import Control
    from mien.train.loop import Pace
    from mien.train.swap import SwapWeights

    control = Control()
    widths = {"size": size, "encoder": encoder, "decoder": decoder, "matte": matte, "code": code}
    arguments = SwapArguments(
        a=a,
        b=b,
        output=output,
        released=Released(likeness, release, release_until, own),
        shape=swap_shape(preset, {name: value for name, value in widths.items() if value is not None}),
        coverage=coverage,
        batch=batch,
        memory=memory,
        augment=Augment(bend=bend, flip=flip, tone=tone, recolor=recolor),
        weights=SwapWeights(color, structure, features, matte_weight, sharpen, true_face),
        pace=Pace(steps, minutes, rate, save=save, preview=preview, seed=seed, precision=precision),
        frugal=frugal,
        ocio=ocio,
        device=device,
    )
    with teller(json) as tell:
        conclude(train_swap(arguments, tell, control), tell)
    if control.stopped:
        raise typer.Exit(130)


@train.command()
def paired(
    before: Annotated[str, typer.Argument(help="Movie, sequence or folder of pictures, before.")],
    output: Output,
    after: Annotated[str | None, typer.Argument(help="The same frames, after; or mattes of them.")] = None,
    likeness: Likeness = "",
    release: Release = "",
    release_until: ReleaseUntil = "",
    own: Own = False,
    side_by_side: Annotated[bool, typer.Option("--side-by-side", help="Pictures hold before and after.")] = False,
    preset: Annotated[str | None, typer.Option(help="classic: 128 pixels, 50 epochs.")] = None,
    channels: Annotated[int, typer.Option(min=1, max=4, help="Of AFTER: 3 picture, 4 with alpha, 1 matte.")] = 3,
    size: Annotated[int, typer.Option(help="Side of the patches in pixels.")] = 256,
    face: Annotated[bool, typer.Option("--face", help="Learn squares around the face, not whole frames.")] = False,
    outlines: Annotated[bool, typer.Option("--outlines", help="Draw BEFORE's face from its outlines.")] = False,
    coverage: Annotated[float, typer.Option(help="Side of such a square over the height of the face.")] = 1.3,
    encoding: Annotated[str, typer.Option(help="display (0 to 1), log (all light), or auto.")] = "auto",
    width: Annotated[int, typer.Option(help="Width of the network.")] = 32,
    levels: Annotated[int, typer.Option(help="Steps down; each doubles what a pixel can see.")] = 5,
    batch: Annotated[int, typer.Option(min=1, help="Patches in a step.")] = 2,
    epochs: Annotated[int | None, typer.Option(min=1, help="Times every pair is seen; instead of --steps.")] = None,
    steps: Steps = 20_000,
    minutes: Minutes = None,
    rate: Annotated[float, typer.Option(help="Learning rate.")] = 8e-4,
    color: Annotated[float, typer.Option(help="Weight of differences.")] = 1.0,
    structure: Annotated[float, typer.Option(help="Weight of structure.")] = 0.1,
    critic: Annotated[float | None, typer.Option(help="Weight of the patch critic; 0.01, for mattes 0.")] = None,
    vgg: Annotated[Path | None, typer.Option(help="Your weights of VGG-19, to compare results in.")] = None,
    perceptual: Annotated[float, typer.Option(help="Weight of that comparison.")] = 0.02,
    flip: Annotated[float, typer.Option(help="How often patches are mirrored.")] = 0.5,
    save: Save = 10.0,
    preview: PreviewEvery = 250,
    precision: Precision = "auto",
    seed: Seed = 0,
    colorspace: Annotated[str | None, typer.Option(help="Color space of both.")] = None,
    ocio: Annotated[str | None, typer.Option(help="OpenColorIO config.")] = None,
    device: DeviceName = "auto",
    json: Json = False,
) -> None:
    """Learn what was done to some frames, from pictures before and after."""
    from mien.commands import TrackArguments
    from mien.commands.pairing import PairedArguments, train_paired
    from mien.commands.train import Released
    from mien.models.unet import PairedShape
    from mien.progress import teller
    from mien.train.control import Control
    from mien.train.loop import Pace
    from mien.train.paired import PairedSetting, PairedWeights
    from mien.train.pairs import Views

    if preset not in (None, "classic"):
        raise RecipeError(f"There is no preset {preset!r}: choose classic.")
    if preset == "classic":
        size, epochs = 128, epochs or 50
    control = Control()
    setting = PairedSetting(
        shape=PairedShape(3, channels, width, levels),
        size=size,
        view="outlines" if outlines else "face" if face else "frame",
        coverage=coverage,
        encoding=encoding,
        batch=batch,
        views=Views(flip=flip),
        weights=PairedWeights(
            color, structure, (0.01 if channels >= 3 else 0.0) if critic is None else critic, perceptual
        ),
    )
    arguments = PairedArguments(
        before=before,
        after=after,
        output=output,
        released=Released(likeness, release, release_until, own),
        side_by_side=side_by_side,
        setting=setting,
        epochs=epochs,
        pace=Pace(steps, minutes, rate, save=save, preview=preview, seed=seed, precision=precision),
        colorspace=colorspace,
        ocio=ocio,
        tracking=TrackArguments(device=device),
        device=device,
        vgg=vgg,
    )
    with teller(json) as tell:
        conclude(train_paired(arguments, tell, control), tell)
    if control.stopped:
        raise typer.Exit(130)


@train.command()
def reenact(
    films: Annotated[list[str], typer.Argument(help="Movies, folders of frames, or folders of movies.")],
    output: Output,
    held_out: Annotated[list[str] | None, typer.Option(help="Film to measure on and not to learn from.")] = None,
    likeness: Likeness = "",
    release: Release = "",
    release_until: ReleaseUntil = "",
    own: Own = False,
    preset: Annotated[str, typer.Option(help="small-64, vox-256, mgif-256 and others of the paper.")] = "small-64",
    size: Annotated[int | None, typer.Option(help="Side of the pictures in pixels.")] = None,
    keypoints: Annotated[int | None, typer.Option(help="How many keypoints.")] = None,
    crop: Annotated[str, typer.Option(help="face: squares around faces; none: whole frames.")] = "face",
    coverage: Annotated[float, typer.Option(help="Side of the squares over the height of the face.")] = 1.7,
    batch: Annotated[int, typer.Option(min=1, help="Pairs of frames in a step.")] = 8,
    vgg: Annotated[Path | None, typer.Option(help="VGG-19 to compare pictures in; else a random network.")] = None,
    features: Annotated[float, typer.Option(help="Weight of features.")] = 10.0,
    place: Annotated[float, typer.Option(help="Weight of keypoints following bent pictures.")] = 10.0,
    local: Annotated[float, typer.Option(help="Weight of what lies around them following too.")] = 10.0,
    critic: Annotated[float, typer.Option(help="Weight of a critic that wants it to look filmed; 1 in vox-adv.")] = 0.0,
    flip: Annotated[float, typer.Option(help="How often pairs are mirrored.")] = 0.5,
    steps: Steps = 100_000,
    minutes: Minutes = None,
    rate: Annotated[float, typer.Option(help="Learning rate.")] = 2e-4,
    save: Save = 10.0,
    preview: PreviewEvery = 250,
    precision: Precision = "auto",
    seed: Seed = 0,
    colorspace: Annotated[str | None, typer.Option(help="Color space of the films.")] = None,
    ocio: Annotated[str | None, typer.Option(help="OpenColorIO config.")] = None,
    device: DeviceName = "auto",
    json: Json = False,
) -> None:
    """Learn to move photographs as films move, from films."""
    from dataclasses import replace

    from mien.commands import TrackArguments
    from mien.commands.filming import PRESETS, ReenactArguments, train_reenact
    from mien.commands.train import Released
    from mien.progress import teller
    from mien.train.clips import Variety
    from mien.train.control import Control
    from mien.train.loop import Pace
    from mien.train.reenact import MotionWeights, ReenactSetting

    if preset not in PRESETS:
        raise RecipeError(f"There is no preset {preset!r}: choose {', '.join(PRESETS)}.")
    changed: dict[str, Any] = {
        name: value for name, value in (("size", size), ("keypoints", keypoints)) if value is not None
    }
    control = Control()
    arguments = ReenactArguments(
        films=tuple(films),
        output=output,
        released=Released(likeness, release, release_until, own),
        held=tuple(held_out or ()),
        setting=ReenactSetting(
            shape=replace(PRESETS[preset], **changed),
            coverage=coverage,
            batch=batch,
            variety=Variety(flip=flip),
            weights=MotionWeights(features, place, local, critic),
        ),
        crop=crop,
        vgg=vgg,
        pace=Pace(steps, minutes, rate, save=save, preview=preview, seed=seed, precision=precision),
        colorspace=colorspace,
        ocio=ocio,
        tracking=TrackArguments(device=device),
        device=device,
    )
    with teller(json) as tell:
        conclude(train_reenact(arguments, tell, control), tell)
    if control.stopped:
        raise typer.Exit(130)


def _range(option: str, text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    low, colon, high = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return float(low or "-inf"), float(high or "inf")
    except ValueError:
        raise RecipeError(f"{option} {text!r}: write LOW:HIGH, as in -30:30.") from None
