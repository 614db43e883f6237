"""Learning motion from films: of two frames, the first is to become the second (Siarohin et al., 2019)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mien.models.motion import Motion, MotionNetwork
from mien.models.motion_critic import MotionCritic
from mien.models.motion_fields import Keypoints, inverse
from mien.models.motion_shape import MotionShape
from mien.models.motion_view import flow_colors, marked
from mien.train import losses as measure
from mien.train.augment import random_of
from mien.train.bend import Bend, random_bend
from mien.train.clips import Clip, Variety, as_pictures, pairs
from mien.train.features import Pyramid, RandomFeatures
from mien.train.product import Product
from mien.train.record import Record
from mien.train.sheets import display, write_grid

SHOWN = 5
"""Rows of a preview."""
MEASURED = 8
"""Frames of each held-out clip that are measured."""
LOOK = 192
"""Pixels that a picture of a preview is at least wide."""


@dataclass(frozen=True)
class MotionWeights:
    """How much each loss counts; the defaults are those of ``vox-256``.

    Attributes:
        features: Difference of features, over levels and sizes.
        place, local: That keypoints and what lies around them follow a bent picture.
        critic: A critic that wants the result to look filmed; 1 in ``vox-adv-256``.
        match: Difference of the critic's own features, where there is one.
    """

    features: float = 10.0
    place: float = 10.0
    local: float = 10.0
    critic: float = 0.0
    match: float = 10.0


@dataclass(frozen=True)
class ReenactSetting:
    """All that such a training is told beside its clips.

    Attributes:
        shape: The network.
        coverage: Side of the squares over the height of the face; 0 where whole frames were learned.
        batch: Pairs of frames in a step.
        scales: Times by which pictures are shrunk before they are compared.
        bend, pull: How far pictures are bent to see whether keypoints follow: the affine part, and the spline.
        variety: How pairs are varied.
        weights: How losses count.
        features: ``random`` or ``vgg``: in what pictures are compared.
    """

    shape: MotionShape
    coverage: float = 1.7
    batch: int = 8
    scales: tuple[int, ...] = (1, 2, 4)
    bend: float = 0.05
    pull: float = 0.005
    variety: Variety = field(default_factory=Variety)
    weights: MotionWeights = field(default_factory=MotionWeights)
    features: str = "random"


@dataclass(frozen=True)
class Moved:
    """One step's pictures, and what was found in them."""

    driving: Tensor
    drawn: Tensor
    found: Keypoints
    bent: Keypoints
    bend: Bend


class ReenactTask:
    """Frames of films; see ``loop.Task``."""

    def __init__(
        self,
        learned: Sequence[Clip],
        held: Sequence[Clip],
        setting: ReenactSetting,
        seed: int,
        device: torch.device,
        product: Product,
        digest: str,
        features: nn.Module | None = None,
    ) -> None:
        torch.manual_seed(seed)
        shape = setting.shape
        self.network: nn.Module = MotionNetwork(shape).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.critic: nn.Module | None = None
        if setting.weights.critic > 0:
            # So many blocks that a patch is left of the smallest pictures.
            blocks = min(4, shape.size.bit_length() - 3)
            critic = MotionCritic(keypoints=shape.keypoints, width=max(8, shape.width // 2), blocks=blocks)
            self.critic = critic.to(device)
        self._pyramid = Pyramid(features or RandomFeatures(seed), setting.scales).to(device)
        self.device, self.batch = device, setting.batch
        self.facts: Mapping[str, Any] = {"kind": "reenact", "seed": seed, "clips": digest, **asdict(setting)}
        self._learned, self._held, self._setting, self._seed = learned, held, setting, seed
        self._product = product

    def make(self, step: int) -> Moved:
        """Take pairs, bend the second of each, find keypoints, and let the network draw."""
        setting, random = self._setting, random_of(self._seed, step)
        source, driving = pairs(self._learned, self.batch, setting.variety, random, self.device)
        bend = random_bend(self.batch, random, self.device, setting.bend, setting.pull)
        bent = bend.picture(driving, setting.shape.corners)
        network = self.network
        assert isinstance(network, MotionNetwork)
        found: Keypoints = network.kp_detector(torch.cat([source, driving, bent]))
        first, second, third = (found.rows(slice(at * self.batch, (at + 1) * self.batch)) for at in range(3))
        drawn, _ = network.generator(source, second, first)
        return Moved(driving, drawn, second, third, bend)

    def losses(self, made: Moved) -> dict[str, Tensor]:
        """What was drawn against what was filmed, and keypoints against themselves."""
        weights, bend = self._setting.weights, made.bend
        terms = {"features": weights.features * self._pyramid(made.drawn, made.driving)}
        followed = bend.place(made.bent.place)
        terms["place"] = weights.place * (made.found.place - followed).abs().mean()
        if made.found.local is not None and made.bent.local is not None and weights.local > 0:
            onto = inverse(made.found.local) @ bend.local(made.bent.place) @ made.bent.local
            terms["local"] = weights.local * (onto - torch.eye(2, device=onto.device)).abs().mean()
        if self.critic is not None:
            seen = Keypoints(made.found.place.detach(), None)
            with torch.no_grad():
                real = self.critic(made.driving, seen)
            drawn = self.critic(made.drawn, seen)
            terms["fooled"] = weights.critic * sum(((1 - score) ** 2).mean() for _, score in drawn)
            apart = [(a - b).abs().mean() for one, other in zip(real, drawn) for a, b in zip(one[0], other[0])]
            terms["match"] = weights.match * torch.stack(apart).sum()
        return terms

    def critic_losses(self, made: Moved) -> dict[str, Tensor]:
        """Telling filmed pictures from drawn ones."""
        assert self.critic is not None
        seen = Keypoints(made.found.place.detach(), None)
        real, drawn = self.critic(made.driving, seen), self.critic(made.drawn.detach(), seen)
        apart = [((1 - a[1]) ** 2).mean() + (b[1] ** 2).mean() for a, b in zip(real, drawn)]
        return {"critic": torch.stack(apart).sum()}

    def held_out(self, network: nn.Module) -> float:
        """Signal over error of held-out clips, drawn from their first frames."""
        values = []
        for clip in self._held:
            rows = torch.linspace(0, len(clip.frames) - 1, MEASURED + 1).round().long()[1:]
            driving = as_pictures(clip.frames[rows], self.device)
            drawn, _ = network(as_pictures(clip.frames[:1], self.device).expand_as(driving), driving)
            values.append(measure.peak_signal(drawn, driving, torch.ones_like(driving[:, :1])))
        return sum(values) / len(values)

    def show(self, network: nn.Module, path: Path, title: str) -> None:
        """Source and driving frame with keypoints, motion, what the source cannot show, result."""
        assert isinstance(network, MotionNetwork)
        columns: list[list[Any]] = [[], [], [], [], []]
        for row in range(SHOWN):
            clip = self._held[row % len(self._held)]
            # The further down, the later in the clip.
            at = round((len(clip.frames) - 1) * (row + 1) / SHOWN)
            source, driving = (as_pictures(clip.frames[one : one + 1], self.device) for one in (0, at))
            found, wanted = network.kp_detector(source), network.kp_detector(driving)
            drawn, motion = network.generator(source, wanted, found)
            for column, picture in zip(columns, panels(source, driving, found, wanted, motion, drawn, LOOK)):
                column.append(picture)
        write_grid(path, columns, ("source", "driving", "motion", "to paint", "result"), title)

    def keep(self, network: nn.Module, record: Record, step: int) -> None:
        """Write the identity and the page of curves."""
        tensors = {
            name: value.detach().cpu().half() if value.ndim > 1 else value.detach().cpu()
            for name, value in network.state_dict().items()
        }
        facts = {key: self.facts[key] for key in ("shape", "coverage")}
        training = {key: self.facts[key] for key in ("variety", "weights", "batch", "seed", "clips", "features")}
        frames = sum(len(clip.frames) for clip in self._learned)
        told = {"clips": f"{len(self._learned)}, {frames} frames", "network": str(self.facts["shape"])}
        self._product.write("reenact", facts, training, tensors, record, step, told)


def panels(
    source: Tensor, driving: Tensor, found: Keypoints, wanted: Keypoints, motion: Motion, drawn: Tensor, least: int
) -> list[Any]:
    """Five pictures of one frame: source and driving with keypoints, motion, what must be painted, result."""
    side = max(least, source.shape[-1])

    def large(value: Tensor) -> Any:
        return display(nn.functional.interpolate(value.float(), (side, side), mode="bilinear", align_corners=False))[0]

    hidden = torch.zeros_like(drawn[:, :1]) if motion.seen is None else 1 - motion.seen
    return [
        marked(large(source), found),
        marked(large(driving), wanted),
        large(flow_colors(motion.flow)),
        large(hidden.expand(-1, 3, -1, -1)),
        large(drawn),
    ]
