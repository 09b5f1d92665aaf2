"""Handles to calls: `AsyncCall`, and `Call`, its synchronous form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from pydantic import JsonValue, ValidationError
from typing_extensions import override

from perdure.contract import (
    MAX_CALL_WAIT_SECONDS,
    Call as CallSnapshot,
    CallApproval,
    CallStatus,
    CancelCall,
    DecideCall,
    ResultType,
)
from perdure.errors import CallFailedError, CallResultError, CallTimeoutError
from perdure.http.cluster_api import ClusterApi
from perdure.http.json_codec import as_json, build
from perdure.http.transport import read_json
from perdure.resources.handle import AsyncHandle, Handle
from perdure.resources.results import ResultReader
from perdure.sync.proxy import sync_method

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CallResult(Generic[T]):
    """A successful call, with its result as the requested type."""

    call: CallSnapshot
    result: T


class AsyncCallBase(AsyncHandle[CallSnapshot, CallStatus]):
    """The part of a call's handle that does not depend on the result's type."""

    _resource = "calls"
    _max_wait = MAX_CALL_WAIT_SECONDS

    @override
    def _has_ended(self) -> bool:
        return self._snapshot.result_type is not None

    async def cancel(self, reason: str | None = None) -> CallSnapshot:
        """Cancel the call. The model receives a rejection and the run continues; a running function is notified within 5 s.

        Raises `ConflictError` if the call has a result or was cancelled.
        """
        body = build(CancelCall, {"reason": reason})
        return self._update(
            await self._api.read(CallSnapshot, "POST", "calls", self.id, "cancel", body=body)
        )

    async def approve(
        self,
        input: Mapping[str, Any] | None = None,  # noqa: A002 - the wire's word
        *,
        reason: str | None = None,
    ) -> CallApproval:
        """Approve the call; `input` replaces its arguments.

        Raises `ConflictError` if the call does not wait for approval (any more); `InvalidRequestError` for
        an input that breaks the function's schema.
        """
        return await decide(self._api, self.id, approved=True, reason=reason, arguments=input)

    async def deny(self, reason: str | None = None) -> CallApproval:
        """Deny the call; the model receives the reason. Raises `ConflictError` as `approve` does."""
        return await decide(self._api, self.id, approved=False, reason=reason)

    async def original(self) -> JsonValue:
        """The complete result as the function returned it. Raises `ConflictError` while there is none."""
        response = await self._api.send("GET", "calls", self.id, "result")
        return cast(JsonValue, read_json(response))


class AsyncCall(AsyncCallBase, Generic[T]):
    """A call and its last snapshot. Created by the client."""

    def __init__(self, api: ClusterApi, snapshot: CallSnapshot, reader: ResultReader[T]) -> None:
        super().__init__(api, snapshot)
        self._reader = reader

    async def poll(self, timeout: float | None = None) -> CallResult[T]:  # noqa: ASYNC109 - a long poll's own limit
        """Wait for the result, at most `timeout` seconds if given.

        Raises `CallFailedError`, `CallTimeoutError` (the call continues), `CallResultError`,
        `ConnectionFailedError` if the API is unavailable for five minutes.
        """
        if not self._has_ended() and not await self._wait_for_end(timeout):
            raise CallTimeoutError(self._snapshot, f"{timeout} s are over")
        return await self._finished()

    async def _finished(self) -> CallResult[T]:
        call = self._snapshot
        if call.result_type is not ResultType.RESOLUTION:
            raise CallFailedError(call, _reason(call.result))
        is_omitted = call.result is None and call.result_size is not None
        value = await self.original() if is_omitted else call.result
        try:
            return CallResult(call, self._reader.value(value))
        except ValidationError as error:
            raise CallResultError(call, str(error)) from error


class Call(Handle[AsyncCall[T], CallSnapshot, CallStatus]):
    """A call and its last snapshot: the synchronous form of `AsyncCall`."""

    def poll(self, timeout: float | None = None) -> CallResult[T]:
        """Wait for the result; see `AsyncCall.poll`."""
        return self.portal.call(self.aio.poll(timeout))

    refresh = sync_method(AsyncCallBase.refresh)
    cancel = sync_method(AsyncCallBase.cancel)
    approve = sync_method(AsyncCallBase.approve)
    deny = sync_method(AsyncCallBase.deny)
    original = sync_method(AsyncCallBase.original)


async def decide(
    api: ClusterApi,
    call_id: str,
    *,
    approved: bool,
    reason: str | None,
    arguments: Mapping[str, Any] | None = None,
) -> CallApproval:
    """Approve or deny a call. The response names the key that decided."""
    fields = {"approved": approved, "reason": reason, "input": as_json(arguments, "input")}
    body = build(DecideCall, fields)
    return await api.read(CallApproval, "POST", "calls", call_id, "approval", body=body)


def _reason(result: JsonValue) -> str | None:
    """The text of a rejection: the error's name and message."""
    if not isinstance(result, dict):
        return result if isinstance(result, str) else None
    parts = [str(result[key]) for key in ("name", "message") if result.get(key)]
    return ": ".join(parts) or None
