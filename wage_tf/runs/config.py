"""Everything that decides a run, resolved: what a run was trained with is in its config.json, and nowhere else."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from wage_tf import losses, models, schedules  # type: ignore[attr-defined]
from wage_tf.bits import NetworkBits
from wage_tf.datasets import Augmentation, Dataset
from wage_tf.datasets.recipe import Recipe
from wage_tf.errors import UserError
from wage_tf.runs import documents, version1
from wage_tf.runs.documents import (
    Bits,
    Count,
    Document,
    Etas,
    Gamma,
    Natural,
    PositiveFloat,
    Text,
    WidthMultiplier,
    Words,
)
from wage_tf.runs.source import Source
from wage_tf.schedules import Schedule

DEFAULT_BITS = NetworkBits.parse("2-8-8-8")
MAY_CHANGE_ON_RESUME = ("data_dir", "engine", "epochs", "checkpoint_steps", "histogram_freq")
_OF_RECIPE = ("model", "batch_size", "epochs", "schedule", "loss", "augmentation", "clip_outputs")


class Data(Document):
    """What a run's images were, so that others are not taken for them.

    Attributes:
        classes: Their names; the place of each is its label.
        input_shape: Height, width and channels.
        train_size: Number of training images.
        test_size: Number of test images.
        digest: `Dataset.digest`.
    """

    classes: tuple[Words, ...]
    input_shape: tuple[Count, Count, Count]
    train_size: Count
    test_size: Natural
    digest: Text

    @classmethod
    def of(cls, dataset: Dataset) -> Data:
        """Describes a data set."""
        return cls(
            classes=dataset.class_names,
            input_shape=dataset.input_shape,
            train_size=dataset.train_size,
            test_size=dataset.test_size,
            digest=dataset.digest,
        )

    def difference_from(self, other: Data) -> str | None:
        """What two data sets differ in, this one's first; None if in nothing."""
        names = {"input_shape": "image shape", "train_size": "number of training images", "test_size": "test images"}
        if self.classes != other.classes:
            mine, others = (", ".join(classes[:5]) for classes in (self.classes, other.classes))
            return f"classes {mine} ({len(self.classes)}), not {others} ({len(other.classes)})"
        for name, words in names.items():
            if getattr(self, name) != getattr(other, name):
                return f"{words} {getattr(self, name)}, not {getattr(other, name)}"
        return None if self.digest == other.digest else "other pixels or labels (by their digest)"


class RunConfig(Document):
    """Everything that decides a run, with the recipe's values filled in.

    Attributes:
        format: Version of this file.
        dataset: Name, or path of a folder of images.
        data_dir: Directory of TensorFlow Datasets; None for its default.
        limit: Number of training images; None for all.
        image_size: Side to which the images of a folder are scaled and cropped; None for as they are.
        data: What the images were; None in a run of version 0.1.
        source: The Keras model that the network is converted from; None for one of `models`.
        model: Name of the network.
        width: Multiplier of the hidden layers' units.
        bits: The network's patterns.
        beta: β of the initialization; None keeps Lmin at 0.75.
        factor: Factor of the fan-in limit: 1 in the authors' code, 2 in the paper.
        clip_bits: Stored weights are clipped to this many bits' grid: k_G in the paper; None for k_W.
        clip_outputs: Whether Q_A clips the network's outputs.
        gamma: γ, shifts the errors' upper bound (paper, section 4.4).
        random_width: Bits of the random integers of the stochastic rounding.
        engine: What computes the steps: Keras in float32, or the native integer engine.
        batch_size: Images per step.
        epochs: Passes over the training images.
        schedule: η by epoch.
        loss: A name in `losses.NAMED`.
        augmentation: What training images go through; None for nothing.
        seed: Decides the initial weights, the order and augmentation of the images and the stochastic rounding.
        checkpoint_steps: Steps between checkpoints within an epoch; 0 for the epoch's end only.
        histogram_freq: Epochs between histograms; 0 for none.
    """

    format: Literal[2]
    dataset: Text
    data_dir: Text | None
    limit: Count | None
    image_size: Count | None
    data: Data | None
    source: Source | None
    model: Text
    width: WidthMultiplier
    bits: Bits
    beta: PositiveFloat | None
    factor: PositiveFloat
    clip_bits: Annotated[int, Field(ge=1, le=16)] | None
    clip_outputs: bool
    gamma: Gamma
    random_width: Annotated[int, Field(ge=1, le=24)]
    engine: Literal["keras", "integer"]
    batch_size: Count
    epochs: Count
    schedule: Etas
    loss: Literal[tuple(losses.NAMED)]  # type: ignore[valid-type]
    augmentation: Augmentation | None
    seed: Natural
    checkpoint_steps: Natural
    histogram_freq: Natural

    @classmethod
    def from_json(cls, path: Path, content: bytes, advice: str) -> RunConfig:
        """As `Document.from_json`; what version 0.1 wrote is brought into today's form first."""
        return super().from_json(path, version1.upgraded(path, content), advice)

    @property
    def reconstructs(self) -> bool:
        """Whether the network gives back its images and has no classes."""
        return self.source is None and models.reconstructs(self.model)

    def check_data(self, dataset: Dataset) -> None:
        """Checks that a data set is the one that the run was started with.

        Raises:
            UserError: Names what differs.
        """
        if self.data is None:
            return
        difference = Data.of(dataset).difference_from(self.data)
        if difference is not None:
            raise UserError(f"{self.dataset} is not the data that the run was trained on: {difference}: restore it")

    def continuing(self, earlier: RunConfig, chosen: Collection[str]) -> RunConfig:
        """Returns the configuration that goes on with an earlier run: its recipe is that run's, not today's.

        Args:
            earlier: The run's configuration.
            chosen: Names of the fields that the user decides.
        """
        return self.model_copy(update={name: getattr(earlier, name) for name in _OF_RECIPE if name not in chosen})


def resolve(data: Data, recipe: Recipe, **chosen: Any) -> RunConfig:
    """Fills in what is not chosen.

    Args:
        data: What the images are.
        recipe: Gives network, batch, epochs, schedule, loss and augmentation.
        **chosen: Fields of RunConfig; None where they are left to the recipe.

    Raises:
        UserError: If a value is out of range.
    """
    given = {name: value for name, value in chosen.items() if value is not None}
    bits = given.get("bits", DEFAULT_BITS)
    source = given.get("source")
    model = Path(source.path).stem if source else given.get("model", recipe.model)
    loss = "sum_squared_error" if source is None and models.reconstructs(model) else recipe.loss
    defaults = {
        "format": 2,
        **dict.fromkeys(("data_dir", "limit", "image_size", "source", "beta", "clip_bits")),
        "data": data,
        "model": model,
        "width": 1.0,
        "bits": bits,
        "factor": 1.0,
        "clip_outputs": source is None and models.clips_outputs(model),
        "gamma": 1.0,
        "random_width": 16,
        "engine": "keras",
        "batch_size": recipe.batch_size,
        "epochs": recipe.epochs,
        "schedule": _schedule(recipe, bits, source),
        "loss": source.loss if source else loss,
        "augmentation": recipe.augmentation,
        "seed": 0,
        "checkpoint_steps": 0,
        "histogram_freq": 1,
    }
    try:
        return RunConfig(**{**defaults, **given})
    except pydantic.ValidationError as error:
        raise UserError(documents.describe(error)) from error


def _schedule(recipe: Recipe, bits: NetworkBits, source: Source | None) -> Schedule:
    """The recipe's; weights that are kept have little way to go: η begins at 1 (docs/convert.md)."""
    schedule = recipe.schedule_for(bits)
    keeps_weights = source is not None and source.weights == "keep"
    return schedules.scaled(schedule, 1 / recipe.schedule[0][1]) if keeps_weights else schedule


def is_known_to_be_unstable(config: RunConfig) -> bool:
    """Whether wide weights meet a β that does not grow with k_W, and so are small against the update's grid.

    That is k_W > 2 with k_G not above it.
    """
    return config.beta is not None and any(b.w and b.g and b.w > 2 and b.g <= b.w for b in config.bits.patterns)
