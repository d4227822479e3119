#!/usr/bin/env python3
"""What does a second process bring, what do the maxima cost, how wide are the gradients, and how far would 64 GPUs go?

    python -m benchmarks.scaling --json experiments/results/benchmarks/scaling@MACHINE.json

Each process keeps to a core of its own and shares nothing but loopback with the other, so two of them stand for two
small hosts. Times are the fastest of many, which other work on the machine disturbs least, with the median and one
process' CPU time beside it.
What the maxima cost is measured alone: many of them in a chain, as the backward pass needs them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import socket
import statistics
import time

from benchmarks import record

_NETWORKS = {"lenet5": ("mnist", (28, 28, 1), 1.0), "vgg7": ("cifar10", (32, 32, 3), 0.25)}
_UNIT = 2.0**-14


def measure(task: dict[str, object], results: multiprocessing.Queue) -> None:
    """Times one worker's steps, milliseconds; the chief's go to `results`."""
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[task["index"]]})
    if task["workers"] > 1:
        cluster = {"worker": task["addresses"]}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": task["index"]}})
    import numpy as np
    import tensorflow as tf

    import models
    from wage_tf import datasets, recipes, training
    from wage_tf.distribution import cluster, devices
    from wage_tf.layers import QActivation, QError

    tf.config.threading.set_intra_op_parallelism_threads(1)
    several = task["workers"] > 1
    where = devices.multiworker(cluster.from_environment()) if several else devices.one_device()
    name, shape, width = _NETWORKS[task["model"]]
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (task["batch"], *shape), np.uint8)
    labels = np.arange(task["batch"]) % 10
    dataset = datasets.Dataset.from_arrays(name, images, labels)
    settings = {"dataset": name, "model": task["model"], "width": width, "batch_size": task["batch"], "seed": 0}
    settings |= {"checkpoint_steps": 0, "histogram_freq": 0}
    config = training.configure(dataset, recipes.get(name), settings)
    first, stop = where.share.bounds(task["batch"])
    batch = images[first:stop], np.eye(10, dtype=np.float32)[labels[first:stop]]
    model = training.prepare(config, dataset, models.build, where)
    step = model.make_train_function() or model.train_function
    batches = iter(tf.data.Dataset.from_tensors(batch).repeat())
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


def _one_maximum(strategy: object, chained: int = 20, runs: int = 50) -> float:
    """Milliseconds of one maximum over all replicas: the fastest of many chains, in which each waits for the last."""
    import tensorflow as tf

    from wage_tf.distribution import replicas

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


def gradient_widths(steps: int, batch: int) -> dict[str, object]:
    """Bits, sign included, of the largest raw gradient of each kernel in units of 2⁻¹⁴: LeNet-5 on MNIST."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_gradient_widths, (steps, batch))


def _gradient_widths(steps: int, batch: int) -> dict[str, object]:
    import numpy as np
    import tensorflow as tf

    import models
    from wage_tf import datasets, recipes, training

    dataset = datasets.load("mnist")
    settings = {"dataset": "mnist", "model": "lenet5", "width": 1.0, "batch_size": batch, "seed": 0, "schedule": "8@0"}
    config = training.configure(dataset, recipes.get("mnist"), {**settings, "checkpoint_steps": 0, "histogram_freq": 0})
    model = training.prepare(config, dataset, models.build)
    kernels = model.trainable_variables

    @tf.function(autograph=False)
    def step(images: tf.Tensor, targets: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(y=targets, y_pred=model(images, training=True))
        gradients = tape.gradient(loss, kernels)
        model.optimizer.apply_gradients(zip(gradients, kernels, strict=True))
        units = [g / _UNIT for g in gradients]
        return [tf.stack([tf.reduce_max(tf.abs(g)), tf.reduce_max(tf.abs(g - tf.round(g)))]) for g in units]

    largest = np.zeros(len(kernels))
    for images, targets in dataset.train_batches(batch, 0).take(steps):
        found = np.array([values.numpy() for values in step(images, targets)])
        if found[:, 1].any():
            raise AssertionError(f"a gradient is no integer: {found}")
        largest = np.maximum(largest, found[:, 0])
    bits = {kernel.path: int(value).bit_length() + 1 for kernel, value in zip(kernels, largest, strict=True)}
    return {"model": "lenet5", "dataset": "mnist", "batch": batch, "steps": steps, "bits": bits}


def plan(batch: int) -> dict[str, object]:
    """Simulated steps of AlexNet on ImageNet, from the stated constants alone; nothing overlaps."""
    assumed = {
        "parameters": 62_367_776,
        "flop_per_image": 6 * 1.14e9,
        "gpu_flop_per_second": 0.3 * 19.5e12,
        "gpus_per_host": 8,
        "bytes_per_second_inside": 200e9,
        "bytes_per_second_between_hosts": 12.5e9,
        "seconds_per_small_collective_inside": 20e-6,
        "seconds_per_small_collective_between_hosts": 60e-6,
        "layers_with_errors": 8,
        "classes": 1000,
    }
    rows = []
    for gpus in (1, 2, 4, 8, 16, 32, 64):
        where = "inside" if gpus <= assumed["gpus_per_host"] else "between_hosts"
        speed, latency = (assumed[f"{what}_{where}"] for what in ("bytes_per_second", "seconds_per_small_collective"))
        compute = batch / gpus * assumed["flop_per_image"] / assumed["gpu_flop_per_second"]
        sent = 2 * (gpus - 1) / gpus * 4 * assumed["parameters"]
        scores = (gpus - 1) / gpus * batch * 2 * assumed["classes"] * 4
        small = assumed["layers_with_errors"] * latency if gpus > 1 else 0.0
        total = compute + (sent + scores) / speed + small
        rows.append(
            {
                "gpus": gpus,
                "images_per_gpu": batch / gpus,
                "compute_ms": round(1e3 * compute, 2),
                "sent_mb": round((sent + scores) / 1e6, 1),
                "exchange_ms": round(1e3 * (sent + scores) / speed, 2),
                "maxima_ms": round(1e3 * small, 2),
                "step_ms": round(1e3 * total, 2),
                "images_per_second": round(batch / total),
            }
        )
    return {"batch": batch, "assumed": assumed, "rows": rows}


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def main() -> None:
    """Prints every figure as it is found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=128, help="images of a step on one process (default 128)")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=200, help="training steps that the gradients' widths are from")
    record.add_argument(parser)
    args = parser.parse_args()

    b = args.batch_size
    cases = [(model, workers, batch) for model in _NETWORKS for workers, batch in ((1, b), (2, b), (2, 2 * b))]
    throughput = [run(model, workers, batch, args.rounds) for model, workers, batch in cases]
    widths = gradient_widths(args.steps, b)
    print(widths)
    plans = [plan(256), plan(4096)]
    for each in plans:
        print(*each["rows"], sep="\n")
    record.write(args.json, "scaling", {"throughput": throughput, "gradient_widths": widths, "plan": plans})


if __name__ == "__main__":
    main()
