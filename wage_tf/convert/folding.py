"""What is done to a network as a whole before it is quantized: folding, leaving out, and grids for the products."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras

from wage_tf.convert.steps import FRESH, Activation, Affine, Map, Passing, Product, Step, cannot


def in_order(output: Step) -> list[Step]:
    """All steps of a network, each after its inputs."""
    found: dict[Step, None] = {}
    pending = [output]
    while pending:
        step = pending[-1]
        before = [each for each in step.inputs if each not in found]
        if before:
            pending.extend(before)
        else:
            found[pending.pop()] = None
    return list(found)


def rebuilt(output: Step, change: Callable[[Step, tuple[Step, ...]], Step]) -> Step:
    """The network with every step replaced by `change(step, its changed inputs)`."""
    changed: dict[Step, Step] = {}
    for step in in_order(output):
        changed[step] = change(step, tuple(changed[each] for each in step.inputs))
    return changed[output]


def fold(output: Step) -> Step:
    """Folds batch normalization, rescaling and normalization into the kernels and biases.

    Raises:
        UserError: If one cannot be folded.
    """
    maps: dict[Step, Map] = {}
    folded: dict[Step, Step] = {}
    for step in in_order(output):
        inputs = tuple(folded[each] for each in step.inputs)
        folded[step], maps[step] = step.fold(inputs, [maps[each] for each in step.inputs])
    if not maps[output].is_identity():
        raise cannot(output.name, "a batch normalization or rescaling at the end cannot be folded", FRESH)
    return folded[output]


def without_affines(output: Step) -> Step:
    """The network without batch normalization, rescaling and normalization."""
    return rebuilt(
        output,
        lambda step, inputs: inputs[0] if isinstance(step, Affine) else dataclasses.replace(step, inputs=inputs),
    )


def behind_kernels(output: Step) -> set[Step]:
    """The steps from which no kernel leads to the output: back to the last kernels, these included."""
    found = {output}
    pending = [output]
    while pending:
        step = pending.pop()
        before = set() if isinstance(step, Product) else set(step.inputs) - found
        found |= before
        pending.extend(before)
    return found


def with_scores_as_they_are(output: Step) -> Step:
    """The network without a grid behind its last kernels, where nothing could take its scale off the scores again."""
    last = behind_kernels(output)

    def change(step: Step, inputs: tuple[Step, ...]) -> Step:
        if not isinstance(step, Activation) or step not in last:
            return dataclasses.replace(step, inputs=inputs)
        config = {"max_value": 6.0 if step.function == "relu6" else None}
        return Passing(name=step.name, inputs=inputs, shape=step.shape, layer_class=keras.layers.ReLU, config=config)

    return rebuilt(output, change)


def with_quantized_inputs(output: Step) -> Step:
    """The network in which every product's input lies on the grid: where it does not, an activation puts it there."""
    on_grid: dict[Step, bool] = {}
    inserted: dict[Step, Step] = {}

    def change(step: Step, inputs: tuple[Step, ...]) -> Step:
        if isinstance(step, Product) and not on_grid[inputs[0]]:
            (before,) = inputs
            if before not in inserted:
                name = f"{before.name}_quantized"
                inserted[before] = Activation(name=name, inputs=inputs, shape=before.shape, function=None)
            inputs = (inserted[before],)
        changed = dataclasses.replace(step, inputs=inputs)
        quantized = step.is_quantized
        on_grid[changed] = all(on_grid.get(each, True) for each in inputs) if quantized is None else quantized
        return changed

    return rebuilt(output, change)


def without_biases(output: Step) -> Step:
    """The network whose products have none."""

    def change(step: Step, inputs: tuple[Step, ...]) -> Step:
        if isinstance(step, Product):
            return dataclasses.replace(step, inputs=inputs, bias=None)
        return dataclasses.replace(step, inputs=inputs)

    return rebuilt(output, change)
