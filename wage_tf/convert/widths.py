"""Which step of a network has which bit widths."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence

from wage_tf.bits import BitWidths
from wage_tf.convert.folding import in_order
from wage_tf.convert.steps import Pixels, Product, Step
from wage_tf.errors import UserError

Bits = BitWidths | str | Mapping[str, BitWidths | str]


def widths_of(output: Step, bits: Bits) -> dict[Step, BitWidths]:
    """The pattern of every step: of its own layer for a kernel, of the kernel before it for everything else.

    Args:
        output: The network.
        bits: One pattern, or a mapping from layers' names to patterns. A name is looked up as it is, then among the
            keys with wildcards ("block1_*") in their order, "*" last. "rescale" is the input's.

    Raises:
        UserError: If a layer has no pattern, or a key matches no layer.
    """
    widths: dict[Step, BitWidths] = {}
    used: set[str] = set()
    for step in in_order(output):
        if not isinstance(step, (Pixels, Product)):
            widths[step] = widths[step.inputs[0]]
        elif isinstance(bits, Mapping):
            keys = _matching(bits, [step.name, step.source] if isinstance(step, Product) else [step.name])
            used.update(keys)
            widths[step] = BitWidths.parse(bits[keys[0]])
        else:
            widths[step] = BitWidths.parse(bits)
    unused = [key for key in bits if key not in used and key != "*"] if isinstance(bits, Mapping) else []
    if unused:
        known = ", ".join(step.name for step in widths if isinstance(step, (Pixels, Product)))
        raise UserError(f"bits: {unused[0]!r} is the pattern of no layer; the model has {known}")
    return widths


def _matching(bits: Mapping[str, BitWidths | str], names: Sequence[str]) -> list[str]:
    """The keys that match one of a layer's names, in order of precedence."""
    exact = [name for name in names if name in bits]
    wild = [key for key in bits if key not in names and any(fnmatch.fnmatchcase(name, key) for name in names)]
    if not exact + wild:
        known = ", ".join(bits)
        raise UserError(f"bits: no pattern for the layer {names[0]!r} and no '*' for the rest; received {known}")
    return [*exact, *sorted(wild, key="*".__eq__)]
