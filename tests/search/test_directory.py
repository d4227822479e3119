"""A search's directory in which others have written: nothing outside it is touched, and folders of no trial stay."""

from __future__ import annotations

import json
import shutil

import pytest

from support.searches import search
from wage_tf.errors import UserError
from wage_tf.search.directory import SearchDirectory

pytestmark = pytest.mark.slow
TWO_TRIALS = ["--weights", "2,8"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("search") / "run"
    assert search(run_dir, *TWO_TRIALS) == 0
    return run_dir


@pytest.fixture
def run_dir(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


@pytest.mark.parametrize("trial", ["0000/../../../victim", "../../victim", "0001", "0", "", 0])
def test_a_record_of_another_trial_than_its_folders_is_refused(run_dir, trial, capsys):
    """Resumed, the search removes the models of trials that are not on the front."""
    victim = run_dir.parent / "victim" / "model.keras"
    victim.parent.mkdir()
    victim.write_text("the user's")
    path = run_dir / "oracle" / "trial_0000" / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "trial": trial}))
    with pytest.raises(UserError, match=r"trial_0000/record\.json is "):
        SearchDirectory(run_dir).records()
    capsys.readouterr()
    assert search(run_dir, *TWO_TRIALS, "--resume") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "trial_0000/record.json is " in line
    assert victim.read_text() == "the user's"


@pytest.mark.parametrize("name", ["trial_backup", "trial_0000 (copy)", "trial_0.old", "trial_", "trial_٣"])
def test_a_folder_of_no_trial_is_passed_over_with_a_word_and_stays(run_dir, name, capsys):
    strange = shutil.copytree(run_dir / "oracle" / "trial_0000", run_dir / "oracle" / name)
    before = {path: path.read_bytes() for path in strange.rglob("*") if path.is_file()}
    with pytest.warns(UserWarning, match="is not a folder of the search: it is left out"):
        assert [record.trial for record in SearchDirectory(run_dir).records()] == ["0000", "0001"]
    capsys.readouterr()
    assert search(run_dir, *TWO_TRIALS, "--resume") == 0
    assert "is not a folder of the search: it is left out" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in strange.rglob("*") if path.is_file()} == before
