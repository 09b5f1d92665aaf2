"""Direct calls, made without a model: each is a hidden run of its own, with one call and no conversation."""

from __future__ import annotations

from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from orchestrator.llm.messages import ToolCall
from orchestrator.llm.tools import AvailableFunction
from orchestrator.rules.lifecycle import Trigger
from orchestrator.rules.model_reply import RequestedCall
from orchestrator.store import tables
from orchestrator.store.calls.approvals import require_approvals
from orchestrator.store.calls.cache import use_cached_results
from orchestrator.store.calls.interruptions import pause_for_approval
from orchestrator.store.calls.rows import insert_calls, open_calls
from orchestrator.store.database.engine import Database
from orchestrator.store.functions.available import available_function
from orchestrator.store.runs.creation import NewRun, insert_run
from orchestrator.store.runs.locked_run import LockedRun
from perdure.contract import FunctionReference

calls, runs = tables.calls, tables.runs

_STEP = 0


class DirectCallStore:
    """Direct calls of all clusters."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def function(
        self, cluster_id: str, reference: FunctionReference
    ) -> AvailableFunction | None:
        """A registered function as a run can call it, private or not."""
        async with self._database.read() as read:
            return await available_function(read, cluster_id, reference)

    async def create(
        self, new: NewRun, function: AvailableFunction, values: JsonValue
    ) -> str | None:
        """Write the call with its run, already running; the call's id, or None if the run's idempotency key exists."""
        requested = [RequestedCall(ToolCall(new.id, function.tool.name, values), function)]
        try:
            async with self._database.write() as write:
                run = LockedRun(write, await insert_run(write, new))
                await run.transition(Trigger.BEGIN)
                (call_id,) = call_ids = await insert_calls(run, _STEP, requested)
                await use_cached_results(run, call_ids, requested)
                if await require_approvals(run, await open_calls(write, run.key)):
                    await pause_for_approval(run)
                await run.save()
        except IntegrityError:
            if new.idempotency_key is None:
                raise
            return None
        return call_id

    async def of_run(self, run_key: int) -> str | None:
        """The id of this run's direct call; None for a run of another kind."""
        statement = (
            select(calls.c.id)
            .join(runs, runs.c.key == calls.c.run_key)
            .where(calls.c.run_key == run_key, calls.c.kind == "function", runs.c.kind == "call")
            .limit(1)
        )
        async with self._database.read() as read:
            return (await read.execute(statement)).scalar_one_or_none()
