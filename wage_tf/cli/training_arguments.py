"""The arguments of train.py and wage-train."""

from __future__ import annotations

import argparse

from wage_tf.cli import exits, parsers
from wage_tf.cli.parsers import OneLineParser, natural, positive_float, positive_int

_EPILOG = """\
examples:
  python train.py                                           LeNet-5 on scikit-learn's digits, about a minute
  python train.py --dataset mnist --learning-rate 8 --epochs 3
  python train.py --dataset cifar10 --bits 2,8,8,8          VGG7 with the paper's recipe, 300 epochs
  python train.py --dataset cifar10 --engine integer        the same in integers on the CPU, faster than float32
  python train.py --dataset cifar10 --bits f,f,f,f          the same network in float32, as baseline
  python train.py --dataset path/to/images --model vgg7     your own images, in path/to/images/train/<class>/
  python train.py --from my.keras --dataset path/to/images  your own network, converted to integers
  python train.py --strategy mirrored                       on all GPUs of this machine, with the same result
  tensorboard --logdir runs                                 curves and histograms of the quantized tensors

exit codes: 0 done, 1 the training diverged, 2 wrong input, 3 another worker was lost, 130/143 stopped by SIGINT/SIGTERM
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = OneLineParser(
        prog=exits.program("train.py"),
        description="Trains a network whose weights, activations, gradients and errors are low-bit integers (WAGE). "
        "A recipe for each data set fills in what is not given.",
        epilog=exits.as_started(_EPILOG),
    )
    add_training(result)
    _add_devices(result)
    _add_run(result)
    return result


def add_training(result: argparse.ArgumentParser) -> None:
    """Adds what decides a training: data, network and how it is trained."""
    _add_data(result)
    _add_network(result)
    _add_schedule(result)


def _add_data(result: argparse.ArgumentParser) -> None:
    data = result.add_argument_group("data")
    parsers.add_data(
        data,
        "digits (default, needs no network), mnist, fashion_mnist, cifar10, cifar100, svhn_cropped, imagenet2012, or a "
        "folder of images, PATH/train/<class>/* and optionally PATH/test/<class>/*",
    )
    parsers.add_limit(data)


def _add_network(result: argparse.ArgumentParser) -> None:
    network = result.add_argument_group("network")
    widths = network.add_mutually_exclusive_group()
    widths.add_argument(
        "--bits",
        type=parsers.bits,
        metavar="W,A,G,E",
        help="widths of weights, activations, gradients, errors: 1 to 16 for W, 2 to 16 for the others, f for float32 "
        "(default 2,8,8,8)",
    )
    widths.add_argument(
        "--bits-from",
        type=parsers.text,
        metavar="PATH",
        help="a search's best.json or run directory: its widths, data, network and eta where not given here",
    )
    network.add_argument("--pattern", metavar="NAME", help="with --bits-from RUN_DIR: this trial's, not the best one's")
    network.add_argument(
        "--model",
        type=parsers.text,
        metavar="NAME",
        help=f"{parsers.CLASSIFIERS} or autoencoder (default: by the data)",
    )
    network.add_argument(
        "--from",
        dest="source",
        type=parsers.text,
        metavar="MODEL.keras",
        help="a Keras model of your own, converted to these widths (docs/convert.md)",
    )
    network.add_argument(
        "--weights", choices=("keep", "fresh"), help="with --from: start from its weights (default) or from fresh ones"
    )
    network.add_argument(
        "--width", type=parsers.width_multiplier, metavar="X", help="multiplier of the hidden layers' units (default 1)"
    )
    network.add_argument(
        "--beta",
        type=positive_float,
        metavar="X",
        help="beta of the initialization, 1.5 in the paper (default: 1.5*2^(W-2), so that wide weights train too)",
    )
    method = result.add_argument_group("decisions of the method, for ablations")
    method.add_argument(
        "--factor", type=positive_float, metavar="X", help="of the fan-in limit: 1 in the authors' code, 2 in the paper"
    )
    method.add_argument(
        "--clip-bits",
        type=parsers.bit_width,
        metavar="K",
        help="grid to which stored weights are clipped (default: W's)",
    )
    method.add_argument(
        "--clip-outputs",
        action=argparse.BooleanOptionalAction,
        help="quantize the last layer's outputs, Q_A then Q_E, or only their error (default: the network's)",
    )
    method.add_argument(
        "--gamma",
        type=parsers.power_of_two,
        metavar="X",
        help="shifts the errors' bound: Q(gamma*e/Shift(max|e|)) (default 1)",
    )
    method.add_argument(
        "--random-width", type=parsers.random_width, metavar="N", help="bits of the rounding's random numbers (16)"
    )


def _add_schedule(result: argparse.ArgumentParser) -> None:
    training = result.add_argument_group("training")
    training.add_argument(
        "--engine",
        choices=("keras", "integer"),
        help="what computes the steps: Keras, which simulates the integers in float32 (default), or the native engine, "
        "in integers; --resume may change it",
    )
    training.add_argument("--batch-size", type=positive_int, metavar="N", help="images per step")
    training.add_argument("--epochs", type=positive_int, metavar="N", help="passes over the training images")
    rate = training.add_mutually_exclusive_group()
    rate.add_argument(
        "--learning-rate",
        type=parsers.constant_rate,
        dest="schedule",
        metavar="ETA",
        help="one eta throughout, a power of two",
    )
    rate.add_argument(
        "--schedule",
        type=parsers.schedule,
        metavar="ETA@EPOCH,...",
        help='eta and the epoch it starts from, such as "8@0,1@200,0.125@250"',
    )
    training.add_argument("--seed", type=natural, metavar="N", help="decides the whole run (default 0)")


def _add_devices(result: argparse.ArgumentParser) -> None:
    devices = result.add_argument_group("devices")
    devices.add_argument(
        "--strategy",
        choices=("mirrored", "multiworker"),
        help="train on several devices, to bit for bit the weights of one: mirrored takes all GPUs of this machine, "
        "multiworker those of all machines in TF_CONFIG. Each takes an equal part of the batch (docs/scaling.md). "
        "SECURITY: multiworker opens its port to everybody who can reach this host, without authentication: "
        "private networks only",
    )
    devices.add_argument(
        "--logical-devices",
        type=positive_int,
        metavar="N",
        help="with --strategy mirrored: N devices made of this machine's CPU, to try it out; no faster than one",
    )


def _add_run(result: argparse.ArgumentParser) -> None:
    run = result.add_argument_group("run")
    run.add_argument(
        "--run-dir", type=parsers.text, metavar="DIR", help="where the run is kept (default: runs/ and its settings)"
    )
    again = run.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on from the run's last checkpoint")
    again.add_argument("--overwrite", action="store_true", help="remove the run that is in the run directory first")
    run.add_argument(
        "--checkpoint-steps",
        type=natural,
        metavar="N",
        help="a checkpoint every N steps as well as every epoch (default 0: every epoch only)",
    )
    run.add_argument(
        "--histogram-freq",
        type=natural,
        metavar="N",
        help="TensorBoard histograms of W, A, E, G every N epochs (default 1; 0 for none)",
    )
    run.add_argument(
        "--evaluate",
        type=parsers.text,
        metavar="RUN_DIR",
        help="only print the test error of a finished run's model, on its own test images or those of --dataset; "
        "--data-dir names another place of them",
    )
    parsers.add_verbose(run)
