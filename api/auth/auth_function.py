"""The cluster's own auth function, `default.handleCustomAuth`, asked by a direct call that leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib

from pydantic import JsonValue

from api.auth.custom_auth import Refusal, Verdict
from orchestrator.errors import InvalidRequestError, NotFoundError, UnavailableError
from orchestrator.operations.runs import Operations
from orchestrator.rules.custom_auth import AUTH_FUNCTION, AUTH_SERVICE
from orchestrator.store.calls.queries import CallView
from orchestrator.store.sealed_fields import open_auth_result
from orchestrator.store.store import Store
from orchestrator.workflows.interface import RunRef
from perdure.contract import MAX_CONTEXT_BYTES, CreateCall, ResultType

ANSWER_SECONDS = 15.0
_NAME = f"{AUTH_SERVICE}.{AUTH_FUNCTION}"


class AuthFunction:
    """Asks a cluster's function who the owner of a token is."""

    def __init__(
        self, store: Store, operations: Operations, *, seconds: float = ANSWER_SECONDS
    ) -> None:
        self._store = store
        self._operations = operations
        self._seconds = seconds

    async def ask(self, cluster_id: str, token: str) -> Verdict:
        """What the function says. Raises `UnavailableError` where no function worker answers in time."""
        request = CreateCall(service=AUTH_SERVICE, function=AUTH_FUNCTION, input={"token": token})
        try:
            call_id = await self._operations.create_call(cluster_id, request)
        except InvalidRequestError:
            return Refusal(
                f"The cluster takes custom tokens, but no function worker offers {_NAME}, which judges them."
            )
        asked = await self._store.call_queries.get(cluster_id, call_id)
        try:
            return self._verdict(cluster_id, await self._answered(cluster_id, asked))
        finally:  # the token is in the call's input: it must not stay in the database
            with contextlib.suppress(NotFoundError):
                await self._operations.delete_run(RunRef(cluster_id, asked.run_id))

    async def _answered(self, cluster_id: str, shown: CallView) -> CallView:
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._seconds
        while shown.call.result_type is None:
            left = deadline - clock()
            if left <= 0:
                raise UnavailableError(f"No function worker answered {_NAME} in time. Try again.")
            await self._store.feed.wait(shown.call.run_key, shown.run_version, left)
            shown = await self._store.call_queries.get(cluster_id, shown.call.id)
        return shown

    def _verdict(self, cluster_id: str, shown: CallView) -> Verdict:
        refused = _refusal(shown)
        if refused is not None:
            return refused
        result: JsonValue = None
        if shown.content is not None and not shown.call.result_is_text:
            result = open_auth_result(self._store.database.cipher, cluster_id, shown.content)
        if isinstance(result, dict):
            return result
        return Refusal(f"{_NAME} must return an object to let the token's owner in; it did not.")


def _refusal(shown: CallView) -> Refusal | None:
    """Why it opens nothing, whatever is in it. Else the object is who the token's owner is."""
    if shown.call.result_type != ResultType.RESOLUTION.value:
        return Refusal("The token was refused.")
    if (shown.call.result_size or 0) > MAX_CONTEXT_BYTES:
        return Refusal(
            f"{_NAME} may return {MAX_CONTEXT_BYTES} characters as JSON; it returned more."
        )
    return None
