#!/usr/bin/env python3
"""How does a training step compare with other libraries'? VGG7 in each that is installed, side by side.

    python -m benchmarks.peers --json experiments/results/benchmarks/peers.json

Every variant has a process of its own, with the machine's cores to itself, and they take turns; a ratio is the median
over the rounds. The float32 networks take plain SGD on the same loss. PyTorch and HGQ2 are no dependencies: without
them their rows are missing, and the record says why. Before timing, where PyTorch is there, one step of both WAGE
implementations from the same weights, images and random integers is compared code by code.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import itertools
from collections.abc import Callable, Mapping

import keras
import numpy as np

from benchmarks import record, turns
from benchmarks.train_step import batch_of, compiled, make_step
from wage_tf import losses, ops

_OURS = "wage_tf, 2-8-8-8"
_NEEDED_BY = {"PyTorch": "torch", "HGQ2": "hgq", "Larq": "larq"}
_CHANNELS = (128, 128, 256, 256, 512, 512)


def initial_weights(width_multiplier: float) -> tuple[list[np.ndarray], list[float]]:
    """VGG7's ternary weights by WAGE's initialization, in Keras' layout, and the layers' α."""
    generator = np.random.default_rng(1)
    channels = [3, *(max(1, round(units * width_multiplier)) for units in _CHANNELS)]
    hidden = max(1, round(1024 * width_multiplier))
    shapes = [(3, 3, *pair) for pair in itertools.pairwise(channels)]
    shapes += [(16 * channels[-1], hidden), (hidden, 10)]
    kernels, alphas = [], []
    for shape in shapes:
        fan_in_limit = np.sqrt(3 / np.prod(shape[:-1]))
        drawn = generator.uniform(-max(fan_in_limit, 0.75), max(fan_in_limit, 0.75), shape)
        kernels.append((np.clip(np.rint(2 * drawn), -1, 1) / 2).astype(np.float32))
        alphas.append(float(max(2.0 ** np.rint(np.log2(0.75 / fan_in_limit)), 1.0)))
    return kernels, alphas


def _batch(batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    images, labels = batch_of("vgg7", batch_size)
    return images, np.eye(10, dtype=np.float32)[labels]


def torch_step(is_wage: bool, is_compiled: bool, width_multiplier: float, batch_size: int) -> turns.Step:
    """`peers_torch.Vgg7`."""
    import torch

    from benchmarks.peers_torch import Vgg7

    kernels, alphas = initial_weights(width_multiplier)
    if not is_wage:
        kernels = [kernel / 2 / alpha for kernel, alpha in zip(kernels, alphas, strict=True)]
    net = Vgg7(kernels, alphas if is_wage else None, is_compiled)
    images, targets = _batch(batch_size)
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return lambda: net.step(pixels, torch.from_numpy(targets))


def hgq_step(width_multiplier: float, batch_size: int) -> turns.Step:
    """HGQ2's nearest: fixed widths of 2 bits for weights and 8 for activations; errors and gradients stay float32."""
    from hgq.config import LayerConfigScope, QuantizerConfigScope
    from hgq.layers import QConv2D, QDense

    fixed = {"heterogeneous_axis": (), "homogeneous_axis": None, "trainable": False}
    with (
        QuantizerConfigScope(place="weight", default_q_type="kbi", b0=2, i0=1, **fixed),
        QuantizerConfigScope(place="datalane", default_q_type="kif", i0=0, f0=7, overflow_mode="SAT_SYM", **fixed),
        LayerConfigScope(enable_ebops=False),
    ):
        x = image = keras.Input((32, 32, 3), dtype="uint8")
        x = keras.layers.Rescaling(1 / 128, -1.0)(x)
        for i, units in enumerate(_CHANNELS):
            x = QConv2D(max(1, round(units * width_multiplier)), 3, padding="same", use_bias=False)(x)
            if i % 2:
                x = keras.layers.MaxPooling2D()(x)
            x = keras.layers.ReLU()(x)
        x = keras.layers.Flatten()(x)
        x = keras.layers.ReLU()(QDense(max(1, round(1024 * width_multiplier)), use_bias=False)(x))
        model = keras.Model(image, QDense(10, use_bias=False)(x))
    model.compile(keras.optimizers.SGD(2**-11), losses.SumSquaredError())
    images, targets = _batch(batch_size)
    return lambda: model.train_on_batch(images, targets)


def variants(width_multiplier: float, batch_size: int) -> dict[str, tuple[Callable[..., turns.Step], tuple]]:
    """Every variant whose libraries are there."""
    size = (width_multiplier, batch_size)
    found = {_OURS: (make_step, ("vgg7", "2-8-8-8", *size)), "Keras, float32": (make_step, ("vgg7", "f-f-f-f", *size))}
    missing = absent()
    if "PyTorch" not in missing:
        found["PyTorch, float32"] = (torch_step, (False, False, *size))
        found["PyTorch, WAGE 2-8-8-8"] = (torch_step, (True, False, *size))
        found["PyTorch, WAGE 2-8-8-8, torch.compile"] = (torch_step, (True, True, *size))
    if "HGQ2" not in missing:
        found["HGQ2, 2-bit weights, 8-bit activations"] = (hgq_step, size)
    return found


def absent() -> dict[str, str]:
    """The libraries that cannot be imported, and why."""
    reasons = {}
    for name, module in _NEEDED_BY.items():
        try:
            importlib.import_module(module)
        except Exception as error:
            reasons[name] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return reasons


def codes_are_equal(width_multiplier: float = 0.25, batch_size: int = 8) -> bool:
    """Whether one step of this library and of the PyTorch one leave the same stored weights, every code."""
    import torch

    from benchmarks.peers_torch import Vgg7

    model, images, targets = compiled("vgg7", "2-8-8-8", width_multiplier, batch_size)
    layers = [layer for layer in model.layers if hasattr(layer, "alpha")]
    kernels, alphas = [layer.kernel.numpy() for layer in layers], [float(layer.alpha) for layer in layers]
    model.optimizer.build(model.trainable_variables)

    def random(gradient: torch.Tensor, index: int) -> torch.Tensor:
        seed = ((model.optimizer.seed + 0x9E3779B9 * index) % 2**32, 0)
        bits = ops.random_bits(kernels[index].shape, seed).numpy()
        return torch.from_numpy(bits.transpose(3, 2, 0, 1).copy() if bits.ndim == 4 else bits)

    net = Vgg7(kernels, alphas)
    net.step(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), torch.from_numpy(targets), random)
    model.train_on_batch(images, targets)
    moved = [layer.kernel.numpy() for layer in layers]
    assert any(not np.array_equal(after, before) for after, before in zip(moved, kernels, strict=True))
    return all(np.array_equal(ours, theirs) for ours, theirs in zip(moved, net.codes(), strict=True))


def versions_of_peers() -> Mapping[str, str]:
    """Versions of the other libraries that are there."""
    names = {"torch": "torch", "hgq": "HGQ2"}
    missing = {_NEEDED_BY[name] for name in absent()}
    return {name: importlib.metadata.version(name) for module, name in names.items() if module not in missing}


def main() -> None:
    """Prints a line per variant."""
    parser = record.parser("peers", __doc__)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()

    missing = absent()
    equal = None if "PyTorch" in missing else codes_are_equal()
    times = turns.take_turns(variants(args.width, args.batch_size), args.rounds)
    rows = [
        {
            "name": name,
            "milliseconds": 1e3 * found.median,
            "ratio": turns.median_ratio(found, times[_OURS]),
            "peak_megabytes": found.peak_bytes / 1e6,
            "seconds": found.seconds,
        }
        for name, found in times.items()
    ]
    for row in rows:
        print(
            f"{row['name']:40} {row['milliseconds']:8.1f} ms  {row['ratio']:5.2f} times {_OURS}  "
            f"{row['peak_megabytes']:6.0f} MB"
        )
    verdict = {None: "not compared", True: "equal, every code", False: "NOT equal"}[equal]
    print(f"stored weights after one step of both WAGE implementations: {verdict}")
    for name, reason in missing.items():
        print(f"without {name}: {reason}")
    figures = {"width": args.width, "batch_size": args.batch_size, "rounds": args.rounds, "rows": rows}
    peers = {"codes_equal": equal, "absent": missing, "peers": versions_of_peers()}
    record.write(args.json, "peers", {**figures, **peers})


if __name__ == "__main__":
    main()
