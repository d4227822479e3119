"""The words of a search: progress lines, the front's table, report.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wage_tf import schedules
from wage_tf.runs.directory import versions
from wage_tf.search.directory import SearchConfig
from wage_tf.search.records import COMPLETED, TrialRecord
from wage_tf.search.scoring import Scoring


def progress_line(record: TrialRecord) -> str:
    """A trial in one line."""
    if record.status == COMPLETED:
        what = f"error {_error(record)}%  cost {record.cost:.3f}  score {record.score:.4g}"
    else:
        what = f"{record.status}: {record.reason}"
    return f"{_title(record)}  {what}  {record.seconds:.1f} s"


def time_left(seconds: float) -> str:
    """The end of a progress line; nothing after the last trial."""
    return f"  about {_duration(seconds)} left" if seconds else ""


def front_table(
    front: Sequence[TrialRecord], best: TrialRecord, test_errors: Mapping[str, float], markdown: bool = False
) -> str:
    """The Pareto front, the cheapest first; the best score is marked with an asterisk."""
    header = ("pattern", "eta", "epochs", "validation error, %", "test error, %", "cost", "score")
    rows = [
        (
            f"{record.pattern}{' *' if record is best else ''}",
            schedules.to_text(record.schedule),
            str(record.epochs),
            _error(record),
            f"{test_errors[record.trial]:.2f}" if record.trial in test_errors else "-",
            f"{record.cost:.3f}",
            f"{record.score:.4g}",
        )
        for record in front
    ]
    if markdown:
        lines = [header, ("---",) * len(header), *rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    padded = ("  ".join(f"{cell:{w}}" for cell, w in zip(row, widths, strict=True)) for row in (header, *rows))
    return "\n".join(line.rstrip() for line in padded)


def report(
    config: SearchConfig,
    scoring: Scoring,
    records: Sequence[TrialRecord],
    front: Sequence[TrialRecord],
    best: TrialRecord,
    test_errors: Mapping[str, float],
    command: str,
    seconds: float,
) -> str:
    """The text of report.md."""
    completed = [record for record in records if record.status == COMPLETED]
    others = [record for record in records if record.status != COMPLETED]
    widths = "; ".join(f"{operand} {', '.join(found)}" for operand, found in config.widths.items())
    layers = f"; layer by layer: {', '.join(config.per_layer)}" if config.per_layer else ""
    training = sum(record.training_seconds for record in records)
    lines = [
        f"# Bit widths of {config.model} on {config.dataset}",
        "",
        f"    {command}",
        "",
        f"- Candidates: {widths}{layers}.",
        f"- Oracle: {config.oracle}, seed {config.seed}; {config.epochs} epochs and {config.executions} training(s) a "
        f"trial, {config.limit or 'all'} training images, {config.validation} validation images.",
        f"- {scoring.formula[0].upper()}{scoring.formula[1:]}.",
        f"- {len(records)} trials, {len(completed)} completed; {_duration(training)} of training, counted over all "
        f"workers and sessions; the last session took {_duration(seconds)}.",
        "- Test errors are those of the models that the search trained, measured once, at its end.",
        f"- Versions: {', '.join(f'{name} {version}' for name, version in versions().items())}.",
        "",
        f"## Best: {best.pattern}",
        "",
        f"Validation error {_error(best)}%, {scoring.cost_label} {best.cost:.3f} of the 8-8-8-8 network's.",
        *_layers(best),
        "",
        "## Pareto front",
        "",
        front_table(front, best, test_errors, markdown=True),
        "",
        "![error against cost](pareto.png)",
    ]
    if others:
        lines += ["", "## Patterns not trained to the end", "", "| pattern | status | reason |", "| --- | --- | --- |"]
        lines += [f"| {_title(record)} | {record.status} | {_cell(record.reason)} |" for record in others]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _layers(record: TrialRecord) -> list[str]:
    if not record.bits.blocks:
        return []
    rows = [f"| {block} | {bits} |" for block, bits in record.bits.blocks]
    return ["", "| block | W-A-G-E |", "| --- | --- |", *rows]


def _title(record: TrialRecord) -> str:
    rate = record.values.get("learning_rate")
    return f"{record.pattern} eta {rate}" if rate else record.pattern


def _error(record: TrialRecord) -> str:
    spread = "" if record.spread is None else f" ±{record.spread:.2f}"
    return f"{record.error:.2f}{spread}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
