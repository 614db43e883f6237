"""``mien convert --identity NETWORK --source PHOTO``: a photograph is bound to the performance that it follows."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mien import mesh
from mien.color import Colors
from mien.commands.plate import OpenPlate
from mien.commands.track import TrackArguments, open_finder
from mien.files.identities import IdentityFile, Likeness, write_identity
from mien.files.region import Region
from mien.files.shot import Shot, open_shot, read_header, read_region
from mien.files.tracks import read_tracks, write_tracks
from mien.footage import plate_space
from mien.job import choose_device, choose_face
from mien.models.aligned import FACE, aligned_matrix, as_mesh, in_crop
from mien.models.animate import Animator
from mien.models.motion_fields import Keypoints, movement_scale
from mien.models.motion_shape import MotionShape
from mien.models.reenact import View
from mien.ops.region import around
from mien.ops.warp import warp
from mien.performer import Photo, read_photo
from mien.progress import Note, Tell
from mien.recipe import Recipe, RecipeError, Step
from mien.reenacted import bound, coverage_of, on_device, open_network
from mien.tracking import face_at, smooth
from mien.types import Face, FaceTrack, MienError, Plate

WHOLE = (Step("convert_face", "convert_face", {"plate": "plate", "face": "track", "identity": "identity"}),)
"""The chain where what the network draws is wanted as it is: whole frames that drive a photograph, and mattes."""
LOOKED_AT = 200
"""Frames in which the best one to start from is sought, evenly spread over longer shots."""
BATCH = 8
LEAST = 0.1
"""Movements are made smaller, or larger, by no more: keypoints that fall together tell no size."""
DETAILS = (1, 2, 4)
COVERAGE = 1.7
"""Side of the driving square over the face's height, for networks that learned from whole frames."""


@dataclass(frozen=True)
class Reenacting:
    """How a photograph follows a performance.

    Attributes:
        crop: ``face``: a square that follows the face drives; ``none``: the whole frame does.
        motion: ``relative``: what changes since the start frame is put on the photograph; ``absolute``: it takes the
            performance's pose and place.
        adapt_scale: Movements are made as large as the photograph's keypoints lie apart; None does so for whole
            frames, as squares around faces are as large as the faces already.
        start_frame: Frame in which the performance is posed as the photograph is; None finds it.
        detail: Times larger than the network's pictures are those that are drawn.
        preview: Movie of how it came about.
    """

    crop: str = "face"
    motion: str = "relative"
    adapt_scale: bool | None = None
    start_frame: int | None = None
    detail: int = 1
    preview: Path | None = None

    def checked(self) -> "Reenacting":
        """These, if they can be.

        Raises:
            RecipeError: They cannot.
        """
        if self.crop not in ("face", "none"):
            raise RecipeError(f"--crop {self.crop!r}: choose face or none.")
        if self.motion not in ("relative", "absolute"):
            raise RecipeError(f"--motion {self.motion!r}: choose relative or absolute.")
        if self.detail not in DETAILS:
            raise RecipeError(f"--detail {self.detail}: choose 1, 2 or 4.")
        return self


@dataclass(frozen=True)
class Posed:
    """A photograph as a network sees it, or larger.

    Attributes:
        name: Its file.
        large: (3, f S, f S), 0 to 1.
        points: (468, 3) mesh points in the square of size S; None where it was not cropped.
    """

    name: str
    large: Tensor
    points: Tensor | None


@dataclass(frozen=True)
class Binding:
    """A network with a photograph that was read: what remains is the performance."""

    network: IdentityFile
    path: Path
    animator: Animator
    shape: MotionShape
    how: Reenacting
    coverage: float
    photo: Posed
    likeness: Likeness
    device: torch.device


def open_binding(
    network: IdentityFile,
    path: Path,
    source: Shot,
    space: str,
    how: Reenacting,
    colors: Colors,
    tracking: TrackArguments,
    likeness: Likeness,
    frame: tuple[int, int],
    device: str,
    tell: Tell,
) -> Binding:
    """Read a network and a photograph; ``frame`` is the width and height of the plate with square pixels.

    Raises:
        MienError: The network is damaged, or the photograph shows no face, or several.
    """
    place = choose_device(device)
    animator, shape = open_network(network, path, place)
    learned = coverage_of(network, path)
    coverage = (learned or COVERAGE) if how.crop == "face" else 0.0
    if how.crop == "none":
        photo = whole_photo(source, space, colors, shape.size, how.detail, frame, tell)
    else:
        try:
            shown = read_photo(source, colors, space, open_finder(tracking))
        except MienError as error:
            raise MienError(f"{error} For drawn characters and bodies choose --crop none.") from error
        photo = cropped_photo(source.path.name, shown, colors, shape.size, how.detail, coverage, tell)
    return Binding(network, path, animator, shape, how, coverage, photo, likeness, place)


def cropped_photo(
    name: str, photo: Photo, colors: Colors, size: int, detail: int, coverage: float, tell: Tell
) -> Posed:
    """The level square around the face of a photograph."""
    points = as_mesh(photo.points, "mesh" if len(photo.points) == mesh.POINTS else "ibug68").float()
    matrix = aligned_matrix(points, size * detail, coverage, photo.aspect)
    side = size * detail / float(torch.linalg.det(matrix[:2, :2]).abs().sqrt())
    _tell_if_small(name, side, size, detail, f"the square around its face is {side:.0f} pixels wide", tell)
    crop = warp(colors.encoding.encode(photo.image), matrix, (size * detail, size * detail)).clamp(0, 1)
    level = in_crop(points, aligned_matrix(points, size, coverage, photo.aspect))
    return Posed(name, crop, level)


def whole_photo(
    source: Shot, space: str, colors: Colors, size: int, detail: int, frame: tuple[int, int], tell: Tell
) -> Posed:
    """The middle of a photograph, as wide and high as the plate is, squeezed into a square as the plate is."""
    pixels = torch.from_numpy(read_region(source, source.frames[0], source.display)).movedim(-1, 0)
    shown = colors.encoding.encode(colors.to_working(space)(pixels))
    height, width = float(shown.shape[-2]), shown.shape[-1] * source.aspect
    zoom = min(width / frame[0], height / frame[1])
    across, down = zoom * frame[0] / source.aspect, zoom * frame[1]
    if min(across / shown.shape[-1], down / height) < 0.9:
        tell(Note(f"{source.path.name} has another shape than the plate: its sides or ends are left out.", "warning"))
    shown_of_it = f"{across:.0f} x {down:.0f} of it are shown"
    _tell_if_small(source.path.name, min(across, down), size, detail, shown_of_it, tell)
    matrix = torch.diag(torch.tensor([size * detail / across, size * detail / down, 1.0], dtype=torch.float64))
    matrix[0, 2] = size * detail / 2 - matrix[0, 0] * shown.shape[-1] / 2
    matrix[1, 2] = size * detail / 2 - matrix[1, 1] * height / 2
    return Posed(source.path.name, warp(shown, matrix, (size * detail, size * detail)).clamp(0, 1), None)


def _tell_if_small(name: str, side: float, size: int, detail: int, words: str, tell: Tell) -> None:
    if side < 0.95 * size:
        tell(
            Note(
                f"{name} is small: {words}, the network sees {size}. The result is no sharper than the photograph: "
                "choose a larger one.",
                "warning",
            )
        )
    elif detail > 1 and side < 0.95 * size * detail:
        tell(Note(f"{name} has less detail than --detail {detail} asks for: {words}.", "warning"))


def whole_track(plate: OpenPlate, path: Path) -> Path:
    """A track whose points span the frame, for plates of which all drives."""
    shot = plate.shot
    low, high = mesh.CANONICAL.amin(0), mesh.CANONICAL.amax(0)
    points = (mesh.CANONICAL - low) / (high - low) * torch.tensor([*shot.size, float(shot.size[1])])
    count = shot.last - shot.first + 1
    track = FaceTrack(
        "frame",
        shot.first,
        points.expand(count, -1, -1).clone(),
        torch.ones(count, mesh.POINTS),
        torch.ones(count),
        torch.zeros(count, dtype=torch.bool),
        aspect=shot.aspect,
    )
    write_tracks(path, (track,), plate.facts)
    return path


def smoothing(recipe: Recipe) -> dict[str, Any]:
    """How a recipe smooths tracks."""
    return next((dict(step.settings) for step in recipe.steps if step.node == "smooth_track"), {})


def bind(
    binding: Binding,
    plate: OpenPlate,
    track: Path,
    name: str | None,
    smoothed: dict[str, Any],
    path: Path,
    tell: Tell,
) -> Path:
    """Find the frame to start from, and write the photograph bound to it as the identity ``path``.

    Raises:
        RecipeError: The start frame is not in the shot, or shows no face.
        MienError: No frame shows the face.
    """
    tracks = read_tracks(track)
    chosen = choose_face(tracks, name)
    seen = [one.name for one in tracks.tracks if not one.ignored]
    if len(seen) > 1 and name is None:
        people = f"{len(seen)} faces were found ({', '.join(seen)})"
        tell(Note(f"{people}: {chosen.name} drives. Choose another with --face.", "warning"))
    chosen = smooth(chosen, **smoothed) if smoothed else chosen
    faces = {frame: face for frame in plate.shot.frames if (face := face_at(chosen, frame)) is not None}
    if not faces:
        raise MienError(f"{chosen.name} is seen in no frame of {plate.shot.name}. Choose another --face or range.")
    start = binding.how.start_frame
    if start is not None and start not in faces:
        raise RecipeError(
            f"--start-frame {start} shows no face: {chosen.name} is seen between {min(faces)} and {max(faces)}."
        )
    view = View(binding.shape.size, binding.coverage, plate.colors.encoding)
    if start is None and binding.how.motion == "relative":
        start = best_start(binding, plate, faces, view)
        tell(Note(f"Starting from frame {start}, where the performance is posed most like {binding.photo.name}."))
    start = min(faces) if start is None else start
    begin = binding.animator.find(seen_at(plate, faces[start], start, view, binding.device))
    scale = 1.0
    adapt = binding.how.crop == "none" if binding.how.adapt_scale is None else binding.how.adapt_scale
    if adapt and binding.how.motion == "relative":
        scale = min(max(movement_scale(photo_keypoints(binding), begin), LEAST), 1 / LEAST)
    facts = {
        "source": binding.photo.name,
        "relative": binding.how.motion == "relative",
        "scale": scale,
        "start": start,
        "face": chosen.name,
    }
    begin = on_device(begin, torch.device("cpu"))
    file = bound(binding.network, binding.path, binding.photo.large, begin, facts, binding.coverage, binding.likeness)
    write_identity(path, file)
    return path


def photo_keypoints(binding: Binding) -> Keypoints:
    """The keypoints of the photograph at the size that the network sees."""
    small = torch.nn.functional.avg_pool2d(binding.photo.large[None], binding.how.detail)
    return binding.animator.find(small)


def best_start(binding: Binding, plate: OpenPlate, faces: dict[int, Face], view: View) -> int:
    """The frame in which the performance is posed most like the photograph."""
    step = -(-len(faces) // LOOKED_AT)
    frames = sorted(faces)[::step]
    if binding.photo.points is not None:
        return min(frames, key=lambda frame: _apart(binding.photo.points, faces[frame], view))
    mine = _normal(photo_keypoints(binding).place)
    best, least = frames[0], float("inf")
    for some in _batches(frames):
        pictures = torch.cat([seen_at(plate, faces[frame], frame, view, binding.device) for frame in some])
        apart = (_normal(binding.animator.find(pictures).place) - mine).square().sum((1, 2))
        if float(apart.min()) < least:
            best, least = some[int(apart.argmin())], float(apart.min())
    return best


def _batches(frames: list[int]) -> Iterator[list[int]]:
    for first in range(0, len(frames), BATCH):
        yield frames[first : first + BATCH]


def _normal(place: Tensor) -> Tensor:
    """(B, K, 2) keypoints around 0, of one size."""
    middle = place - place.mean(1, keepdim=True)
    spread: Tensor = middle.square().sum((1, 2), keepdim=True).sqrt().clamp(min=1e-6)
    return middle / spread


def _apart(points: Tensor | None, face: Face, view: View) -> float:
    """How far a face's points lie from a photograph's, both in their level squares, in heights of the face."""
    assert points is not None
    its = in_crop(as_mesh(face.points, face.scheme).float(), view.matrix(face, (0, 0)))
    apart = (its - points)[:, :2].square().sum(-1).mean().sqrt()
    return float(apart) * view.coverage * FACE / view.size


def seen_at(plate: OpenPlate, face: Face, frame: int, view: View, device: torch.device) -> Tensor:
    """What drives in a frame, (1, 3, S, S)."""
    shot = plate.shot
    x0, y0, x1, y1 = around(face, view.coverage)
    place = Region(x0, y0, x1 - x0, y1 - y0).overlap(read_header(shot, frame).data)
    if not place.width or not place.height:
        return torch.zeros(1, 3, view.size, view.size)
    stored = torch.from_numpy(read_region(shot, frame, place)).movedim(-1, 0)
    image = plate.colors.to_working(plate.space)(stored.to(device))
    return view.crop(Plate(image, (place.x, place.y), frame), face)


def source_shot(sources: tuple[str, ...], colors: Colors, space: str | None) -> tuple[Shot, str]:
    """The one photograph.

    Raises:
        RecipeError: There are several, or it is a movie.
    """
    if len(sources) != 1:
        raise RecipeError(f"{len(sources)} sources: one photograph follows a performance. Give one --source.")
    shot: Any = open_shot(sources[0])
    if len(shot.frames) > 1:
        raise RecipeError(f"{shot.path} is a take of {len(shot.frames)} frames: give a photograph, or a frame of it.")
    return shot, plate_space(shot, colors, space)
