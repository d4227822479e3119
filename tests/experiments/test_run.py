"""The runner as a person uses it, on the embedded digits."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from experiments import run, spec
from support.runs import wait_for
from wage_tf.runs import checkpoints

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent.parent
TINY = str(Path(__file__).with_name("tiny.toml"))


def arguments(folder, *more):
    return [TINY, *more, "--runs-dir", str(folder / "runs"), "--results-dir", str(folder / "results")]


def start(folder, *more):
    command = [sys.executable, "-m", "experiments.run", *arguments(folder, *more)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def record(folder, name="plain-s0"):
    return json.loads((folder / "results" / "tiny" / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The plain variant, trained without a stop."""
    folder = tmp_path_factory.mktemp("done")
    assert run.main(arguments(folder, "plain")) == 0
    return folder


def test_a_record_says_what_was_run_where_and_what_came_out(done):
    found = record(done)
    results = json.loads((done / "runs/tiny/plain-s0/results.json").read_text())
    assert (found["experiment"], found["variant"], found["seed"], found["status"]) == ("tiny", "plain", 0, "done")
    assert found["command"].startswith("python train.py --model mlp --width 0.05")
    assert found["command"].endswith("--epochs 3 --seed 0 --histogram-freq 0")
    assert {name: found[name] for name in ("test_error", "seconds", "versions")}.items() <= results.items()
    assert found["metrics"]["epoch"] == [1, 2, 3]
    assert found["metrics"]["test_error"][-1] == found["test_error"]
    (session,) = found["sessions"]
    assert session["hardware"]["usable_cores"] >= 1
    assert set(session) == {"started", "commit", "hardware"}


def test_what_is_done_is_not_trained_again(done, monkeypatch, capsys):
    monkeypatch.setattr(subprocess, "Popen", None)
    assert run.main(arguments(done, "plain")) == 0
    assert run.main(arguments(done, "--list")) == 0
    assert "1 of 3 runs" in capsys.readouterr().out


def test_a_run_finished_by_hand_is_recorded_with_its_provenance_unknown(done, tmp_path, monkeypatch):
    shutil.copytree(done / "runs/tiny/plain-s0", tmp_path / "runs/tiny/plain-s0")
    monkeypatch.setattr(subprocess, "Popen", None)
    assert run.main(arguments(tmp_path, "--record")) == 0
    assert record(tmp_path) == {**record(done), "sessions": []}


def test_other_settings_than_those_recorded_are_to_be_trained(done, tmp_path, capsys):
    changed = tmp_path / "tiny.toml"
    changed.write_text(Path(TINY).read_text().replace("epochs = 3", "epochs = 4"))
    assert run.main([str(changed), *arguments(done, "plain", "--list")[1:]]) == 0
    assert "0 of 1 runs" in capsys.readouterr().out


def test_a_run_of_more_epochs_is_not_recorded_as_a_shorter_one(done, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run.Runner, "_train", lambda *_: None)
    shutil.copytree(done / "runs/tiny", tmp_path / "runs/shorter")
    (tmp_path / "shorter.toml").write_text(Path(TINY).read_text().replace("epochs = 3", "epochs = 2"))
    assert run.main([str(tmp_path / "shorter.toml"), *arguments(tmp_path, "plain")[1:]]) == 1
    assert "plain-s0 holds a run of more epochs: remove it" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_stopped_then_killed_it_goes_on_to_the_same_figures(done, tmp_path, capfd):
    directory = tmp_path / "runs/tiny/plain-s0"
    stop = threading.Thread(target=interrupt_after_a_checkpoint, args=(directory,))
    stop.start()
    assert run.main(arguments(tmp_path, "plain")) == 130
    stop.join()
    printed, errors = capfd.readouterr()
    assert errors == ""
    assert "stopped by SIGINT; go on with: python train.py" in printed
    assert "stopped by SIGINT; go on with: python -m experiments.run" in printed

    before = checkpoints_of(directory)
    process = start(tmp_path, "plain")
    wait_for(lambda: checkpoints_of(directory) - before, process)
    (training,) = children(process.pid)
    process.kill()
    process.wait()
    assert run.main(arguments(tmp_path, "plain")) == 0
    assert "another process trains it" in capfd.readouterr().out, "the training keeps the lock"
    os.kill(training, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "results").exists()

    assert run.main(arguments(tmp_path, "plain")) == 0
    assert record(tmp_path)["metrics"] == record(done)["metrics"]
    assert len(record(tmp_path)["sessions"]) == 3


def test_the_same_training_of_another_experiment_is_not_repeated(done, tmp_path, monkeypatch, capsys):
    shutil.copytree(done, tmp_path, dirs_exist_ok=True)
    text = Path(TINY).read_text()
    (tmp_path / "tiny.toml").write_text(text)
    (tmp_path / "twin.toml").write_text(
        text.replace("[variants.plain]", "[variants.same]").replace("plain", "same").replace('"as it is"', '"again"')
        + "[variants.other]\nsettings = { learning_rate = 4 }\n"
    )
    monkeypatch.setattr(spec, "FOLDER", tmp_path)
    monkeypatch.setattr(subprocess, "Popen", None)
    assert run.main(["twin", *arguments(tmp_path, "same")[1:]]) == 0
    assert "the same training as tiny plain-s0" in capsys.readouterr().out
    found = json.loads((tmp_path / "results/twin/same-s0.json").read_text())
    assert found == {**record(done), "experiment": "twin", "variant": "same"}
    with pytest.raises(TypeError, match="NoneType"):
        run.main(["twin", *arguments(tmp_path, "other")[1:]])


def test_a_run_that_another_process_has_is_left_to_it(tmp_path, capsys):
    (tmp_path / "runs/tiny").mkdir(parents=True)
    with open(tmp_path / "runs/tiny/plain-s0.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run.main(arguments(tmp_path, "plain")) == 0
    assert "another process trains it" in capsys.readouterr().out
    assert not (tmp_path / "results").exists()


def test_a_divergence_is_a_result(tmp_path, monkeypatch):
    assert run.main(arguments(tmp_path, "diverging")) == 0
    found = record(tmp_path, "diverging-s0")
    assert found["status"] == "diverged"
    assert "the loss is inf" in found["reason"]
    monkeypatch.setattr(subprocess, "Popen", None)
    assert run.main(arguments(tmp_path, "diverging")) == 0


def test_what_needs_rare_data_is_trained_only_by_name(tmp_path, capsys):
    (tmp_path / "rare.toml").write_text(Path(TINY).read_text().replace('label = "as it is"', 'needs = "a GPU"'))
    rare = [str(tmp_path / "rare.toml")]
    assert run.main([*rare, "--list"]) == 0
    assert run.main([*rare, "plain", "--list"]) == 0
    assert [line.split()[1:4] for line in capsys.readouterr().out.splitlines()] == [["0", "of", "2"], ["0", "of", "1"]]


def test_a_failure_is_told_and_not_recorded(tmp_path, capsys):
    (tmp_path / "bad.toml").write_text(Path(TINY).read_text().replace("batch_size = 32", "batch_size = 0"))
    assert run.main([str(tmp_path / "bad.toml"), *arguments(tmp_path, "plain")[1:]]) == 1
    assert "failed: exit code 2: train.py: error: argument --batch-size: an integer" in capsys.readouterr().err
    assert not (tmp_path / "results/bad").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "an experiment, --all or --list is wanted"),
        (["nothing"], "there is no experiment 'nothing'"),
        (["mnist", "nothing"], "mnist has no variant 'nothing'"),
        (["mnist", "--seeds", "a"], "seeds are integers such as 0,1; received 'a'"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(given, message, capsys):
    try:
        code = run.main(given)
    except SystemExit as stop:
        code = stop.code
    errors = capsys.readouterr().err
    assert code == 2
    assert message in errors
    assert errors.count("\n") == 1


def test_the_environment_names_what_is_not_in_the_project(tmp_path, monkeypatch, capsys):
    text = Path(TINY).read_text().replace("[variants.plain]", '[variants.plain]\nsettings = { dataset = "$AWAY" }')
    (tmp_path / "folder.toml").write_text(text)
    monkeypatch.delenv("AWAY", raising=False)
    assert run.main([str(tmp_path / "folder.toml"), *arguments(tmp_path, "plain")[1:]]) == 1
    assert capsys.readouterr().err == "  failed: the environment has no AWAY, which this experiment needs\n"
    assert not (tmp_path / "runs/folder/plain-s0").exists()


def checkpoints_of(directory):
    return set(checkpoints.paths(directory / "checkpoints"))


def interrupt_after_a_checkpoint(directory):
    wait_for(lambda: checkpoints_of(directory))
    os.kill(os.getpid(), signal.SIGINT)


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
