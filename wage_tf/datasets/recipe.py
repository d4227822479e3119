"""How a data set is trained: network, loss, batch, epochs, η schedule, augmentation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from wage_tf import schedules
from wage_tf.bits import BitWidths, NetworkBits
from wage_tf.datasets.augmentation import Augmentation
from wage_tf.schedules import Schedule


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a data set is trained.

    Attributes:
        model: Name of the network.
        batch_size: Images per step.
        epochs: Passes over the training images.
        schedule: (first epoch, η) pairs at k_G = 8.
        augmentation: What training images go through; None for nothing.
        loss: "sum_squared_error" or "softmax_cross_entropy".
        float_learning_rate: First learning rate of plain SGD on float weights, for f-…-f-…; later ones keep the
            schedule's ratios. The published sources give none: this one was tried out here.
        latent_learning_rate: The same on the stored weights of quantized layers, for 2-…-f-…. Their gradient passes
            straight through α, and they have the grid's steps to cross, so they need a far larger rate.

    Raises:
        ValueError: If the schedule is none.
    """

    model: str
    batch_size: int
    epochs: int
    schedule: Schedule
    augmentation: Augmentation | None = None
    loss: str = "sum_squared_error"
    float_learning_rate: float = 2**-11
    latent_learning_rate: float = 2**-5

    def __post_init__(self) -> None:
        schedules.checked(self.schedule)

    def schedule_for(self, bits: NetworkBits | BitWidths | str | Mapping[str, BitWidths | str]) -> Schedule:
        """The schedule at other bit widths: η·2^(k_G − 8), or plain SGD's learning rates for k_G = f.

        η counts in steps of the grid σ(k_G), so it halves with every bit removed (paper, section 4.3). Where layers
        differ, the first one's pattern decides.
        """
        pattern = NetworkBits.parse(bits).patterns[0]
        if pattern.g is not None:
            return schedules.scaled(self.schedule, 2.0 ** (pattern.g - 8))
        first = self.float_learning_rate if pattern.w is None else self.latent_learning_rate
        return schedules.scaled(self.schedule, first / self.schedule[0][1])
