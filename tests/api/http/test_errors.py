"""Errors as answers: one shape, stable codes, words that help, nothing that leaks."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import APIRouter, FastAPI, Query
from pydantic import BaseModel, ConfigDict

from api.http.errors import PROBLEM_TYPE, install_error_handlers
from api.http.json_body import JsonRoute
from orchestrator.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    OrchestratorError,
    SupersededError,
    TooLargeError,
    UnavailableError,
    UnknownServiceError,
)
from perdure.contract import CreateRun, Problem, RegisterMachine

RAISED: dict[str, Exception] = {
    "invalid": InvalidRequestError("No.", pointer="/a", code="unknown_model"),
    "large": TooLargeError("At most 3.", pointer="/b"),
    "missing": NotFoundError("There is no run 'x'."),
    "conflict": ConflictError("Later.", code="run_is_final"),
    "superseded": SupersededError("Too late."),
    "unregistered": UnknownServiceError("Register."),
    "away": UnavailableError("Temporal is away."),
    "bare": OrchestratorError("secret"),
    "bug": RuntimeError("secret password"),
}


class Filter(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: int = 1
    status: str | None = None


def make_app() -> FastAPI:
    app = FastAPI()
    install_error_handlers(app)
    router = APIRouter(route_class=JsonRoute)

    @router.post("/runs")
    async def create(body: CreateRun) -> str:
        return body.initial_prompt or ""

    @router.get("/runs")
    async def find(wanted: Annotated[Filter, Query()]) -> int:
        return wanted.limit

    @router.post("/machines")
    async def register(body: RegisterMachine) -> int:
        return len(body.functions)

    @router.get("/raise/{name}")
    async def fail(name: str) -> None:
        raise RAISED[name]

    app.include_router(router)
    return app


@pytest.fixture
async def client() -> AsyncGenerator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(make_app(), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
        yield client


def problem_of(response: httpx2.Response) -> Problem:
    assert response.headers["content-type"] == PROBLEM_TYPE
    problem = Problem.model_validate(response.json())
    assert problem.status == response.status_code
    assert problem.type == f"urn:perdure:problem:{problem.code}"
    return problem


async def fields_of(client: httpx2.AsyncClient, path: str, body: Any) -> dict[str, str]:
    problem = problem_of(await client.post(path, json=body))
    assert problem.status == 422
    return {field.pointer: field.detail for field in problem.errors}


@pytest.mark.parametrize(
    ("name", "status", "code", "pointers"),
    [
        ("invalid", 422, "unknown_model", ["/a"]),
        ("large", 413, "too_large", ["/b"]),
        ("missing", 404, "not_found", []),
        ("conflict", 409, "run_is_final", []),
        ("superseded", 409, "superseded", []),
        ("unregistered", 410, "unknown_service", []),
        ("away", 503, "unavailable", []),
    ],
)
async def test_every_foreseen_error_has_its_status_code_and_message(
    client: httpx2.AsyncClient, name: str, status: int, code: str, pointers: list[str]
) -> None:
    response = await client.get(f"/raise/{name}")
    problem = problem_of(response)
    assert (problem.status, problem.code) == (status, code)
    assert problem.detail == str(RAISED[name])
    assert [field.pointer for field in problem.errors] == pointers
    assert ("retry-after" in response.headers) == (status == 503)


@pytest.mark.parametrize("name", ["bare", "bug"])
async def test_an_unforeseen_error_reveals_nothing_of_itself(
    client: httpx2.AsyncClient, name: str
) -> None:
    response = await client.get(f"/raise/{name}")
    assert problem_of(response).status == 500
    assert "secret" not in response.text


async def test_an_unknown_path_and_a_wrong_method_are_problems_too(
    client: httpx2.AsyncClient,
) -> None:
    assert problem_of(await client.get("/nowhere")).code == "not_found"
    response = await client.delete("/runs")
    assert problem_of(response).code == "method_not_allowed"
    assert response.headers["allow"] == "GET, POST"


async def test_an_unknown_field_is_named_with_the_field_that_was_meant(
    client: httpx2.AsyncClient,
) -> None:
    fields = await fields_of(client, "/runs", {"initialPromt": "x"})
    assert list(fields) == ["/initialPromt"]
    assert fields["/initialPromt"].startswith(
        "There is no field `initialPromt` here. Did you mean `initialPrompt`? Allowed: "
    )


async def test_an_unknown_field_inside_is_compared_with_the_fields_there(
    client: httpx2.AsyncClient,
) -> None:
    machine = {"service": "s", "functions": [{"name": "f", "config": {"retriess": 3}}]}
    fields = await fields_of(client, "/machines", machine)
    assert list(fields) == ["/functions/0/config/retriess"]
    assert (
        "Did you mean `retries`? Allowed: timeoutSeconds, retries"
        in fields["/functions/0/config/retriess"]
    )


async def test_an_unknown_query_parameter_is_named_too(client: httpx2.AsyncClient) -> None:
    problem = problem_of(await client.get("/runs", params={"stauts": "done"}))
    assert problem.status == 422
    assert "no query parameter `stauts` here. Did you mean `status`?" in problem.detail


async def test_a_query_parameter_of_one_value_is_given_once(client: httpx2.AsyncClient) -> None:
    response = await client.get("/runs", params=[("status", "a"), ("status", "b")])
    problem = problem_of(response)
    assert response.status_code == 422
    assert [each.detail for each in problem.errors] == [
        "The query parameter `status` must be given once."
    ]


async def test_a_wrong_query_parameter_is_named(client: httpx2.AsyncClient) -> None:
    problem = problem_of(await client.get("/runs", params={"limit": "many"}))
    assert problem.detail == (
        "The query parameter `limit` must be a valid integer, unable to parse string as an integer."
    )


async def test_every_wrong_field_is_listed_with_its_pointer(client: httpx2.AsyncClient) -> None:
    body: dict[str, Any] = {
        "initialPrompt": "x" * 500_001,
        "metadata": {"a/b": 5, "long": "y" * 1_025, "z" * 129: "key"},
        "attachedFunctions": [],
        "interactive": "perhaps",
    }
    fields = await fields_of(client, "/runs", body)
    assert fields == {
        "/initialPrompt": "`initialPrompt` must have at most 500000 characters, not 500,001.",
        "/metadata/a~1b": "`metadata.a/b` must be a valid string.",
        "/metadata/long": "`metadata.long` must have at most 1024 characters, not 1,025.",
        f"/metadata/{'z' * 129}": f"`metadata.{'z' * 129}` must have at most 128 characters, not 129.",
        "/attachedFunctions": "`attachedFunctions` must have at least 1 item after validation, not 0.",
        "/interactive": "`interactive` must be a valid boolean.",
    }


async def test_a_wrong_member_of_a_union_is_found_at_its_place(client: httpx2.AsyncClient) -> None:
    body = {"initialPrompt": "x", "attachedFunctions": ["s_f", {"service": "s"}]}
    fields = await fields_of(client, "/runs", body)
    assert fields["/attachedFunctions/1/function"] == "`attachedFunctions.1.function` is required."


async def test_a_list_of_errors_ends_somewhere(client: httpx2.AsyncClient) -> None:
    fields = await fields_of(client, "/runs", {f"unknown{n}": n for n in range(1_000)})
    assert len(fields) == 20


async def test_values_are_not_repeated(client: httpx2.AsyncClient) -> None:
    body = {
        "initialPrompt": ["top secret"],
        "context": "top secret",
        "metadata": {"k": ["top secret"]},
    }
    response = await client.post("/runs", json=body)
    assert response.status_code == 422
    assert "top secret" not in response.text
