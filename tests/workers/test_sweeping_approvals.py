"""What a sweep does for runs that wait for people."""

from __future__ import annotations

import pytest

from orchestrator.runtime.clock import now_ms
from orchestrator.store import tables
from orchestrator.store.calls.approvals import Decision
from orchestrator.store.recovery.stalled_runs import SUSPEND_AFTER_MS
from perdure.contract import ApprovalRequest, FunctionConfig, RunStatus
from tests.support.stage import HANDLER, Stage
from tests.workers.test_sweeper import Engine, RecordedSweeper
from workers.sweeper import GRACE_MS, UNREAD_AFTER_MS, Sweeper

runs, calls = tables.runs, tables.calls
MARKED = FunctionConfig(requires_approval=True, approval_expires_seconds=90)


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def sweeper(stage: Stage, engine: Engine) -> Sweeper:
    return RecordedSweeper(stage, engine)


async def test_what_nobody_decides_in_time_is_denied_and_the_run_goes_on(
    stage: Stage, engine: Engine, sweeper: Sweeper
) -> None:
    await stage.register("pay", config=MARKED)
    await stage.register("announce", machine="m2")
    ref = await stage.run(on_status_change=HANDLER)
    await stage.called(ref, "sales_pay")
    await sweeper.sweep()
    assert (await stage.get_run(ref)).run_status is RunStatus.PAUSED
    assert engine.requests == []

    row = (await stage.rows(calls, calls.c.kind == "function"))[0]
    past = now_ms() - 90_000
    await stage.alter(
        calls,
        calls.c.id == row["id"],
        approval_requested_at=past,
        approval_expires_at=past + 90_000 - 1,
    )
    await sweeper.sweep()
    assert engine.requests == [("signal delivery", ref.run_id), ("signal run", ref.run_id)]
    assert (await stage.get_run(ref)).run_status is RunStatus.RUNNING
    (denied,) = await stage.events(ref, "call.denied")
    assert denied["decidedBy"] == "expiry"
    (result,) = [data for kind, data in await stage.messages(ref) if kind == "invocation-result"]
    assert str(result["result"]).startswith(
        "The approval request expired after 1 minute 29 seconds;"
    )
    await sweeper.sweep()
    assert len(engine.requests) == 2, "once"


async def test_a_decision_whose_signal_was_lost_is_reported_by_a_sweep(
    stage: Stage, engine: Engine, sweeper: Sweeper
) -> None:
    await stage.register("pay", config=MARKED)
    ref = await stage.run()
    await stage.called(ref, "sales_pay")
    await stage.begin(ref)
    (waiting,) = await stage.store.approvals.page(stage.cluster_id, after=0, limit=1)
    await stage.alter(runs, wake_at=now_ms() - GRACE_MS - 500)
    await sweeper.sweep()
    assert engine.requests == [], "a run that waits for a person is left alone"
    await stage.store.approvals.decide(
        stage.cluster_id, waiting.call.id, Decision(approved=True, by="ann")
    )
    await stage.alter(runs, wake_at=now_ms() - GRACE_MS - 500)
    await sweeper.sweep()
    assert engine.requests == [("signal run", ref.run_id)]


async def test_a_paused_run_whose_other_call_nobody_takes_says_so_and_rests(
    stage: Stage, engine: Engine, sweeper: Sweeper
) -> None:
    await stage.register("pay")
    await stage.register("look", machine="m2", service="other", alive_for=-1)
    ref = await stage.run()
    pay, _ = await stage.called(ref, "sales_pay", "other_look")
    await stage.lease(ref, pay.call_id)
    await stage.store.approvals.request(
        stage.cluster_id, pay.call_id, "m1", None, ApprovalRequest()
    )
    await stage.begin(ref)
    await stage.alter(calls, created_at=now_ms() - UNREAD_AFTER_MS - 500)
    await sweeper.sweep()
    run = await stage.get_run(ref)
    assert run.run_status is RunStatus.PAUSED
    assert "other.look" in (run.waiting_for or "")
    await stage.alter(runs, waiting_since=now_ms() - SUSPEND_AFTER_MS - 500)
    await sweeper.sweep()
    assert (await stage.get_run(ref)).parked
    assert (await stage.store.calls.read_pending_requests(ref)).parked, "the execution may close"
    await stage.register("look", machine="m3", service="other")
    await sweeper.sweep()
    assert not (await stage.get_run(ref)).parked
    assert [what for what, _ in engine.requests] == ["signal run", "signal run"]
