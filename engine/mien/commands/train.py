"""``mien train``: identities from face sets."""

import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from types import FrameType

import torch
from torch import distributed

from mien.color import load as load_colors
from mien.facesets.report import advise
from mien.files.faceset import read_faceset
from mien.files.identities import Likeness
from mien.files.whole import write_whole
from mien.job import choose_device
from mien.models.swap import CLASSIC, SwapShape
from mien.progress import Note, Outcome, Tell
from mien.recipe import RecipeError
from mien.train.augment import Augment
from mien.train.budget import COMFORTABLE, SIZES, largest_batch
from mien.train.control import Control
from mien.train.loop import Pace, Task, train
from mien.train.product import Product
from mien.train.state import same_network
from mien.train.stock import stock
from mien.train.swap import SwapSetting, SwapTask, SwapWeights
from mien.train.timelapse import write_timelapse
from mien.types import MienError


@dataclass(frozen=True)
class Released:
    """Whose face, by which permission, as a command is told it.

    Attributes:
        likeness: The person whose face is put on.
        release: Contract or release that permits it.
        until: Last day of it, YYYY-MM-DD.
        own: The face is the artist's own.
    """

    likeness: str = ""
    release: str = ""
    until: str = ""
    own: bool = False

    def checked(self) -> Likeness:
        """As an identity carries it.

        Raises:
            RecipeError: Nothing is said of the likeness, or the day is no day.
        """
        if self.own:
            return Likeness(self.likeness or "the artist", "self", self.until)
        if not self.likeness or not self.release:
            raise RecipeError(
                "Say whose face is learned and what permits it: --likeness NAME --release CONTRACT, "
                "or --self if it is your own."
            )
        if self.until:
            try:
                date.fromisoformat(self.until)
            except ValueError as error:
                raise RecipeError(f"--release-until {self.until!r}: write YYYY-MM-DD.") from error
        return Likeness(self.likeness, self.release, self.until)


@dataclass(frozen=True)
class SwapArguments:
    """What ``mien train swap`` was asked for.

    Attributes:
        a: Face set of the person on the plate.
        b: Face set of the person whose face is put on.
        output: Identity file to write.
        released: Whose face, by which permission.
        shape: The network.
        coverage: Side of what it sees, over the height of a face.
        batch: Pictures of each person in a step; None chooses by size and memory.
        memory: Gigabytes that may be used; None for what the device has.
        augment, weights: How pictures are varied and losses count.
        pace: How long, how fast, how often to save and show.
        frugal: Compute activations twice to save memory.
        device: auto, cpu or cuda.
    """

    a: Path
    b: Path
    output: Path
    released: Released
    shape: SwapShape = CLASSIC
    coverage: float = 1.15
    batch: int | None = None
    memory: float | None = None
    augment: Augment = field(default_factory=Augment)
    weights: SwapWeights = field(default_factory=SwapWeights)
    pace: Pace = field(default_factory=Pace)
    frugal: bool = False
    ocio: str | None = None
    device: str = "auto"


def train_swap(arguments: SwapArguments, tell: Tell, control: Control | None = None) -> Outcome:
    """Train an identity that puts b's face on a, or go on training it.

    Raises:
        RecipeError: Arguments that cannot be, or nobody's permission.
        MienError: Sets or state that cannot be used.
    """
    likeness = arguments.released.checked()
    try:
        shape = arguments.shape.check()
    except ValueError as error:
        raise RecipeError(f"The network cannot be built: {error}.") from error
    if arguments.weights.true_face > 0 and shape.preset == "liae":
        raise RecipeError("liae draws both people from one code: leave out --true-face, or choose df.")
    folder = training_folder(arguments.output)
    same_network(folder, "swap", asdict(shape))
    with together(choose_device(arguments.device), tell) as (device, speak):
        return _train_swap(arguments, shape, likeness, folder, device, speak, control or Control())


def _train_swap(
    arguments: SwapArguments,
    shape: SwapShape,
    likeness: Likeness,
    folder: Path,
    device: torch.device,
    tell: Tell,
    control: Control,
) -> Outcome:
    pace = replace(arguments.pace, precision=chosen_precision(arguments.pace.precision, device))
    batch, frugal = fitting(arguments, shape, device, pace.precision != "float32", tell)
    colors = load_colors(arguments.ocio)
    a, b = (read_faceset(path) for path in (arguments.a, arguments.b))
    for line in advise(b, a, colors):
        tell(Note(f"{arguments.b.name}: {line}", "warning"))
    with in_turn():
        people = (
            stock(a, shape.size, arguments.coverage, folder / "a", colors, device, tell),
            stock(b, shape.size, arguments.coverage, folder / "b", colors, device, tell),
        )
    setting = SwapSetting(shape, arguments.coverage, batch, arguments.augment, arguments.weights, frugal)
    product = Product(arguments.output, likeness, folder / "curves.html")
    return carried_out(SwapTask(people, setting, pace.seed, device, product), pace, folder, product, tell, control)


def carried_out(task: Task, pace: Pace, folder: Path, product: Product, tell: Tell, control: Control) -> Outcome:
    """Train, or go on training, until done or stopped; then make a movie of the previews.

    Raises:
        MienError: A state cannot be used, or the losses are no longer numbers.
    """
    write_whole(folder / "settings.json", (json.dumps({**task.facts, "pace": asdict(pace)}, indent=1) + "\n").encode())
    with interruptible(control, tell) as listened:
        step = train(task, pace, folder, tell, listened)
    with in_turn():
        movie = write_timelapse(folder / "previews", folder / "previews.mp4")
    written = (product.identity, product.curves, *([] if movie is None else [movie]))
    return Outcome(tuple(map(str, written)), done=step)


def swap_shape(preset: str, widths: Mapping[str, int]) -> SwapShape:
    """The shape of a preset with some of its widths changed.

    Raises:
        RecipeError: No network can have it.
    """
    if preset == "classic":
        shape = CLASSIC
        if changed := set(widths) - {"size"}:
            raise RecipeError(f"classic is as it was: leave out --{sorted(changed)[0]}, or choose df.")
    else:
        shape = SwapShape(preset)
    try:
        return SwapShape(**{**asdict(shape), **widths}).check()
    except ValueError as error:
        raise RecipeError(f"The network cannot be built: {error}.") from error


def training_folder(output: Path) -> Path:
    """The folder beside an identity in which its training lives.

    Raises:
        RecipeError: The name has another ending.
        MienError: The folder cannot be made.
    """
    if output.suffix != ".safetensors":
        raise RecipeError(f"An identity ends in .safetensors: write -o {output}.safetensors.")
    folder = output.with_name(output.stem + ".training")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MienError(f"Cannot make the folder {folder}: {error.strerror}. Choose another -o.") from error
    return folder


def chosen_precision(asked: str, device: torch.device) -> str:
    """The precision that is asked for, or for ``auto`` the lowest that the device is fast and safe in.

    Raises:
        RecipeError: There is no such precision.
    """
    if asked not in ("auto", "float32", "bfloat16", "float16"):
        raise RecipeError(f"There is no precision {asked!r}: choose auto, float32, bfloat16 or float16.")
    if asked == "float16" and device.type == "cpu":
        raise RecipeError("float16 is for graphics cards: choose bfloat16 or float32 on a CPU.")
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    # Only processors with instructions for it gain; others are many times slower.
    fast = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return "bfloat16" if fast else "float32"


def fitting(
    arguments: SwapArguments, shape: SwapShape, device: torch.device, half: bool, tell: Tell
) -> tuple[int, bool]:
    """Pictures of each person in a step, and whether activations are computed twice, so that memory suffices.

    Raises:
        MienError: Not even the smallest step fits; the message names a size that would.
    """
    wanted = arguments.batch or (8 if device.type == "cpu" else max(4, min(32, 8 * 256 // shape.size)))
    memory = arguments.memory
    if memory is None and device.type == "cuda":
        memory = torch.cuda.mem_get_info(device)[0] / 1e9
    if memory is None:
        return wanted, arguments.frugal
    for frugal in dict.fromkeys((arguments.frugal, True)):
        most = largest_batch(shape, memory, frugal=frugal, half=half)
        if most is not None and (most >= min(wanted, COMFORTABLE) or frugal):
            if most < wanted or frugal != arguments.frugal:
                also = ", computing activations twice" if frugal and not arguments.frugal else ""
                tell(Note(f"{min(most, wanted)} pictures of each person in a step fit {memory:.1f} GB{also}."))
            return min(most, wanted), frugal
    smaller = (replace(shape, size=size) for size in SIZES if size < shape.size)
    fits = next((one.size for one in smaller if largest_batch(one, memory, frugal=True, half=half)), SIZES[-1])
    raise MienError(f"{shape.size} pixels do not fit {memory:.1f} GB. Use --size {fits}, or narrower networks.")


@contextmanager
def together(device: torch.device, tell: Tell) -> Iterator[tuple[torch.device, Tell]]:
    """Join the other processes where ``torchrun`` started several; only the first of them speaks."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield device, tell
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device, tell if distributed.get_rank() == 0 else lambda event: None
    finally:
        distributed.destroy_process_group()


@contextmanager
def in_turn() -> Iterator[None]:
    """What the first process prepares, the others find prepared."""
    if distributed.is_initialized() and distributed.get_rank() > 0:
        distributed.barrier()
    yield
    if distributed.is_initialized() and distributed.get_rank() == 0:
        distributed.barrier()


@contextmanager
def interruptible(control: Control, tell: Tell) -> Iterator[Control]:
    """Let the first Ctrl-C or SIGTERM end a training after its step, with all saved; a second one at once."""
    if threading.current_thread() is not threading.main_thread():
        yield control
        return

    def stop(number: int, _: FrameType | None) -> None:
        if control.stopped:
            raise KeyboardInterrupt
        tell(Note("Stopping after this step, and saving. The same command goes on from there."))
        control.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield control
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
