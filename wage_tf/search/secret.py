"""The secret that the processes of one search share: its chief answers nobody who does not send it.

It keeps strangers away, not those who read the network: the connection is not encrypted.
"""

from __future__ import annotations

import collections
import hmac
import os
import re
import secrets
from collections.abc import Callable

import grpc

from wage_tf.errors import UserError

VARIABLE = "WAGE_TF_SEARCH_SECRET"
_KEY = "wage-tf-search-secret"
_FORM = re.compile(r"[!-~]{16,200}")


def from_environment() -> str:
    """Returns the secret that the environment gives.

    Raises:
        UserError: If it gives none, or one that can be guessed or not be sent. The message does not show it.
    """
    secret = os.environ.get(VARIABLE)
    if secret is None:
        raise UserError(f"a chief and its workers share a secret: set {VARIABLE} to the same one for all")
    if not _FORM.fullmatch(secret):
        raise UserError(f"{VARIABLE}: 16 to 200 printable ASCII characters without spaces are wanted")
    return secret


def new() -> str:
    """Returns a new secret of 256 random bits."""
    return secrets.token_hex(32)


class Guard(grpc.ServerInterceptor):
    """Turns away, in front of a server, every request without the secret."""

    def __init__(self, secret: str):
        self._secret = secret.encode()
        self._refusal = grpc.unary_unary_rpc_method_handler(_refuse)

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        given = dict(handler_call_details.invocation_metadata).get(_KEY, "")
        if hmac.compare_digest(given.encode(), self._secret):
            return continuation(handler_call_details)
        return self._refusal


class Sender(grpc.UnaryUnaryClientInterceptor):
    """Adds the secret to every request of a channel."""

    def __init__(self, secret: str):
        self._metadata = (_KEY, secret)

    def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.ClientCallDetails, object], object],
        client_call_details: grpc.ClientCallDetails,
        request: object,
    ) -> object:
        fields = {name: getattr(client_call_details, name, None) for name in _Details._fields}
        fields["metadata"] = [*(fields["metadata"] or ()), self._metadata]
        return continuation(_Details(**fields), request)


class _Details(
    collections.namedtuple("_Details", "method timeout metadata credentials wait_for_ready compression"),
    grpc.ClientCallDetails,
):
    """What gRPC is told of a call."""


def _refuse(request: object, context: grpc.ServicerContext) -> None:
    context.abort(grpc.StatusCode.UNAUTHENTICATED, "the secret of this search is missing or wrong")
