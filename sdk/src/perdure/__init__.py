"""Perdure: durable agent runs.

The names below are loaded when they are first used: the server side imports `perdure.contract` from this package,
and must not pay for a client it does not use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.client import AsyncPerdure, Perdure
    from perdure.contract import (
        ApprovalRequest,
        Budget,
        CachePolicy,
        CallStatus,
        Event,
        FunctionReference,
        Message,
        PausedFor,
        PendingApproval,
        RetryPolicy,
        RunConfigReference,
        RunStatus,
        Scope,
        StatusChange,
    )
    from perdure.errors import (
        ApiError,
        AuthenticationError,
        CallFailedError,
        CallResultError,
        CallTimeoutError,
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
        StillWorkingError,
        StructuredOutputError,
        TooLargeError,
    )
    from perdure.functions.approval import approval_request
    from perdure.functions.blobs import BlobData, blob
    from perdure.functions.context import Context
    from perdure.functions.functions import Function, StatusChangeHandler
    from perdure.functions.options import FunctionOptions
    from perdure.resources.call_handle import AsyncCall, Call, CallResult
    from perdure.resources.calls import CallOptions
    from perdure.resources.results import RunResult
    from perdure.resources.run_configs import RunConfigOptions
    from perdure.resources.run_options import Handler, RunOptions, Webhook
    from perdure.resources.runs import AsyncRun, Run
    from perdure.service import Service
    from perdure.worker.worker import Worker, serve

__all__ = [
    "ApiError",
    "ApprovalRequest",
    "AsyncCall",
    "AsyncPerdure",
    "AsyncRun",
    "AuthenticationError",
    "BlobData",
    "Budget",
    "CachePolicy",
    "Call",
    "CallFailedError",
    "CallOptions",
    "CallResult",
    "CallResultError",
    "CallStatus",
    "CallTimeoutError",
    "ConfigurationError",
    "ConflictError",
    "ConnectionFailedError",
    "Context",
    "Event",
    "Function",
    "FunctionOptions",
    "FunctionReference",
    "GoneError",
    "Handler",
    "InvalidRequestError",
    "Message",
    "NotFoundError",
    "PausedFor",
    "PendingApproval",
    "Perdure",
    "PerdureError",
    "PollTimeoutError",
    "RateLimitedError",
    "ResultError",
    "RetryPolicy",
    "Run",
    "RunCancelledError",
    "RunConfigOptions",
    "RunConfigReference",
    "RunFailedError",
    "RunOptions",
    "RunResult",
    "RunStatus",
    "Scope",
    "ServerError",
    "Service",
    "StatusChange",
    "StatusChangeHandler",
    "StillWorkingError",
    "StructuredOutputError",
    "TooLargeError",
    "Webhook",
    "Worker",
    "approval_request",
    "blob",
    "serve",
]

_HOMES = {
    "functions.approval": ("approval_request",),
    "functions.blobs": ("BlobData", "blob"),
    "resources.call_handle": ("AsyncCall", "Call", "CallResult"),
    "resources.calls": ("CallOptions",),
    "client": ("AsyncPerdure", "Perdure"),
    "functions.context": ("Context",),
    "contract": (
        "ApprovalRequest",
        "Budget",
        "CachePolicy",
        "CallStatus",
        "Event",
        "FunctionReference",
        "Message",
        "PausedFor",
        "PendingApproval",
        "RetryPolicy",
        "RunConfigReference",
        "RunStatus",
        "Scope",
        "StatusChange",
    ),
    "functions.options": ("FunctionOptions",),
    "functions.functions": ("Function", "StatusChangeHandler"),
    "resources.results": ("RunResult",),
    "resources.run_configs": ("RunConfigOptions",),
    "resources.run_options": ("Handler", "RunOptions", "Webhook"),
    "resources.runs": ("AsyncRun", "Run"),
    "service": ("Service",),
    "worker.worker": ("Worker", "serve"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # a type checker that saw it would believe every name

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(import_module(f"perdure.{_HOME_OF.get(name, 'errors')}"), name)
        globals()[name] = value
        return value
