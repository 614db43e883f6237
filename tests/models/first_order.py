"""The paper's network once more, straight from its formulas and the published configurations: a plain function of a
state, frame by frame, with nothing shared, folded or fused. What mien draws is held against it.
"""

from typing import Any

import torch
from torch.nn import functional

State = dict[str, torch.Tensor]

MODEL: dict[str, Any] = {
    "common_params": {"num_kp": 10, "num_channels": 3, "estimate_jacobian": True},
    "kp_detector_params": {
        "temperature": 0.1, "block_expansion": 32, "max_features": 1024, "scale_factor": 0.25, "num_blocks": 5
    },
    "generator_params": {
        "block_expansion": 64,
        "max_features": 512,
        "num_down_blocks": 2,
        "num_bottleneck_blocks": 6,
        "estimate_occlusion_map": True,
        "dense_motion_params": {
            "block_expansion": 64, "max_features": 1024, "num_blocks": 5, "scale_factor": 0.25
        },
    },
}  # fmt: skip


def config(**changes: dict[str, Any]) -> dict[str, Any]:
    """A configuration as published, with groups of ``vox-256`` changed; ``dense_motion_params`` may be one."""
    generator = {**MODEL["generator_params"], **changes.get("generator_params", {})}
    generator["dense_motion_params"] = {
        **MODEL["generator_params"]["dense_motion_params"], **changes.get("dense_motion_params", {})
    }  # fmt: skip
    return {
        "dataset_params": {"frame_shape": [256, 256, 3]},
        "model_params": {
            "common_params": {**MODEL["common_params"], **changes.get("common_params", {})},
            "kp_detector_params": {**MODEL["kp_detector_params"], **changes.get("kp_detector_params", {})},
            "generator_params": generator,
        },
    }


PUBLISHED = {
    **{f"{name}-256": config() for name in ("vox", "vox-adv", "taichi", "fashion", "bair", "nemo")},
    "mgif-256": config(kp_detector_params={"single_jacobian_map": True}),
}


def random_checkpoint(settings: dict[str, Any], seed: int = 0) -> dict[str, State]:
    """``generator`` and ``kp_detector`` of a checkpoint with random weights, names and sizes as published."""
    random = torch.Generator().manual_seed(seed)
    model = settings["model_params"]
    common, detector, generator = (model[n] for n in ("common_params", "kp_detector_params", "generator_params"))
    motion, count = generator["dense_motion_params"], common["num_kp"]

    def conv(state: State, name: str, inputs: int, outputs: int, side: int, gain: float = 1.6) -> None:
        spread = (gain / (inputs * side * side)) ** 0.5
        state[f"{name}.weight"] = torch.randn(outputs, inputs, side, side, generator=random) * spread
        state[f"{name}.bias"] = torch.randn(outputs, generator=random) * 0.1

    def norm(state: State, name: str, wide: int) -> None:
        state[f"{name}.weight"] = 1 + 0.1 * torch.randn(wide, generator=random)
        state[f"{name}.bias"] = 0.1 * torch.randn(wide, generator=random)
        state[f"{name}.running_mean"] = 0.1 * torch.randn(wide, generator=random)
        state[f"{name}.running_var"] = 0.5 + torch.rand(wide, generator=random)
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def block(state: State, name: str, inputs: int, outputs: int, side: int = 3) -> None:
        conv(state, f"{name}.conv", inputs, outputs, side)
        norm(state, f"{name}.norm", outputs)

    def hourglass(state: State, name: str, inputs: int, told: dict[str, Any]) -> int:
        def wide(level: int) -> int:
            return min(told["max_features"], told["block_expansion"] * 2**level)

        blocks = told["num_blocks"]
        for row in range(blocks):
            block(state, f"{name}.encoder.down_blocks.{row}", inputs if row == 0 else wide(row), wide(row + 1))
        for row, level in enumerate(reversed(range(blocks))):
            block(state, f"{name}.decoder.up_blocks.{row}", wide(level + 1) * (1 if row == 0 else 2), wide(level))
        return int(told["block_expansion"]) + inputs

    def down(state: State, name: str, factor: float) -> None:
        if factor != 1:
            sigma = (1 / factor - 1) / 2
            side = 2 * round(sigma * 4) + 1
            bell = torch.exp(-((torch.arange(side).float() - (side - 1) / 2) ** 2) / (2 * sigma**2))
            kernel = bell[:, None] * bell[None]
            state[name] = (kernel / kernel.sum()).view(1, 1, side, side).repeat(3, 1, 1, 1)

    points: State = {}
    features = hourglass(points, "predictor", 3, detector)
    conv(points, "kp", features, count, 7)
    if common["estimate_jacobian"]:
        maps = 1 if detector.get("single_jacobian_map") else count
        conv(points, "jacobian", features, 4 * maps, 7, 0.02)
        points["jacobian.bias"] += torch.tensor([1.0, 0, 0, 1]).repeat(maps)
    down(points, "down.weight", detector["scale_factor"])

    painter: State = {}
    inner = "dense_motion_network"
    features = hourglass(painter, f"{inner}.hourglass", (count + 1) * 4, motion)
    conv(painter, f"{inner}.mask", features, count + 1, 7)
    if generator["estimate_occlusion_map"]:
        conv(painter, f"{inner}.occlusion", features, 1, 7)
    down(painter, f"{inner}.down.weight", motion["scale_factor"])
    steps = generator["num_down_blocks"]
    wide = [min(generator["max_features"], generator["block_expansion"] * 2**level) for level in range(steps + 1)]
    block(painter, "first", 3, generator["block_expansion"], 7)
    for row in range(steps):
        block(painter, f"down_blocks.{row}", wide[row], wide[row + 1])
        block(painter, f"up_blocks.{row}", wide[steps - row], wide[steps - row - 1])
    for row in range(generator["num_bottleneck_blocks"]):
        for half in (1, 2):
            conv(painter, f"bottleneck.r{row}.conv{half}", wide[-1], wide[-1], 3)
            norm(painter, f"bottleneck.r{row}.norm{half}", wide[-1])
    conv(painter, "final", wide[0], 3, 7)
    return {"generator": painter, "kp_detector": points}


def convolved(state: State, name: str, value: torch.Tensor, padding: int) -> torch.Tensor:
    return functional.conv2d(value, state[f"{name}.weight"], state[f"{name}.bias"], padding=padding)


def normed(state: State, name: str, value: torch.Tensor) -> torch.Tensor:
    mean, spread = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    scaled = (value - mean.view(1, -1, 1, 1)) / torch.sqrt(spread.view(1, -1, 1, 1) + 1e-5)
    return scaled * state[f"{name}.weight"].view(1, -1, 1, 1) + state[f"{name}.bias"].view(1, -1, 1, 1)


def block(state: State, name: str, value: torch.Tensor) -> torch.Tensor:
    side = state[f"{name}.conv.weight"].shape[-1]
    return normed(state, f"{name}.norm", convolved(state, f"{name}.conv", value, side // 2)).clamp(min=0)


def hourglass(state: State, name: str, value: torch.Tensor, blocks: int) -> torch.Tensor:
    levels = [value]
    for row in range(blocks):
        levels.append(functional.avg_pool2d(block(state, f"{name}.encoder.down_blocks.{row}", levels[-1]), 2))
    value = levels.pop()
    for row in range(blocks):
        value = value.repeat_interleave(2, 2).repeat_interleave(2, 3)
        value = torch.cat([block(state, f"{name}.decoder.up_blocks.{row}", value), levels.pop()], 1)
    return value


def shrunk(state: State, name: str, picture: torch.Tensor, factor: float) -> torch.Tensor:
    if factor == 1:
        return picture
    kernel, every = state[name], round(1 / factor)
    around = kernel.shape[-1] // 2
    return functional.conv2d(picture, kernel, padding=around, groups=3)[..., ::every, ::every]


def grid(height: int, width: int) -> torch.Tensor:
    x = 2 * torch.arange(width).float() / (width - 1) - 1
    y = 2 * torch.arange(height).float() / (height - 1) - 1
    return torch.stack([x[None].expand(height, -1), y[:, None].expand(-1, width)], -1)


def find(settings: dict[str, Any], state: State, picture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Places (1, K, 2) and Jacobians (1, K, 2, 2) of one picture (1, 3, H, W)."""
    told = settings["model_params"]["kp_detector_params"]
    small = shrunk(state, "down.weight", picture, told["scale_factor"])
    features = hourglass(state, "predictor", small, told["num_blocks"])
    heat = convolved(state, "kp", features, 0)
    _, count, height, width = heat.shape
    heat = torch.softmax(heat.view(count, -1) / told["temperature"], -1).view(count, height, width)
    place = torch.stack([(one[..., None] * grid(height, width)).sum((0, 1)) for one in heat])[None]
    if "jacobian.weight" not in state:
        return place, None
    maps = convolved(state, "jacobian", features, 0)[0].view(-1, 4, height, width)
    local = [(one * maps[min(k, len(maps) - 1)]).sum((1, 2)).view(2, 2) for k, one in enumerate(heat)]
    return place, torch.stack(local)[None]


def gaussian(place: torch.Tensor, height: int, width: int) -> torch.Tensor:
    return torch.exp(-0.5 * (grid(height, width) - place).square().sum(-1) / 0.01)


def dense(settings: dict[str, Any], state: State, source: torch.Tensor, driving: Any, found: Any, corners: bool) -> Any:
    """Flow (1, h, w, 2), occlusion (1, 1, h, w) or None, and the share of each motion."""
    told = settings["model_params"]["generator_params"]["dense_motion_params"]
    inner = {name.removeprefix("dense_motion_network."): one for name, one in state.items()}
    small = shrunk(inner, "down.weight", source, told["scale_factor"])
    height, width = small.shape[-2:]
    motions, seen = [grid(height, width)], [torch.zeros(height, width)]
    for k in range(driving[0].shape[1]):
        offset = grid(height, width) - driving[0][0, k]
        if driving[1] is not None:
            offset = offset @ (found[1][0, k] @ torch.linalg.inv(driving[1][0, k])).T
        motions.append(offset + found[0][0, k])
        seen.append(gaussian(driving[0][0, k], height, width) - gaussian(found[0][0, k], height, width))
    parts = []
    for motion, heat in zip(motions, seen):
        moved = functional.grid_sample(small, motion[None], align_corners=corners)
        parts += [heat[None, None], moved]
    features = hourglass(inner, "hourglass", torch.cat(parts, 1), told["num_blocks"])
    shares = torch.softmax(convolved(inner, "mask", features, 3), 1)
    flow = sum(shares[0, k, ..., None] * motion for k, motion in enumerate(motions))[None]
    seen_map = torch.sigmoid(convolved(inner, "occlusion", features, 3)) if "occlusion.weight" in inner else None
    return flow, seen_map, shares


def draw(settings: dict[str, Any], state: State, source: torch.Tensor, driving: Any, found: Any, corners: bool) -> Any:
    """The result (1, 3, H, W), from the first layer on, as every frame of the original was."""
    told = settings["model_params"]["generator_params"]
    value = block(state, "first", source)
    for row in range(told["num_down_blocks"]):
        value = functional.avg_pool2d(block(state, f"down_blocks.{row}", value), 2)
    flow, seen, _ = dense(settings, state, source, driving, found, corners)
    size = value.shape[-2:]

    def fitted(one: torch.Tensor) -> torch.Tensor:
        whole = one.shape[-2:] == size
        return one if whole else functional.interpolate(one, size, mode="bilinear", align_corners=False)

    value = functional.grid_sample(value, fitted(flow.permute(0, 3, 1, 2)).permute(0, 2, 3, 1), align_corners=corners)
    if seen is not None:
        value = value * fitted(seen)
    for row in range(told["num_bottleneck_blocks"]):
        inner = value
        for half in (1, 2):
            inner = normed(state, f"bottleneck.r{row}.norm{half}", inner).clamp(min=0)
            inner = convolved(state, f"bottleneck.r{row}.conv{half}", inner, 1)
        value = value + inner
    for row in range(told["num_down_blocks"]):
        value = block(state, f"up_blocks.{row}", value.repeat_interleave(2, 2).repeat_interleave(2, 3))
    return torch.sigmoid(convolved(state, "final", value, 3))


def relative(driving: Any, start: Any, found: Any, scale: float = 1.0) -> Any:
    """Driving keypoints put on the source, as the paper's section 3.4 has them."""
    place = found[0] + scale * (driving[0] - start[0])
    local = None if driving[1] is None else driving[1] @ torch.linalg.inv(start[1]) @ found[1]
    return place, local
