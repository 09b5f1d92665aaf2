"""What a request body may be, and how other bodies are refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter, FastAPI

from api.http.errors import ApiError, install_error_handlers
from api.http.json_body import MAX_VALUES, JsonRoute, parse_json
from orchestrator.store.database.json_columns import MAX_DEPTH
from tests.support.api_app import serving


class SmallRoute(JsonRoute):
    max_bytes = 1_000


class ResultsRoute(JsonRoute):
    any_text = True


def make_app() -> FastAPI:
    app = FastAPI()
    install_error_handlers(app)
    for path, kind in (("/small", SmallRoute), ("/plain", JsonRoute), ("/any-text", ResultsRoute)):
        router = APIRouter(route_class=kind)

        async def take(body: dict[str, Any]) -> dict[str, Any]:
            return {"taken": len(body)}

        router.post(path)(take)
        app.include_router(router)
    return app


@pytest.fixture
async def client() -> AsyncGenerator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(make_app())
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
        yield client


async def post(
    client: httpx2.AsyncClient,
    body: bytes | AsyncIterator[bytes],
    path: str = "/plain",
    **headers: str,
) -> httpx2.Response:
    sent = {
        "Content-Type": "application/json",
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    return await client.post(path, content=body, headers=sent)


def nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


async def in_chunks(body: bytes, size: int = 100) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def test_a_json_object_is_accepted(client: httpx2.AsyncClient) -> None:
    response = await post(
        client, '{"a": "é\U0001f600", "b": 1e300, "c": "\\ud83d\\ude00"}'.encode()
    )
    assert response.json() == {"taken": 3}


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/ld+json"]
)
async def test_every_spelling_of_json_is_accepted(client: httpx2.AsyncClient, kind: str) -> None:
    assert (await post(client, b"{}", Content_Type=kind)).status_code == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/json5"]
)
async def test_another_content_type_is_refused(client: httpx2.AsyncClient, kind: str) -> None:
    response = await post(client, b"{}", Content_Type=kind)
    assert response.status_code == 415
    assert response.json()["code"] == "unsupported_media_type"


async def test_a_compressed_body_is_refused(client: httpx2.AsyncClient) -> None:
    response = await post(client, b"{}", Content_Encoding="gzip")
    assert response.status_code == 415
    assert "Content-Encoding 'gzip'" in response.json()["detail"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "line 1, column 2"),
        (b"nul", "line 1, column 1"),
        (b'{"a":\n}', "line 2, column 1"),
        (b"{} {}", "Extra data"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": "\xff"}', "byte 7 is not UTF-8"),
        (b"\xef\xbb\xbf{}", "BOM"),
        ('{"a":1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a": "\x00"}', "control character"),
        (b'{"a": ' + b"1" * 5_000 + b"}", "integer string conversion"),
    ],
    ids=lambda case: repr(case)[:30],
)
async def test_what_is_not_json_is_a_400_that_says_where(
    client: httpx2.AsyncClient, body: bytes, words: str
) -> None:
    response = await post(client, body)
    assert response.status_code == 400
    assert response.json()["code"] == "not_json"
    assert words in response.json()["detail"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"a": {"b/c": ["x", "\\u0000"]}}', "/a/b~1c/1"),
        (b'{"a": "\\ud800"}', "/a"),
        (b'{"a": "\\udc00\\ud800"}', "/a"),
        (b'{"a": {"\\ud800": 1}}', "/a"),
        (b'{"a": [1e999]}', "/a/0"),
        (b'{"a": -1e400}', "/a"),
        (b'{"a": ' + b"9" * 400 + b".0}", "/a"),
    ],
    ids=lambda case: repr(case)[:30],
)
async def test_what_no_database_keeps_is_a_422_that_says_where(
    client: httpx2.AsyncClient, body: bytes, pointer: str
) -> None:
    response = await post(client, body)
    assert response.status_code == 422
    assert [field["pointer"] for field in response.json()["errors"]] == [pointer]


async def test_a_functions_result_may_have_nul_and_lone_surrogates(
    client: httpx2.AsyncClient,
) -> None:
    response = await post(client, b'{"a": "\\u0000\\ud800"}', "/any-text")
    assert response.status_code == 200
    assert (await post(client, b'{"a": 1e999}', "/any-text")).status_code == 422


async def test_nesting_is_bounded(client: httpx2.AsyncClient) -> None:
    assert (await post(client, nested(MAX_DEPTH))).status_code == 200
    for levels in (MAX_DEPTH + 1, 300, 100_000):
        response = await post(client, nested(levels))
        assert response.status_code == 422
        assert "64 levels" in response.json()["detail"]


async def test_a_wide_body_is_not_a_deep_one() -> None:
    assert parse_json(b"[" + b"{}," * 1_000 + b"{}]") == [{}] * 1_001


async def test_the_number_of_values_is_bounded_and_punctuation_in_texts_is_none() -> None:
    for wide in (b"[]", b"{}", b"1", b'{"a":1}'):
        with pytest.raises(ApiError) as caught:
            parse_json(b"[" + (wide + b",") * MAX_VALUES + wide + b"]")
        assert "500,000 values" in str(caught.value.detail)
    text = 'a,[{\\"' * (MAX_VALUES // 2)
    assert parse_json(json.dumps({text: text}).encode()) == {text: text}


async def test_of_a_doubled_name_the_last_one_counts() -> None:
    assert parse_json(b'{"a": 1, "a": 2}') == {"a": 2}


async def test_a_body_over_the_limit_is_refused_with_the_limit(client: httpx2.AsyncClient) -> None:
    exact = json.dumps({"a": "x" * (1_000 - len('{"a": ""}'))}).encode()
    assert (await post(client, exact, "/small")).status_code == 200
    for body in (exact + b" ", in_chunks(exact + b" "), b"x" * 100_000, in_chunks(b"x" * 100_000)):
        response = await post(client, body, "/small")
        assert response.status_code == 413
        assert "1,000 bytes" in response.json()["detail"]


async def test_a_client_that_sends_too_much_gets_that_answer_over_a_real_connection() -> None:
    async with (
        serving(make_app(), asyncio.Event()) as (url, _),
        httpx2.AsyncClient(base_url=url) as client,
    ):
        for body in (b"x" * 20_000_000, in_chunks(b"x" * 20_000_000, 1_000_000)):
            response = await post(client, body, "/small")
            assert response.status_code == 413
            assert response.headers["content-type"] == "application/problem+json"
        assert (await post(client, b"{}", "/small")).status_code == 200


async def test_a_missing_body_is_named(client: httpx2.AsyncClient) -> None:
    response = await client.post("/plain")
    assert response.status_code == 422
    assert response.json()["detail"] == "The body is required."
