from __future__ import annotations

import asyncio
import socket
from decimal import Decimal
from typing import Any, cast

import httpx2
import pytest
from pydantic import BaseModel

from perdure import (
    ApiError,
    AsyncPerdure,
    AuthenticationError,
    ConflictError,
    ConnectionFailedError,
    GoneError,
    InvalidRequestError,
    NotFoundError,
    RateLimitedError,
    ServerError,
    Service,
    StatusChange,
    TooLargeError,
)
from perdure.contract import FunctionReference, RunStatus
from tests.sdk.api_double import CLUSTER, KEY, ApiDouble


class Finding(BaseModel):
    customer: str
    revenue: Decimal


async def test_a_run_is_created_with_everything_it_was_given(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    service = Service("sales")

    @service.function
    def query(sql: str) -> str:
        return sql

    @service.on_status_change
    def announce(change: StatusChange) -> None: ...

    run = await client.create_run(
        "Why?",
        functions=[query, "stock_count", FunctionReference(service="a", function="b")],
        result_schema=Finding,
        on_status_change=announce,
        metadata={"team": "sales"},
        context={"user": None, "limit": Decimal("1.5")},
        interactive=False,
        name="why",
    )
    assert run.id == "run-1"
    (request,) = api.requests("POST .*/runs$")
    schema = request.body.pop("resultSchema")
    assert request.body == {
        "initialPrompt": "Why?",
        "name": "why",
        "attachedFunctions": [
            {"service": "sales", "function": "query"},
            "stock_count",
            {"service": "a", "function": "b"},
        ],
        "onStatusChange": {"function": {"service": "sales", "function": "announce"}},
        "metadata": {"team": "sales"},
        "context": {"user": None, "limit": "1.5"},
        "interactive": False,
    }
    assert schema["required"] == ["customer", "revenue"]
    assert schema["properties"]["customer"] == {"type": "string"}


async def test_requests_say_who_they_are_and_never_speak_the_other_dialect(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    await client.create_run("Hello")
    for request in api.seen:
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["user-agent"].startswith("perdure-python/")
        assert "x-machine-sdk-version" not in request.headers


async def test_the_cluster_is_asked_for_once(api: ApiDouble, client: AsyncPerdure) -> None:
    await client.create_run("One")
    await client.create_run("Two")
    assert len(api.requests("GET /me")) == 1


async def test_a_given_cluster_is_not_asked_for(api: ApiDouble) -> None:
    async with AsyncPerdure(api.url, KEY, CLUSTER) as client:
        await client.create_run("One")
    assert not api.requests("GET /me")


async def test_a_repeated_creation_carries_the_same_key_and_makes_one_run(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    api.fault("POST .*/runs$", 503, times=2)
    await client.create_run("Once")
    requests = api.requests("POST .*/runs$")
    assert len(requests) == 3
    assert len({request.headers["idempotency-key"] for request in requests}) == 1
    assert len(api.runs) == 1


async def test_two_creations_are_two_runs(api: ApiDouble, client: AsyncPerdure) -> None:
    assert (await client.create_run("a")).id != (await client.create_run("a")).id


async def test_a_caller_chooses_the_id_or_the_key(api: ApiDouble, client: AsyncPerdure) -> None:
    assert (await client.create_run("a", id="my-own-id")).id == "my-own-id"
    assert (await client.create_run("a", id="my-own-id")).id == "my-own-id"
    await client.create_run("b", idempotency_key="abc")
    assert api.requests("POST .*/runs$")[-1].headers["idempotency-key"] == "abc"


async def test_a_rate_limit_is_waited_out_as_long_as_the_server_asks(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    api.fault("GET /me", 429, headers={"Retry-After": "0.05"})
    assert (await client.identity()).cluster_id == CLUSTER
    assert len(api.requests("GET /me")) == 2


async def test_a_rate_limit_longer_than_the_retry_limit_is_an_error_that_says_so(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    api.fault("GET /me", 429, headers={"Retry-After": "3600"})
    with pytest.raises(RateLimitedError) as raised:
        await client.identity()
    assert raised.value.retry_after == 3600


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequestError),
        (401, AuthenticationError),
        (403, AuthenticationError),
        (404, NotFoundError),
        (409, ConflictError),
        (410, GoneError),
        (413, TooLargeError),
        (422, InvalidRequestError),
        (418, ApiError),
        (500, ServerError),
    ],
)
async def test_each_refusal_has_its_error(
    api: ApiDouble, client: AsyncPerdure, status: int, kind: type[ApiError]
) -> None:
    api.fault("GET /me", status, times=10)
    with pytest.raises(ApiError) as raised:
        await client.identity()
    assert type(raised.value) is kind
    assert raised.value.status == status
    assert raised.value.code == f"scripted_{status}"
    assert raised.value.errors[0].pointer == "/field"
    assert "/field: is wrong" in str(raised.value)
    assert len(api.requests("GET /me")) == (3 if status == 500 else 1)


async def test_an_error_that_is_no_problem_document_is_quoted(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    api.fault("GET /me", 500, times=3, body=b"<h1>proxy</h1>")
    with pytest.raises(ServerError, match="<h1>proxy</h1>"):
        await client.identity()


async def test_an_answer_that_is_not_the_apis_is_an_error(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    api.fault("GET /me", 200, body=b"<h1>welcome</h1>", times=1)
    with pytest.raises(ServerError, match="not a response of a Perdure API"):
        await client.identity()
    api.fault("GET /me", 200, body=b"{}", times=1)
    with pytest.raises(ServerError, match="clusterId"):
        await client.identity()


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"metadata": {"a": 1}}, "/metadata/a"),
        ({"functions": []}, "/attachedFunctions"),
        ({"id": "a b"}, "/id"),
        ({"name": "x" * 257}, "/name"),
    ],
)
async def test_what_breaks_a_rule_is_not_sent_and_the_field_is_named(
    api: ApiDouble, client: AsyncPerdure, options: dict[str, object], pointer: str
) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        await client.create_run("Hello", **cast(Any, options))
    assert raised.value.errors[0].pointer.startswith(pointer)
    assert not api.requests("POST")


@pytest.mark.parametrize("context", [{"x": float("nan")}, {"x": object()}])
async def test_a_context_that_is_not_json_is_refused(
    api: ApiDouble, client: AsyncPerdure, context: dict[str, object]
) -> None:
    with pytest.raises(InvalidRequestError, match="not JSON"):
        await client.create_run("Hello", context=context)
    assert not api.requests("POST")


@pytest.mark.parametrize("key", ["ä", "a\nb", "x" * 257])
async def test_a_key_that_no_header_can_carry_is_refused(
    api: ApiDouble, client: AsyncPerdure, key: str
) -> None:
    with pytest.raises(InvalidRequestError, match="1 to 256 printable ASCII"):
        await client.create_run("Hello", idempotency_key=key)
    assert not api.requests("POST")


async def test_an_empty_prompt_is_refused(api: ApiDouble, client: AsyncPerdure) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        await client.create_run("")
    assert raised.value.errors[0].pointer == "/initialPrompt"


async def test_a_type_without_a_json_form_is_no_result_schema(client: AsyncPerdure) -> None:
    with pytest.raises(TypeError, match="result schema"):
        await client.create_run("Hello", result_schema=socket.socket)


async def test_a_json_schema_is_sent_as_it_is(api: ApiDouble, client: AsyncPerdure) -> None:
    await client.create_run("Hello", result_schema={"type": "integer", "default": None})
    assert api.seen[-1].body["resultSchema"] == {"type": "integer", "default": None}
    await client.create_run("Hello", result_schema=False)
    assert api.seen[-1].body["resultSchema"] is False


async def test_an_api_that_is_nowhere_is_named(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    async with AsyncPerdure(url, KEY, patience=0.3) as client:
        with pytest.raises(ConnectionFailedError, match=url):
            await client.identity()


async def test_a_request_outlasts_an_api_that_comes_back(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    await client.identity()
    api.stop()
    asking = asyncio.create_task(client.create_run("Hello"))
    await asyncio.sleep(0)
    api.start()
    assert (await asking).id == "run-1"


async def test_a_broken_connection_is_repeated_only_where_that_is_safe() -> None:
    seen: list[str] = []

    def break_off(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.url.path)
        raise httpx2.ReadError("gone")

    transport = httpx2.MockTransport(break_off)
    async with AsyncPerdure(
        "http://api", KEY, CLUSTER, transport=transport, patience=0.5
    ) as client:
        with pytest.raises(ConnectionFailedError):
            await client.transport.send("POST", "/once", repeatable=False)
        with pytest.raises(ConnectionFailedError):
            await client.transport.send("POST", "/again")
    assert seen.count("/once") == 1
    assert seen.count("/again") > 1


async def test_a_long_poll_is_given_ten_seconds_more_than_it_waits() -> None:
    timeouts: list[dict[str, float]] = []

    def note(request: httpx2.Request) -> httpx2.Response:
        timeouts.append(request.extensions["timeout"])
        return httpx2.Response(200, json={})

    transport = httpx2.MockTransport(note)
    async with AsyncPerdure("http://api", KEY, CLUSTER, transport=transport) as client:
        await client.transport.send("GET", "/x", wait=20)
    assert timeouts[0]["read"] == 30


async def test_runs_are_listed_page_by_page_up_to_the_limit(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    for number in range(120):
        api.add_run(f"run-{number}")
    found = [run.id async for run in client.list_runs(limit=110)]
    assert found == [f"run-{number}" for number in range(119, 9, -1)]
    assert [seen.query["limit"] for seen in api.requests("GET .*/runs$")] == ["50", "50", "10"]
    assert len([run async for run in client.list_runs()]) == 120


async def test_runs_are_listed_by_status_and_metadata(api: ApiDouble, client: AsyncPerdure) -> None:
    runs = client.list_runs(status=RunStatus.DONE, metadata={"a:b\\c": "x:y"})
    assert [run async for run in runs] == []
    query = api.seen[-1].query
    assert (query["status"], query["metadata"]) == ("done", r"a\:b\\c:x:y")


async def test_a_run_is_found_by_its_id(api: ApiDouble, client: AsyncPerdure) -> None:
    api.add_run("run-7", status="done", result=[{"customer": "Ada", "revenue": 3}])
    run = await client.get_run("run-7", result_schema=list[Finding])
    assert (await run.poll()).result == [Finding(customer="Ada", revenue=Decimal(3))]
    with pytest.raises(NotFoundError):
        await client.get_run("no-such-run")


async def test_services_are_listed_over_all_pages(api: ApiDouble, client: AsyncPerdure) -> None:
    api.offered = {"a": {"functions": [{"name": "f"}]}, "b": {"functions": []}}
    services = await client.services()
    assert [service.name for service in services] == ["a", "b"]
    assert services[0].functions[0].name == "f"


async def test_what_makes_something_new_is_not_sent_twice(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    api.fault("POST .*", 503, times=20)
    makers = {
        "run-configs": client.run_configs.create("Greeting"),
        "clusters": client.clusters.create(),
        "api-keys": client.api_keys.create("ci"),
        "webhook-secrets": client.webhook_secrets.create(),
        "structured-output": client.structured_output("?", int),
    }
    for address, making in makers.items():
        with pytest.raises(ServerError):
            await making
        assert len(api.requests(f"POST .*{address}$")) == 1
