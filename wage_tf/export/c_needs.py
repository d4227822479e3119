"""What a device needs for a network: flash, RAM, stack, multiply-accumulates; and what of it fits."""

from __future__ import annotations

import bisect
import dataclasses

from wage_tf.errors import UserError
from wage_tf.export.c_kinds import is_in_fours
from wage_tf.export.c_layout import Layout
from wage_tf.export.c_tail import Training
from wage_tf.integer.graph import Graph
from wage_tf.integer.nodes import AveragePool2D, Flatten, MaxPool2D, Product, Rescale, Reshape

_CODE, _TRAINING_CODE, _WIDE_CODE = 3072, 4352, 1024
_PRODUCT_CODE, _POOL_CODE, _LOOP_CODE = 512, 512, 160
_STACK, _TRAINING_STACK = 640, 1280
_STEP_BYTES, _LAYER_BYTES, _CODES = 112, 192, 256
_STATE, _FUNCTIONS = 8, 2


@dataclasses.dataclass(frozen=True)
class Needs:
    """What a network needs on a device.

    Attributes:
        weights: Bytes of flash for weights: packed ones, and stored ones as they are at the start.
        code: Bytes of flash for code and tables, rounded up; measured with gcc -O2 for Cortex-M4.
        arena: Bytes of RAM for activations, gates and errors, and the row of unpacked weights.
        stored: Bytes of RAM for stored weights.
        stack: Bytes of stack, rounded up; measured in the same way.
        macs: Multiply-accumulates of one inference.
        step_macs: Those of one training step by its number of images; empty for inference alone.
        largest: The trained layer with the most stored weights; None for inference alone.
    """

    weights: int
    code: int
    arena: int
    stored: int
    stack: int
    macs: int
    step_macs: dict[int, int]
    largest: str | None

    @property
    def flash(self) -> int:
        """Bytes."""
        return self.weights + self.code

    @property
    def ram(self) -> int:
        """Bytes without the stack."""
        return self.arena + self.stored + (_STATE if self.stored else 0)

    def __str__(self) -> str:
        lines = [
            f"flash: {self.flash:,} bytes: weights {self.weights:,}, code and tables about {self.code:,}",
            f"RAM:   {self.ram:,} bytes: activations and errors {self.arena:,}, stored weights {self.stored:,}; "
            f"and about {self.stack:,} of stack",
            f"MACs:  {self.macs:,} an image"
            + "".join(f", {macs:,} a training step of {count}" for count, macs in self.step_macs.items()),
        ]
        return "\n".join(lines)


def needs_of(layout: Layout) -> Needs:
    """What a layout needs."""
    layers, counts = layout.layers, sorted({1, layout.training.batch}) if layout.training else []
    code = _inference_code(layout)
    if layout.tail is not None:
        code += _TRAINING_CODE + _CODES + len(layout.tail.layers) * _LAYER_BYTES
        code += _WIDE_CODE if layout.tail.is_wide else 0
    return Needs(
        weights=layout.weight_bytes + layout.stored_bytes,
        code=code,
        arena=layout.buffer_bytes,
        stored=layout.stored_bytes,
        stack=_TRAINING_STACK if layers else _STACK,
        macs=layout.network.macs,
        step_macs={count: _step_macs(layout, count) for count in counts},
        largest=max(layers, key=lambda layer: layer.stored_bytes).name if layers else None,
    )


def _inference_code(layout: Layout) -> int:
    """Bytes of flash: a function for every pair of types that meet, the steps' tables, and a loop for all else."""
    dtypes, code, functions = layout.memory.dtypes, _CODE, set()
    for stage in layout.network.stages:
        if isinstance(stage.node, Rescale):
            code += 256
        elif isinstance(stage.node, Product):
            functions.add((is_in_fours(stage, layout.memory), *(dtypes[name] for name in (*stage.inputs, stage.name))))
            code += _STEP_BYTES
        elif isinstance(stage.node, (AveragePool2D, MaxPool2D)):
            code += _POOL_CODE
        elif not isinstance(stage.node, (Flatten, Reshape)):
            code += _LOOP_CODE
    return code + _PRODUCT_CODE * max(0, len(functions) - _FUNCTIONS)


def _step_macs(layout: Layout, count: int) -> int:
    """The forward pass, and twice the errors of the trained layers' inputs where they are needed, and the gradients.

    Of a pooling's window one place has an error.
    """
    passing = layout.tail.passing
    sizes = {layer: layer.positions * layer.kernel.value.codes.size for layer in layout.layers}
    errors = sum(size for layer, size in sizes.items() if layer in passing)
    return count * (layout.network.macs + 2 * errors + 2 * sum(sizes.values()))


def require_fit(graph: Graph, training: Training | None, ram: int | None, flash: int | None) -> Needs:
    """What a network needs, where that is no more than a device has.

    Args:
        graph: The network.
        training: How it is trained; None for inference alone.
        ram: Bytes that the device has, the stack's included; None for any number.
        flash: The same of flash.

    Raises:
        UserError: If it does not fit; the message names the layer with the most weights, and says which `train_from` or
            batch would fit.
    """
    layout = Layout.of(graph, training)
    needs = needs_of(layout)
    over = _over(needs, ram, flash)
    if over is None:
        return needs
    raise UserError(f"device: {over}{_largest_part(needs, training)}; {_advice(graph, layout, ram, flash)}")


def _largest_part(needs: Needs, training: Training | None) -> str:
    if training is None:
        return ""
    if needs.arena > needs.stored:
        return f", the most of it for the batch of {training.batch}"
    return f", the most of it for the stored weights of {needs.largest}"


def _over(needs: Needs, ram: int | None, flash: int | None) -> str | None:
    if ram is not None and needs.ram + needs.stack > ram:
        return f"{needs.ram + needs.stack:,} bytes of RAM are needed, stack included, and there are {ram:,}"
    if flash is not None and needs.flash > flash:
        return f"{needs.flash:,} bytes of flash are needed, and there are {flash:,}"
    return None


def _advice(graph: Graph, layout: Layout, ram: int | None, flash: int | None) -> str:
    training = layout.training
    if training is None:
        return "a narrower network or fewer bits a weight would fit"
    names = [layer.name for layer in layout.layers]
    found = []
    batch = _largest_batch(graph, training, ram, flash)
    if batch:
        found.append(f"a batch of {batch} with train_from = {names[0]}")
    later = (name for name in names[1:] if _fits(graph, dataclasses.replace(training, train_from=name), ram, flash))
    name = next(later, None)
    if name:
        found.append(f"train_from = {name} with a batch of {training.batch}")
    return f"{' or '.join(found)} would fit" if found else _without_batch(graph, training, names, ram, flash)


def _without_batch(graph: Graph, training: Training, names: list[str], ram: int | None, flash: int | None) -> str:
    for name in names[1:]:
        batch = _largest_batch(graph, dataclasses.replace(training, train_from=name), ram, flash)
        if batch:
            return f"train_from = {name} with a batch of {batch} would fit"
    return f"not even {names[-1]} alone at a batch of 1 fits"


def _largest_batch(graph: Graph, training: Training, ram: int | None, flash: int | None) -> int:
    """The most images of a step that fit, 0 where not even one does."""

    def is_over(batch: int) -> bool:
        return not _fits(graph, dataclasses.replace(training, batch=batch), ram, flash)

    return bisect.bisect_left(range(1, training.batch), True, key=is_over)


def _fits(graph: Graph, training: Training, ram: int | None, flash: int | None) -> bool:
    return _over(needs_of(Layout.of(graph, training)), ram, flash) is None
