"""What a device needs, and what is said where it has less."""

import re

import numpy as np
import pytest

from support.networks import frozen
from wage_tf.errors import UserError
from wage_tf.export import Card, Training, write_c
from wage_tf.export.c_layout import Layout
from wage_tf.export.c_needs import needs_of, require_fit


@pytest.fixture(scope="module")
def lenet5():
    return frozen("lenet5", shape=(28, 28, 1), width=1.0)


def needs(graph, **training):
    return needs_of(Layout.of(graph, Training(**training) if training else None))


def test_ternary_weights_take_a_quarter_of_a_byte(lenet5):
    found = needs(lenet5)
    assert found.weights <= 0.26 * sum(kernel.codes.size for kernel in lenet5.kernels.values())
    assert (found.ram, found.stored, found.step_macs) == (5632, 0, {})
    assert found.macs == 24 * 24 * 25 * 32 + 8 * 8 * 25 * 32 * 64 + 1024 * 512 + 512 * 10


def test_only_the_layers_that_learn_are_stored_a_byte_a_weight(lenet5):
    weights = [kernel.codes.size for kernel in lenet5.kernels.values()]
    for place, name in enumerate(lenet5.kernels):
        assert needs(lenet5, batch=1, train_from=name).stored == sum(weights[place:])


def test_an_image_more_takes_only_what_the_way_back_reads(lenet5):
    """From fc1 on: its input, the gates that become errors, its output, and the scores with theirs."""
    few, more = (needs(lenet5, batch=batch, train_from="fc1").ram for batch in (64, 68))
    assert more - few == 4 * (1024 + 512 + 512 + 10 + 40)


def test_macs_of_a_step(lenet5):
    """Two passes over errors and gradients; at batch 8 of the last layer alone gradients only."""
    assert needs(lenet5, batch=8, train_from="fc2").step_macs[8] == 8 * (needs(lenet5).macs + 2 * 5120)
    forward, kernels = needs(lenet5).macs, [kernel.codes.size for kernel in lenet5.kernels.values()]
    places = np.array([12 * 12, 4 * 4, 1, 1]) * kernels
    assert needs(lenet5, batch=1).step_macs[1] == forward + 2 * places.sum() + 2 * places[1:].sum()


def test_the_struct_is_what_was_printed(tmp_path, lenet5):
    training = Training(3, "fc1")
    write_c(tmp_path, lenet5, Card("n", "p", "x", ()), training)
    header = (tmp_path / "wage_net.h").read_text()
    arena, row = (int(re.search(rf"{name}\[(\d+)\]", header)[1]) for name in ("arena", "row"))
    stored = int(re.search(r"WAGE_STORED (\d+)", header)[1])
    assert 4 * arena + row + stored + 8 == needs_of(Layout.of(lenet5, training)).ram


@pytest.mark.parametrize(
    ("training", "ram", "flash", "message"),
    [
        (Training(8), 65536, None, "stored weights of fc1; train_from = fc2 with a batch of 8 would fit"),
        (Training(2000, "fc2"), 65536, None, "the batch of 2000; a batch of 103 with train_from = fc2 would fit"),
        (Training(64, "fc1"), 20000, None, "stored weights of fc1; train_from = fc2 with a batch of 14 would fit"),
        (Training(8), None, 262144, "bytes of flash are needed, and there are 262,144.*train_from = fc2"),
        (Training(1, "fc2"), 8192, None, "not even fc2 alone at a batch of 1 fits"),
        (None, 4096, None, "bytes of RAM are needed, stack included, and there are 4,096; a narrower network"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(lenet5, training, ram, flash, message):
    with pytest.raises(UserError, match=message):
        require_fit(lenet5, training, ram, flash)


def test_what_is_advised_fits(lenet5):
    assert require_fit(lenet5, Training(103, "fc2"), 65536, None).ram + 1280 <= 65536
    with pytest.raises(UserError):
        require_fit(lenet5, Training(104, "fc2"), 65536, None)
