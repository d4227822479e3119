"""Generated C that trains what networks of `models` do not come to: clipped scores, many classes, fine units,
weights that begin at 0."""

import shutil

import numpy as np
import pytest

from support.device import CARD, SANITIZED, assert_trains_alike, exported
from wage_tf.errors import UserError
from wage_tf.export import Training, write_c
from wage_tf.integer import IMAGES, Graph, nodes
from wage_tf.integer.arithmetic import quantize

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

TABLE = np.clip(np.arange(256) - 128, -127, 127).astype(np.int8)


def kernel(place, shape, alpha=0, largest=64):
    """Random ternary weights; `place` is that among the trained layers."""
    stored = np.random.default_rng(place).integers(-largest, largest + 1, shape).astype(np.int8)
    return nodes.Kernel(quantize(stored, 7, 2), 2, alpha, 8, stored, 7, 64, place)


def dense(place, x, inputs, units, alpha=0, largest=64):
    return nodes.Dense(f"dense_{place}", (x,), kernel(place, (inputs, units), alpha, largest), None)


def graph(*after):
    """A hidden layer of 20 units, `hidden`, and what comes after it."""
    hidden = nodes.Activation("hidden", ("dense_0",), True, 8, 8)
    return Graph((16,), (nodes.Rescale("pixels", (IMAGES,), TABLE, 8), dense(0, "pixels", 16, 20), hidden, *after))


def scores_of(classes, alpha=0):
    return graph(dense(1, "hidden", 20, classes, alpha), nodes.Error("error", ("dense_1",), 8))


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize(
    "ends",
    [
        [nodes.Activation("scores", ("dense_1",), False, 8, 3)],
        [nodes.Activation("scores", ("dense_1",), True, 8, 3)],
        [nodes.Activation("scores", ("dense_1",), False, 8, None), nodes.Error("error", ("scores",), 3)],
    ],
    ids=["mask first", "mask first, ReLU last", "mask last"],
)
def test_scores_that_clip(tmp_path, ends, batch):
    """The order of Q_A's mask and Q_E decides whose errors make up the maximum."""
    net = graph(dense(1, "hidden", 20, 4, alpha=-1), *ends)
    assert_trains_alike(exported(tmp_path, net, batch, None, 3), net, 12, batch, None, 3, all_change=False)


def test_scores_that_are_pooled(tmp_path):
    conv = nodes.Conv2D("conv", ("pixels",), kernel(0, (1, 1, 2, 3)), None, (1, 1), "same", (1, 1), 1)
    pool = nodes.MaxPool2D("pool", ("conv",), (2, 2), (2, 2), "valid")
    ends = nodes.Flatten("flat", ("pool",)), nodes.Error("error", ("flat",), 8)
    net = Graph((2, 2, 2), (nodes.Rescale("pixels", (IMAGES,), TABLE, 8), conv, pool, *ends))
    assert_trains_alike(exported(tmp_path, net, 4, None, 3, flags=SANITIZED), net, 12, 4, None, 3)


@pytest.mark.slow
@pytest.mark.parametrize("fraction", [30, 31, 61])
def test_scores_of_many_fraction_bits(tmp_path, fraction):
    """From 31 on the target 1 is beyond 32 bits."""
    net = scores_of(4, alpha=fraction - 8)
    assert net.output.fraction == fraction
    assert_trains_alike(exported(tmp_path, net, 4, None, 3, flags=SANITIZED), net, 12, 4, None, 3)


def test_a_loss_that_can_pass_62_bits_is_refused(tmp_path):
    with pytest.raises(UserError, match="device training: dense_1: errors can pass 62 bits"):
        write_c(tmp_path / "net", scores_of(4, alpha=54), CARD, Training())


def test_as_many_classes_as_a_label_can_name(tmp_path):
    net = scores_of(256)
    assert_trains_alike(exported(tmp_path, net, 4, None, 3), net, 12, 4, None, 3)
    with pytest.raises(UserError, match="device training: a label is a byte, for up to 256 classes; received 257"):
        write_c(tmp_path / "net", scores_of(257), CARD, Training())


def zero_branch(alpha=0):
    """A sum of a branch whose weights are 0 and a shortcut."""
    branches = dense(1, "hidden", 20, 16, largest=0), dense(2, "hidden", 20, 16, alpha)
    total = nodes.Add("sum", ("dense_1", "dense_2"))
    rounding = nodes.Activation("rounding", ("sum",), True, 8, 8)
    return graph(*branches, total, rounding, dense(3, "rounding", 16, 4), nodes.Error("error", ("dense_3",), 8))


def test_weights_that_begin_at_0_grow(tmp_path):
    """Sums of theirs are kept in the type that they come to need."""
    net = zero_branch()
    assert_trains_alike(exported(tmp_path, net, 4, None, 4, flags=SANITIZED), net, 60, 4, None, 4)


def test_bounds_of_what_does_not_learn_are_those_of_its_weights(tmp_path):
    """The branch, in the finer units of the sum."""
    net = zero_branch(alpha=22)
    for training in (None, Training(train_from="dense_2")):
        write_c(tmp_path / "net", net, CARD, training)
    with pytest.raises(UserError, match="export: the sums of sum can pass 32 bits"):
        write_c(tmp_path / "learns", net, CARD, Training(train_from="dense_1"))
