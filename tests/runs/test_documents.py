"""Every JSON file of a run and of a search: whatever is wrong in it is one line that names the file and the entry."""

from __future__ import annotations

import json

import pytest

from support.searches import record
from support.written_runs import configuration
from wage_tf import recipes
from wage_tf.bits import NetworkBits
from wage_tf.errors import UserError
from wage_tf.runs.directory import Results, RunDirectory
from wage_tf.search import best
from wage_tf.search.directory import SearchConfig, SearchDirectory

BITS = NetworkBits.parse({"fc1": "8-8-8-8", "*": "2-8-8-f"})
CONFIG = configuration()
SEARCH = SearchConfig(
    dataset="digits", data_dir=None, image_size=None, limit=None, validation=9, data=CONFIG.data, engine="keras",
    recipe=recipes.get("digits"), model="mlp", width=1.0, widths={"weights": ("2", "8")}, per_layer=(),
    learning_rates=(8.0,), schedule=((0, 8.0),), oracle="grid", max_trials=None, epochs=1, executions=1, seed=0,
    cost="energy", cost_of="inference", cost_weight=1.0, max_cost=None, max_error=None, keep="front", histogram_freq=0,
)  # fmt: skip
RESULTS = Results(
    test_error=1.5, best_test_error=1.5, best_epoch=1, train_error=2.5, epochs=1, seed=0, bits=BITS, model="mlp",
    dataset="digits", seconds=1.0, versions={"python": "3"},
)  # fmt: skip
BEST = best.Best(
    config=CONFIG, pattern="2-8-8-8", trial="0", validation_error=30.0, validation_error_spread=1.0, test_error=1.5,
    cost=0.5, costs={"energy": 0.5}, score=30.5, formula="error + cost", keeps_constraint=True, epochs=1, seed=0,
    executions=1,
)  # fmt: skip
KINDS = {
    "config.json": (CONFIG, lambda folder: RunDirectory(folder).read_config()),
    "results.json": (RESULTS, lambda folder: RunDirectory(folder).read_results()),
    "search.json": (SEARCH, lambda folder: SearchDirectory(folder).read_config()),
    "oracle/trial_0/record.json": (record(bits=BITS), lambda folder: SearchDirectory(folder).record("0")),
    "best.json": (BEST, lambda folder: best.training_of(folder)),
}
ENTRIES = [(name, entry) for name, (document, _) in KINDS.items() for entry in document.as_json()]


def refused(folder, name, content):
    """The line with which a file's content is refused."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    read = SearchDirectory.test_errors if name == "tests.json" else None
    with pytest.raises(UserError) as raised:
        read(SearchDirectory(folder)) if read else KINDS[name][1](folder)
    (line,) = str(raised.value).splitlines()
    assert str(path) in line
    assert len(line) < 600 + len(str(path))
    return line


@pytest.mark.parametrize("name", KINDS)
def test_what_is_written_is_read_back(tmp_path, name):
    document, read = KINDS[name]
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    document.write(tmp_path / name)
    if name == "best.json":
        assert read(tmp_path) == best.training_of(tmp_path / name) == document.config
    else:
        assert read(tmp_path) == document


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", "5", b"\xff\xfe{}", "[" * 100_000, '{"a":' * 100_000, '{"bits": ' + "[" * 100_000,
     '{"a\\u001b[2J\\nb": 1}', "\0", "NaN"],
)  # fmt: skip
@pytest.mark.parametrize("name", [*KINDS, "tests.json"])
def test_what_is_no_such_file_is_named(tmp_path, name, content):
    assert "\x1b" not in refused(tmp_path, name, content)


@pytest.mark.parametrize(("name", "entry"), ENTRIES)
def test_every_wrong_entry_is_named(tmp_path, name, entry):
    sound = KINDS[name][0].as_json()
    wrong = [{"x": [None]}, float("nan"), float("-inf"), [[[]]], "a\0b", {"": "\0"}]
    wrong += [] if isinstance(sound[entry], float) else [2**70, -(2**70)]
    for value in wrong:
        assert entry in refused(tmp_path, name, json.dumps({**sound, entry: value}))


OF_A_RUN = [
    *(("bits", wrong) for wrong in (None, 5, [], {}, "", "2-8-8", {"*": 3}, {"fc1": "2-8-8-17"}, {"fc1": None})),
    *(("model", wrong) for wrong in (None, 5, ["a"], "")),
    *(("dataset", wrong) for wrong in (None, 5, [], "")),
    *(("width", wrong) for wrong in (None, "x", [1], -1, 0, True, 1e30)),
    *(("schedule", wrong) for wrong in (5, 8, "abc", "", "8@1", ["8@0"], [], [[1, 8.0]])),
    *(("image_size", wrong) for wrong in ("a", "8", -3, 0, True, 2.5, 2**31)),
    *(("data_dir", wrong) for wrong in (5, [], "a\0b")),
    *(("batch_size", wrong) for wrong in (0, "32", 2**70)), ("epochs", -1), ("seed", 0.5), ("seed", -1), ("limit", 0),
    ("augmentation", {"pad": "4"}), ("loss", "hinge"), ("format", 3), ("gamma", None), ("data", {"classes": []}),
]  # fmt: skip
OF_A_TRIAL = [("errors", "x"), ("errors", ["x"]), ("errors", [True]), ("epochs", None), ("status", "done"),
              ("cost", "0.5"), ("costs", []), ("costs", {"energy": "x"}), ("bits", 5),
              ("values", {"weights": 2})]  # fmt: skip


@pytest.mark.parametrize(("entry", "wrong"), OF_A_RUN)
def test_a_wrong_setting_of_a_run_is_named_in_its_file_and_in_a_searchs(tmp_path, entry, wrong):
    wrong = {**CONFIG.as_json(), entry: wrong}
    assert f"({entry}" in refused(tmp_path, "config.json", json.dumps(wrong))
    assert f"(config.{entry}" in refused(tmp_path, "best.json", json.dumps({**BEST.as_json(), "config": wrong}))


@pytest.mark.parametrize(("entry", "wrong"), OF_A_TRIAL)
def test_a_wrong_figure_of_a_trial_is_named(tmp_path, entry, wrong):
    content = json.dumps({**record().as_json(), entry: wrong})
    line = refused(tmp_path, "oracle/trial_0/record.json", content)
    assert "is damaged or of another version (" + entry in line
    assert "remove it" in line


@pytest.mark.parametrize(("name", "entry"), ENTRIES)
def test_a_missing_entry_is_named(tmp_path, name, entry):
    sound = KINDS[name][0].as_json()
    assert entry in refused(tmp_path, name, json.dumps({key: sound[key] for key in sound if key != entry}))


@pytest.mark.parametrize("name", KINDS)
def test_an_unknown_entry_is_named(tmp_path, name):
    assert "colour" in refused(tmp_path, name, json.dumps({**KINDS[name][0].as_json(), "colour": 1}))


@pytest.mark.parametrize("value", [float("nan"), "1", None, [1], {"0": 1}])
def test_a_wrong_test_error_is_named(tmp_path, value):
    assert "7" in refused(tmp_path, "tests.json", json.dumps({"7": value})).rpartition("tests.json")[2]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"learning_rates": []}'])
def test_a_pattern_of_a_damaged_search(tmp_path, content):
    SearchDirectory(tmp_path).write_record(record())
    (tmp_path / "search.json").write_text(content)
    with pytest.raises(UserError, match=r"search.json is damaged.*--run-dir"):
        best.training_of(tmp_path, "2-8-8-8")
