"""One training from its configuration: the steps that train.py and a search have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from wage_tf import recipes
from wage_tf.bits import BitWidths
from wage_tf.callbacks import RunRecorder
from wage_tf.checkpoints import State
from wage_tf.datasets import Dataset
from wage_tf.distribution.devices import Devices, one_device
from wage_tf.distribution.trainer import devices_of, replicate
from wage_tf.errors import UserError
from wage_tf.metrics import ErrorRate
from wage_tf.optimizers import IntegerSGD, gradient_bits, warn_unless_power_of_two
from wage_tf.recipes import Recipe
from wage_tf.runs import RunConfig

TEST_BATCH = 500


def recipe_of(config: RunConfig, dataset: Dataset) -> Recipe:
    """The recipe that fills in what a configuration leaves open."""
    return recipes.get(config.dataset, dataset.input_shape)


def configure(dataset: Dataset, recipe: Recipe, settings: Mapping[str, object]) -> RunConfig:
    """Fills a recipe's values in where `settings` (fields of RunConfig) has None.

    Raises:
        UserError: If a bit pattern or a schedule is malformed.
    """
    chosen = {name: value for name, value in settings.items() if value is not None}
    try:
        bits = chosen.get("bits", "2-8-8-8")
        patterns = bits.values() if isinstance(bits, Mapping) else [bits]
        parsed = [BitWidths.parse(pattern) for pattern in patterns]
        chosen["bits"] = bits if isinstance(bits, Mapping) else str(parsed[0])
        schedule = recipes.parse_schedule(chosen["schedule"]) if "schedule" in chosen else None
    except ValueError as error:
        raise UserError(str(error)) from None
    schedule = schedule or recipe.schedule_for(bits)
    return RunConfig(
        **{
            **dict.fromkeys(("data_dir", "beta", "limit", "image_size")),
            "model": recipe.model,
            "batch_size": recipe.batch_size,
            "epochs": recipe.epochs,
            **chosen,
            "schedule": recipes.format_schedule(schedule),
        }
    )


def is_known_to_be_unstable(config: RunConfig) -> bool:
    """Whether wide weights meet a β that does not grow with k_W, and so are small against the update's grid.

    That is k_W > 2 with k_G not above it.
    """
    patterns = config.bits.values() if isinstance(config.bits, Mapping) else [config.bits]
    widths = [BitWidths.parse(pattern) for pattern in patterns]
    return config.beta is not None and any(b.w and b.g and b.w > 2 and b.g <= b.w for b in widths)


def prepare(
    config: RunConfig, dataset: Dataset, build: Callable[..., keras.Model], devices: Devices | None = None
) -> keras.Model:
    """Builds and compiles the network of a configuration; its initial weights depend on the seed alone.

    Args:
        config: The run's configuration.
        dataset: Its data.
        build: `models.build`, or a function of the same arguments.
        devices: Where it will train; None for one device.

    Raises:
        UserError: If the batch does not divide into equal parts for the replicas.
    """
    devices = devices or one_device()
    devices.check_batch_size(config.batch_size)
    recipe = recipe_of(config, dataset)
    input_shape = dataset.input_shape
    if recipe.augmentation is not None:
        input_shape = recipe.augmentation.output_shape(input_shape)
    keras.utils.set_random_seed(config.seed)
    options = {} if config.beta is None else {"beta": config.beta}
    schedule = recipes.parse_schedule(config.schedule)
    rate = recipes.learning_rate(schedule, dataset.steps_per_epoch(config.batch_size))
    with devices.scope():
        model = build(config.model, config.bits, input_shape, dataset.num_classes, config.width, **options)
        optimizer = IntegerSGD(rate, bits=gradient_bits(model), seed=config.seed)
    if optimizer.bits is not None and len(schedule) > 1:
        for _, eta in schedule:
            warn_unless_power_of_two(eta)
    model = replicate(model, devices)
    model.compile(optimizer, recipe.loss(), metrics=[ErrorRate()])
    return model


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
    """
    share = devices_of(model).share
    augmentation = recipe_of(config, dataset).augmentation
    steps = dataset.steps_per_epoch(config.batch_size)
    test = dataset.test_batches(TEST_BATCH, augmentation, share) if dataset.test_size else None
    step, epoch = 0, 0
    if state is not None:
        state.restore(model)
        step, epoch = state.step, len(state.rows)
    everything = [recorder, *callbacks]

    def fit_epochs(first: int, last: int, step: int, steps: int) -> None:
        train = dataset.train_batches(config.batch_size, config.seed, augmentation, step, share)
        model.fit(
            train,
            initial_epoch=first,
            epochs=last,
            steps_per_epoch=steps,
            validation_data=test,
            shuffle=False,
            callbacks=everything,
            verbose=verbose,
        )

    left = (epoch + 1) * steps - step
    if left < steps:
        _build_metrics(model, dataset.train_batches(config.batch_size, config.seed, augmentation, share=share))
    if left == 0:
        _finish_epoch(model, epoch, test, everything, state, verbose)
    elif left < steps:
        fit_epochs(epoch, epoch + 1, step, left)
    if left < steps:
        epoch, step = epoch + 1, (epoch + 1) * steps
    if epoch < config.epochs:
        fit_epochs(epoch, config.epochs, step, steps)


def _build_metrics(model: keras.Model, batches: tf.data.Dataset) -> None:
    """Creates the metrics' variables, which Keras otherwise does in the first step."""
    model.evaluate(batches.take(1), verbose=0)


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
