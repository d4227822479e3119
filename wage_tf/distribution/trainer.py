"""A Keras model whose `fit` and `evaluate` run on the replicas of a strategy, with the results of one device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import keras
import tensorflow as tf

from wage_tf.datasets.splits import Share
from wage_tf.distribution.devices import Devices, one_device


class ReplicatedModel(keras.Model):
    """The layers of a model under a strategy. One step of `fit`:

    1. Every replica takes its part of the batch, forward and backward; Q_E's maximum is over all (`replicas.maximum`).
    2. The loss is the sum over the images, never divided by the number of replicas.
    3. The optimizer adds the gradients of all replicas, then makes the same update on each.
    4. Scores and targets of all replicas, in the batch's order, give loss and metrics as one device computes them.

    The default strategy of Keras drives `fit`, which sees plain tensors and never a distributed one: that is why
    `MultiWorkerMirroredStrategy` works. A replica without images (a last batch smaller than their number) takes a
    blank one that counts for nothing. Made by `replicate`, outside of the strategy's scope; `single` undoes it.
    """

    devices: Devices
    train_function: Callable | None
    test_function: Callable | None

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer,
        loss: keras.losses.Loss,
        metrics: Sequence[keras.metrics.Metric] = (),
    ) -> None:
        """Compiles.

        Args:
            optimizer: An optimizer made in the strategy's scope.
            loss: A loss that sums over the batch.
            metrics: Metrics, made outside of the scope.

        Raises:
            ValueError: If the loss takes a mean, or a layer adds a loss of its own: their sum over replicas would not
                be that of one device.
        """
        if getattr(loss, "reduction", None) != "sum" or self.losses:
            raise ValueError(f"replicas: the loss has to be one sum over the batch; received {loss!r}, {self.losses}")
        super().compile(optimizer, loss, metrics=list(metrics), jit_compile=False)
        with self.devices.scope():
            optimizer.build(self.trainable_variables)

    def make_train_function(self, force: bool = False) -> Callable:
        """Returns the function that Keras' `fit` calls for every batch."""
        if self.train_function is None or force:
            self.train_function = self._on_replicas(self._train)
        return self.train_function

    def make_test_function(self, force: bool = False) -> Callable:
        """Returns the function that Keras' `evaluate` calls for every batch."""
        if self.test_function is None or force:
            self.test_function = self._on_replicas(self._test)
        return self.test_function

    def _on_replicas(self, step: Callable) -> Callable:
        strategy = self.devices.strategy
        signature = [tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in (self.input, self.output)]

        @tf.function(autograph=False, input_signature=signature)
        def one_batch(images: tf.Tensor, targets: tf.Tensor) -> dict[str, tf.Tensor]:
            y, y_pred = (strategy.gather(part, axis=0) for part in strategy.run(step, args=(images, targets)))
            loss = self.compute_loss(y=y, y_pred=y_pred)
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(loss, sample_weight=tf.shape(y)[0])
            return self.compute_metrics(None, y, y_pred)

        def next_batch(batches: Iterator) -> dict[str, tf.Tensor]:
            return one_batch(*next(iter(batches)))

        return next_batch

    def _train(self, images: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, targets = self._part_of_replica(images, targets)
        with tf.GradientTape() as tape:
            scores = self._scores(images, training=True)
            loss = self.compute_loss(y=targets, y_pred=scores)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return targets, scores

    def _test(self, images: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, targets = self._part_of_replica(images, targets)
        return targets, self._scores(images, training=False)

    def _part_of_replica(self, images: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Cuts the worker's batch, in the host's memory, so that a device receives no more than it needs."""
        local = self.devices.replicas // self.devices.workers
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        part = Share(replica - self.devices.worker * local, local)
        with tf.device("CPU:0"):
            return part.of(images), part.of(targets)

    def _scores(self, images: tf.Tensor, training: bool) -> tf.Tensor:
        count = tf.shape(images)[0]
        blank = tf.maximum(1 - count, 0)
        images = tf.pad(images, [[0, blank], *[[0, 0]] * (images.shape.rank - 1)])
        return self(images, training=training)[:count]


def replicate(model: keras.Model, devices: Devices) -> keras.Model:
    """Returns the model to compile and fit on `devices`: with no strategy the model itself.

    Args:
        model: A Functional model built in the scope of `devices`.
        devices: Where to train.
    """
    if devices.strategy is None:
        return model
    replicated = ReplicatedModel(model.input, model.output, name=model.name)
    replicated.devices = devices
    return replicated


def devices_of(model: keras.Model) -> Devices:
    """Returns the devices that a model was replicated on."""
    return model.devices if isinstance(model, ReplicatedModel) else one_device()


def single(model: keras.Model) -> keras.Model:
    """Returns a model of the same layers, weights and optimizer to save: the file of a training on one device."""
    if not isinstance(model, ReplicatedModel):
        return model
    plain = keras.Model(model.input, model.output, name=model.name)
    metrics = keras.saving.deserialize_keras_object(model.get_compile_config()["metrics"])
    plain.compile(model.optimizer, model.loss, metrics=metrics)
    return plain
