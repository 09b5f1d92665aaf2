"""A hosted call that another machine was given meanwhile: its result comes from there, and is waited for."""

from __future__ import annotations

import pytest

from orchestrator.store.calls.outcomes import Completed, Retry
from orchestrator.workflows.interface import CallRef
from perdure import Context, Service
from perdure.hosting import Host
from tests.support.stage import Stage, calls_for, plan_of
from workers.hosting.host import SUPERSEDED_RETRY_DELAY, HostedFunctions

MACHINE = "the-worker"


@pytest.mark.parametrize("finished", [False, True])
async def test_a_call_that_was_given_away_is_not_lost(stage: Stage, finished: bool) -> None:
    """As where this process stood still for longer than its heartbeat."""
    ref = await stage.run(prompt="go")
    service = Service("sales")

    @service.function(retries=3)
    async def slow(context: Context) -> str:
        """Stand still."""
        await stage.lease(ref, context.call_id, machine="another")
        if finished:
            await stage.acknowledge(context.call_id, machine="another")
            await stage.finish(context.call_id, machine="another")
        return "too late"

    hosting = HostedFunctions(
        stage.store, Host([service]), cluster_id=stage.cluster_id, machine_id=MACHINE
    )
    async with hosting.registered():
        question = await stage.begin_step(ref)
        state, _ = await stage.store.steps.record(
            question,
            plan_of(question, calls_for("sales_slow")),
            seen=question.entries[-1].key,
            attempt=1,
            duration_ms=7,
        )
        (order,) = state.orders
        verdict = await hosting.run_attempt(CallRef(ref, order.call_id), order.queue, b"own")
    assert isinstance(verdict, Retry)
    assert verdict.delay == SUPERSEDED_RETRY_DELAY
    row = await stage.call_row(order.call_id)
    assert row["machine_id"] == "another", "what is recorded is not this process's"
    if finished:
        again = await hosting.run_attempt(CallRef(ref, order.call_id), order.queue, b"own, again")
        assert isinstance(again, Completed)
