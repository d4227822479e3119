"""The training that train.py takes from a search; tests/runs/test_documents.py has what may be wrong in its files."""

from __future__ import annotations

import json

import pytest

from support.searches import record
from support.written_runs import configuration
from wage_tf.errors import UserError
from wage_tf.search import best
from wage_tf.search.directory import SearchDirectory

FOUND = {"pattern": "2.8-8-8-8.f", "trial": "0", "validation_error": 30.0, "validation_error_spread": None,
         "test_error": None, "cost": 0.5, "costs": {"energy": 0.5}, "score": 30.5, "formula": "error + cost",
         "keeps_constraint": True, "epochs": 3, "seed": 0, "executions": 1}  # fmt: skip


def test_the_training_of_the_best_is_in_its_file(tmp_path):
    path = tmp_path / "best.json"
    path.write_text(json.dumps({"config": configuration().as_json(), **FOUND}))
    assert best.training_of(path) == best.training_of(tmp_path) == configuration()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"learning_rates": []}'])
def test_a_pattern_of_a_damaged_search(tmp_path, content):
    SearchDirectory(tmp_path).write_record(record())
    (tmp_path / "search.json").write_text(content)
    with pytest.raises(UserError, match=r"search.json is damaged.*--run-dir"):
        best.training_of(tmp_path, "2-8-8-8")
