from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from pydantic import BaseModel

from perdure.worker.outcome import Outcome, Rejection, Resolution, to_outcome


class Order(BaseModel):
    total: Decimal
    at: datetime


@dataclass
class Basket:
    orders: list[Order]


class UnprintableError(Exception):
    def __str__(self) -> str:  # pyright: ignore[reportImplicitOverride]
        raise RuntimeError("not even that")


def posted(outcome: Outcome) -> Any:
    return json.loads(outcome.body(attempt=3, milliseconds=12))


def test_a_result_is_posted_with_its_attempt_and_its_time() -> None:
    assert posted(to_outcome({"a": [1, None]})) == {
        "result": {"a": [1, None]},
        "resultType": "resolution",
        "attempt": 3,
        "meta": {"functionExecutionTime": 12},
    }


@pytest.mark.parametrize("value", [None, "", 0, False, [], {}])
def test_a_result_that_is_falsy_is_a_result(value: object) -> None:
    body = posted(to_outcome(value))
    assert body["resultType"] == "resolution"
    assert body["result"] == value


def test_models_dataclasses_decimals_and_times_are_json() -> None:
    order = Order(total=Decimal("1.50"), at=datetime(2026, 1, 2, tzinfo=UTC))
    assert posted(to_outcome(Basket([order])))["result"] == {
        "orders": [{"total": "1.50", "at": "2026-01-02T00:00:00Z"}]
    }


def circle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


def generator() -> Iterator[int]:
    yield 1
    raise ValueError("half way")


@pytest.mark.parametrize(
    "value",
    [float("nan"), [float("inf")], object(), b"\xff", circle(), deep(), generator()],
    ids=["nan", "infinity", "object", "bytes", "circle", "deep", "generator"],
)
def test_what_is_not_json_is_rejected_with_the_reason(value: object) -> None:
    outcome = to_outcome(value)
    assert isinstance(outcome, Rejection)
    assert outcome.name == "ResultNotSerializable"
    assert posted(outcome)["resultType"] == "rejection"


def test_a_result_over_the_limit_is_rejected_with_size_and_limit() -> None:
    assert isinstance(to_outcome("x" * 98, limit=100), Resolution)
    outcome = to_outcome("x" * 99, limit=100)
    assert isinstance(outcome, Rejection)
    assert "101 bytes" in outcome.message
    assert "at most 100" in outcome.message


def test_the_limit_counts_bytes_and_not_characters() -> None:
    assert isinstance(to_outcome("ä" * 49, limit=100), Resolution)
    assert isinstance(to_outcome("ä" * 50, limit=100), Rejection)


@pytest.mark.parametrize("text", ["\ud800", "a\x00b", "😀", "\u2028"])
def test_any_text_survives(text: str) -> None:
    assert posted(to_outcome({"text": text}))["result"] == {"text": text}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text()
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_every_json_value_is_posted_as_it_is(value: object) -> None:
    assert posted(to_outcome(value))["result"] == value


def raised(error: BaseException) -> BaseException:
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def test_an_error_is_reported_by_name_message_and_last_lines() -> None:
    body = posted(Rejection.of(raised(ValueError("no such table"))))
    assert body["resultType"] == "rejection"
    assert body["result"]["name"] == "ValueError"
    assert body["result"]["message"] == "no such table"
    assert body["result"]["stack"].endswith("ValueError: no such table")
    assert len(body["result"]["stack"].splitlines()) <= 20


def test_an_error_may_be_long_or_unprintable() -> None:
    assert len(Rejection.of(ValueError("x" * 1_000_000)).message) < 10_000
    assert "without a readable text" in Rejection.of(UnprintableError()).message
