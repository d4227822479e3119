"""Random small integer graphs of all kinds of node, drawn node by node without Keras."""

import numpy as np
from hypothesis import strategies as st

from wage_tf.integer import IMAGES, Graph, nodes
from wage_tf.integer.arithmetic import code_dtype, largest_code
from wage_tf.integer.tensors import Signal

SHAPES = ((5, 6, 2), (4, 4, 1), (8, 8, 3), (8, 4, 4), (12,), (2, 6))


class Builder:
    """A graph as it grows; every method appends nodes and returns the name of the last.

    Args:
        draw: What hypothesis gives.
        widths: The widths of weights and of activations to choose from.
    """

    def __init__(self, draw, widths=((1, 2, 3, 8), (2, 4, 8))):
        self.draw = draw
        self.weight_widths, self.widths = widths
        self.random = np.random.default_rng(draw(st.integers(0, 2**16)))
        self.shape = self.one(SHAPES)
        self.nodes: list[nodes.Node] = []
        self.signals: dict[str, Signal] = {IMAGES: Signal(self.shape, 0, 255, is_pixels=True)}

    def one(self, values):
        return self.draw(st.sampled_from(values))

    def yes(self):
        return self.draw(st.booleans())

    def append(self, kind, inputs, *fields):
        node = kind(f"{kind.__name__.lower()}_{len(self.nodes)}", inputs, *fields)
        self.signals[node.name] = node.signal(*(self.signals[name] for name in inputs))
        self.nodes.append(node)
        return node.name

    def codes(self, shape, width):
        limit = largest_code(width)
        codes = self.random.integers(-limit, limit + 1, shape)
        return np.where(codes < 0, -1, 1).astype(np.int8) if width == 1 else codes.astype(code_dtype(limit))

    def kernel(self, shape):
        width = self.one(self.weight_widths)
        return nodes.Kernel(self.codes(shape, width), width, self.one((-1, 0, 2)), 8, None, 15, 2**14, 0)

    def bias(self, x, kernel):
        """None, or a bias whose grid is that of the sums, coarser or finer."""
        if self.yes():
            return None
        fraction = min(30, max(0, self.signals[x].fraction + kernel.log2_scale + self.one((-2, 0, 1))))
        codes = self.random.integers(-(2**fraction), 2**fraction + 1, kernel.codes.shape[-1])
        dtype = code_dtype(2**fraction)
        return nodes.Bias(codes.astype(dtype), None, fraction, 2**fraction, 1, False)

    def rescale(self):
        x = IMAGES
        if self.yes():
            x = self.append(nodes.Identity, (x,), "Dropout")
        if len(self.shape) == 3 and self.yes():
            x = self.append(nodes.ZeroPad2D, (x,), (0, 1), (2, 0))
        if len(self.shape) == 1 and self.yes():
            x = self.append(nodes.Reshape, (x,), (3, 4, 1))
        width = self.one(self.widths)
        return self.append(nodes.Rescale, (x,), self.codes(256, width), width)

    def conv(self, x, keep_size=False):
        channels = self.signals[x].shape[2]
        groups = self.one(tuple({1, channels, *((2,) if channels % 2 == 0 else ())}))
        filters = channels if keep_size else groups * self.one((1, 2))
        size = (self.one((1, 2, 3)), self.one((1, 3)))
        strides = (1, 1) if keep_size else (self.one((1, 2)), self.one((1, 2)))
        padding = "same" if keep_size or min(self.signals[x].shape[:2]) < 3 else self.one(("same", "valid"))
        spread = strides == (1, 1) and padding == "same"
        dilation = self.one(((1, 1), (2, 1), (1, 2), (2, 3))) if spread else (1, 1)
        kernel = self.kernel((*size, channels // groups, filters))
        return self.append(nodes.Conv2D, (x,), kernel, self.bias(x, kernel), strides, padding, dilation, groups)

    def rounded(self, x):
        if self.yes():
            x = self.append(nodes.Relu, (x,))
        x = self.append(nodes.Activation, (x,), self.yes(), self.one(self.widths), 8)
        return self.append(nodes.Error, (x,), 8) if self.yes() else x

    def moved(self, x):
        """Pooled, padded, or as it is."""
        kind = self.one(("max", "average", "pad", "none", "reshape"))
        height, width, channels = self.signals[x].shape
        if min(height, width) < 2 or kind == "none":
            return x
        if kind == "max":
            window, padding = (2, self.one((2, 3))), self.one(("same", "valid"))
            padding = "same" if width < 3 else padding
            return self.append(nodes.MaxPool2D, (x,), window, (self.one((1, 2)), 2), padding)
        if kind == "average":
            return self.append(nodes.AveragePool2D, (x,), (2, self.one((1, 2))), (self.one((1, 2)), 1), "valid")
        if kind == "pad":
            return self.append(nodes.ZeroPad2D, (x,), (1, 0), (0, 2))
        return self.append(nodes.Reshape, (x,), (width, height, channels))

    def hidden(self, x):
        return self.rounded(self.moved(self.conv(x)))

    def residual(self, x):
        inner = self.rounded(self.conv(x, keep_size=True)) if self.yes() else x
        branch = self.conv(inner, keep_size=True)
        branches = [x, branch]
        if self.yes():
            branches.append(self.conv(x, keep_size=True))
        total = self.append(nodes.Add, tuple(branches))
        return self.rounded(self.moved(total)) if self.yes() else self.moved(self.rounded(total))

    def joined(self, x):
        parts = [self.conv(x, keep_size=True), self.rounded(self.conv(x, keep_size=True)), x]
        joined = self.append(nodes.Concatenate, tuple(parts[: self.one((2, 3))]), self.one((0, 1, 2)))
        return self.rounded(self.moved(joined))

    def dense(self, x):
        x = x if len(self.signals[x].shape) == 1 else self.append(nodes.Flatten, (x,))
        kernel = self.kernel((*self.signals[x].shape, self.one((3, 4))))
        return self.append(nodes.Dense, (x,), kernel, self.bias(x, kernel))

    def scores(self, x):
        shape = self.signals[x].shape
        way = self.one(("dense", "average", "maximum", "two"))
        area = int(np.prod(shape[:2]))
        if len(shape) == 3 and (way == "maximum" or (way == "average" and area & (area - 1) == 0)):
            kind = nodes.MaxPool2D if way == "maximum" else nodes.AveragePool2D
            x = self.append(kind, (x,), shape[:2], shape[:2], "valid")
        if way == "two":
            x = self.rounded(self.dense(x))
        x = self.dense(x)
        return self.append(nodes.Error, (self.rounded(x),), 8) if self.yes() else x

    def graph(self):
        """A graph of up to three blocks."""
        x = self.rescale()
        for _ in range(self.draw(st.integers(0, 3))):
            if len(self.signals[x].shape) == 3:
                x = self.one((self.hidden, self.residual, self.joined))(x)
        self.scores(x)
        return Graph(self.shape, tuple(self.nodes))


@st.composite
def graphs(draw, widths=((1, 2, 3, 8), (2, 4, 8))):
    """Random graphs of weights and activations of these widths."""
    return Builder(draw, widths).graph()
