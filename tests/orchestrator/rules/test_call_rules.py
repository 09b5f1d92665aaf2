"""What a function's configuration makes of its calls, before anything is stored."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, strategies as st

from orchestrator.llm.messages import ModelResponse, StopReason, Tool, ToolCall
from orchestrator.llm.tools import AvailableFunction
from orchestrator.rules.model_reply import ParsedReply, parse_reply
from orchestrator.store.calls.attempts import retry_delay
from orchestrator.store.database.json_columns import from_json
from perdure.contract import RetryPolicy

QUERY = AvailableFunction(
    service="sales",
    name="query",
    tool=Tool("sales_query", "", {"type": "object"}),
    max_attempts=1,
    timeout_ms=1_000,
    deadline_ms=60_000,
    heartbeats=True,
)
COUNT = replace(QUERY, name="count", tool=Tool("sales_count", "", {"type": "object"}))


def _read(names: list[str], fan_out: int | None) -> ParsedReply:
    calls = tuple(ToolCall(f"t{n}", name, {}) for n, name in enumerate(names))
    limited = replace(QUERY, fan_out=fan_out)
    return parse_reply(
        ModelResponse("", StopReason.CALLS, calls),
        {limited.tool.name: limited, COUNT.tool.name: COUNT},
        check_input=lambda function, value: (),
        check_result=None,
        parse=from_json,
    )


# -- fan-out ---------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(["sales_query", "sales_count"]), max_size=8), st.integers(1, 4))
def test_the_first_calls_of_a_function_are_made_and_the_others_refused(
    names: list[str], fan_out: int
) -> None:
    plan = _read(names, fan_out)
    asked = names.count("sales_query")
    made = [call.tool_call for call in plan.calls if call.function.name == "query"]
    assert len(made) == min(asked, fan_out)
    assert len(plan.answers) == max(0, asked - fan_out)
    assert len(plan.calls) - len(made) == names.count("sales_count")
    first = [n for n, name in enumerate(names) if name == "sales_query"][:fan_out]
    assert [call.id for call in made] == [f"t{n}" for n in first]


def test_the_model_is_notified_why_and_what_to_do() -> None:
    (refused,) = _read(["sales_query"] * 3, 2).answers
    assert refused.is_error
    assert refused.id == "t2"
    assert "2 times at most" in refused.content
    assert "next reply" in refused.content


def test_without_a_limit_all_are_made() -> None:
    assert len(_read(["sales_query"] * 50, None).calls) == 50


# -- back-off --------------------------------------------------------------------------------------


def test_by_default_attempts_are_1_2_4_seconds_apart_and_60_at_most() -> None:
    delays = [retry_delay(RetryPolicy(), attempts) for attempts in range(1, 9)]
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_policy_says_otherwise() -> None:
    policy = RetryPolicy(initial_seconds=0.5, coefficient=3.0, maximum_seconds=10.0)
    assert [retry_delay(policy, attempts) for attempts in range(1, 6)] == [0.5, 1.5, 4.5, 10, 10]
    assert retry_delay(RetryPolicy(initial_seconds=90.0, maximum_seconds=5.0), 1) == 5


@given(
    st.floats(0.001, 3_600),
    st.floats(1, 10),
    st.floats(0.001, 86_400),
    st.integers(1, 10_000_000),
)
def test_a_delay_is_bounded_and_never_shrinks(
    initial: float, coefficient: float, maximum: float, attempts: int
) -> None:
    policy = RetryPolicy(initial_seconds=initial, coefficient=coefficient, maximum_seconds=maximum)
    assert 0 < retry_delay(policy, attempts) <= retry_delay(policy, attempts + 1) <= maximum
