"""What the frames around one show of the same place."""

from collections.abc import Callable, Iterator

from torch import Tensor

from mien.tracking.motion import seen_from
from mien.types import Layer, Matte, Plate, Window


def carried(
    layers: Window[Layer],
    plates: Window[Plate],
    picture: Callable[[Layer], Tensor],
    place: tuple[tuple[int, int], tuple[int, int]],
) -> Iterator[tuple[Tensor, Matte]]:
    """A picture of each neighbor's layer, carried here along the plate's motion, and how far it is trusted.

    ``place`` is the corner (x, y) and the size (height, width) on the plate of what comes back. The farther a frame is
    away, the less it is trusted; where motion is not known it is not.
    """
    reach = len(layers.values) // 2
    for step, (there, background) in enumerate(zip(layers.values, plates.values), start=-reach):
        if step and there is not None and background is not None:
            seen, trust = seen_from(plates.center, background, picture(there), there.corner, place)
            yield seen, trust * (1 - abs(step) / (reach + 1))
