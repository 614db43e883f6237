"""What a first-order motion network is built of: widths, depths, and the settings under which it was published."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from torch import Tensor

JACOBIANS = ("none", "shared", "each")
"""Whether motion around a keypoint is a shift, affine with one map for all keypoints, or with one for each."""


@dataclass(frozen=True)
class MotionShape:
    """A first-order motion network; the defaults are those of ``vox-256`` (Siarohin et al., 2019).

    Attributes:
        size: Side in pixels of the pictures it was trained on.
        keypoints: How many are found.
        jacobian: One of ``JACOBIANS``.
        detector_width, detector_most, detector_blocks: Channels of the keypoint detector's hourglass: those before its
            first block, at most so many, in so many halvings.
        motion_width, motion_most, motion_blocks: The same of the dense motion's hourglass.
        detector_shrink, motion_shrink: How many times smaller than the picture each of them looks at it.
        width, most, steps, blocks: The generator's channels at full size, at most so many after ``steps`` halvings,
            and the residual blocks there.
        occlusion: What must be painted anew is told.
        pad: Zeros around the detector's features when heatmaps are made.
        temperature: By which heatmaps are sharpened.
        variance: Of the Gaussian that stands for a keypoint; pictures reach from -1 to 1.
        corners: Pictures are sampled with -1 and 1 at the centers of the outer pixels, as torch did until 1.2;
            otherwise at their outer edges.
    """

    size: int = 256
    keypoints: int = 10
    jacobian: str = "each"
    detector_width: int = 32
    detector_most: int = 1024
    detector_blocks: int = 5
    detector_shrink: int = 4
    motion_width: int = 64
    motion_most: int = 1024
    motion_blocks: int = 5
    motion_shrink: int = 4
    width: int = 64
    most: int = 512
    steps: int = 2
    blocks: int = 6
    occlusion: bool = True
    pad: int = 0
    temperature: float = 0.1
    variance: float = 0.01
    corners: bool = True

    def check(self) -> "MotionShape":
        """This shape, if a network can have it.

        Raises:
            ValueError: It cannot; the message says why.
        """
        limits: dict[str, tuple[float, float]] = {
            "size": (16, 2048), "keypoints": (1, 100), "detector_width": (2, 512), "detector_most": (2, 4096),
            "detector_blocks": (1, 8), "detector_shrink": (1, 16), "motion_width": (2, 512), "motion_most": (2, 4096),
            "motion_blocks": (1, 8), "motion_shrink": (1, 16), "width": (2, 512), "most": (2, 4096), "steps": (0, 5),
            "blocks": (0, 32), "pad": (0, 3), "temperature": (1e-4, 100.0), "variance": (1e-6, 10.0),
        }  # fmt: skip
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} {value} is out of bounds: {low:g} to {high:g}")
        if self.jacobian not in JACOBIANS:
            raise ValueError(f"there is no jacobian {self.jacobian[:40]!r}: choose {', '.join(JACOBIANS)}")
        if self.size % self.step:
            raise ValueError(f"size {self.size} is no multiple of {self.step}, which the halvings ask for")
        if self.size // self.detector_shrink + 2 * self.pad < 7:
            raise ValueError(f"{self.size} pixels leave nothing of a heatmap: take fewer halvings or a larger size")
        return self

    @property
    def step(self) -> int:
        """Sizes that the network takes are multiples of this."""
        detector = self.detector_shrink << self.detector_blocks
        motion = self.motion_shrink << self.motion_blocks
        return max(detector, motion, 1 << self.steps)

    def channels(self, level: int) -> int:
        """Channels of the generator after so many halvings."""
        return min(self.most, self.width << level)


PUBLISHED: Mapping[str, MotionShape] = {
    **{f"{name}-256": MotionShape() for name in ("vox", "vox-adv", "taichi", "taichi-adv", "fashion", "bair", "nemo")},
    "mgif-256": MotionShape(jacobian="shared"),
    "vox-512": MotionShape(size=512, detector_shrink=8, motion_shrink=8),
}
"""Networks as their authors configured them."""


def shape_of_config(config: Mapping[str, Any]) -> MotionShape:
    """The network that a published configuration (its ``model_params``) describes.

    Raises:
        ValueError: Something is missing or cannot be.
    """
    try:
        model = config["model_params"]
        common, detector, generator = (
            model[name] for name in ("common_params", "kp_detector_params", "generator_params")
        )
        motion = generator["dense_motion_params"]
        if int(common["num_channels"]) != 3:
            raise ValueError(f"pictures have {common['num_channels']} channels, not 3")
        each = "shared" if detector.get("single_jacobian_map", False) else "each"
        dataset = config.get("dataset_params") or {}
        frame = dataset.get("frame_shape") or dataset.get("image_shape") or (256,)
        return MotionShape(
            size=int(frame[0]),
            keypoints=int(common["num_kp"]),
            jacobian=each if common.get("estimate_jacobian", False) else "none",
            detector_width=int(detector["block_expansion"]),
            detector_most=int(detector["max_features"]),
            detector_blocks=int(detector["num_blocks"]),
            detector_shrink=_shrink(detector.get("scale_factor", 1)),
            motion_width=int(motion["block_expansion"]),
            motion_most=int(motion["max_features"]),
            motion_blocks=int(motion["num_blocks"]),
            motion_shrink=_shrink(motion.get("scale_factor", 1)),
            width=int(generator["block_expansion"]),
            most=int(generator["max_features"]),
            steps=int(generator["num_down_blocks"]),
            blocks=int(generator["num_bottleneck_blocks"]),
            occlusion=bool(generator.get("estimate_occlusion_map", False)),
            pad=int(detector.get("pad", 0)),
            temperature=float(detector["temperature"]),
            variance=float(motion.get("kp_variance", 0.01)),
        ).check()
    except (KeyError, TypeError, AttributeError, OverflowError, IndexError) as error:
        raise ValueError(f"the configuration lacks or garbles {error}") from error


def _shrink(factor: Any) -> int:
    """How many times smaller a scale factor makes a picture."""
    shrink = round(1 / float(factor)) if float(factor) > 0 else 0
    if shrink < 1 or abs(shrink * float(factor) - 1) > 1e-6:
        raise ValueError(f"a scale factor of {factor} is no whole fraction")
    return shrink


def shape_of_tensors(detector: Mapping[str, Tensor], generator: Mapping[str, Tensor]) -> MotionShape:
    """The network that two states hold, as far as names and sizes tell; what they do not is as published.

    Raises:
        ValueError: They are none of this kind.
    """
    try:
        keypoints = detector["kp.weight"].shape[0]
        jacobian = "none"
        if "jacobian.weight" in detector:
            jacobian = "each" if detector["jacobian.weight"].shape[0] == 4 * keypoints > 4 else "shared"
        inner = "dense_motion_network."
        motion = {name.removeprefix(inner): one for name, one in generator.items() if name.startswith(inner)}
        inputs = 4 * (keypoints + 1)
        steps = _count(generator, "down_blocks")
        shape = MotionShape(
            keypoints=keypoints,
            jacobian=jacobian,
            detector_width=detector["kp.weight"].shape[1] - 3,
            detector_most=_most(detector, "predictor"),
            detector_blocks=_count(detector, r"predictor\.encoder\.down_blocks"),
            detector_shrink=_shrunk(detector),
            motion_width=motion["mask.weight"].shape[1] - inputs,
            motion_most=_most(motion, "hourglass"),
            motion_blocks=_count(motion, r"hourglass\.encoder\.down_blocks"),
            motion_shrink=_shrunk(motion),
            width=generator["first.conv.weight"].shape[0],
            most=max(one.shape[0] for name, one in generator.items() if re.match(r"(first|down_blocks.*)\.conv", name)),
            steps=steps,
            blocks=_count(generator, r"bottleneck"),
            occlusion="occlusion.weight" in motion,
        )
    except (KeyError, IndexError, AttributeError) as error:
        raise ValueError(f"it lacks {error}, which every such network has") from error
    except ValueError as error:
        raise ValueError(f"its layers make no sense: {error}") from error
    shape = replace(shape, size=512 if shape.step > 256 or shape.motion_shrink == 8 else 256)
    return shape.check()


def _count(tensors: Mapping[str, Tensor], pattern: str) -> int:
    """How many numbered layers there are below a name."""
    return len({match[1] for name in tensors if (match := re.match(rf"{pattern}\.r?(\d+)\.", name))})


def _most(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """Channels of an hourglass's widest block."""
    return max(tensors[name].shape[0] for name in tensors if re.match(rf"{prefix}\.encoder\..*conv\.weight", name))


def _shrunk(tensors: Mapping[str, Tensor]) -> int:
    """How far a picture is shrunk first: the width of the blur before it tells."""
    return (tensors["down.weight"].shape[-1] - 1) // 4 + 1 if "down.weight" in tensors else 1


FIELDS = tuple(field.name for field in fields(MotionShape))
