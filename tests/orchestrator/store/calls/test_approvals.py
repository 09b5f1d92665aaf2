"""Calls that wait for a person: asked once, decided once, by somebody or by time; and the run waits with them."""

from __future__ import annotations

import pytest

from orchestrator.errors import NotFoundError, SupersededError
from orchestrator.runtime.clock import now_ms
from orchestrator.store import tables
from orchestrator.store.calls.approvals import EXPIRY, Decision
from orchestrator.store.calls.interruptions import MAX_INTERRUPTIONS
from orchestrator.store.calls.outcomes import Completed, Retry
from orchestrator.workflows.interface import CallOutcome
from perdure.contract import FunctionConfig, PausedFor, RunStatus
from tests.orchestrator.store.calls.waiting_calls import (
    MARKED,
    NO,
    TWO_CALLS,
    YES,
    called,
    decide,
    marked_call,
    refusal,
    request_approval,
    run_state,
    shown_results,
    waiting_call,
)
from tests.support.stage import HANDLER, Stage

calls, runs = tables.calls, tables.runs


# -- asked -----------------------------------------------------------------------------------------


async def test_a_function_that_asks_pauses_its_run_and_pays_no_attempt(stage: Stage) -> None:
    ref, orders = await called(stage)
    (order,) = orders
    await stage.lease(ref, order.call_id)
    assert await stage.acknowledge(order.call_id)
    finished = await request_approval(
        stage, order.call_id, message="Pay 100 €?", expires_seconds=60.0
    )

    assert finished.token == b"token"
    assert finished.attempt_outcome == Completed(CallOutcome(order.call_id, interrupted=True))
    row = await stage.call_row(order.call_id)
    assert (row["status"], row["attempts"], row["interruptions"]) == ("interrupted", 0, 1)
    assert row["approval_expires_at"] - row["approval_requested_at"] == 60_000
    assert (row["approval_message"], row["approved"], row["result_type"]) == (
        "Pay 100 €?",
        None,
        None,
    )
    run = await stage.get_run(ref)
    assert (run.run_status, run.paused_for) == (RunStatus.PAUSED, PausedFor.APPROVAL.value)
    assert run.paused_reason == "Approval is asked for: sales.pay."
    (event,) = await stage.events(ref, "call.interrupted")
    assert (
        event.items()
        >= {
            "callId": order.call_id,
            "service": "sales",
            "function": "pay",
            "message": "Pay 100 €?",
        }.items()
    )


async def test_a_marked_function_is_not_leased_before_somebody_says_yes(stage: Stage) -> None:
    config = FunctionConfig(requires_approval=True, approval_expires_seconds=90.0)
    ref, orders = await called(stage, config=config)
    assert orders == []
    assert (await stage.get_run(ref)).run_status is RunStatus.PAUSED
    assert (await stage.event_types(ref))[-2:] == ["call.interrupted", "run.status"]
    (pending,) = await stage.store.approvals.page(stage.cluster_id, after=0, limit=9)
    assert (pending.run_id, pending.call.function) == (ref.run_id, "pay")
    assert pending.call.approval_expires_at == (pending.call.approval_requested_at or 0) + 90_000
    assert (pending.call.handouts, pending.call.attempts) == (0, 0)
    again = await run_state(stage, ref)
    assert (again.status, again.orders, again.interrupted) == ("paused", [], [pending.call.id])


async def test_an_undecided_request_waits_for_a_week_where_nobody_says_otherwise(
    stage: Stage,
) -> None:
    _, call_id = await waiting_call(stage)
    row = await stage.call_row(call_id)
    assert row["approval_expires_at"] - row["approval_requested_at"] == 7 * 86_400_000


async def test_other_calls_of_the_reply_are_made_meanwhile(stage: Stage) -> None:
    ref, orders = await called(stage, *TWO_CALLS, config=MARKED)
    assert [order.name for order in orders] == ["sales_look"]
    again = await run_state(stage, ref)
    assert [order.name for order in again.orders] == ["sales_look"]
    await stage.lease_and_finish(ref, orders[0].call_id)
    rests = await run_state(stage, ref)
    assert (rests.status, rests.orders) == ("paused", [])


async def test_a_run_is_paused_once_for_all_its_calls(stage: Stage) -> None:
    ref, orders = await called(stage, *TWO_CALLS)
    for order, machine in zip(orders, ("m1", "m2"), strict=True):
        await stage.lease(ref, order.call_id, machine)
        await request_approval(stage, order.call_id, machine=machine)
    assert (await stage.get_run(ref)).paused_reason == (
        "Approval is asked for: sales.pay, sales.look."
    )
    moves = [event["status"] for event in await stage.events(ref, "run.status")]
    assert moves == ["running", "paused"]
    await decide(stage, orders[0].call_id)
    assert (await stage.get_run(ref)).run_status is RunStatus.PAUSED
    await decide(stage, orders[1].call_id, NO)
    run = await stage.get_run(ref)
    assert (run.run_status, run.paused_for, run.paused_reason) == (RunStatus.RUNNING, None, None)


async def test_a_wrong_request_is_a_failed_attempt(stage: Stage) -> None:
    ref, orders = await called(stage, config=FunctionConfig(retries=1))
    store, call_id = stage.store.approvals, orders[0].call_id
    for expected in (Retry, Completed):
        await stage.lease(ref, call_id)
        finished = await store.request(stage.cluster_id, call_id, "m1", None, "That is wrong.")
        assert isinstance(finished.attempt_outcome, expected)
    assert await shown_results(stage, ref) == [(True, "That is wrong.")]
    assert (await stage.get_run(ref)).run_status is RunStatus.RUNNING


async def test_a_handler_cannot_ask(stage: Stage) -> None:
    await stage.register("announce")
    ref = await stage.run(on_status_change=HANDLER)
    await stage.begin_step(ref)
    (call,) = await stage.rows(calls, calls.c.kind == "handler")
    await stage.lease(ref, call["id"])
    finished = await request_approval(stage, call["id"])
    assert finished.attempt_outcome == Retry(
        "A status-change handler cannot ask for an approval.", 1.0
    )
    assert (await stage.get_run(ref)).run_status is RunStatus.RUNNING


async def test_only_the_machine_that_holds_the_call_can_ask_and_only_once(stage: Stage) -> None:
    ref, orders = await called(stage)
    await stage.lease(ref, orders[0].call_id)
    with pytest.raises(SupersededError):
        await request_approval(stage, orders[0].call_id, machine="m2")
    await request_approval(stage, orders[0].call_id)
    with pytest.raises(SupersededError):
        await request_approval(stage, orders[0].call_id)
    with pytest.raises(NotFoundError):
        await stage.store.approvals.request("another", orders[0].call_id, "m1", None, "wrong")


async def test_nobody_is_asked_for_a_run_that_has_ended(stage: Stage) -> None:
    ref, orders = await called(stage)
    await stage.lease(ref, orders[0].call_id)
    await stage.store.runs.cancel(ref, "enough")
    await run_state(stage, ref)
    with pytest.raises(SupersededError):
        await request_approval(stage, orders[0].call_id)
    assert await stage.store.approvals.page(stage.cluster_id, after=0, limit=9) == []


# -- decided ---------------------------------------------------------------------------------------


async def test_an_approved_call_is_leased_again_and_says_so(stage: Stage) -> None:
    ref, call_id = await waiting_call(stage)
    decided = await decide(stage, call_id, Decision(approved=True, by="ann", reason="go on"))
    assert decided.id == call_id
    row = await stage.call_row(call_id)
    assert (row["status"], row["approved"]) == ("pending", True)
    assert (row["decided_by"], row["decision_reason"]) == ("ann", "go on")
    assert abs(row["decided_at"] - now_ms()) < 10_000
    run = await stage.get_run(ref)
    assert run.run_status is RunStatus.RUNNING
    assert run.wake_wanted > run.wake_read
    assert (await stage.events(ref, "call.approved")) == [
        {"callId": call_id, "decidedBy": "ann", "reason": "go on", "edited": False}
    ]
    (order,) = (await run_state(stage, ref)).orders
    assert (order.call_id, order.activity_id) == (call_id, f"{call_id}:1")
    given = await stage.lease(ref, call_id)
    assert (given.id, given.approved, given.attempt) == (call_id, True, 2)
    await stage.finish(call_id, "paid")
    assert await shown_results(stage, ref) == [(False, "paid")]


async def test_the_deadline_of_an_approved_call_begins_with_the_decision(stage: Stage) -> None:
    ref, call_id = await waiting_call(stage)
    await stage.alter(calls, calls.c.id == call_id, created_at=now_ms() - 3 * 86_400_000)
    await decide(stage, call_id)
    (order,) = (await run_state(stage, ref)).orders
    assert order.deadline == pytest.approx(86_400, abs=30)


async def test_a_denied_call_is_answered_with_the_reason(stage: Stage) -> None:
    ref, call_id = await waiting_call(stage)
    await decide(stage, call_id, NO)
    assert await shown_results(stage, ref) == [(True, "This call was denied by a person: too much")]
    row = await stage.call_row(call_id)
    assert (row["status"], row["approved"], row["decided_by"]) == ("failure", False, "bob")
    assert (await stage.events(ref, "call.denied")) == [
        {"callId": call_id, "decidedBy": "bob", "reason": "too much"}
    ]


async def test_a_call_may_be_approved_with_other_arguments(stage: Stage) -> None:
    ref, call_id = await marked_call(stage)
    await decide(stage, call_id, Decision(approved=True, by="ann", arguments={"amount": 50}))
    given = await stage.lease(ref, call_id)
    assert given.input == {"amount": 50}
    assert (await stage.call_row(call_id))["original_input"] == "{}"
    await stage.finish(call_id, "paid")
    ((is_error, content),) = await shown_results(stage, ref)
    assert not is_error
    assert '{"amount":50}' in content.replace(" ", ""), "the model learns what was done"
    assert content.endswith("paid")


async def test_the_same_arguments_are_no_edit(stage: Stage) -> None:
    ref, call_id = await marked_call(stage)
    await decide(stage, call_id, Decision(approved=True, by="ann", arguments={}))
    assert (await stage.call_row(call_id))["original_input"] is None
    assert (await stage.events(ref, "call.approved"))[0]["edited"] is False


async def test_a_function_may_ask_again_and_needs_another_decision(stage: Stage) -> None:
    ref, call_id = await waiting_call(stage)
    for times in range(2, MAX_INTERRUPTIONS + 1):
        await decide(stage, call_id)
        await stage.lease(ref, call_id)
        await stage.acknowledge(call_id)
        await request_approval(stage, call_id)
        row = await stage.call_row(call_id)
        assert (row["status"], row["approved"], row["decided_by"]) == ("interrupted", None, None)
        assert (row["interruptions"], row["attempts"]) == (times, 0)
    await decide(stage, call_id)
    (order,) = (await run_state(stage, ref)).orders
    assert order.activity_id == f"{call_id}:{MAX_INTERRUPTIONS}"
    await stage.lease(ref, call_id)
    finished = await request_approval(stage, call_id)
    assert isinstance(finished.attempt_outcome, Completed)
    assert not finished.attempt_outcome.outcome.interrupted
    ((is_error, content),) = await shown_results(stage, ref)
    assert is_error
    assert "asks again" in content


# -- too late --------------------------------------------------------------------------------------


async def test_a_decision_stands(stage: Stage) -> None:
    _, yes = await waiting_call(stage)
    await decide(stage, yes)
    assert await refusal(stage, yes) == "already_decided"
    assert await refusal(stage, yes, NO) == "already_decided"
    _, no = await waiting_call(stage)
    await decide(stage, no, NO)
    assert await refusal(stage, no) == "already_decided"


async def test_a_call_that_asks_for_nothing_cannot_be_approved(stage: Stage) -> None:
    ref, orders = await called(stage)
    assert await refusal(stage, orders[0].call_id) == "approval_not_requested"
    await stage.lease_and_finish(ref, orders[0].call_id)
    assert await refusal(stage, orders[0].call_id) == "approval_not_requested"
    with pytest.raises(NotFoundError):
        await decide(stage, "unknown")
    with pytest.raises(NotFoundError):
        await stage.store.approvals.decide("another", orders[0].call_id, YES)


async def test_nothing_is_decided_for_a_run_that_has_ended(stage: Stage) -> None:
    ref, call_id = await waiting_call(stage)
    await stage.store.runs.cancel(ref, "enough")
    assert (await stage.get_run(ref)).run_status is RunStatus.CANCELLED
    assert await refusal(stage, call_id) == "run_is_final"
    assert await stage.store.approvals.page(stage.cluster_id, after=0, limit=9) == []


async def test_a_call_that_was_cancelled_is_closed(stage: Stage) -> None:
    _, call_id = await waiting_call(stage)
    await stage.alter(calls, calls.c.id == call_id, status="failure", result_type="rejection")
    assert await refusal(stage, call_id) == "approval_closed"


async def test_time_denies_what_nobody_decided(stage: Stage) -> None:
    ref, call_id = await waiting_call(stage)
    store = stage.store.approvals
    assert await store.overdue() == []
    assert await store.expire(stage.cluster_id, call_id) is False
    row = await stage.call_row(call_id)
    week = 7 * 86_400_000
    await stage.alter(
        calls,
        calls.c.id == call_id,
        approval_requested_at=row["approval_requested_at"] - week,
        approval_expires_at=row["approval_expires_at"] - week,
    )
    assert await refusal(stage, call_id) == "approval_expired", "too late, although not swept"
    assert await store.overdue() == [(stage.cluster_id, call_id)]
    assert await store.expire(stage.cluster_id, call_id) is True
    assert await store.expire(stage.cluster_id, call_id) is False
    assert await store.overdue() == []
    assert await shown_results(stage, ref) == [
        (True, "The approval request expired after 7 days; the call did not run.")
    ]
    row = await stage.call_row(call_id)
    assert (row["approved"], row["decided_by"]) == (False, EXPIRY)
    assert await refusal(stage, call_id) == "approval_expired"
