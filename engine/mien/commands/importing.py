"""``mien import``: what artists already have, as an identity."""

import struct
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from mien import mesh
from mien.color import Colors
from mien.color import load as load_colors
from mien.commands.faceset import single_face
from mien.commands.track import TrackArguments, open_finder
from mien.commands.train import Released
from mien.files.identities import IdentityFile, Likeness, write_identity
from mien.files.shot import open_shot, read_region
from mien.files.whole import read_small
from mien.footage import plate_space
from mien.models import pix2pix
from mien.models.aligned import aligned_matrix, as_mesh, in_crop
from mien.models.dfm import FACES, DfmModel, framing
from mien.models.motion_checkpoint import is_motion, network_of_checkpoint
from mien.models.motion_shape import MotionShape, shape_of_config
from mien.ops.hull import surface_matte
from mien.ops.warp import warp
from mien.progress import Note, Outcome, Tell
from mien.recipe import RecipeError
from mien.types import MienError

LARGEST = 8 << 30
MOST_CONFIG = 1 << 20
CHECKPOINTS = (".pth", ".pt", ".tar")
COVERAGE = 1.7
"""Side of the squares that published networks learned from, over the height of the face in them."""
REFUSED: type[Exception] = vars(torch.serialization)["pickle"].UnpicklingError
"""What torch says of a file that asks for more than weights."""
DAMAGED = (
    REFUSED, RuntimeError, ValueError, EOFError, LookupError, AttributeError, TypeError, AssertionError, OverflowError,
    MemoryError, struct.error,
)  # fmt: skip
"""What torch says of a file that is damaged in one way or another."""


@dataclass(frozen=True)
class ImportArguments:
    """What ``mien import`` was asked for.

    Attributes:
        path: A ``.dfm`` or ``.onnx`` of DeepFaceLive, a ``.pth`` of pix2pix or CycleGAN, or a ``.pth.tar`` of the
            First Order Motion Model.
        output: Identity file to write.
        released: Whose face, by which permission.
        face: What a ``.dfm`` was trained on, one of ``FACES``.
        fit: Picture of any face, on which the type that fits best is found.
        size: Side of the crops, where the file leaves it open.
        statistics: ``frame`` or ``kept``: where a pix2pix with batch norm takes its statistics from.
        view: ``face`` or ``frame``: what a pix2pix looks at.
        coverage: Side of the square over the height of the face, for ``face``.
        config: YAML of a first-order motion network; without one it is told from its tensors.
        sampling: ``old`` or ``new``: how such a network looks pictures up between pixels.
    """

    path: Path
    output: Path
    released: Released
    face: str | None = None
    fit: Path | None = None
    size: int | None = None
    statistics: str = "frame"
    view: str = "frame"
    coverage: float = 1.3
    config: Path | None = None
    sampling: str = "old"


def import_model(arguments: ImportArguments, tell: Tell) -> Outcome:
    """Bring a model over.

    Raises:
        RecipeError: Arguments that cannot be, or nobody's permission.
        MienError: The file is damaged, unknown, or asks to run code.
    """
    if arguments.output.suffix != ".safetensors":
        raise RecipeError(f"An identity ends in .safetensors: write -o {arguments.output}.safetensors.")
    kind = arguments.path.suffix.lower()
    known = kind in CHECKPOINTS and (arguments.released != Released() or arguments.path.is_file())
    loaded = load_weights(arguments.path) if known else None
    # Whose face a network of motion moves is said when it is given a photograph.
    nobody = is_motion(loaded) and arguments.released == Released()
    likeness = Likeness() if nobody else arguments.released.checked()
    if kind in (".dfm", ".onnx"):
        facts, tensors = _dfm(arguments, tell)
        file = IdentityFile("dfm", likeness, facts, tensors)
    elif kind in CHECKPOINTS:
        made, read = ("reenact", _motion) if is_motion(loaded) else ("pix2pix", _pix2pix)
        facts, tensors = read(arguments, loaded, tell)
        file = IdentityFile(made, likeness, facts, tensors)
    else:
        raise RecipeError(
            f"{arguments.path} is neither .dfm, .pth nor .pth.tar. Face sets come in with mien faceset FOLDER -o DIR."
        )
    write_identity(arguments.output, file)
    return Outcome((str(arguments.output),), done=1)


def _dfm(arguments: ImportArguments, tell: Tell) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    content = read_small(arguments.path, LARGEST, "model")
    try:
        model = DfmModel(content, torch.device("cpu"), arguments.size)
    except ValueError as error:
        raise MienError(f"{arguments.path} is no .dfm that can be used: {error}.") from error
    face = arguments.face
    if face is None:
        if arguments.fit is None:
            raise RecipeError(
                f"A .dfm does not say how much of the face it looks at: name it with --face {'|'.join(FACES)}, "
                "or let it be found on a picture of any face with --fit PICTURE."
            )
        scores = fits(model, arguments.fit, load_colors(None))
        face = max(scores, key=lambda name: scores[name])
        tell(Note("Fit by face type: " + ", ".join(f"{name} {value:.2f}" for name, value in scores.items()) + "."))
        tell(Note(f"Taking {face}."))
    elif face not in FACES:
        raise RecipeError(f"There is no face type {face!r}: choose {', '.join(FACES)}.")
    square = framing(face)
    facts = {
        "size": model.size,
        "face": face,
        "coverage": square.coverage,
        "middle": list(square.middle),
        "imported": arguments.path.name,
    }
    return facts, {"model": torch.from_numpy(np.frombuffer(content, np.uint8).copy())}


def fits(model: DfmModel, picture: Path, colors: Colors) -> dict[str, float]:
    """How well the matte that a model gives of a face lies on that face, for each face type; 1 is all.

    Raises:
        MienError: No face in the picture.
    """
    shot = open_shot(picture)
    stored = torch.from_numpy(read_region(shot, shot.first, shot.display)).movedim(-1, 0)
    light = colors.to_working(plate_space(shot, colors, None))(stored)
    shown = colors.encoding.encode(light)
    display = (shown.movedim(0, -1).numpy() * 255 + 0.5).astype(np.uint8)
    points = as_mesh(*single_face(display, open_finder(TrackArguments())))
    scores = {}
    for face in FACES:
        square = framing(face)
        matrix = aligned_matrix(points, model.size, square.coverage, 1.0, square.middle)
        crop = warp(shown, matrix, (model.size, model.size))
        own = model.run(crop[None])[2][0]
        hull = surface_matte(in_crop(points, matrix), mesh.TRIANGLES, (0, 0), (model.size, model.size))
        if own.shape[-2:] != hull.shape[-2:]:
            own = torch.nn.functional.interpolate(own[None], hull.shape[-2:], mode="bilinear")[0]
        scores[face] = float(torch.minimum(own, hull).sum() / torch.maximum(own, hull).sum().clamp(min=1e-6))
    return scores


def load_weights(path: Path) -> Any:
    """The plain weights that a checkpoint of PyTorch holds, as zip or in the format before it.

    Raises:
        MienError: It is damaged, or asks for more than weights.
    """
    try:
        with warnings.catch_warnings():
            # Of formats that are newer than those that torch writes: what cannot be read is refused below.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise MienError(f"Cannot read {path}: {error.strerror or error}. Check the path.") from error
    except REFUSED as error:
        # What torch says of these advises to run them.
        raise MienError(
            f"{path} was not read: it holds more than plain weights, which might run code, or is damaged. Save its "
            "weights alone (torch.save(network.state_dict(), ...)) where it was made."
        ) from error
    except DAMAGED as error:
        reason = str(error).splitlines()[0][:160] if str(error) else "it is no checkpoint"
        raise MienError(
            f"{path} was not read: {reason}. Only plain weights are taken, nothing in a file is run."
        ) from error


def _motion(arguments: ImportArguments, loaded: Any, tell: Tell) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    if arguments.sampling not in ("old", "new"):
        raise RecipeError(f"--sampling {arguments.sampling!r}: choose old (published weights) or new.")
    try:
        told = None if arguments.config is None else _configured(arguments.config)
        shape, network = network_of_checkpoint(loaded, told)
    except (ValueError, RuntimeError) as error:
        raise MienError(f"{arguments.path} is no first-order motion network that can be used: {error}.") from error
    shape = replace(shape, corners=arguments.sampling == "old")
    given = "told by the configuration" if told else "told from its tensors"
    tell(Note(f"First-order motion with {shape.keypoints} keypoints, {shape.size} pixels, {given}."))
    facts = {"shape": asdict(shape), "coverage": COVERAGE, "imported": arguments.path.name}
    return facts, network.state_dict()


def _configured(path: Path) -> MotionShape:
    try:
        config = yaml.safe_load(read_small(path, MOST_CONFIG, "configuration"))
        return shape_of_config(config)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0][:160]
        raise MienError(f"{path} is no configuration of a first-order motion network: {reason}.") from error


def _pix2pix(arguments: ImportArguments, loaded: Any, tell: Tell) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    if arguments.statistics not in ("frame", "kept") or arguments.view not in ("frame", "face"):
        raise RecipeError("--statistics is frame or kept, --view is frame or face.")
    named = loaded if isinstance(loaded, dict) else {}
    tensors = {str(name).removeprefix("module."): value for name, value in named.items()}
    if not tensors or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise MienError(f"{arguments.path} holds no weights of a generator. Give latest_net_G.pth.")
    try:
        shape = pix2pix.shape_of(tensors)
        network = pix2pix.build(shape)
        kept = pix2pix.known(tensors, network)
        network.load_state_dict(kept)
    except (ValueError, KeyError, RuntimeError, IndexError) as error:
        raise MienError(f"{arguments.path} is no generator of pix2pix that is known: {str(error)[:200]}.") from error
    if shape.inputs != 3 or shape.outputs not in (1, 3):
        raise MienError(f"{arguments.path} takes {shape.inputs} channels and gives {shape.outputs}: 3 to 3 or 1 works.")
    tell(Note(f"A {shape.kind} of depth {shape.depth}, {shape.norm} norm, {shape.width} channels."))
    facts = {
        "shape": asdict(shape),
        "size": arguments.size or 256,
        "view": arguments.view,
        "coverage": arguments.coverage,
        "statistics": arguments.statistics,
        "imported": arguments.path.name,
    }
    return facts, {name: value.contiguous() for name, value in kept.items()}
