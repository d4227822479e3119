"""The training that train.py takes from a search: what is wrong is named with its file."""

from __future__ import annotations

import json

import pytest

from support.written_runs import configuration
from wage_tf.bits import NetworkBits
from wage_tf.errors import UserError
from wage_tf.search import best
from wage_tf.search.directory import SearchDirectory
from wage_tf.search.records import TrialRecord

FOUND = {"pattern": "2.8-8-8-8.f", "trial": "0", "validation_error": 30.0, "validation_error_spread": None,
         "test_error": None, "cost": 0.5, "costs": {"energy": 0.5}, "score": 30.5, "formula": "error + cost",
         "keeps_constraint": True, "epochs": 3, "seed": 0, "executions": 1}  # fmt: skip
RECORD = TrialRecord(
    trial="0", values={"weights": "2"}, pattern="2-8-8-8", bits=NetworkBits.parse("2-8-8-8"), schedule=((0, 8.0),),
    epochs=1, status="completed", reason="", errors=(30.0,), costs={}, cost=0.5, score=30.5, seconds=1.0,
    training_seconds=1.0,
)  # fmt: skip


def written(folder, **changed):
    path = folder / "best.json"
    path.write_text(json.dumps({"config": {**configuration().as_json(), **changed}, **FOUND}))
    return path


def test_the_training_of_the_best_is_in_its_file(tmp_path):
    assert best.training_of(written(tmp_path)) == configuration()
    assert best.training_of(tmp_path) == configuration()


@pytest.mark.parametrize(
    ("field", "wrong"),
    [*(("bits", wrong) for wrong in (None, 5, [], {}, "", "2-8-8", {"*": 3}, {"fc1": "2-8-8-17"}, {"fc1": None})),
     *(("model", wrong) for wrong in (None, 5, ["a"], "")),
     *(("dataset", wrong) for wrong in (None, 5, [], "")),
     *(("width", wrong) for wrong in (None, "x", [1], -1, 0, True, 1e30, float("nan"))),
     *(("schedule", wrong) for wrong in (5, "abc", "", ["8@0"], [], [[1, 8.0]])),
     *(("image_size", wrong) for wrong in ("a", -3, 0, True, 2.5, 2**31)),
     *(("data_dir", wrong) for wrong in (5, []))],
)  # fmt: skip
def test_a_wrong_setting_is_named_with_its_file(tmp_path, field, wrong):
    path = written(tmp_path, **{field: wrong})
    with pytest.raises(UserError) as raised:
        best.training_of(path)
    (line,) = str(raised.value).splitlines()
    assert str(path) in line
    assert f"config.{field}" in line
    assert "received" in line


@pytest.mark.parametrize("content", ["", "null", "[1]", '{"a": 1}'])
def test_what_is_not_of_a_search_is_named(tmp_path, content):
    path = tmp_path / "best.json"
    path.write_text(content)
    with pytest.raises(UserError, match=f"{path}"):
        best.training_of(path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"learning_rates": []}'])
def test_a_pattern_of_a_damaged_search(tmp_path, content):
    SearchDirectory(tmp_path).write_record(RECORD)
    (tmp_path / "search.json").write_text(content)
    with pytest.raises(UserError, match=r"search.json"):
        best.training_of(tmp_path, "2-8-8-8")
