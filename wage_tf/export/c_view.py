"""Where a number of an output lies in the input of who reads it, through reshaping, padding and concatenation."""

from __future__ import annotations

import dataclasses

from wage_tf.integer.tensors import Shape
from wage_tf.native.geometry import image_shape


@dataclasses.dataclass(frozen=True)
class View:
    """An image that is a part of a larger one, of which a reader takes the numbers in row-major order.

    Attributes:
        part: Height, width and channels of the image.
        whole: The same of what it lies in.
        origin: Row, column and channel at which it begins there.
        is_reshaped: Whether the reader takes `whole` in another shape.
    """

    part: tuple[int, int, int]
    whole: tuple[int, int, int]
    origin: tuple[int, int, int] = (0, 0, 0)
    is_reshaped: bool = False

    @classmethod
    def of(cls, shape: Shape) -> View:
        """An output as it is."""
        return cls(image_shape(shape), image_shape(shape))

    def within(self, whole: Shape, origin: tuple[int, int, int]) -> View | None:
        """The image as a part of a larger one; None where it was reshaped after it had become a part."""
        row, column, channel = (a + b for a, b in zip(self.origin, origin, strict=True))
        return None if self.is_reshaped else View(self.part, image_shape(whole), (row, column, channel))

    def reshaped(self, shape: Shape) -> View:
        """The same numbers in another shape."""
        if self.part == self.whole:
            return View.of(shape)
        return self if image_shape(shape) == self.whole else dataclasses.replace(self, is_reshaped=True)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The fields of wage_source after the first; an output as it is has the run of all its numbers."""
        if self.part == self.whole:
            size = self.part[0] * self.part[1] * self.part[2]
            return 1, size, 1, size, 0, 0, 0
        return (*self.part[1:], *self.whole[1:], *self.origin)
