"""Strangers, noise and made-up trials at the gRPC port of a search's chief."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import grpc
from keras_tuner.src import protos

from attacks.judging import Finding
from wage_tf.search.kerastuner import Servicer
from wage_tf.search.secret import Guard, Sender, new

METHODS = ("GetSpace", "UpdateSpace", "CreateTrial", "UpdateTrial", "EndTrial", "GetTrial", "GetBestTrials", "Nothing")
REFUSALS = {
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class Rpc:
    """Attacks on a chief whose oracle must hear of nothing but one worker's question.

    Args:
        folder: Not used; all families take one.
    """

    def __init__(self, folder: Path):
        self.secret, self.heard = new(), []
        running = SimpleNamespace(trial_id="0", to_proto=lambda: protos.get_proto().Trial(trial_id="0"))
        oracle = SimpleNamespace(ongoing_trials={"worker0": running}, get_trial=self._get_trial(running))
        self.servicer = Servicer(oracle)
        self.server = grpc.server(ThreadPoolExecutor(1), interceptors=[Guard(self.secret)])
        self.servicer.add_to(self.server)
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def _get_trial(self, trial: SimpleNamespace) -> Callable[[str], SimpleNamespace]:
        def get_trial(trial_id: str) -> SimpleNamespace:
            self.heard.append(trial_id)
            return trial

        return get_trial

    def attack(self, rng: random.Random, say: Callable[[str], None]) -> None:
        """Sends one request that must be refused, then one that must be answered."""
        method, content = rng.choice(METHODS), rng.randbytes(rng.choice((0, 1, 8, 200, 5_000_000)))
        guess = rng.choice((None, "", self.secret[:-1], self.secret + "0", self.secret.upper(), "é", "0" * 64))
        say(f"{method} of {len(content)} bytes with the secret {'left out' if guess is None else 'guessed'}")
        self._refused(method, content, None if guess is None else [("wage-tf-search-secret", guess)])
        self._refused("EndTrial", protos.get_service().EndTrialRequest().SerializeToString(), "known")
        with grpc.insecure_channel(self.address) as channel:
            stub = protos.get_service_grpc().OracleStub(grpc.intercept_channel(channel, Sender(self.secret)))
            stub.GetTrial(protos.get_service().GetTrialRequest(trial_id="0"), timeout=60)
        if self.servicer.failure is not None or self.heard.pop() != "0" or self.heard:
            raise Finding(f"the chief failed or its oracle heard: {self.servicer.failure!r} {self.heard}")

    def _refused(self, method: str, content: bytes, metadata: list[tuple[str, str]] | str | None) -> None:
        with grpc.insecure_channel(self.address) as plain:
            channel = grpc.intercept_channel(plain, Sender(self.secret)) if metadata == "known" else plain
            call = channel.unary_unary(f"/keras_tuner.Oracle/{method}")
            try:
                call(content, metadata=None if metadata == "known" else metadata, timeout=60)
            except grpc.RpcError as error:
                if error.code() not in REFUSALS:
                    raise Finding(f"{method} was refused with {error.code()}") from error
            except ValueError:
                return
            else:
                raise Finding(f"{method} was answered")
