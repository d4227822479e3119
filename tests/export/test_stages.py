"""Stages of inference: where roundings go, what a kind without a form does, and places in the C arena."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given

from support.random_graphs import graphs
from wage_tf import integer
from wage_tf.errors import UserError
from wage_tf.export import Card, write_c, write_litert, write_litert_micro
from wage_tf.export.c_memory import memory
from wage_tf.export.stages import Rounding, fused, stages
from wage_tf.integer import IMAGES, Graph, nodes
from wage_tf.integer.tensors import Signal, Tensor

CARD = Card("net", "2-8-8-8", "x/256")
TABLE = np.clip(np.arange(256), 0, 127).astype(np.int8)
CODES = Rounding(False, 1, 127)


def conv(name, x, channels=2, alpha=0):
    kernel = nodes.Kernel(np.ones((1, 1, 2, channels), np.int8), 2, alpha, None, None, 1, 1, None)
    return nodes.Conv2D(name, (x,), kernel, None, (1, 1), "same", (1, 1), 1)


def graph(*after):
    return Graph((4, 4, 2), (nodes.Rescale("pixels", (IMAGES,), TABLE, 8), conv("conv", "pixels"), *after))


def rounding(name, x):
    return nodes.Activation(name, (x,), False, 8, None)


def roundings(graph):
    return {stage.name: (type(stage.node).__name__, stage.rounding) for stage in stages(graph).stages[1:]}


def pool(name, x, window=(2, 2), strides=(2, 2)):
    return nodes.MaxPool2D(name, (x,), window, strides, "valid")


def test_a_rounding_moves_over_what_it_commutes_with():
    flat = nodes.Flatten("flat", ("padded",))
    padded = nodes.ZeroPad2D("padded", ("pool",), (1, 0), (0, 1))
    found = roundings(graph(pool("pool", "conv"), padded, flat, rounding("codes", "flat")))
    moved = {"codes": ("Conv2D", CODES), "pool": ("MaxPool2D", Rounding()), "padded": ("ZeroPad2D", Rounding())}
    assert found == {**moved, "flat": ("Flatten", Rounding())}


def test_a_rounding_stays_behind_sums_and_shared_outputs():
    mean = nodes.AveragePool2D("mean", ("conv",), (2, 2), (2, 2), "valid")
    assert roundings(graph(mean, rounding("codes", "mean"))) == {
        "conv": ("Conv2D", Rounding()),
        "codes": ("AveragePool2D", Rounding(False, 3, 127)),
    }
    total = nodes.Add("sum", ("conv", "codes"))
    assert roundings(graph(rounding("codes", "conv"), total)) == {
        "conv": ("Conv2D", Rounding()),
        "codes": ("Activation", CODES),
        "sum": ("Add", Rounding()),
    }
    shared = nodes.Add("sum", ("codes", "pool"))
    assert "conv" in roundings(graph(pool("pool", "conv"), rounding("codes", "pool"), shared))


def test_the_inputs_of_a_concatenation_are_rounded_one_by_one():
    joined = nodes.Concatenate("joined", ("conv", "pixels"), 2)
    assert roundings(graph(joined, rounding("codes", "joined"))) == {
        "codes/0": ("Conv2D", CODES),
        "codes/1": ("Activation", Rounding(False, 0, 127)),
        "codes": ("Concatenate", Rounding()),
    }


def test_only_windows_side_by_side_are_fused_within_a_product():
    for strides, kept in (((2, 2), 0), ((1, 1), 1)):
        found = fused(stages(graph(pool("pool", "conv", strides=strides)))).stages
        assert sum(isinstance(stage.node, nodes.MaxPool2D) for stage in found) == kept
        assert found[-1].name == "pool"
    twice = fused(stages(graph(pool("first", "conv"), pool("second", "first")))).stages
    assert [stage.name for stage in twice] == ["pixels", "first", "second"]
    total = nodes.Concatenate("both", ("left", "right"), 2)
    found = fused(stages(graph(pool("left", "conv"), pool("right", "conv"), total))).stages
    assert sum(isinstance(stage.node, nodes.MaxPool2D) for stage in found) == 2


def test_a_product_adds_to_its_sums_what_another_stage_gave():
    total = nodes.Add("sum", ("conv", "pixels"))
    (found,) = fused(stages(graph(total, rounding("codes", "sum")))).stages[1:]
    assert (type(found.node).__name__, found.inputs, found.rounding) == ("Conv2D", ("pixels", "pixels"), CODES)
    both = fused(stages(graph(nodes.Add("sum", ("conv", "conv"))))).stages
    assert [stage.name for stage in both] == ["pixels", "conv", "sum"]
    three = fused(stages(graph(conv("other", "pixels"), nodes.Add("sum", ("conv", "other", "pixels"))))).stages
    assert [stage.name for stage in three] == ["pixels", "conv", "other", "sum"]


def test_a_sum_takes_the_place_of_its_shortcut_only_where_nothing_else_is_read_there():
    """32 codes each: the shortcut and the branch live at once, and the sum is as large as the shortcut or is not."""
    total = nodes.Add("sum", ("branch", "pixels"))
    branch = [rounding("inner", "conv"), conv("branch", "inner"), total]
    assert memory(fused(stages(graph(*branch, rounding("codes", "sum"), conv("end", "codes"))))).size == 2 * 32
    assert memory(fused(stages(graph(*branch, conv("end", "sum"))))).size == 2 * 32 + 2 * 32
    own = [nodes.Add("sum", ("conv", "pixels")), rounding("codes", "sum"), conv("end", "codes")]
    assert memory(fused(stages(graph(*own)))).size == 2 * 32
    wider = [conv("right", "pixels"), nodes.Add("sum", ("conv", "right")), rounding("codes", "sum")]
    assert memory(fused(stages(graph(*wider, conv("end", "codes"))))).size == 32 + 2 * 32 + 32


@dataclasses.dataclass(frozen=True, eq=False)
class Odd(nodes.Node):
    """A kind that no exporter knows."""

    def signal(self, x: Signal) -> Signal:
        return x

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.parametrize("write", [write_c, write_litert, write_litert_micro])
def test_an_unknown_kind_is_refused_by_name_before_anything_is_written(tmp_path, write):
    with pytest.raises(UserError, match=r"^(C|LiteRT|LiteRT Micro) export: strange: Odd has no such form$"):
        write(tmp_path / "out", graph(Odd("strange", ("conv",))), CARD)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", [write_litert, write_litert_micro])
def test_sums_too_wide_for_float32_are_refused_by_name(tmp_path, write):
    wide = [conv("wide", "pixels", alpha=17), nodes.Add("sum", ("conv", "wide")), rounding("codes", "sum")]
    with pytest.raises(UserError, match=r"LiteRT( Micro)? export: (sum|wide): its sums are too wide"):
        write(tmp_path / "out", graph(*wide), CARD)
    assert not list(tmp_path.iterdir())
    write_c(tmp_path / "out", graph(*wide), CARD)


IN_PLACE = nodes.Add | nodes.Activation | nodes.Relu


@given(graphs())
def test_what_lives_at_the_same_time_lies_apart(graph):
    """An output of a stage by stage walk: from where it is made to its last reader nobody writes over it."""
    try:
        network = fused(stages(graph))
    except UserError:
        return
    plan = memory(network)
    ranges = {name: place_of(plan, name, network) for name in plan.places if plan.places[name] is not None}
    assert max((end for _, end in ranges.values()), default=0) <= plan.size
    written: dict[int, str] = {}
    for stage in network.stages:
        for name in stage.inputs:
            if name in ranges:
                view = {written.get(byte) for byte in range(*ranges[name])}
                assert len(view) == 1
                assert view.pop() == root_of(network, name)
        if stage.name in ranges and not isinstance(stage.node, nodes.Flatten | nodes.Reshape):
            output = range(*ranges[stage.name])
            for name in stage.inputs[: 0 if isinstance(stage.node, IN_PLACE) else 1]:
                assert not set(output) & set(range(*ranges.get(name, (0, 0))))
            written |= dict.fromkeys(output, stage.name)


def place_of(plan, name, network):
    shape = next(stage.signal.shape for stage in network.stages if stage.name == name)
    begin = plan.places[name].offset
    return begin, begin + math.prod(shape) * plan.dtypes[name].itemsize


def root_of(network, name):
    stage = next(stage for stage in network.stages if stage.name == name)
    is_view = isinstance(stage.node, nodes.Flatten | nodes.Reshape)
    return root_of(network, stage.inputs[0]) if is_view else name


def test_stages_know_the_bounds_of_the_actual_weights():
    found = stages(graph()).stages[-1]
    assert found.sums.largest == 2 * 127
    assert integer.infer(graph(), np.full((1, 4, 4, 2), 255, np.uint8)).max() == 2 * 127
