"""Reads a search's event files as TensorBoard's HParams view does."""

from __future__ import annotations

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.util import tensor_util

from support.searches import read_csv


def hparams_of(folder, tag):
    """What the HParams plugin reads from an event file."""
    content = EventAccumulator(str(folder)).Reload().SummaryMetadata(tag).plugin_data.content
    return HParamsPluginData.FromString(content)


def assert_hparams_view_is_complete(run_dir):
    """All widths and metrics are declared, and every trial in trials.csv has values for them."""
    experiment = hparams_of(run_dir / "tensorboard", metadata.EXPERIMENT_TAG).experiment
    names = {info.name for info in experiment.hparam_infos}
    metrics = {info.name.tag for info in experiment.metric_infos}
    assert metrics == {"validation_error", "cost", "score"}
    for row in read_csv(run_dir / "trials.csv"):
        folder = run_dir / "tensorboard" / f"trial_{row['trial']}"
        widths = hparams_of(folder, metadata.SESSION_START_INFO_TAG).session_start_info.hparams
        assert set(widths) == {*names, "pattern"}
        assert widths["pattern"].string_value == row["pattern"]
        operands = row["pattern"].split("-")
        for operand, text in zip(("weights", "activations", "gradients", "errors"), operands, strict=True):
            values = [widths[name].string_value for name in widths if name.partition("/")[0] == operand]
            assert sorted(values) == sorted(text.split("."))
        tensors = EventAccumulator(str(folder)).Reload()
        measured = {tag: float(tensor_util.make_ndarray(tensors.Tensors(tag)[0].tensor_proto)) for tag in metrics
                    if tag in tensors.Tags()["tensors"]}  # fmt: skip
        columns = {"validation_error": "error_mean", "cost": "cost", "score": "score"}
        assert measured == pytest.approx({tag: float(row[columns[tag]]) for tag in metrics if row[columns[tag]]}, 1e-3)
