"""Leases: a call assigned to a function worker, the payload it gets, and what is written about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import bindparam, select

from orchestrator.runtime.clock import now_ms
from orchestrator.runtime.encryption import FieldCipher
from orchestrator.store import tables
from orchestrator.store.calls.interruptions import is_runnable
from orchestrator.store.calls.outcomes import Leased
from orchestrator.store.calls.rows import UPDATE_CALL
from orchestrator.store.database.engine import Write
from orchestrator.store.database.prepared import prepared_inline
from orchestrator.store.functions.concurrency import concurrency_limit
from orchestrator.store.records import CallRecord, RunRecord
from orchestrator.store.runs.locked_run import LockedRun
from orchestrator.store.sealed_fields import open_contexts, open_input
from orchestrator.workflows.interface import CallSchedule
from perdure.contract import CallStatus, FunctionCall
from perdure.contract.event_types import CallStarted

# Built once: building a statement costs more than sending it.
_ALIVE = prepared_inline(
    select(tables.machines.c.id).where(
        tables.machines.c.cluster_id == bindparam("of_cluster"),
        tables.machines.c.id == bindparam("of_machine"),
        tables.machines.c.alive_until > bindparam("now"),
    )
)


class CallExecutor(Protocol):
    """A process that records replies and runs calls itself: a function worker like any other."""

    @property
    def machine_id(self) -> str: ...
    def has_capacity(self, calls: Sequence[CallSchedule]) -> bool:
        """Whether it would begin all of these at once."""
        ...


def call_payload(cipher: FieldCipher, run: RunRecord, call: CallRecord) -> FunctionCall:
    context, auth_context = open_contexts(cipher, run)
    return FunctionCall(
        id=call.id,
        service=call.service,
        function=call.function,
        input=open_input(cipher, call),
        run_id=run.id,
        run_context=context,
        auth_context=auth_context,
        approved=bool(call.approved),
        attempt=call.handouts + 1,
        timeout_seconds=call.timeout_ms / 1000,
        handler=call.kind == "handler" or '"handler":true' in call.config,
    )


async def grant_lease(
    run: LockedRun, call: CallRecord, machine_id: str, token: bytes, *, started: bool
) -> None:
    lease_number = call.handouts + 1
    await run.write.execute(
        UPDATE_CALL,
        {
            "of_key": call.key,
            "status": CallStatus.RUNNING.value,
            "handouts": lease_number,
            "acknowledged": started,
            "attempts": call.attempts + int(started),
            "machine_id": machine_id,
            "task_token": token,
            "handed_out_at": run.now,
        },
    )
    if call.kind == "function":
        run.clear_waiting_for()
        run.event(CallStarted(call_id=call.id, machine_id=machine_id, attempt=lease_number))


async def runs_in_process(write: Write, call: CallRecord) -> bool:
    """Whether a live process runs the call without an activity for it.

    Two model steps of one run may be in progress for a moment, if the workflow has abandoned the first one or is no longer
    notified of it. A call that one of them runs must not be run by the other.
    """
    if call.status != CallStatus.RUNNING.value or call.task_token != b"":
        return False
    holder = {"of_cluster": call.cluster_id, "of_machine": call.machine_id, "now": now_ms()}
    return (await write.execute(_ALIVE, holder)).first() is not None


async def lease_new_calls(
    run: LockedRun, calls: Sequence[CallRecord], machine_id: str
) -> tuple[Leased, ...]:
    """Lease all calls of a reply to the process that records it, in the same transaction; none if one of them may have to wait."""
    runnable = [call for call in calls if is_runnable(call)]
    if not all(_is_new(call) for call in runnable):
        return ()
    for call in runnable:
        await grant_lease(run, call, machine_id, b"", started=True)
    return tuple(
        Leased(call_payload(run.write.cipher, run.record, call), None) for call in runnable
    )


def _is_new(call: CallRecord) -> bool:
    """Whether the call was never leased, and its function has no limit that is shared with others."""
    return (
        call.status == CallStatus.PENDING.value
        and call.handouts == 0
        and concurrency_limit(call) is None
    )
