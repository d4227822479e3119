"""Trains the runs of an experiment that are not done yet, and records each: `python -m experiments.run NAME`.

    python -m experiments.run --list                        every experiment: runs done, expected time
    python -m experiments.run mnist authors --seeds 0,1     some variants, some seeds
    python -m experiments.run --all                         everything

Each run is a process of train.py (or experiments.ablations) with --resume, in runs/experiments/NAME/VARIANT-sSEED; one
that another experiment has recorded is not trained again. Ctrl-C or SIGTERM end it after a checkpoint, and after any
stop the same command goes on. Several runners share the work, since a run is claimed by a lock: start one per core
(`taskset -c 0 python -m experiments.run NAME`).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from wage_tf.commands import OneLineParser, run_command

from experiments import distributions, provenance, results, spec
from experiments.claims import claim
from experiments.spec import Experiment, Run
from wage_tf import files, runs
from wage_tf.errors import UserError

_DIVERGED = "the training diverged"
_POLL_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class Place:
    """The files of one run: its run directory, and beside it what the runner keeps."""

    directory: Path

    @property
    def lock(self) -> Path:
        return self.directory.with_name(f"{self.directory.name}.lock")

    @property
    def log(self) -> Path:
        return self.directory.with_name(f"{self.directory.name}.log")

    @property
    def provenance(self) -> Path:
        """Sittings of the run: a list with time, commit and hardware of each start."""
        return self.directory.with_name(f"{self.directory.name}.provenance.json")

    def sittings(self) -> list[dict]:
        """The sittings so far; none for a run that was started by hand."""
        return json.loads(self.provenance.read_text()) if self.provenance.exists() else []

    def sit_down(self) -> None:
        """Notes a new sitting."""
        files.write_json(self.provenance, [*self.sittings(), provenance.sitting()])

    def is_finished(self, epochs: int) -> bool:
        """Whether train.py took it to this many epochs."""
        found = runs.RunDirectory(self.directory).read_results()
        return found is not None and found["epochs"] == epochs


class Stopped(Exception):
    """A signal asked the runner to stop; `signum` is its number."""

    def __init__(self, signum: int):
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class Progress:
    """Estimates the time left from the epochs done in this sitting against their expected time."""

    def __init__(self, queue: Sequence[Run]):
        self._left = sum(_expected(run, run.variant.epochs) for run in queue)
        self._expected = self._spent = 0.0

    def advance(self, run: Run, epochs: int, seconds: float) -> None:
        """Counts epochs of a run that took `seconds`."""
        self._expected += _expected(run, epochs)
        self._spent += seconds
        self.skip(run, epochs)

    def skip(self, run: Run, epochs: int) -> None:
        """Counts epochs that need not be trained."""
        self._left -= _expected(run, epochs)

    @property
    def left(self) -> str:
        """The time left, for people."""
        pace = self._spent / self._expected if self._expected else 1.0
        return duration(max(0.0, self._left * pace))


class Runner:
    """Works through a queue of runs.

    Args:
        runs_dir: Where run directories are.
        results_dir: Where records are written.
        data_dir: Directory of TensorFlow Datasets; None for the environment's.
    """

    def __init__(self, runs_dir: Path, results_dir: Path, data_dir: str | None = None):
        self.runs_dir = runs_dir
        self.results_dir = results_dir
        self.data_dir = data_dir
        self._process: subprocess.Popen | None = None
        self._signum: int | None = None

    def work(self, queue: Sequence[Run]) -> int:
        """Trains and records what is not recorded yet; returns how many runs failed.

        Raises:
            Stopped: On SIGINT or SIGTERM, after the training has written a checkpoint.
        """
        queue = [run for run in queue if results.read(self.results_dir, run) is None]
        progress = Progress(queue)
        failed, elsewhere = 0, 0
        previous = {signum: signal.signal(signum, self._receive) for signum in (signal.SIGINT, signal.SIGTERM)}
        try:
            for number, run in enumerate(queue, 1):
                place = self._place(run)
                place.directory.parent.mkdir(parents=True, exist_ok=True)
                with claim(place.lock) as lock:
                    if lock is None or results.read(self.results_dir, run) is not None:
                        progress.skip(run, run.variant.epochs)
                        elsewhere += lock is None
                        continue
                    self._stop_if_asked()
                    where = f"run {number} of {len(queue)}, {progress.left} left"
                    print(f"{run.experiment.name} {run}: {where}", flush=True)
                    try:
                        failed += not self._train(run, place, lock, progress)
                    except UserError as error:
                        print(f"  failed: {error}", file=sys.stderr)
                        failed += 1
        finally:
            for signum, handler in previous.items():
                signal.signal(signum, handler)
        if elsewhere:
            print(f"{elsewhere} runs are in the hands of another process")
        return failed

    def record(self, queue: Sequence[Run]) -> None:
        """Only writes the records of runs that are finished, such as those that were started by hand."""
        for run in queue:
            place = self._place(run)
            if results.read(self.results_dir, run) is None and place.is_finished(run.variant.epochs):
                self._record(run, place)

    def _place(self, run: Run) -> Place:
        return Place(self.runs_dir / run.experiment.name / str(run))

    def _train(self, run: Run, place: Place, lock: int, progress: Progress) -> bool:
        """Trains a run to its end, unless it is there already, and records it; returns whether it has a record."""
        if place.is_finished(run.variant.epochs):
            progress.skip(run, run.variant.epochs)
            self._record(run, place)
            return True
        if self._adopt(run):
            progress.skip(run, run.variant.epochs)
            return True
        command = self._command(run, place)
        place.sit_down()
        code = self._follow(run, place, command, lock, progress)
        if code == 0:
            self._record(run, place)
            return True
        reason = _last_line(place.log)
        if code == 1 and _DIVERGED in reason:
            record = results.of_diverged_run(run, place.directory, place.sittings(), reason.partition(": error: ")[2])
            results.write(self.results_dir, record)
            print(f"  {record['reason']}")
            return True
        print(f"  failed with exit code {code}: {reason} ({place.log})", file=sys.stderr)
        return False

    def _adopt(self, run: Run) -> bool:
        """Records the figures of the same training in another experiment; returns whether there is one."""
        experiments = [spec.load(name) for name in spec.names()]
        others = [Run(other, variant, run.seed) for other in experiments for variant in other.variants]
        for other in others:
            record = results.read(self.results_dir, other) if other.training == run.training else None
            if record is None:
                continue
            if run.experiment.figure == "distributions":
                if not self._place(other).is_finished(run.variant.epochs):
                    continue
                record["distributions"] = distributions.of_run(self._place(other).directory, self.data_dir)
            results.write(self.results_dir, results.of_same_training(run, record))
            print(f"  the same training as {other.experiment.name} {other}", flush=True)
            return True
        return False

    def _command(self, run: Run, place: Place) -> list[str]:
        command = [sys.executable, *run.program, *map(_expanded, run.arguments)]
        command += ["--run-dir", str(place.directory), "--resume"]
        if self.data_dir and "data_dir" not in run.variant.settings:
            command += ["--data-dir", self.data_dir]
        return command

    def _follow(self, run: Run, place: Place, command: Sequence[str], lock: int, progress: Progress) -> int:
        """Runs the training, tells of every epoch and returns its exit code."""
        done, start = _epochs_done(place), time.monotonic()
        progress.skip(run, done)
        with open(place.log, "ab") as log:
            self._process = subprocess.Popen(
                command, cwd=provenance.ROOT, stdout=log, stderr=log, pass_fds=[lock], start_new_session=True
            )
        if self._signum is not None:
            self._process.send_signal(self._signum)
        while (code := self._wait(_POLL_SECONDS)) is None:
            now = _epochs_done(place)
            if now > done:
                progress.advance(run, now - done, time.monotonic() - start)
                done, start = now, time.monotonic()
                print(f"  {_latest(place)} of {run.variant.epochs}, {progress.left} left", flush=True)
        self._process = None
        progress.skip(run, run.variant.epochs - done)
        self._stop_if_asked()
        return code

    def _record(self, run: Run, place: Place) -> None:
        if not place.is_finished(run.variant.epochs):
            raise UserError(f"{place.directory} holds a run of more epochs: remove it")
        record = results.of_finished_run(run, place.directory, place.sittings())
        if run.experiment.figure == "distributions":
            record["distributions"] = distributions.of_run(place.directory, self.data_dir)
        results.write(self.results_dir, record)
        print(f"  recorded {results.path_of(self.results_dir, run)}", flush=True)

    def _wait(self, seconds: float) -> int | None:
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        self._signum = signum
        if self._process is not None:
            self._process.send_signal(signum)

    def _stop_if_asked(self) -> None:
        if self._signum is not None:
            raise Stopped(self._signum)


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = OneLineParser(
        prog="experiments.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("experiment", nargs="?", metavar="NAME", help="an experiment, or the path of a .toml file")
    result.add_argument("variants", nargs="*", metavar="VARIANT", help="only these variants (default: all)")
    result.add_argument("--all", action="store_true", help="every experiment, the quick ones first")
    result.add_argument("--list", action="store_true", help="say what is done and how long the rest takes")
    result.add_argument("--record", action="store_true", help="train nothing, only record runs that are finished")
    result.add_argument("--seeds", type=_seeds, metavar="N,N", help="in place of the experiment's")
    result.add_argument("--data-dir", metavar="DIR", help="directory of TensorFlow Datasets (default: TFDS_DATA_DIR)")
    result.add_argument("--runs-dir", type=Path, default=provenance.ROOT / "runs" / "experiments", metavar="DIR")
    result.add_argument("--results-dir", type=Path, default=results.FOLDER, metavar="DIR")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 0, 1 if a run failed, 2 wrong input, 128 + the signal."""
    return run_command(parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    chosen = spec.names() if args.all or (args.list and not args.experiment) else [args.experiment]
    if chosen == [None]:
        raise UserError("an experiment, --all or --list is wanted")
    experiments = sorted((spec.load(name) for name in chosen), key=lambda experiment: experiment.minutes)
    if args.list:
        for experiment in experiments:
            print(_status(experiment, _queue(experiment, args), args.results_dir))
        return 0
    queue = [run for experiment in experiments for run in _queue(experiment, args)]
    data_dir = args.data_dir and os.path.abspath(args.data_dir)
    runner = Runner(args.runs_dir.absolute(), args.results_dir.absolute(), data_dir)
    if args.record:
        runner.record(queue)
        return 0
    try:
        return 1 if runner.work(queue) else 0
    except Stopped as stop:
        print(f"\nstopped by {stop}; the same command goes on", file=sys.stderr)
        return 128 + stop.signum


def _queue(experiment: Experiment, args: argparse.Namespace) -> list[Run]:
    named = [experiment.variant(name) for name in args.variants]
    variants = named or [variant for variant in experiment.variants if not variant.needs]
    return [Run(experiment, variant, seed) for seed in args.seeds or experiment.seeds for variant in variants]


def _status(experiment: Experiment, queue: Sequence[Run], results_dir: Path) -> str:
    left = [run for run in queue if results.read(results_dir, run) is None]
    seconds = sum(_expected(run, run.variant.epochs) for run in left)
    done = f"{len(queue) - len(left)} of {len(queue)} runs"
    return f"{experiment.name:20} {done:16} {duration(seconds):>12} left   {experiment.title}"


def _expected(run: Run, epochs: int) -> float:
    return epochs * run.experiment.seconds_per_epoch


def _epochs_done(place: Place) -> int:
    return len(results.read_metrics(place.directory).get("epoch", []))


def _latest(place: Place) -> str:
    metrics = results.read_metrics(place.directory)
    error = metrics.get("test_error", metrics["train_error"])[-1]
    return f"epoch {metrics['epoch'][-1]}: error {error:.2f}%"


def _expanded(argument: str) -> str:
    missing = [name for name in re.findall(r"\$(\w+)", argument) if name not in os.environ]
    if missing:
        raise UserError(f"the environment has no {missing[0]}, which this experiment needs")
    return os.path.expandvars(argument)


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it printed nothing"


def _seeds(text: str) -> list[int]:
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise argparse.ArgumentTypeError(f"seeds are integers such as 0,1; received {text!r}")
    return [int(seed) for seed in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
