"""A second dialect beside Inferable: its routes, its credentials and its errors, and nobody else's requests changed."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.datastructures import Headers

from api.app import DIALECTS, assemble, create_app
from api.auth.rate_limits import RateLimiter
from api.context import ApiServices
from api.dependencies import Key, KeyedRoute
from api.http.dialect import Credential, Dialect, DialectRequest
from api.http.errors import PROBLEM_TYPE
from orchestrator.errors import ConflictError
from perdure.contract import Scope
from tests.api.dialects.inferable.client import SDK
from tests.support.tenants import key_with

TOY_TYPE = "application/toy+json"
MARK = {"x-toy": "1"}
_FAILURES = {
    "conflict": ConflictError("This thing is taken."),
    "outage": PoolTimeoutError("no connection"),
    "fault": RuntimeError("a secret of the server"),
}


class Thing(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: int


router = APIRouter(prefix="/toy", route_class=KeyedRoute)


@router.get("/owner", operation_id="get_identity")
async def get_owner(key: Key) -> dict[str, str]:
    return {"owner": key.cluster_id}


@router.post("/things", operation_id="create_run")
async def create_thing(thing: Thing) -> dict[str, int]:
    return {"made": thing.size}


@router.post("/failures/{kind}", operation_id="create_run")
async def fail(kind: str) -> None:
    raise _FAILURES[kind]


@router.get("/administration", operation_id="list_api_keys")
async def administer() -> dict[str, bool]:
    return {"allowed": True}


def matches(headers: Headers, path: str) -> bool:
    return "x-toy" in headers or path.startswith("/toy/only/")


def authenticate(request: Request) -> Credential | None:
    token = request.headers.get("x-toy-key")
    return None if token is None else Credential(token)


def render_error(_: Request, error: Exception, native: Response) -> Response:
    problem = json.loads(bytes(native.body))
    body = {"toy": problem["code"], "raised": type(error).__name__}
    headers = {
        name: native.headers[name] for name in ("allow", "retry-after") if name in native.headers
    }
    return Response(json.dumps(body), native.status_code, headers, TOY_TYPE)


TOY = Dialect(
    "toy", matches, routers=(router,), authenticate=authenticate, render_error=render_error
)


@asynccontextmanager
async def client_of(
    services: ApiServices, *dialects: Dialect, **headers: str
) -> AsyncGenerator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(create_app(services, dialects), raise_app_exceptions=False)
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://api", headers=named
    ) as client:
        yield client


@pytest.fixture
async def toy(services: ApiServices, key: str) -> AsyncGenerator[httpx2.AsyncClient]:
    """A client of the toy dialect, where Inferable is served too."""
    async with client_of(services, *DIALECTS, TOY, x_toy="1", x_toy_key=key) as client:
        yield client


@pytest.fixture
async def native(services: ApiServices, key: str) -> AsyncGenerator[httpx2.AsyncClient]:
    """A native client of the same application."""
    async with client_of(services, *DIALECTS, TOY, authorization=f"Bearer {key}") as client:
        yield client


def assert_toy(response: httpx2.Response, status: int, code: str, raised: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == TOY_TYPE
    assert response.json() == {"toy": code, "raised": raised}


def assert_problem(response: httpx2.Response, status: int, code: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM_TYPE
    assert response.json()["code"] == code


# -- its routes and its credentials ----------------------------------------------------------------


async def test_its_routes_authenticate_by_its_credentials(
    toy: httpx2.AsyncClient, cluster: str
) -> None:
    assert (await toy.get("/toy/owner")).json() == {"owner": cluster}
    assert (await toy.post("/toy/things", json={"size": 3})).json() == {"made": 3}


async def test_native_routes_serve_its_requests_with_its_credentials(
    toy: httpx2.AsyncClient, runs: str
) -> None:
    created = await toy.post(runs, json={"initialPrompt": "[]"})
    assert created.status_code == 201
    run = (await toy.get(f"{runs}/{created.json()['id']}")).json()
    assert run["id"] == created.json()["id"]


async def test_a_path_can_tell_the_dialect_as_well_as_a_header(toy: httpx2.AsyncClient) -> None:
    del toy.headers["x-toy"]
    assert_toy(await toy.get("/toy/only/x"), 404, "not_found", "HTTPException")


async def test_translation_is_asked_for_native_routes_and_not_for_its_own(
    services: ApiServices, key: str, runs: str
) -> None:
    async def translate(question: DialectRequest) -> Response:
        await question.call_native(body={**(await question.request.json()), "initialPrompt": "[]"})
        return Response(question.route.operation_id, 299)

    translating = replace(TOY, translate=translate)
    async with client_of(services, translating, x_toy="1", x_toy_key=key) as client:
        translated = await client.post(runs, json={"unknown": 1})
        assert (translated.status_code, translated.text) == (299, "create_run")
        own = await client.post("/toy/things", json={"size": 3, "unknown": 1})
        assert_toy(own, 422, "invalid_request", "RequestValidationError")


# -- its errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code", "status", "raised"),
    [
        ({"size": "large"}, "invalid_request", 422, "RequestValidationError"),
        ({"size": 1, "colour": "red"}, "invalid_request", 422, "RequestValidationError"),
        (b"{", "not_json", 400, "ApiError"),
    ],
    ids=str,
)
async def test_it_renders_invalid_bodies_of_its_routes(
    toy: httpx2.AsyncClient, body: Any, code: str, status: int, raised: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    response = await toy.post("/toy/things", content=content, headers=headers)
    assert_toy(response, status, code, raised)


async def test_it_renders_what_native_routes_refuse(toy: httpx2.AsyncClient, runs: str) -> None:
    invalid = await toy.post(runs, json={"initialPrompt": 5})
    assert_toy(invalid, 422, "invalid_request", "RequestValidationError")
    repeated = await toy.get(runs, params=[("limit", "1"), ("limit", "2")])
    assert_toy(repeated, 422, "invalid_request", "RequestValidationError")
    assert_toy(await toy.get(f"{runs}/nobodys"), 404, "not_found", "NotFoundError")
    foreign = await toy.get("/clusters/foreign/runs")
    assert_toy(foreign, 404, "not_found", "NotFoundError")


async def test_it_renders_unknown_addresses_and_methods(toy: httpx2.AsyncClient) -> None:
    assert_toy(await toy.get("/toy/nowhere"), 404, "not_found", "HTTPException")
    own = await toy.put("/toy/things", json={})
    assert_toy(own, 405, "method_not_allowed", "HTTPException")
    assert own.headers["allow"] == "POST"
    of_native_route = await toy.delete("/live")
    assert_toy(of_native_route, 405, "method_not_allowed", "HTTPException")
    assert of_native_route.headers["allow"] == "GET"


@pytest.mark.parametrize("path", ["/toy/owner", "/me"])
async def test_it_renders_missing_and_wrong_credentials(toy: httpx2.AsyncClient, path: str) -> None:
    wrong = await toy.get(path, headers={"x-toy-key": "sk_wrong"})
    assert_toy(wrong, 401, "unauthorized", "ApiError")
    key = toy.headers.pop("x-toy-key")
    assert_toy(await toy.get(path), 401, "unauthorized", "ApiError")
    elsewhere = await toy.get(path, headers={"authorization": f"Bearer {key}"})
    assert_toy(elsewhere, 401, "unauthorized", "ApiError")


async def test_its_routes_take_the_scope_of_their_operation(
    toy: httpx2.AsyncClient, services: ApiServices, cluster: str
) -> None:
    assert (await toy.get("/toy/administration")).json() == {"allowed": True}
    bearer = await key_with(services, cluster, Scope.CLIENT)
    refused = await toy.get(
        "/toy/administration", headers={"x-toy-key": bearer.removeprefix("Bearer ")}
    )
    assert_toy(refused, 403, "forbidden", "ApiError")


async def test_it_renders_requests_over_the_limit(
    services: ApiServices, key: str, runs: str
) -> None:
    limited = replace(services, rate_limiter=RateLimiter(per_second=3, max_concurrent=0))
    async with client_of(limited, *DIALECTS, TOY, x_toy="1", x_toy_key=key) as client:
        answers = [await client.get(path) for path in ["/toy/owner", runs] * 6]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert refused
    for answer in refused:
        assert_toy(answer, 429, "too_many_requests", "ApiError")
        assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("kind", "status", "code", "raised"),
    [
        ("conflict", 409, "conflict", "ConflictError"),
        ("outage", 503, "unavailable", "TimeoutError"),
        ("fault", 500, "internal_error", "RuntimeError"),
    ],
)
async def test_it_renders_whatever_else_fails(
    toy: httpx2.AsyncClient, kind: str, status: int, code: str, raised: str
) -> None:
    assert_toy(await toy.post(f"/toy/failures/{kind}"), status, code, raised)


async def test_a_dialect_that_renders_no_errors_has_native_ones(
    services: ApiServices, key: str
) -> None:
    silent = replace(TOY, render_error=None)
    async with client_of(services, silent, x_toy="1", x_toy_key=key) as client:
        assert_problem(await client.post("/toy/things", json={}), 422, "invalid_request")


# -- everybody else's requests ---------------------------------------------------------------------


async def test_native_requests_are_untouched(
    native: httpx2.AsyncClient, client: httpx2.AsyncClient, runs: str
) -> None:
    """`client` speaks to an application without the toy dialect: both answer the same."""
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/me", {}),
        ("GET", runs, {}),
        ("GET", "/toy/owner", {}),
        ("PUT", "/toy/things", {}),
        ("DELETE", "/live", {}),
        ("GET", f"{runs}/nobodys", {}),
        ("POST", runs, {"json": {"initialPrompt": 5}}),
        ("GET", "/me", {"headers": {"authorization": "Bearer sk_wrong"}}),
        ("GET", "/me", {"headers": {"authorization": "Bearer sk_wrong", "x-toy-key": "sk"}}),
    ]
    for method, path, said in asked:
        mine = await native.request(method, path, **said)
        plain = await client.request(method, path, **said)
        assert (mine.status_code, mine.text, mine.headers) == (
            plain.status_code,
            plain.text,
            plain.headers,
        )
    assert_problem(await native.get("/toy/owner"), 404, "not_found")
    assert_problem(await native.put("/toy/things"), 404, "not_found")


async def test_inferable_requests_are_untouched(native: httpx2.AsyncClient, runs: str) -> None:
    unknown = await native.get("/toy/owner", headers=SDK)
    assert unknown.json() == {
        "message": "Route GET:/toy/owner not found",
        "error": "Not Found",
        "statusCode": 404,
    }
    invalid = await native.post(runs, json={"initialPrompt": 5}, headers=SDK)
    assert invalid.status_code == 400
    assert invalid.json()["bodyErrors"]["name"] == "ZodError"


async def test_the_first_dialect_that_matches_is_the_requests(
    services: ApiServices, key: str
) -> None:
    both = {**MARK, **SDK}
    async with client_of(services, *DIALECTS, TOY, authorization=key) as client:
        assert (await client.get("/nowhere", headers=both)).json()["error"] == "Not Found"
    async with client_of(services, TOY, *DIALECTS, authorization=key) as client:
        assert_toy(await client.get("/nowhere", headers=both), 404, "not_found", "HTTPException")


async def test_without_dialects_every_request_is_native(
    services: ApiServices, key: str, runs: str
) -> None:
    async with client_of(services, authorization=f"Bearer {key}", **SDK) as client:
        assert set((await client.get(runs)).json()) == {"items", "nextCursor"}
        assert_problem(await client.get("/nowhere"), 404, "not_found")
        for scheme in ("{}", "customer {}"):
            sent = {"authorization": scheme.format(key)}
            assert_problem(await client.get("/me", headers=sent), 401, "unauthorized")


def test_the_openapi_document_is_that_of_the_native_routes() -> None:
    assert assemble((*DIALECTS, TOY)).openapi() == assemble(()).openapi()
