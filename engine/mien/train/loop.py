"""The training loop: one page that fits every kind of identity."""

import copy
import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, distributed, nn

from mien.progress import Advance, Learned, Note, Preview, Tell
from mien.train.control import Control
from mien.train.record import INTERVAL, Record, improving
from mien.train.state import load_network, optimizer_tensors, read_state, restore_optimizer, write_state
from mien.types import MienError

LIMIT = 1.0
"""Length to which gradients are cut: a rare wild batch must not undo an hour."""
STEADY = 0.999
"""Share of the averaged weights that a step leaves as it is, in the long run."""


@dataclass(frozen=True)
class Pace:
    """How a training goes on; everything here may be changed when it is resumed.

    Attributes:
        steps: Steps in all.
        minutes: Stop after this long even so; None for no limit.
        rate: Learning rate.
        warm: Steps over which it rises at the start.
        settle: Share of the steps, at the end, over which it falls to a tenth.
        save: Minutes between saves.
        preview: Steps between previews and measurements on held-out pictures.
        seed: Seed of everything random.
        precision: float32, bfloat16 or float16 inside the network.
    """

    steps: int = 100_000
    minutes: float | None = None
    rate: float = 2e-4
    warm: int = 50
    settle: float = 0.25
    save: float = 10.0
    preview: int = 250
    seed: int = 0
    precision: str = "float32"


class Task(Protocol):
    """What is learned: the loop knows no more of it than this.

    Attributes:
        network: What is trained.
        critic: What judges its pictures, if anything does.
        facts: Shapes and settings, kept with the state.
        batch: Pictures of a step.
        device: Where.
    """

    network: nn.Module
    critic: nn.Module | None
    facts: Mapping[str, Any]
    batch: int
    device: torch.device

    def make(self, step: int) -> Any:
        """Take the pictures of a step and let the network draw."""
        ...

    def losses(self, made: Any) -> dict[str, Tensor]:
        """Weighted terms that the network is to make small."""
        ...

    def critic_losses(self, made: Any) -> dict[str, Tensor]:
        """Weighted terms that the critic is to make small."""
        ...

    def held_out(self, network: nn.Module) -> float:
        """Signal over error, in dB, on pictures that were not learned from."""
        ...

    def show(self, network: nn.Module, path: Path, title: str) -> None:
        """Write a picture of how far it is."""
        ...

    def keep(self, network: nn.Module, record: Record, step: int) -> None:
        """Write what the training is for, in its present state, and its curves."""
        ...


def train(task: Task, pace: Pace, folder: Path, tell: Tell, control: Control) -> int:
    """Train, from the last state in ``folder`` if there is one; returns the steps that are done in all.

    Raises:
        MienError: The states there are another network's, the losses are no longer numbers, or what was learned
            cannot be written in the end.
    """
    network, critic = task.network.train(), task.critic
    average = copy.deepcopy(network).eval().requires_grad_(False)
    painter = torch.optim.Adam(network.parameters(), pace.rate, betas=(0.5, 0.99), fused=True)
    judge = None if critic is None else torch.optim.Adam(critic.parameters(), pace.rate, betas=(0.5, 0.99), fused=True)
    scaler = torch.amp.GradScaler(task.device.type, enabled=pace.precision == "float16")
    parts = Parts(network, average, painter, critic, judge, scaler, {})
    step, record = resume(parts, folder, tell)
    clock = Clock(step)
    sums = parts.sums

    while step < pace.steps and not agreed(control.stopped or clock.over(pace.minutes), task.device):
        for optimizer in (painter, judge):
            if optimizer is not None:
                optimizer.param_groups[0]["lr"] = rate(step, pace)

        with precision(pace, task.device):
            made = task.make(turn(step))
        losses = task.losses(made)
        descend(painter, losses, scaler)
        if judge is not None:
            judged = task.critic_losses(made)
            descend(judge, judged, scaler)
            losses |= judged
        scaler.update()
        follow(average, network, step)

        step += 1
        for name, loss in together(losses).items():
            sums[name] = sums.get(name, 0) + loss
        if step % INTERVAL == 0:
            record.losses.append((step, means(sums, folder, step)))
        if first():
            tell(Advance("train", step, pace.steps, step))
            if step % pace.preview == 0 or step == pace.steps:
                look(task, average, record, step, pace, folder, tell, clock)
            if clock.due(pace.save):
                save(task, parts, record, step, folder, tell)
        if control.paused and first():
            save(task, parts, record, step, folder, tell)
            control.wait()
            clock = Clock(step)

    if first():
        write(task, parts, record, step, folder)
    return step


@dataclass(frozen=True)
class Parts:
    """Everything that the next step depends on, beside the step's number."""

    network: nn.Module
    average: nn.Module
    painter: torch.optim.Optimizer
    critic: nn.Module | None
    judge: torch.optim.Optimizer | None
    scaler: torch.amp.GradScaler
    sums: dict[str, Tensor]
    """Losses since the last entry of the record."""


def precision(pace: Pace, device: torch.device) -> AbstractContextManager[Any]:
    """Lower precision inside the network, where it is wanted; losses are measured in full."""
    if pace.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, getattr(torch, pace.precision))


def rate(step: int, pace: Pace) -> float:
    """Learning rate: a short rise, then level, at the end down to a tenth."""
    begin = pace.steps * (1 - pace.settle)
    fall = (step - begin) / max(pace.steps - begin, 1)
    return pace.rate * min(1.0, (step + 1) / max(pace.warm, 1)) * (1.0 if fall <= 0 else 1 - 0.9 * min(fall, 1))


def descend(optimizer: torch.optim.Optimizer, losses: Mapping[str, Tensor], scaler: torch.amp.GradScaler) -> None:
    """One step down the sum of the losses."""
    optimizer.zero_grad(set_to_none=True)
    total: Tensor = scaler.scale(sum(losses.values(), torch.zeros(())))
    total.backward()
    scaler.unscale_(optimizer)
    weights = optimizer.param_groups[0]["params"]
    share([weight.grad for weight in weights if weight.grad is not None])
    nn.utils.clip_grad_norm_(weights, LIMIT)
    scaler.step(optimizer)


def share(gradients: list[Tensor]) -> None:
    """Average gradients over all processes that train together."""
    if distributed.is_initialized():
        for gradient in gradients:
            distributed.all_reduce(gradient)
        torch._foreach_div_(gradients, float(distributed.get_world_size()))


def together(losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The losses as numbers, as means over all processes: those of one batch, however many share in it."""
    values = torch.stack([loss.detach().float() for loss in losses.values()])
    share([values])
    return dict(zip(losses, values))


def turn(step: int) -> int:
    """The number of the pictures that this process takes in a step: no two processes take the same."""
    if not distributed.is_initialized():
        return step
    return step * distributed.get_world_size() + distributed.get_rank()


def agreed(wish: bool, device: torch.device) -> bool:
    """Whether any of the processes that train together wishes it: none may stop while others wait for it."""
    if not distributed.is_initialized():
        return wish
    flag = torch.tensor([float(wish)], device=device)
    distributed.all_reduce(flag)
    return float(flag) > 0


def first() -> bool:
    """Whether this process is the one that speaks and writes."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, step: int) -> None:
    """Let the averaged weights follow; early on they forget quickly."""
    share_of_new = 1 - min(STEADY, (step + 1) / (step + 10))
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), share_of_new)
    for mine, its in zip(average.buffers(), network.buffers()):
        mine.copy_(its)


def means(sums: dict[str, Tensor], folder: Path, step: int) -> dict[str, float]:
    """The sums as means over an interval; empties them.

    Raises:
        MienError: One is not a number.
    """
    # In an order that does not tell whether the training was taken up in between.
    found = {name: round(float(value) / INTERVAL, 7) for name, value in sorted(sums.items())}
    sums.clear()
    if not all(math.isfinite(value) for value in found.values()):
        raise MienError(
            f"The losses are no longer numbers at step {step}. Start again with a lower --rate, or with "
            f"--precision float32: the training goes on from the last state in {folder}."
        )
    return found


class Clock:
    """Time since a training was begun or resumed, and since it was saved."""

    def __init__(self, step: int) -> None:
        self._begun = self._saved = time.monotonic()
        self._step = step

    def over(self, minutes: float | None) -> bool:
        """Whether the time that was given is used up."""
        return minutes is not None and time.monotonic() - self._begun >= 60 * minutes

    def due(self, minutes: float) -> bool:
        """Whether it is time to save; counts from then on."""
        if time.monotonic() - self._saved < 60 * minutes:
            return False
        self._saved = time.monotonic()
        return True

    def pace(self, step: int) -> float:
        """Steps a second."""
        return (step - self._step) / max(time.monotonic() - self._begun, 1e-6)

    def left(self, step: int, pace: Pace) -> float:
        """Seconds to go."""
        rest = (pace.steps - step) / max(self.pace(step), 1e-9)
        return rest if pace.minutes is None else min(rest, 60 * pace.minutes - (time.monotonic() - self._begun))


def look(
    task: Task, average: nn.Module, record: Record, step: int, pace: Pace, folder: Path, tell: Tell, clock: Clock
) -> None:
    """Measure on held-out pictures, write a preview, and tell."""
    with torch.inference_mode(), precision(pace, task.device):
        value = task.held_out(average)
        path = folder / "previews" / f"{step:08d}.png"
        try:
            task.show(average, path, f"step {step}, held out {value:.2f} dB")
            tell(Preview(str(path), step))
        except MienError as error:
            tell(Note(f"{error} The training goes on without this preview.", "warning"))
    record.held.append((step, round(value, 4)))
    losses = record.losses[-1][1] if record.losses else {}
    pictures = task.batch * clock.pace(step)
    tell(Learned(step, losses, value, pictures, clock.left(step, pace), improving(record.held)))


def save(task: Task, parts: Parts, record: Record, step: int, folder: Path, tell: Tell) -> None:
    """Write state and identity; a disk that is full costs neither the training nor what was saved."""
    try:
        write(task, parts, record, step, folder)
    except MienError as error:
        tell(Note(f"{error} The training goes on; what was saved before is still there.", "warning"))


def write(task: Task, parts: Parts, record: Record, step: int, folder: Path) -> None:
    """Write the state, and the identity even where there is no room for the state.

    Raises:
        MienError: One of them cannot be written; what was saved before is still there.
    """
    tensors: dict[str, Mapping[str, Tensor]] = {
        "network": parts.network.state_dict(),
        "average": parts.average.state_dict(),
        "painter": optimizer_tensors(parts.painter),
        "sums": parts.sums,
    }
    if parts.critic is not None and parts.judge is not None:
        tensors |= {"critic": parts.critic.state_dict(), "judge": optimizer_tensors(parts.judge)}
    facts = {"task": dict(task.facts), "record": record.plain, "scaler": parts.scaler.state_dict()}
    try:
        write_state(folder, step, facts, tensors)
    finally:
        task.keep(parts.average, record, step)


def resume(parts: Parts, folder: Path, tell: Tell) -> tuple[int, Record]:
    """Take up the last state; returns its step and record.

    Raises:
        MienError: It is another network's, or damaged.
    """
    kept = read_state(folder, tell)
    if kept is None:
        return 0, Record()
    load_network(parts.network, kept.part("network"), folder)
    load_network(parts.average, kept.part("average"), folder)
    restore_optimizer(parts.painter, kept.part("painter"))
    if parts.critic is not None and parts.judge is not None and kept.part("critic"):
        load_network(parts.critic, kept.part("critic"), folder)
        restore_optimizer(parts.judge, kept.part("judge"))
    if kept.facts["scaler"] and parts.scaler.is_enabled():
        parts.scaler.load_state_dict(kept.facts["scaler"])
    device = next(parts.network.parameters()).device
    parts.sums.update({name: value.to(device) for name, value in kept.part("sums").items()})
    tell(Note(f"Going on from step {kept.step}."))
    return kept.step, Record.of(kept.facts["record"])
