"""Candidate lists, and the way from a choice to a pattern and to what models.build takes."""

from __future__ import annotations

import pytest

import models
from wage_tf.bits import BitWidths, NetworkBits
from wage_tf.errors import UserError
from wage_tf.search import candidates
from wage_tf.search.candidates import Candidates

WIDTHS = {"weights": ("2", "4"), "activations": ("4", "8", "f"), "gradients": ("8",), "errors": ("8",)}


def test_widths_are_sorted_with_float_last():
    assert candidates.parse_widths("weights", " 8,f, 2,16") == ("2", "8", "16", "f")


@pytest.mark.parametrize(
    ("operand", "text"),
    [("weights", ""), ("weights", "2,,4"), ("weights", "x"), ("weights", "0"), ("weights", "17"), ("errors", "1"),
     ("activations", "2.5"), ("gradients", "-8"), ("weights", "2,2"), ("weights", "f,F"),
     ("weights", "٢"), ("weights", "²"), ("weights", "1_6"), ("weights", "+8"), ("weights", "02")],
)  # fmt: skip
def test_wrong_widths_are_named_with_their_flag(operand, text):
    with pytest.raises(UserError, match=f"--{operand}"):
        candidates.parse_widths(operand, text)


@pytest.mark.parametrize("text", ["gradients", "weights,layers", "weights,", "weights,errors,weights"])
def test_wrong_per_layer_operands(text):
    with pytest.raises(UserError, match="--per-layer"):
        candidates.parse_operands(text)


def test_per_layer_operands():
    assert candidates.parse_operands("") == ()
    assert candidates.parse_operands("weights, errors") == ("weights", "errors")


@pytest.mark.parametrize("text", ["0", "-1", "a", "1,1", "inf", "nan", ","])
def test_wrong_learning_rates(text):
    with pytest.raises(UserError, match="--learning-rates"):
        candidates.parse_rates(text)


@pytest.mark.parametrize("exponent", [-30, -18, -3, 3, 20])
def test_a_learning_rate_comes_back_from_its_choice_exactly(exponent):
    space = Candidates(WIDTHS, learning_rates=(2.0**exponent,))
    assert space.pattern(space.narrowest()).learning_rate == 2.0**exponent


def test_a_pattern_of_the_whole_network():
    space = Candidates(WIDTHS)
    pattern = space.pattern({"weights": "4", "activations": "f"})
    assert (pattern.name, pattern.bits) == ("4-f-8-8", NetworkBits.parse("4-f-8-8"))
    assert space.size == 6
    assert space.pattern(space.narrowest()).name == "2-4-8-8"
    assert space.pattern(space.widest()).name == "4-f-8-8"
    assert [space.pattern(space.nearest_to(width)).name for width in (8, 5, 1)] == ["4-8-8-8", "4-4-8-8", "2-4-8-8"]


def test_gradients_in_float():
    assert Candidates({**WIDTHS, "gradients": ("f",)}).pattern({}).name == "2-4-f-8"


@pytest.mark.parametrize("name", models.names)
def test_blocks_are_those_of_the_builder(name):
    model = models.build(name, "2-8-8-8", (64, 64, 3), 10, width=0.01)
    blocks = candidates.blocks_of(model)
    assert blocks["activations"][0] == "rescale"
    assert set(blocks["activations"][1:]) <= set(blocks["weights"])
    space = Candidates(WIDTHS, ("weights", "activations"), blocks)
    values = dict(space.narrowest())
    values[f"weights/{blocks['weights'][-1]}"] = "4"
    values["activations/rescale"] = "8"
    built = models.build(name, space.pattern(values).bits, (64, 64, 3), 10, width=0.01)
    assert str(built.get_layer("rescale").bits.a) == "8"
    assert [built.get_layer(block).bits.w for block in blocks["weights"]] == [2] * (len(blocks["weights"]) - 1) + [4]


def test_the_name_of_a_per_layer_pattern_lists_the_blocks_in_order():
    blocks = {"weights": ("fc1", "fc2"), "activations": ("rescale", "fc1"), "errors": ("fc1", "fc2")}
    space = Candidates(WIDTHS, ("weights", "activations"), blocks)
    pattern = space.pattern(
        {"weights/fc1": "4", "weights/fc2": "2", "activations/rescale": "8", "activations/fc1": "4"}
    )
    assert pattern.name == "4.2-8.4-8-8"
    assert pattern.bits.of("fc1") == BitWidths(4, 4, 8, 8)
    assert pattern.bits.of("rescale").a == 8
    assert pattern.bits.of("fc2").w == 2
