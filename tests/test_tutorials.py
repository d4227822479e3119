"""The tutorials run as they stand, and are kept with their outputs."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

TUTORIALS = sorted((Path(__file__).parents[1] / "tutorials").glob("*.ipynb"))
_SECONDS = 600


def cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_there_are_tutorials():
    assert {path.stem for path in TUTORIALS} >= {"integers", "convert", "images", "widths", "device"}


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_it_is_kept_with_its_outputs_and_begins_with_an_installation(path):
    code = cells(path)
    assert "%pip install -q" in code[0].source
    assert "wage-tf" in code[0].source
    assert any(cell.outputs for cell in code)
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


@pytest.mark.slow
@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    names = {"__name__": "__main__"}
    for number, cell in enumerate(cells(path)):
        source = TransformerManager().transform_cell(cell.source)
        exec(compile(source, f"{path.name}, code cell {number + 1}", "exec", dont_inherit=True), names)


@pytest.mark.slow
def test_one_runs_in_a_notebook_of_its_own(tmp_path):
    from nbclient import NotebookClient

    notebook = nbformat.read(TUTORIALS[0].with_name("integers.ipynb"), as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=_SECONDS, kernel_name="python3", resources=place).execute()
