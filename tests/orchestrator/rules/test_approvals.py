"""What counts as a request for an approval, and what the model receives."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from pydantic import JsonValue

from orchestrator.rules.approvals import (
    denied_message,
    edited_message,
    expired_message,
    format_duration,
    read_request,
)
from perdure.contract import ApprovalRequest

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def test_what_the_clients_send_is_a_request() -> None:
    assert read_request({"type": "approval"}) == ApprovalRequest()
    asked: dict[str, JsonValue] = {
        "type": "approval",
        "message": "Pay?",
        "expiresSeconds": 90,
        "notification": {},
    }
    assert read_request(asked) == ApprovalRequest(message="Pay?", expires_seconds=90.0)


@given(json_values)
def test_everything_else_is_refused_with_a_message(value: JsonValue) -> None:
    words = read_request(value)
    assert isinstance(words, str)
    assert "interrupt of type" in words


@given(json_values, json_values)
def test_a_wrong_field_is_named(message: JsonValue, seconds: JsonValue) -> None:
    read = read_request({"type": "approval", "message": message, "expiresSeconds": seconds})
    if isinstance(read, str):
        assert "message: " in read or "expiresSeconds: " in read
    else:
        assert (read.message, read.expires_seconds) == (message, seconds)


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [
        (7 * 86_400_000, "7 days"),
        (86_400_000 + 3_600_000, "1 day 1 hour"),
        (90_000, "1 minute 30 seconds"),
        (86_400_000 + 59_000, "1 day 59 seconds"),
        (2 * 86_400_000 + 3 * 3_600_000 + 60_000, "2 days 3 hours"),
        (1_500, "1 second"),
        (999, "less than a second"),
    ],
)
def test_a_duration_is_given_in_two_units_at_most(milliseconds: int, words: str) -> None:
    assert format_duration(milliseconds) == words


def test_the_model_is_informed_how_it_ended() -> None:
    assert denied_message(None) == "This call was denied by a person."
    assert denied_message("not now") == "This call was denied by a person: not now"
    assert (
        expired_message(3_600_000)
        == "The approval request expired after 1 hour; the call did not run."
    )
    assert edited_message('{"a":1}', "done").endswith("Its result:\ndone")
    assert len(edited_message("x" * 100_000, "done")) < 3_000
