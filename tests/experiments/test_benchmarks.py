"""What the benchmarks have in common, variants that take turns, `--json PATH`, and the tables of their records."""

import argparse
import ast
import contextlib
import functools
import json
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

import benchmarks
from benchmarks import __main__ as runner
from benchmarks import record, train_step, turns
from experiments import figures, results, tables
from wage_tf import files

FOLDER = Path(benchmarks.__file__).parent
RECORDING = [path for path in sorted(FOLDER.glob("[a-z]*.py")) if "record.parser(" in path.read_text()]


def test_a_record_says_what_it_holds_for(tmp_path, monkeypatch):
    path = tmp_path / "new" / "it.json"
    monkeypatch.setattr("sys.argv", ["train_step", "--width", "0.25", "--json", str(path)])
    record.write(path, "train_step", {"ratio": 1.25})
    found = json.loads(path.read_text())
    assert found["command"] == "python -m benchmarks.train_step --width 0.25"
    assert found["figures"] == {"ratio": 1.25}
    assert {"started", "commit", "hardware", "load", "versions"} <= found.keys()
    assert found["hardware"]["cores"] >= 1


def test_without_the_argument_nothing_is_written(monkeypatch):
    parser, written = record.parser("train_step", ""), []
    monkeypatch.setattr(files, "write_json", lambda path, _: written.append(path))
    for argv in ([], ["--json", "it.json"]):
        record.write(parser.parse_args(argv).json, "train_step", {"ratio": 1.25})
    assert written == [Path("it.json")]


def test_a_benchmark_writes_what_it_prints(tmp_path, monkeypatch, capsys):
    path, times = tmp_path / "it.json", {"integers": turns.Times([0.3, 0.5], 6_000_000)}
    times["floats"] = turns.Times([0.2, 0.4], 5_000_000)
    monkeypatch.setattr(turns, "take_turns", lambda variants, rounds, budget: times)
    monkeypatch.setattr("sys.argv", ["train_step", "--widths", "0.5", "--batch-sizes", "4,8", "--json", str(path)])
    train_step.main()
    sizes = json.loads(path.read_text())["figures"]["sizes"]
    assert [(size["width"], size["batch_size"]) for size in sizes] == [(0.5, 4), (0.5, 8)]
    assert sizes[0]["milliseconds"] == pytest.approx({"integers": 400, "floats": 300})
    assert sizes[0]["time_ratio"] == pytest.approx((1.5 + 1.25) / 2)
    assert sizes[0]["memory_ratio"] == 1.2
    assert (
        "width 0.5 batch 4: float32 300.0 ms 5 MB, 2-8-8-8 400.0 ms 6 MB, ratios 1.38 and 1.20"
        in capsys.readouterr().out
    )


@pytest.mark.slow
def test_a_step_trains(monkeypatch):
    model, images, targets = train_step.compiled("lenet5", "2-8-8-8", 0.1, 4)
    monkeypatch.setattr(train_step, "compiled", lambda *_: (model, images, targets))
    before = model.get_weights()
    train_step.make_step("lenet5", "2-8-8-8", 0.1, 4)()
    assert not all(np.array_equal(*pair) for pair in zip(before, model.get_weights(), strict=True))


def sleeping(seconds):
    return functools.partial, [time.sleep, seconds]


def test_variants_take_turns_in_processes_of_their_own():
    found = turns.take_turns({"short": sleeping(0.005), "long": sleeping(0.04)}, rounds=3, warm_up=1)
    assert [len(times.seconds) for times in found.values()] == [3, 3]
    assert min(found["short"].seconds) >= 0.005
    assert min(found["long"].seconds) >= 0.04
    assert all(2e6 < times.peak_bytes < 4e9 for times in found.values())


def test_a_ratio_is_the_median_of_those_of_a_round():
    times, reference = turns.Times([3.0, 8.0, 5.0], 1), turns.Times([1.0, 4.0, 1.0], 1)
    assert turns.median_ratio(times, reference) == 3.0


def test_a_budget_leaves_three_rounds():
    found = turns.take_turns({"one": sleeping(0.001)}, rounds=50, warm_up=0, budget=0)
    assert len(found["one"].seconds) == 3


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

    def started(words, **_):
        done.append(words[1:])
        return contextlib.nullcontext(argparse.Namespace(communicate=lambda **_: None, returncode=len(done) > 1))

    monkeypatch.setattr(subprocess, "Popen", started)
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


PEERS = [
    {"name": "wage_tf, 2-8-8-8", "milliseconds": 100.0, "ratio": 1.0, "peak_megabytes": 1500.4},
    {"name": "PyTorch, WAGE", "milliseconds": 151.0, "ratio": 1.5, "peak_megabytes": 1600.0},
    {"name": "PyTorch, WAGE, torch.compile", "milliseconds": 130.0, "ratio": 1.3, "peak_megabytes": 1700.0},
]


@pytest.mark.parametrize(
    ("equal", "said"), [(True, "every stored weight is equal"), (False, "DIFFER"), (None, "1.30 times as fast")]
)
def test_peers_are_a_table_and_a_verdict(equal, said):
    found = {"width": 1.0, "batch_size": 64, "rows": PEERS, "codes_equal": equal, "absent": {"Larq": "no"}, "peers": {}}
    text = tables.of_peers(found)
    assert "| PyTorch, WAGE | 151 ms | 1.50 | 1600 MB |" in text
    assert said in " ".join(text.split())
    assert ("one step of both" in " ".join(text.split())) == (equal is not None)
    assert "Larq is missing: `no`." in text


def test_sizes_are_a_table_and_a_picture(tmp_path):
    size = {"milliseconds": {"integers": 12.0, "floats": 10.0}, "peak_megabytes": {"integers": 612.0, "floats": 510.0}}
    sizes = [
        {"width": w, "batch_size": b, "time_ratio": 1.2, "memory_ratio": 1.25, **size}
        for w in (0.5, 1)
        for b in (8, 16)
    ]
    text = tables.of_train_steps({"sizes": sizes})
    assert "| 0.5 | 16 | 10.0 ms | 12.0 ms | 1.20 | 510 MB | 612 MB | 1.25 |" in text
    figures.steps(sizes, tmp_path / "steps.png")
    assert (tmp_path / "steps.png").read_bytes().startswith(b"\x89PNG")


def test_records_are_shown_with_their_origin_the_newest_first(tmp_path):
    case = {"model": "vgg7", "step_ms": 10.0, "median_step_ms": 11.0, "cpu_ms": 9.0}
    more = {"gradient_bytes": 2e6, "layers": 8, "maximum_ms": 1.25, "maxima_share": 0.5}
    cases = [
        {**case, "processes": 1, "batch": 8, "images_per_second": 800.0},
        {**case, "processes": 2, "batch": 16, "images_per_second": 1200.0, **more},
    ]
    machine = {"cpu": "A CPU", "flags": [], "cores": 2, "usable_cores": 2, "gpus": []}
    for day in ("2026-01-02", "2026-01-03"):
        found = {"benchmark": "scaling", "command": "go", "started": day, "commit": "abc", "hardware": machine}
        (tmp_path / f"scaling@{day}.json").write_text(json.dumps({**found, "figures": {"throughput": cases}}))
    text = tables.of_records("scaling", tmp_path)
    row = "| VGG7, width 0.25 | 2 | 16 | 10.0 ms | 1200 | 1.50 | 11.0 ms | 9.0 ms | 2.0 MB | 8 · 1.25 ms, 50% |"
    assert text.count(row) == 2
    first, second = (text.index(f"`go`, 2026-01-0{day}, commit `abc`; A CPU, 2 cores.") for day in (3, 2))
    assert first < second
    assert tables.of_records("peers", tmp_path) == "not run yet"
