"""Markdown: tables of outcomes and of benchmarks."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from experiments.spec import Experiment, Published
from experiments.summaries import NOT_RUN, Outcome

_FLAG_NAMES = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "VNNI",
    "avx_vnni": "AVX-VNNI",
    "amx_int8": "AMX",
    "asimddp": "Arm dot products",
}


def of_variants(experiment: Experiment, found: Sequence[Outcome]) -> str:
    """A row for each variant: last epoch, best epoch, published figures, training error, time."""
    published = [entry.label for entry in experiment.published]
    head = ["", "last epoch, %", "best epoch, %", *published, "training, %", "epochs", "seeds", "minutes a run"]
    rows = []
    for outcome in found:
        minutes = outcome.mean("seconds")
        rows.append(
            [
                outcome.variant.label,
                f"**{outcome.text()}**" if outcome.mean() is not None else outcome.text(),
                outcome.text("best_test_error") if outcome.mean() is not None else "",
                *(_error(entry, outcome) for entry in experiment.published),
                outcome.text("train_error") if outcome.finished else "",
                str(outcome.variant.epochs),
                ", ".join(str(record["seed"]) for record in outcome.records),
                "" if minutes is None else f"{minutes / 60:.1f}",
            ]
        )
    return table(head, rows)


def of_sweep(experiment: Experiment, found: Sequence[Outcome]) -> str:
    """A column for each variant: our error, then what was published."""
    ours = [outcome.text() for outcome in found]
    rows = [[f"here, {_plural(max(outcome.variant.epochs for outcome in found), 'epoch')}", *ours]]
    rows += [[entry.label, *(_error(entry, outcome) for outcome in found)] for entry in experiment.published]
    return table([experiment.axis, *(outcome.variant.label for outcome in found)], rows)


def effort(found: Sequence[Outcome]) -> str:
    """Seeds and time of all runs of a sweep, whose table has no room for them."""
    records = [record for outcome in found for record in outcome.records]
    seeds = ", ".join(str(seed) for seed in sorted({record["seed"] for record in records}))
    minutes = sum(record.get("seconds") or 0 for record in records) / 60
    return f"Seeds: {seeds}. {len(records)} runs, {minutes:.0f} minutes in all." if records else ""


def of_benchmarks(rows: Iterable[Mapping[str, str]], folder: Path) -> str:
    """A row for each record of each question; `measured` is filled in from the record's figures."""
    lines = []
    for row in rows:
        question, bar = row["question"], row.get("bar", "")
        records = [json.loads(path.read_text()) for path in sorted(folder.glob(f"{row['records']}@*.json"))]
        if not records:
            lines.append([question, NOT_RUN, bar, "", f"`{row['command']}`"])
        for record in records:
            measured = row["measured"].format(**record["figures"])
            where = f"{hardware(record['hardware'])}; {record['started'][:10]}"
            lines.append([question, measured, bar, where, f"`{record['command']}`"])
            question = bar = ""
    return table(["question", "measured", "bar", "where and when", "command"], lines)


def of_records(benchmark: str, folder: Path) -> str:
    """Table and origin of every record of a benchmark, the newest first."""
    tables = [
        f"{_TABLES[record['benchmark']](record['figures'])}\n\n{_measured(record)}"
        for record in records(folder, benchmark)
    ]
    return "\n\n".join(tables) or NOT_RUN


def records(folder: Path, benchmark: str) -> list[dict]:
    """The records of a benchmark on all machines, the newest first."""
    found = [json.loads(path.read_text()) for path in folder.glob(f"{benchmark}@*.json")]
    return sorted(found, key=lambda record: record["started"], reverse=True)


def of_peers(figures: Mapping) -> str:
    """Table and sentences of `benchmarks.peers`."""
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
    return f"{table(head, rows)}\n\n{textwrap.fill(' '.join(said), 120)}"


def of_train_steps(figures: Mapping) -> str:
    """A row for each size of `benchmarks.train_step`: time and peak memory of both variants, and their ratios."""
    rows = []
    for size in figures["sizes"]:
        row = [f"{size['width']:g}", str(size["batch_size"])]
        for key, ratio, unit in (("milliseconds", "time_ratio", "ms"), ("peak_megabytes", "memory_ratio", "MB")):
            digits = 1 if size[key]["floats"] < 50 else 0
            row += [f"{size[key][name]:.{digits}f} {unit}" for name in ("floats", "integers")] + [f"{size[ratio]:.2f}"]
        rows.append(row)
    return table(["width", "batch", "float32", "2-8-8-8", "ratio", "float32", "2-8-8-8", "ratio"], rows)


def of_scaling(figures: Mapping) -> str:
    """A row for each case of `benchmarks.scaling`, and what two processes gain over one."""
    head = ["network", "processes", "batch", "fastest step", "images/s", "gain", "median step", "CPU time, chief"]
    alone = {case["model"]: case for case in figures["throughput"] if case["processes"] == 1}
    rows = []
    for case in figures["throughput"]:
        several = case["processes"] > 1
        row = [_NETWORKS[case["model"]], str(case["processes"]), str(case["batch"]), f"{case['step_ms']:.1f} ms"]
        gain = case["images_per_second"] / alone[case["model"]]["images_per_second"]
        row += [f"{case['images_per_second']:.0f}", f"{gain:.2f}" if several else ""]
        row += [f"{case['median_step_ms']:.1f} ms", f"{case['cpu_ms']:.1f} ms"]
        row.append(f"{case['gradient_bytes'] / 1e6:.1f} MB" if several else "")
        share = f"{case['layers']} · {case['maximum_ms']:.2f} ms, {case['maxima_share']:.0%}" if several else ""
        rows.append([*row, share])
    return table([*head, "gradients", "maxima, share of the fastest step"], rows)


_NETWORKS = {"lenet5": "LeNet-5", "vgg7": "VGG7, width 0.25"}
_TABLES: dict[str, Callable[[Mapping], str]] = {
    "peers": of_peers,
    "train_step": of_train_steps,
    "batch_and_width": of_train_steps,
    "scaling": of_scaling,
}


def sources(experiment: Experiment) -> str:
    """Where the published figures stand."""
    entries = [f"{entry.label}: {entry.source}" for entry in experiment.published]
    return f"Published: {'; '.join(entries)}." if entries else ""


def notes(found: Sequence[Outcome]) -> str:
    """What is unknown of the records, in their own words."""
    said: dict[str, dict[str, None]] = {}
    for outcome in found:
        for record in outcome.records:
            if "note" in record:
                said.setdefault(record["note"], {})[outcome.variant.label] = None
    return " ".join(f"{', '.join(labels)}: {note}." for note, labels in said.items())


def hardware(found: Mapping[str, object]) -> str:
    """A machine in a few words."""
    cores, usable = found["cores"], found["usable_cores"]
    count = _plural(cores, "core") if usable == cores else f"{usable} of {cores} cores"
    flags = [name for flag, name in _FLAG_NAMES.items() if flag in found["flags"]]
    if "AVX-512" in flags:
        flags.remove("AVX2")
    return ", ".join([str(found["cpu"]), count, *flags, *found["gpus"]])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table without the columns in which no row has anything."""
    columns = [i for i in range(len(head)) if i == 0 or any(row[i] for row in rows)]
    lines = [[line[i] for i in columns] for line in (head, ["---"] * len(head), *rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def in_place(page: str, mark: str, text: str) -> str:
    """A page with a text in place of what stands between `<!-- MARK -->` and `<!-- end -->`."""
    before, begin, rest = page.partition(f"<!-- {mark} -->\n")
    _, end, after = rest.partition("<!-- end -->\n")
    return f"{before}{begin}{text}\n{end}{after}"


def _error(entry: Published, outcome: Outcome) -> str:
    error = entry.errors.get(outcome.variant.name)
    return "" if error is None else f"{error:.2f}"


def _measured(record: Mapping) -> str:
    """Where a record comes from, in a line."""
    load = f", load {record['load']:g} before it" if "load" in record else ""
    text = f"`{record['command']}`, {record['started'][:10]}, commit `{record['commit']}`{load}; "
    return textwrap.fill(text + hardware(record["hardware"]) + ".", 120)


def _plural(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
