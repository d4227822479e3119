"""A search small enough for a test, a tiny perceptron on digits; and its event files as TensorBoard reads them."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.util import tensor_util

from wage_tf.bits import NetworkBits
from wage_tf.cli import tune
from wage_tf.search.records import TrialRecord

ROOT = Path(__file__).resolve().parent.parent.parent
TINY = ["--model", "mlp", "--width", "0.25", "--limit", "1000", "--learning-rates", "8"]
_IMPATIENT = """
import sys
from wage_tf.search import heartbeat, processes
processes._LOST_SECONDS = heartbeat.SILENT_SECONDS = {seconds}
from wage_tf.cli import tune
sys.exit(tune.main(sys.argv[1:]))
"""


def search(run_dir: Path, *arguments: str) -> int:
    """Runs tuner.py in this process, one epoch a trial unless `arguments` say more."""
    return tune.main([*TINY, "--epochs", "1", "--run-dir", str(run_dir), *arguments])


def record(**changed: object) -> TrialRecord:
    """A trial that was completed, but for what is changed."""
    sound = {"trial": "0", "values": {"weights": "2"}, "pattern": "2-8-8-8", "bits": NetworkBits.parse("2-8-8-8"),
             "schedule": ((0, 8.0),), "epochs": 1, "status": "completed", "reason": "", "errors": (30.0,),
             "costs": {"energy": 0.5}, "cost": 0.5, "score": 30.5, "seconds": 1.0, "training_seconds": 1.0}  # fmt: skip
    return TrialRecord(**{**sound, **changed})


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def start(*arguments: str, patience: int | None = None, **environment: str) -> subprocess.Popen:
    """Starts tuner.py as a process of its own; `patience` in place of the 60 seconds for a lost chief or worker."""
    program = [str(ROOT / "tuner.py")] if patience is None else ["-c", _IMPATIENT.format(seconds=patience)]
    return subprocess.Popen(
        [sys.executable, *program, *TINY, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes_of(run_dir: Path) -> dict[int, bytes]:
    """Returns the environment of all processes whose command line names a search's directory, by process ID."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if str(run_dir).encode() in (entry / "cmdline").read_bytes():
                    found[int(entry.name)] = (entry / "environ").read_bytes()
            except OSError:
                continue
    return found


def ongoing_trials(run_dir: Path) -> dict[str, str]:
    """Returns the trials that are being run, by the names of their workers, as the chief last wrote them."""
    try:
        return json.loads((run_dir / "oracle" / "oracle.json").read_text())["ongoing_trials"]
    except FileNotFoundError:
        return {}


def worker_in_trial(run_dir: Path) -> tuple[str, int] | None:
    """Returns a trial that has begun to train, and the ID of the worker process that runs it."""
    for name, trial in ongoing_trials(run_dir).items():
        wanted = f"KERASTUNER_TUNER_ID={name}".encode()
        found = [pid for pid, environment in processes_of(run_dir).items() if wanted in environment]
        if found and (run_dir / "oracle" / f"trial_{trial}" / "execution_0").exists():
            return trial, found[0]
    return None


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
