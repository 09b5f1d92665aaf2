"""Every error as one shape: `application/problem+json` (RFC 9457), with a stable `code` and words that help.

| raised | status |
|---|---|
| ApiError | its own |
| RequestValidationError | 422, every field with its pointer |
| InvalidRequestError / TooLargeError | 422 / 413 |
| NotFoundError | 404 |
| ConflictError, SupersededError | 409 |
| UnknownServiceError | 410 |
| UnavailableError, a store that is away | 503 with Retry-After |
| anything else | 500, and not a word of what it was |
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from api.http.dialect import dialect_of
from api.http.validation import explain
from orchestrator.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    OrchestratorError,
    TooLargeError,
    UnavailableError,
    UnknownServiceError,
)
from orchestrator.store.database.errors import OUTAGES
from perdure.contract import FieldProblem, Problem

_log = logging.getLogger(__name__)

PROBLEM_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 1

_Handler = Callable[[Request, Exception], Awaitable[Response]]

_STATUSES: tuple[tuple[type[OrchestratorError], HTTPStatus], ...] = (
    (TooLargeError, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (InvalidRequestError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (ConflictError, HTTPStatus.CONFLICT),
    (UnknownServiceError, HTTPStatus.GONE),
    (UnavailableError, HTTPStatus.SERVICE_UNAVAILABLE),
)
"""Renderers by error class, the first match applies; any other error is a 500."""


class ApiError(HTTPException):
    """An error response raised by the HTTP layer."""

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        detail: str,
        *,
        pointer: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, headers)
        self.code = code
        self.errors = [] if pointer is None else [FieldProblem(pointer=pointer, detail=detail)]


def install_error_handlers(app: FastAPI) -> None:
    """Make every error of the app a problem, rendered by the request's dialect if it has one."""
    handlers: dict[type[Exception], _Handler] = {
        RequestValidationError: _on_validation_error,
        OrchestratorError: _on_orchestrator_error,
        HTTPException: _on_http_exception,
        **dict.fromkeys(OUTAGES, _on_store_outage),
        Exception: _on_unforeseen_error,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, _rendered(handler))


def _rendered(native: _Handler) -> _Handler:
    async def handle(request: Request, error: Exception) -> Response:
        response = await native(request, error)
        dialect = dialect_of(request)
        if dialect is None or dialect.render_error is None:
            return response
        return dialect.render_error(request, error, response)

    return handle


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    errors: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The response to a failed request."""
    body = Problem(
        type=f"urn:perdure:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=detail,
        errors=list(errors),
    )
    content = body.model_dump_json(by_alias=True, ensure_ascii=True)
    return Response(content, status, media_type=PROBLEM_TYPE, headers=dict(headers or {}))


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for nothing else
    fields = explain(error, request.scope.get("route"))
    detail = fields[0].detail if fields else "The request is not valid."
    if len(fields) > 1:
        detail = f"The request has {len(fields)} errors. The first: {detail}"
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", detail, errors=fields)


async def _on_orchestrator_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, OrchestratorError)  # noqa: S101 - registered for nothing else
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), None)
    if status is None:
        raise error
    fields = (
        [FieldProblem(pointer=error.pointer, detail=error.detail)]
        if isinstance(error, InvalidRequestError)
        else []
    )
    unavailable = status is HTTPStatus.SERVICE_UNAVAILABLE
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if unavailable else None
    return problem(status, error.code, error.detail, errors=fields, headers=headers)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    if isinstance(error, ApiError):
        code, detail, errors = error.code, error.detail, error.errors
    else:
        code, detail = _of_routing(request, error)
        errors = []
    return problem(error.status_code, code, detail, errors=errors, headers=error.headers)


def _of_routing(request: Request, error: HTTPException) -> tuple[str, str]:
    """Render Starlette's errors for requests without a matching route."""
    target = f"{request.method} {request.url.path}"
    if error.status_code == HTTPStatus.NOT_FOUND:
        return "not_found", f"There is no resource at {target}."
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = _methods_at(request)
        error.headers = {"Allow": allowed}
        return "method_not_allowed", f"{target} is not allowed. Allowed methods: {allowed}."
    return HTTPStatus(error.status_code).name.lower(), error.detail


def _methods_at(request: Request) -> str:
    """All methods of the path; Starlette names those of one route only.

    Of two matching paths, such as `/x/search` and `/x/{id}`, the first applies.
    """
    methods: dict[str, set[str]] = {}
    dialect = dialect_of(request)
    own = [] if dialect is None else dialect.routes
    for route in iter_route_contexts([*own, *request.app.routes]):
        path = route.path_format or ""
        pattern, *_ = compile_path(path)
        if pattern.match(request.url.path):
            methods.setdefault(path, set()).update(route.methods or set())
    return ", ".join(sorted(next(iter(methods.values()), ())))


async def _on_store_outage(_: Request, error: Exception) -> Response:
    _log.error("the store does not answer: %s", type(error).__name__)
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        UnavailableError.code,
        "The store does not answer. Nothing was lost; try again.",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


async def _on_unforeseen_error(_: Request, __: Exception) -> Response:
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal_error",
        "The server failed; its log has the details. The request can be repeated.",
    )
