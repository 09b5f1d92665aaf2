"""Results of calls: the original, and the shorter text that the model is shown instead of a long one."""

from __future__ import annotations

from sqlalchemy import select

from orchestrator.llm.transcript import summarized as summarized_text, truncate
from orchestrator.rules.lifecycle import is_final
from orchestrator.store import tables
from orchestrator.store.calls.rows import find_call, show_to_model
from orchestrator.store.database.engine import Database
from orchestrator.store.database.json_columns import to_storable_text
from orchestrator.store.runs.locked_run import LockedRun
from orchestrator.workflows.interface import RunRef
from perdure.contract import ResultType
from perdure.contract.event_types import CallCut, CallSummarized

calls = tables.calls


class ResultStore:
    """What functions returned."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def original(self, ref: RunRef, call_id: str) -> tuple[str, bool] | None:
        """A result's whole content and whether it still has to be shown; None if there is none."""
        results = tables.call_results
        statement = (
            select(results.c.content, calls.c.shown)
            .join(calls, calls.c.key == results.c.call_key)
            .where(calls.c.cluster_id == ref.cluster_id, calls.c.id == call_id)
        )
        async with self._database.read() as read:
            row = (await read.execute(statement)).one_or_none()
        return None if row is None else (row[0], not row[1])

    async def show_summary(self, ref: RunRef, call_id: str, summary: str, size: int) -> None:
        """Show the model a summary instead of the result; once."""
        text = summarized_text(to_storable_text(summary), size=size, call_id=call_id)
        await self._show_replacement(ref, call_id, text, summarized=True)

    async def show_truncated(self, ref: RunRef, call_id: str, content: str) -> None:
        """Show the model the beginning of a result that could not be summarized; once."""
        await self._show_replacement(
            ref, call_id, truncate(content, call_id=call_id), summarized=False
        )

    async def _show_replacement(
        self, ref: RunRef, call_id: str, text: str, *, summarized: bool
    ) -> None:
        async with self._database.write() as write:
            run = await LockedRun.lock(write, ref)
            call = await find_call(write, ref.cluster_id, call_id)
            if call is None or call.shown or call.result_type is None or is_final(run.status):
                return  # a next turn requests it again
            await show_to_model(
                run, call, ResultType(call.result_type), text, summarized=summarized
            )
            shortened = CallSummarized if summarized else CallCut
            run.event(shortened(call_id=call_id, size=call.result_size, shown_size=len(text)))
            await run.save()
