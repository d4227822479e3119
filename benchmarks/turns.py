"""Training steps of several variants that take turns, each in a process of its own.

A process of its own gives every framework its threads and its memory to itself; taking turns lets a machine whose
speed drifts slow all alike.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

Step = Callable[[], object]
Found = TypeVar("Found")
_PAUSE = 0.05


@dataclasses.dataclass(frozen=True)
class Times:
    """What one variant took.

    Attributes:
        seconds: Of each round.
        peak_bytes: Peak resident memory of its process, the framework's code included.
    """

    seconds: list[float]
    peak_bytes: int

    @property
    def median(self) -> float:
        """Median of the rounds."""
        return statistics.median(self.seconds)


def peak_bytes() -> int:
    """Peak resident memory of this program; `getrusage` would count the process that started it too."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def timed(step: Step) -> Callable[[], float]:
    """A function that makes the step and returns its seconds."""

    def seconds() -> float:
        start = time.perf_counter()
        step()
        return time.perf_counter() - start

    return seconds


def alternate(
    steps: Mapping[str, Callable[[], Found]], rounds: int, warm_up: int = 2, budget: float = float("inf")
) -> dict[str, list[Found]]:
    """What the steps return, round by round, in an order that turns; the arguments are those of `take_turns`."""
    for _ in range(warm_up):
        for step in steps.values():
            step()
    found: dict[str, list[Found]] = {name: [] for name in steps}
    start = time.monotonic()
    for i in range(rounds):
        for name in list(steps)[:: 1 if i % 2 else -1]:
            found[name].append(steps[name]())
        if i >= 2 and time.monotonic() - start > budget:
            break
    return found


def take_turns(
    variants: Mapping[str, tuple[Callable[..., Step], Sequence[object]]],
    rounds: int,
    warm_up: int = 2,
    budget: float = float("inf"),
) -> dict[str, Times]:
    """Times the variants' steps, in an order that turns round by round.

    Args:
        variants: By name, a function of a module and its arguments, which makes the step in the variant's process.
        rounds: Timed steps of each variant.
        warm_up: Steps before those, to compile and to fill caches.
        budget: Seconds after which no further round begins, once there are three.
    """
    with contextlib.ExitStack() as workers:
        steps = {}
        for name, variant in variants.items():
            worker = workers.enter_context(ProcessPoolExecutor(1, multiprocessing.get_context("spawn")))
            steps[name] = lambda worker=worker, variant=variant: worker.submit(_step, *variant).result()
        found = alternate(steps, rounds, warm_up, budget)
    return {name: Times([seconds for seconds, _ in steps], steps[-1][1]) for name, steps in found.items()}


@functools.cache
def _made(make: Callable[..., Step], args: tuple) -> Callable[[], float]:
    return timed(make(*args))


def _step(make: Callable[..., Step], args: Sequence[object]) -> tuple[float, int]:
    """Seconds of this process' step, which is made first, and the peak memory so far."""
    step = _made(make, tuple(args))
    time.sleep(_PAUSE)
    return step(), peak_bytes()


def median_ratio(times: Times, reference: Times) -> float:
    """Median of the ratios of steps of the same round."""
    return statistics.median(a / b for a, b in zip(times.seconds, reference.seconds, strict=True))
