"""What is refused where it is decorated, long before a call comes."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, cast

import pytest

from perdure import Context, Service
from perdure.contract import MAX_DESCRIPTION


@pytest.fixture
def service() -> Service:
    return Service("sales")


def make_args() -> Callable[..., Any]:
    def args(*values: int) -> None: ...

    return args


def make_kwargs() -> Callable[..., Any]:
    def kwargs(**values: int) -> None: ...

    return kwargs


def make_positional() -> Callable[..., Any]:
    def positional(value: int, /) -> None: ...

    return positional


def make_method() -> Callable[..., Any]:
    class Shop:
        def method(self, value: int) -> None: ...

    return Shop.method


def make_generator() -> Callable[..., Any]:
    def generator() -> Iterator[int]:
        yield 1

    return generator


def make_async_generator() -> Callable[..., Any]:
    async def generator() -> AsyncGenerator[int]:
        yield 1

    return generator


def make_two_contexts() -> Callable[..., Any]:
    def twice(one: Context, two: Context) -> None: ...

    return twice


def make_type_without_json() -> Callable[..., Any]:
    def locked(lock: threading.Event) -> None: ...

    return locked


def make_unknown_type() -> Callable[..., Any]:
    def unknown(value: int) -> None: ...

    unknown.__annotations__ = {"value": "NoSuchType"}
    return unknown


def make_callable_parameter() -> Callable[..., Any]:
    def called(value: Callable[[int], int]) -> None: ...

    return called


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (make_args, r"takes \*values"),
        (make_kwargs, r"takes \*\*values"),
        (make_positional, "positional-only"),
        (make_method, "is a method"),
        (make_generator, "is a generator"),
        (make_async_generator, "is a generator"),
        (make_two_contexts, "more than one Context"),
        (make_type_without_json, "cannot be described as JSON"),
        (make_callable_parameter, "cannot be described as JSON"),
        (make_unknown_type, "NoSuchType"),
    ],
)
def test_a_signature_that_json_cannot_fill_is_refused_where_it_is_decorated(
    service: Service, make: Callable[[], Callable[..., Any]], says: str
) -> None:
    with pytest.raises(TypeError, match=says):
        service.function(make())
    assert not service.functions


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "query orders"}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"timeout": 0}, "timeout_seconds"),
        ({"timeout": 100_000}, "timeout_seconds"),
        ({"retries": -1}, "retries"),
        ({"concurrency": 0}, "concurrency"),
        ({"description": "x" * (MAX_DESCRIPTION + 1)}, "description"),
    ],
)
def test_a_value_over_its_limit_is_refused_where_it_is_decorated(
    service: Service, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        service.function(**cast(Any, {"name": "f"} | options))(lambda: 1)


@pytest.mark.parametrize("name", ["", "a b", "x" * 51, "ä"])
def test_a_service_name_outside_the_rule_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a service name"):
        Service(name)
