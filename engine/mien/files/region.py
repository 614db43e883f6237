"""A rectangle of whole plate pixels."""

from typing import NamedTuple


class Region(NamedTuple):
    """Plate pixels ``x <= column < x + width`` and ``y <= row < y + height``.

    (0, 0) is the top-left pixel of the display window; overscan makes coordinates negative.
    """

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The first column beyond."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """The first row beyond."""
        return self.y + self.height

    def overlap(self, other: "Region") -> "Region":
        """What both cover; width or height is 0 where they do not meet."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        return Region(x, y, max(0, min(self.right, other.right) - x), max(0, min(self.bottom, other.bottom) - y))

    def within(self, outer: "Region") -> tuple[slice, slice]:
        """Rows and columns of this region in an array that covers ``outer``."""
        x, y = self.x - outer.x, self.y - outer.y
        return slice(y, y + self.height), slice(x, x + self.width)
