"""What the command lines have in common before they run: parsers and types of arguments."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from wage_tf import schedules
from wage_tf.bits import NetworkBits
from wage_tf.cli.exits import USER_ERROR, one_line
from wage_tf.schedules import Schedule

Number = TypeVar("Number", int, float)
Value = TypeVar("Value")

LARGEST = 2**31 - 1
CLASSIFIERS = "lenet5, vgg7, vgg8b, alexnet, resnet8, resnet20, mobilenet, ds_cnn, mlp, mlp_100_50, mlp_200_100_50"
"""The networks of `models` that have classes, which --help names without importing TensorFlow."""
_INTEGER = re.compile(r"[0-9]{1,400}")
_NUMBER = re.compile(r"[0-9]*\.?[0-9]+([eE][+-]?[0-9]+)?|[0-9]+\.")


class OneLineParser(argparse.ArgumentParser):
    """Reports a wrong argument in one line on stderr."""

    def __init__(self, **kwargs: Any):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs)

    def error(self, message: str) -> NoReturn:
        self.exit(USER_ERROR, one_line(f"{self.prog}: error: {message} (see --help)") + "\n")


def add_data(parser: argparse._ActionsContainer, dataset: str = "as in training", default: str | None = None) -> None:
    """Adds the arguments that name a data set: `dataset` is the help of the first, `default` its value."""
    parser.add_argument("--dataset", type=text, default=default, metavar="NAME|PATH", help=dataset)
    where = "directory of TensorFlow Datasets (default: TFDS_DATA_DIR)"
    parser.add_argument("--data-dir", type=text, metavar="DIR", help=where)
    size = "scale and crop the images of a folder to NxN pixels"
    parser.add_argument("--image-size", type=positive_int, metavar="N", help=size)


def add_limit(parser: argparse._ActionsContainer) -> None:
    """Adds `--limit`, the part of the training images to take."""
    parser.add_argument("--limit", type=positive_int, metavar="N", help="train on the first N training images only")


def add_verbose(parser: argparse._ActionsContainer) -> None:
    """Adds `--verbose`, for `startup.importing_tensorflow`."""
    parser.add_argument("--verbose", action="store_true", help="show TensorFlow's own messages")


def _number(kind: type[Number], is_valid: Callable[[Number], bool], what: str) -> Callable[[str], Number]:
    """The type of an argument that is a number, written in digits: `what` says which."""

    def parse(text: str) -> Number:
        if (_INTEGER if kind is int else _NUMBER).fullmatch(text) and is_valid(value := kind(text)):
            return value
        raise argparse.ArgumentTypeError(f"{what} is wanted, received {text!r}")

    return parse


def _integer(least: int, most: int = LARGEST) -> Callable[[str], int]:
    return _number(int, lambda value: least <= value <= most, f"an integer from {least} to {most}")


positive_int, natural, random_width, bit_width = _integer(1), _integer(0), _integer(1, 24), _integer(1, 16)
positive_float = _number(float, lambda value: 0 < value <= 1e6, "a number above 0 and up to 1e6")
width_multiplier = _number(float, lambda value: 0 < value <= 100, "a number above 0 and up to 100")
percentage = _number(float, lambda value: 0 < value < 100, "a percentage above 0 and below 100")
power_of_two = _number(float, lambda value: math.frexp(value)[0] == 0.5, "a power of two")


def _read_by(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    """The type of an argument that `parse` reads, whose ValueError says what is wrong."""

    def read(text: str) -> Value:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


bits, schedule = _read_by(NetworkBits.parse), _read_by(schedules.parse)


def constant_rate(text: str) -> Schedule:
    """One η throughout."""
    return ((0, positive_float(text)),)


def text(words: str) -> str:
    """Text that can be a path or a name: not empty, and without a NUL."""
    if not words or "\0" in words:
        raise argparse.ArgumentTypeError(f"a name or path is wanted, received {words!r}")
    return words
