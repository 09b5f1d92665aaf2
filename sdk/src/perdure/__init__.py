"""Perdure: durable agent runs.

The names below are loaded when they are first used: the server side imports `perdure.contract` from this package,
and must not pay for a client it does not use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.approval import approval_request
    from perdure.client import AsyncPerdure, Perdure, RunOptions
    from perdure.context import Context
    from perdure.contract import (
        ApprovalRequest,
        Event,
        FunctionReference,
        Message,
        RunStatus,
        StatusChange,
    )
    from perdure.errors import (
        ApiError,
        AuthenticationError,
        ConfigurationError,
        ConflictError,
        ConnectionFailedError,
        GoneError,
        InvalidRequestError,
        NotFoundError,
        PerdureError,
        PollTimeoutError,
        RateLimitedError,
        ResultError,
        RunCancelledError,
        RunFailedError,
        ServerError,
        TooLargeError,
    )
    from perdure.functions import Function, StatusChangeHandler
    from perdure.results import RunResult
    from perdure.runs import AsyncRun, Run
    from perdure.service import Service
    from perdure.worker import Worker, serve

__all__ = [
    "ApiError",
    "ApprovalRequest",
    "AsyncPerdure",
    "AsyncRun",
    "AuthenticationError",
    "ConfigurationError",
    "ConflictError",
    "ConnectionFailedError",
    "Context",
    "Event",
    "Function",
    "FunctionReference",
    "GoneError",
    "InvalidRequestError",
    "Message",
    "NotFoundError",
    "Perdure",
    "PerdureError",
    "PollTimeoutError",
    "RateLimitedError",
    "ResultError",
    "Run",
    "RunCancelledError",
    "RunFailedError",
    "RunOptions",
    "RunResult",
    "RunStatus",
    "ServerError",
    "Service",
    "StatusChange",
    "StatusChangeHandler",
    "TooLargeError",
    "Worker",
    "approval_request",
    "serve",
]

_HOMES = {
    "approval": ("approval_request",),
    "client": ("AsyncPerdure", "Perdure", "RunOptions"),
    "context": ("Context",),
    "contract": (
        "ApprovalRequest",
        "Event",
        "FunctionReference",
        "Message",
        "RunStatus",
        "StatusChange",
    ),
    "functions": ("Function", "StatusChangeHandler"),
    "results": ("RunResult",),
    "runs": ("AsyncRun", "Run"),
    "service": ("Service",),
    "worker": ("Worker", "serve"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # a type checker that saw it would believe every name

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(import_module(f"perdure.{_HOME_OF.get(name, 'errors')}"), name)
        globals()[name] = value
        return value
