"""wage-export and `python -m wage_tf.export`: exports a trained model."""

from __future__ import annotations

import argparse
import functools
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from wage_tf.cli import exits, startup
from wage_tf.cli.parsers import OneLineParser, add_verbose, positive_int, text
from wage_tf.errors import UserError

if TYPE_CHECKING:
    from wage_tf.integer import Graph
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
    device.add_argument("--ram", type=positive_int, metavar="BYTES", help="refuse what needs more, the stack included")
    device.add_argument("--flash", type=positive_int, metavar="BYTES", help="refuse what needs more")
    device.add_argument(
        "--prefix", default="wage", metavar="NAME", help="what all names begin with (default: wage); one a network"
    )
    add_verbose(parser)
    args = parser.parse_args(argv)
    return exits.run(parser.prog, functools.partial(_run, args))


def _run(args: argparse.Namespace, signals: Signals) -> int:
    _check_device(args)
    source = _packed(args.source) if args.source.endswith(".wage") else _trained(args)
    from wage_tf.export.c_needs import require_fit
    from wage_tf.export.c_tail import Training
    from wage_tf.export.forms import FORMS

    training = Training(args.batch_size, args.train_from, source.log2_eta, source.seed) if args.train else None
    if args.train or args.ram or args.flash:
        print(require_fit(source.graph(), training, args.ram, args.flash))
    beside = Path(args.source).resolve().with_name(source.stem + FORMS[args.to][0])
    options = {"accumulators": args.accumulators, "training": training, "prefix": args.prefix}
    print(source.write(beside if args.out is None else Path(args.out), args.to, **options))
    return 0


class _Source(NamedTuple):
    """What is exported: how its graph is made, how it is written, what files beside it are called, how it goes on."""

    graph: Callable[[], Graph]
    write: Callable[..., object]
    stem: str
    log2_eta: int = 0
    seed: int = 0


def _packed(source: str) -> _Source:
    """A packed file, without TensorFlow."""
    from wage_tf.export.forms import write_form
    from wage_tf.export.packed import read_packed

    graph, card = read_packed(source)

    def write(path: Path, to: str, **options: Any) -> str:
        return f"{path}: {write_form(path, to, graph, card, **options):,} bytes"

    return _Source(lambda: graph, write, Path(source).stem)


def _trained(args: argparse.Namespace) -> _Source:
    """A Keras model; one of a run goes on with the run's last η and its seed."""
    with startup.importing_tensorflow(args.verbose):
        from wage_tf.cli import sources
        from wage_tf.export.model import export_model
        from wage_tf.integer import freeze
    config, model = sources.load(args.source)
    freezing, write = functools.partial(freeze, model), functools.partial(export_model, model)
    if config is None:
        return _Source(freezing, write, Path(args.source).stem)
    name = f"{config.model} on {Path(config.dataset).name}"
    write = functools.partial(write, name=name, labels=sources.labels_of(config))
    log2_eta = math.frexp(config.schedule[-1][1])[1] - 1
    return _Source(freezing, write, Path(args.source).resolve().name, log2_eta, config.seed)


def _check_device(args: argparse.Namespace) -> None:
    if args.to != "c" and (args.train or args.ram or args.flash):
        raise UserError("--train, --ram and --flash belong to --to c")
    if not args.train and (args.train_from or args.batch_size != 1):
        raise UserError("--train-from and --batch-size belong to --train")


if __name__ == "__main__":
    sys.exit(main())
