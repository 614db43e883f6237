"""Learning to draw two people from one another's expressions."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.models.critic import CodeCritic, PatchCritic, fooled, told_apart
from mien.models.swap import Drawn, SwapNetwork, SwapShape
from mien.train import losses as measure
from mien.train.augment import Augment, choose, moved, plain_cut, random_of, recolored, toned
from mien.train.product import Product
from mien.train.record import Record
from mien.train.sheets import display, write_grid
from mien.train.stock import Ahead, Stock, evenly

SHOWN = 4
"""Rows of a preview."""
MEASURED = 128
"""Held-out pictures of a person that are drawn to measure: more would take longer than the steps between."""
REACH = 0.05
"""How far around the matte, as a share of the side, the picture matters as much as inside."""
BACKGROUND = 0.03
"""Weight of what lies beyond."""


@dataclass(frozen=True)
class SwapWeights:
    """How much each loss counts.

    Attributes:
        color: Absolute difference of colors.
        structure: Dissimilarity of structure.
        features: Extra weight of eyes, brows and mouth.
        matte: Difference of mattes.
        sharpen: A critic that wants detail to look real.
        true_face: A critic of codes that wants both people squeezed through alike, so that nothing of a's own looks
            comes through when b is drawn.
    """

    color: float = 1.0
    structure: float = 1.0
    features: float = 1.0
    matte: float = 0.3
    sharpen: float = 0.0
    true_face: float = 0.0


class Critics(nn.Module):
    """What judges a swap: detail, and codes. Both are there if one is, so that weights may change when it resumes."""

    def __init__(self, shape: SwapShape) -> None:
        super().__init__()
        # Small patches: the critic is to judge pores and lashes, not whose face it is.
        self.detail = PatchCritic(3, 32, 1 if shape.size < 128 else 2)
        self.codes = CodeCritic(1024 if shape.preset == "classic" else shape.code)


@dataclass(frozen=True)
class Made:
    """One step's pictures of both people, a's first: what was drawn, what should have been, and the codes between."""

    drawn: Drawn
    goal: Tensor
    matte: Tensor
    parts: Tensor
    codes: Tensor | None


@dataclass(frozen=True)
class SwapSetting:
    """All that a swap training is told beside its sets.

    Attributes:
        shape: The network.
        coverage: Side of what it sees, over the height of a face.
        batch: Pictures of each person in a step.
        augment: How pictures are varied.
        weights: How losses count.
        frugal: Compute activations twice to save memory.
    """

    shape: SwapShape
    coverage: float = 1.15
    batch: int = 8
    augment: Augment = field(default_factory=Augment)
    weights: SwapWeights = field(default_factory=SwapWeights)
    frugal: bool = False


class SwapTask:
    """Two people, one encoder; see ``loop.Task``."""

    def __init__(
        self,
        people: tuple[Stock, Stock],
        setting: SwapSetting,
        seed: int,
        device: torch.device,
        product: Product,
    ) -> None:
        torch.manual_seed(seed)
        network = SwapNetwork(setting.shape)
        network.frugal = setting.frugal
        self.network: nn.Module = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.critic: nn.Module | None = None
        if max(setting.weights.sharpen, setting.weights.true_face) > 0:
            self.critic = Critics(setting.shape).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device, self.batch = device, 2 * setting.batch
        self.facts: Mapping[str, Any] = {
            "kind": "swap",
            "shape": asdict(setting.shape),
            "coverage": setting.coverage,
            "sets": {"a": people[0].digest, "b": people[1].digest},
            "augment": asdict(setting.augment),
            "weights": asdict(setting.weights),
            "batch": setting.batch,
            "seed": seed,
        }
        self._people, self._setting, self._seed = people, setting, seed
        self._ahead = Ahead(people, device)
        self._product = product

    def make(self, step: int) -> Made:
        """Take pictures of both people, vary them, and let each be drawn from its bent picture."""
        taken = self._ahead.take(step, self._rows)
        how, size = self._setting.augment, self._setting.shape.size
        # The numbers that chose the rows come from one stream, those that vary the pictures from another.
        random = random_of(self._seed + 1, step)
        views = [moved(one, size, stock.margin, how, random) for one, stock in zip(taken, self._people)]
        (a_bent, a), (b_bent, b) = views
        a_bent, a_goal = toned((a_bent, a[:, :3]), how, random)
        b_bent, b_goal = recolored((b_bent, b[:, :3]), b[:, 3:4], a_goal, a[:, 3:4], how, random)
        b_bent, b_goal = toned((b_bent, b_goal), how, random)
        network = self.network
        assert isinstance(network, SwapNetwork)
        bent = torch.cat([a_bent, b_bent]).contiguous(memory_format=torch.channels_last)
        features = network.encode(bent)
        first, second = features.split(len(a))
        drawn = [network.draw(first, "a"), network.draw(second, "b")]
        codes = network.numbers(features).float() if self._setting.weights.true_face > 0 else None
        both = torch.cat([a, b])
        picture = torch.cat([one.picture.float() for one in drawn])
        matte = torch.cat([one.matte.float() for one in drawn])
        return Made(Drawn(picture, matte), torch.cat([a_goal, b_goal]), both[:, 3:4], both[:, 4:5], codes)

    def losses(self, made: Made) -> dict[str, Tensor]:
        """Color, structure, eyes and mouth, matte."""
        weights = self._setting.weights
        near = self._near(made.matte)
        inside = BACKGROUND + (1 - BACKGROUND) * near
        drawn, goal = made.drawn.picture, made.goal
        terms = {
            "color": weights.color * measure.weighted_l1(drawn, goal, inside),
            "structure": weights.structure * measure.dissimilarity(drawn, goal, near),
            "features": weights.features * 0.2 * measure.weighted_l1(drawn, goal, made.parts),
            "matte": weights.matte * (made.drawn.matte - made.matte).abs().mean(),
        }
        critic = self.critic
        if isinstance(critic, Critics):
            if weights.sharpen > 0:
                terms["sharpen"] = weights.sharpen * fooled(critic.detail(drawn * near))
            if made.codes is not None:
                terms["true_face"] = weights.true_face * fooled(critic.codes(made.codes.chunk(2)[0]))
        return {name: term for name, term in terms.items() if getattr(weights, name) > 0}

    def critic_losses(self, made: Made) -> dict[str, Tensor]:
        """Telling real faces from drawn ones, inside the face, and b's codes from a's."""
        critic = self.critic
        assert isinstance(critic, Critics)
        found = {}
        if self._setting.weights.sharpen > 0:
            near = self._near(made.matte)
            real, drawn = critic.detail(made.goal * near), critic.detail(made.drawn.picture.detach() * near)
            found["critic"] = told_apart(real, drawn)
        if made.codes is not None:
            other, own = made.codes.detach().chunk(2)
            found["whose"] = told_apart(critic.codes(own), critic.codes(other))
        return found

    def _near(self, matte: Tensor) -> Tensor:
        """The matte, grown a little."""
        reach = 2 * round(REACH * matte.shape[-1]) + 1
        return functional.max_pool2d(matte, reach, 1, reach // 2)

    def held_out(self, network: nn.Module) -> float:
        """Mean over both people of how well each is drawn from itself, inside the face."""
        values = []
        for person, stock in zip(("a", "b"), self._people):
            for rows in evenly(stock.held, MEASURED).split(32):
                cut = self._cut(stock, rows)
                drawn = network(cut[:, :3], person).picture.float()
                values += [
                    measure.peak_signal(drawn[i : i + 1], cut[i : i + 1, :3], cut[i : i + 1, 3:4])
                    for i in range(len(rows))
                ]
        return sum(values) / len(values)

    def show(self, network: nn.Module, path: Path, title: str) -> None:
        """A, A drawn as A, A drawn as B; B, B drawn as B, B drawn as A; from held-out pictures."""
        columns = []
        for (person, other), stock in zip((("a", "b"), ("b", "a")), self._people):
            rows = stock.held[torch.linspace(0, len(stock.held) - 1, SHOWN).long()]
            cut = self._cut(stock, rows)
            own, swapped = (network(cut[:, :3], one) for one in (person, other))
            columns += [cut[:, :3], own.picture, swapped.picture]
        names = ("A", "A → A", "A → B", "B", "B → B", "B → A")
        write_grid(path, [display(column) for column in columns], names, title)

    def keep(self, network: nn.Module, record: Record, step: int) -> None:
        """Write the identity: what draws person b; and the page of curves."""
        tensors = {
            name: value.detach().cpu().half().contiguous()
            for name, value in network.state_dict().items()
            if not name.startswith(("decoders.a.", "codes.a."))
        }
        facts = {key: self.facts[key] for key in ("shape", "coverage", "sets")}
        training = {key: self.facts[key] for key in ("augment", "weights", "batch", "seed")}
        told = {"network": str(self._setting.shape)}
        self._product.write("swap", facts, training, tensors, record, step, told)

    def _rows(self, step: int) -> list[Tensor]:
        random = random_of(self._seed, step)
        return [choose(one.learned, self._setting.batch, random) for one in self._people]

    def _cut(self, stock: Stock, rows: Tensor) -> Tensor:
        return plain_cut(stock.rows(rows, self.device), self._setting.shape.size, stock.margin)
