"""The picture of a search: error against cost, and against width where one operand alone varies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from wage_tf import files
from wage_tf.search.candidates import OPERANDS, bit_count
from wage_tf.search.records import TrialRecord, completed

_LONGEST_NAME = 11
_BESIDE = [(x, y) for reach in (5, 12) for x, y in ((reach, 5), (reach, -5), (-reach, 5), (-reach, -5))]
_FRONT, _OTHERS, _BEST = "#d1495b", "#8d99ae", "#1d7874"


def draw(
    path: Path,
    records: Sequence[TrialRecord],
    front: Sequence[TrialRecord],
    best: TrialRecord,
    cost_label: str,
    choices: Mapping[str, Sequence[str]],
) -> None:
    """Writes pareto.png.

    Args:
        path: The PNG file.
        records: All trials; the failed ones are left out.
        front: Those on the Pareto front, which are named.
        best: The chosen one.
        cost_label: Name of the cost.
        choices: Candidates of every dimension; one operand alone with several gets a panel of its own.
    """
    varied = [name for name, values in choices.items() if len(values) > 1]
    sweep = varied[0] if len(varied) == 1 and varied[0] in OPERANDS else None
    figure = Figure(figsize=(11 if sweep else 7, 4.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2 if sweep else 1, squeeze=False)[0]
    _draw_front(panels[0], completed(records), front, best, cost_label)
    if sweep:
        _draw_sweep(panels[1], completed(records), sweep)
    figure.draw_without_rendering()
    _name(panels[0], front, completed(records))
    with files.replacing(path) as temporary:
        figure.savefig(temporary)


def _draw_front(
    axes: Axes, records: Sequence[TrialRecord], front: Sequence[TrialRecord], best: TrialRecord, cost_label: str
) -> None:
    _points(axes, [record.cost for record in records], records, _OTHERS, "patterns")
    costs, errors = [record.cost for record in front], [record.error for record in front]
    axes.step(costs, errors, where="post", color=_FRONT, linewidth=1.2)
    _points(axes, costs, front, _FRONT, "Pareto front")
    axes.plot(best.cost, best.error, "*", color=_BEST, markersize=14, label="best score", zorder=4)
    axes.set(xlabel=f"{cost_label}, 8-8-8-8 = 1", ylabel="validation error, %")
    axes.margins(x=0.12, y=0.1)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)


def _name(axes: Axes, front: Sequence[TrialRecord], records: Sequence[TrialRecord]) -> None:
    """Writes patterns beside their points, where no point and no other name is; long ones are numbered and listed."""
    names = [record.pattern for record in front]
    if max(map(len, names)) > _LONGEST_NAME:
        listed = "\n".join(f"{number}  {name}" for number, name in enumerate(names, 1))
        axes.text(1.02, 1.0, listed, transform=axes.transAxes, va="top", fontsize=8)
        names = [str(number) for number in range(1, len(front) + 1)]
    points = axes.transData.transform([(record.cost, record.error) for record in records])
    taken = [Bbox.from_extents(x - 4, y - 4, x + 4, y + 4) for x, y in points]
    for name, record in zip(names, front, strict=True):
        point = (record.cost, record.error)
        label = axes.annotate(name, point, xytext=_BESIDE[0], textcoords="offset points", fontsize=7.5)
        for x, y in _BESIDE:
            label.set(position=(x, y), ha="left" if x > 0 else "right", va="bottom" if y > 0 else "top")
            if not label.get_window_extent().count_overlaps(taken):
                break
        taken.append(label.get_window_extent())


def _draw_sweep(axes: Axes, records: Sequence[TrialRecord], operand: str) -> None:
    ordered = sorted(records, key=lambda record: bit_count(record.values[operand]))
    places = range(len(ordered))
    axes.plot(places, [record.error for record in ordered], color=_FRONT, linewidth=1.2)
    _points(axes, places, ordered, _FRONT, operand)
    axes.set_xticks(places, [record.values[operand] for record in ordered])
    axes.set(xlabel=f"bits of the {operand}", ylabel="validation error, %")
    axes.grid(alpha=0.25)


def _points(axes: Axes, x: Sequence[float], records: Sequence[TrialRecord], color: str, label: str) -> None:
    axes.errorbar(
        x,
        [record.error for record in records],
        yerr=[record.spread or 0.0 for record in records],
        fmt="o",
        color=color,
        markersize=5,
        elinewidth=0.8,
        label=label,
    )
