#!/usr/bin/env python3
"""What does a second process bring a training step, and what do the maxima cost?

    python -m benchmarks.scaling --json experiments/results/benchmarks/scaling@MACHINE.json

Each process keeps to a core of its own and shares nothing but loopback with the other, so two of them stand for two
small hosts. Times are the fastest of many, which other work on the machine disturbs least, with the median and one
process' CPU time beside it.
What the maxima cost is measured alone: many of them in a chain, as the backward pass needs them.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import statistics
import time

import tensorflow as tf

from benchmarks import record
from benchmarks.train_step import compiled
from wage_tf.distribution import cluster, devices, replicas
from wage_tf.layers import QActivation, QError

_WIDTH_MULTIPLIERS = {"lenet5": 1.0, "vgg7": 0.25}


def measure(task: dict[str, object], results: multiprocessing.Queue) -> None:
    """Times one worker's steps, milliseconds; the chief's go to `results`."""
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[task["index"]]})
    tf.config.threading.set_intra_op_parallelism_threads(1)
    several = task["workers"] > 1
    if several:
        workers = {"cluster": {"worker": task["addresses"]}, "task": {"type": "worker", "index": task["index"]}}
        os.environ["TF_CONFIG"] = json.dumps(workers)
    where = devices.multiworker(cluster.from_environment()) if several else devices.one_device()
    multiplier = _WIDTH_MULTIPLIERS[task["model"]]
    model, images, targets = compiled(task["model"], "2-8-8-8", multiplier, task["batch"], where)
    first, stop = where.share.bounds(task["batch"])
    step = model.make_train_function() or model.train_function
    batches = iter(tf.data.Dataset.from_tensors((images[first:stop], targets[first:stop])).repeat())
    times, busy = [], []
    for _ in range(task["rounds"] + 3):
        start, started = time.perf_counter(), time.process_time()
        float(step(batches)["loss"])
        times.append(1e3 * (time.perf_counter() - start))
        busy.append(1e3 * (time.process_time() - started))
    layers = sum(isinstance(layer, (QActivation, QError)) and layer.bits.e is not None for layer in model.layers)
    found = {"times": times[3:], "busy": busy[3:], "parameters": model.count_params(), "layers": layers}
    if several:
        found["maximum_ms"] = _one_maximum(where.strategy)
    if task["index"] == 0:
        results.put(found)


def _one_maximum(strategy: tf.distribute.Strategy, chained: int = 20, runs: int = 50) -> float:
    """Milliseconds of one maximum over all replicas: the fastest of many chains, in which each waits for the last."""

    def chain(value: tf.Tensor) -> tf.Tensor:
        for _ in range(chained):
            value = replicas.maximum(value) * 0.5
        return value

    chain_on_all = tf.function(lambda value: strategy.run(chain, args=(value,)), autograph=False)
    times = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        chain_on_all(tf.constant(1.0)).numpy()
        times.append(1e3 * (time.perf_counter() - start) / chained)
    return min(times[1:])


def run(model: str, workers: int, batch: int, rounds: int) -> dict[str, object]:
    """Times the steps of `workers` processes on one core each."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    addresses = [f"localhost:{port}" for port in _free_ports(workers)]
    task = {"model": model, "workers": workers, "batch": batch, "rounds": rounds, "addresses": addresses}
    processes = [context.Process(target=measure, args=({**task, "index": i}, results)) for i in range(workers)]
    for process in processes:
        process.start()
    found = results.get(timeout=900)
    for process in processes:
        process.join()
    fastest = min(found["times"])
    figures = {"model": model, "processes": workers, "batch": batch, "step_ms": round(fastest, 1)}
    figures["median_step_ms"] = round(statistics.median(found["times"]), 1)
    figures["cpu_ms"] = round(min(found["busy"]), 1)
    figures["images_per_second"] = round(1e3 * batch / fastest, 1)
    if workers > 1:
        figures["gradient_bytes"] = 4 * found["parameters"]
        figures["maximum_ms"], figures["layers"] = round(found["maximum_ms"], 3), found["layers"]
        figures["maxima_share"] = round(found["layers"] * found["maximum_ms"] / fastest, 4)
    print(figures, flush=True)
    return figures


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def main() -> None:
    """Prints every figure as it is found."""
    parser = record.parser("scaling", __doc__)
    parser.add_argument("--batch-size", type=int, default=128, help="images of a step on one process (default 128)")
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()

    b = args.batch_size
    cases = [(model, workers, batch) for model in _WIDTH_MULTIPLIERS for workers, batch in ((1, b), (2, b), (2, 2 * b))]
    throughput = [run(model, workers, batch, args.rounds) for model, workers, batch in cases]
    record.write(args.json, "scaling", {"throughput": throughput})


if __name__ == "__main__":
    main()
