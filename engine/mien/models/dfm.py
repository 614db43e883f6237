"""DeepFaceLive's ``.dfm``: an ONNX graph that takes a face and gives another with two mattes.

Inputs and outputs are found by what their names contain, layouts by where the three colors are. The file says
nothing of how much of the face it wants to see: that is one of ``FACES``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mien import mesh
from mien.models.aligned import FACE
from mien.ops.align import umeyama

MORPH = 0.75
"""What models that blend two people are given where nothing else is said."""
LARGEST = 2048

WHOLE = ((0.353, 0.393), (0.628, 0.393), (0.487, 0.540), (0.388, 0.6875), (0.598, 0.6875))
"""Eyes, nose and mouth corners in the square of a whole face."""
SIDES = {"half": 1.0, "midfull": 1.135, "full": 1.42, "whole": 1.80, "head": 2.40}
"""Side of the square over that of the plain one, by what the model was trained on."""
FACES = tuple(SIDES)
LIFT = 0.07
"""Share of the plain side by which the square of a whole face is moved up."""


@dataclass(frozen=True)
class Framing:
    """Which square a model looks at: its side over the height of a face, and the point in its middle."""

    coverage: float
    middle: tuple[float, float, float]


def framing(face: str) -> Framing:
    """The square of a face type.

    Raises:
        ValueError: There is no such type.
    """
    if face not in SIDES:
        raise ValueError(f"there is no face type {face!r}: choose {', '.join(FACES)}")
    mean = mesh.CANONICAL
    five = torch.stack([mean[mesh.RIGHT_EYE].mean(0), mean[mesh.LEFT_EYE].mean(0), mean[4], mean[61], mean[291]])
    way = umeyama(torch.tensor(WHOLE), five[:, :2])
    side = float(way[:2, 0].norm())
    x, y = (way[:2, :2] @ torch.tensor([0.5, 0.5], dtype=way.dtype) + way[:2, 2]).tolist()
    plain = side / SIDES["whole"]
    if face != "whole":
        y += LIFT * plain
    return Framing(plain * SIDES[face] / FACE, (x, y, 0.1))


class DfmModel:
    """An opened graph.

    Attributes:
        size: Side of the crops it takes, in pixels.
    """

    def __init__(self, content: bytes, device: torch.device, size: int | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if device.type == "cpu":
            options.intra_op_num_threads = torch.get_num_threads()
        wanted = ["CUDAExecutionProvider"] if device.type == "cuda" else []
        have = onnxruntime.get_available_providers()
        providers = [name for name in (*wanted, "CPUExecutionProvider") if name in have]
        try:
            self._session: Any = onnxruntime.InferenceSession(content, options, providers=providers)
        except Exception as error:
            raise ValueError(f"onnxruntime cannot open it: {str(error)[:200]}") from error
        inputs = self._session.get_inputs()
        faces = [one for one in inputs if "face" in one.name.lower()] or inputs[:1]
        if not faces or len(faces[0].shape) != 4 or "float" not in faces[0].type:
            raise ValueError("it takes no picture of a face")
        self._face, shape = faces[0].name, faces[0].shape
        self._half = "float16" in faces[0].type
        self._last = shape[3] == 3
        if not self._last and shape[1] != 3:
            raise ValueError(f"no axis of its input {shape} is three colors")
        sides = shape[1:3] if self._last else shape[2:4]
        known = [side for side in sides if isinstance(side, int) and side > 0]
        self.size = size or (known[0] if known else 0)
        if not 16 <= self.size <= LARGEST or any(side != self.size for side in known):
            raise ValueError(f"faces of {sides} will not do: say --size where it is left open")
        self._morph = next((one.name for one in inputs if "morph" in one.name.lower()), None)
        unknown = [one.name for one in inputs if one.name not in (self._face, self._morph)]
        if unknown:
            raise ValueError(f"it wants more than a face: {', '.join(unknown)}")
        outputs = [one.name for one in self._session.get_outputs()]
        celeb = _named(outputs, ("celeb_face",), ("mask",)) or _named(outputs, ("face",), ("mask",))
        self._celeb_mask = _named(outputs, ("celeb", "mask"), ())
        self._own_mask = _named(outputs, ("face_mask",), ("celeb",))
        if celeb is None:
            raise ValueError(f"none of its outputs {', '.join(outputs)} is a face")
        self._celeb = celeb

    def run(self, crops: Tensor, morph: float = MORPH) -> tuple[Tensor, Tensor, Tensor]:
        """Draw (B, 3, S, S) RGB crops: the other face, its matte, and the matte of the face that was seen."""
        each = [self._one(crop[None], morph) for crop in crops]
        faces, mattes, own = (torch.cat(part).to(crops.device) for part in zip(*each))
        return faces, mattes, own

    def _one(self, crop: Tensor, morph: float) -> tuple[Tensor, Tensor, Tensor]:
        picture = crop.detach().cpu().float().numpy()[:, ::-1]
        feed = {self._face: np.ascontiguousarray(picture.transpose(0, 2, 3, 1) if self._last else picture)}
        if self._morph is not None:
            feed[self._morph] = np.array([morph], np.float32)
        if self._half:
            feed = {name: value.astype(np.float16) for name, value in feed.items()}
        names = [name for name in (self._celeb, self._celeb_mask, self._own_mask) if name is not None]
        found = dict(zip(names, self._session.run(names, feed)))
        face = torch.from_numpy(found[self._celeb].astype(np.float32))
        face = face.reshape(1, *face.shape[-3:])
        face = (face.movedim(-1, 1) if face.shape[-1] == 3 else face).flip(1)
        size = (face.shape[-2], face.shape[-1])
        masks = [found.get(name) if name else None for name in (self._celeb_mask, self._own_mask)]
        first, second = (torch.ones(1, 1, *size) if mask is None else _matte(mask, size) for mask in masks)
        return face.contiguous(), first, second


def _named(names: list[str], words: tuple[str, ...], without: tuple[str, ...]) -> str | None:
    fits = (
        name
        for name in names
        if all(word in name.lower() for word in words) and not any(word in name.lower() for word in without)
    )
    return next(fits, None)


def _matte(values: NDArray[Any], size: tuple[int, int]) -> Tensor:
    """(1, 1, H, W) of a mask that comes with its axes in any order and of any size."""
    flat = np.squeeze(values.astype(np.float32))
    if flat.ndim != 2:
        raise ValueError(f"a mask of shape {values.shape} makes no sense")
    matte = torch.from_numpy(np.ascontiguousarray(flat))[None, None].clamp(0, 1)
    if matte.shape[-2:] == size:
        return matte
    return functional.interpolate(matte, size, mode="bilinear", align_corners=False)
