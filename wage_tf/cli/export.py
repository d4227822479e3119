"""wage-export and `python -m wage_tf.export`: exports a trained model."""

from __future__ import annotations

import argparse
import functools
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wage_tf.cli import exits, startup
from wage_tf.cli.parsers import OneLineParser, add_verbose, text
from wage_tf.errors import UserError

if TYPE_CHECKING:
    from wage_tf.export.c_tail import Training
    from wage_tf.runs.signals import Signals

_EPILOG = """\
examples:
  python -m wage_tf.export runs/digits-lenet5-2-8-8-8-s0 --to litert
  python -m wage_tf.export runs/digits-lenet5-2-8-8-8-s0 --to c --out firmware/wage
  python -m wage_tf.export my_network.keras --to packed
  python -m wage_tf.export my_network.keras --to web --out page.html
  python -m wage_tf.export runs/digits-lenet5-2-8-8-8-s0 --to c --train --train-from fc2 --ram 65536
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    parser = OneLineParser(
        prog=exits.program("python -m wage_tf.export"),
        description="Exports a trained model.",
        epilog=exits.as_started(_EPILOG),
    )
    parser.add_argument(
        "source", type=text, metavar="RUN_DIR|MODEL", help="the directory of a run, a .keras or a .wage file"
    )
    forms = ("litert", "litert-micro", "packed", "c", "web", "onnx")
    parser.add_argument("--to", required=True, choices=forms, help="what to make")
    parser.add_argument(
        "--out", type=text, metavar="PATH", help="the file, for c the folder (default: beside the source)"
    )
    parser.add_argument("--accumulators", action="store_true", help="packed: keep the stored weights for training")
    device = parser.add_argument_group("a device (c)")
    device.add_argument("--train", action="store_true", help="the network goes on learning there")
    device.add_argument("--batch-size", type=int, default=1, metavar="N", help="the most images of a step (default: 1)")
    device.add_argument("--train-from", metavar="LAYER", help="the first layer that learns (default: all do)")
    device.add_argument("--ram", type=int, metavar="BYTES", help="refuse what needs more, the stack included")
    device.add_argument("--flash", type=int, metavar="BYTES", help="refuse what needs more")
    device.add_argument(
        "--prefix", default="wage", metavar="NAME", help="what all names begin with (default: wage); one a network"
    )
    add_verbose(parser)
    args = parser.parse_args(argv)
    return exits.run(parser.prog, functools.partial(_run, args))


def _run(args: argparse.Namespace, signals: Signals) -> int:
    _check_device(args)
    if args.source.endswith(".wage"):
        return _run_packed(args)
    with startup.importing_tensorflow(args.verbose):
        from wage_tf.cli import sources
        from wage_tf.export.c_needs import require_fit
        from wage_tf.export.model import export_model
        from wage_tf.integer import freeze
    config, model = sources.load(args.source)
    path = _path(args, is_folder=config is not None)
    name = model.name if config is None else f"{config.model} on {Path(config.dataset).name}"
    log2_eta, seed = (0, 0) if config is None else (math.frexp(config.schedule[-1][1])[1] - 1, config.seed)
    training = _training(args, log2_eta, seed)
    if args.train or args.ram or args.flash:
        print(require_fit(freeze(model), training, args.ram, args.flash))
    labels = sources.labels_of(config)
    options = {"accumulators": args.accumulators, "training": training, "prefix": args.prefix}
    print(export_model(model, path, args.to, name=name, labels=labels, **options))
    return 0


def _run_packed(args: argparse.Namespace) -> int:
    """The same from a packed file, without TensorFlow."""
    from wage_tf.export.c_needs import require_fit
    from wage_tf.export.forms import write_form
    from wage_tf.export.packed import read_packed

    graph, card = read_packed(args.source)
    path, training = _path(args, is_folder=False), _training(args, 0, 0)
    if args.train or args.ram or args.flash:
        print(require_fit(graph, training, args.ram, args.flash))
    options = {"accumulators": args.accumulators, "training": training, "prefix": args.prefix}
    size = write_form(path, args.to, graph, card, **options)
    print(f"{path}: {size:,} bytes")
    return 0


def _path(args: argparse.Namespace, is_folder: bool) -> Path:
    """What is named, or beside the source."""
    from wage_tf.export.forms import FORMS

    source = Path(args.source).resolve()
    stem = source.name if is_folder else source.stem
    return source.with_name(stem + FORMS[args.to][0]) if args.out is None else Path(args.out)


def _training(args: argparse.Namespace, log2_eta: int, seed: int) -> Training | None:
    from wage_tf.export.c_tail import Training

    return Training(args.batch_size, args.train_from, log2_eta, seed) if args.train else None


def _check_device(args: argparse.Namespace) -> None:
    if args.to != "c" and (args.train or args.ram or args.flash):
        raise UserError("--train, --ram and --flash belong to --to c")
    if not args.train and (args.train_from or args.batch_size != 1):
        raise UserError("--train-from and --batch-size belong to --train")


if __name__ == "__main__":
    sys.exit(main())
