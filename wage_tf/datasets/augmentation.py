"""Padding, random crops and flips of whole batches, with injected randomness."""

from dataclasses import dataclass

import tensorflow as tf

from wage_tf.datasets.splits import WHOLE, Share


@dataclass(frozen=True)
class Augmentation:
    """Zero padding, a random crop and a random horizontal flip for training; the central crop for testing.

    Attributes:
        pad: Zeros added on each of the four sides, in pixels.
        crop: Height and width of the crop; None is the size before padding.
        flip: Whether a training image is mirrored left to right with probability 1/2.

    Raises:
        ValueError: If `pad` is negative or `crop` is below 1.
    """

    pad: int = 0
    crop: int | None = None
    flip: bool = False

    def __post_init__(self) -> None:
        if self.pad < 0:
            raise ValueError(f"pad must not be negative, received {self.pad}")
        if self.crop is not None and self.crop < 1:
            raise ValueError(f"crop must be at least 1, received {self.crop}")

    def output_shape(self, input_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Returns the (height, width, channels) of augmented images.

        Args:
            input_shape: (height, width, channels) before padding.

        Raises:
            ValueError: If the crop does not fit into the padded image.
        """
        height, width, channels = input_shape
        if self.crop is None:
            return height, width, channels
        if self.crop > min(height, width) + 2 * self.pad:
            raise ValueError(f"crop {self.crop} exceeds images of {height}x{width} with pad {self.pad}")
        return self.crop, self.crop, channels

    def random(
        self, images: tf.Tensor, key: tf.Tensor, share: Share = WHOLE, batch_size: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Pads, crops and flips each image of a batch on its own.

        Args:
            images: uint8 [batch, height, width, channels]; all but the batch size is static.
            key: Integer [2], the seed. The result is a pure function of `images` and `key`.
            share: The part of the batch that `images` are. Parts come out as they would in the whole batch.
            batch_size: Images in the whole batch; None where `images` are all of it.

        Returns:
            uint8 [batch, *output_shape].
        """
        if batch_size is None:
            batch_size = tf.shape(images)[0]
        first, stop = share.bounds(batch_size)
        return self.drawn(images, tf.random.stateless_uniform([3, batch_size], key)[:, first:stop])

    def drawn(self, images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        """`random` with its numbers given.

        Args:
            images: uint8 [batch, height, width, channels]; all but the batch size is static.
            draws: float32 [3, batch] in [0, 1): top, left and flip of each image.

        Returns:
            uint8 [batch, *output_shape].
        """
        height, width, _ = self.output_shape(tuple(images.shape[1:]))
        padded = self._pad(images)
        top, left, flip = tf.unstack(draws)
        top = _floor(top * (padded.shape[1] - height + 1))
        left = _floor(left * (padded.shape[2] - width + 1))
        columns = tf.range(width)
        if self.flip:
            columns = tf.where(flip[:, None] < 0.5, columns[::-1], columns)
        cropped = tf.gather(padded, top[:, None] + tf.range(height), axis=1, batch_dims=1)
        return tf.gather(cropped, left[:, None] + columns, axis=2, batch_dims=1)

    def central(self, images: tf.Tensor) -> tf.Tensor:
        """Returns the central crops of a batch: `random` without the chance.

        Args:
            images: uint8 [batch, height, width, channels]; all but the batch size is static.

        Returns:
            uint8 [batch, *output_shape].
        """
        height, width, _ = self.output_shape(tuple(images.shape[1:]))
        padded = self._pad(images)
        top, left = (padded.shape[1] - height) // 2, (padded.shape[2] - width) // 2
        return padded[:, top : top + height, left : left + width]

    def _pad(self, images: tf.Tensor) -> tf.Tensor:
        return tf.pad(images, [[0, 0], [self.pad, self.pad], [self.pad, self.pad], [0, 0]])


def _floor(x: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.floor(x), tf.int32)
