"""What the benchmarks have in common: `--json PATH`."""

import argparse
import ast
import json
import tomllib
from pathlib import Path

import pytest

import benchmarks
from benchmarks import record, train_step

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
    tables = tomllib.loads((FOLDER.parent / "experiments" / "page" / "benchmarks.toml").read_text())
    names = {row["records"].partition("-")[0] for rows in tables.values() for row in rows}
    assert names <= {path.stem for path in RECORDING}
