"""Learning what was done to some frames, so that it can be done to all."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.models.critic import PatchCritic, fooled, told_apart
from mien.models.unet import PairedNetwork, PairedShape
from mien.ops.tiles import tiled
from mien.train import losses as measure
from mien.train.augment import random_of
from mien.train.features import Pyramid
from mien.train.pairs import Pair, Views, patch
from mien.train.product import Product
from mien.train.record import Record
from mien.train.sheets import display, write_grid
from mien.train.stock import evenly

SHOWN = 4
"""Rows of a preview."""
MEASURED = 32
"""Held-out pairs that are drawn to measure: more would take longer than the steps between."""
LARGEST = 512
"""Side, in pixels, of what is shown and measured of a held-out pair."""

MOST = 20.0
"""Times the mean difference beyond which a place counts for no more."""


@dataclass(frozen=True)
class PairedWeights:
    """How much each loss counts.

    Attributes:
        color: Absolute difference.
        structure: Dissimilarity of structure.
        critic: A patch critic that wants the result to look real; a hundredth of color in pix2pix.
        perceptual: Difference of features, where there is a network of features.
    """

    color: float = 1.0
    structure: float = 0.1
    critic: float = 0.01
    perceptual: float = 0.02


@dataclass(frozen=True)
class PairedSetting:
    """All that a paired training is told beside its pairs.

    Attributes:
        shape: The network.
        size: Side of the patches, in pixels.
        view: ``frame`` for patches of whole frames, ``face`` for squares around the face.
        coverage: Side of such a square over the height of the face.
        encoding: ``display`` (0..1) or ``log`` (all light).
        batch: Patches in a step.
        views: How patches are varied.
        weights: How losses count.
    """

    shape: PairedShape = field(default_factory=PairedShape)
    size: int = 256
    view: str = "frame"
    coverage: float = 1.3
    encoding: str = "display"
    batch: int = 2
    views: Views = field(default_factory=Views)
    weights: PairedWeights = field(default_factory=PairedWeights)


@dataclass(frozen=True)
class Made:
    """One step's patches: seen, drawn, and what should have been."""

    before: Tensor
    drawn: Tensor
    after: Tensor


class PairedTask:
    """Before and after; see ``loop.Task``."""

    def __init__(
        self,
        learned: Sequence[Pair],
        held: Sequence[Pair],
        setting: PairedSetting,
        seed: int,
        device: torch.device,
        product: Product,
        digest: str,
        features: nn.Module | None = None,
    ) -> None:
        torch.manual_seed(seed)
        shape = setting.shape
        self.network: nn.Module = PairedNetwork(shape).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.critic: nn.Module | None = None
        if setting.weights.critic > 0:
            critic = PatchCritic(shape.inputs + shape.outputs, shape.width, 3 if setting.size >= 128 else 2)
            self.critic = critic.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device, self.batch = device, setting.batch
        self.facts: Mapping[str, Any] = {"kind": "paired", "seed": seed, "pairs": digest, **asdict(setting)}
        self._features: Pyramid | None = None
        if features is not None and setting.weights.perceptual > 0:
            self._features = Pyramid(features, (1,)).to(device)
        self._learned, self._held, self._setting, self._seed = learned, held, setting, seed
        self._product = product

    def make(self, step: int) -> Made:
        """Cut patches and let the network draw."""
        setting, random = self._setting, random_of(self._seed, step)
        chosen = torch.randint(len(self._learned), (setting.batch,), generator=random).tolist()
        patches = [patch(self._learned[row], setting.size, setting.views, random, self.device) for row in chosen]
        both = torch.cat(patches)
        before, after = both.split((setting.shape.inputs, setting.shape.outputs), 1)
        drawn = self.network(before.contiguous(memory_format=torch.channels_last)).float()
        return Made(before, drawn, after)

    def losses(self, made: Made) -> dict[str, Tensor]:
        """Color, structure, what the critic says, and features."""
        weights = self._setting.weights
        everywhere = torch.ones_like(made.after[:, :1])
        terms = {"color": weights.color * measure.weighted_l1(made.drawn, made.after, where_it_matters(made))}
        if self._setting.shape.outputs == 1:
            terms["matte"] = weights.color * measure.cross_entropy(made.drawn, made.after, where_it_matters(made))
        if weights.structure > 0:
            terms["structure"] = weights.structure * measure.dissimilarity(made.drawn, made.after, everywhere)
        if self.critic is not None:
            scores = self.critic(torch.cat([made.before, made.drawn], 1))
            terms["fooled"] = weights.critic * fooled(scores)
        if self._features is not None:
            seen = (_in_color(part) for part in (made.drawn, made.after))
            terms["perceptual"] = weights.perceptual * self._features(*seen)
        return terms

    def critic_losses(self, made: Made) -> dict[str, Tensor]:
        """Telling real pairs from drawn ones."""
        assert self.critic is not None
        real = self.critic(torch.cat([made.before, made.after], 1))
        drawn = self.critic(torch.cat([made.before, made.drawn.detach()], 1))
        return {"critic": told_apart(real, drawn)}

    def held_out(self, network: nn.Module) -> float:
        """Mean over the held-out pairs of signal over error."""
        values = []
        for pair in self._evenly(MEASURED):
            _, drawn, after = self._drawn(network, pair)
            values.append(measure.peak_signal(drawn, after, torch.ones_like(after[:, :1])))
        return sum(values) / len(values)

    def show(self, network: nn.Module, path: Path, title: str) -> None:
        """Before, after, result, difference."""
        columns: list[list[Any]] = [[], [], [], []]
        for pair in self._evenly(SHOWN):
            shown = (one[:, :3] if one.shape[1] > 2 else one[:, :1] for one in self._drawn(network, pair))
            before, drawn, after = shown
            apart = (4 * (drawn - after).abs()).clamp(0, 1)
            for column, picture in zip(columns, (before, after, drawn, apart)):
                column += display(picture)
        write_grid(path, _alike(columns), ("before", "after", "result", "difference x 4"), title)

    def keep(self, network: nn.Module, record: Record, step: int) -> None:
        """Write the identity and the page of curves."""
        tensors = {name: value.detach().cpu().half().contiguous() for name, value in network.state_dict().items()}
        facts = {key: self.facts[key] for key in ("shape", "size", "view", "coverage", "encoding")}
        training = {key: self.facts[key] for key in ("views", "weights", "batch", "seed", "pairs")}
        told = {"pairs": str(len(self._learned)), "network": str(self._setting.shape)}
        self._product.write("paired", facts, training, tensors, record, step, told)

    def _evenly(self, most: int) -> list[Pair]:
        """At most so many of the held-out pairs, evenly spread."""
        return [self._held[row] for row in evenly(torch.arange(len(self._held)), most).tolist()]

    def _drawn(self, network: nn.Module, pair: Pair) -> tuple[Tensor, Tensor, Tensor]:
        """Before, result and after of the middle of a pair."""
        setting = self._setting
        height, width = pair.pictures.shape[-2:]
        high, wide = min(LARGEST, height), min(LARGEST, width)
        top, left = (height - high) // 2, (width - wide) // 2
        part = pair.pictures[None, :, top : top + high, left : left + wide].to(self.device).float()
        before, after = part.split((setting.shape.inputs, setting.shape.outputs), 1)
        step = setting.shape.step
        drawn = tiled(lambda tile: network(tile).float(), before, max(LARGEST, step), 0, step)
        return before, drawn, after


def where_it_matters(made: Made) -> Tensor:
    """(B, 1, H, W) more where before and after differ: a mark that was painted out is a hundredth of the picture.

    Of mattes, more where they are: what is in and what is out count about alike.
    """
    if made.after.shape[1] == 1:
        apart = made.after
    elif made.before.shape[1] == 3 and made.after.shape[1] >= 3:
        apart = functional.avg_pool2d((made.before - made.after[:, :3]).abs().mean(1, keepdim=True), 5, 1, 2)
    else:
        return torch.ones_like(made.after[:, :1])
    return 0.5 + 0.5 * (apart / (apart.mean((1, 2, 3), keepdim=True) + 1e-3)).clamp(max=MOST)


def _in_color(picture: Tensor) -> Tensor:
    """(B, 3, H, W) of pictures, or of mattes."""
    return picture[:, :3] if picture.shape[1] >= 3 else picture[:, :1].expand(-1, 3, -1, -1)


def _alike(columns: list[list[Any]]) -> list[list[Any]]:
    """Pictures of one size, cut at the right and bottom to that of the smallest."""
    height = min(picture.shape[0] for column in columns for picture in column)
    width = min(picture.shape[1] for column in columns for picture in column)
    return [[picture[:height, :width] for picture in column] for column in columns]
