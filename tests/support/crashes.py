"""Processes that host functions and die in them."""

from __future__ import annotations

import itertools

from orchestrator.rules.crash_loop import SAME_CRASH_SECONDS, CrashLoopBackoff
from orchestrator.store import tables
from orchestrator.store.calls.outcomes import AtCapacity, Completed, Discarded, Leased
from orchestrator.store.calls.rows import task_queue_name
from orchestrator.workflows.interface import CallRef
from tests.support.stage import Stage

backoffs = tables.crash_streaks
_numbers = itertools.count(1)


def new_machine() -> str:
    return f"host-{next(_numbers)}"


async def call_refs(stage: Stage, *tools: str) -> list[CallRef]:
    """Calls of these tools, by one run, which nobody has had yet."""
    ref = await stage.run()
    return [CallRef(ref, order.call_id) for order in await stage.called(ref, *tools)]


async def taken(
    stage: Stage,
    call_ref: CallRef,
    machine: str = "host",
    *,
    token: bytes | None = b"token",
    suspected: bool = False,
) -> Leased | AtCapacity | Completed | Discarded:
    """A process that hosts the function takes the call."""
    return await stage.store.calls.lease(
        call_ref, machine, token, started=True, suspected=suspected
    )


async def die(stage: Stage, *calls: CallRef) -> None:
    """A process dies in these calls, and another one of its machine notices."""
    machine = new_machine()
    for call_ref in calls:
        assert isinstance(await taken(stage, call_ref, machine), Leased)
    await stage.store.lost_leases.release_all_of(stage.cluster_id, machine, hosted=True)


async def go_by(stage: Stage, seconds: float = SAME_CRASH_SECONDS) -> None:
    """Let time go by, as far as deaths are concerned."""
    by = int(seconds * 1000)
    await stage.alter(
        backoffs,
        backoffs.c.cluster_id == stage.cluster_id,
        last_at=backoffs.c.last_at - by,
        paused_until=backoffs.c.paused_until - by,
    )


async def die_often(stage: Stage, tool: str, times: int) -> None:
    """As many processes die in new calls of the function, one after the other."""
    for _ in range(times):
        (call_ref,) = await call_refs(stage, tool)
        await go_by(stage)
        await die(stage, call_ref)


async def known(stage: Stage, function: str = "query", service: str = "sales") -> CrashLoopBackoff:
    """What the store knows of the function."""
    all_known = await stage.store.crash_loops.load_all(stage.cluster_id)
    return all_known.get(task_queue_name(stage.cluster_id, service, function), CrashLoopBackoff())
