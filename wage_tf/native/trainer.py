"""Training of a Keras model by the native engine: the step, and the engine under Keras' own `fit`."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from wage_tf.errors import UserError
from wage_tf.integer.freezing import freeze
from wage_tf.integer.graph import Graph
from wage_tf.integer.weights import assign
from wage_tf.losses import SumSquaredError
from wage_tf.native import arguments
from wage_tf.native.network import Network
from wage_tf.optimizers import IntegerSGD, gradient_bits
from wage_tf.schedules import log2_of_rate

_NOT_INTEGERS = ("gradient_accumulation_steps", "clipnorm", "clipvalue", "global_clipnorm", "loss_scale_factor")
_EVALUATION_BATCH = 128


class Trainer:
    """Trains a compiled Keras model on integer codes; `sync` writes the result back.

    IntegerSGD's learning rate or schedule, seed and step count are the model's; so are the weights, as they are when
    the first batch comes, and the first after `sync`: others may set them in between. A batch is trained as
    `wage_tf.integer.train_step` would.

    Args:
        model: A model that `wage_tf.integer.freeze` takes, compiled with IntegerSGD and SumSquaredError.
        threads: How many work; None takes the CPUs of this process. The results do not depend on it.

    Raises:
        UserError: If the model is compiled otherwise, or the native engine is not built or does not take the model.
    """

    def __init__(self, model: keras.Model, threads: int | None = None):
        _check_compiled(model)
        self.model = model
        self._optimizer: IntegerSGD = model.optimizer
        self._threads = threads
        self._network: Network | None = None
        self._inference: Network | None = None
        self._changed = False
        self._rate = tf.function(lambda: tf.convert_to_tensor(self._optimizer.learning_rate))
        self._ahead = False  # The network has weights that the model has not.
        Network(freeze(model), 1, training=True, threads=1)

    def train_on_batch(self, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """One training step.

        Args:
            images: uint8 [batch, height, width, channels].
            labels: Class numbers, integers [batch].

        Returns:
            "loss", ½·Σ(y − t)² of the batch, and "error", the share of its wrongly classified images in percent.

        Raises:
            UserError: If the arguments are not that or the learning rate is no power of two; nothing is changed then.
        """
        scores = self.step(images, labels)
        self._optimizer.iterations.assign_add(1)
        targets = np.eye(scores.shape[1])[labels]
        return {
            "loss": float(0.5 * np.square(scores - targets).sum()),
            "error": float(100.0 * (scores.argmax(axis=1) != labels).mean()),
        }

    def step(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Trains on one batch and returns its scores, float64 [batch, classes]; the caller counts the step."""
        network = self._trained(images)
        codes = network.train_step(
            images,
            labels,
            log2_of_rate(float(self._rate())),
            self._optimizer.seed,
            int(self._optimizer.iterations.numpy()),
            self._optimizer.random_width,
        )
        self._ahead = self._changed = True
        return codes * 2.0**-network.program.scores.fraction

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Scores of one batch with the weights as they are now, float64 [batch, classes]."""
        self._changed = True
        return self.scores_again(images)

    def scores_again(self, images: np.ndarray) -> np.ndarray:
        """As `scores`, where no one but this trainer has changed the weights since the last call."""
        size = _count(images)
        if self._inference is None or size > self._inference.batch:
            self._inference = Network(self.graph(), max(size, _EVALUATION_BATCH), threads=self._threads)
        elif self._changed:
            self._inference.load(self.graph())
        self._changed = False
        return self._inference.infer(images) * 2.0**-self._inference.program.scores.fraction

    def graph(self) -> Graph:
        """The integer graph with the weights as they are now."""
        return self._network.graph() if self._network and self._ahead else freeze(self.model)

    def sync(self) -> None:
        """Writes the stored weights into the Keras model, if a step has changed them since."""
        if self._network and self._ahead:
            assign(self.model, self._network.graph())
        self._ahead = False

    def _trained(self, images: np.ndarray) -> Network:
        """The network with the weights as they are now, made anew where a batch is larger than those before."""
        size = _count(images)
        if self._network is None or size > self._network.batch:
            self._network = Network(self.graph(), max(size, 1), training=True, threads=self._threads)
        elif not self._ahead:
            self._network.load(self.graph())
        return self._network


@contextlib.contextmanager
def attached(model: keras.Model, threads: int | None = None) -> Iterator[keras.callbacks.Callback]:
    """Lets Keras' `fit` and `evaluate` of a model train and test by the native engine, while the context lasts.

    Batches are uint8 images with one-hot targets or class numbers, [batch] or [batch, 1]. Metrics, callbacks,
    validation, History and stopping are Keras' own. The model's weights are up to date after each epoch, where the
    callback that this yields comes first, at the end, and after `sync(model)`; the optimizer's step count always is.
    What sets the weights then, such as a callback that restores the best, is heeded.

    Args:
        model: See `Trainer`.
        threads: See `Trainer`.

    Yields:
        The callback that writes the weights back into the model at the end of an epoch, to put before others.

    Raises:
        UserError: See `Trainer`.
    """
    trainer = Trainer(model, threads)
    before = model.train_function, model.test_function
    model.train_function, model.test_function = _TrainFunction(trainer), _TestFunction(trainer)
    try:
        yield keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: trainer.sync())
    finally:
        trainer.sync()
        model.train_function, model.test_function = before


def sync(model: keras.Model) -> None:
    """Brings the weights of a model up to date that is trained under `attached`; any other is left as it is."""
    if isinstance(model.train_function, _TrainFunction):
        model.train_function.trainer.sync()


def fit(
    model: keras.Model,
    data: object,
    epochs: int = 1,
    callbacks: list[keras.callbacks.Callback] | None = None,
    validation_data: object = None,
    **options: object,
) -> keras.callbacks.History:
    """Keras' `fit` with the native engine's steps.

    Args:
        model: See `Trainer`.
        data: Batches of uint8 images with one-hot targets or class numbers, as Keras takes them: a `tf.data.Dataset`,
            or a pair of arrays with `batch_size` among the options.
        epochs: Times to go through the data.
        callbacks: Keras callbacks.
        validation_data: Like `data`, to be tested after each epoch; of arrays a pair.
        **options: Further arguments of `keras.Model.fit`.

    Returns:
        Keras' History.

    Raises:
        UserError: See `Trainer`.
    """
    arrays = dict(zip("xy", data, strict=True)) if isinstance(data, tuple) else {"x": data}
    with attached(model) as writer:
        return model.fit(
            **arrays,
            epochs=epochs,
            callbacks=[writer, *(callbacks or [])],
            validation_data=validation_data,
            **options,
        )


class _TrainFunction:
    """What Keras calls for `steps_per_execution` training steps, with an iterator of batches."""

    def __init__(self, trainer: Trainer):
        self.trainer = trainer
        self._record = _recorder(trainer.model, count_steps=True)

    def __call__(self, iterator: Iterator) -> dict[str, tf.Tensor]:
        for images, targets in _batches(iterator, self.trainer.model.steps_per_execution):
            labels = _labels(targets, self.trainer.model.output_shape[-1])
            logs = self._record(targets, self.trainer.step(images, labels))
        return logs


class _TestFunction:
    """What Keras calls to test on `steps_per_execution` batches, with an iterator of its own for each evaluation."""

    def __init__(self, trainer: Trainer):
        self._trainer = trainer
        self._record = _recorder(trainer.model, count_steps=False)
        self._iterator: Iterator | None = None

    def __call__(self, iterator: Iterator) -> dict[str, tf.Tensor]:
        for images, targets in _batches(iterator, self._trainer.model.steps_per_execution):
            again = iterator is self._iterator
            scores = self._trainer.scores_again(images) if again else self._trainer.scores(images)
            logs, self._iterator = self._record(targets, scores), iterator
        return logs


def _recorder(model: keras.Model, count_steps: bool) -> Callable:
    """Keras' own loss and metrics of a batch, from its targets and scores, as `keras.Model.train_step` takes them."""
    loss_tracker = model.metrics[0]
    classes = model.output_shape[-1]

    @tf.function(reduce_retracing=True)
    def compiled(targets: tf.Tensor, scores: tf.Tensor) -> dict[str, tf.Tensor]:
        loss = model.compute_loss(y=targets, y_pred=scores, training=count_steps)
        loss_tracker.update_state(loss, sample_weight=tf.shape(scores)[0])
        if count_steps:
            model.optimizer.iterations.assign_add(1)
        return model.compute_metrics(None, targets, scores)

    def record(targets: np.ndarray, scores: np.ndarray) -> dict[str, tf.Tensor]:
        if targets.ndim == 1:
            targets = np.eye(classes, dtype=np.float32)[arguments.labels(targets, len(targets), classes)]
        return compiled(tf.constant(targets, tf.float32), tf.constant(scores, tf.float32))

    return record


def _batches(iterator: Iterator, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The next batches, at most so many.

    Raises:
        StopIteration: If there is none, as Keras expects it.
    """
    batches = list(itertools.islice(iterator, count)) or [next(iterator)]
    if not all(isinstance(batch, tuple) and len(batch) == 2 for batch in batches):
        raise UserError("integer training: batches are pairs of images and targets, without sample weights")
    return [(np.ascontiguousarray(images.numpy()), targets.numpy()) for images, targets in batches]


def _labels(targets: np.ndarray, classes: int) -> np.ndarray:
    """Class numbers from one-hot targets, or as they are, [batch] or [batch, 1]."""
    if classes == 1:
        raise UserError("integer training: on classes; received a model of one output, which has none")
    if targets.ndim < 2 or targets.shape[1:] == (1,):
        return targets.reshape(-1)
    labels = targets.argmax(axis=-1)
    if targets.ndim != 2 or not np.array_equal(targets, np.arange(targets.shape[1]) == labels[:, None]):
        raise UserError(f"targets: one-hot, [batch, classes], or class numbers [batch]; received shape {targets.shape}")
    return labels


def _check_compiled(model: keras.Model) -> None:
    optimizer, loss = getattr(model, "optimizer", None), getattr(model, "loss", None)
    if type(optimizer) is not IntegerSGD:
        raise UserError(f"integer training: the model is compiled with IntegerSGD; received {_kind(optimizer)}")
    if type(loss) is not SumSquaredError or loss.reduction != "sum":
        raise UserError(f"integer training: the model is compiled with SumSquaredError, summed; received {_kind(loss)}")
    for name in _NOT_INTEGERS:
        if getattr(optimizer, name) is not None:
            raise UserError(f"integer training: IntegerSGD without {name}; received {getattr(optimizer, name)!r}")
    optimizer.build(model.trainable_variables)
    if optimizer.bits != gradient_bits(model):
        raise UserError(
            f"integer training: IntegerSGD's bits are those of the layers, {gradient_bits(model)}; "
            f"received {optimizer.bits}"
        )


def _count(images: np.ndarray) -> int:
    """Number of images; 1 for what is none, which the network refuses."""
    return len(images) if isinstance(images, np.ndarray) and images.ndim else 1


def _kind(thing: object) -> str:
    return "none" if thing is None else type(thing).__name__
