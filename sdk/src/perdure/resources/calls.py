"""Calls: direct calls, reads, and approvals."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, TypedDict, TypeVar, Unpack, overload

from pydantic import JsonValue, TypeAdapter

from perdure.contract import (
    MAX_CALL_WAIT_SECONDS,
    Blob,
    Call as CallSnapshot,
    CallApproval,
    CreateCall,
    FunctionReference,
    PendingApproval,
)
from perdure.errors import InvalidRequestError
from perdure.functions.references import NamedFunction, to_reference
from perdure.http.cluster_api import OfCluster, PageOf
from perdure.http.json_codec import as_json, build
from perdure.resources.call_handle import AsyncCall, AsyncCallBase, Call, decide
from perdure.resources.results import reader_for
from perdure.resources.run_options import checked_key

T = TypeVar("T")

SomeCall = str | CallSnapshot | PendingApproval | AsyncCallBase | Call[Any]
"""A call: its id, or an object that has it."""


class CallOptions(TypedDict, total=False):
    """The options of `call`; all optional.

    - `context`: JSON that is passed to the function in addition to its input.
    - `wait`: seconds to wait for the result, at most 20; default 0.
    - `idempotency_key`: a repeated request with the same key returns the same call.
    """

    context: Mapping[str, Any] | None
    wait: float
    idempotency_key: str | None


class AsyncCalls(OfCluster):
    """The part of the client for calls."""

    @overload
    async def call(
        self,
        function: NamedFunction,
        input: Mapping[str, Any] | None = None,
        *,
        result_type: type[T] | TypeAdapter[T],
        **options: Unpack[CallOptions],
    ) -> AsyncCall[T]: ...
    @overload
    async def call(
        self,
        function: NamedFunction,
        input: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> AsyncCall[JsonValue]: ...
    async def call(
        self,
        function: NamedFunction,
        input: Mapping[str, Any] | None = None,  # noqa: A002 - the wire's word
        *,
        result_type: object = None,
        **options: Unpack[CallOptions],
    ) -> AsyncCall[Any]:
        """Call a function without a model; private functions and handlers are allowed. It is stored durably when this returns.

        `function` is a decorated function or `service.function`. `poll` returns the result, as `result_type`. The
        options are described at `CallOptions`. Raises `InvalidRequestError` for an unknown function and for an input
        that breaks its schema.
        """
        reader = reader_for(result_type)
        wait = _checked_wait(options.get("wait", 0))
        snapshot = await self._api.read(
            CallSnapshot,
            "POST",
            "calls",
            body=_request(to_reference(function), input, options.get("context")),
            query={"wait": wait} if wait else None,
            headers={"Idempotency-Key": checked_key(options.get("idempotency_key"))},
            wait=wait,
        )
        return AsyncCall(self._api, snapshot, reader)

    @overload
    async def get_call(
        self, call_id: str, *, result_type: type[T] | TypeAdapter[T]
    ) -> AsyncCall[T]: ...
    @overload
    async def get_call(self, call_id: str) -> AsyncCall[JsonValue]: ...
    async def get_call(self, call_id: str, *, result_type: object = None) -> AsyncCall[Any]:
        """Get a call by its id, a model's or a direct one; its result is parsed as `result_type`. Raises `NotFoundError`."""
        snapshot = await self._api.read(CallSnapshot, "GET", "calls", call_id)
        return AsyncCall(self._api, snapshot, reader_for(result_type))

    async def approvals(self, *, limit: int | None = None) -> AsyncGenerator[PendingApproval, None]:
        """Calls of all runs that wait for approval, oldest first."""
        pages = self._api.pages(PageOf[PendingApproval], "approvals", limit=limit)
        async for waiting in pages:
            yield waiting

    async def approve(
        self,
        call: SomeCall,
        input: Mapping[str, Any] | None = None,  # noqa: A002 - the wire's word
        *,
        reason: str | None = None,
    ) -> CallApproval:
        """Approve a call; see `AsyncCall.approve`."""
        return await decide(self._api, _id_of(call), approved=True, reason=reason, arguments=input)

    async def deny(self, call: SomeCall, reason: str | None = None) -> CallApproval:
        """Deny a call; see `AsyncCall.deny`."""
        return await decide(self._api, _id_of(call), approved=False, reason=reason)

    async def read_blob(self, blob: Blob | str) -> bytes:
        """The content of a blob, given itself or by its id. Raises `NotFoundError`."""
        blob_id = blob if isinstance(blob, str) else blob.id
        return (await self._api.send("GET", "blobs", blob_id, "data")).content


def _id_of(call: SomeCall) -> str:
    match call:
        case str():
            return call
        case PendingApproval():
            return call.call_id
        case _:
            return call.id


def _request(
    named: FunctionReference, arguments: Mapping[str, Any] | None, context: Mapping[str, Any] | None
) -> CreateCall:
    return build(
        CreateCall,
        {
            "service": named.service,
            "function": named.function,
            "input": as_json(arguments, "input"),
            "context": as_json(context, "context"),
        },
    )


def _checked_wait(wait: float) -> float:
    if not 0 <= wait <= MAX_CALL_WAIT_SECONDS:
        raise InvalidRequestError(
            422,
            "invalid_request",
            f"The request was not sent: wait is {wait}; at most {MAX_CALL_WAIT_SECONDS} seconds.",
        )
    return round(wait, 3)
