"""The Inferable dialect: translates requests and responses, operation by operation.

An operation that is not listed is answered natively, without unknown fields of the request. Errors are rendered
by `errors`, paths are rewritten by `paths`. The application receives `DIALECT`.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import Response

from api.dialects.inferable import (
    calls,
    client_profile as manner,
    clusters,
    machines,
    messages,
    run_configs as configs,
    runs,
    timeline,
)
from api.dialects.inferable.errors import render_error
from api.dialects.inferable.paths import rewrite_path
from api.dialects.inferable.translation import Operation
from api.http.dialect import Dialect, DialectRequest

_OPERATIONS: Mapping[str, Operation] = {
    name: operation
    for noun in (runs, messages, timeline, machines, calls, configs, clusters)
    for name, operation in noun.OPERATIONS.items()
}


async def answer(request: DialectRequest) -> Response:
    """Answer a request of this dialect. Raises what the native route raises."""
    operation = _OPERATIONS.get(request.route.operation_id or "")
    return await request.call_native() if operation is None else await operation(request)


DIALECT = Dialect(
    "inferable",
    manner.matches,
    authenticate=manner.authenticate,
    render_error=render_error,
    translate=answer,
    rewrite=rewrite_path,
    profile=manner.INFERABLE,
)
