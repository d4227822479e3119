"""What makes a deep residual network of integers train? `python -m experiments.residual`.

ResNet-20 at half its width and 2-8-8-8 on scikit-learn's digits, one decision changed at a time: where the sum is
rounded, how large a branch begins, what ends the network. The error of every epoch goes to
`experiments/results/residual/`.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Sequence

import keras

from experiments import provenance
from models.blocks import Blocks
from wage_tf import datasets, files
from wage_tf.datasets import Dataset
from wage_tf.initializers import layer_alpha
from wage_tf.layers import QActivation, QConv2D, QDense, QError, QGlobalMaxPooling2D, QRescaling
from wage_tf.losses import SumSquaredError
from wage_tf.metrics import ErrorRate
from wage_tf.native.trainer import fit
from wage_tf.optimizers import IntegerSGD
from wage_tf.runs.training import learning_rate

BITS = "2-8-8-8"
_DEPTH = 3
_FILTERS = (8, 16, 32)
_TEST_BATCH = 500
_BATCH = 32


@dataclasses.dataclass(frozen=True)
class Variant:
    """What is decided in a residual network; the defaults are those of `models.resnet20`.

    Attributes:
        name: What the record calls it.
        rounds_branch: Q_A on F(x) before the sum, as well as behind it: the sum is one of 8-bit numbers.
        is_before: y = x + F(Q_A(ReLU(x))): ReLU and Q_A in the branch only, and nothing on the way past it.
        divisor: Power of two by which F is divided.
        from_zero: The last kernel of every branch begins at 0.
        ends_in_maximum: The maximum over all positions in place of the mean.
    """

    name: str
    rounds_branch: bool = False
    is_before: bool = False
    divisor: float = 1.0
    from_zero: bool = False
    ends_in_maximum: bool = False


VARIANTS = (
    Variant("Q_A(ReLU(F(x) + x)), mean"),
    Variant("branch rounded before the sum", rounds_branch=True),
    Variant("x + F(Q_A(ReLU(x)))", is_before=True),
    Variant("branch divided by 4", divisor=4.0),
    Variant("branch begins at zero", from_zero=True),
    Variant("maximum at the end", ends_in_maximum=True),
)


def network(variant: Variant, input_shape: Sequence[int], num_classes: int) -> keras.Model:
    """ResNet-20 with one decision changed."""
    image = keras.Input(input_shape, dtype="uint8")
    x = _convolution(QRescaling(1 / 256)(image), _FILTERS[0])
    x = x if variant.is_before else QActivation(BITS)(x)
    for stage, filters in enumerate(_FILTERS):
        for block in range(_DEPTH):
            x = _block(variant, x, filters, 2 if stage > 0 and block == 0 else 1)
    x = QActivation(BITS)(x) if variant.is_before else x
    x = QGlobalMaxPooling2D()(x) if variant.ends_in_maximum else Blocks(BITS).average(x, "end")
    return keras.Model(image, QError(BITS)(QDense(num_classes, bits=BITS)(x)))


def _block(variant: Variant, x: keras.KerasTensor, filters: int, strides: int) -> keras.KerasTensor:
    shape = (3, 3, filters, filters)
    options = {"alpha": variant.divisor * layer_alpha(shape, BITS)}
    options |= {"kernel_initializer": "zeros"} if variant.from_zero else {}
    start = QActivation(BITS)(x) if variant.is_before else x
    branch = QActivation(BITS)(_convolution(start, filters, strides=strides))
    branch = _convolution(branch, filters, **options)
    if variant.rounds_branch:
        branch = QActivation(BITS, activation=None)(branch)
    if variant.is_before:
        branch = QError(BITS)(branch)
    if x.shape[-1] != filters:
        x = _convolution(start, filters, 1, strides)
        x = QError(BITS)(x) if variant.is_before else x
    total = keras.layers.Add()([branch, x])
    return total if variant.is_before else QActivation(BITS)(total)


def _convolution(
    x: keras.KerasTensor, filters: int, size: int = 3, strides: int = 1, **options: object
) -> keras.KerasTensor:
    return QConv2D(filters, size, strides=strides, padding="same", bits=BITS, **options)(x)


def measure(dataset: Dataset, epochs: int, seed: int) -> Iterator[list[dict[str, object]]]:
    """The test errors of one variant after the other, epoch by epoch."""
    steps = dataset.steps_per_epoch(_BATCH)
    figures = []
    for variant in VARIANTS:
        keras.utils.set_random_seed(seed)
        model = network(variant, dataset.input_shape, dataset.num_classes)
        rate = learning_rate(((0, 8.0), (epochs * 2 // 3, 1.0)), steps)
        model.compile(IntegerSGD(rate, bits=8, seed=seed), SumSquaredError(), metrics=[ErrorRate()])
        history = fit(
            model,
            dataset.train_batches(_BATCH, seed),
            epochs=epochs,
            steps_per_epoch=steps,
            validation_data=dataset.test_batches(_TEST_BATCH),
            shuffle=False,
            verbose=0,
        )
        errors = [round(error, 2) for error in history.history["val_error"]]
        figures.append({"variant": variant.name, "errors": errors})
        print(f"| {variant.name} | {errors} |", flush=True)
        yield figures


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.residual", description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=12, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    args = parser.parse_args(argv)
    path = provenance.ROOT / "experiments" / "results" / "residual" / f"digits-s{args.seed}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    head = provenance.head(f"python -m experiments.residual --epochs {args.epochs} --seed {args.seed}")
    for figures in measure(datasets.load("digits"), args.epochs, args.seed):
        files.write_json(path, {**head, "figures": figures})


if __name__ == "__main__":
    main()
