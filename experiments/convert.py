"""Does keeping a float network's weights help? `python -m experiments.convert --dataset mnist`.

A small CNN with batch normalization is trained in float32, converted by `wage_tf.quantize_model` and trained further
with IntegerSGD: from its own weights and from fresh ones, batch normalization folded, left out or left in as float
layers, at two widths of the weights. The error of every epoch goes to `experiments/results/convert/`.
"""

from __future__ import annotations

import argparse
import itertools
import shlex
import sys
from collections.abc import Iterator, Sequence

from experiments import float_network, provenance
from wage_tf import convert, datasets, files
from wage_tf.datasets import Dataset
from wage_tf.metrics import ErrorRate
from wage_tf.optimizers import IntegerSGD
from wage_tf.runs.training import learning_rate

BITS = ("2-8-8-8", "8-8-8-8")
SCHEDULES = {"1@0": ((0, 1.0),), "8@0,1@2": ((0, 8.0), (2, 1.0))}
STARTS = {
    "kept": ({"weights": "keep"}, "1@0"),
    "fresh": ({"weights": "fresh"}, "8@0,1@2"),
    "kept-steep": ({"weights": "keep"}, "8@0,1@2"),
    "kept-no-bias": ({"weights": "keep", "use_bias": False}, "8@0,1@2"),
    "left-in": ({"weights": "keep", "fold": False}, "1@0"),
    "fresh-left-in": ({"weights": "fresh", "fold": False}, "8@0,1@2"),
}
_CALIBRATION_IMAGES = 256


def measure(
    dataset: Dataset,
    float_epochs: int,
    epochs: int,
    batch_size: int,
    seed: int,
    starts: Sequence[str] = tuple(STARTS),
    bits: Sequence[str] = BITS,
) -> Iterator[dict[str, object]]:
    """The float network's errors, then those and one start and width after the other."""
    model, floats = float_network.trained(dataset, float_epochs, batch_size, seed)
    figures = {"float": floats, "converted": []}
    print(f"float, {float_epochs} epochs: {figures['float']['errors'][-1]:.2f}% test error", flush=True)
    images, _ = dataset.probe_batch(_CALIBRATION_IMAGES)
    for start, widths in itertools.product(starts, bits):
        options, schedule = STARTS[start]
        converted = convert.quantize_model(model, widths, images=images, **options)
        rate = learning_rate(SCHEDULES[schedule], dataset.steps_per_epoch(batch_size))
        converted.compile(IntegerSGD(rate, bits=widths, seed=seed), convert.loss_for(model), metrics=[ErrorRate()])
        row = {"bits": widths, "start": start, "schedule": schedule}
        row |= float_network.train(converted, dataset, epochs, batch_size, seed)
        figures["converted"].append(row)
        print("|", *(f"{row[key]} |" for key in row), flush=True)
        yield figures


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.convert", description=__doc__.partition("\n")[0])
    parser.add_argument("--dataset", default="mnist", metavar="NAME|PATH")
    parser.add_argument("--float-epochs", type=int, default=4, metavar="N", help="of the float network (default 4)")
    parser.add_argument("--epochs", type=int, default=3, metavar="N", help="of each converted network (default 3)")
    parser.add_argument("--batch-size", type=int, default=128, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--limit", type=int, metavar="N", help="keep only the first N training images")
    parser.add_argument(
        "--starts", nargs="+", choices=STARTS, default=list(STARTS), metavar="NAME", help=", ".join(STARTS)
    )
    parser.add_argument("--bits", nargs="+", default=list(BITS), metavar="W-A-G-E")
    parser.add_argument("--record", metavar="NAME", help="name of the record (default: the data set and the seed)")
    settings = vars(parser.parse_args(argv))
    record = settings.pop("record") or f"{settings['dataset']}-s{settings['seed']}"
    path = provenance.ROOT / "experiments" / "results" / "convert" / f"{record}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    words = ["python", "-m", "experiments.convert", *(sys.argv[1:] if argv is None else argv)]
    head = provenance.head(shlex.join(words))
    dataset = datasets.load(settings.pop("dataset"), limit=settings.pop("limit"))
    for figures in measure(dataset, **settings):
        files.write_json(path, {**head, "figures": figures})


if __name__ == "__main__":
    main()
