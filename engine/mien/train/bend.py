"""Random smooth bending of pictures, and how it moves keypoints: what a detector must follow to be consistent."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mien.models.motion_fields import positions, sampled

GRID = 5
"""Control points along each side."""


@dataclass(frozen=True)
class Bend:
    """A thin-plate spline for each picture of a batch: an affine map and what control points pull (Bookstein, 1989).

    It says where in the original each position of the bent picture comes from; positions reach from -1 to 1.

    Attributes:
        affine: (B, 2, 3).
        pull: (B, GRID², 2) weights of the control points.
    """

    affine: Tensor
    pull: Tensor

    def picture(self, picture: Tensor, corners: bool) -> Tensor:
        """(B, C, H, W) bent."""
        grid = positions(picture.shape[-2], picture.shape[-1], picture.device)
        place = self.place(grid.flatten(0, 1).expand(len(picture), -1, -1))
        return sampled(picture, place.view(len(picture), *grid.shape), corners, outside="reflection")

    def place(self, place: Tensor) -> Tensor:
        """(B, N, 2) where in the original positions of the bent picture come from."""
        moved = place @ self.affine[..., :2].transpose(1, 2) + self.affine[:, None, :, 2]
        square = self._offset(place).square().sum(-1)
        return moved + 0.5 * (square * torch.log(square + TINY)) @ self.pull

    def local(self, place: Tensor) -> Tensor:
        """(B, N, 2, 2) derivatives of ``place``."""
        offset = self._offset(place)
        square = offset.square().sum(-1, keepdim=True)
        slope = offset * (torch.log(square + TINY) + square / (square + TINY))
        return self.affine[:, None, :, :2] + torch.einsum("bnkc,bkd->bndc", slope, self.pull)

    def _offset(self, place: Tensor) -> Tensor:
        points = positions(GRID, GRID, place.device).flatten(0, 1)
        return place[:, :, None] - points


TINY = 1e-9


def random_bend(count: int, random: torch.Generator, device: torch.device, affine: float, pull: float) -> Bend:
    """Bends whose affine part and pulls deviate by so much from none."""
    still = torch.eye(2, 3).expand(count, 2, 3)
    turned = still + affine * torch.randn(count, 2, 3, generator=random)
    pulls = pull * torch.randn(count, GRID * GRID, 2, generator=random)
    return Bend(turned.to(device), pulls.to(device))
