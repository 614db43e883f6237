"""The previews of a training as a movie."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import OpenImageIO as oiio
from numpy.typing import NDArray

from mien.files.atomic import appearing

PACE = 8
"""Previews shown in a second."""


def write_timelapse(folder: Path, path: Path) -> Path | None:
    """Write all whole previews of a folder, in order, as an H.264 movie; None where there are fewer than two.

    Raises:
        MienError: The movie cannot be written.
    """
    pictures: list[NDArray[np.uint8]] = []
    for preview in sorted(folder.glob("[0-9]*.png")):
        buffer = oiio.ImageBuf(str(preview))
        if not buffer.has_error and buffer.spec().nchannels >= 3:
            pixels = np.asarray(buffer.get_pixels(oiio.UINT8), np.uint8)[..., :3]
            if not pictures or pixels.shape == pictures[0].shape:
                pictures.append(pixels)
    if len(pictures) < 2:
        return None
    height, width = (side // 2 * 2 for side in pictures[0].shape[:2])
    with appearing(path) as partial, av.open(str(partial), "w", format="mp4") as movie:
        stream = movie.add_stream("libx264", rate=Fraction(PACE))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "18"}
        for pixels in pictures:
            cut = np.ascontiguousarray(pixels[:height, :width])
            movie.mux(stream.encode(av.VideoFrame.from_ndarray(cut, format="rgb24")))
        movie.mux(stream.encode())
    return path
