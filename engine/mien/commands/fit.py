"""A plate written again with its data window equal to its display window, for hosts that misplace all others."""

from pathlib import Path

from mien.commands.plate import PlateArguments
from mien.deliver import numbered
from mien.files.layers import write_fitted
from mien.files.shot import open_shot, read_header, read_region
from mien.progress import Advance, Failure, Outcome, Tell
from mien.types import MienError


def fit_plate(plate: PlateArguments, output: Path, tell: Tell) -> Outcome:
    """Write every frame of a plate into ``output`` as ``NAME.####.exr``; pixels keep their bits.

    What lies outside the display window is left out, what the plate does not store within it is 0. Frames that are
    there and not older than the plate's are skipped.

    Raises:
        MienError: There is no such plate, or it is a movie.
    """
    shot = open_shot(plate.path, plate.frames, layer=plate.layer)
    if shot.movie is not None:
        raise MienError(f"{plate.path} is a movie: its frames have no windows. Use it as it is.")
    done, skipped, failed = 0, 0, dict[int, str]()
    name = Path(shot.name).name.partition(".")[0]
    for count, frame in enumerate(shot.frames, start=1):
        path = output / f"{name}.{numbered(frame)}.exr"
        try:
            if path.is_file() and path.stat().st_mtime >= shot.file(frame).stat().st_mtime:
                skipped += 1
            else:
                header = read_header(shot, frame)
                write_fitted(path, header, read_region(shot, frame, header.display))
                done += 1
        except MienError as error:
            failed[frame] = str(error)
            tell(Failure("render", frame, str(error)))
        tell(Advance("render", count, len(shot.frames), frame))
    return Outcome((str(output / f"{name}.####.exr"),), done, skipped, failed)
