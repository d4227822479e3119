"""Names in the picture of a search."""

from __future__ import annotations

import itertools

import pytest
from matplotlib.figure import Figure

from support import searches
from wage_tf.search import pareto, plots


def _record(number: int, pattern: str, cost: float, error: float):
    values = {"gradients": pattern.split("-")[2]}
    return searches.record(
        trial=str(number), values=values, pattern=pattern, errors=(error,), cost=cost, costs={}, score=error + cost
    )


@pytest.mark.parametrize("names", [["2-8-2-8", "2-8-3-8", "2-8-4-8", "2-8-6-8"], [f"8.2.8.{k}-8-8-8" for k in "2468"]])
def test_names_of_near_points_stand_apart(monkeypatch, tmp_path, names):
    """Four patterns of the front a hair apart, and one beside it where a name would stand."""
    drawn = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, path: (drawn.append(figure), save(figure, path)))
    found = [_record(i, name, 0.50 + 0.005 * i, 3.0 - 0.01 * i) for i, name in enumerate(names)]
    found += [_record(8, "8-8-8-8", 1.0, 9.0), _record(9, "2-8-2-8", 0.4, 9.0), _record(10, "2-8-9-8", 0.53, 3.005)]
    front = pareto.front(found)
    plots.draw(tmp_path / "pareto.png", found, front, front[0], "energy", {"gradients": ["2"]})

    axes = drawn[0].axes[0]
    labels = [text.get_window_extent() for text in axes.texts[-len(front) :]]
    points = axes.transData.transform([(record.cost, record.error) for record in found])
    assert not any(one.overlaps(other) for one, other in itertools.combinations(labels, 2))
    assert not any(label.contains(*point) for label in labels for point in points)
