"""What becomes of a result whose activity Temporal no longer knows."""

from __future__ import annotations

import pytest
from typing_extensions import override

from orchestrator.errors import SupersededError
from orchestrator.operations.calls import CallLease, CallOperations
from orchestrator.settings import Settings
from orchestrator.temporal.activity_tasks import ActivityTaskClient
from orchestrator.temporal.client import Temporal
from orchestrator.temporal.in_flight_journal import InFlightJournal
from orchestrator.workflows.interface import CallOutcome, RunRef
from perdure.contract import PostResult, ResultType
from tests.support.stage import Stage


class _UnknownTasks(ActivityTaskClient):
    """Temporal knows no token: the activity timed out, or its workflow is closed."""

    @override
    async def complete(self, token: bytes, outcome: CallOutcome) -> bool:
        return False


class _Temporal(Temporal):
    """Says whether a workflow still waits for the call."""

    is_waiting = False

    @override
    async def is_call_pending(self, workflow_id: str, call_id: str) -> bool:
        return self.is_waiting


async def _leased(stage: Stage) -> tuple[RunRef, CallLease]:
    await stage.register("query")
    ref = await stage.run()
    (schedule,) = await stage.called(ref)
    await stage.lease(ref, schedule.call_id)
    return ref, CallLease(stage.cluster_id, schedule.call_id, "m1")


@pytest.fixture
def temporal() -> _Temporal:
    return _Temporal(Settings())


@pytest.fixture
def operations(stage: Stage, temporal: _Temporal) -> CallOperations:
    tasks = _UnknownTasks(temporal, "tests")
    return CallOperations(stage.store, tasks, temporal, InFlightJournal(None, "tests"))


async def test_a_result_for_a_closed_workflow_is_kept_and_wakes_the_run(
    stage: Stage, operations: CallOperations
) -> None:
    """A parked run: its execution closed while the function ran."""
    ref, lease = await _leased(stage)
    posted = PostResult(result="late", result_type=ResultType.RESOLUTION)
    assert ref in await stage.woken_by(operations.post_result(lease, posted))
    call = await stage.call_row(lease.call_id)
    assert call["result_type"] == "resolution"


async def test_a_result_is_given_up_while_its_call_waits_for_another_machine(
    stage: Stage, operations: CallOperations, temporal: _Temporal
) -> None:
    temporal.is_waiting = True
    _, lease = await _leased(stage)
    posted = PostResult(result="late", result_type=ResultType.RESOLUTION)
    with pytest.raises(SupersededError):
        await operations.post_result(lease, posted)
    call = await stage.call_row(lease.call_id)
    assert call["result_type"] is None
