"""How several workers begin one run: the chief opens its directory, the others learn what it found."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

from wage_tf import checkpoints
from wage_tf.checkpoints import State
from wage_tf.distribution.devices import Devices
from wage_tf.errors import UserError
from wage_tf.runs import RunConfig


def open_together(devices: Devices, config: RunConfig, open_run: Callable[[], State | None]) -> State | None:
    """Returns the state that the run goes on from, the same on every worker; None for the beginning.

    Args:
        devices: All of the training's.
        config: This worker's configuration.
        open_run: Called on the chief alone, makes or checks the run's directory and returns its latest state.

    Raises:
        UserError: What `open_run` raised, on every worker; or a worker's configuration is not the chief's.
    """
    if devices.workers == 1:
        return open_run()
    state, refusal = None, None
    if devices.is_chief:
        try:
            state = open_run()
        except UserError as error:
            refusal = str(error)
    own = json.loads(json.dumps(dataclasses.asdict(config)))
    header = json.dumps({"refusal": refusal, "config": own}).encode()
    message = header + b"\n" + (b"" if state is None else checkpoints.to_bytes(state))
    header, _, content = devices.from_chief(message).partition(b"\n")
    answer = json.loads(header)
    if answer["refusal"] is not None:
        raise UserError(answer["refusal"])
    for name, value in answer["config"].items():
        if own[name] != value and name != "data_dir":
            flag = name.replace("_", "-")
            raise UserError(
                f"worker {devices.worker} was started with {flag} {own[name]}, the chief with {value}: "
                "give all workers the same arguments"
            )
    return checkpoints.from_bytes(content) if content else None
