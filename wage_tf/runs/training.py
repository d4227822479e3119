"""One training from its configuration: the steps that a run and a search have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import keras
import tensorflow as tf

from wage_tf import files, losses, models  # type: ignore[attr-defined]
from wage_tf.constraints import ClipToGrid
from wage_tf.datasets import Dataset
from wage_tf.distribution.devices import Devices, one_device
from wage_tf.distribution.trainer import devices_of, replicate, single
from wage_tf.errors import UserError
from wage_tf.metrics import ErrorRate, ReconstructionError
from wage_tf.native.trainer import Trainer, attached
from wage_tf.optimizers import IntegerSGD, gradient_bits
from wage_tf.runs.checkpoints import State
from wage_tf.runs.config import RunConfig
from wage_tf.runs.directory import Results, RunDirectory, summarize
from wage_tf.runs.recorder import RunRecorder
from wage_tf.schedules import Schedule, log2_of_rate

TEST_BATCH = 500


def data_for(config: RunConfig, dataset: Dataset) -> Dataset:
    """A data set with the targets that a configuration's network is trained on: classes, or the images themselves."""
    if not config.reconstructs:
        return dataset
    return dataset.reconstruction(*models.pixel_scale(dataset.input_shape))


def metric_of(config: RunConfig) -> keras.metrics.Metric:
    """The error that a run reports, in percent."""
    return ReconstructionError() if config.reconstructs else ErrorRate()


def build(config: RunConfig, input_shape: tuple[int, int, int], num_classes: int, **options: object) -> keras.Model:
    """Builds the network of a configuration.

    Args:
        config: The run's configuration.
        input_shape: Height, width and channels before augmentation.
        num_classes: Number of classes.
        **options: Further arguments of `models.build`.
    """
    if config.augmentation is not None:
        input_shape = config.augmentation.output_shape(input_shape)
    options = {"clip_outputs": config.clip_outputs, "factor": config.factor, "gamma": config.gamma, **options}
    if config.beta is not None:
        options["beta"] = config.beta
    if config.clip_bits is not None:
        options["kernel_constraint"] = ClipToGrid(config.clip_bits)
    return models.build(config.model, config.bits, input_shape, num_classes, config.width, **options)


def prepare(config: RunConfig, dataset: Dataset, devices: Devices | None = None) -> keras.Model:
    """Builds and compiles the network of a configuration; its initial weights depend on the seed alone.

    Args:
        config: The run's configuration.
        dataset: Its data, from `data_for`.
        devices: Where it will train; None for one device.

    Raises:
        UserError: If the batch does not divide into equal parts for the replicas, or the integer engine does not train
            the network.
    """
    devices = devices or one_device()
    devices.check_batch_size(config.batch_size)
    if config.engine == "integer":
        _check_integer_engine(config, devices)
    keras.utils.set_random_seed(config.seed)
    rate = learning_rate(config.schedule, dataset.steps_per_epoch(config.batch_size))
    with devices.scope():
        if config.source is None:
            model = build(config, dataset.input_shape, dataset.num_classes)
        else:
            model = config.source.converted(dataset, config.bits, config.augmentation)
        optimizer = IntegerSGD(rate, bits=gradient_bits(model), seed=config.seed, random_width=config.random_width)
    model = replicate(model, devices)
    model.compile(optimizer, losses.NAMED[config.loss](), metrics=[metric_of(config)])
    if config.engine == "integer":
        Trainer(model)
    return model


def _check_integer_engine(config: RunConfig, devices: Devices) -> None:
    if config.reconstructs:
        raise UserError(f"--engine integer trains on classes, and {config.model} has none: leave it out")
    if devices.strategy is not None:
        raise UserError("--engine integer trains on the CPU of one machine: leave --strategy out")
    for _, eta in config.schedule:
        log2_of_rate(eta)


def learning_rate(schedule: Schedule, steps_per_epoch: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Returns what a Keras optimizer takes: a number, or Keras' piecewise constant schedule over steps."""
    if len(schedule) == 1:
        return schedule[0][1]
    boundaries = [epoch * steps_per_epoch - 1 for epoch, _ in schedule[1:]]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, [eta for _, eta in schedule])


def fit(
    model: keras.Model,
    config: RunConfig,
    dataset: Dataset,
    recorder: RunRecorder,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    state: State | None = None,
    verbose: int | str = "auto",
) -> None:
    """Trains to the last epoch, from the beginning or from a state, bit for bit the same.

    A state within an epoch is completed in a `fit` of its own for what is left of that epoch; one taken after the
    last step of an epoch is evaluated first.

    Args:
        model: From `prepare`.
        config: The run's configuration.
        dataset: Its data.
        recorder: Writes metrics and checkpoints.
        callbacks: Further callbacks.
        state: Where to go on from; None for the beginning.
        verbose: Keras' verbosity.

    Raises:
        UserError: If the state is of another network or of other data.
    """
    steps = dataset.steps_per_epoch(config.batch_size)
    if state is not None:
        epochs = len(state.rows)
        if not epochs * steps <= state.step <= (epochs + 1) * steps:
            raise UserError(
                f"the checkpoint is of step {state.step} after {epochs} epochs, and an epoch has {steps} steps now: "
                "these are not the images that the run was started with: restore them"
            )
        state.restore(model)
    with attached(model) if config.engine == "integer" else contextlib.nullcontext() as writer:
        first = [] if writer is None else [writer]
        _fit_what_is_left(model, config, dataset, [*first, recorder, *callbacks], state, verbose)


def _fit_what_is_left(
    model: keras.Model,
    config: RunConfig,
    dataset: Dataset,
    callbacks: list[keras.callbacks.Callback],
    state: State | None,
    verbose: int | str,
) -> None:
    """What is left of an epoch under way, then the epochs after it."""
    share = devices_of(model).share
    augmentation = config.augmentation
    steps = dataset.steps_per_epoch(config.batch_size)
    test = dataset.test_batches(TEST_BATCH, augmentation, share) if dataset.test_size else None
    step, epoch = (0, 0) if state is None else (state.step, len(state.rows))

    def fit_epochs(first: int, last: int, step: int, steps: int) -> None:
        train = dataset.train_batches(config.batch_size, config.seed, augmentation, step, share)
        model.fit(
            train,
            initial_epoch=first,
            epochs=last,
            steps_per_epoch=steps,
            validation_data=test,
            shuffle=False,
            callbacks=callbacks,
            verbose=verbose,
        )

    left = (epoch + 1) * steps - step
    if left < steps:  # Keras creates the metrics' variables in the first step, which these here never see
        batches = dataset.train_batches(config.batch_size, config.seed, augmentation, share=share)
        model.evaluate(batches.take(1), verbose=0)
    if left == 0:
        _finish_epoch(model, epoch, test, callbacks, state, verbose)
    elif left < steps:
        fit_epochs(epoch, epoch + 1, step, left)
    if left < steps:
        epoch, step = epoch + 1, (epoch + 1) * steps
    if epoch < config.epochs:
        fit_epochs(epoch, config.epochs, step, steps)


def _finish_epoch(
    model: keras.Model,
    epoch: int,
    test: tf.data.Dataset | None,
    callbacks: Sequence[keras.callbacks.Callback],
    state: State,
    verbose: int | str,
) -> None:
    """Evaluates after the last step of an epoch that was stopped in its validation, and records the epoch."""
    everything = keras.callbacks.CallbackList(callbacks, model=model)
    everything.on_train_begin()
    state.restore_metrics(model)
    logs = dict(model.get_metrics_result())
    tested = {}
    if test is not None:
        tested = model.evaluate(test, callbacks=everything, verbose=verbose, return_dict=True)
    everything.on_epoch_end(epoch, {**logs, **{f"val_{name}": value for name, value in tested.items()}})


def finish(run: RunDirectory, config: RunConfig, model: keras.Model, recorder: RunRecorder) -> Results:
    """Writes the model and the results of a complete training, where they are missing, and returns the results."""
    results = run.read_results()
    if results is None or results.epochs != len(recorder.rows) or not run.model.is_file():
        with files.replacing(run.model) as path:
            single(model).save(path)
        results = summarize(config, recorder.rows, recorder.seconds)
        run.write_metrics(recorder.rows)
        run.write_results(results)
    return results
