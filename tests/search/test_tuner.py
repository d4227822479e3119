"""tuner.py from its command line to its files, in this process; and a directory in which others have written."""

from __future__ import annotations

import json
import re
import shutil
import sys

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from support.searches import assert_hparams_view_is_complete, read_csv, search
from wage_tf import recipes, schedules
from wage_tf.cli import train, tune
from wage_tf.cli.progress import WIPE
from wage_tf.errors import UserError
from wage_tf.search.directory import SearchDirectory

pytestmark = pytest.mark.slow

BAYESIAN = ["--oracle", "bayesian", "--max-trials", "4"]
MOST_ERROR = 35
FOUR_PATTERNS = ["--weights", "2,8", "--activations", "4,8"]
TWO_OF_FOUR = [*FOUR_PATTERNS, "--max-trials", "2", "--keep", "all"]
PER_LAYER = [*FOUR_PATTERNS, "--per-layer", "weights,activations"]


def without_times(run_dir):
    rows = read_csv(run_dir / "trials.csv")
    return [{name: text for name, text in row.items() if "seconds" not in name} for row in rows]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A finished per-layer search of four trials, the last of them chosen by the Gaussian process."""
    run_dir = tmp_path_factory.mktemp("search") / "run"
    return run_dir, search(run_dir, *PER_LAYER, *BAYESIAN)


@pytest.fixture(scope="module")
def constrained(tmp_path_factory):
    """A finished search with an error to keep, which one of two patterns does: two trainings each, and histograms."""
    run_dir = tmp_path_factory.mktemp("search") / "run"
    asked = ["--weights", "2,8", "--executions", "2", "--max-error", str(MOST_ERROR), "--histogram-freq", "1"]
    return run_dir, search(run_dir, *asked)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished search of the first two of four patterns, both models kept."""
    run_dir = tmp_path_factory.mktemp("search") / "run"
    assert search(run_dir, *TWO_OF_FOUR) == 0
    return run_dir


def test_a_search_leaves_its_results(found):
    run_dir, code = found
    assert code == 0
    rows = read_csv(run_dir / "trials.csv")
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3"]
    assert rows[0]["pattern"] == "8.8.8-8.8.8.8-8-8"
    for row in rows:
        assert float(row["score"]) == pytest.approx(float(row["error_mean"]) + float(row["cost"]), abs=1e-3)
    assert float(rows[0]["cost"]) == 1.0
    best = json.loads((run_dir / "best.json").read_text())
    assert best["score"] == pytest.approx(min(float(row["score"]) for row in rows), abs=1e-3)
    assert all(0 <= float(row["test_error"]) <= 100 for row in read_csv(run_dir / "pareto.csv"))
    assert min(Image.open(run_dir / "pareto.png").size) > 300
    report = (run_dir / "report.md").read_text()
    assert best["formula"][1:] in report
    assert best["pattern"] in report


def test_executions_are_averaged(constrained):
    for row in read_csv(constrained[0] / "trials.csv"):
        errors = [float(error) for error in row["errors"].split()]
        assert len(set(errors)) == 2
        assert float(row["error_mean"]) == pytest.approx(np.mean(errors), abs=1e-3)
        assert float(row["error_spread"]) == pytest.approx(np.std(errors, ddof=1), abs=1e-3)


def test_max_error_ranks_what_keeps_it_by_cost_and_the_rest_behind(constrained):
    run_dir, code = constrained
    rows = read_csv(run_dir / "trials.csv")
    narrow, wide = rows
    assert float(narrow["error_mean"]) > MOST_ERROR >= float(wide["error_mean"])
    assert float(wide["score"]) == float(wide["cost"]) == 1
    assert float(narrow["score"]) == pytest.approx(1 + float(narrow["error_mean"]), abs=1e-3)
    best = json.loads((run_dir / "best.json").read_text())
    assert best["pattern"] == "8-8-8-8"
    assert best["keeps_constraint"]
    assert code == 0


def test_every_trial_has_its_histograms(constrained):
    for row in read_csv(constrained[0] / "trials.csv"):
        events = EventAccumulator(str(constrained[0] / "tensorboard" / f"trial_{row['trial']}" / "quantized")).Reload()
        tags = {tag for kind in events.Tags().values() if isinstance(kind, list) for tag in kind}
        assert {"W/fc1", "G/fc1", "A/fc1_relu", "E/fc1_relu"} <= tags


def test_tensorboard_shows_every_trial_with_all_its_widths(found):
    assert_hparams_view_is_complete(found[0])


def test_a_finished_search_is_not_measured_on_the_test_set_again(found, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(found[0], run_dir)
    for path in run_dir.rglob("model.keras"):
        path.unlink()
    assert search(run_dir, *PER_LAYER, *BAYESIAN, "--resume") == 0
    assert (run_dir / "pareto.csv").read_bytes() == (found[0] / "pareto.csv").read_bytes()


def test_a_found_pattern_trains_in_full(found, tmp_path):
    run_dir, _ = found
    best = json.loads((run_dir / "best.json").read_text())
    args = ["--limit", "64", "--epochs", "1", "--histogram-freq", "0"]
    assert train.main(["--bits-from", str(run_dir / "best.json"), *args, "--run-dir", str(tmp_path / "best")]) == 0
    config = json.loads((tmp_path / "best" / "config.json").read_text())
    same = ("dataset", "model", "width", "bits", "schedule", "augmentation", "loss", "clip_outputs")
    assert {name: config[name] for name in same} == {name: best["config"][name] for name in same}
    other = next(row for row in read_csv(run_dir / "trials.csv") if row["trial"] == "1")
    asked = ["--bits-from", str(run_dir), "--pattern", other["pattern"], *args, "--run-dir", str(tmp_path / "other")]
    assert train.main(asked) == 0
    bits = json.loads((tmp_path / "other" / "config.json").read_text())["bits"]
    weights = [bits[block].split("-")[0] for block in ("fc1", "fc2", "fc3")]
    assert ".".join(weights) == other["pattern"].split("-")[0]


def test_a_terminal_shows_a_bar_and_keeps_the_same_lines(tmp_path, capsys, monkeypatch):
    assert search(tmp_path / "plain", "--weights", "2,8", "--executions", "2") == 0
    plain = capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert search(tmp_path / "shown", "--weights", "2,8", "--executions", "2") == 0
    shown = capsys.readouterr().out
    assert "\u2501" not in plain
    assert "\u2501" in shown
    lines = [line.rpartition(WIPE)[2] for line in shown.split("\n")]
    times = re.compile(r"[0-9.]+ s|about.*|plain|shown")
    assert [times.sub("", line) for line in lines] == [times.sub("", line) for line in plain.split("\n")]


def test_a_schedule_is_that_of_the_trials_and_not_of_the_full_training(tmp_path):
    network = ["--model", "mlp", "--width", "0.25", "--limit", "500", "--gradients", "6,8"]
    trials = ["--schedule", "8@0,1@1", "--epochs", "2", "--run-dir", str(tmp_path / "run")]
    assert tune.main([*network, *trials]) == 0
    rows = {row["pattern"]: row["schedule"] for row in read_csv(tmp_path / "run" / "trials.csv")}
    assert rows == {"2-8-6-8": "2@0,0.25@1", "2-8-8-8": "8@0,1@1"}
    best = json.loads((tmp_path / "run" / "best.json").read_text())
    recipe = recipes.get("digits").schedule_for(best["pattern"])
    assert best["config"]["schedule"] == schedules.to_text(recipe)


@pytest.mark.parametrize(
    "arguments",
    [["--bits-from", "{run}", "--pattern", "9-9-9-9"], ["--bits-from", "{run}/nothing"],
     ["--bits-from", "{run}/search.json"], ["--bits-from", "{run}/pareto.png"]],
)  # fmt: skip
def test_what_bits_from_cannot_use_is_one_line(found, arguments, capsys):
    assert train.main([text.format(run=found[0]) for text in arguments]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_another_search_is_not_overwritten(found, capsys):
    run_dir, _ = found
    before = (run_dir / "trials.csv").read_bytes()
    assert search(run_dir, *PER_LAYER) == 2
    assert search(run_dir, "--resume") == 2
    messages = capsys.readouterr().err.strip().splitlines()
    assert len(messages) == 2
    assert "already holds a search" in messages[0]
    assert "per-layer" in messages[1] or "widths" in messages[1]
    assert (run_dir / "trials.csv").read_bytes() == before


def test_one_worker_runs_the_same_search(whole, tmp_path):
    """The same seed gives the same search; what every oracle asks for by its seed is tested in test_oracles.py."""
    assert search(tmp_path / "worker", *FOUR_PATTERNS, "--max-trials", "2", "--workers", "1") == 0
    assert without_times(tmp_path / "worker") == without_times(whole)


def test_hyperband_continues_its_best_trials(tmp_path):
    assert search(tmp_path / "run", "--weights", "2,4,8", "--oracle", "hyperband", "--epochs", "3") == 0
    rows = read_csv(tmp_path / "run" / "trials.csv")
    assert not list((tmp_path / "run").rglob("*.ckpt"))
    continued = [row for row in rows if row["epochs"] == "3"]
    assert continued
    for row in continued[:1]:
        metrics = read_csv(tmp_path / "run" / "oracle" / f"trial_{row['trial']}" / "execution_0" / "metrics.csv")
        assert [line["epoch"] for line in metrics] == ["1", "2", "3"]
        first = next(other for other in rows if other["pattern"] == row["pattern"] and other["epochs"] == "1")
        assert float(metrics[0]["test_error"]) == pytest.approx(float(first["error_mean"]), abs=1e-3)


def models_in(run_dir):
    return {path.parent.name for path in run_dir.glob("oracle/*/model.keras")}


def test_a_longer_search_is_the_whole_one_and_keeps_the_models_of_the_front(whole, tmp_path):
    """Both patterns cost the same, so one alone is on the front; with --keep all both models stay."""
    assert search(tmp_path / "run", *FOUR_PATTERNS, "--max-trials", "1") == 0
    first = without_times(tmp_path / "run")
    assert search(tmp_path / "run", *FOUR_PATTERNS, "--max-trials", "2", "--resume") == 0
    rows = without_times(tmp_path / "run")
    assert rows[:1] == first
    assert rows == without_times(whole)
    (best,) = read_csv(tmp_path / "run" / "pareto.csv")
    assert models_in(tmp_path / "run") == {f"trial_{best['trial']}"}
    assert models_in(whole) == {"trial_0", "trial_1"}


def test_a_search_on_real_images(tmp_path, tfds_data_dir):
    sizes = ["--dataset", "mnist", "--limit", "1280", "--validation", "500"]
    assert search(tmp_path / "run", *sizes, "--weights", "8") == 0
    (row,) = read_csv(tmp_path / "run" / "trials.csv")
    assert (row["pattern"], float(row["error_mean"]) < 60) == ("8-8-8-8", True)
    assert json.loads((tmp_path / "run" / "best.json").read_text())["config"]["dataset"] == "mnist"


def test_the_integer_engine_finds_the_same(whole, tmp_path):
    """Where float32 stays exact, as at this batch, both engines end every trial alike."""
    assert search(tmp_path / "run", *TWO_OF_FOUR, "--engine", "integer") == 0
    engines = [json.loads((path / "search.json").read_text())["engine"] for path in (whole, tmp_path / "run")]
    assert engines == ["keras", "integer"]
    assert [row["errors"] for row in without_times(tmp_path / "run")] == [row["errors"] for row in without_times(whole)]


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


@pytest.mark.parametrize("trial", ["0/../../../victim", "../../victim", "1", "00", "", 0])
def test_a_record_of_another_trial_than_its_folders_is_refused(copy, trial, capsys):
    """Resumed, the search removes the models of trials that are not on the front."""
    victim = copy.parent / "victim" / "model.keras"
    victim.parent.mkdir()
    victim.write_text("the user's")
    path = copy / "oracle" / "trial_0" / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "trial": trial}))
    with pytest.raises(UserError, match=r"trial_0/record\.json is "):
        SearchDirectory(copy).records()
    assert search(copy, *TWO_OF_FOUR, "--resume") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "trial_0/record.json is " in line
    assert victim.read_text() == "the user's"


@pytest.mark.parametrize("name", ["trial_backup", "trial_0 (copy)", "trial_0.old", "trial_", "trial_٣"])
def test_a_folder_of_no_trial_is_passed_over_with_a_word_and_stays(copy, name, capsys):
    strange = shutil.copytree(copy / "oracle" / "trial_0", copy / "oracle" / name)
    before = {path: path.read_bytes() for path in strange.rglob("*") if path.is_file()}
    with pytest.warns(UserWarning, match="is not a folder of the search: it is left out"):
        assert [record.trial for record in SearchDirectory(copy).records()] == ["0", "1"]
    capsys.readouterr()
    assert search(copy, *TWO_OF_FOUR, "--resume") == 0
    assert "is not a folder of the search: it is left out" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in strange.rglob("*") if path.is_file()} == before
