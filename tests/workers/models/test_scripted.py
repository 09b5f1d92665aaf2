"""The scripted model: a prompt that is a script, policies of users, errors and delays on demand."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import JsonValue

from orchestrator.llm.messages import (
    AssistantTurn,
    ErrorAction,
    Model,
    ModelError,
    ModelRequest,
    ModelResponse,
    StopReason,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
    Usage,
    UserTurn,
)
from orchestrator.llm.model_names import ModelName
from orchestrator.settings import Settings
from workers.models import open_models
from workers.models.errors import action_for_status
from workers.models.scripted.model import ScriptedModel
from workers.models.scripted.script import inline

TOOLS = (
    Tool("sales_query", "Query.", {"type": "object"}),
    Tool("mail_send", "Send.", {"type": "object"}),
    Tool("give_result", "Result.", {"type": "object"}),
)
SPOKEN = AssistantTurn(ModelResponse("said", StopReason.END))


def request_of(*texts: object, answered: int = 0, **changes: Any) -> ModelRequest:
    """A request whose user texts are these (as JSON unless strings), after so many answers."""
    said = tuple(text if isinstance(text, str) else json.dumps(text) for text in texts)
    turns: list[Turn] = [UserTurn(texts=said)]
    for _ in range(answered):
        turns += [SPOKEN, UserTurn(results=(ToolResult("x", "y", "z"),))]
    values: dict[str, Any] = {"system": "", "tools": TOOLS, "result_tool": "give_result"}
    return ModelRequest(model="scripted/inline", turns=tuple(turns), **{**values, **changes})


async def ask(request: ModelRequest) -> ModelResponse:
    return await ScriptedModel("inline", inline).generate(request, lambda: None)


async def refused(request: ModelRequest) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await ask(request)
    return caught.value


# -- what a script can do --------------------------------------------------------------------------


async def test_the_number_of_answers_so_far_selects_the_step() -> None:
    script = [{"text": "one"}, {"text": "two"}, {"text": "three"}]
    for number, word in enumerate(["one", "two", "three"]):
        reply = await ask(request_of(script, answered=number))
        assert (reply.text, reply.stop, reply.model) == (word, StopReason.END, "scripted/inline")


async def test_calls_have_ids_that_are_the_same_each_time() -> None:
    calls = [{"function": "sales_query", "input": {"sql": "…"}}, {"function": "mail_send"}]
    request = request_of([{"text": "first"}, {"calls": calls}], answered=1)
    reply = await ask(request)
    assert reply.stop is StopReason.CALLS
    assert reply.calls == (
        ToolCall("call_1_0", "sales_query", {"sql": "…"}),
        ToolCall("call_1_1", "mail_send", {}),
    )
    assert await ask(request) == reply


@pytest.mark.parametrize("result", [None, 0, "text", [1, {"a": None}], {"customer": "Acme"}])
async def test_a_result_is_given_by_the_result_tool(result: JsonValue) -> None:
    reply = await ask(request_of([{"result": result}]))
    assert reply.calls == (ToolCall("call_0_0", "give_result", {"result": result}),)


async def test_a_follow_up_that_is_a_script_adds_its_steps_and_other_text_changes_nothing() -> None:
    texts = ('[{"text": "one"}]', "Please correct: {}", '[{"text": "two"}]', '{"text": "no list"}')
    assert (await ask(request_of(*texts, answered=1))).text == "two"


async def test_usage_is_an_estimate_that_can_be_checked() -> None:
    script = json.dumps([{"text": "x" * 41}])
    reply = await ask(request_of(script, system="s" * 80))
    assert reply.usage == Usage(input_tokens=(80 + len(script)) // 4, output_tokens=10)


async def test_a_delay_is_waited_for_with_signs_of_life_and_can_be_cancelled() -> None:
    signs: list[None] = []
    model = ScriptedModel("inline", inline)
    quick = request_of([{"text": "slow", "delayMs": 20}])
    began = asyncio.get_running_loop().time()
    assert (await model.generate(quick, lambda: signs.append(None))).text == "slow"
    assert asyncio.get_running_loop().time() - began >= 0.019
    assert len(signs) >= 2

    alive = asyncio.Event()
    endless = request_of([{"text": "never", "delayMs": 3_600_000}])
    call = asyncio.create_task(model.generate(endless, alive.set))
    await alive.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


# -- errors on demand ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "action"),
    [
        (400, ErrorAction.FAIL),
        (401, ErrorAction.FAIL),
        (402, ErrorAction.PAUSE),
        (408, ErrorAction.RETRY),
        (409, ErrorAction.RETRY),
        (413, ErrorAction.FAIL),
        (429, ErrorAction.RETRY),
        (500, ErrorAction.RETRY),
        (529, ErrorAction.RETRY),
    ],
)
async def test_an_error_has_the_action_it_would_have_of_a_provider(
    status: int, action: ErrorAction
) -> None:
    error = await refused(request_of([{"error": {"status": status, "retryAfter": 2}}]))
    assert (error.action, error.status) == (action, status)
    assert error.retry_after == (2 if action is ErrorAction.RETRY else None)
    assert action_for_status(status) is action


@pytest.mark.parametrize(("times", "raised"), [(None, 1), (1, 1), (3, 3)])
async def test_an_error_passes_after_so_many_tries(times: int | None, raised: int) -> None:
    error = {"status": 529} | ({"times": times} if times else {})
    script = [{"text": "at last", "error": error}]
    for attempt in range(1, raised + 1):
        assert (await refused(request_of(script, attempt=attempt))).status == 529
    assert (await ask(request_of(script, attempt=raised + 1))).text == "at last"


async def test_an_error_alone_never_passes() -> None:
    for attempt in (1, 2, 50):
        error = await refused(request_of([{"error": {"status": 503}}], attempt=attempt))
        assert error.action is ErrorAction.RETRY


# -- what a script cannot do -----------------------------------------------------------------------


BAD_SCRIPTS: list[tuple[Any, str]] = [
    ("Which customer grew most?", "it is not JSON"),
    ("[{]", "it is not JSON"),
    ("[NaN]", "NaN is not JSON"),
    ("[" * 200_000, "nested too deeply"),
    ({"text": "no list"}, "a script is a JSON list of steps"),
    ("null", "a script is a JSON list of steps"),
    ([], "has 0 step(s), and step 1 was asked for"),
    ([7], "step 1 of the script"),
    ([{}], "has none of calls, text, result and error"),
    ([{"delayMs": 5}], "has none of calls, text, result and error"),
    ([{"text": "a"}, {"txt": "b"}], "step 2 of the script: txt: is not a field"),
    ([{"text": "a", "result": 1}], "has text and result, but a step does one thing"),
    ([{"calls": [], "text": "a"}], "step 1 of the script: calls"),
    ([{"calls": []}], "step 1 of the script: calls"),
    ([{"calls": None}], "calls may not be null"),
    ([{"text": None}], "text may not be null"),
    ([{"text": 5}], "step 1 of the script: text"),
    ([{"calls": [{"input": {}}]}], "calls.0.function: Field required"),
    ([{"calls": [{"function": "mail_send", "id": "x"}]}], "calls.0.id: is not a field"),
    ([{"text": "a", "delayMs": -1}], "delayMs"),
    ([{"text": "a", "delayMs": True}], "delayMs"),
    ([{"text": "a", "delayMs": 1e12}], "delayMs"),
    ([{"error": {}}], "error.status: Field required"),
    ([{"error": {"status": 200}}], "error.status"),
    ([{"error": {"status": 429, "retryAfter": -1}}], "error.retryAfter"),
    ([{"error": {"status": 429, "times": 0}}], "error.times"),
    ([{"error": {"status": 429, "retry": 1}}], "error.retry: is not a field"),
    ([{"calls": [{"function": "mail_sent"}]}], "'mail_sent', which is not offered; offered:"),
    ([{"text": "a"}] * 10_001, "longer than 10000 steps"),
    ('[{"result": ' + "[" * 500 + "]" * 500 + "}]", "step 1 of the script: result"),
]


@pytest.mark.parametrize(("script", "reason"), BAD_SCRIPTS)
async def test_what_is_no_script_fails_with_a_precise_reason(script: object, reason: str) -> None:
    error = await refused(request_of(script))
    assert error.action is ErrorAction.FAIL
    assert error.reason.startswith("Scripted model: ")
    assert reason in error.reason


async def test_a_script_that_ends_early_says_so() -> None:
    error = await refused(request_of([{"text": "one"}], "and then?", answered=1))
    assert "has 1 step(s), and step 2 was asked for" in error.reason
    assert "1 later message(s) were no JSON list" in error.reason


async def test_a_mistake_in_a_later_script_names_the_step_by_its_place_in_the_whole() -> None:
    error = await refused(request_of([{"text": "one"}], [{"text": "two"}, {"oops": 1}]))
    assert "step 3 of the script: oops" in error.reason


async def test_without_a_prompt_there_is_no_script() -> None:
    assert "no prompt" in (await refused(request_of())).reason


async def test_a_result_needs_somebody_who_asks_for_it() -> None:
    error = await refused(request_of([{"result": 1}], result_tool=""))
    assert "this run asks for none" in error.reason


@settings(max_examples=200)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["calls", "text", "result", "error", "function", "input", "x"]),
                inner,
                max_size=3,
            )
        ),
    )
)
async def test_any_prompt_is_answered_or_refused_with_a_reason(script: object) -> None:
    try:
        outcome = await ask(request_of(json.dumps(script)))
    except ModelError as error:
        outcome = error
    if isinstance(outcome, ModelError):
        assert outcome.reason.startswith("Scripted model: ")
    else:
        assert outcome.stop is (StopReason.CALLS if outcome.calls else StopReason.END)


# -- policies --------------------------------------------------------------------------------------


def settings_with(policy: str) -> Settings:
    return Settings.model_validate(
        {"scripted_policies": f"mine=tests.workers.models.policies:{policy}"}
    )


async def test_a_users_policy_is_found_by_name() -> None:
    models = open_models(settings_with("polite"))
    model = await models.get(ModelName("scripted", "mine"))
    first = await model.generate(request_of("Hello"), lambda: None)
    assert first.calls == (ToolCall("call_0_0", "sales_query", {}),)
    second = await model.generate(request_of("Hello", answered=1), lambda: None)
    assert (second.text, second.model) == ("Thank you.", "scripted/mine")


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ("broken", "the policy 'mine' raised KeyError: 'nothing here'"),
        ("vague", "the policy 'mine' returned no step"),
        ("missing", "the policy 'mine' cannot be loaded"),
        ("NOT_A_FUNCTION", "the policy 'mine' is not a function"),
    ],
)
async def test_a_policy_that_goes_wrong_fails_the_run_with_its_name(
    policy: str, reason: str
) -> None:
    async def greet() -> ModelResponse:
        model = await open_models(settings_with(policy)).get(ModelName("scripted", "mine"))
        return await model.generate(request_of("Hello"), lambda: None)

    with pytest.raises(ModelError) as caught:
        await greet()
    assert caught.value.action is ErrorAction.FAIL
    assert reason in caught.value.reason


# -- summaries -------------------------------------------------------------------------------------


@given(st.text(max_size=3_000), st.integers(200, 1_000))
async def test_a_summary_keeps_its_limit_and_says_that_it_is_scripted(
    text: str, limit: int
) -> None:
    model = ScriptedModel("inline", inline)
    reply = await model.summarize(text, limit)
    assert reply == await model.summarize(text, limit)
    assert len(reply.text) <= limit
    assert "scripted summary" in reply.text
    assert f"{len(text)} characters" in reply.text
    assert reply.text.endswith(text[-40:])


# -- names -----------------------------------------------------------------------------------------


async def test_a_script_has_no_other_name_than_the_first_words() -> None:
    model: Model = ScriptedModel("inline", inline)
    assert await model.name("Which customer grew most?") is None
