"""What nodes and graphs refuse, and errors that meet: exponents are aligned, zeros have none, sums stay in 62 bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wage_tf.errors import UserError
from wage_tf.integer import IMAGES, Graph, Tensor, linear, nodes, tensors

TABLE = np.clip(np.arange(256), 0, 127).astype(np.int8)


def rescale(inputs=(IMAGES,)):
    return nodes.Rescale("pixels", inputs, TABLE, 8)


def graph(*after, shape=(4, 4, 2)):
    return Graph(shape, (rescale(), *after))


@pytest.mark.parametrize(
    ("after", "message"),
    [
        ([nodes.Flatten("pixels", ("pixels",))], "pixels: every node has a name of its own"),
        ([nodes.Flatten("flat", ("later",))], "flat: its input 'later' is no node before it"),
        ([nodes.Add("sum", ("pixels",))], "sum: a Add does not take 1 inputs"),
        ([nodes.Flatten("flat", ("pixels", "pixels"))], "flat: a Flatten does not take 2 inputs"),
        ([nodes.Flatten("one", ("pixels",)), nodes.Flatten("two", ("pixels",))], "one: no node takes its output"),
        ([nodes.Error("error", (IMAGES,), 8)], "error: the first node is a Rescale"),
        ([nodes.Rescale("again", ("pixels",), TABLE, 8)], "again: a Rescale stands only at the input"),
        ([nodes.Reshape("shaped", ("pixels",), (5, 5))], r"shaped: a shape \(5, 5\) does not fit an input \(4, 4, 2\)"),
        ([nodes.AveragePool2D("mean", ("pixels",), (3, 3), (1, 1), "valid")], r"mean: an average takes 2\^n values"),
        ([nodes.AveragePool2D("mean", ("pixels",), (2, 2), (1, 1), "same")], "mean: an average takes whole windows"),
        ([nodes.ZeroPad2D("pad", ("pixels",), (-1, 0), (0, 0))], "pad: four sizes"),
        (
            [nodes.Flatten("flat", ("pixels",)), nodes.Add("sum", ("pixels", "flat"))],
            "sum: a sum takes inputs of one shape",
        ),
        (
            [nodes.Flatten("flat", ("pixels",)), nodes.Concatenate("joined", ("pixels", "flat"), 2)],
            "joined: inputs .* differ in more than axis 2",
        ),
        ([nodes.Concatenate("joined", ("pixels", "pixels"), 3)], "joined: axis: one of the 3 after the batch"),
    ],
)
def test_what_does_not_fit_is_named(after, message):
    with pytest.raises(UserError, match=f"integer graph: {message}"):
        graph(*after)


def test_an_empty_graph_is_refused():
    with pytest.raises(UserError, match="it has no nodes"):
        Graph((4, 4, 1), ())


def test_an_average_keeps_all_bits():
    pool = nodes.AveragePool2D("mean", ("pixels",), (2, 2), (2, 2), "valid")
    signal = graph(pool).output
    assert (signal.shape, signal.fraction, signal.largest) == ((2, 2, 2), 9, 4 * 127)
    x = Tensor(np.arange(-8, 8, dtype=np.int8).reshape(1, 4, 4, 1), 7)
    assert pool.forward(x).codes.ravel().tolist() == [-8 - 7 - 4 - 3, -6 - 5 - 2 - 1, 0 + 1 + 4 + 5, 2 + 3 + 6 + 7]
    (e,) = pool.backward(Tensor(np.array([[[[1], [2]], [[3], [4]]]], np.int8), 5), x)
    assert e.fraction == 7
    assert e.codes[0, :, :, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]


@given(st.lists(st.tuples(st.integers(-127, 127), st.integers(-20, 20)), min_size=2, max_size=4))
def test_meeting_errors_add_their_values(parts):
    total = tensors.total([Tensor(np.array([code, 0], np.int8), fraction) for code, fraction in parts])
    assert total.codes[0] * 2.0**-total.fraction == sum(code * 2.0**-fraction for code, fraction in parts)


def test_zeros_that_meet_have_no_say_in_the_fraction():
    zeros, e = Tensor(np.zeros(2, np.int8), 100), Tensor(np.array([3, -4], np.int8), 2)
    total = tensors.total([zeros, e])
    assert (total.codes.tolist(), total.fraction) == ([3, -4], 2)
    assert tensors.total([zeros, zeros]).fraction == 100


def test_errors_too_far_apart_are_refused():
    near, far = (Tensor(np.array([127], np.int8), fraction) for fraction in (60, 0))
    with pytest.raises(UserError, match="2 tensors that meet differ too much in size"):
        tensors.total([near, far])


def test_products_past_64_bits_are_refused():
    large = np.full((1, 3), 2**31, np.int64)
    with pytest.raises(UserError, match="pass 64 bits"):
        linear.product(large, large)
