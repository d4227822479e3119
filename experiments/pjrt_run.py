#!/usr/bin/env python3
"""Runs a training that `experiments.pjrt` packed, on a machine with JAX but without TensorFlow: `pjrt_run.py DIR`.

One file, to be copied along with the pack: it imports JAX and NumPy only. The programs in the pack are wage_tf's own
compiled training and test steps; here they get images, order, random offsets and the learning rate. Killed at any
moment, the same command goes on from the last state that reached the disk.

The order of the images and the offsets of the augmentation are TensorFlow's: its counter-based generator and its
shuffle are written out below in NumPy, since XLA has another layout of the same generator, and no shuffle.

Results do not depend on the device as long as every sum of a convolution stays below 2^24 units: operands of up to 8
bits pass through TF32's 11 significant bits unchanged, their products are integers, and float32 adds such integers
exactly in any order. Winograd and FFT convolutions are not exact. A pack carries digests of TensorFlow's weights after
the first steps, and this program says whether they were met.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import datetime
import hashlib
import io
import json
import os
import signal
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import jax

FORMAT = 2
MANIFEST = "pack.json"
DATA = "data.npz"
_ORDER, _AUGMENTATION = 0, 1
_KEPT_STATES = 2
_DIGEST_BYTES = hashlib.sha256().digest_size
_USER_ERROR, _DIVERGED = 2, 1
_NEEDED = {"files", "data", "programs", "variables", "metrics", "train_size", "test_size", "batch_size"}
_NEEDED |= {"test_batch_size", "epochs", "schedule", "seed", "augmentation", "check", "config", "commit"}
_UINT32 = np.uint64(0xFFFFFFFF)


class PackError(Exception):
    """A pack, state or setting that cannot be used; the message is one line that says why."""


def philox(counter: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Philox 4x32-10, ten rounds of a counter-based generator.

    Args:
        counter: uint64 [..., 4], each below 2^32.
        key: uint64 [..., 2], each below 2^32.

    Returns:
        uint64 [..., 4], each below 2^32.

    References:
        J. Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011).
    """
    c0, c1, c2, c3 = np.moveaxis(counter, -1, 0)
    k0, k1 = np.moveaxis(key, -1, 0)
    for _ in range(10):
        low, high = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (high >> 32) ^ c1 ^ k0, high & _UINT32, (low >> 32) ^ c3 ^ k1, low & _UINT32
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & _UINT32, (k1 + np.uint64(0xBB67AE85)) & _UINT32
    return np.stack([c0, c1, c2, c3], -1)


def random_words(seed: np.ndarray, n: int) -> np.ndarray:
    """The first `n` 32-bit words that TensorFlow's stateless generators draw for a seed.

    Args:
        seed: int64 [..., 2].
        n: Number of words.

    Returns:
        uint64 [..., n], each below 2^32.
    """
    seed = np.asarray(seed, np.int64).view(np.uint64)
    words = np.stack([seed & _UINT32, seed >> np.uint64(32)], -1).reshape(*seed.shape[:-1], 4)
    scrambled = philox(words, np.array([0x3EC8F720, 0x02461E29], np.uint64))
    key, nonce = scrambled[..., None, :2], scrambled[..., None, 2:]
    block = np.arange(-(-n // 4), dtype=np.uint64)
    shape = (*seed.shape[:-1], len(block))
    counter = [block, np.zeros_like(block), nonce[..., 0], nonce[..., 1]]
    words = philox(np.stack([np.broadcast_to(word, shape) for word in counter], -1), key)
    return words.reshape(*seed.shape[:-1], -1)[..., :n]


def fold_in(seed: np.ndarray, data: int) -> np.ndarray:
    """`tf.random.fold_in` of int64 seeds [..., 2] and an integer: other seeds of the same shape."""
    low, high = np.moveaxis(random_words(seed, 2), -1, 0)
    first = (low | high << np.uint64(32)).view(np.int64)
    return np.stack([first, np.full_like(first, data)], -1)


def uniform(seed: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """`tf.random.stateless_uniform(shape, seed)` for each of int64 seeds [..., 2]: float32 [..., *shape] in [0, 1)."""
    words = random_words(seed, int(np.prod(shape)))
    one_to_two = ((words & np.uint64(0x7FFFFF)) | np.uint64(0x3F800000)).astype(np.uint32).view(np.float32)
    return (one_to_two - np.float32(1)).reshape(*words.shape[:-1], *shape)


def shuffled(n: int, seed: np.ndarray) -> np.ndarray:
    """`tf.random.experimental.stateless_shuffle(tf.range(n), seed)`: Fisher and Yates' shuffle, int32 [n]."""
    others = np.arange(n) + (random_words(seed, n) % np.arange(n, 0, -1, dtype=np.uint64)).astype(np.int64)
    order = list(range(n))
    for i, other in enumerate(others.tolist()):
        order[i], order[other] = order[other], order[i]
    return np.array(order, np.int32)


def epoch_order(seed: int, epoch: int, n: int) -> np.ndarray:
    """Order of the training images in an epoch, int32 [n], as `wage_tf.datasets.Dataset.train_batches` has it."""
    return shuffled(n, fold_in(np.array([seed, epoch]), _ORDER))


def augmentation_draws(seed: int, steps: np.ndarray, batch_size: int) -> np.ndarray:
    """Draws for top, left and flip of every image at some steps: float32 [steps, 3, batch_size]."""
    seeds = np.stack([np.full_like(steps, seed), steps], -1).astype(np.int64)
    return uniform(fold_in(seeds, _AUGMENTATION), (3, batch_size))


def data_digest(data: Mapping[str, np.ndarray]) -> str:
    """Digest of all images and labels."""
    found = hashlib.sha256()
    for name in sorted(data):
        found.update(f"{name} {data[name].shape} {data[name].dtype}".encode())
        found.update(np.ascontiguousarray(data[name]))
    return found.hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    temporary = path.with_name(f".writing-{path.name}")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def to_codes(values: np.ndarray) -> tuple[np.ndarray, int | None]:
    """Stores float32 values on a grid of 2^-e, e up to 15, as int8 or int16 codes; others stay as they are.

    Returns:
        (codes, e), or (values, None). `from_codes` gives the values back; a zero's sign is not kept.
    """
    if values.dtype == np.float32 and values.size:
        for exponent in range(16):
            codes = values * np.float32(2**exponent)
            largest = np.abs(codes).max()
            if not largest <= 2**15 - 1:
                break
            if np.array_equal(codes, np.rint(codes)):
                return codes.astype(np.int8 if largest <= 127 else np.int16), exponent
    return values, None


def from_codes(codes: np.ndarray, exponent: int | None) -> np.ndarray:
    """Undoes `to_codes`."""
    return codes if exponent is None else codes.astype(np.float32) * np.float32(2.0**-exponent)


def digest(values: np.ndarray) -> str:
    """SHA-256 of an array's bytes, with zeros made positive."""
    return hashlib.sha256((np.ascontiguousarray(values) + values.dtype.type(0)).tobytes()).hexdigest()


@dataclasses.dataclass
class State:
    """A training between two steps.

    Attributes:
        step: Training steps done.
        seconds: Wall-clock time so far.
        rows: Finished epochs, as in metrics.csv.
        values: Every variable by its Keras path: weights, step count, learning rate, sums of the metrics.
        differing: The first step and weight that are not TensorFlow's, None where all so far are.
        sessions: Time, device and version of JAX of each start.
    """

    step: int
    seconds: float
    rows: list[dict[str, float]]
    values: dict[str, np.ndarray]
    differing: list | None = None
    sessions: list[dict[str, str]] = dataclasses.field(default_factory=list)

    def save(self, folder: Path, pack: str) -> None:
        """Writes `folder`/step-N.state atomically, then removes all but the latest two."""
        stored = {name: to_codes(value) for name, value in self.values.items()}
        about = {"pack": pack, "names": list(stored), "exponents": [exponent for _, exponent in stored.values()]}
        about.update({name: getattr(self, name) for name in ("step", "seconds", "rows", "differing", "sessions")})
        content = io.BytesIO()
        arrays = {f"v{i}": codes for i, (codes, _) in enumerate(stored.values())}
        np.savez(content, about=np.array(json.dumps(about)), **arrays)
        payload = content.getvalue()
        write_atomically(folder / f"step-{self.step:09d}.state", hashlib.sha256(payload).digest() + payload)
        for outdated in _states(folder)[:-_KEPT_STATES]:
            outdated.unlink()

    @classmethod
    def load(cls, path: Path, pack: str) -> State | None:
        """Reads a state; None if it is damaged.

        Raises:
            PackError: If it belongs to another pack.
        """
        content = path.read_bytes()
        payload = content[_DIGEST_BYTES:]
        if hashlib.sha256(payload).digest() != content[:_DIGEST_BYTES]:
            return None
        with np.load(io.BytesIO(payload)) as arrays:
            about = json.loads(str(arrays["about"]))
            values = {
                name: from_codes(arrays[f"v{i}"], exponent)
                for i, (name, exponent) in enumerate(zip(about["names"], about["exponents"], strict=True))
            }
        if about["pack"] != pack:
            raise PackError(f"{path} belongs to another pack: give another --out, or remove {path.parent}")
        return cls(about["step"], about["seconds"], about["rows"], values, about["differing"], about["sessions"])


def latest_state(folder: Path, pack: str) -> State | None:
    """Returns the newest sound state in a folder, None if there is none; says on stderr which ones are damaged."""
    for path in reversed(_states(folder)):
        state = State.load(path, pack)
        if state is not None:
            return state
        print(f"warning: {path} is damaged; going back to the one before it", file=sys.stderr)
    return None


def _states(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.state"))


class Pack:
    """The files of a packed training.

    Args:
        path: Its directory.
        data: Directory of the images and labels, where another pack holds them; None for `path`.

    Attributes:
        manifest: What pack.json says.
        identity: Digest of pack.json, by which states know their pack.
        data: `x_train` uint8 [n, height, width, channels] and `y_train` int32 [n]; `x_test` and `y_test` where there
            is a test set.

    Raises:
        PackError: If there is no pack of this format, or a file is missing, damaged or of another pack.
    """

    def __init__(self, path: str | Path, data: str | Path | None = None):
        self.path = Path(path)
        try:
            content = (self.path / MANIFEST).read_bytes()
            self.manifest = json.loads(content)
            version, missing = self.manifest["format"], _NEEDED - self.manifest.keys()
        except FileNotFoundError:
            raise PackError(f"{self.path} holds no pack (no {MANIFEST})") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PackError(f"{self.path / MANIFEST} is damaged: {error}") from error
        if version != FORMAT:
            raise PackError(f"{self.path} is a pack of format {version}, this program reads {FORMAT}: pack it again")
        if missing:
            raise PackError(f"{self.path / MANIFEST} is damaged: it has no {min(missing)!r}")
        self.identity = hashlib.sha256(content).hexdigest()
        for name, sha256 in self.manifest["files"].items():
            _check_file(self.path / name, sha256)
        self.data = _read_data(Path(data or path) / DATA, self.manifest["data"])

    @property
    def steps_per_epoch(self) -> int:
        """Training steps of an epoch."""
        return -(-self.manifest["train_size"] // self.manifest["batch_size"])

    def learning_rate(self, step: int) -> float:
        """η of a training step, counted from 0."""
        epoch = step // self.steps_per_epoch
        return [eta for first, eta in self.manifest["schedule"] if first <= epoch][-1]

    def initial_state(self) -> State:
        """The training before its first step."""
        with np.load(self.path / "variables.npz") as arrays:
            values = [arrays[f"v{i}"] for i in range(len(arrays.files))]
        return State(0, 0.0, [], dict(zip(self.manifest["variables"], values, strict=True)))


def _read_data(path: Path, sha256: str) -> dict[str, np.ndarray]:
    try:
        with np.load(path) as arrays:
            data = dict(arrays)
    except FileNotFoundError:
        raise PackError(f"{path} is missing: copy it too, or name the pack that holds it with --data") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise PackError(f"{path} is damaged: {error}") from error
    if data_digest(data) != sha256:
        raise PackError(f"{path} is damaged or of another pack: copy it again")
    return data


def _check_file(path: Path, sha256: str) -> None:
    if not path.is_file():
        raise PackError(f"{path} is missing: copy every file that {MANIFEST} lists")
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise PackError(f"{path} is damaged or of another pack: copy it again")


class Program:
    """One compiled program: named arguments in, named results out.

    Args:
        blob: Serialized `jax.export.Exported`.
        arguments: Names of its arguments.
        results: Names of its results; one that is an argument too takes that argument's memory.
    """

    def __init__(self, blob: bytes, arguments: Sequence[str], results: Sequence[str]):
        import jax
        from jax import export

        self.arguments, self.results = arguments, results
        donated = [i for i, name in enumerate(arguments) if name in results]
        self._call = jax.jit(export.deserialize(bytearray(blob)).call, donate_argnums=donated)

    def __call__(self, values: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """Runs on the values named in `arguments`."""
        return dict(zip(self.results, self._call(*[values[name] for name in self.arguments]), strict=True))


class Training:
    """Steps through a packed training on JAX's default device.

    Args:
        pack: The training.
        state: Where to go on from.
    """

    def __init__(self, pack: Pack, state: State):
        import jax

        self.pack, self.manifest = pack, pack.manifest
        self.step, self.rows, self.differing = state.step, state.rows, state.differing
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.device = jax.devices()[0].device_kind
        self.sessions = [*state.sessions, {"started": now, "device": self.device, "jax": jax.__version__}]
        self._put, self._wait = jax.device_put, jax.block_until_ready
        self._values = {name: self._put(value) for name, value in state.values.items()}
        self._zeros = {name: np.zeros_like(state.values[name]) for name in self.manifest["metrics"]}
        self._parts = {
            part: {"images": self._put(pack.data[f"x_{part}"]), "labels": self._put(pack.data[f"y_{part}"])}
            for part in ("train", "test")
            if self.manifest[f"{part}_size"]
        }
        self._programs = {
            name: Program((pack.path / about["file"]).read_bytes(), about["arguments"], about["results"])
            for name, about in self.manifest["programs"].items()
        }
        self._background = ThreadPoolExecutor(1)
        self._next_inputs = self._background.submit(self._inputs, self.step // pack.steps_per_epoch)
        self._started = time.monotonic() - state.seconds

    def state(self) -> State:
        """Fetches the state from the device."""
        values = {name: np.array(value) for name, value in self._values.items()}
        seconds = time.monotonic() - self._started
        return State(self.step, seconds, self.rows, values, self.differing, self.sessions)

    def epoch(self) -> Iterator[None]:
        """Trains to the end of the epoch under way, one step at a time, then tests and adds a row to `rows`.

        The device is kept busy, but never more than one step behind, so that a signal or a checkpoint finds it there.
        """
        steps = self.pack.steps_per_epoch
        whole = self.manifest["train_size"] // self.manifest["batch_size"]
        epoch, first = divmod(self.step, steps)
        inputs = {name: self._put(value) for name, value in self._next_inputs.result().items()}
        self._next_inputs = self._background.submit(self._inputs, epoch + 1)
        inputs.update(self._parts["train"])
        if first == 0:
            self._values.update(self._zeros)
        self._values["learning_rate"] = self._put(np.float32(self.pack.learning_rate(self.step)))
        logs = {}
        for batch in range(first, steps):
            program = self._programs["train" if batch < whole else "train_last"]
            before, logs = logs, self._run(program, {**inputs, "batch": np.int32(batch)})
            self._wait(before)
            self.step += 1
            self._compare()
            if batch + 1 < steps:
                yield
        row = {"epoch": epoch + 1, **_row("train", logs), **_row("test", self._test())}
        self.rows = [*self.rows, row]
        yield

    def _inputs(self, epoch: int) -> dict[str, np.ndarray]:
        """Order and random offsets of an epoch."""
        size, batch_size, seed = self.manifest["train_size"], self.manifest["batch_size"], self.manifest["seed"]
        inputs = {"order": epoch_order(seed, epoch, size)}
        if self.manifest["augmentation"]:
            steps, whole = self.pack.steps_per_epoch, size // batch_size
            numbers = np.arange(epoch * steps, (epoch + 1) * steps)
            inputs["draws"] = augmentation_draws(seed, numbers[:whole], batch_size)
            if whole < steps:
                inputs["last_draws"] = augmentation_draws(seed, numbers[whole:], size - whole * batch_size)
        return inputs

    def _run(self, program: Program, inputs: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        results = program({**self._values, **inputs})
        self._values.update({name: value for name, value in results.items() if name in self._values})
        return {name: value for name, value in results.items() if name not in self._values}

    def _test(self) -> dict[str, jax.Array]:
        self._values.update(self._zeros)
        logs, (size, batch_size) = {}, (self.manifest["test_size"], self.manifest["test_batch_size"])
        for batch in range(-(-size // batch_size)):
            program = self._programs["test" if (batch + 1) * batch_size <= size else "test_last"]
            logs = self._run(program, {**self._parts["test"], "batch": np.int32(batch)})
        return logs

    def _compare(self) -> None:
        """Compares the weights with those that TensorFlow had after this step."""
        if self.differing is None and self.step <= len(self.manifest["check"]):
            expected = self.manifest["check"][self.step - 1]
            found = {name: digest(np.asarray(self._values[name])) for name in expected}
            differing = [name for name in expected if found[name] != expected[name]]
            if differing:
                self.differing = [self.step, differing[0]]


def _row(part: str, logs: Mapping[str, jax.Array]) -> dict[str, float]:
    return {f"{part}_{name}": float(logs[name]) for name in sorted(logs)}


def metrics_csv(rows: Sequence[Mapping[str, float]]) -> bytes:
    """One row per epoch; floats as Python prints them, so that they read back exactly."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def comparison(pack: Pack, state: State) -> str:
    """Says in one line whether the first steps' weights are TensorFlow's."""
    checked = min(state.step, len(pack.manifest["check"]))
    if not checked:
        return "weights were not compared with TensorFlow's: the pack has none (--check-steps)"
    if state.differing:
        step, name = state.differing
        return f"weights differ from TensorFlow's on its CPU from step {step} on, first in {name}"
    return f"weights equal TensorFlow's on its CPU after each of the first {checked} steps"


class _Stop:
    """Notes SIGINT and SIGTERM, so that the step under way ends and its state is kept."""

    def __init__(self) -> None:
        self.signum = 0
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, self._note)

    def _note(self, signum: int, frame: object) -> None:
        self.signum = signum


def run(pack: Pack, out: Path, epochs: int, checkpoint_seconds: float) -> int:
    """Trains up to `epochs` and keeps states and metrics in `out`; returns the exit code."""
    import jax

    jax.config.update("jax_enable_x64", True)
    if jax.default_backend() != "cpu" and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str((out / "compiled").resolve()))
    state = latest_state(out, pack.identity) or pack.initial_state()
    stop = _Stop()
    training = Training(pack, state)
    print(f"{training.device}, from step {state.step:,}", flush=True)
    saved = time.monotonic()
    while len(training.rows) < epochs:
        began, done = time.monotonic(), training.step
        for _ in training.epoch():
            is_over = len(training.rows) == epochs
            if stop.signum or is_over or time.monotonic() - saved >= checkpoint_seconds:
                training.state().save(out, pack.identity)
                saved = time.monotonic()
            if stop.signum and not is_over:
                print(f"stopped after step {training.step:,}; the same command goes on from there")
                return 128 + stop.signum
        write_atomically(out / "metrics.csv", metrics_csv(training.rows))
        row = training.rows[-1]
        figures = "  ".join(f"{name} {value:.6g}" for name, value in row.items() if name != "epoch")
        pace = 1000 * (time.monotonic() - began) / (training.step - done)
        print(f"epoch {row['epoch']}/{epochs}  {figures}  {pace:.1f} ms a step", flush=True)
        if not np.isfinite(row["train_loss"]):
            print("pjrt_run.py: error: the training diverged: its loss is not finite", file=sys.stderr)
            return _DIVERGED
    print(comparison(pack, training.state()))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    parser = argparse.ArgumentParser(prog="pjrt_run.py", description=__doc__.splitlines()[0])
    parser.add_argument("pack", metavar="DIR", help="the pack")
    parser.add_argument("--data", metavar="DIR", help="a pack of the same images, where this one was packed without")
    parser.add_argument("--out", metavar="DIR", help="where states and metrics are kept (default: DIR/out)")
    parser.add_argument("--epochs", type=int, metavar="N", help="stop after this epoch (default: the pack's last)")
    parser.add_argument(
        "--checkpoint-seconds",
        type=float,
        default=300.0,
        metavar="S",
        help="a state every S seconds, besides the last (default 300)",
    )
    args = parser.parse_args(argv)
    try:
        pack = Pack(args.pack, args.data)
        last = pack.manifest["epochs"]
        epochs = last if args.epochs is None else args.epochs
        if not 1 <= epochs <= last:
            raise PackError(f"--epochs: this pack has 1 to {last}; received {epochs}")
        out = Path(args.out or Path(args.pack) / "out")
        out.mkdir(parents=True, exist_ok=True)
        return run(pack, out, epochs, args.checkpoint_seconds)
    except PackError as error:
        message = str(error)
    except OSError as error:
        message = f"{error.filename or 'a file'}: {error.strerror or error}"
    print(f"pjrt_run.py: error: {' '.join(message.split())}", file=sys.stderr)
    return _USER_ERROR


if __name__ == "__main__":
    sys.exit(main())
