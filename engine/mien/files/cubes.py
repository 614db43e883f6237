"""Color moves as .cube files (Adobe, version 1.0), which Nuke, Resolve, Flame and OpenColorIO read."""

from pathlib import Path

from torch import Tensor

from mien.files.whole import write_whole

NOTE = """\
# A color move by mien, as a look-up table between ACEScct curves.
# To replay it: bring the picture to the working space (ACEScg in the default config), apply the ACEScct curve to its
# channels (in ACEScg: an OCIOColorSpace from ACEScg to ACEScct leaves the primaries alone), look up, and go back.
"""


def write_cube(path: Path, values: Tensor, title: str) -> None:
    """Write (N³, 3) values, red fastest, over 0 to 1.

    Raises:
        MienError: The folder cannot be written.
        ValueError: The values are no whole lattice.
    """
    size = round(len(values) ** (1 / 3))
    if size**3 != len(values) or size < 2 or values.shape[1:] != (3,):
        raise ValueError(f"a cube needs (N³, 3) values, not {tuple(values.shape)}")
    name = "".join(letter for letter in title if letter.isprintable() and letter != '"')
    lines = "\n".join(f"{r:.7g} {g:.7g} {b:.7g}" for r, g, b in values.tolist())
    path.parent.mkdir(parents=True, exist_ok=True)
    head = f'{NOTE}TITLE "{name}"\nLUT_3D_SIZE {size}\nDOMAIN_MIN 0 0 0\nDOMAIN_MAX 1 1 1\n'
    write_whole(path, f"{head}{lines}\n".encode())
