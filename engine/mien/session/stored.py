"""Pixels of the plate as they are stored, kept with room around, as regions grow while a value is dragged."""

from torch import Tensor

from mien.files.region import Region
from mien.files.shot import read_region
from mien.files.stills import Header
from mien.job import Job
from mien.planes import planar
from mien.recipe import digest
from mien.session.memory import Memory

ROOM, MORE = 8, 3
"""What part of a region's width is read around it at first, and around one that has grown beyond that."""


def pixels_of(memory: Memory, job: Job, header: Header, frame: int, place: Region) -> tuple[Tensor, bool]:
    """(3, height, width) stored values of a region, and whether they had to be read from the file.

    Raises:
        MienError: The file cannot be read.
    """
    key = digest("stored", job.prints.of(job.shot.file(frame)), frame, job.recipe.plate.part)
    known: tuple[Region, Tensor] | None = memory.recall(key)
    if known is not None and known[0].overlap(place) == place:
        rows, columns = place.within(known[0])
        return known[1][:, rows, columns].contiguous(), False
    room = place.width // (ROOM if known is None else MORE)
    wide = Region(place.x - room, place.y - room, place.width + 2 * room, place.height + 2 * room).overlap(header.data)
    pixels = planar(read_region(job.shot, frame, wide))
    memory.keep(key, (wide, pixels))
    rows, columns = place.within(wide)
    return pixels[:, rows, columns].contiguous(), True
