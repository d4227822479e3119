"""The devices of one training: none but the default one, all of this machine, or those of several workers."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
import signal
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from wage_tf.datasets.splits import Share
from wage_tf.distribution.cluster import Cluster, WorkerLost, wait_for_peers
from wage_tf.errors import UserError

_ABORTED = "Collective ops is aborted by"


@dataclasses.dataclass(frozen=True)
class Devices:
    """Where a training runs. `one_device`, `mirrored` and `multiworker` make it.

    Attributes:
        strategy: TensorFlow's strategy; None for the default device, without any.
        worker: Which of the workers this process is; worker 0 is the chief, which writes the run's files.
        workers: Number of processes that train together.
    """

    strategy: tf.distribute.Strategy | None = None
    worker: int = 0
    workers: int = 1

    @property
    def replicas(self) -> int:
        """Number of devices that each train on a part of the batch, over all workers."""
        return 1 if self.strategy is None else self.strategy.num_replicas_in_sync

    def __str__(self) -> str:
        replicas = f"{self.replicas} replica{'s' if self.replicas > 1 else ''}"
        return replicas if self.workers == 1 else f"{replicas} on {self.workers} workers"

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run's files."""
        return self.worker == 0

    @property
    def share(self) -> Share:
        """The part of every batch that this process reads."""
        return Share(self.worker, self.workers)

    def scope(self) -> contextlib.AbstractContextManager:
        """Variables made inside exist on every replica, with the chief's initial values."""
        return contextlib.nullcontext() if self.strategy is None else self.strategy.scope()

    def check_batch_size(self, batch_size: int) -> None:
        """Checks that a batch falls into equal parts.

        Raises:
            UserError: If it does not.
        """
        if batch_size % self.replicas:
            raise UserError(
                f"batch size {batch_size} does not divide into {self.replicas} replicas: give a multiple of "
                f"{self.replicas}, such as {-(-batch_size // self.replicas) * self.replicas}"
            )

    def from_chief(self, content: bytes) -> bytes:
        """Returns the chief's `content` on every worker; all have to call it, the others' own is ignored."""
        if self.workers == 1:
            return content
        size = int(self._sum(np.array([len(content) if self.is_chief else 0], np.int32))[0])
        words = np.zeros(-(-size // 4), np.int32)
        if self.is_chief:
            words = np.frombuffer(content.ljust(4 * len(words), b"\0"), np.int32)
        return self._sum(words).tobytes()[:size]

    def count(self, condition: bool) -> int:
        """Returns on how many workers `condition` holds; all have to call it."""
        return int(condition) if self.workers == 1 else int(self._sum(np.array([condition], np.int32))[0])

    @contextlib.contextmanager
    def reporting_lost_workers(self) -> Iterator[None]:
        """Turns TensorFlow's errors about other workers into `WorkerLost`."""
        try:
            yield
        except tf.errors.OpError as error:
            unreachable = isinstance(error, (tf.errors.UnavailableError, tf.errors.AbortedError))
            if self.workers > 1 and (unreachable or _ABORTED in str(error)):
                raise WorkerLost(_who(error)) from error
            raise

    def _sum(self, values: np.ndarray) -> np.ndarray:
        """Adds int32 values [n] of all workers; a sum in which one term alone is not zero passes bytes on."""
        return self._total(tf.constant(values)).numpy()

    @functools.cached_property
    def _total(self) -> Callable[[tf.Tensor], tf.Tensor]:
        first_local = self.worker * self.replicas // self.workers

        def once(value: tf.Tensor) -> tf.Tensor:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            return tf.where(tf.equal(replica, first_local), value, tf.zeros_like(value))

        def total(own: tf.Tensor) -> tf.Tensor:
            return self.strategy.reduce("SUM", self.strategy.run(once, args=(own,)), axis=None)

        return tf.function(total, autograph=False, input_signature=[tf.TensorSpec([None], tf.int32)])


def one_device() -> Devices:
    """The default: one device, no strategy."""
    return Devices()


def mirrored(logical_devices: int | None = None) -> Devices:
    """All GPUs of this machine, or its CPU where there is none.

    Args:
        logical_devices: Splits the CPU into this many devices that share its cores, to try things out. Has to come
            before anything else uses TensorFlow in this process.

    Raises:
        UserError: If TensorFlow has been used already.
    """
    names = None
    if logical_devices is not None:
        cpu = tf.config.list_physical_devices("CPU")[0]
        try:
            tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration() for _ in range(logical_devices)]
            )
        except RuntimeError:
            raise UserError("logical devices have to be made before TensorFlow is used in this process") from None
        names = [f"CPU:{i}" for i in range(logical_devices)]
    return Devices(tf.distribute.MirroredStrategy(names))


def multiworker(cluster: Cluster) -> Devices:
    """The devices of all workers; comes before anything else uses TensorFlow in this process.

    Waits until all workers are there, see `cluster.wait_for_peers`.

    Args:
        cluster: From `cluster.from_environment`; TensorFlow reads TF_CONFIG once more itself.

    Raises:
        UserError: If TensorFlow has been used already, or the address of this worker cannot be used.
        WorkerLost: If the workers do not find each other.
    """
    wait_for_peers(cluster)
    try:
        with _default_signals():
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise UserError(f"several workers cannot start: {_first_line(error)}") from error
    except tf.errors.OpError as error:
        raise WorkerLost(_who(error)) from error
    return Devices(strategy, cluster.index, len(cluster.addresses))


@contextlib.contextmanager
def _default_signals() -> Iterator[None]:
    """Lets Ctrl-C end the process while TensorFlow keeps the interpreter's lock; undoes its handler of SIGTERM."""
    handlers = {signum: signal.signal(signum, signal.SIG_DFL) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in handlers.items():
            signal.signal(signum, handler)


def _who(error: Exception) -> str:
    """What TensorFlow's report of many lines says about the worker that is gone: the last task it names."""
    tasks = re.findall(r"/job:(\w+)(?:/replica:\d+)?/task:(\d+)", str(error).rpartition(_ABORTED)[2])
    return f"no answer from {tasks[-1][0]} {tasks[-1][1]}" if tasks else _first_line(error)


def _first_line(error: Exception) -> str:
    message = getattr(error, "message", None) or str(error)
    return next((line.strip() for line in message.splitlines() if line.strip()), type(error).__name__)
