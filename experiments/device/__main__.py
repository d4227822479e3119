"""Exported networks learn in C: `PYTHONPATH=.:tests python -m experiments.device NAME...`.

LeNet-5 adapts to rotated images, and the field's perceptrons are trained from their first weights. The C code runs on
this machine, beside the native engine, whose weights it has to have after every epoch; QEMU's Cortex-M4 repeats the
first steps and has to save the same block (Debian's gcc-arm-none-eabi and qemu-system-arm). Then, and without names,
the tables of docs/devices.md are written from the records.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path

from experiments import provenance
from experiments.device import emulated, page
from experiments.device.cases import CASES
from wage_tf import datasets, files


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.device", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", choices=[*CASES, []], metavar="NAME", help=", ".join(CASES))
    for name in parser.parse_args(arguments).names:
        _record(name)
    page.write()


def _record(name: str) -> None:
    """Trains one, and writes its record at the end."""
    case, path = CASES[name], page.RECORDS / f"{name}.json"
    head = {**provenance.head(f"python -m experiments.device {name}"), "settings": dataclasses.asdict(case)}
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = datasets.load(case.dataset)
    with tempfile.TemporaryDirectory() as folder:
        pair = case.pair(dataset, Path(folder))
        for figures in case.measure(pair, dataset, emulated.cortex):
            print(name, figures, flush=True)
    files.write_json(path, {**head, "figures": figures})


if __name__ == "__main__":
    main()
