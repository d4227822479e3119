"""What the records of an experiment say: by variant the mean over seeds and its spread."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from experiments import results
from experiments.spec import Experiment, Run, Variant

NOT_RUN = "not run yet"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A variant and the records of its seeds.

    Attributes:
        variant: The variant.
        records: One for each seed that has been run.
    """

    variant: Variant
    records: tuple[dict, ...]

    @property
    def finished(self) -> list[dict]:
        """The records of the trainings that reached their end."""
        return [record for record in self.records if record["status"] == "done"]

    def values(self, figure: str) -> list[float]:
        """A figure of every finished seed that has it, such as `test_error`."""
        return [record[figure] for record in self.finished if record.get(figure) is not None]

    def mean(self, figure: str = "test_error") -> float | None:
        """Mean over the finished seeds; None without one."""
        values = self.values(figure)
        return float(np.mean(values)) if values else None

    def text(self, figure: str = "test_error") -> str:
        """Mean and spread for a table, or why there is none."""
        if not self.records:
            return f"{NOT_RUN}: needs {self.variant.needs}" if self.variant.needs else NOT_RUN
        diverged = [record for record in self.records if record["status"] == "diverged"]
        if diverged:
            epoch = min(record["epochs"] for record in diverged) + 1
            some = f" ({len(diverged)} of {len(self.records)} seeds)" if self.finished else ""
            return f"diverged in epoch {epoch}{some}"
        values = self.values(figure)
        if not values:
            return "no test images"
        spread = (max(values) - min(values)) / 2
        return f"{np.mean(values):.2f}" + (f" ± {spread:.2f}" if len(values) > 1 else "")

    def curve(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """Epochs [n] and a metric [seeds, n] of the finished seeds that have it for every epoch."""
        curves = [record["metrics"][metric] for record in self.records if record["metrics"].get(metric)]
        length = min(map(len, curves), default=0)
        return np.arange(1, length + 1), np.array([curve[:length] for curve in curves])


def outcomes(experiment: Experiment, folder: Path) -> list[Outcome]:
    """The outcomes of an experiment's variants, in their order."""
    return [
        Outcome(
            variant,
            tuple(
                record
                for seed in experiment.seeds
                if (record := results.read(folder, Run(experiment, variant, seed))) is not None
            ),
        )
        for variant in experiment.variants
    ]
