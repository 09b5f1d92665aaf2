"""Validates requests for direct calls and turns each into a hidden run."""

from __future__ import annotations

import hashlib
import json

from orchestrator.errors import InvalidRequestError
from orchestrator.llm.tools import AvailableFunction
from orchestrator.operations.run_requests import NO_END_USER, EndUser, check_context
from orchestrator.runtime.ids import new_id
from orchestrator.schema import compile_schema
from orchestrator.store.calls.rows import DIRECT
from orchestrator.store.database.json_columns import to_json
from orchestrator.store.runs.creation import NewRun
from orchestrator.store.store import Store
from perdure.contract import CreateCall, FunctionReference, RunOptions

NO_MODEL = "none"
"""Stored as the model of a run that uses none."""


async def build_direct_call(
    store: Store,
    cluster_id: str,
    request: CreateCall,
    *,
    idempotency_key: str | None,
    end_user: EndUser = NO_END_USER,
) -> tuple[NewRun, AvailableFunction]:
    """Return the hidden run that holds this one call. Raises `InvalidRequestError` or a subclass, naming the field."""
    check_context(request.context)
    reference = FunctionReference(service=request.service, function=request.function)
    function = await store.direct_calls.function(cluster_id, reference)
    if function is None:
        raise InvalidRequestError(
            f"No function {request.function!r} of service {request.service!r} is registered. Start its function worker first.",
            pointer="/function",
            code="unknown_function",
        )
    problems = compile_schema(to_json(dict(function.tool.schema))).problems(request.input)
    if problems:
        raise InvalidRequestError(
            "The input does not satisfy the function's schema: " + "; ".join(problems),
            pointer="/input",
        )
    run_id = new_id()
    return NewRun(
        cluster_id=cluster_id,
        id=run_id,
        message_id=run_id,
        prompt=None,
        name=f"{request.service}.{request.function}",
        model=NO_MODEL,
        result_schema=None,
        attached_functions=None,
        on_status_change=None,
        context=request.context,
        options=RunOptions(interactive=False, call_summarization=False),
        idempotency_key=idempotency_key,
        request_hash=call_hash(request, end_user),
        kind=DIRECT,
        auth_context=end_user.auth_context,
        auth_token_hash=end_user.auth_token_hash,
    ), function


def call_hash(request: CreateCall, end_user: EndUser = NO_END_USER) -> str:
    """Return whether two requests describe the same call."""
    fields = request.model_dump(mode="json", by_alias=True)
    text = json.dumps(["call", fields, end_user.auth_token_hash], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
