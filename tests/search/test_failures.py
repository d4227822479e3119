"""What cannot be searched or trained: a reason in the table, or one line and an exit code."""

from __future__ import annotations

import errno
import json
import logging
import signal
from unittest import mock

import pytest

from support.searches import TINY, assert_hparams_view_is_complete, read_csv, search
from wage_tf import datasets
from wage_tf.cli import startup, tune
from wage_tf.errors import UserError
from wage_tf.search import candidates, report, session, tensorboard, trials
from wage_tf.search.directory import SearchDirectory
from wage_tf.search.trials import Study

pytestmark = pytest.mark.slow


def test_a_network_without_classes_is_not_searched(tmp_path, capsys):
    assert search(tmp_path / "run", "--model", "autoencoder") == 2
    err = capsys.readouterr().err
    assert "--model autoencoder: a search compares how networks classify" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_an_error_that_nothing_keeps_is_said(tmp_path, capsys):
    assert search(tmp_path / "run", "--max-error", "0.001") == 1
    out, err = capsys.readouterr()
    assert "no pattern keeps --max-error 0.001" in err
    assert "2-8-8-8 *" in out


def test_patterns_that_cannot_train_are_kept_as_failed(tmp_path, capsys):
    """8 trains 8-bit weights; 32 is too much for them, and 2^20 throws all of them from clip to clip."""
    code = search(tmp_path / "run", "--weights", "8", "--learning-rates", "8,32,1048576")
    rows = read_csv(tmp_path / "run" / "trials.csv")
    assert [row["status"] for row in rows] == ["completed", "failed", "failed"]
    assert "chance" in rows[1]["reason"]
    assert "all updates clipped" in rows[2]["reason"]
    assert code == 0
    assert "failed" in capsys.readouterr().out
    assert_hparams_view_is_complete(tmp_path / "run")


def test_a_pattern_that_the_engine_does_not_train_is_kept_as_failed(tmp_path):
    assert search(tmp_path / "run", "--engine", "integer", "--gradients", "8,f") == 0
    rows = read_csv(tmp_path / "run" / "trials.csv")
    assert [row["status"] for row in rows] == ["completed", "failed"]
    assert rows[1]["reason"].startswith("integer training: not all operands are integers")


def test_a_loss_that_is_no_number_is_kept_as_failed(tmp_path, capsys):
    floats = [argument for operand in candidates.OPERANDS for argument in (f"--{operand}", "f")]
    assert search(tmp_path / "run", *floats, "--learning-rates", "8,1e30") == 0
    rows = read_csv(tmp_path / "run" / "trials.csv")
    assert [row["status"] for row in rows] == ["completed", "failed"]
    assert "the loss is nan" in rows[1]["reason"]
    assert f"failed: {rows[1]['reason']}" in capsys.readouterr().out
    assert rows[1]["reason"] in (tmp_path / "run" / "report.md").read_text()


def test_all_trials_failing_gives_the_commonest_reason(tmp_path, capsys):
    assert search(tmp_path / "run", "--weights", "8", "--learning-rates", "1048576") == 1
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert "none of 1 trials could be trained" in message
    assert "all updates clipped" in message


def test_what_costs_too_much_is_not_trained(tmp_path):
    assert search(tmp_path / "run", "--weights", "2,8", "--max-cost", "0.5") == 0
    rows = {row["pattern"]: row for row in read_csv(tmp_path / "run" / "trials.csv")}
    assert rows["8-8-8-8"]["status"] == "too costly"
    assert float(rows["8-8-8-8"]["training_seconds"]) == 0
    assert json.loads((tmp_path / "run" / "best.json").read_text())["pattern"] == "2-8-8-8"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--weights", ""], "--weights"),
        (["--weights", "2,x"], "'x'"),
        (["--errors", "1"], "--errors"),
        (["--per-layer", "layers"], "--per-layer"),
        (["--per-layer", "gradients"], "gradients"),
        (["--learning-rates", "0"], "--learning-rates"),
        (["--learning-rates", "3,8", "--engine", "integer"], "learning rate 3.0 is not a power of two"),
        (["--max-cost", "0.01"], "cheapest"),
        (["--model", "resnet"], "resnet"),
        (["--oracle", "annealing"], "annealing"),
        (["--validation", "5000"], "validation"),
        (["--dataset", "no-such-data"], "no-such-data"),
        (["--weights", "2,8", "--oracle", "hyperband", "--epochs", "3"], "--oracle grid"),
        (["--oracle", "hyperband", "--epochs", "1"], "--oracle grid"),
    ],
)
def test_wrong_input_is_one_line(tmp_path, arguments, word, capsys):
    assert tune.main([*TINY, "--run-dir", str(tmp_path / "run"), *arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert word in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments", [["--max-error", "0"], ["--max-error", "100"], ["--max-trials", "0"],
                  ["--max-cost", "1", "--max-error", "1"], ["--workers", "0"], ["--seed", "4294967296"],
                  ["--seed", "4294967295", "--oracle", "bayesian"], ["--width", "1e30"], ["--width", "101"],
                  ["--schedule", "8@1"], ["--schedule", "8@0", "--learning-rates", "8"]]
)  # fmt: skip
def test_wrong_arguments_are_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        tune.main(arguments)
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_schedule_that_the_integer_engine_cannot_follow_is_one_line(tmp_path, capsys):
    arguments = ["--engine", "integer", "--schedule", "8@0,0.3@1", "--run-dir", str(tmp_path / "run")]
    assert tune.main(arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "learning rate 0.3 is not a power of two" in line
    assert not (tmp_path / "run").exists()


def test_a_folder_with_other_files_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert search(tmp_path) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert "is not empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    "environment", [{"KERASTUNER_ORACLE_IP": "127.0.0.1"}, {"KERASTUNER_TUNER_ID": "chief"},
                    {"KERASTUNER_TUNER_ID": "chief", "KERASTUNER_ORACLE_IP": "::1", "KERASTUNER_ORACLE_PORT": "x"}]
)  # fmt: skip
def test_an_incomplete_environment_is_one_line(tmp_path, environment, monkeypatch, capsys):
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    assert search(tmp_path / "run") == 2
    assert "KERASTUNER" in capsys.readouterr().err


def opened(path, *arguments):
    """A session of a new search."""
    args = tune.parser().parse_args([*TINY, *arguments])
    dataset = datasets.load(args.dataset)
    config = tune.configuration_of(args, dataset)
    directory = SearchDirectory(path)
    directory.create(config)
    current = session.Session(Study(config, dataset), directory, print)
    current._open()
    return current


HYPERBAND = ["--weights", "2,4,8", "--oracle", "hyperband", "--epochs", "3"]


def recorded(current, trial, values, **found):
    """Writes the record of a trial that was not run; by default, completed after one epoch."""
    shares = current.study.costs_of(current.study.candidates.pattern(values))
    nothing = {"epochs": 1, "status": "completed", "reason": "", "seconds": 1.0, "training_seconds": 1.0}
    record = trials._record(current.study, trial, values, shares, **{**nothing, **found})
    current.directory.write_record(record)
    return record


def test_a_trial_that_was_given_up_is_in_the_table_and_in_tensorboard(tmp_path):
    current = opened(tmp_path / "run", *HYPERBAND)
    trial = current.oracle.create_trial("worker0").trial_id
    current._give_up(trial, "its worker died 3 times")
    assert set(current.directory.record(trial).values) == {"weights"}
    with pytest.raises(session.NothingTrained, match="1 of them: its worker died 3 times"):
        current.finish("", 0.0)
    assert_hparams_view_is_complete(current.directory.path)


def test_a_bar_in_a_reason_does_not_break_the_reports_row(tmp_path):
    current = opened(tmp_path / "run", "--weights", "2,8")
    best = recorded(current, "0", {"weights": "2"}, errors=(30.0,))
    failed = recorded(current, "1", {"weights": "8"}, errors=(), status="failed", reason="a | b")
    text = report.report(current.study.config, current.study.scoring, [best, failed], [best], best, {}, "", 0.0)
    assert text.endswith("| 8-8-8-8 | failed | a \\| b |\n")


def test_a_search_without_any_trial_says_so(tmp_path):
    with pytest.raises(session.NothingTrained, match="no trial"):
        opened(tmp_path / "run").finish("", 0.0)


def test_a_model_that_a_worse_longer_training_brings_back_to_the_front_is_still_there(tmp_path):
    """Weights of 2 bits cost the same with 4 and 8 bits of activations, so the smaller error beats the larger."""
    current = opened(tmp_path / "run", *HYPERBAND, "--activations", "4,8")
    for trial, activations, error, epochs in (("0", "4", 30.0, 1), ("1", "8", 25.0, 1), ("2", "8", 33.0, 3)):
        recorded(current, trial, {"weights": "2", "activations": activations}, errors=(error,), epochs=epochs)
        current.directory.model(trial).write_bytes(b"no model")
        current.oracle.end_order.append(trial)
        current._report(1)
    assert current.directory.model("0").exists()
    assert not current.directory.model("1").exists()


def test_the_model_of_a_trial_that_has_not_ended_stays(tmp_path):
    """A worker saves it before the trial's next training, or its record, while the chief reports another's end."""
    current = opened(tmp_path / "run", "--weights", "2,8")
    current.directory.trial("1").mkdir(parents=True)
    current.directory.model("1").write_bytes(b"a model")
    recorded(current, "0", {"weights": "2"}, errors=(30.0,))
    current.oracle.end_order.append("0")
    current._report(2)
    assert current.directory.model("1").exists()


def test_a_damaged_or_missing_model_of_the_front_has_no_test_error(tmp_path):
    current = opened(tmp_path / "run", "--weights", "2,8")
    recorded(current, "0", {"weights": "2"}, errors=(30.0,))
    recorded(current, "1", {"weights": "8"}, errors=(20.0,))
    current.directory.model("0").write_bytes(b"no model")
    with pytest.warns(UserWarning, match="model.keras") as warned:
        outcome = current.finish("", 0.0)
    assert len(warned) == 2
    assert outcome.best.trial == "1"
    assert [row["test_error"] for row in read_csv(current.directory.pareto)] == ["", ""]
    assert json.loads(current.directory.best.read_text())["test_error"] is None


def test_a_continued_trial_whose_state_is_gone_trains_from_the_beginning(tmp_path):
    current = opened(tmp_path / "run", *HYPERBAND)
    recorded(current, "0", {"weights": "2"}, errors=(30.0,))
    record = trials.run(current.study, current.directory, "1", {"weights": "2"}, 2, continued="0", keep_state=True)
    assert (record.status, record.epochs) == ("completed", 2)
    metrics = read_csv(current.directory.trial("1") / "execution_0" / "metrics.csv")
    assert [row["epoch"] for row in metrics] == ["1", "2"]


def test_a_trial_that_continues_a_failed_one_fails_for_the_same_reason(tmp_path):
    current = opened(tmp_path / "run", *HYPERBAND)
    recorded(current, "0", {"weights": "2"}, errors=(), status="failed", reason="stuck at chance")
    record = trials.run(current.study, current.directory, "1", {"weights": "2"}, 3, continued="0", keep_state=True)
    assert (record.status, record.reason) == ("failed", "stuck at chance")


def test_a_full_disk_ends_the_search_and_resume_runs_the_trial_again(tmp_path, monkeypatch, capsys):
    arguments = ["--weights", "2", "--keep", "all", "--resume"]
    for place, error, named in (
        ("keras.Model.save", OSError(errno.ENOSPC, "No space left"), "model.keras: No space left"),
        ("wage_tf.runs.training.fit", OSError(errno.ENOSPC, "No space left", "metrics.csv"),
         "metrics.csv: No space left"),
        ("wage_tf.runs.training.fit", UserError("an image is damaged"), "an image is damaged"),
    ):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(place, mock.Mock(side_effect=error))
            assert search(tmp_path / "run", *arguments) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert named in line
        assert not list(tmp_path.rglob("record.json"))
    assert search(tmp_path / "run", *arguments) == 0
    assert [row["status"] for row in read_csv(tmp_path / "run" / "trials.csv")] == ["completed"]


def test_a_model_that_cannot_be_saved_is_kept_as_failed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("keras.Model.save", mock.Mock(side_effect=RuntimeError("cannot be saved\nbecause")))
    assert search(tmp_path / "run", "--weights", "2") == 1
    assert "1 of them: RuntimeError: cannot be saved" in capsys.readouterr().err
    assert [row["status"] for row in read_csv(tmp_path / "run" / "trials.csv")] == ["failed"]


def test_what_tensorboard_cannot_write_is_an_error_of_the_disk(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        tensorboard.write_space(tmp_path / "file" / "events", {"weights": ("2",)})


def test_a_budget_is_spent_on_what_can_be_trained(tmp_path):
    asked = ["--weights", "3,8,16", "--activations", "4,8,16", "--per-layer", "weights,activations"]
    current = opened(tmp_path / "run", *asked, "--oracle", "random", "--max-trials", "5", "--max-cost", "0.55")
    for _ in range(5):
        values = current.oracle.create_trial("worker0").hyperparameters.values
        del current.oracle.ongoing_trials["worker0"]
        assert current.study.affords(values)


def test_an_interrupted_import_is_one_line(monkeypatch, capsys):
    def interrupted(verbose):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(startup, "importing_tensorflow", interrupted)
    assert tune.main(["--weights", "2,8", "--resume"]) == 130
    out, err = capsys.readouterr()
    assert out.strip() == "stopped by SIGINT; go on with: python tuner.py --weights 2,8 --resume"
    assert not err


def test_warnings_of_the_libraries_stay_off_the_terminal(tmp_path):
    assert search(tmp_path / "run", "--weights", "") == 2
    assert not logging.getLogger("absl").isEnabledFor(logging.WARNING)


def test_the_help_counts_the_trials_of_its_example():
    assert "six trials on scikit-learn's digits" in tune.parser().format_help()
