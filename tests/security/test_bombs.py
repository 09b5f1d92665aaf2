"""Values, schemas and patterns made to cost much: each is judged or refused at once, in words that name the limit."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio

from orchestrator.errors import InvalidRequestError
from orchestrator.llm.messages import ErrorAction, ModelError
from orchestrator.schema import compile_schema, require_acceptable
from orchestrator.schema.validator import compile_validator
from tests.support.anthropic_server import AnthropicServer, serving
from tests.support.asking import KEY, generate, script
from workers.models.anthropic.client import AnthropicModels

IMMEDIATE_SECONDS = 3.0
"""Seconds on a busy machine. Without its bound each case below takes from half a minute to for ever."""
LONG = "a" * 200_000 + "!"
NUMBERS = [1] * 300_000


def judged(schema: dict[str, Any], value: object) -> tuple[str, ...]:
    require_acceptable(schema, pointer="/schema")
    check = compile_schema(json.dumps(schema))
    started = time.perf_counter()
    problems = check.problems(value)
    assert time.perf_counter() - started < IMMEDIATE_SECONDS
    return problems


@pytest.mark.parametrize(
    "pattern",
    [
        *(r"^(a+)+$", r"^(a|aa)*$", r"^(.*)*b$", r"^(([a-z])+.)+[A-Z]([a-z])+$", r"(x+x+)+y"),
        *(r"^(a?){100}a{100}$", r"^([a-zA-Z0-9])(([\-.]|[_]+)?([a-zA-Z0-9]+))*(@){1}[a-z0-9]+$"),
    ],
)
def test_no_pattern_takes_longer_than_the_text_is_long(pattern: str) -> None:
    assert judged({"pattern": pattern}, LONG) != ()
    assert judged({"patternProperties": {pattern: {"type": "null"}}}, {LONG: None}) == ()


@pytest.mark.parametrize(
    "name",
    [
        "email",
        "idn-email",
        "uri",
        "iri",
        "hostname",
        "idn-hostname",
        "ipv6",
        "date-time",
        "json-pointer",
        "uri-template",
        "regex",
        "uuid",
    ],
)
def test_no_format_takes_longer_than_the_text_is_long(name: str) -> None:
    for text in (LONG, "a." * 100_000, "(" * 100_000):
        assert len(judged({"format": name}, text)) <= 1


@pytest.mark.parametrize(
    ("schema", "value", "first", "then"),
    [
        ({"items": {"type": "string"}}, NUMBERS, "/0: ", "there may be more"),
        ({"items": {"enum": [*range(4000)]}}, [-1] * 50_000, "/0: ", "there may be more"),
        ({"anyOf": [{"items": {"type": "null"}}]}, NUMBERS, "too large to say where", None),
        ({"oneOf": [{"items": {"type": t}} for t in ("null", "string")]}, NUMBERS, "deeply", None),
        (
            {"allOf": [{"contains": {"const": n}} for n in range(900)], "unevaluatedItems": False},
            [*range(50_000)],
            "too many parts to be checked",
            None,
        ),
        ({"propertyNames": {"pattern": "^z"}}, dict.fromkeys(map(str, NUMBERS)), "/", None),
    ],
    ids=["violations", "enums", "alternatives", "one of", "unevaluated", "names"],
)
def test_what_is_wrong_with_a_large_value_is_reported_at_once(
    schema: dict[str, Any], value: object, first: str, then: str | None
) -> None:
    problems = judged(schema, value)
    assert first in problems[0] or first == "/"
    assert then is None or then in problems[1]


def test_a_large_value_that_is_right_is_right() -> None:
    table: list[Any] = [{"n": n, "name": None} for n in range(20_000)]
    row: dict[str, Any] = {
        "properties": {"n": {"type": "integer"}, "name": {"type": ["string", "null"]}}
    }
    assert judged({"items": row, "uniqueItems": True}, table) == ()
    assert "and more" in judged({"items": row}, [{"n": "x"} for _ in range(500)])


_ENDLESS: list[tuple[dict[str, Any], str]] = [
    ({"$ref": "https://schemas.example/never-asked.json"}, "leaves the schema"),
    ({"$ref": "file:///etc/passwd"}, "leaves the schema"),
    ({"$ref": "#"}, "leads back to itself"),
    ({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"$ref": "#"}}}, "leads back to itself"),
    ({"$schema": "https://meta.example/own"}, "draft"),
    ({"pattern": r"(a{1000}){1000}"}, "huge"),
    ({"properties": {f"p{n}": {} for n in range(6_000)}}, "at most 5,000"),
    ({"description": "x" * 70_000}, "65,536 bytes"),
]


@pytest.mark.parametrize(
    ("schema", "says"),
    _ENDLESS,
    ids=["remote", "file", "circle", "circle through", "dialect", "pattern", "wide", "long"],
)
def test_a_schema_that_reaches_out_or_has_no_end_is_refused(
    schema: dict[str, Any], says: str
) -> None:
    started = time.perf_counter()
    with pytest.raises(InvalidRequestError, match=says):
        require_acceptable(schema, pointer="/schema")
    assert time.perf_counter() - started < IMMEDIATE_SECONDS


@pytest_asyncio.fixture
async def provider() -> AsyncGenerator[AnthropicModels]:
    async with serving(AnthropicServer()) as server:
        models = AnthropicModels(KEY, base_url=server.url, read_timeout=20)
        yield models
        await models.aclose()


async def test_a_models_input_without_an_end_is_an_answer_that_cannot_be_read(
    provider: AnthropicModels,
) -> None:
    deep = '{"of":' + "[" * 100_000 + "]" * 100_000 + "}"
    block: dict[str, Any] = {"type": "tool_use", "id": "t", "name": "shop_prices", "input": {}}
    started = time.perf_counter()
    with pytest.raises(ModelError) as caught:
        await generate(provider, script({"content": [{**block, "partial_json": deep}]}))
    assert time.perf_counter() - started < IMMEDIATE_SECONDS
    assert caught.value.action is ErrorAction.RETRY
    assert "could not be read" in caught.value.reason


_OUTSIDE = [
    *("http://{at}/s.json", "http://{at}/s.json#/$defs/a", "//{at}/s.json", "HTTP://{at}/s.json"),
    *("http://user@{at}/", "http://0x7f000001:{port}/", "http://2130706433:{port}/"),
    *("http://0177.0.0.1:{port}/", "http://[::ffff:127.0.0.1]:{port}/", "http://[::1]:{port}/"),
    *("http://169.254.169.254/latest/meta-data/", "http://metadata.google.internal/"),
    *("file:///etc/passwd", "file:s.json", "ftp://{at}/", "jar:http://{at}!/", "data:,{{}}"),
    *("s.json", "./s.json", "../s.json#/a", "/s.json", "?q", "urn:example:other"),
]


@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef", "$schema", "$id and $ref"])
async def test_no_schema_has_anything_fetched(keyword: str) -> None:
    """Refused by its looks, and where it is compiled all the same, nobody is asked."""
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(keyword)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    for form in _OUTSIDE:
        address = form.format(at=f"127.0.0.1:{port}", port=port)
        schema: dict[str, Any] = {keyword: address}
        if keyword.startswith("$id"):
            schema = {"$id": address, "properties": {"a": {"$ref": "other.json"}}}
        where = schema if keyword == "$schema" else {"properties": {"in": schema}}
        with pytest.raises(InvalidRequestError):
            require_acceptable(where, pointer="/schema")
        with contextlib.suppress(Exception):  # whatever it makes of it
            compile_validator(schema).is_valid({"a": 1})
    await asyncio.sleep(0)
    server.close()
    assert asked == []
