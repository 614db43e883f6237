"""A plate as people name it on a command line."""

from dataclasses import dataclass

from mien.color import Colors
from mien.color import load as load_colors
from mien.files.shot import Shot, open_shot
from mien.files.tracks import TrackedPlate
from mien.footage import plate_space
from mien.recipe import RecipeError
from mien.types import MienError


@dataclass(frozen=True)
class PlateArguments:
    """Path, first and last frame, color space, OpenColorIO config and layer of a plate.

    ``span`` is what of it belongs to the shot, which is solved as a whole; None for all of it.
    """

    path: str
    frames: tuple[int, int] | None = None
    colorspace: str | None = None
    ocio: str | None = None
    layer: str | None = None
    span: tuple[int, int] | None = None


@dataclass(frozen=True)
class OpenPlate:
    """An open plate with its config and color space."""

    shot: Shot
    colors: Colors
    space: str

    @property
    def facts(self) -> TrackedPlate:
        """What a track file says of it."""
        shot = self.shot
        return TrackedPlate(shot.name, *shot.size, shot.first, shot.last, shot.aspect, shot.fps)


def open_plate(arguments: PlateArguments) -> OpenPlate:
    """Open a plate.

    Raises:
        RecipeError: The config has no such color space.
        MienError: No such plate, frame, layer or config.
    """
    colors = load_colors(arguments.ocio)
    if arguments.colorspace:
        known_space(colors, arguments.colorspace)
    shot = open_shot(arguments.path, arguments.frames, layer=arguments.layer)
    return OpenPlate(shot, colors, plate_space(shot, colors, arguments.colorspace))


def known_space(colors: Colors, name: str) -> str:
    """The config's own name of a color space that was asked for.

    Raises:
        RecipeError: The config has no such space.
    """
    try:
        return colors.space(name)
    except MienError as error:
        raise RecipeError(str(error)) from error
