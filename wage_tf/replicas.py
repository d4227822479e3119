"""What a replica asks the others: the maximum over all of them."""

from __future__ import annotations

import tensorflow as tf

from wage_tf import ops


def maximum(magnitude: tf.Tensor) -> tf.Tensor:
    """Returns max_r m_r over all replicas r: 4 bytes from each, gathered everywhere and reduced alike.

    A NaN on one replica is NaN on all. Every replica has to call it, in the same order. Outside `strategy.run` of a
    `tf.distribute` strategy, or where the replica is the only one, it is m itself.

    Args:
        magnitude: m_r, a float32 scalar that is not negative, from `ops.max_magnitude`.

    Returns:
        Float32 scalar, the same bits on every replica.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return magnitude
    return ops.max_magnitude(context.all_gather(tf.reshape(magnitude, [1]), axis=0))
