import numpy as np
import pytest

import train
from experiments import distributions, figures, spec
from experiments.summaries import Outcome

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    arguments = ["--model", "mlp", "--width", "0.05", "--limit", "320", "--epochs", "1", "--histogram-freq", "0"]
    assert train.main([*arguments, "--run-dir", str(path)]) == 0
    return distributions.of_run(path)


def test_every_operand_of_every_layer_is_there(measured):
    found = measured["histograms"]
    for layer in ("fc1", "fc2", "fc3"):
        assert {f"W/{layer}", f"W_stored/{layer}", f"G/{layer}", f"G_raw/{layer}"} <= found.keys()
    assert {"A/fc1_relu", "E/fc1_relu", "E_raw/fc1_relu", "E/fc3_error"} <= found.keys()
    assert found["W/fc1"]["centres"] == [-0.5, 0.0, 0.5]
    assert sum(found["W/fc1"]["counts"]) == 28 * 28 * 26


@pytest.mark.parametrize(
    ("raw", "quantized", "grid"), [("G_raw/fc1", "G/fc1", 2**-7), ("E_raw/fc3_error", "E/fc3_error", 2**-7)]
)
def test_before_and_after_the_quantizer_have_one_unit(measured, raw, quantized, grid):
    """Rounding moves a value by at most a step, so the largest ones stay together."""

    def largest(name):
        histogram = measured["histograms"][name]
        centres = np.array(histogram["centres"])[np.array(histogram["counts"]) > 0]
        return np.abs(centres).max(), centres[1] - centres[0]

    (before, bin_width), (after, _) = largest(raw), largest(quantized)
    assert after > 2 * grid
    assert min(before, 1 - grid) == pytest.approx(after, abs=grid + bin_width)


def test_the_picture_has_a_row_for_each_operand_and_a_column_for_each_layer(measured):
    variant = spec.Variant(name="v", label="2-8-8-8", settings={"epochs": 1})
    outcome = Outcome(variant, ({"status": "done", "distributions": measured},))
    figure = figures.distributions(None, [outcome])
    assert len(figure.axes) == 4 * 3
    ternary = figure.axes[0]
    assert [bar.get_x() + bar.get_width() / 2 for bar in ternary.patches] == pytest.approx([-0.5, 0.0, 0.5])
    assert len(ternary.lines) == 1
    assert all(axes.patches for axes in figure.axes)
