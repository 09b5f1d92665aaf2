"""Calls that wait for a person, brought there on a stage; and people who decide on them."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.errors import ConflictError
from orchestrator.llm.messages import UserTurn
from orchestrator.llm.transcript import turns
from orchestrator.store.calls.approvals import Decision
from orchestrator.store.calls.outcomes import ResultRecorded
from orchestrator.store.records import CallRecord
from orchestrator.workflows.interface import CallSchedule, RunRef, RunState
from perdure.contract import ApprovalRequest, FunctionConfig
from tests.support.stage import Stage

MARKED = FunctionConfig(requires_approval=True)
YES, NO = Decision(approved=True, by="ann"), Decision(approved=False, by="bob", reason="too much")
ONE_CALL = ("sales_pay",)
TWO_CALLS = ("sales_pay", "sales_look")


async def called(
    stage: Stage, *names: str, config: FunctionConfig | None = None, **changes: Any
) -> tuple[RunRef, list[CallSchedule]]:
    """A run whose model called functions, of which `pay` has this configuration."""
    await stage.register("look", service="sales", machine="m2")
    await stage.register("pay", config=config)
    ref = await stage.run(**changes)
    return ref, await stage.called(ref, *(names or ONE_CALL))


async def request_approval(
    stage: Stage, call_id: str, *, machine: str = "m1", **fields: Any
) -> ResultRecorded:
    """The machine that holds the call returns a request for an approval."""
    request = ApprovalRequest(**fields)
    return await stage.store.approvals.request(stage.cluster_id, call_id, machine, None, request)


async def waiting_call(stage: Stage, *names: str, **changes: Any) -> tuple[RunRef, str]:
    """A run whose first call has asked for an approval; the call's id."""
    ref, orders = await called(stage, *names, **changes)
    await stage.lease(ref, orders[0].call_id)
    await request_approval(stage, orders[0].call_id)
    return ref, orders[0].call_id


async def marked_call(stage: Stage, *names: str, **changes: Any) -> tuple[RunRef, str]:
    """A run one call of which waits before it was made; the call's id."""
    ref, _ = await called(stage, *names, config=MARKED, **changes)
    (pending,) = await stage.store.approvals.page(stage.cluster_id, after=0, limit=9)
    return ref, pending.call.id


async def decide(stage: Stage, call_id: str, decision: Decision = YES) -> CallRecord:
    return await stage.store.approvals.decide(stage.cluster_id, call_id, decision)


async def refusal(stage: Stage, call_id: str, decision: Decision = YES) -> str:
    with pytest.raises(ConflictError) as refused:
        await decide(stage, call_id, decision)
    return refused.value.code


async def shown_results(stage: Stage, ref: RunRef) -> list[tuple[bool, str]]:
    last = turns((await stage.begin_step(ref)).entries)[-1]
    assert isinstance(last, UserTurn)
    return [(result.is_error, result.content) for result in last.results]


async def run_state(stage: Stage, ref: RunRef) -> RunState:
    """What a new execution of the workflow receives; it is not the model's turn."""
    found = await stage.begin(ref)
    assert isinstance(found, RunState)
    return found
