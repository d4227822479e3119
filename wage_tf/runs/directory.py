"""A run directory: what was asked, what was measured, and the files in it.

config.json   the run's RunConfig            checkpoints/   the latest two states of the training
metrics.csv   one row per epoch              model.keras    the trained model
results.json  the figures at the end         tensorboard/   scalars, histograms, the graph
"""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path

import keras

from wage_tf import files
from wage_tf.errors import UserError
from wage_tf.runs.config import MAY_CHANGE_ON_RESUME, RunConfig
from wage_tf.runs.documents import Bits, Document, Natural, Words
from wage_tf.runs.model_file import load_model

_PACKAGES = ("wage-tf", "tensorflow", "keras", "numpy", "tensorflow-datasets")
_ADVICE = "restore it, or start a new run in another directory"

Row = dict[str, int | float]


class Results(Document):
    """The figures of a finished run; errors are in percent, None without a test set.

    Attributes:
        test_error: After the last epoch.
        best_test_error: The smallest of all epochs.
        best_epoch: The epoch of that.
        train_error: Of the last epoch.
        epochs: Epochs trained.
        seed: The run's.
        bits: The network's patterns.
        model: Name of the network.
        dataset: The run's.
        seconds: Wall-clock time of the training, stops not counted.
        versions: Of Python and of the packages that decide a result.
    """

    test_error: float | None
    best_test_error: float | None
    best_epoch: Natural | None
    train_error: float
    epochs: Natural
    seed: Natural
    bits: Bits
    model: Words
    dataset: Words
    seconds: float
    versions: dict[str, Words]

    def __str__(self) -> str:
        epochs, seconds = f"after {self.epochs} epochs", f"{self.seconds:.0f} s"
        if self.test_error is None:
            return f"training error {self.train_error:.2f}% {epochs}, {seconds}"
        best = f"best {self.best_test_error:.2f}% at epoch {self.best_epoch}"
        return f"test error {self.test_error:.2f}% {epochs}, {best}, {seconds}"


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
                f"run directory {self.path} already holds a run: go on with --resume, replace it with --overwrite, "
                "or give another --run-dir"
            )
        make_empty(self.path, "run")
        self.write_config(config)

    def read_config(self) -> RunConfig:
        """Reads the configuration.

        Raises:
            UserError: If there is no run here, or its configuration is damaged.
        """
        try:
            return RunConfig.read(self._config, _ADVICE)
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"run directory {self.path} holds no run (no config.json)") from None

    def write_config(self, config: RunConfig) -> None:
        """Writes the configuration."""
        config.write(self._config)

    def load_model(self) -> keras.Model:
        """Reads the trained model.

        Raises:
            UserError: If the run has not ended, or the model is damaged or not a Keras model.
        """
        if not self.model.is_file():
            raise UserError(f"{self.path} has no model.keras: train the run to its end first")
        return load_model(self.model)

    def clear(self) -> None:
        """Removes the run that is here, if there is one.

        Raises:
            UserError: If the directory holds anything that is not the run's, or a link; then nothing is removed.
        """
        if not self.holds_a_run():
            return
        self.read_config()
        folders = (self.checkpoints, self.tensorboard)
        own_files = (self.model, self._metrics, self._results, self._config)
        for path in sorted(self.path.iterdir()):
            if path.is_symlink() or (path not in folders + own_files and not files.is_unfinished(path)):
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
        earlier = self.read_config()
        if config.data is not None and earlier.data is not None:
            difference = config.data.difference_from(earlier.data)
            if difference is not None:
                raise UserError(
                    f"--resume: {config.dataset} is not the data that the run in {self.path} was started with: "
                    f"{difference}: restore it, or give another --run-dir"
                )
        if differs := config.first_difference(earlier, ("data", *MAY_CHANGE_ON_RESUME)):
            name, now, before = differs
            raise UserError(
                f"--resume: the run in {self.path} was started with {name} {before}, now it is {now}: "
                "give the same arguments, or another --run-dir"
            )

    def write_metrics(self, rows: Sequence[Row]) -> None:
        """Writes one row per epoch; floats as Python prints them, so that they read back exactly."""
        files.write_csv(self._metrics, rows)

    def write_results(self, results: Results) -> None:
        """Writes the figures of a finished run."""
        results.write(self._results)

    def read_results(self) -> Results | None:
        """Returns the figures of a finished run, None if it has not ended.

        Raises:
            UserError: If they are damaged.
        """
        try:
            return Results.read(self._results, "remove it to have it written again")
        except FileNotFoundError:
            return None


def make_empty(path: Path, kind: str) -> None:
    """Makes the directory of a new run or search, `kind`; only what a killed process left unfinished may be in it.

    Raises:
        UserError: If it holds other files, or cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(not files.is_unfinished(file) for file in path.iterdir()):
            raise UserError(f"run directory {path} is not empty and holds no {kind}: give another --run-dir")
    except OSError as error:
        raise UserError(f"run directory {path} cannot be written: {error.strerror}") from error


def summarize(config: RunConfig, rows: Sequence[Row], seconds: float) -> Results:
    """Returns the figures of a run.

    Args:
        config: The run's configuration.
        rows: One row per epoch, as in metrics.csv.
        seconds: Wall-clock time of the training, stops not counted.
    """
    last = rows[-1]
    tested = [row for row in rows if "test_error" in row]
    best = min(tested, key=lambda row: row["test_error"], default=None)
    return Results(
        test_error=last.get("test_error"),
        best_test_error=best["test_error"] if best else None,
        best_epoch=int(best["epoch"]) if best else None,
        train_error=last["train_error"],
        epochs=len(rows),
        seed=config.seed,
        bits=config.bits,
        model=config.model,
        dataset=config.dataset,
        seconds=round(seconds, 1),
        versions=versions(),
    )


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
