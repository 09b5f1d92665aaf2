"""Calls the cluster's auth function, `default.handleCustomAuth`, by a direct call that is deleted afterwards."""

from __future__ import annotations

import asyncio
import contextlib

from pydantic import JsonValue

from api.auth.custom_auth import AuthRefusal, AuthResult
from orchestrator.errors import InvalidRequestError, NotFoundError, UnavailableError
from orchestrator.operations.runs import Operations
from orchestrator.rules.custom_auth import AUTH_FUNCTION, AUTH_SERVICE
from orchestrator.store.calls.queries import CallView
from orchestrator.store.sealed_fields import open_auth_result
from orchestrator.store.store import Store
from orchestrator.workflows.interface import RunRef
from perdure.contract import MAX_CONTEXT_BYTES, CreateCall, ResultType

TIMEOUT_SECONDS = 15.0
_NAME = f"{AUTH_SERVICE}.{AUTH_FUNCTION}"


class AuthFunction:
    """Verifies tokens by a cluster's function."""

    def __init__(
        self, store: Store, operations: Operations, *, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        self._store = store
        self._operations = operations
        self._timeout = timeout

    async def authenticate(self, cluster_id: str, token: str) -> AuthResult:
        """Call the function. Raises `UnavailableError` if no function worker answers in time."""
        request = CreateCall(service=AUTH_SERVICE, function=AUTH_FUNCTION, input={"token": token})
        try:
            call_id = await self._operations.create_call(cluster_id, request)
        except InvalidRequestError:
            return AuthRefusal(
                f"The cluster accepts custom tokens, but no function worker offers {_NAME}, which verifies them."
            )
        call = await self._store.call_queries.get(cluster_id, call_id)
        try:
            return self._to_auth_result(cluster_id, await self._wait_for_result(cluster_id, call))
        finally:  # the call's input holds the token, which must not stay in the database
            with contextlib.suppress(NotFoundError):
                await self._operations.delete_run(RunRef(cluster_id, call.run_id))

    async def _wait_for_result(self, cluster_id: str, call: CallView) -> CallView:
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._timeout
        while call.call.result_type is None:
            remaining = deadline - clock()
            if remaining <= 0:
                raise UnavailableError(f"No function worker answered {_NAME} in time. Try again.")
            await self._store.feed.wait(call.call.run_key, call.run_version, remaining)
            call = await self._store.call_queries.get(cluster_id, call.call.id)
        return call

    def _to_auth_result(self, cluster_id: str, call: CallView) -> AuthResult:
        refused = _refusal(call)
        if refused is not None:
            return refused
        result: JsonValue = None
        if call.content is not None and not call.call.result_is_text:
            result = open_auth_result(self._store.database.cipher, cluster_id, call.content)
        if isinstance(result, dict):
            return result
        return AuthRefusal(f"{_NAME} must return an object to accept a token; it did not.")


def _refusal(call: CallView) -> AuthRefusal | None:
    """The reason why the token is rejected; otherwise the object that describes its owner."""
    if call.call.result_type != ResultType.RESOLUTION.value:
        return AuthRefusal("The token was refused.")
    if (call.call.result_size or 0) > MAX_CONTEXT_BYTES:
        return AuthRefusal(
            f"{_NAME} may return at most {MAX_CONTEXT_BYTES} characters of JSON; it returned more."
        )
    return None
