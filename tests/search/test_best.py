"""The settings that train.py takes from a search: wrong ones are named with their file."""

from __future__ import annotations

import json

import pytest

from wage_tf.errors import UserError
from wage_tf.search import best
from wage_tf.search.directory import SearchDirectory
from wage_tf.search.records import TrialRecord

SETTINGS = {"dataset": "digits", "data_dir": None, "image_size": None, "model": "mlp", "width": 0.25,
            "bits": {"fc1": "2-8-8-8", "*": "8-8-8-f"}, "schedule": "8@0"}  # fmt: skip
RECORD = TrialRecord("0", {"weights": "2"}, "2-8-8-8", "2-8-8-8", "8@0", 1, "completed", "", [30.0], {}, 0.5, 30.5,
                     1.0, 1.0)  # fmt: skip


def written(folder, **changed):
    path = folder / "best.json"
    path.write_text(json.dumps({**SETTINGS, **changed}))
    return path


def test_settings_that_are_not_given_are_left_out(tmp_path):
    expected = {name: value for name, value in SETTINGS.items() if value is not None}
    assert best.training_settings(written(tmp_path, pattern="2.8-8-8-8.f", cost=0.5)) == expected
    assert best.training_settings(tmp_path) == expected


@pytest.mark.parametrize(
    ("field", "wrong"),
    [*(("bits", wrong) for wrong in (None, 5, [], {}, "", "2-8-8", {"*": 3}, {"fc1": "2-8-8-17"}, {"fc1": None})),
     *(("model", wrong) for wrong in (None, 5, ["a"], "")),
     *(("dataset", wrong) for wrong in (None, 5, [], "")),
     *(("width", wrong) for wrong in (None, "x", [1], -1, 0, True, 1e30, float("nan"))),
     *(("schedule", wrong) for wrong in (5, "abc", "", ["8@0"])),
     *(("image_size", wrong) for wrong in ("a", -3, 0, True, 2.5, 2**31)),
     *(("data_dir", wrong) for wrong in (5, []))],
)  # fmt: skip
def test_a_wrong_setting_is_named_with_its_file(tmp_path, field, wrong):
    path = written(tmp_path, **{field: wrong})
    with pytest.raises(UserError) as raised:
        best.training_settings(path)
    (line,) = str(raised.value).splitlines()
    assert str(path) in line
    assert f"{field!r}" in line
    assert repr(wrong) in line


@pytest.mark.parametrize("content", ["", "null", "[1]", '{"a": 1}'])
def test_what_is_not_of_a_search_is_named(tmp_path, content):
    path = tmp_path / "best.json"
    path.write_text(content)
    with pytest.raises(UserError, match=f"{path}"):
        best.training_settings(path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"learning_rates": []}'])
def test_a_pattern_of_a_damaged_search(tmp_path, content):
    SearchDirectory(tmp_path).write_record(RECORD)
    (tmp_path / "search.json").write_text(content)
    with pytest.raises(UserError, match=r"search.json"):
        best.training_settings(tmp_path, "2-8-8-8")
