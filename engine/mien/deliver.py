"""What a render writes for each frame, where, and in which color space."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mien.chain import declaration, shot_track
from mien.files.atomic import remove_stale
from mien.files.complete import complete
from mien.files.exchange.rigid import reference_frame
from mien.files.exchange.stmap import maps_at, still_map
from mien.files.layers import read_provenance, write_empty_layer, write_full, write_host, write_layer, write_stmap
from mien.files.proofs import write_proof
from mien.files.shot import Native
from mien.files.stills import Header
from mien.job import Job, step_keys
from mien.ops.blend import over
from mien.ops.distance import signed_distance
from mien.planes import packed
from mien.proof import figures, pictures
from mien.recipe import digest
from mien.types import Layer, MienError, Plate

FORMAT = 1
"""Version of what delivered files hold; part of every frame's key."""


NOTHING = np.zeros((1, 1), np.float32)
NO_PROOF = np.zeros((1, 3, 3), np.uint8)


def numbered(frame: int) -> str:
    """A frame's number as names of files hold it."""
    return f"{frame:04d}" if frame >= 0 else f"-{-frame:04d}"


@dataclass(frozen=True)
class Destination:
    """Where and how a job's frames are written."""

    job: Job

    @property
    def kinds(self) -> tuple[str, ...]:
        """What is written for each frame; a movie is made of the layers, so it needs them."""
        wanted = self.job.recipe.output.write
        kinds = [kind for kind in ("layer", "host", "full", "stmap") if kind in wanted]
        return tuple(kinds if "layer" in kinds or "movie" not in wanted else ["layer", *kinds])

    @property
    def needs_whole(self) -> bool:
        """Whether whole plate frames are read."""
        return "full" in self.kinds

    @cached_property
    def layer_space(self) -> str:
        """Color space of layers: the plate's where that is linear, else the working space.

        A layer is premultiplied and laid over in linear light; hosts bring a plate there first.
        """
        return self.job.space if self.job.colors.is_linear(self.job.space) else self.job.colors.working

    def files(self, frame: int) -> dict[str, Path]:
        """Every file of one frame by role."""
        output = self.job.recipe.output
        number = numbered(frame)
        named = {
            "layer": {"layer": f"layer/{output.name}.{number}.exr"},
            "full": {"full": f"full/{output.name}.{number}.exr"},
            "stmap": {
                "stabilize": f"stmap/{output.name}_stabilize.{number}.exr",
                "restore": f"stmap/{output.name}_restore.{number}.exr",
            },
            "host": {role: f"host/{output.name}_{role}.{number}.exr" for role in ("raw", "face", "matte")},
        }
        return {role: self.job.folder / name for kind in self.kinds for role, name in named[kind].items()}

    def proof(self, frame: int) -> Path:
        """The small pictures and figures of a frame; they may be deleted, costing only the report on it."""
        output = self.job.recipe.output
        return self.job.folder / "proof" / f"{output.name}.{numbered(frame)}.jpg"

    @property
    def shown(self) -> tuple[str, ...]:
        """Patterns of what is written, for people."""
        some = self.files(0)
        return tuple(str(path).replace(".0000.exr", ".####.exr") for path in some.values())

    def key(self, frame_key: str) -> str:
        """Key of a frame's files: what the frame depends on and how it is written."""
        output = self.job.recipe.output
        whole = output.window, output.pixels, self.layer_space, self.held_still, "host" in self.kinds
        return digest(FORMAT, frame_key, *whole)

    @cached_property
    def held_still(self) -> int | None:
        """The frame on which ST maps hold the face, where they are written."""
        return reference_frame(shot_track(self.job.chain)) if "stmap" in self.kinds else None


@dataclass(frozen=True)
class Delivered:
    """One frame ready to be written: pictures in the files' color spaces, (h, w, channels) or (h, w).

    Attributes:
        frame: Its number.
        key: Key of its files.
        header: What the plate's frame says of itself.
        native: The whole plate frame, for full frames.
        corner: Plate pixel of the pictures' top-left pixel.
        image, raw, matte, mattes: The layer; None where there is no face.
        distance: Signed distance from the matte's edge in pixels, for hosts.
        maps: The ST maps that hold the face still and that undo it.
        comp: The result in the plate's own space, for full frames.
        drawn: What the converter's face is for hosts, as ``drawn_face`` says it.
        figures, proof: What was measured of the frame, and small pictures of it.
    """

    frame: int
    key: str
    header: Header
    native: Native | None
    corner: tuple[int, int] = (0, 0)
    image: NDArray[np.float32] | None = None
    raw: NDArray[np.float32] | None = None
    matte: NDArray[np.float32] | None = None
    mattes: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    distance: NDArray[np.float32] | None = None
    maps: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
    comp: NDArray[np.float32] | None = None
    drawn: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    proof: NDArray[np.uint8] | None = None


def up_to_date(destination: Destination, frame: int, frame_key: str) -> bool:
    """Whether every file of a frame is there and was made from exactly what it would be made from now."""
    key = destination.key(frame_key)
    for path in destination.files(frame).values():
        try:
            if not path.is_file() or read_provenance(path).get("frame_key") != key or not complete(path):
                return False
        except MienError:
            return False
    return True


def compute(
    destination: Destination,
    frame: int,
    frame_key: str,
    header: Header,
    native: Native | None,
    plate: Plate | None,
    raw: Layer | None,
    layer: Layer | None,
    names: tuple[str, ...] = (),
) -> Delivered:
    """Bring a frame's layer into the files' color spaces, and lay it over where full frames are wanted.

    Args:
        destination: Where it goes.
        frame: Its number.
        frame_key: Hash of what it depends on.
        header: What the plate's frame says of itself.
        native: The whole plate frame, for full frames.
        plate: The region in the working space; None without a face.
        raw: The converter's layer, before anything else was done to it.
        layer: The finished layer; None without a face.
        names: Mattes that a layer without a face holds, all empty.
    """
    key = destination.key(frame_key)
    job = destination.job
    if plate is None or layer is None or raw is None:
        # Without a face nothing is moved, and the map says so: numbering stays whole.
        still = None if destination.held_still is None else (still_map(job.shot.size),) * 2
        return Delivered(frame, key, header, native, mattes=dict.fromkeys(names, NOTHING), maps=still)
    maps = None
    if destination.held_still is not None:
        maps = maps_at(shot_track(job.chain), destination.held_still, frame, job.shot.size)
    to_layer = job.colors.from_working(destination.layer_space)
    comp = None
    if native is not None:
        laid = over(layer.image, plate.image, layer.matte)
        comp = packed(job.colors.from_working(job.space)(laid))
    signed = signed_distance(layer.matte) if "host" in destination.kinds else None
    return Delivered(
        frame=frame,
        key=key,
        header=header,
        native=native,
        corner=layer.corner,
        image=_pixels(to_layer(layer.image)),
        raw=_pixels(to_layer(raw.image)),
        matte=_plane(layer.matte),
        mattes={name: _plane(matte) for name, matte in layer.mattes.items()},
        distance=None if signed is None else _plane(signed),
        maps=maps,
        comp=comp,
        drawn=drawn_face(destination, frame, header, raw, 1) if "host" in destination.kinds else {},
        figures=figures(plate, raw, layer),
        proof=pictures(job, plate, layer),
    )


def drawn_face(destination: Destination, frame: int, header: Header, raw: Layer, factor: int) -> dict[str, str]:
    """What of the converter's face a host's file holds, for its header: ``raw_key`` is the same for the same face,
    ``raw_region`` the plate pixels, x y width height, and ``raw_factor`` by how much it was enlarged to them."""
    job = destination.job
    name = next(
        step.name for step in job.recipe.upstream(job.recipe.steps[-1].name) if declaration(step.node).output == "Layer"
    )
    key = digest(step_keys(job, frame, name)[name], destination.layer_space, header.display, header.origin)
    height, width = raw.image.shape[-2:]
    region = (raw.corner[0] * factor, raw.corner[1] * factor, width * factor, height * factor)
    return {"raw_key": key, "raw_region": " ".join(map(str, region)), "raw_factor": str(factor)}


def write(destination: Destination, made: Delivered) -> None:
    """Write a frame's files; each appears when it is whole.

    Raises:
        MienError: A file cannot be written.
    """
    job, output = destination.job, destination.job.recipe.output
    files = destination.files(made.frame)
    provenance = {**job.provenance, "frame_key": made.key, "frame": str(made.frame)}
    color = job.colors.interop_id(destination.layer_space)
    # First, so that a frame that is there has its proof.
    proof = NO_PROOF if made.proof is None else made.proof
    write_proof(destination.proof(made.frame), proof, made.figures, provenance)
    if "layer" in files:
        _write_layer(destination, files["layer"], made, provenance, color)
    if "raw" in files:
        matte = NOTHING if made.matte is None else made.matte
        write_host(
            (files["raw"], files["face"], files["matte"]),
            made.header,
            raw=np.zeros((1, 1, 3), np.float32) if made.raw is None else made.raw,
            face=np.zeros((1, 1, 3), np.float32) if made.image is None else made.image,
            matte=matte,
            distance=NOTHING if made.distance is None else made.distance,
            hold_out=made.mattes.get("hold_out", np.zeros_like(matte)),
            corner=made.corner,
            provenance={**provenance, **made.drawn},
            color=color,
            pixel_type="float" if output.pixels == "float" else "half",
        )
    if made.maps is not None:
        for role, coordinates in zip(("stabilize", "restore"), made.maps):
            write_stmap(files[role], made.header, coordinates=coordinates, corner=(0, 0), provenance=provenance)
    if "full" in files:
        assert made.native is not None
        empty_image = np.zeros((0, 0, 3), np.float32)
        write_full(
            files["full"],
            made.native,
            image=empty_image if made.comp is None else made.comp,
            mask=np.zeros((0, 0), np.bool_) if made.matte is None else made.matte > 0,
            corner=made.corner,
            provenance=provenance,
        )


def _write_layer(
    destination: Destination, path: Path, made: Delivered, provenance: Mapping[str, str], color: str | None
) -> None:
    output = destination.job.recipe.output
    shared: dict[str, Any] = {
        "provenance": provenance,
        "color": color,
        "pixel_type": output.pixels,
        "window": "full" if output.window == "full" else "region",
    }
    if made.image is None or made.matte is None or made.raw is None:
        write_empty_layer(path, made.header, mattes=tuple(made.mattes), **shared)
        return
    write_layer(
        path,
        made.header,
        image=made.image,
        matte=made.matte,
        raw=made.raw,
        mattes=made.mattes,
        corner=made.corner,
        **shared,
    )


def clear_leftovers(destination: Destination) -> None:
    """Remove what a killed run left half written under hidden names."""
    folder, output = destination.job.folder, destination.job.recipe.output
    frames = {path.parent for path in (*destination.files(0).values(), destination.proof(0))}
    cubes = {folder / f"{output.name}.{step.name}" for step in destination.job.recipe.steps}
    for place in sorted({folder, folder / "solve", *frames, *cubes}):
        if place.is_dir():
            remove_stale(place)


def _pixels(planes: torch.Tensor) -> NDArray[np.float32]:
    """(C, H, W) as (H, W, C), the same memory: who writes it lays it out anyway."""
    return np.moveaxis(planes.cpu().numpy(), 0, 2)


def _plane(matte: torch.Tensor) -> NDArray[np.float32]:
    plane: NDArray[np.float32] = matte[0].contiguous().cpu().numpy()
    return plane
