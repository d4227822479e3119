#!/usr/bin/env python3
"""How much memory do the tensors of a training step take? The native engine beside the same network in float32 Keras.

    python -m benchmarks.native_memory --model vgg7 --batch-size 128

Counted: of float32 every layer's output once, the weights and their gradients; of the native engine its arena and its
weights, codes, stored and packed. Measured: what the resident memory of a process grows by, at its peak, from the
moment when the libraries are loaded to the end of some steps. Each has a process of its own; the native engine's has
no TensorFlow and takes the network from a packed file.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import record

_WITHOUT_TENSORFLOW = "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = None; "


def main() -> None:
    """Prints one line."""
    parser = record.parser("native_memory", __doc__)
    parser.add_argument("--model", choices=("lenet5", "resnet20", "vgg7"), default="vgg7")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--batch-size", type=int, default=128)
    args = parser.parse_args()
    size = (args.model, args.width, args.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / "net.wage"
        _in_a_process("write_network", *size[:2], str(packed))
        native = _in_a_process("native_bytes", str(packed), args.batch_size, before=_WITHOUT_TENSORFLOW)
    floats = _in_a_process("float_bytes", *size)
    ratios = {name: native[name] / floats[name] for name in ("counted", "measured")}
    counted, measured = (
        f"{native[name] / 1e6:.0f} of {floats[name] / 1e6:.0f} MB, {ratios[name]:.2f}" for name in ratios
    )
    print(f"{args.model} x{args.width:g} batch {args.batch_size}: counted {counted}; measured {measured}")
    figures = {
        "float32_mb": {name: floats[name] / 1e6 for name in ratios},
        "native_mb": {name: native[name] / 1e6 for name in ratios},
        "ratios": ratios,
    }
    record.write(args.json, "native_memory", figures)


def _in_a_process(function: str, *arguments: object, before: str = "") -> dict[str, int]:
    """What a function of `step_memory` returns in a process of its own."""
    call = (
        f"{before}import json; from benchmarks import step_memory as m; print(json.dumps(m.{function}(*{arguments!r})))"
    )
    run = subprocess.run([sys.executable, "-c", call], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(run.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
