"""How several workers begin one run: all were started alike, the chief opens its directory and tells what it found."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeVar

from wage_tf.distribution.devices import Devices
from wage_tf.errors import UserError
from wage_tf.runs import checkpoints
from wage_tf.runs.checkpoints import State
from wage_tf.runs.config import RunConfig

_T = TypeVar("_T")


def on_every_worker(devices: Devices, action: Callable[[], _T], otherwise: str = "another worker cannot start") -> _T:
    """Returns this worker's `action()`, once it has succeeded on all; none goes on where one cannot.

    Args:
        devices: All of the training's.
        action: What this worker does.
        otherwise: What the workers say that succeeded, where another did not.

    Raises:
        UserError: What `action` raised here; or `otherwise`.
        OSError: What `action` raised here.
    """
    refusal = None
    try:
        result = action()
    except (UserError, OSError) as error:
        refusal = error
    refused = devices.count(refusal is not None)
    if refusal is not None:
        raise refusal
    if refused:
        raise UserError(f"{otherwise}: see its output")
    return result


def check_same_arguments(devices: Devices, config: RunConfig) -> None:
    """Checks that all workers were started alike; comes before the model, whose parts they exchange.

    Raises:
        UserError: On every worker, if the configuration of one is not the chief's.
    """
    chiefs = RunConfig.model_validate_json(devices.from_chief(json.dumps(config.as_json()).encode()))

    def compare() -> None:
        if differs := config.first_difference(chiefs, ("data_dir",)):
            name, own, value = differs
            raise UserError(
                f"worker {devices.worker} was started with {name} {own}, the chief with {value}: "
                "give all workers the same arguments"
            )

    on_every_worker(devices, compare, "another worker was started with other arguments than the chief's")


def open_together(devices: Devices, open_run: Callable[[], State | None]) -> State | None:
    """Returns the state that the run goes on from, the same on every worker; None for the beginning.

    Args:
        devices: All of the training's.
        open_run: Called on the chief alone, makes or checks the run's directory and returns its latest state.

    Raises:
        UserError: What `open_run` raised, on every worker.
        OSError: What `open_run` raised, on the chief; the others' is a `UserError`.
    """
    if devices.workers == 1:
        return open_run()
    state, refusal = None, None
    if devices.is_chief:
        try:
            state = open_run()
        except (UserError, OSError) as error:
            refusal = error
    header = json.dumps(None if refusal is None else str(refusal)).encode()
    message = header + b"\n" + (b"" if state is None else checkpoints.to_bytes(state))
    header, _, content = devices.from_chief(message).partition(b"\n")
    if refusal is not None:
        raise refusal
    if (reason := json.loads(header)) is not None:
        raise UserError(reason)
    return checkpoints.from_bytes(content) if content else None
