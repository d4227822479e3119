#!/usr/bin/env python3
"""What does a search cost beyond the trainings it runs? And what do two workers gain on this machine?

    python -m benchmarks.search_overhead --dataset mnist --limit 10000
    python -m benchmarks.search_overhead --dataset mnist --limit 10000 --workers 2

The first prints the share of the wall-clock time from the first trial's start to the last one's end that was not spent
in `fit`. With --workers the same search is run a second time by worker processes, and the ratio of trials per hour is
printed; start-up of the processes and the final evaluation are not part of either.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import record

ROOT = Path(__file__).resolve().parent.parent


def searched(arguments: list[str], folder: Path) -> tuple[float, list[dict]]:
    """Runs a search; returns seconds from the first trial's creation to the last one's record, and the records."""
    command = [sys.executable, str(ROOT / "tuner.py"), *arguments, "--run-dir", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    paths = sorted((folder / "oracle").glob("trial_*/record.json"))
    records = [json.loads(path.read_text()) for path in paths]
    ends = [path.stat().st_mtime for path in paths]
    begins = [end - trial["seconds"] for end, trial in zip(ends, records, strict=True)]
    return max(ends) - min(begins), records


def main() -> None:
    """Runs the searches and prints their figures."""
    parser = record.parser("search_overhead", __doc__)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--limit", default="1000")
    parser.add_argument("--epochs", default="1")
    parser.add_argument("--model", default="lenet5")
    parser.add_argument("--oracle", default="bayesian")
    parser.add_argument("--trials", default="8")
    parser.add_argument("--workers", type=int, default=0)
    args = parser.parse_args()

    search = ["--dataset", args.dataset, "--limit", args.limit, "--epochs", args.epochs, "--model", args.model]
    space = ["--weights", "2,4,8", "--activations", "4,6,8", "--per-layer", "weights,activations"]
    space += ["--learning-rates", "8", "--oracle", args.oracle, "--max-trials", args.trials]
    with tempfile.TemporaryDirectory() as folder:
        alone, records = searched([*search, *space], Path(folder) / "alone")
        training = sum(trial["training_seconds"] for trial in records)
        own = 100 * (alone - training) / training
        figures = {"trials": len(records), "seconds": alone, "training_s": training, "own_percent": own}
        print(
            f"{args.oracle}, {len(records)} trials of {args.model} on {args.dataset}: {alone:.1f} s, of which "
            f"{training:.1f} s training; the search's own work is {own:.1f}% of it"
        )
        if args.workers:
            several = ["--workers", str(args.workers)]
            together, _ = searched([*search, *space, *several], Path(folder) / "workers")
            figures |= {"workers": args.workers, "workers_s": together, "gain": alone / together}
            print(
                f"{args.workers} workers: {together:.1f} s, {alone / together:.2f} times the trials per hour of one "
                "process with all cores"
            )
    record.write(args.json, "search_overhead", figures)


if __name__ == "__main__":
    main()
