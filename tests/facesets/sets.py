"""Face sets drawn by rule, small enough to train on in seconds."""

from pathlib import Path

import torch

from mien import mesh
from mien.color import load as load_colors
from mien.facesets.extract import CropShape, take
from mien.files.faceset import FaceSet, read_faceset, write_face, write_faceset
from mien.types import Face

COLORS = load_colors(None)
SIZE = 48


def turned(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0, scale: float = 60.0, at=(150.0, 130.0)):
    """(468, 3) points of the mean face, posed, on a plate of 300 x 260."""
    rotation = mesh.rotation_of(*(torch.tensor(float(angle)) for angle in (yaw, pitch, roll)))
    return scale * mesh.CANONICAL @ rotation.T + torch.tensor([*at, 0.0])


def a_face(points, aspect=1.0):
    return Face(points, torch.ones(468), 1.0, 100.0, "mesh", aspect)


def plate(seed=0, light=0.3):
    """(3, 260, 300) soft random colors."""
    noise = torch.rand(3, 20, 24, generator=torch.Generator().manual_seed(seed))
    return light * torch.nn.functional.interpolate(noise[None], (260, 300), mode="bilinear")[0]


def made(folder: Path, poses, seed=0, light=0.3) -> FaceSet:
    """A face set with one picture for each (yaw, pitch)."""
    taken = []
    for row, pose in enumerate(poses):
        shape = CropShape(SIZE, 1.5)
        one = take(plate(seed + row, light), a_face(turned(*pose)), shape, COLORS, f"faces/{row}.exr", 0, row)
        write_face(folder / one.entry.file, one.crop, one.matte, None, {})
        taken.append(one)
    found = FaceSet(
        folder,
        SIZE,
        1.5,
        COLORS.working,
        ("made",),
        tuple(one.entry for one in taken),
        torch.stack([one.points for one in taken]),
        torch.stack([one.weight for one in taken]),
        torch.stack([one.look for one in taken]),
    )
    write_faceset(found)
    return read_faceset(folder)


def person(folder: Path, count: int, tint, seed: int) -> FaceSet:
    """A person of one skin color whose shading follows the head, so that there is something to learn."""
    taken = []
    color = torch.tensor(tint).view(3, 1, 1)
    generator = torch.Generator().manual_seed(seed)
    for row in range(count):
        yaw, pitch = (torch.rand(2, generator=generator) * 40 - 20).tolist()
        points = turned(yaw, pitch)
        shade = torch.linspace(0.6 + yaw / 60, 1.2 - yaw / 60, 300).expand(260, 300)[None]
        image = 0.05 + color * shade
        for rim in (mesh.RIGHT_EYE, mesh.LEFT_EYE, mesh.LIPS_OUTER):
            x, y = points[rim, :2].mean(0).long().tolist()
            image[:, y - 4 : y + 4, x - 8 : x + 8] = 0.02
        one = take(image, a_face(points), CropShape(SIZE, 1.5), COLORS, f"faces/{row}.exr", 0, row)
        write_face(folder / one.entry.file, one.crop, one.matte, None, {})
        taken.append(one)
    found = FaceSet(
        folder,
        SIZE,
        1.5,
        COLORS.working,
        ("drawn",),
        tuple(one.entry for one in taken),
        torch.stack([one.points for one in taken]),
        torch.stack([one.weight for one in taken]),
        torch.stack([one.look for one in taken]),
    )
    write_faceset(found)
    return read_faceset(folder)
