"""What each command of the command line does, free of how its arguments were typed."""

from mien.commands.convert import ConvertArguments, convert_shot, render_recipe
from mien.commands.plate import OpenPlate, PlateArguments, open_plate
from mien.commands.reenacting import Reenacting
from mien.commands.track import TrackArguments, export_track, track_shot

__all__ = [
    "ConvertArguments",
    "OpenPlate",
    "PlateArguments",
    "Reenacting",
    "TrackArguments",
    "convert_shot",
    "export_track",
    "open_plate",
    "render_recipe",
    "track_shot",
]
