"""What cannot be searched or trained: a reason in the table, or one line and an exit code."""

from __future__ import annotations

import json

import pytest
from hparams_helper import assert_hparams_view_is_complete
from search_helper import TINY, read_csv, search

import models
import tuner
from wage_tf import datasets
from wage_tf.errors import UserError
from wage_tf.search import candidates, session
from wage_tf.search.directory import SearchDirectory
from wage_tf.search.trials import Study


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
        (["--max-cost", "0.01"], "cheapest"),
        (["--model", "resnet"], "resnet"),
        (["--validation", "5000"], "validation"),
        (["--dataset", "no-such-data"], "no-such-data"),
    ],
)
def test_wrong_input_is_one_line(tmp_path, arguments, word, capsys):
    assert tuner.main([*TINY, "--run-dir", str(tmp_path / "run"), *arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert word in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments", [["--max-error", "0"], ["--max-error", "100"], ["--oracle", "annealing"], ["--max-trials", "0"],
                  ["--max-cost", "1", "--max-error", "1"], ["--workers", "0"]]
)  # fmt: skip
def test_wrong_arguments_are_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        tuner.main(arguments)
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


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


def test_a_damaged_record_is_named(tmp_path):
    directory = SearchDirectory(tmp_path)
    directory.trial("0").mkdir(parents=True)
    (directory.trial("0") / "record.json").write_text("{}")
    with pytest.raises(UserError, match="record"):
        directory.record("0")


def test_a_trial_that_was_given_up_is_in_the_table_and_in_tensorboard(tmp_path):
    args = tuner.parser().parse_args([*TINY, "--weights", "2,8"])
    dataset = datasets.load(args.dataset)
    config = tuner.configure(args, dataset)
    directory = SearchDirectory(tmp_path / "run")
    directory.create(config)
    current = session.Session(Study(config, dataset, models.build), directory, print)
    current._open()
    trial = current.oracle.create_trial("worker0").trial_id
    current._give_up(trial, "its worker died 3 times")
    with pytest.raises(session.NothingTrained, match="1 of them: its worker died 3 times"):
        current.finish("", 0.0)
    assert_hparams_view_is_complete(directory.path)
