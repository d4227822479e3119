"""Reads the experiments: `experiments/<name>.toml`, each a few variants of one training, and what was published.

title = "..."               reproduces = "..."     figure = "curves"     axis = "k_G"
seeds = [0, 1]              seconds_per_epoch = 22                  hardware = "..."      note = "prose"
[settings]                  arguments of train.py that all variants share; `epochs` is required
[variants.NAME]             label, x (place on a sweep's axis), needs, settings
[[published]]               label, source, errors = { NAME = 0.40 }: test errors in percent
"""

from __future__ import annotations

import dataclasses
import json
import os
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

import pydantic
from pydantic import Field, field_validator, model_validator

from wage_tf.cli import train
from wage_tf.errors import UserError
from wage_tf.runs import documents
from wage_tf.runs.documents import Document, Natural, Text

FOLDER = Path(__file__).resolve().parent

_DEFAULT_BITS = "2,8,8,8"
_OF_THE_RUNNER = {"seed", "run_dir", "resume", "overwrite", "evaluate", "verbose", "histogram_freq"}
_SETTINGS = {"learning_rate", *vars(train.parser().parse_args([]))} - _OF_THE_RUNNER


class Variant(Document):
    """One training of an experiment.

    Attributes:
        name: Names its run directory and results.
        label: What tables and figures call it.
        x: Its place on the axis of a sweep; None elsewhere.
        needs: Data that few have: it is trained only where it is asked for by name.
        settings: Arguments of train.py, by their names with underscores.
    """

    name: Text
    label: Text
    x: int | float | None = None
    needs: str = ""
    settings: dict[str, bool | int | float | str]

    @field_validator("settings")
    @classmethod
    def _are_arguments(cls, settings: dict[str, object]) -> dict[str, object]:
        unknown = sorted(settings.keys() - _SETTINGS)
        if unknown:
            raise ValueError(f"settings has no {unknown[0]!r}; there are {', '.join(sorted(_SETTINGS))}")
        epochs = settings.get("epochs")
        if type(epochs) is not int or epochs < 1:
            raise ValueError(f"epochs is an integer of at least 1; received {epochs}")
        return settings

    @property
    def epochs(self) -> int:
        """Passes over the training images."""
        return self.settings["epochs"]


class Published(Document):
    """Someone's test errors, in percent.

    Attributes:
        label: Whose they are.
        source: Where they stand.
        errors: By variant.
    """

    label: Text
    source: Text
    errors: dict[str, float]


class Experiment(Document):
    """A declarative experiment.

    Attributes:
        name: Name of its file.
        title: Heading of its section in the results.
        reproduces: The paper's table or figure; empty where it has none.
        note: Prose of its section.
        figure: `none`, `curves`, `sweep` or `distributions`.
        axis: What a sweep varies.
        seeds: Every variant is trained with each.
        seconds_per_epoch: Expected time, on `hardware`.
        hardware: Where that time was taken.
        table: The trainings by name, `variants` in the file.
        published: What others measured.
    """

    name: str
    title: Text
    reproduces: str = ""
    note: str = ""
    figure: Literal["none", "curves", "sweep", "distributions"] = "none"
    axis: str = ""
    seeds: Annotated[tuple[Natural, ...], Field(min_length=1)]
    seconds_per_epoch: float
    hardware: Text
    table: Annotated[dict[str, Variant], Field(min_length=1, alias="variants")]
    published: tuple[Published, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.figure == "sweep" and not (self.axis and all(variant.x is not None for variant in self.variants)):
            raise ValueError("a sweep needs an axis, and an x in every variant")
        for entry in self.published:
            for name in sorted(entry.errors.keys() - self.table.keys()):
                raise ValueError(f"published {entry.label}: there is no variant {name!r}")
        return self

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The trainings."""
        return tuple(self.table.values())

    @property
    def minutes(self) -> float:
        """Expected time of all runs one after the other."""
        epochs = sum(variant.epochs for variant in self.variants if not variant.needs)
        return len(self.seeds) * epochs * self.seconds_per_epoch / 60

    def variant(self, name: str) -> Variant:
        """Finds a variant.

        Raises:
            UserError: If there is none of this name.
        """
        if name not in self.table:
            raise UserError(f"{self.name} has no variant {name!r}: choose from {', '.join(self.table)}")
        return self.table[name]


@dataclasses.dataclass(frozen=True)
class Run:
    """A variant with a seed: what is trained, recorded and resumed."""

    experiment: Experiment
    variant: Variant
    seed: int

    def __str__(self) -> str:
        return f"{self.variant.name}-s{self.seed}"

    @property
    def arguments(self) -> list[str]:
        """The training's arguments; `$VARIABLES` of the environment as they are written."""
        given = {**self.variant.settings, "seed": self.seed, "histogram_freq": 0}
        return [word for name, value in given.items() for word in _argument(name.replace("_", "-"), value)]

    @property
    def training(self) -> dict[str, object]:
        """What decides the training: equal ones end in the same weights, whatever experiment they belong to."""
        return {"bits": _DEFAULT_BITS, **self.variant.settings, "seed": self.seed}


def _argument(flag: str, value: object) -> list[str]:
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    return [f"--{flag}", str(value)]


def names() -> list[str]:
    """Names of all experiments."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str | os.PathLike) -> Experiment:
    """Reads an experiment by name, or the `.toml` file at a path.

    Raises:
        UserError: If there is none, or an entry of it is missing, unknown or of the wrong type.
    """
    path = Path(name) if str(name).endswith(".toml") else FOLDER / f"{name}.toml"
    try:
        given = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"there is no experiment {str(name)!r}: choose from {', '.join(names())}") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path.name}: {error}") from None
    shared, variants = given.pop("settings", {}), given.get("variants")
    if isinstance(shared, dict) and isinstance(variants, dict):
        given["variants"] = {name: _of_variant(name, entry, shared) for name, entry in variants.items()}
    try:
        return Experiment.model_validate_json(json.dumps({"name": path.stem, **given}))
    except pydantic.ValidationError as error:
        raise UserError(f"{path.name}: {documents.describe(error)}") from None


def _of_variant(name: str, entry: object, shared: dict[str, object]) -> object:
    """A variant's entries with its name and the shared settings; what is no table is left to be refused."""
    own = entry.get("settings", {}) if isinstance(entry, dict) else None
    return {"name": name, "label": name, **entry, "settings": {**shared, **own}} if isinstance(own, dict) else entry
