#!/usr/bin/env python3
"""Writes docs/benchmarks.md and the tables of docs/scaling.md from the records alone: `python -m benchmarks.report`.

Every record of `peers` and `batch_and_width` in experiments/results/benchmarks has a table, the newest first. The guide
to scaling is prose with the newest record of `scaling` between markers, `<!-- plan -->` to `<!-- /plan -->`.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from experiments import results, tables
from experiments.provenance import ROOT
from wage_tf import files

PAGE = ROOT / "docs" / "benchmarks.md"
SCALING = ROOT / "docs" / "scaling.md"
_PICTURE = "images/benchmarks-batch-and-width.png"
_INTRODUCTION = """\
# A training step beside others'

Written by `python -m benchmarks.report` from the records in `experiments/results/benchmarks`. Variants take turns, each
in a process of its own; a ratio is the median over the rounds of the ratio within a round. Other timings are in
[results.md](results.md)."""
_PEERS = """\
## Other libraries

VGG7 in every library that is installed. HGQ2 has no integer errors and gradients: its row is the nearest it offers,
fixed 2-bit weights and 8-bit activations over a float32 backward pass. The WAGE step in PyTorch is ours too
(`benchmarks/peers_torch.py`), from the same equations: in-place operations, one autograd function per activation,
channels-last tensors; with torch.compile the quantizers are fused as XLA fuses them here."""
_SIZES = """\
## Batch and width

VGG7, 2-8-8-8 against float32 Keras: time of a step, and peak memory of the process, TensorFlow's code included."""
_NETWORKS = {"lenet5": "LeNet-5", "vgg7": "VGG7, width 0.25"}
_COLOURS = {0.125: "#56B4E9", 0.25: "#0072B2", 0.5: "#009E73", 1.0: "#D55E00"}
_STYLE = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True}
_STYLE |= {"grid.color": "#E6E6E6", "axes.axisbelow": True, "axes.titlelocation": "left", "axes.titlesize": 11}


def records(folder: Path, benchmark: str) -> list[dict]:
    """The records of a benchmark on all machines, the newest first."""
    found = [json.loads(path.read_text()) for path in folder.glob(f"{benchmark}@*.json")]
    return sorted(found, key=lambda record: record["started"], reverse=True)


def page(folder: Path) -> str:
    """The whole page as Markdown."""
    parts = [_INTRODUCTION, _PEERS]
    parts += [part for record in records(folder, "peers") for part in (peers(record), origin(record))]
    parts.append(_SIZES)
    sizes = records(folder, "batch_and_width")
    if sizes:
        parts.append(f"![Time of a step and peak memory against the batch, for every width]({_PICTURE})")
    parts += [part for record in sizes for part in (batch_and_width(record), origin(record))]
    return "\n\n".join(parts) + "\n"


def peers(record: Mapping) -> str:
    """Table and sentences of one record of `benchmarks.peers`."""
    figures = record["figures"]
    ours = figures["rows"][0]["name"]
    rows = [
        [row["name"], f"{row['milliseconds']:.0f} ms", f"{row['ratio']:.2f}", f"{row['peak_megabytes']:.0f} MB"]
        for row in figures["rows"]
    ]
    head = [f"VGG7, width {figures['width']:g}, batch {figures['batch_size']}", "step", "ratio", "peak memory"]
    theirs = [row["ratio"] for row in figures["rows"] if "WAGE" in row["name"]]
    said = []
    if theirs:
        said.append(f"A step of {ours}, is {min(theirs):.2f} times as fast as the faster WAGE step in PyTorch.")
    if figures["codes_equal"] is not None:
        verdict = "every stored weight is equal" if figures["codes_equal"] else "stored weights DIFFER"
        said.append(f"After one step of both from the same weights, images and random integers {verdict}.")
    said += [f"{name} is missing: `{reason}`." for name, reason in figures["absent"].items()]
    versions = ", ".join(f"{name} {version}" for name, version in figures["peers"].items())
    said += [f"Beside it: {versions}."] if versions else []
    return f"{tables.table(head, rows)}\n\n{textwrap.fill(' '.join(said), 120)}"


def batch_and_width(record: Mapping) -> str:
    """Table of one record of `benchmarks.batch_and_width`."""
    rows = []
    for size in record["figures"]["sizes"]:
        time, memory = size["milliseconds"], size["peak_megabytes"]
        rows.append(
            [
                f"{size['width']:g}",
                str(size["batch_size"]),
                f"{time['floats']:.0f} ms",
                f"{time['integers']:.0f} ms",
                f"{size['time_ratio']:.2f}",
                f"{memory['floats']:.0f} MB",
                f"{memory['integers']:.0f} MB",
                f"{size['memory_ratio']:.2f}",
            ]
        )
    return tables.table(["width", "batch", "float32", "2-8-8-8", "ratio", "float32", "2-8-8-8", "ratio"], rows)


def scaling(guide: str, record: Mapping) -> str:
    """The guide to scaling with the figures of one record of `benchmarks.scaling` between its markers."""
    figures = record["figures"]
    widths = figures["gradient_widths"]
    bits = ", ".join(f"{kernel.partition('/')[0]} {count}" for kernel, count in widths["bits"].items())
    found = {
        "throughput": f"{throughput(figures['throughput'])}\n\n{gains(figures['throughput'])}\n\n{origin(record)}",
        "plan": plan(figures["plan"]),
        "widths": f"in {widths['steps']} steps of {widths['batch']} images: {bits}",
    }
    for name, text in found.items():
        text = f"\n{text}\n" if "\n" in text else text
        guide = re.sub(f"(?s)(?<=<!-- {name} -->).*(?=<!-- /{name} -->)", lambda _, text=text: text, guide)
    return guide


def throughput(cases: Sequence[Mapping]) -> str:
    """Table of the steps of one and two processes."""
    head = ["network", "processes", "batch", "fastest step", "images/s", "median step", "CPU time, chief", "gradients"]
    rows = []
    for case, alone in _beside_one_process(cases):
        kind = "" if case is alone else " strong" if case["batch"] == alone["batch"] else " weak"
        row = [_NETWORKS[case["model"]], f"{case['processes']}{kind}", str(case["batch"]), f"{case['step_ms']:.1f} ms"]
        row += [f"{case['images_per_second']:.0f}", f"{case['median_step_ms']:.1f} ms", f"{case['cpu_ms']:.1f} ms"]
        if case is alone:
            row += ["", ""]
        else:
            maxima = f"{case['layers']} · {case['maximum_ms']:.2f} ms, {case['maxima_share']:.0%}"
            row += [f"{case['gradient_bytes'] / 1e6:.1f} MB", maxima]
        rows.append(row)
    return tables.table([*head, "maxima, share of the fastest step"], rows)


def gains(cases: Sequence[Mapping]) -> str:
    """Images a second of two processes against one, in a sentence."""
    gained: dict[str, list[str]] = {}
    for case, alone in _beside_one_process(cases):
        if case is not alone:
            ratio = case["images_per_second"] / alone["images_per_second"]
            gained.setdefault(_NETWORKS[case["model"]], []).append(f"{ratio:.2f}")
    each = [f"{strong} and {weak} times ({network})" for network, (strong, weak) in gained.items()]
    what = "Images a second of two processes against one, at the same batch and at twice the batch"
    return textwrap.fill(f"{what}: {', '.join(each)}.", 120)


def plan(plans: Sequence[Mapping]) -> str:
    """Table of the simulated steps on up to 64 GPUs, at a small and a large batch."""
    small, large = plans
    head = ["GPUs", f"batch {small['batch']}: compute", "exchange", "maxima", "step", "images/s"]
    head += [f"batch {large['batch']}: compute", "exchange", "step", "images/s"]
    rows = []
    for few, many in zip(small["rows"], large["rows"], strict=True):
        row = [str(few["gpus"]), f"{few['compute_ms']:.1f} ms", f"{few['exchange_ms']:.1f} ms"]
        row += [f"{few['maxima_ms']:.2f} ms", f"{few['step_ms']:.0f} ms", f"{few['images_per_second']:,}"]
        row += [f"{many['compute_ms']:.0f} ms", f"{many['exchange_ms']:.1f} ms", f"{many['step_ms']:.0f} ms"]
        rows.append([*row, f"{many['images_per_second']:,}"])
    sent = [f"{plan['rows'][-1]['sent_mb']:.0f} MB a step at batch {plan['batch']}" for plan in plans]
    return f"{tables.table(head, rows)}\n\nOn {rows[-1][0]} GPUs each sends {' and '.join(sent)}."


def _beside_one_process(cases: Sequence[Mapping]) -> list[tuple[Mapping, Mapping]]:
    """Every case with the one of its network that is one process."""
    alone = {case["model"]: case for case in cases if case["processes"] == 1}
    return [(case, alone[case["model"]]) for case in cases]


def origin(record: Mapping) -> str:
    """Where a record comes from, in a line."""
    load = f", load {record['load']:g} before it" if "load" in record else ""
    text = f"`{record['command']}`, {record['started'][:10]}, commit `{record['commit']}`{load}; "
    return textwrap.fill(text + tables.hardware(record["hardware"]) + ".", 120)


def picture(record: Mapping) -> bytes:
    """Time and memory against the batch, a line a width, as PNG."""
    sizes = record["figures"]["sizes"]
    with plt.rc_context(_STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
        _panel(left, sizes, "milliseconds", "time of a step, ms")
        _panel(right, sizes, "peak_megabytes", "peak memory, MB")
        handles = [plt.Line2D([], [], color="#444444", linestyle=style) for style in ("-", "--")]
        left.legend(handles, ["2-8-8-8", "float32 Keras"], frameon=False, loc="upper left")
        content = io.BytesIO()
        figure.savefig(content, dpi=130, metadata={"Software": None})
        plt.close(figure)
    return content.getvalue()


def _panel(axes: Axes, sizes: Sequence[Mapping], key: str, title: str) -> None:
    batches = sorted({size["batch_size"] for size in sizes})
    for width in sorted({size["width"] for size in sizes}):
        chosen = [size for size in sizes if size["width"] == width]
        at = [size["batch_size"] for size in chosen]
        colour = _COLOURS.get(width, "#000000")
        for name, style in (("integers", "-"), ("floats", "--")):
            axes.plot(at, [size[key][name] for size in chosen], style, color=colour, marker="o", markersize=4)
        end = (at[-1], chosen[-1][key]["integers"])
        axes.annotate(f"width {width:g}", end, (6, 0), textcoords="offset points", color=colour, va="center")
    axes.set(title=title, xlabel="batch", xscale="log", xlim=(batches[0] * 0.9, batches[-1] * 1.7))
    axes.xaxis.set_major_locator(FixedLocator(batches))
    axes.xaxis.set_minor_locator(NullLocator())
    values = [value for size in sizes for value in size[key].values()]
    if max(values) > 10 * min(values):
        ticks = [m * 10**e for e in range(6) for m in (1, 2, 5) if min(values) * 0.6 <= m * 10**e <= max(values) * 1.6]
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(FixedLocator(ticks))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(0, 1.1 * max(values))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def main() -> None:
    """Writes the page, the picture of the newest record and the guide's tables."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    folder = results.FOLDER / "benchmarks"
    files.write_bytes(PAGE, page(folder).encode())
    for record in records(folder, "batch_and_width")[:1]:
        files.write_bytes(PAGE.parent / _PICTURE, picture(record))
    for record in records(folder, "scaling")[:1]:
        files.write_bytes(SCALING, scaling(SCALING.read_text(), record).encode())
    print(PAGE.relative_to(ROOT), SCALING.relative_to(ROOT))


if __name__ == "__main__":
    main()
