from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from pydantic import BaseModel, Field, JsonValue, TypeAdapter

from perdure import Context, Function, Service, StatusChange, StatusChangeHandler
from perdure.contract import MAX_FUNCTIONS_PER_SERVICE, FunctionReference
from perdure.functions.signature import InvalidInputError
from perdure.http.json_codec import json_schema

CONTEXT = Context(run_id="run-1", call_id="call-1", attempt=1, data={"user": "ada"})


class Colour(Enum):
    RED = "red"


class Line(BaseModel):
    """One line of an order."""

    product: str
    quantity: int = Field(ge=1)


@dataclass
class Place:
    city: str


@pytest.fixture
def service() -> Service:
    return Service("sales")


def schema_of(function: Function[..., Any]) -> Any:
    return function.definition.schema_


def test_a_decorated_function_is_still_the_function(service: Service) -> None:
    @service.function
    def double(number: int) -> int:
        """Twice as much."""
        return 2 * number

    assert double(21) == 42
    assert double.__name__ == "double"
    assert double.__doc__ == "Twice as much."
    assert double.reference == FunctionReference(service="sales", function="double")
    assert service.functions["double"] is double


async def test_an_async_function_is_still_awaitable(service: Service) -> None:
    @service.function(retries=1)
    async def double(number: int) -> int:
        return 2 * number

    assert await double(21) == 42


def test_what_the_server_is_sent_comes_from_the_decorator_and_the_docstring(
    service: Service,
) -> None:
    @service.function(
        name="query-orders", timeout=30, retries=2, deadline=600, private=True, concurrency=3
    )
    def query(sql: str) -> str:
        """Run one query.

        It may only read.
        """
        return sql

    assert query.concurrency == 3
    (sent,) = service.definition().model_dump(mode="json", by_alias=True, exclude_unset=True)[
        "functions"
    ]
    assert sent == {
        "name": "query-orders",
        "description": "Run one query.\n\nIt may only read.",
        "schema": {
            "type": "object",
            "properties": {"sql": {"type": "string"}},
            "required": ["sql"],
            "additionalProperties": False,
        },
        "config": {"timeoutSeconds": 30, "retries": 2, "deadlineSeconds": 600, "private": True},
    }


def test_a_schema_says_what_the_type_hints_say(service: Service) -> None:
    @service.function
    def order(
        lines: list[Line],
        place: Place,
        sort: Literal["up", "down"] = "up",
        note: Annotated[str | None, Field(description="For the driver", max_length=10)] = None,
        *,
        colour: Colour = Colour.RED,
        json: Decimal = Decimal(1),
        anything: Any = None,
    ) -> None: ...

    schema = schema_of(order)
    assert schema["required"] == ["lines", "place"]
    assert schema["additionalProperties"] is False
    properties = schema["properties"]
    assert list(properties) == ["lines", "place", "sort", "note", "colour", "json", "anything"]
    assert properties["sort"] == {"default": "up", "enum": ["up", "down"], "type": "string"}
    assert properties["note"]["description"] == "For the driver"
    assert schema["$defs"]["Line"]["description"] == "One line of an order."
    jsonschema_rs.validator_for(schema)  # the server's validator takes it


def test_types_made_in_a_function_are_understood(service: Service) -> None:
    class Local(BaseModel):
        x: int

    @service.function
    def take(value: Local) -> int:
        return value.x

    @service.function(name="take_too")
    def take_too(value: Local) -> int:
        return value.x

    assert schema_of(take)["$defs"]["Local"]["required"] == ["x"]
    assert schema_of(take_too) == schema_of(take)


async def test_a_calls_json_arrives_as_the_declared_types(service: Service) -> None:
    @service.function
    async def order(
        *, line: Line, place: Place, colour: Colour, day: datetime, price: Decimal, tags: set[str]
    ) -> list[object]:
        return [line, place, colour, day, price, tags]

    given_json: JsonValue = {
        "line": {"product": "tea", "quantity": 2},
        "place": {"city": "Ulm"},
        "colour": "red",
        "day": "2026-01-02T03:04:05Z",
        "price": "1.50",
        "tags": ["a", "a"],
    }
    assert await order.answer(given_json, CONTEXT) == [
        Line(product="tea", quantity=2),
        Place("Ulm"),
        Colour.RED,
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        Decimal("1.50"),
        {"a"},
    ]


async def test_defaults_fill_in_what_is_missing(service: Service) -> None:
    @service.function
    def greet(name: str = "you", times: Annotated[int, Field(le=3)] = 2) -> str:
        return name * times

    assert await greet.answer({}, CONTEXT) == "youyou"
    assert await greet.answer(None, CONTEXT) == "youyou"
    assert await greet.answer({"name": "a"}, CONTEXT) == "aa"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({}, "quantity: Missing required"),
        ({"quantity": "many"}, "quantity: Input should be a valid integer"),
        ({"quantity": 1, "colour": "red"}, "colour: Unexpected keyword"),
        (["a"], "quantity: Missing required"),
        ("text", "Arguments must be"),
    ],
)
async def test_an_input_that_does_not_fit_is_explained(
    service: Service, value: JsonValue, says: str
) -> None:
    @service.function
    def order(quantity: int) -> int:
        return quantity

    with pytest.raises(InvalidInputError, match=says) as raised:
        await order.answer(value, CONTEXT)
    assert "pydantic.dev" not in str(raised.value)


async def test_the_context_is_filled_in_and_never_in_the_schema(service: Service) -> None:
    @service.function
    def who(greeting: str, context: Context) -> str:
        return f"{greeting} {context.data['user']} in {context.run_id}"

    assert list(schema_of(who)["properties"]) == ["greeting"]
    assert await who.answer({"greeting": "hello"}, CONTEXT) == "hello ada in run-1"
    with pytest.raises(InvalidInputError, match="context: Unexpected keyword"):
        await who.answer({"greeting": "hello", "context": {}}, CONTEXT)


def test_the_contexts_data_is_in_no_repr() -> None:
    assert "ada" not in repr(CONTEXT)


async def test_a_blocking_function_runs_in_a_thread_of_its_own(service: Service) -> None:
    @service.function
    def where() -> str:
        return threading.current_thread().name

    assert await where.answer({}, CONTEXT) == "perdure-function"


async def test_a_function_that_returns_a_coroutine_is_awaited(service: Service) -> None:
    async def later() -> str:
        await asyncio.sleep(0)
        return "later"

    @service.function
    def now() -> Any:
        return later()

    assert await now.answer({}, CONTEXT) == "later"


def test_a_name_is_given_once(service: Service) -> None:
    service.function(name="f")(lambda: 1)
    with pytest.raises(ValueError, match="already has a function 'f'"):
        service.function(name="f")(lambda: 2)
    with pytest.raises(ValueError, match="already has a function 'f'"):
        service.on_status_change(name="f")(take_change)


def test_a_service_has_a_limit_of_functions(service: Service) -> None:
    for number in range(MAX_FUNCTIONS_PER_SERVICE):
        service.function(name=f"f{number}")(lambda: 1)
    with pytest.raises(ValueError, match="at most 256"):
        service.function(name="more")(lambda: 1)


async def test_a_handler_is_private_and_gets_the_status_change(service: Service) -> None:
    @service.on_status_change
    async def announce(change: StatusChange, context: Context) -> str:
        return f"{context.run_id} {change.previous} -> {change.status}"

    assert isinstance(announce, StatusChangeHandler)
    config = announce.definition.config
    assert config is not None
    assert (config.private, config.handler) == (True, True)
    change: JsonValue = {
        "id": "run-1:2",
        "runId": "run-1",
        "clusterId": "c",
        "transition": 2,
        "turn": 1,
        "previous": "pending",
        "status": "running",
        "createdAt": "2026-01-01T00:00:00Z",
        "aFieldOfTomorrow": 1,
    }
    assert await announce.answer(change, CONTEXT) == "run-1 pending -> running"
    with pytest.raises(InvalidInputError, match="runId"):
        await announce.answer({}, CONTEXT)


def take_change(change: StatusChange) -> None: ...


def take_two(change: StatusChange, other: int) -> None: ...


def test_a_handler_takes_the_status_change_and_nothing_else(service: Service) -> None:
    with pytest.raises(TypeError, match="takes a StatusChange"):
        service.on_status_change(take_two)
    with pytest.raises(TypeError, match="takes a StatusChange"):
        service.on_status_change(lambda: None)


at_leisure = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The first text ever drawn on a machine builds tables for seconds, and the machine may be busy."""

JSON_VALUES = {
    "whole": (int, st.integers()),
    "real": (float, st.floats(allow_nan=False, allow_infinity=False)),
    "text": (str, st.text()),
    "flag": (bool, st.booleans()),
    "several": (list[int], st.lists(st.integers())),
    "mapped": (dict[str, bool], st.dictionaries(st.text(max_size=5), st.booleans())),
    "maybe": (int | None, st.none() | st.integers()),
    "money": (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
}


@at_leisure
@given(st.data(), st.sets(st.sampled_from(sorted(JSON_VALUES)), min_size=1))
def test_what_fits_the_schema_arrives_unchanged(data: st.DataObject, names: set[str]) -> None:
    def take() -> None: ...

    take.__annotations__ = {name: JSON_VALUES[name][0] for name in sorted(names)}
    values = {name: data.draw(JSON_VALUES[name][1]) for name in sorted(names)}
    taken = TypeAdapter(dict[str, Any]).dump_python(values, mode="json")
    function = Service("s").function(_with_parameters(take))
    assert jsonschema_rs.is_valid(schema_of(function), taken)
    assert asyncio.run(function.answer(taken, CONTEXT)) == values


def _with_parameters(function: Callable[..., None]) -> Callable[..., dict[str, Any]]:
    """A function with the parameters that the annotations name, which returns its arguments."""
    names = ", ".join(function.__annotations__)
    scope: dict[str, Any] = {}
    exec(f"def take({names}): return dict(locals())", scope)  # noqa: S102 - names from the test
    scope["take"].__annotations__ = function.__annotations__
    return scope["take"]


@at_leisure
@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_every_decimal_fits_the_pattern_for_decimals(number: Decimal) -> None:
    assert jsonschema_rs.is_valid(json_schema(TypeAdapter(Decimal)), str(number))
