"""The report shows what the records say and nothing else."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments import figures, report, results, spec, tables
from experiments.summaries import outcomes
from wage_tf.errors import UserError

TINY = spec.load(Path(__file__).with_name("tiny.toml"))
HERE = {"cpu": "Some CPU", "flags": ["avx2", "avx512f"], "cores": 4, "usable_cores": 1, "gpus": []}
SWEEP = """
title = "A sweep"
reproduces = "table 2"
seeds = [0, 1]
seconds_per_epoch = 1
hardware = "any"
figure = "sweep"
axis = "k_G"
[settings]
epochs = 2
[variants]
two = { label = "2", x = 2 }
four = { label = "4", x = 4 }
[[published]]
label = "paper"
source = "table 2"
errors = { two = 54.22, four = 28.22 }
"""


@pytest.fixture
def sweep(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(SWEEP)
    return spec.load(path)


def write(folder, experiment, variant, seed=0, status="done", **figures):
    run = spec.Run(experiment, experiment.variant(variant), seed)
    errors = figures.pop("errors", [50.0, 30.0, 20.0])
    metrics = dict.fromkeys(("test_error", "train_error", "train_loss"), errors)
    record = {
        **results._head(run, status),
        "test_error": errors[-1] if errors else None,
        "best_test_error": min(errors, default=None),
        "train_error": errors[-1] if errors else None,
        "epochs": len(errors),
        "seconds": 90.0,
        "versions": {"tensorflow": "2.21.0", "keras": "3.15.1"},
        "sessions": [{"started": "2026-11-23T00:00:00+00:00", "commit": "abcdef", "hardware": HERE}],
        "metrics": {"epoch": list(range(1, len(errors) + 1)), **metrics} if errors else {},
        **figures,
    }
    results.write(folder, record)


def rows(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_without_records_every_row_says_so(tmp_path):
    text = report.section(TINY, outcomes(TINY, tmp_path))
    head, _, plain, *others = rows(text)
    assert head == ["", "last epoch, %", "nobody", "epochs"]
    assert plain == ["as it is", "not run yet", "12.34", "3"]
    assert [row[1] for row in others] == ["not run yet", "not run yet"]
    assert "Ends at not run yet." in text
    assert "Expected: 0 minutes on any." in text
    assert "![" not in text


def test_a_row_without_records_says_what_it_needs(tmp_path):
    (tmp_path / "far.toml").write_text(SWEEP.replace("x = 2", 'x = 2, needs = "a GPU"'))
    found = outcomes(spec.load(tmp_path / "far.toml"), tmp_path)
    assert [outcome.text() for outcome in found] == ["not run yet: needs a GPU", "not run yet"]


def test_a_row_is_the_mean_of_its_seeds_and_half_their_range(sweep, tmp_path):
    write(tmp_path, sweep, "two", 0, errors=[60.0, 50.0])
    write(tmp_path, sweep, "two", 1, errors=[40.0, 53.0])
    two, four = outcomes(sweep, tmp_path)
    assert (two.text(), two.text("best_test_error")) == ("51.50 ± 1.50", "45.00 ± 5.00")
    assert (four.text(), four.mean()) == ("not run yet", None)
    assert "Seeds: 0, 1. 2 runs, 3 minutes in all." in report.section(sweep, [two, four])
    assert rows(report.section(sweep, [two, four])) == [
        ["k_G", "2", "4"],
        ["---", "---", "---"],
        ["here, 2 epochs", "51.50 ± 1.50", "not run yet"],
        ["paper", "54.22", "28.22"],
    ]


def test_a_section_says_what_it_is_and_where_published_figures_stand(tmp_path):
    write(tmp_path, TINY, "plain")
    text = report.section(TINY, outcomes(TINY, tmp_path))
    assert "`python -m experiments.run tiny`: table 0." in text
    assert "Published: nobody: nowhere." in text
    assert "Ends at 20.00%." in text
    assert rows(text)[2] == ["as it is", "**20.00**", "20.00", "12.34", "20.00", "3", "0", "1.5"]


def test_what_is_unknown_of_a_record_is_said_of_its_row(tmp_path):
    write(tmp_path, TINY, "plain", sessions=[], note="started by hand")
    assert "\nas it is: started by hand." in report.section(TINY, outcomes(TINY, tmp_path))


def test_a_divergence_is_shown(tmp_path, sweep):
    write(tmp_path, TINY, "diverging", status="diverged", errors=[])
    assert rows(report.section(TINY, outcomes(TINY, tmp_path)))[3][1] == "diverged in epoch 1"
    write(tmp_path, sweep, "two", 0, errors=[50.0, 40.0])
    write(tmp_path, sweep, "two", 1, status="diverged", errors=[50.0])
    assert outcomes(sweep, tmp_path)[0].text() == "diverged in epoch 2 (1 of 2 seeds)"


def test_a_note_may_only_name_what_there_is(tmp_path):
    with pytest.raises(UserError, match=r"\{other:test_error\} names no variant"):
        report.with_figures("At {other:test_error}.", outcomes(TINY, tmp_path))


def test_a_record_of_other_settings_is_not_shown(tmp_path):
    write(tmp_path, TINY, "plain", settings={"epochs": 300})
    assert outcomes(TINY, tmp_path)[0].text() == "not run yet"
    write(tmp_path, TINY, "plain", settings={**TINY.variant("plain").settings, "engine": "integer"})
    assert outcomes(TINY, tmp_path)[0].text() != "not run yet"


@pytest.fixture
def frame(tmp_path):
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "results.md").write_text("# Results\n\n{{benchmarks speed}}\n\nThe end.\n")
    row = '[[speed]]\nquestion = "How fast?"\nrecords = "fast"\ncommand = "go"\nmeasured = "{ms:.1f} ms"\nbar = "2"\n'
    (folder / "benchmarks.toml").write_text(row)
    return folder


def test_benchmarks_have_a_row_for_every_machine(frame, tmp_path):
    (tmp_path / "benchmarks").mkdir()
    empty = ["How fast?", "not run yet", "2", "`go`"]
    assert rows(report.page("results", tmp_path, frame))[2:] == [empty]
    for name, ms, commit in (("a", 3.25, None), ("b", 1.5, "abcdef")):
        record = {"command": f"go {name}", "started": "2026-11-22", "commit": commit, "hardware": HERE}
        record["figures"] = {"ms": ms}
        record |= {"load": 3.5} if commit else {}
        (tmp_path / "benchmarks" / f"fast@{name}.json").write_text(json.dumps(record))
    where = "Some CPU, 1 of 4 cores, AVX-512; 2026-11-22"
    text = report.page("results", tmp_path, frame)
    assert rows(text)[0] == ["question", "measured", "bar", "where and when", "command"]
    assert rows(text)[2:] == [
        ["How fast?", "3.2 ms", "2", where, "`go a`"],
        ["", "1.5 ms", "", where, "`go b`"],
    ]
    assert text.endswith("\n\nThe end.\n")


@pytest.mark.parametrize("name", report.PAGES)
def test_a_page_is_what_the_report_writes_from_the_committed_records(name):
    assert (report.DOCS / f"{name}.md").read_text() == report.page(name), "run `python -m experiments.report`"


@pytest.mark.parametrize("name", report.PAGES)
def test_every_picture_is_linked_and_every_link_is_a_picture(name):
    linked = set(re.findall(rf"\]\((images/{name}-[\w.-]+)\)", (report.DOCS / f"{name}.md").read_text()))
    kept = {f"images/{path.name}" for path in (report.DOCS / "images").glob(f"{name}-*.png")}
    assert linked == kept


def test_every_record_belongs_to_a_run_that_is_shown():
    # Shown in benchmarks.md, convert.md, networks.md, search.md and, the last two, devices.md.
    others = ("benchmarks", "convert", "residual", "search_resnet8", "device", "emulated")
    kept = {path for path in results.FOLDER.glob("*/*.json") if path.parent.name not in others}
    runs = [
        spec.Run(experiment, variant, seed)
        for experiment in map(spec.load, spec.names())
        for variant in experiment.variants
        for seed in experiment.seeds
    ]
    assert kept <= {results.path_of(results.FOLDER, run) for run in runs}
    assert all(results.read(results.FOLDER, run) for run in runs if results.path_of(results.FOLDER, run) in kept)


def test_every_experiment_has_its_place_on_the_page():
    frame = (spec.FOLDER / "page" / "results.md").read_text()
    assert sorted(re.findall(r"\{\{experiment (\w+)\}\}", frame)) == spec.names()


def test_an_error_published_for_two_variants_is_one_line(sweep, tmp_path):
    same = spec.Published(label="paper", source="table 2", errors={"two": 6.34, "four": 6.34})
    curves = sweep.model_copy(update={"figure": "curves", "published": (same,)})
    for variant in ("two", "four"):
        write(tmp_path, curves, variant)
    left, _ = figures.curves(curves, outcomes(curves, tmp_path)).axes
    assert [text.get_text() for text in left.texts] == ["paper 6.34"]


def test_curves_are_the_records(tmp_path):
    assert not figures.has(TINY, outcomes(TINY, tmp_path))
    write(tmp_path, TINY, "plain", errors=[50.0, 30.0, 20.0])
    write(tmp_path, TINY, "diverging", status="diverged", errors=[])
    left, right = figures.curves(TINY, outcomes(TINY, tmp_path)).axes
    ours, published = left.lines
    assert np.array_equal(ours.get_xydata(), [[1, 50], [2, 30], [3, 20]])
    assert set(published.get_ydata()) == {12.34}
    assert [text.get_text() for text in right.texts] == ["as it is", "a float network at a large rate: diverged"]
    assert [text.get_text() for text in left.texts] == ["nobody 12.34"]


def test_a_sweep_shows_ours_beside_what_was_published(sweep, tmp_path):
    write(tmp_path, sweep, "two", 0, errors=[60.0, 50.0])
    write(tmp_path, sweep, "two", 1, errors=[40.0, 52.0])
    (axes,) = figures.sweep(sweep, outcomes(sweep, tmp_path)).axes
    assert [[2.0, 51.0]] in [line.get_xydata().tolist() for line in axes.lines]
    assert [[2.0, 54.22], [4.0, 28.22]] in [line.get_xydata().tolist() for line in axes.lines]
    low, high = axes.collections[0].get_segments()[0][:, 1]
    assert (low, high) == (50.0, 52.0)
    assert sorted(text.get_text() for text in axes.texts) == ["here, 2 epochs", "paper"]


def test_names_at_the_ends_of_lines_do_not_overlap(sweep, tmp_path):
    write(tmp_path, sweep, "two", errors=[28.3])
    write(tmp_path, sweep, "four", errors=[28.3])
    (axes,) = figures.sweep(sweep, outcomes(sweep, tmp_path)).axes
    figure = axes.figure
    figure.canvas.draw()
    one, other = (text.get_window_extent() for text in axes.texts)
    assert not one.overlaps(other)
    assert max(one.x1, other.x1) <= figure.bbox.x1


def test_a_picture_is_a_png_and_none_without_records(sweep, tmp_path):
    path = tmp_path / "images" / "sweep.png"
    assert not figures.has(sweep, outcomes(sweep, tmp_path))
    assert not path.exists()
    write(tmp_path, sweep, "two", errors=[60.0, 50.0])
    assert figures.has(sweep, outcomes(sweep, tmp_path))
    figures.draw(sweep, outcomes(sweep, tmp_path), path)
    assert np.asarray(Image.open(path)).std() > 1


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ({**HERE, "usable_cores": 4}, "Some CPU, 4 cores, AVX-512"),
        ({**HERE, "flags": ["avx2", "avx512f", "avx512_vnni"]}, "Some CPU, 1 of 4 cores, AVX-512, VNNI"),
        ({**HERE, "flags": ["avx2"], "gpus": ["Some GPU"]}, "Some CPU, 1 of 4 cores, AVX2, Some GPU"),
    ],
)
def test_a_machine_in_a_few_words(found, text):
    assert tables.hardware(found) == text
