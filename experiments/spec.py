"""Reads the experiments: `experiments/<name>.toml`, each a few variants of one training, and what was published.

title = "..."               reproduces = "..."     figure = "curves"     axis = "k_G"
seeds = [0, 1]              seconds_per_epoch = 22                  hardware = "..."      note = "prose"
[settings]                  arguments of train.py that all variants share; `epochs` is required
[variants.NAME]             label, x (place on a sweep's axis), needs, settings
[[published]]               label, source, errors = { NAME = 0.40 }: test errors in percent
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

from wage_tf.cli import train
from wage_tf.errors import UserError

FOLDER = Path(__file__).resolve().parent
FIGURES = ("none", "curves", "sweep", "distributions")

_DEFAULT_BITS = "2,8,8,8"
_OF_THE_RUNNER = {"seed", "run_dir", "resume", "overwrite", "evaluate", "verbose", "histogram_freq"}
_SETTINGS = {"learning_rate", *vars(train.parser().parse_args([]))} - _OF_THE_RUNNER


@dataclasses.dataclass(frozen=True)
class Variant:
    """One training of an experiment.

    Attributes:
        name: Names its run directory and results.
        label: What tables and figures call it.
        x: Its place on the axis of a sweep; None elsewhere.
        needs: Data that few have: it is trained only where it is asked for by name.
        settings: Arguments of train.py, by their names with underscores.
    """

    name: str
    label: str
    x: float | None
    needs: str
    settings: Mapping[str, object]

    @property
    def epochs(self) -> int:
        """Passes over the training images."""
        return self.settings["epochs"]


@dataclasses.dataclass(frozen=True)
class Published:
    """Someone's test errors, in percent.

    Attributes:
        label: Whose they are.
        source: Where they stand.
        errors: By variant.
    """

    label: str
    source: str
    errors: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Experiment:
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
        variants: The trainings.
        published: What others measured.
    """

    name: str
    title: str
    reproduces: str
    note: str
    figure: str
    axis: str
    seeds: tuple[int, ...]
    seconds_per_epoch: float
    hardware: str
    variants: tuple[Variant, ...]
    published: tuple[Published, ...]

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
        for variant in self.variants:
            if variant.name == name:
                return variant
        known = ", ".join(variant.name for variant in self.variants)
        raise UserError(f"{self.name} has no variant {name!r}: choose from {known}")


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
    try:
        return _experiment(path.stem, given)
    except UserError as error:
        raise UserError(f"{path.name}: {error}") from None


def _experiment(name: str, given: dict) -> Experiment:
    shared = _table(given, "settings")
    variants = tuple(_variant(key, entry, shared) for key, entry in _table(given, "variants").items())
    if not variants:
        raise UserError("[variants.NAME] is missing: an experiment has at least one variant")
    known = {variant.name for variant in variants}
    published = tuple(_published(entry, known) for entry in _take(given, "published", list, []))
    result = Experiment(
        name=name,
        title=_take(given, "title", str),
        reproduces=_take(given, "reproduces", str, ""),
        note=_take(given, "note", str, ""),
        figure=_take(given, "figure", str, "none"),
        axis=_take(given, "axis", str, ""),
        seeds=tuple(_take(given, "seeds", list)),
        seconds_per_epoch=float(_take(given, "seconds_per_epoch", (int, float))),
        hardware=_take(given, "hardware", str),
        variants=variants,
        published=published,
    )
    _nothing_left(given, "the experiment")
    if not result.seeds or not all(type(seed) is int and seed >= 0 for seed in result.seeds):
        raise UserError(f"seeds: integers of at least 0; received {list(result.seeds)}")
    if result.figure not in FIGURES:
        raise UserError(f"figure: one of {', '.join(FIGURES)}; received {result.figure!r}")
    if result.figure == "sweep" and not (result.axis and all(variant.x is not None for variant in variants)):
        raise UserError("a sweep needs an axis, and an x in every variant")
    return result


def _variant(name: str, given: dict, shared: dict) -> Variant:
    if not isinstance(given, dict):
        raise UserError(f"variants.{name}: a table; received {given!r}")
    settings = {**shared, **_table(given, "settings")}
    label, x = _take(given, "label", str, name), _take(given, "x", (int, float), None)
    needs = _take(given, "needs", str, "")
    _nothing_left(given, f"variant {name}")
    for key in settings:
        if key not in _SETTINGS:
            raise UserError(f"variant {name}: settings has no {key!r}; there are {', '.join(sorted(_SETTINGS))}")
    if type(settings.get("epochs")) is not int or settings["epochs"] < 1:
        raise UserError(
            f"variant {name}: settings.epochs is an integer of at least 1; received {settings.get('epochs')}"
        )
    return Variant(name, label, x, needs, settings)


def _published(given: dict, variants: set[str]) -> Published:
    label, source, errors = _take(given, "label", str), _take(given, "source", str), _table(given, "errors")
    _nothing_left(given, f"published {label}")
    unknown = sorted(set(errors) - variants)
    if unknown:
        raise UserError(f"published {label}: there is no variant {unknown[0]!r}")
    return Published(label, source, errors)


_REQUIRED = object()


def _take(given: dict, key: str, kind: type | tuple[type, ...], default: object = _REQUIRED) -> object:
    if key not in given and default is not _REQUIRED:
        return default
    value = given.pop(key, None)
    if not isinstance(value, kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        raise UserError(f"{key}: {' or '.join(k.__name__ for k in kinds)} is wanted, received {value!r}")
    return value


def _table(given: dict, key: str) -> dict:
    return _take(given, key, dict, {})


def _nothing_left(given: dict, where: str) -> None:
    if given:
        raise UserError(f"{where} has unknown entries: {', '.join(given)}")
