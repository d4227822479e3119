"""The pictures of the results: training curves, sweeps beside what was published, distributions, training steps.

Ours are in colour, what others published is grey; lines carry their names at their ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from experiments.spec import Experiment
from experiments.summaries import Outcome

PALETTE = ("#0072B2", "#D55E00", "#00805D", "#B0478A", "#8C6D1F", "#6A51A3", "#000000", "#5B3A1E")
_PUBLISHED = ("#555555", "#9A9A9A", "#BBBBBB")
_TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 2, 3, 5, 7, 10, 20, 30, 50, 70, 90)
_TITLES = {
    "test_error": "test error, %",
    "train_error": "training error, %",
    "train_loss": "training loss, sum over a batch",
}
_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "savefig.dpi": 130,
}
_OPERANDS = ("W", "A", "E", "G")
_FEW_CODES = 16


def has(experiment: Experiment, found: Sequence[Outcome]) -> bool:
    """Whether an experiment has a figure and something to draw in it."""
    if experiment.figure == "curves":
        return any(len(outcome.curve("train_error")[0]) for outcome in found)
    if experiment.figure == "sweep":
        return any(outcome.mean() is not None for outcome in found)
    return experiment.figure == "distributions" and any(outcome.finished for outcome in found)


def draw(experiment: Experiment, found: Sequence[Outcome], path: Path) -> None:
    """Draws the figure that an experiment `has` to a PNG."""
    with plt.rc_context(_STYLE):
        _save(_DRAWERS[experiment.figure](experiment, found), path)


def curves(experiment: Experiment, found: Sequence[Outcome]) -> Figure:
    """Test and training error, epoch by epoch; without test images the training loss.

    Lines are means over the seeds, bands reach from the best to the worst seed, grey lines are published last epochs.
    """
    drawn = [outcome for outcome in found if len(outcome.curve("train_error")[0])]
    metrics = ("test_error", "train_error")
    if not any(len(outcome.curve("test_error")[0]) for outcome in drawn):
        metrics = ("train_loss",)
    colours = dict(zip([outcome.variant.name for outcome in found], PALETTE, strict=False))
    run = [outcome for outcome in found if outcome.records]
    labels = {o.variant.name: o.variant.label + ("" if o.finished else ": diverged") for o in run}
    figure, panes = _canvas(len(metrics), list(labels.values()))
    for axes, metric in zip(panes, metrics, strict=True):
        ends = {}
        for outcome in drawn:
            name, (epochs, seeds) = outcome.variant.name, outcome.curve(metric)
            mean, marker = seeds.mean(axis=0), "o" if len(epochs) < 15 else None
            axes.plot(epochs, mean, color=colours[name], linewidth=1.8, marker=marker, markersize=3)
            axes.fill_between(epochs, seeds.min(axis=0), seeds.max(axis=0), color=colours[name], alpha=0.2, linewidth=0)
            ends[name] = mean[-1]
        if metric == "test_error":
            _published_ends(axes, experiment, {outcome.variant.name for outcome in drawn})
        axes.set_title(_TITLES[metric])
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if metric.endswith("error"):
            _log_scale(axes)
    top = panes[-1].get_ylim()[1]
    _label_ends(panes[-1], [(ends.get(name, top), label, colours[name]) for name, label in labels.items()])
    return figure


def sweep(experiment: Experiment, found: Sequence[Outcome]) -> Figure:
    """Error against the swept quantity; bars from the best to the worst seed, published series beside."""
    ours = [outcome for outcome in found if outcome.mean() is not None]
    here = f"here, {max(outcome.variant.epochs for outcome in found)} epochs"
    figure, (axes,) = _canvas(1, [here, *(entry.label for entry in experiment.published)])
    xs = [outcome.variant.x for outcome in ours]
    means = np.array([outcome.mean() for outcome in ours])
    low, high = (np.array([f(outcome.values("test_error")) for outcome in ours]) for f in (min, max))
    bars = {"capsize": 3, "linewidth": 2, "elinewidth": 1.2, "marker": "o", "markersize": 5, "zorder": 3}
    axes.errorbar(xs, means, (means - low, high - means), color=PALETTE[0], **bars)
    ends = [(means[-1], here, PALETTE[0])]
    for entry, colour in zip(experiment.published, _PUBLISHED, strict=False):
        points = [(outcome.variant.x, entry.errors[outcome.variant.name]) for outcome in found]
        axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.2, marker="s", markersize=3.5)
        ends.append((points[-1][1], entry.label, colour))
    places = [outcome.variant.x for outcome in found]
    axes.set_title(_TITLES["test_error"])
    axes.set_xlabel(f"${experiment.axis}$" if "_" in experiment.axis else experiment.axis)
    if max(places) / min(places) == 2 ** (len(places) - 1):
        axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    _log_scale(axes)
    _label_ends(axes, ends)
    return figure


def distributions(experiment: Experiment, found: Sequence[Outcome]) -> Figure:
    """Of each finished variant how W, A, E and G (rows) are distributed in every layer (columns)."""
    measured = [(o.variant.label, o.finished[0]["distributions"]["histograms"]) for o in found if o.finished]
    columns = max(len(_layers(histograms)) for _, histograms in measured)
    operands = [[operand for operand in _OPERANDS if _has(histograms, operand)] for _, histograms in measured]
    heights = [0.6 + 1.4 * len(rows) for rows in operands]
    figure = plt.figure(figsize=(1.7 * columns, sum(heights)), layout="constrained")
    blocks = np.atleast_1d(figure.subfigures(len(measured), height_ratios=heights))
    for block, rows, (label, histograms) in zip(blocks, operands, measured, strict=True):
        title = f"{label}   " + ("bars: integer codes, lines: before the quantizer" if "E" in rows else "float32")
        block.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        panes = block.subplots(len(rows), columns, squeeze=False)
        for row, operand in zip(panes, rows, strict=True):
            for axes, layer in zip(row, _layers(histograms), strict=False):
                _distribution(axes, histograms, operand, layer)
            row[0].set_ylabel(operand, rotation=0, fontsize=12, fontweight="bold", labelpad=12, va="center")
        for axes, layer in zip(panes[0], _layers(histograms), strict=False):
            axes.set_title(layer, fontsize=10)
    return figure


def steps(sizes: Sequence[Mapping], path: Path) -> None:
    """Draws time and peak memory of a training step against the batch, a colour a width, to a PNG."""
    multipliers = sorted({size["width"] for size in sizes})
    with plt.rc_context(_STYLE):
        figure, panes = _canvas(2, [f"width {multipliers[0]:g}"], shared=False)
        shown = {"milliseconds": "time of a step, ms", "peak_megabytes": "peak memory, MB"}
        for axes, (key, title) in zip(panes, shown.items(), strict=True):
            ends = []
            for multiplier, colour in zip(multipliers, PALETTE, strict=False):
                chosen = [size for size in sizes if size["width"] == multiplier]
                batches = [size["batch_size"] for size in chosen]
                for name, style in (("integers", "-"), ("floats", "--")):
                    values = [size[key][name] for size in chosen]
                    axes.plot(batches, values, style, color=colour, marker="o", markersize=4)
                ends.append((chosen[-1][key]["integers"], f"width {multiplier:g}", colour))
            axes.set(title=title, xlabel="batch", xscale="log")
            axes.xaxis.set_major_locator(FixedLocator(batches))
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
            axes.xaxis.set_minor_locator(NullLocator())
        panes[0].set_yscale("log")
        panes[0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        panes[1].set_ylim(bottom=0)
        handles = [plt.Line2D([], [], color="#444444", linestyle=style) for style in ("-", "--")]
        panes[0].legend(handles, ["2-8-8-8", "float32 Keras"], frameon=False, loc="upper left")
        _label_ends(panes[-1], ends)
        _save(figure, path)


_DRAWERS = {"curves": curves, "sweep": sweep, "distributions": distributions}


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def _layers(histograms: Mapping[str, dict]) -> list[str]:
    return [name.partition("/")[2] for name in histograms if name.startswith("W_stored/")]


def _has(histograms: Mapping[str, dict], operand: str) -> bool:
    return any(name.startswith((f"{operand}/", f"{operand}_")) for name in histograms)


def _distribution(axes: Axes, histograms: Mapping[str, dict], operand: str, layer: str) -> None:
    """Densities: bars for integer codes, a line for floats and for what goes into the quantizer; W linear, others log.

    Stored weights have a far finer grid than ternary ones, so their line is scaled to the height of the bars.
    """
    places = [layer, f"{layer}_relu", f"{layer}_clip", f"{layer}_error"]
    shown = [histograms[n] for n in (f"{operand}/{place}" for place in places) if n in histograms]
    before = [f"{operand}_{what}/{place}" for what in ("stored", "raw") for place in places]
    shown += [histograms[name] for name in before if name in histograms]
    axes.set_axis_off()
    for i, histogram in enumerate(shown):
        axes.set_axis_on()
        centres, counts = np.array(histogram["centres"]), np.array(histogram["counts"])
        bin_width, met = centres[1] - centres[0], np.flatnonzero(counts)
        density = counts / counts.sum() / bin_width
        met = slice(met[0], met[-1] + 1)
        if i == 0 and histogram["on_grid"]:
            bar = bin_width * (0.6 if len(centres) < _FEW_CODES else 1)
            axes.bar(centres[met], density[met], bar, color=PALETTE[0], linewidth=0)
            height = density.max()
        else:
            scale = height / density.max() if operand == "W" and i else 1
            axes.plot(centres[met], scale * density[met], color=PALETTE[1], linewidth=1, drawstyle="steps-mid")
    axes.grid(False)
    axes.set_yscale("linear" if operand == "W" else "log")
    axes.yaxis.set_major_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.tick_params(labelsize=7)


def _canvas(panes: int, labels: Sequence[str], shared: bool = True) -> tuple[Figure, Sequence[Axes]]:
    """Panes side by side, with room on the right for the names of the lines."""
    left, pane, gap, names = 0.55, 5.2 if panes == 1 else 4.3, 0.5, 0.3 + 0.085 * max(map(len, labels))
    width, height = left + panes * pane + (panes - 1) * gap + names, 4.2
    figure, axes = plt.subplots(1, panes, figsize=(width, height), sharey=shared, squeeze=False)
    figure.subplots_adjust(left / width, 0.55 / height, 1 - names / width, 1 - 0.35 / height, wspace=gap / pane)
    return figure, axes[0]


def _log_scale(axes: Axes) -> None:
    """A log axis of errors that is labelled in plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_minor_locator(NullLocator())
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in _TICKS if low <= tick <= high]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _published_ends(axes: Axes, experiment: Experiment, drawn: set[str]) -> None:
    """A grey line at each published error of a variant that is drawn, with its name on it, side by side."""
    published = {
        (entry.errors[name], entry.label) for entry in experiment.published for name in drawn & entry.errors.keys()
    }
    for place, (error, label) in enumerate(sorted(published, reverse=True)):
        axes.axhline(error, color="#9A9A9A", linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.text(
            0.02 + 0.27 * place,
            error,
            f"{label} {error:.2f}",
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=8,
            color="#666666",
            zorder=1.5,
            bbox={"facecolor": "white", "linewidth": 0, "pad": 1},
        )


def _label_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Writes each line's name to the right of its end, moved apart where they would overlap, none above the pane."""
    apart = 14 / 72 / (axes.bbox.height / axes.figure.dpi)
    to_axes = axes.transData + axes.transAxes.inverted()
    ordered = sorted(ends)
    heights = [to_axes.transform((1, value))[1] for value, _, _ in ordered]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + apart)
    for i, height in enumerate(reversed(heights)):
        heights[-1 - i] = min(height, 1 - i * apart)
    for height, (_, label, colour) in zip(heights, ordered, strict=True):
        axes.text(1.02, height, label, transform=axes.transAxes, color=colour, va="center")
