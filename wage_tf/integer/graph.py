"""A network as a graph of integer nodes, each a small dataclass of NumPy integer arrays and Python integers.

Every tensor is an array of integer codes c with one number of fraction bits f, of values c·2^(−f) (`tensors.Tensor`).
Forward, f is fixed by the graph. Backward it comes with the data and may be negative: the error of the loss has f of
the scores, and Q_E keeps Shift(max|e|). An exponent is −f.

| node          | forward                            | f forward   | backward                   | f backward |
| ------------- | ---------------------------------- | ----------- | -------------------------- | ---------- |
| Rescale       | codes[pixel], 256 entries          | width − 1   | none: the input            |            |
| Conv2D, Dense | sums of products; adds the bias    | f_x + f_w   | sums of products           | f_e + f_w  |
| MaxPool2D     | maximum                            | f_x         | to the first maximum       | f_e        |
| AveragePool2D | sum of a window of 2^n             | f_x + n     | to all of the window       | f_e + n    |
| Flatten       | to one axis                        | f_x         | back                       | f_e        |
| Reshape       | to `shape`                         | f_x         | back                       | f_e        |
| ZeroPad2D     | zeros around                       | f_x         | the inner part             | f_e        |
| Add           | all shifted to the largest f, sum  | largest f_x | the same to every input    | f_e        |
| Concatenate   | the same, along `axis`             | largest f_x | its part to every input    | f_e        |
| Activation    | max(x, 0) if `relu`; Q_A           | width − 1   | mask, Q_E, ReLU's mask     | Q_E's      |
| Relu          | max(x, 0)                          | f_x         | 0 where x ≤ 0              | f_e        |
| Error         | identity                           | f_x         | Q_E                        | Q_E's      |
| Identity      | identity (Dropout in inference)    | f_x         | none: refused in training  |            |

- f_w = k_W − 1 + log2 α (`Kernel.log2_scale`), since W_q = code·2^(1−k_W)/α. With a bias of f_b fraction bits the sums
  have f = max(f_x + f_w, f_b): both are shifted left to it and added.
- A Conv2D's kernel is [h, w, channels/groups, filters]; depthwise, groups = channels. Padding is TensorFlow's.
- Q_A: round_shift(x, f_x − (k_A − 1)), half to even, clipped to ±(2^(k_A−1) − 1). Its mask is |x| beyond that, compared
  exactly.
- Q_E: with 2^p = Shift(max|codes|), codes round_shift(e, p − (k_E − 1)), clipped; f = f_e − p + (k_E − 1). A tensor of
  zeros stays zeros, with f as if p were 0. Without a width the error passes as it is, f = f_e.
- Where an output has several readers, their errors are shifted left to the largest f among those that are not all
  zeros, and added (`tensors.total`).
- A kernel's gradient is the sums of x codes times e codes, f = f_x + f_e; a bias's is the sums of e codes, f = f_e. Q_G
  divides by its own maximum, so it needs no f.
- The order of the parameters in training is that of `Kernel.variable`, which seeds the rounding of Q_G.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from wage_tf.errors import UserError
from wage_tf.integer.nodes import Bias, Identity, Kernel, Node, Product
from wage_tf.integer.nodes.base import is_int
from wage_tf.integer.tensors import Shape, Signal

IMAGES = "/images"
"""The name under which nodes take the graph's input; no layer's name holds a slash."""


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in an order in which each comes after its inputs, from raw uint8 images to the codes of the scores.

    Args:
        input_shape: Shape of an image, usually height, width and channels.
        nodes: The nodes; the last gives the scores.

    Attributes:
        signals: Shape, fraction bits and largest code of every node's output, and of `IMAGES`, by name.

    Raises:
        UserError: If names, shapes, widths or codes do not fit together; the message names the node.
    """

    input_shape: Shape
    nodes: tuple[Node, ...]
    signals: dict[str, Signal] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        if not self.input_shape or not all(is_int(size, 1, 2**31) for size in self.input_shape):
            raise UserError(f"integer graph: images have one or more positive sizes; received {self.input_shape}")
        if not self.nodes:
            raise UserError("integer graph: it has no nodes; the first is a Rescale, which turns raw pixels into codes")
        signals = {IMAGES: Signal(tuple(self.input_shape), 0, 255, is_pixels=True)}
        for node in self.nodes:
            try:
                signals[node.name] = _signal(node, signals)
            except UserError as error:
                raise UserError(f"integer graph: {node.name}: {error}") from None
        unread = set(signals) - {name for node in self.nodes for name in node.inputs} - {self.nodes[-1].name}
        if unread:
            raise UserError(f"integer graph: {min(unread)}: no node takes its output, and it is not the last")
        object.__setattr__(self, "signals", signals)

    @property
    def output(self) -> Signal:
        """What is known of the scores."""
        return self.signals[self.nodes[-1].name]

    @property
    def kernels(self) -> dict[str, Kernel]:
        """The kernels by their node's name, in order."""
        return {node.name: node.kernel for node in self.nodes if isinstance(node, Product)}

    @property
    def parameters(self) -> dict[str, Kernel | Bias]:
        """Kernels and biases, in order, by "node/kernel" and "node/bias"."""
        return {f"{node.name}/{field}": value for node in self.nodes for field, value in node.parameters.items()}

    def with_parameters(self, parameters: Mapping[str, Kernel | Bias]) -> Graph:
        """Returns the graph with some parameters replaced."""
        nodes = []
        for node in self.nodes:
            new: dict[str, Any] = {
                field: parameters.get(f"{node.name}/{field}", old) for field, old in node.parameters.items()
            }
            nodes.append(dataclasses.replace(node, **new) if new else node)
        return Graph(self.input_shape, tuple(nodes))

    def inputs_of(self, node: Node) -> list[Signal]:
        """What is known of a node's inputs."""
        return [self.signals[name] for name in node.inputs]


def float_operands(graph: Graph) -> list[str]:
    """What keeps a graph's training from being integer arithmetic: one line per kernel, empty where nothing does.

    A kernel needs a gradient width unless it is frozen, and on every way from it to the next kernel or the loss a node
    that quantizes errors.
    """
    readers = {node.name: [reader for reader in graph.nodes if node.name in reader.inputs] for node in graph.nodes}
    raw: dict[str, bool] = {}
    lines = []
    for node in reversed(graph.nodes):
        to_loss = node is graph.nodes[-1]
        raw[node.name] = to_loss or any(
            isinstance(reader, Product) or (raw[reader.name] and not reader.quantizes_errors)
            for reader in readers[node.name]
        )
        if isinstance(node, Identity):
            lines.append(f"{node.name}: {node.layer} has no integer training")
        if isinstance(node, Product):
            if raw[node.name]:
                lines.append(f"{node.name}: the errors that reach it are float32 (k_E = f)")
            lines += [
                f"{node.name}: its {'weight' if field == 'kernel' else field} gradient is float32 (k_G = f)"
                for field, parameter in reversed(node.parameters.items())
                if parameter.gradient_width is None and parameter.variable is not None
            ]
    return lines[::-1]


def needing_errors(graph: Graph) -> set[str]:
    """Names of the nodes at or before which a parameter is trained."""
    needed: set[str] = set()
    for node in graph.nodes:
        trained = any(parameter.variable is not None for parameter in node.parameters.values())
        if trained or needed.intersection(node.inputs):
            needed.add(node.name)
    return needed


def _signal(node: Node, signals: dict[str, Signal]) -> Signal:
    if not isinstance(node.name, str) or not node.name or node.name in signals:
        raise UserError("every node has a name of its own")
    missing = [name for name in node.inputs if name not in signals]
    if missing:
        raise UserError(f"its input {missing[0]!r} is no node before it")
    if (node.arity is None and len(node.inputs) < 2) or (node.arity is not None and len(node.inputs) != node.arity):
        raise UserError(f"a {type(node).__name__} does not take {len(node.inputs)} inputs")
    if not node.takes_pixels and any(signals[name].is_pixels for name in node.inputs):
        raise UserError("the first node is a Rescale, which turns raw pixels into codes")
    return node.signal(*(signals[name] for name in node.inputs))
