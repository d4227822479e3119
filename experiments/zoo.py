"""The pretrained networks of `wage_tf.zoo`: `python -m experiments.zoo train|add|measure|export|page`.

`train NAME` trains one by its entry in `NETWORKS` and packs it; `add NAME RUN_DIR` packs a run that has ended;
`measure` counts the errors of all on their test images again, in integers, and ends with exit code 1 where a card says
otherwise;
`export FOLDER` writes each in every form; `page` writes docs/zoo.md. A new network is one entry here.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import lzma
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from experiments import provenance, tables
from wage_tf import costs, datasets, files, integer, zoo
from wage_tf.export import Card
from wage_tf.export.forms import FORMS
from wage_tf.export.model import export_model
from wage_tf.export.packed import to_bytes
from wage_tf.runs.directory import RunDirectory

FOLDER = Path(zoo.__file__).parent
PAGE = provenance.ROOT / "docs" / "zoo.md"
_TEST_BATCH = 500


class Network(NamedTuple):
    """What trains a network, and the licence of its data.

    Attributes:
        arguments: Of train.py.
        data_licence: Whose the images are, and what is known of their terms.
        float_network: Arguments of `experiments.float_network`, which makes the Keras file that `arguments` names.
    """

    arguments: str
    data_licence: str
    float_network: str | None = None

    @property
    def commands(self) -> tuple[str, ...]:
        """In order, from the repository's root."""
        training = f"python train.py {self.arguments}"
        if self.float_network is None:
            return (training,)
        return f"python -m experiments.float_network {self.float_network}", training


_TEN = "--engine integer --epochs 10 --schedule 8@0,1@7,0.125@9 --seed 0"
_TWENTY = "--engine integer --epochs 20 --schedule 8@0,1@14,0.125@17 --seed 0"
_THIRTY = "--engine integer --epochs 30 --schedule 8@0,1@20,0.125@25 --seed 0"
_HUNDRED = "--engine integer --epochs 100 --schedule 8@0,1@67,0.125@84 --seed 0"
_PAPERS = "--engine integer --epochs 300 --schedule 8@0,1@200,0.125@250 --seed 0"
_MNIST = "MNIST by Y. LeCun and C. Cortes, CC BY-SA 3.0"
_FASHION = "Fashion-MNIST by Zalando SE, MIT"
_CIFAR10 = (
    "CIFAR-10 (a JPEG copy) by A. Krizhevsky, V. Nair and G. Hinton, who state no licence and ask to cite "
    "Learning multiple layers of features from tiny images, 2009"
)

NETWORKS = {
    "cnn-fashion_mnist": Network(
        "--dataset fashion_mnist --from runs/zoo/cnn.keras --epochs 8 --schedule 1@0,0.125@6 --seed 0",
        _FASHION,
        float_network="--dataset fashion_mnist --epochs 6 --seed 0 runs/zoo/cnn.keras",
    ),
    "lenet5-fashion_mnist": Network(f"--dataset fashion_mnist --model lenet5 {_TWENTY}", _FASHION),
    "lenet5-mnist": Network(f"--dataset mnist --model lenet5 {_HUNDRED}", _MNIST),
    "mlp-mnist": Network(f"--dataset mnist --model mlp {_TEN}", _MNIST),
    "resnet20-cifar10": Network(f"--dataset cifar10 --model resnet20 {_THIRTY}", _CIFAR10),
    "vgg7-0.25-cifar10": Network(f"--dataset cifar10 --model vgg7 --width 0.25 {_PAPERS}", _CIFAR10),
}


def train(name: str) -> None:
    """Trains a network and packs it; a second call goes on where the first was stopped."""
    run = provenance.ROOT / "runs" / "zoo" / name
    *before, training = NETWORKS[name].commands
    for command in before if not run.exists() else ():
        _run(command)
    _run(training, "--run-dir", str(run), "--resume")
    add(name, run, provenance.commit())


def _run(command: str, *more: str) -> None:
    _, *words = command.split()
    subprocess.run([sys.executable, *words, *more], cwd=provenance.ROOT, check=True)


def add(name: str, path: Path, commit: str | None) -> None:
    """Packs the model of a run that has ended, with its card."""
    run = RunDirectory(path)
    config, results, model = run.read_config(), run.read_results(), run.load_model()
    graph, cost = integer.freeze(model), costs.model_costs(model).total
    about = Card(name, str(config.bits), "", config.data.classes)
    content = lzma.compress(to_bytes(graph, about, accumulators=True), preset=9 | lzma.PRESET_EXTREME)
    card = {
        "name": name,
        "network": config.model,
        "bits": str(config.bits),
        "dataset": config.dataset,
        "labels": list(config.data.classes),
        "test_error": round(results.test_error, 4),
        "epochs": results.epochs,
        "command": " && ".join(NETWORKS[name].commands),
        "seed": config.seed,
        "commit": commit,
        "weights": cost.parameters,
        "size": len(to_bytes(graph, about)),
        "macs": cost.macs,
        "energy": round(cost.energy_inference, 4),
        "licence": f"weights: Apache-2.0; data: {NETWORKS[name].data_licence}",
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    document = {"card": card, "model": keras.saving.serialize_keras_object(model)}
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    files.write_all({FOLDER / f"{name}.wage.xz": content, FOLDER / f"{name}.json": text.encode()})
    print(f"{name}: {len(content):,} bytes compressed, test error {card['test_error']}%")


def measured_error(name: str, data_dir: str | None = None) -> float:
    """Percent of the data's test images that a network of the zoo gets wrong, computed in integers."""
    graph, wrong, size = zoo.graph(name), 0, 0
    for images, targets in datasets.load(zoo.card(name).dataset, data_dir=data_dir).test_batches(_TEST_BATCH):
        scores = integer.infer(graph, images.numpy(), backend="native")
        wrong += np.count_nonzero(scores.argmax(axis=1) != targets.numpy().argmax(axis=1))
        size += len(scores)
    return round(100 * wrong / size, 4)


def measure() -> int:
    """Prints the measured errors beside those of the cards; 1 where they differ."""
    differ = False
    for name in zoo.names():
        found, said = measured_error(name), zoo.card(name).test_error
        differ |= found != said
        print(f"{name:<24}measured {found:.2f}%   card {said:.2f}%   {'equal' if found == said else 'DIFFERENT'}")
    return int(differ)


def export(folder: Path) -> None:
    """Writes every network in every form."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in zoo.names():
        model, labels = zoo.load(name), zoo.card(name).labels
        for form, (suffix, _) in FORMS.items():
            print(export_model(model, folder / f"{name}{suffix}", form, name=name, labels=labels))


def page() -> str:
    """The table of docs/zoo.md."""
    head = ["name", "data", "bits", "weights", "packed", "MACs", "energy", "test error", "epochs"]
    rows = []
    for card in map(zoo.card, zoo.names()):
        sizes = [costs.human(card.weights), f"{card.size / 1000:,.0f} kB", costs.human(card.macs)]
        figures = [f"{card.energy:.3g} µJ", f"{card.test_error:.2f}%", str(card.epochs)]
        rows.append([f"`{card.name}`", card.dataset, card.bits, *sizes, *figures])
    return tables.table(head, rows)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.zoo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("train").add_argument("name", choices=NETWORKS)
    adding = commands.add_parser("add")
    adding.add_argument("name", choices=NETWORKS)
    adding.add_argument("run", type=Path)
    adding.add_argument("--commit", help="of the code that trained the run", default=provenance.commit())
    commands.add_parser("measure")
    commands.add_parser("export").add_argument("folder", type=Path)
    commands.add_parser("page")
    args = parser.parse_args(arguments)
    if args.command == "measure":
        return measure()
    if args.command == "train":
        train(args.name)
    elif args.command == "add":
        add(args.name, args.run, args.commit)
    elif args.command == "export":
        export(args.folder)
    else:
        PAGE.write_text(tables.in_place(PAGE.read_text(), "table", page()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
