"""What a replica asks the others: whether there are any, and the maximum over all of them."""

from __future__ import annotations

import tensorflow as tf

from wage_tf import ops


def are_several() -> bool:
    """Whether the caller is one of several replicas of a `tf.distribute` strategy, inside `strategy.run`."""
    context = tf.distribute.get_replica_context()
    return context is not None and context.num_replicas_in_sync > 1


def maximum(magnitude: tf.Tensor) -> tf.Tensor:
    """Returns max_r m_r over all replicas r: 4 bytes from each, gathered everywhere and reduced alike.

    A NaN on one replica is NaN on all. Every replica has to call it, in the same order.

    Args:
        magnitude: m_r, a float32 scalar that is not negative, from `ops.max_magnitude`.

    Returns:
        Float32 scalar, the same bits on every replica.
    """
    context = tf.distribute.get_replica_context()
    return ops.max_magnitude(context.all_gather(tf.reshape(magnitude, [1]), axis=0))
