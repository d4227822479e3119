"""The text of a comparison: its table, what training showed, where float32 was not exact, and the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wage_tf.integer.rows import Row

if TYPE_CHECKING:
    from wage_tf.integer.comparison import Comparison

_HEADER = ("layer", "operand", "bits", "codes met", "sums", "equal")


def report(comparison: Comparison) -> str:
    """The whole text."""
    return "\n".join(
        [
            table(comparison),
            f"\ninference: {comparison.images} images, every code of every layer",
            *_training_lines(comparison),
            *_inexact_lines(comparison),
            f"verdict: {verdict(comparison)}",
        ]
    )


def table(comparison: Comparison) -> str:
    """A row for every operand of every layer: width, codes met, bits of the sums, and whether all were equal."""
    names = [node.name for node in comparison.graph.nodes]
    order = ("W", "A", "sum", "E", "G", "stored", "bias G", "bias stored")
    rows = sorted(comparison.rows.values(), key=lambda row: (names.index(row.layer), order.index(row.operand)))
    lines = [_HEADER, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    sides = "<<>>><"
    return "\n".join(
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(line, sides, widths, strict=True)).rstrip()
        for line in lines
    )


def _cells(row: Row) -> tuple[str, ...]:
    sums = f"{row.sums.bit_length() + 1} bits{'' if row.sums_equal else ' NO'}" if row.sums else ""
    equal = "yes" if row.codes_equal else "NO"
    return (row.layer, row.operand, str(row.width), f"{row.low}..{row.high}", sums, equal)


def _training_lines(comparison: Comparison) -> list[str]:
    if comparison.floats:
        return ["training is not integers:", *comparison.floats]
    steps = comparison.steps
    if not steps.done:
        return []
    sizes = " to ".join(str(size) for size in sorted({min(steps.sizes), max(steps.sizes)}))
    lines = [
        f"training: {steps.done} steps of {sizes} images, "
        f"{steps.done - steps.differing} of them with equal stored weights at the end"
    ]
    where = ""
    if steps.every_code < steps.done:
        lines.append(f"  {steps.every_code} of them were compared in every code, the others in their stored weights")
        where = "in those "
    if not any(entry.past for (_, sums), entry in comparison.exactness.items() if sums == "gradient"):
        lines.append(f"  {where}no gradient sum could pass 2^24, where float32 stops being exact")
    return lines


def _inexact_lines(comparison: Comparison) -> list[str]:
    """A line for each kind of sums that float32 can get wrong, with the layers."""
    layers: dict[str, list[str]] = {}
    for (layer, sums), entry in comparison.exactness.items():
        if entry.past:
            count = f"{layer} in {entry.past} of {entry.batches} batches (Keras' differed in {entry.differed})"
            layers.setdefault(sums, []).append(count)
    return [
        f"  {sums} sums could pass 2^24, where float32 stops being exact: {', '.join(counts)}"
        for sums, counts in layers.items()
    ]


def verdict(comparison: Comparison) -> str:
    """One line: whether all was equal, and if not, which layers differ and whether float32 accounts for it."""
    if comparison.equal:
        if not comparison.steps.done and not comparison.floats:
            return "EQUAL in inference; training was not compared"
        return (
            "EQUAL in inference; training is NOT INTEGERS"
            if comparison.floats
            else "EQUAL: these are integers, bit for bit"
        )
    names = ", ".join(sorted({row.layer for row in comparison.rows.values() if not row.equal}))
    if not comparison.explained:
        return f"NOT EQUAL: {names}"
    inexact: dict[str, list[str]] = {}
    for (layer, sums), entry in comparison.exactness.items():
        if entry.past and entry.differed:
            inexact.setdefault(layer, []).append(sums)
    where = "; ".join(f"{layer} ({', '.join(sums)})" for layer, sums in inexact.items())
    return f"NOT EQUAL: {names}: Keras' float32 sums left the exact range, the integers did not: {where}"
