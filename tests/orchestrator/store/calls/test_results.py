"""What becomes of a result: shown, cut, summarized, read in parts, kept as it came."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from orchestrator.errors import NotFoundError
from orchestrator.llm.messages import ModelResponse, StopReason, ToolCall, UserTurn
from orchestrator.llm.prompts import READ_TOOL
from orchestrator.llm.transcript import turns
from orchestrator.rules.lifecycle import Trigger
from orchestrator.store import tables
from orchestrator.store.calls.outcomes import Completed, to_result_content
from orchestrator.store.database.json_columns import from_json
from orchestrator.workflows.interface import CallOutcome, PendingRequests, RunRef
from perdure.contract import INLINE_RESULT_CHARACTERS, ResultType
from tests.support.stage import Stage, calls_for

RESOLVED, REJECTED = ResultType.RESOLUTION, ResultType.REJECTION
LONG = "".join(f"{n:06}," for n in range(2_000))
"""14,000 characters, any seven of which say where they stand."""


async def _called(stage: Stage, **changes: bool) -> tuple[RunRef, str]:
    await stage.register("query")
    ref = await stage.run(**changes)
    (order,) = await stage.called(ref)
    await stage.lease(ref, order.call_id)
    return ref, order.call_id


async def _shown(stage: Stage, ref: RunRef) -> str:
    last = turns((await stage.begin_step(ref)).entries)[-1]
    assert isinstance(last, UserTurn)
    (result,) = last.results
    return result.content


async def _read(stage: Stage, ref: RunRef, **values: JsonValue) -> tuple[bool, str]:
    """The model reads a part of a result; whether that failed, and what it is shown."""
    question = await stage.begin_step(ref)
    call = ToolCall(f"read-{question.step}", READ_TOOL, values)
    await stage.record(question, ModelResponse("", StopReason.CALLS, (call,)))
    last = turns((await stage.begin_step(ref)).entries)[-1]
    assert isinstance(last, UserTurn)
    (result,) = last.results
    return result.is_error, result.content


async def test_a_result_that_is_too_long_waits_for_its_summary(stage: Stage) -> None:
    ref, call_id = await _called(stage)
    finished = await stage.finish(call_id, LONG)
    assert finished.attempt_outcome == Completed(CallOutcome(call_id, oversized=True))
    state = await stage.begin(ref)
    assert not isinstance(state, tuple)
    assert getattr(state, "oversized", None) == [call_id]
    assert await stage.store.results.original(ref, call_id) == (LONG, True)
    await stage.store.results.show_summary(ref, call_id, "Numbers.", len(LONG))
    shown = await _shown(stage, ref)
    assert shown.startswith("Numbers.\n")
    assert f"14000 characters; read the original in parts with {READ_TOOL}" in shown
    assert await stage.store.results.original(ref, call_id) == (LONG, False)


async def test_where_no_summary_can_be_had_the_beginning_is_shown_as_such(stage: Stage) -> None:
    ref, call_id = await _called(stage)
    await stage.finish(call_id, LONG)
    await stage.store.results.show_truncated(ref, call_id, LONG)
    shown = await _shown(stage, ref)
    assert shown.startswith(LONG[:INLINE_RESULT_CHARACTERS] + "\n[cut: 10000 of 14000")
    assert "summary" not in shown
    assert await stage.store.results.original(ref, call_id) == (LONG, False)


async def test_a_summary_is_shown_once(stage: Stage) -> None:
    ref, call_id = await _called(stage)
    await stage.finish(call_id, LONG)
    await stage.store.results.show_summary(ref, call_id, "First.", len(LONG))
    version = (await stage.get_run(ref)).version
    await stage.store.results.show_summary(ref, call_id, "Second.", len(LONG))
    assert (await stage.get_run(ref)).version == version
    assert (await _shown(stage, ref)).startswith("First.")


async def test_without_summaries_a_long_result_is_cut(stage: Stage) -> None:
    ref, call_id = await _called(stage, call_summarization=False)
    finished = await stage.finish(call_id, LONG)
    assert finished.attempt_outcome == Completed(CallOutcome(call_id))
    shown = await _shown(stage, ref)
    assert shown.startswith(LONG[:INLINE_RESULT_CHARACTERS] + "\n[cut: 10000 of 14000")


async def test_a_long_error_is_cut_and_not_summarized(stage: Stage) -> None:
    ref, call_id = await _called(stage)
    finished = await stage.finish(call_id, LONG, kind=REJECTED)
    assert finished.attempt_outcome == Completed(CallOutcome(call_id))
    assert "[cut: 10000 of 14000" in await _shown(stage, ref)


async def test_a_result_of_just_the_limit_is_shown_whole(stage: Stage) -> None:
    ref, call_id = await _called(stage)
    content = LONG[:INLINE_RESULT_CHARACTERS]
    await stage.finish(call_id, content)
    assert await _shown(stage, ref) == content


async def test_the_model_reads_the_original_in_parts(stage: Stage) -> None:
    ref, call_id = await _called(stage, call_summarization=False)
    await stage.finish(call_id, LONG)
    for offset, length in ((0, 14), (9_996, 10), (13_990, 100), (14_000, 5)):
        part = LONG[offset : offset + length]
        is_error, shown = await _read(stage, ref, callId=call_id, offset=offset, length=length)
        assert not is_error
        assert shown.startswith(f"{part}\n[characters {offset} to {offset + len(part)} of 14000; ")


@pytest.mark.parametrize("offset", [2**31, 2**63, 10**40])
async def test_an_offset_beyond_all_numbers_of_the_database_reads_nothing(
    stage: Stage, offset: int
) -> None:
    ref, call_id = await _called(stage)
    await stage.finish(call_id, '"short"')
    is_error, shown = await _read(stage, ref, callId=call_id, offset=offset)
    assert not is_error
    assert shown.endswith("the end]")


async def test_parts_are_counted_in_characters_and_not_in_bytes(stage: Stage) -> None:
    ref, call_id = await _called(stage)
    await stage.finish(call_id, "😀ñ☃" * 10)
    _, shown = await _read(stage, ref, callId=call_id, offset=4, length=3)
    assert shown.startswith("ñ☃😀\n[characters 4 to 7 of 30; 23 characters follow]")


@pytest.mark.parametrize("call_id", ["", "no such call", "'; drop table calls; --"])
async def test_a_part_of_nothing_is_an_error_the_model_sees(stage: Stage, call_id: str) -> None:
    ref = await stage.run()
    is_error, shown = await _read(stage, ref, callId=call_id)
    assert is_error
    assert repr(call_id) in shown


async def test_a_run_reads_no_other_runs_results(stage: Stage) -> None:
    _, call_id = await _called(stage)
    await stage.finish(call_id, '"secret"')
    is_error, shown = await _read(stage, await stage.run(), callId=call_id)
    assert is_error
    assert "secret" not in shown


@pytest.mark.parametrize("call_id", ["NUL \0", "half \ud800"], ids=["nul", "surrogate"])
async def test_a_part_of_an_id_that_no_database_takes_is_an_error_the_model_sees(
    stage: Stage, call_id: str
) -> None:
    is_error, _ = await _read(stage, await stage.run(), callId=call_id)
    assert is_error


# -- what machines send ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "result", "content"),
    [
        (RESOLVED, "text", "text"),
        (RESOLVED, {"a": [1, None]}, '{"a":[1,null]}'),
        (RESOLVED, None, "null"),
        (RESOLVED, {"message": "hi"}, '{"message":"hi"}'),
        (REJECTED, {"name": "ValueError", "message": "bad"}, "ValueError: bad"),
        (REJECTED, {"message": "bad", "stack": "…"}, "bad"),
        (REJECTED, {"code": 7}, '{"code":7}'),
        (REJECTED, "bad", "bad"),
    ],
)
def test_the_model_reads_text_where_there_is_text_and_json_elsewhere(
    kind: ResultType, result: JsonValue, content: str
) -> None:
    assert to_result_content(kind, result).text == content


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        ("NUL \0 end", "NUL \\u0000 end"),
        ("half \ud800 end", "half \\ud800 end"),
        ({"a": "NUL \0, half \udfff"}, '{"a":"NUL \\u0000, half \\udfff"}'),
        ({"half \ud800": 1}, '{"half \\ud800":1}'),
    ],
)
async def test_nul_and_lone_surrogates_are_stored_escaped_and_shown(
    stage: Stage, result: JsonValue, shown: str
) -> None:
    ref, call_id = await _called(stage)
    await stage.finish(call_id, to_result_content(RESOLVED, result).text)
    assert await _shown(stage, ref) == shown
    assert await stage.store.results.original(ref, call_id) == (shown, False)
    if not isinstance(result, str):
        assert from_json(shown) == result


async def test_odd_characters_in_an_error_fail_no_retry(stage: Stage) -> None:
    ref, call_id = await _called(stage)
    await stage.alter(tables.calls, max_attempts=2)
    error = to_result_content(REJECTED, {"message": "NUL \0 \ud800"}).text
    await stage.finish(call_id, error, kind=REJECTED)
    assert (await stage.call_row(call_id))["last_error"] == "NUL \\u0000 \\ud800"
    assert (await stage.events(ref, "call.retried"))[0]["error"] == "NUL \\u0000 \\ud800"


# -- looked at while the workflow waits ------------------------------------------------------------


async def test_a_read_of_requests_reads_the_pending_requests_and_finds_what_is_settled(
    stage: Stage,
) -> None:
    await stage.register("query")
    ref = await stage.run()
    first, _ = await stage.called(ref, "sales_query", "sales_query")
    await stage.lease_and_finish(ref, first.call_id, LONG)
    await stage.send(ref, "hurry")
    assert await stage.store.calls.read_pending_requests(ref) == PendingRequests(
        settled=[CallOutcome(first.call_id, True)]
    )
    run = await stage.get_run(ref)
    assert run.wake_read == run.wake_wanted
    await stage.store.runs.cancel(ref, "enough")
    assert (await stage.store.calls.read_pending_requests(ref)).cancel_wanted


async def test_results_of_earlier_steps_are_not_reported_again(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run()
    (order,) = await stage.called(ref)
    await stage.lease_and_finish(ref, order.call_id)
    await stage.record(await stage.begin_step(ref), calls_for("sales_query"))
    assert (await stage.store.calls.read_pending_requests(ref)).settled == []


async def test_a_run_that_has_ended_is_not_to_be_cancelled(stage: Stage) -> None:
    ref = await stage.run()
    await stage.begin_step(ref)
    await stage.store.runs.cancel(ref, "enough")
    await stage.store.runs.end_turn(ref, Trigger.CANCEL, "")
    assert await stage.store.calls.read_pending_requests(ref) == PendingRequests(over=True)


async def test_a_suspended_run_whose_call_is_at_work_goes_on(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run()
    (order,) = await stage.called(ref)
    runs = tables.runs
    await stage.alter(runs, runs.c.id == ref.run_id, parked=True)
    assert (await stage.store.calls.read_pending_requests(ref)).parked
    await stage.lease(ref, order.call_id)
    assert not (await stage.store.calls.read_pending_requests(ref)).parked
    assert not (await stage.get_run(ref)).parked


async def test_a_summary_of_another_clusters_result_is_not_accepted(stage: Stage) -> None:
    ref, call_id = await _called(stage)
    await stage.finish(call_id, LONG)
    ours = await stage.store.keys.ensure_cluster("ours")
    with pytest.raises(NotFoundError):
        await stage.store.results.show_summary(RunRef(ours, ref.run_id), call_id, "x", 1)
    assert await stage.store.results.original(ref, call_id) == (LONG, True)
