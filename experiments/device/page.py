"""The tables of docs/devices.md that come from the records of trainings in C."""

from __future__ import annotations

import json
from pathlib import Path

from experiments import provenance, results, tables
from experiments.device.cases import PERCEPTRONS, ROTATED
from wage_tf import files

RECORDS = results.FOLDER / "device"
PAGE = provenance.ROOT / "docs" / "devices.md"
PUBLISHED = {"mnist": ("96.98", "97.36"), "fashion_mnist": ("87.70", "88.66")}
"""Test accuracy of PocketNN and NITRO-D, percent."""

_ROTATED = (
    *("name", "network, learns", "batch", "RAM", "flash"),
    *("test error: before", "after 1 epoch", "10 epochs", "M instructions a step"),
)
_FIELD = (
    *("name", "network, bits", "batch, epochs", "accuracy: last epoch", "best"),
    *("PocketNN", "NITRO-D", "RAM", "flash", "M instructions a step"),
)


def rotated(records: Path = RECORDS) -> str:
    """The table of adaptations."""
    rows = []
    for name, record in _read(records, ROTATED):
        settings, figures = record["settings"], record["figures"]
        network = "LeNet-5" if settings["arguments"] is None else "LeNet-5 ×0.5"
        rows.append(
            [
                f"`{name}`",
                f"{network}, from {settings['train_from']}",
                str(settings["batch"]),
                *_needs(figures),
                f"{figures['before']:.2f}%",
                f"{figures['errors'][0]:.2f}%",
                f"{figures['errors'][-1]:.2f}%",
                _instructions(figures),
            ]
        )
    return tables.table(_ROTATED, rows)


def field(records: Path = RECORDS) -> str:
    """The table of perceptrons beside the published figures."""
    rows = []
    for name, record in _read(records, PERCEPTRONS):
        settings, figures = record["settings"], record["figures"]
        accuracy = [100 - error for error in figures["errors"]]
        rows.append(
            [
                f"`{name}`",
                f"{settings['network']}, {settings['bits']}",
                f"{settings['batch']}, {settings['epochs']}",
                f"{accuracy[-1]:.2f}%",
                f"{max(accuracy):.2f}%",
                *(f"{figure}%" for figure in PUBLISHED[settings["dataset"]]),
                *_needs(figures),
                _instructions(figures),
            ]
        )
    return tables.table(_FIELD, rows)


def write(page: Path = PAGE, records: Path = RECORDS) -> None:
    """Writes the tables between their marks."""
    text = page.read_text()
    for mark, table in (("rotated", rotated(records)), ("field", field(records))):
        text = tables.in_place(text, mark, table)
    files.write_bytes(page, text.encode())


def _read(records: Path, names: dict) -> list[tuple[str, dict]]:
    """The records of names that have one."""
    paths = {name: records / f"{name}.json" for name in names}
    return [(name, json.loads(path.read_text())) for name, path in paths.items() if path.exists()]


def _needs(figures: dict) -> tuple[str, str]:
    return f"{figures['needs']['ram']:,}", f"{figures['needs']['flash']:,}"


def _instructions(figures: dict) -> str:
    return f"{figures['emulated']['step_instructions'] / 1e6:.1f}"
