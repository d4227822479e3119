"""Writes a stand-in of SVHN in TFDS's own format: `python -m experiments.svhn_mocked DIR`.

Scikit-learn's digits in random light colours on dark ones, 32x32 pixels, where `svhn_cropped` would be: enough to
see that the configuration of the experiment `svhn` runs and learns. Its error says nothing about SVHN.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from unittest import mock

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image
from sklearn.datasets import load_digits

from wage_tf.cli import exits
from wage_tf.cli.parsers import OneLineParser

_SPLITS = {"train": (0, 1000), "extra": (1000, 1437), "test": (1437, 1797)}


def examples(first: int, last: int) -> Iterator[tuple[str, dict[str, object]]]:
    """Coloured digits, numbered as scikit-learn has them; the same ones every time."""
    digits = load_digits()
    for i in range(first, last):
        ink = np.asarray(Image.fromarray(np.rint(digits.images[i] * 255 / 16).astype(np.uint8)).resize((32, 32)))
        bright, dark = np.random.default_rng(i).integers([[160], [0]], [[256], [96]], (2, 3))
        share = ink[..., None] / 255
        pixels = np.rint(share * bright + (1 - share) * dark).astype(np.uint8)
        yield f"{i}", {"image": pixels, "label": int(digits.target[i]), "id": f"{i}"}


def prepare(folder: str) -> None:
    """Writes `folder/svhn_cropped` with TFDS's builder, whose download is left out."""
    builder = tfds.builder("svhn_cropped", data_dir=folder)
    generators = {split: examples(*numbers) for split, numbers in _SPLITS.items()}
    with mock.patch.object(type(builder), "_split_generators", return_value=generators):
        builder.download_and_prepare()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    parser = OneLineParser(prog="experiments.svhn_mocked", description=__doc__)
    parser.add_argument("folder", metavar="DIR", help="directory of TensorFlow Datasets to write to")
    folder = parser.parse_args(argv).folder
    return exits.run(parser.prog, lambda signals: prepare(folder) or 0)


if __name__ == "__main__":
    sys.exit(main())
