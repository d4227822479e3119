"""train.py with a decision of the method changed: `python -m experiments.ablations --factor 2 --dataset mnist ...`.

Takes train.py's arguments and those that the library has no reason to offer; everything else, files of the run and
--resume included, is train.py's.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import warnings
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf
from wage_tf.commands import OneLineParser, run_command

import models
import train
from wage_tf import files, ops, runs, training
from wage_tf.bits import BitWidths
from wage_tf.callbacks import Diverged, Interrupted
from wage_tf.constraints import ClipToGrid
from wage_tf.errors import UserError
from wage_tf.layers import QActivation, QError
from wage_tf.quantizers import quantize_activation


def _random_width(text: str) -> int:
    try:
        return ops.check_random_width(int(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


OPTIONS = {
    "factor": (train.positive_float, "factor of the fan-in limit: 1 in the authors' code (default), 2 in the paper"),
    "clip": (train.positive_int, "stored weights are clipped to this many bits' grid: k_G in the paper (default: k_W)"),
    "output": (str, "clipped (Q_A, then Q_E after the last product) or plain (Q_E alone); default: the network's"),
    "random_width": (_random_width, "bits of the random numbers of the stochastic rounding (default 16)"),
    "gamma": (train.positive_float, "shifts the upper bound of the errors: Q(gamma*e/Shift(max|e|), k_E) (default 1)"),
}
_OUTPUTS = ("clipped", "plain")


def quantize_amplified_error(x: tf.Tensor, bits: BitWidths, gamma: float) -> tf.Tensor:
    """Q_E with a shifted upper bound: identity forward, e_q = Q(γ·e / Shift(max|e|), k_E) backward."""

    @tf.custom_gradient
    def quantized(x: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        return tf.identity(x), lambda upstream: ops.quantize(gamma * ops.scale_by_shift(upstream), bits.e)

    return quantized(x)


class Amplified:
    """Mixin for a layer that quantizes errors, put before its Keras class: γ as an argument.

    Args:
        gamma: γ, a power of two.
        **kwargs: Arguments of the layer.
    """

    def __init__(self, gamma: float, **kwargs: object):
        super().__init__(**kwargs)
        self.gamma = gamma

    def get_config(self) -> dict:
        return {**super().get_config(), "gamma": self.gamma}


@keras.saving.register_keras_serializable(package="experiments")
class AmplifiedQError(Amplified, QError):
    """`QError` with γ."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return quantize_amplified_error(inputs, self.bits, self.gamma)


@keras.saving.register_keras_serializable(package="experiments")
class AmplifiedQActivation(Amplified, QActivation):
    """`QActivation` with γ."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        errors_quantized = quantize_amplified_error(self.activation(inputs), self.bits, self.gamma)
        return quantize_activation(errors_quantized, self.bits)


def build(*args: object, options: argparse.Namespace, **kernel_options: object) -> keras.Model:
    """`models.build` with the ablations that concern the network."""
    if options.factor is not None:
        kernel_options["factor"] = options.factor
    if options.clip is not None:
        kernel_options["kernel_constraint"] = ClipToGrid(options.clip)
    model = models.build(*args, **kernel_options)
    if options.output is not None:
        model = with_output(model, clipped=options.output == "clipped")
    return model if options.gamma is None else with_gamma(model, options.gamma)


def with_output(model: keras.Model, clipped: bool) -> keras.Model:
    """The same layers up to the last matrix product, then Q_A and Q_E or Q_E alone."""
    last = [layer for layer in model.layers if hasattr(layer, "quantized_kernel")][-1]
    scores = last.output
    if clipped:
        scores = QActivation(last.bits.replace(e=None), activation=None, name=f"{last.name}_clip")(scores)
    return keras.Model(model.inputs, QError(last.bits, name=f"{last.name}_error")(scores), name=model.name)


def with_gamma(model: keras.Model, gamma: float) -> keras.Model:
    """The same network and initial weights, its errors quantized with γ."""

    def amplified(layer: keras.layers.Layer) -> keras.layers.Layer:
        kinds = {QError: AmplifiedQError, QActivation: AmplifiedQActivation}
        if type(layer) not in kinds or layer.bits.e is None:
            return layer.__class__.from_config(layer.get_config())
        return kinds[type(layer)](gamma, **layer.get_config())

    clone = keras.models.clone_model(model, clone_function=amplified)
    clone.set_weights(model.get_weights())
    return clone


def parser() -> argparse.ArgumentParser:
    """The ablations' own arguments; those of train.py are parsed by train.py."""
    result = OneLineParser(
        prog="experiments.ablations",
        description=__doc__,
        epilog="Further arguments: see train.py --help.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, (kind, text) in OPTIONS.items():
        choices = _OUTPUTS if name == "output" else None
        result.add_argument(f"--{name.replace('_', '-')}", type=kind, choices=choices, help=text)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns train.py's exit codes."""
    options, rest = parser().parse_known_args(argv)
    arguments = train.parser().parse_args(rest)
    warnings.showwarning = train.show_warning
    try:
        return run_command(parser(), lambda _: _train(arguments, options), [])
    except Diverged as error:
        print(f"experiments.ablations: error: the training diverged: {error}", file=sys.stderr)
        return 1
    except Interrupted as stop:
        print(f"stopped by {stop}; the same command with --resume goes on")
        return 128 + stop.signum


def _train(args: argparse.Namespace, options: argparse.Namespace) -> int:
    """What `train.train` does, with our network."""
    if args.run_dir is None or args.strategy is not None:
        raise UserError("an ablation wants --run-dir, and one device")
    config, dataset = train.configure(args)
    model = training.prepare(config, dataset, functools.partial(build, options=options))
    if options.random_width is not None:
        model.optimizer.random_width = options.random_width
    run = runs.RunDirectory(args.run_dir)
    chosen, kept = vars(options), run.checkpoints / "ablation.json"
    if args.resume and kept.exists() and json.loads(kept.read_text()) != chosen:
        raise UserError(f"--resume: the run in {run.path} was started with other ablations, see {kept}")
    state = train.open_run(run, config, args)
    files.write_json(kept, chosen)
    train.fit(run, config, dataset, model, state)
    return 0


if __name__ == "__main__":
    sys.exit(main())
