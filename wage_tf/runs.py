"""A run directory: what was asked, what was measured, and the files in it.

config.json   the run's RunConfig            checkpoints/   the latest two states of the training
metrics.csv   one row per epoch              model.keras    the trained model
results.json  the figures at the end         tensorboard/   scalars, histograms, the graph
"""

from __future__ import annotations

import csv
import dataclasses
import importlib.metadata
import io
import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from wage_tf import files
from wage_tf.errors import UserError

_MAY_CHANGE_ON_RESUME = {"data_dir", "epochs", "checkpoint_steps", "histogram_freq"}
_RESULTS = ("test_error", "best_test_error", "best_epoch", "train_error", "epochs", "seconds", "versions")
_PACKAGES = ("wage-tf", "tensorflow", "keras", "numpy", "tensorflow-datasets")

Row = dict[str, float]


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run, with the recipe's values filled in.

    Attributes:
        dataset: Name, or path of a folder of images.
        data_dir: Directory of TensorFlow Datasets; None for its default.
        bits: Pattern, or mapping from block names to patterns with "*" for the rest.
        beta: β of the initialization; None keeps Lmin at 0.75.
        model: Name of the network.
        width: Multiplier of the hidden layers' units.
        batch_size: Images per step.
        epochs: Passes over the training images.
        schedule: "ETA@EPOCH,..."; see `recipes.parse_schedule`.
        seed: Decides the initial weights, the order and augmentation of the images and the stochastic rounding.
        limit: Number of training images; None for all.
        image_size: Side to which the images of a folder are scaled and cropped; None for as they are.
        checkpoint_steps: Steps between checkpoints within an epoch; 0 for the epoch's end only.
        histogram_freq: Epochs between histograms; 0 for none.
    """

    dataset: str
    data_dir: str | None
    bits: str | Mapping[str, str]
    beta: float | None
    model: str
    width: float
    batch_size: int
    epochs: int
    schedule: str
    seed: int
    limit: int | None
    image_size: int | None
    checkpoint_steps: int
    histogram_freq: int


class RunDirectory:
    """The files of one run.

    Args:
        path: The directory; made by `create`.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.model = self.path / "model.keras"
        self._config = self.path / "config.json"
        self._metrics = self.path / "metrics.csv"
        self._results = self.path / "results.json"

    def holds_a_run(self) -> bool:
        """Whether a run was started here."""
        return self._config.exists()

    def create(self, config: RunConfig) -> None:
        """Makes the directory for a new run.

        Raises:
            UserError: If it holds another run or other files, or cannot be written.
        """
        if self.holds_a_run():
            raise UserError(
                f"run directory {self.path} already holds a run: continue it with --resume, or give another --run-dir"
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if any(not files.is_unfinished(path) for path in self.path.iterdir()):
                raise UserError(f"run directory {self.path} is not empty and holds no run: give another --run-dir")
            self.write_config(config)
        except OSError as error:
            raise UserError(f"run directory {self.path} cannot be written: {error.strerror}") from error

    def read_config(self) -> RunConfig:
        """Reads the configuration.

        Raises:
            UserError: If there is no run here, or its configuration is damaged.
        """
        try:
            return RunConfig(**json.loads(self._config.read_text()))
        except FileNotFoundError:
            raise UserError(f"run directory {self.path} holds no run (no config.json)") from None
        except (ValueError, TypeError, OSError) as error:
            raise UserError(f"{self._config} is damaged or of another version: {error}") from error

    def write_config(self, config: RunConfig) -> None:
        """Writes the configuration."""
        files.write_json(self._config, dataclasses.asdict(config))

    def clear(self) -> None:
        """Removes the run that is here, if there is one.

        Raises:
            UserError: If the directory holds anything that is not the run's; then nothing is removed.
        """
        if not self.holds_a_run():
            return
        self.read_config()
        folders = (self.checkpoints, self.tensorboard)
        own_files = (self.model, self._metrics, self._results, self._config)
        for path in sorted(self.path.iterdir()):
            if path not in folders + own_files and not files.is_unfinished(path):
                raise UserError(
                    f"--overwrite: {path} is not a file of the run: move it away, or give another --run-dir"
                )
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        files.remove_unfinished(self.path)
        for path in own_files:
            path.unlink(missing_ok=True)

    def check_resumable(self, config: RunConfig) -> None:
        """Checks that `config` continues the run that is here.

        Raises:
            UserError: Names the first setting that differs.
        """
        earlier = dataclasses.asdict(self.read_config())
        for name, value in dataclasses.asdict(config).items():
            if name not in _MAY_CHANGE_ON_RESUME and value != earlier[name]:
                flag = name.replace("_", "-")
                raise UserError(
                    f"--resume: the run in {self.path} was started with {flag} {earlier[name]}, now it is {value}: "
                    f"give the same arguments, or another --run-dir"
                )

    def write_metrics(self, rows: Sequence[Row]) -> None:
        """Writes one row per epoch; floats as Python prints them, so that they read back exactly."""
        text = io.StringIO(newline="")
        if rows:
            writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        files.write_bytes(self._metrics, text.getvalue().encode())

    def write_results(self, results: Mapping[str, object]) -> None:
        """Writes the figures of a finished run."""
        files.write_json(self._results, results)

    def read_results(self) -> dict[str, object] | None:
        """Returns the figures of a finished run, None if it has not ended.

        Raises:
            UserError: If they are damaged.
        """
        try:
            found = json.loads(self._results.read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise UserError(f"{self._results} is damaged: {error}") from error
        missing = [name for name in _RESULTS if not isinstance(found, dict) or name not in found]
        if missing:
            raise UserError(f"{self._results} is damaged: it has no {missing[0]!r}")
        return found


def summarize(config: RunConfig, rows: Sequence[Row], seconds: float) -> dict[str, object]:
    """Returns the contents of results.json; errors are in percent, None without a test set.

    Args:
        config: The run's configuration.
        rows: One row per epoch, as in metrics.csv.
        seconds: Wall-clock time of the training, stops not counted.
    """
    last = rows[-1]
    tested = [row for row in rows if "test_error" in row]
    best = min(tested, key=lambda row: row["test_error"], default=None)
    return {
        "test_error": last.get("test_error"),
        "best_test_error": best and best["test_error"],
        "best_epoch": best and best["epoch"],
        "train_error": last["train_error"],
        "epochs": len(rows),
        "seed": config.seed,
        "bits": config.bits,
        "model": config.model,
        "dataset": config.dataset,
        "seconds": round(seconds, 1),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
