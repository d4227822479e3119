"""The patterns that a search chooses from: widths of each operand, for the whole network or layer by layer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import keras

from wage_tf.bits import NetworkBits, width_of
from wage_tf.costs import model_costs
from wage_tf.errors import UserError
from wage_tf.layers import QActivation, QRescaling
from wage_tf.schedules import rate_text

OPERANDS = {"weights": "w", "activations": "a", "gradients": "g", "errors": "e"}
LEARNING_RATE = "learning_rate"
_FLOAT_BITS = 32

Values = Mapping[str, str]


def parse_widths(operand: str, text: str) -> tuple[str, ...]:
    """Reads `"2,4,f"` as the candidate widths of an operand, narrowest first, f (float32) last.

    Raises:
        UserError: If the list is empty, repeats a width or holds one that the operand cannot have.
    """
    entries = [entry.strip().lower() for entry in text.split(",")]
    if entries == [""]:
        raise UserError(f"--{operand}: a list of widths such as 2,4,8,f is wanted; received an empty one")
    widths = [_parse_width(operand, entry) for entry in entries]
    repeated = sorted({width for width in widths if widths.count(width) > 1}, key=bit_count)
    if repeated:
        raise UserError(f"--{operand}: {repeated[0]} is given more than once in {text!r}")
    return tuple(sorted(widths, key=bit_count))


def parse_operands(text: str) -> tuple[str, ...]:
    """Reads `"weights,activations"` as the operands that may differ from layer to layer.

    Raises:
        UserError: If one is no operand, is given twice, or is `gradients`: η goes with k_G, and a network has one η.
    """
    if not text.strip():
        return ()
    allowed = [operand for operand in OPERANDS if operand != "gradients"]
    operands = tuple(entry.strip() for entry in text.split(","))
    for operand in operands:
        if operand == "gradients":
            raise UserError("--per-layer: gradients have one width for all layers, as the learning rate goes with it")
        if operand not in allowed:
            raise UserError(f"--per-layer: {operand!r} is not one of {', '.join(allowed)}")
        if operands.count(operand) > 1:
            raise UserError(f"--per-layer: {operand} is given more than once in {text!r}")
    return operands


def parse_rates(text: str) -> tuple[float, ...]:
    """Reads `"1,8"` as candidates of η at k_G = 8; nothing means the recipe's.

    Raises:
        UserError: If one is no positive number, or is given twice.
    """
    entries = [entry.strip() for entry in text.split(",")] if text.strip() else []
    try:
        rates = tuple(float(entry) for entry in entries)
    except ValueError:
        rates = (math.nan,)
    if not all(0 < rate < math.inf for rate in rates) or len(set(rates)) < len(rates):
        raise UserError(f"--learning-rates: different positive numbers such as 1,8 are wanted; received {text!r}")
    return tuple(sorted(rates))


def bit_count(width: str) -> int:
    """The bits of a width; f has 32."""
    return _FLOAT_BITS if width == "f" else int(width)


def blocks_of(model: keras.Model) -> dict[str, tuple[str, ...]]:
    """Returns the names of the blocks in which each operand of a network occurs, in order.

    Activations occur where they are quantized: in the input's rescaling and wherever a block has a QActivation.
    """
    kernels = tuple(layer.name for layer in model_costs(model).layers)
    inputs = tuple(layer.name for layer in model.layers if isinstance(layer, QRescaling))
    quantized = [layer.name for layer in model.layers if isinstance(layer, QActivation)]
    activated = tuple(k for k in kernels if any(name.startswith(f"{k}_") for name in quantized))
    return {"weights": kernels, "activations": inputs + activated, "errors": kernels}


@dataclasses.dataclass(frozen=True)
class Pattern:
    """One choice of all widths.

    Attributes:
        name: W-A-G-E; widths that differ from layer to layer are joined by dots, as in "2.4.2-8.8.4-8-8".
        bits: The patterns of the network's blocks.
        learning_rate: η at k_G = 8; None for the recipe's schedule.
    """

    name: str
    bits: NetworkBits
    learning_rate: float | None


@dataclasses.dataclass(frozen=True)
class Candidates:
    """The space of a search.

    Args:
        widths: Candidate widths of each operand, narrowest first.
        per_layer: Operands that may differ from layer to layer.
        blocks: The blocks in which each of those occurs (`blocks_of`).
        learning_rates: Candidates of η at k_G = 8; none for the recipe's schedule.
    """

    widths: Mapping[str, Sequence[str]]
    per_layer: Sequence[str] = ()
    blocks: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    learning_rates: Sequence[float] = ()

    def choices(self) -> dict[str, tuple[str, ...]]:
        """Returns the candidates of every dimension: an operand, an operand of a block, the learning rate."""
        found = {name: tuple(self.widths[operand]) for operand in OPERANDS for name in self._names(operand)}
        if self.learning_rates:
            found[LEARNING_RATE] = tuple(map(rate_text, self.learning_rates))
        return found

    @property
    def size(self) -> int:
        """Number of patterns, learning rates counted as well."""
        return math.prod(len(values) for values in self.choices().values())

    def narrowest(self) -> dict[str, str]:
        """The choice of the smallest widths everywhere: no other costs less."""
        return {name: values[0] for name, values in self.choices().items()}

    def widest(self) -> dict[str, str]:
        """The choice of the largest widths everywhere: no other costs more."""
        return {name: values[-1] for name, values in self.choices().items()}

    def nearest_to(self, width: int) -> dict[str, str]:
        """The choice nearest to so many bits everywhere; of two as near, the narrower."""
        return {
            name: values[0] if name == LEARNING_RATE else min(values, key=lambda found: abs(bit_count(found) - width))
            for name, values in self.choices().items()
        }

    def pattern(self, values: Values) -> Pattern:
        """Returns the pattern of a choice; dimensions that `values` lacks take their only candidate."""
        chosen = {**self.narrowest(), **values}
        rate = float(chosen[LEARNING_RATE]) if self.learning_rates else None
        name = "-".join(".".join(chosen[name] for name in self._names(operand)) for operand in OPERANDS)
        if not self.per_layer:
            return Pattern(name, NetworkBits.parse(name), rate)
        blocks = dict.fromkeys(block for operand in self.per_layer for block in self.blocks[operand])
        bits = {block: self._bits_of(block, chosen) for block in (*blocks, "*")}
        return Pattern(name, NetworkBits.parse(bits), rate)

    def _names(self, operand: str) -> list[str]:
        return [f"{operand}/{block}" for block in self.blocks[operand]] if operand in self.per_layer else [operand]

    def _bits_of(self, block: str, chosen: Values) -> str:
        """The pattern of a block; an operand that does not occur in it has the width of its first block."""
        names = [self._names(operand) for operand in OPERANDS]
        own = [[name for name in every if name.endswith(f"/{block}")] or every for every in names]
        return "-".join(chosen[found[0]] for found in own)


def _parse_width(operand: str, entry: str) -> str:
    """Returns a width as Python prints it, which is the only way to write it."""
    letter = OPERANDS[operand]
    try:
        width = width_of(entry if entry == "f" else int(entry), letter)
        if entry not in ("f", str(width)):
            raise ValueError
    except ValueError:
        smallest = 1 if letter == "w" else 2
        raise UserError(f"--{operand}: integers {smallest} to 16, or f for float32; received {entry!r}") from None
    return entry
