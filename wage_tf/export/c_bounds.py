"""Whether 32 bits hold a device's sums of errors and gradients, whatever the data: decided before it is exported.

Gradients must stay within them; errors take 64 where 32 need not do. An error's fraction bits come with the data: Q_E
takes log2 of Shift off those of the sum, 0 to that of the largest sum. Where errors meet, their fractions therefore
differ by an amount of which only the range is known, and the coarser ones are shifted by up to that. The range is taken
relative to errors from which all that meet descend; in a residual block those of its output.
"""

from __future__ import annotations

from wage_tf.errors import UserError
from wage_tf.export.c_tail import Errors, Layer, Tail
from wage_tf.integer.arithmetic import shift_exponent
from wage_tf.integer.tensors import LARGEST_SUM

_CODE = 127
_SUM = 2**31 - 1
_WIDEST_SHIFT = 30

Range = tuple[int, int]


def check_bounds(tail: Tail, batch: int) -> bool:
    """Whether sums of errors can pass 32 bits.

    Raises:
        UserError: If they can pass 62, or gradients 32; the message names the layer, and the largest batch that can be.
    """
    for errors in tail.errors:
        if not 0 <= errors.stage.rounding.shift <= _WIDEST_SHIFT:
            raise UserError(f"device training: {errors.stage.name}: sums that are not rounded by 0 to 30 bits")
    for layer in tail.trained:
        gradients = batch * layer.positions * _CODE * layer.errors.limit
        if gradients > _SUM:
            most = _SUM // (gradients // batch)
            raise UserError(f"device training: {layer.name}: gradients of a batch over {most} can pass 32 bits")
    return _largest_errors(tail) > _SUM


def _largest_errors(tail: Tail) -> int:
    """A bound on the scores' errors and on all sums of errors, those that meet aligned."""
    largest = 0
    ranges: dict[Errors, dict[Errors, Range]] = {}  # of fractions, by what they are relative to
    for errors in tail.errors:
        readers = [layer for layer, _ in errors.sources]
        known = {start: found for start, found in ranges.items() if all(layer.errors in found for layer in readers)}
        bound = min(_bound(readers, found) for found in known.values()) if readers else _loss_bound(errors)
        if bound >= LARGEST_SUM:
            raise UserError(f"device training: {errors.stage.name}: errors can pass 62 bits")
        largest = max(largest, bound)
        for found in known.values() if readers else ():
            found[errors] = _fractions(errors, readers, found)
        ranges[errors] = {errors: (0, 0)}
    return largest


def _loss_bound(errors: Errors) -> int:
    """A bound on the scores' errors y - t, where t is 0 or 1 in the scores' units."""
    scores = errors.stage.signal
    return scores.largest + (1 << scores.fraction)


def _bound(readers: list[Layer], ranges: dict[Errors, Range]) -> int:
    """A bound on the sum of what several readers say, brought to the finest of their fractions."""
    return sum(layer.errors.limit * layer.gain << _shift(layer, readers, ranges) for layer in readers)


def _fractions(errors: Errors, readers: list[Layer], ranges: dict[Errors, Range]) -> Range:
    """Of the codes after Q_E: the coarsest that the largest sum gives, the finest of a sum of 1."""
    lows = [ranges[layer.errors][0] + layer.fraction for layer in readers]
    low, high = max(lows), max(ranges[layer.errors][1] + layer.fraction for layer in readers)
    sizes = (layer.errors.limit * layer.gain << low - own for layer, own in zip(readers, lows, strict=True))
    width = errors.limit.bit_length()
    return low - shift_exponent(sum(sizes)) + width, high + width


def _shift(layer: Layer, readers: list[Layer], ranges: dict[Errors, Range]) -> int:
    """The most by which what a layer says is shifted."""
    found = [0]
    for other in readers:
        apart = 0 if other.errors is layer.errors else ranges[other.errors][1] - ranges[layer.errors][0]
        found.append(apart + other.fraction - layer.fraction)
    return max(found)
