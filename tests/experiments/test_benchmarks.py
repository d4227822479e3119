"""What the benchmarks have in common: `--json PATH`."""

import argparse
import ast
import json
import subprocess
from pathlib import Path

import pytest

import benchmarks
from benchmarks import __main__ as runner
from benchmarks import record, train_step
from experiments import results

FOLDER = Path(benchmarks.__file__).parent
RECORDING = [path for path in sorted(FOLDER.glob("[a-z]*.py")) if "record.add_argument" in path.read_text()]


def test_a_record_says_what_it_holds_for(tmp_path):
    path = tmp_path / "new" / "it.json"
    record.write(path, "memory", {"ratio": 1.25}, ["--width", "0.25", "--json", str(path)])
    found = json.loads(path.read_text())
    assert found["command"] == "python -m benchmarks.memory --width 0.25"
    assert found["figures"] == {"ratio": 1.25}
    assert {"started", "commit", "hardware", "load", "versions"} <= found.keys()
    assert found["hardware"]["cores"] >= 1


def test_without_the_argument_nothing_is_written(tmp_path):
    parser = argparse.ArgumentParser()
    record.add_argument(parser)
    record.write(parser.parse_args([]).json, "memory", {"ratio": 1.25}, [])
    assert list(tmp_path.iterdir()) == []


def test_a_benchmark_writes_what_it_prints(tmp_path, monkeypatch, capsys):
    path = tmp_path / "it.json"
    arguments = ["--batch-size", "4", "--rounds", "2", "--json", str(path)]
    monkeypatch.setattr("sys.argv", ["train_step", *arguments])
    train_step.main()
    figures = json.loads(path.read_text())["figures"]
    assert f"ratio {figures['ratio']:.3f} (median of 2)" in capsys.readouterr().out
    assert figures["integer_ms"] > 0


@pytest.mark.parametrize("path", RECORDING, ids=lambda path: path.stem)
def test_a_benchmark_records_under_its_own_name(path):
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    written = [call for call in calls if ast.unparse(call.func) == "record.write"]
    assert [ast.literal_eval(call.args[1]) for call in written] == [path.stem]


def test_every_row_of_the_page_is_a_benchmark_that_records():
    for name, command in runner.commands().items():
        benchmark = name.partition("-")[0]
        assert benchmark in {path.stem for path in RECORDING}
        assert command.startswith(f"python -m benchmarks.{benchmark}")


def test_all_benchmarks_run_that_this_machine_has_no_record_of(tmp_path, monkeypatch, capsys):
    commands, done = {"a": "python -m a --width 2", "b": "python -m b", "c": "python -m c"}, []
    monkeypatch.setattr(runner, "commands", lambda: commands)
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    monkeypatch.setattr(
        subprocess, "run", lambda words, **_: done.append(words[1:]) or argparse.Namespace(returncode=len(done) > 1)
    )
    paths = {name: tmp_path / "benchmarks" / f"{name}@{runner.machine()}.json" for name in commands}
    paths["b"].parent.mkdir()
    paths["b"].touch()
    assert runner.main(["b"]) == 0
    assert runner.main([]) == 1
    assert done == [
        ["-m", "b", "--json", str(paths["b"])],
        ["-m", "a", "--width", "2", "--json", str(paths["a"])],
        ["-m", "c", "--json", str(paths["c"])],
    ]
    assert runner.main(["d"]) == 2
    assert "there is no benchmark 'd': choose from a, b, c" in capsys.readouterr().err
