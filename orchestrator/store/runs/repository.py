"""Runs: created, found, listed, cancelled, resumed."""

from __future__ import annotations

from sqlalchemy import bindparam, or_, select
from sqlalchemy.exc import IntegrityError

from orchestrator.errors import ConflictError, InvalidRequestError, NotFoundError
from orchestrator.rules.lifecycle import Trigger, allows, is_final
from orchestrator.store import tables
from orchestrator.store.database.engine import Database
from orchestrator.store.database.json_columns import to_storable_text
from orchestrator.store.records import EventRecord, RunRecord
from orchestrator.store.runs.creation import NewRun, insert_run
from orchestrator.store.runs.filters import RunFilter, listing
from orchestrator.store.runs.limits import raise_budget
from orchestrator.store.runs.locked_run import LockedRun
from orchestrator.workflows.interface import RunRef
from perdure.contract import Budget, PausedFor, RunStatus
from perdure.contract.event_types import CancelRequested

runs = tables.runs

# Built once: building a statement costs more than sending it.
_GET = select(runs).where(
    runs.c.cluster_id == bindparam("of_cluster"), runs.c.id == bindparam("of_run")
)


class RunStore:
    """The runs of all clusters; every method names its cluster."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, new: NewRun) -> tuple[RunRecord, bool]:
        """Write a run with its first message, metadata, tags and event; True if it is new.

        The same id or idempotency key with the same request returns the same run. Raises `InvalidRequestError` (code
        `idempotency_mismatch`) if the request differs.
        """
        for again in (True, True, False):
            try:
                async with self._database.write() as write:
                    return await insert_run(write, new), True
            except IntegrityError:
                existing = await self.existing(
                    new.cluster_id, new.id, new.idempotency_key, new.request_hash
                )
                if existing is not None:
                    return existing, False
                if (
                    not again
                ):  # otherwise the run with this id was deleted meanwhile, and the id is free
                    raise
        raise AssertionError("unreachable")

    async def existing(
        self, cluster_id: str, run_id: str | None, idempotency_key: str | None, request_hash: str
    ) -> RunRecord | None:
        """The run that an earlier request with this id or this idempotency key created.

        Raises `InvalidRequestError` (code `idempotency_mismatch`) if that request was a different one, or if the two
        belong to two runs.
        """
        same = [
            column == value
            for column, value in ((runs.c.id, run_id), (runs.c.idempotency_key, idempotency_key))
            if value is not None
        ]
        if not same:
            return None
        statement = select(runs).where(runs.c.cluster_id == cluster_id, or_(*same))
        async with self._database.read() as read:
            found = [RunRecord(**row) for row in (await read.execute(statement)).mappings()]
        if len(found) > 1 or (found and found[0].request_hash != request_hash):
            raise InvalidRequestError(
                "This id or idempotency key was used with another request before. Use a new one.",
                code="idempotency_mismatch",
            )
        return found[0] if found else None

    async def get(self, ref: RunRef) -> RunRecord:
        """The run in its current state. Raises `NotFoundError`."""
        of_run = {"of_cluster": ref.cluster_id, "of_run": ref.run_id}
        async with self._database.read_inline() as read:
            row = (await read.execute(_GET, of_run)).mappings().one_or_none()
        if row is None:
            raise NotFoundError(f"There is no run {ref.run_id!r}.")
        return RunRecord(**row)

    async def page(self, cluster_id: str, wanted: RunFilter) -> list[RunRecord]:
        """Runs, newest first, at most `limit`."""
        async with self._database.read() as read:
            rows = (await read.execute(listing(cluster_id, wanted))).mappings()
            return [RunRecord(**row) for row in rows]

    async def events(self, ref: RunRef, *, after: int, limit: int) -> list[EventRecord]:
        """The run's events after that version, in order. Raises `NotFoundError`."""
        record = await self.get(ref)
        statement = (
            select(tables.events)
            .where(tables.events.c.run_key == record.key, tables.events.c.version > after)
            .order_by(tables.events.c.version)
            .limit(limit)
        )
        async with self._database.read() as read:
            return [EventRecord(**row) for row in (await read.execute(statement)).mappings()]

    async def cancel(self, ref: RunRef, reason: str) -> RunRecord:
        """Request a cancel. A run that never started is cancelled at once.

        Raises `ConflictError` if the turn has ended; a second cancel is no error and changes nothing.
        """
        async with self._database.write() as write:
            run = await LockedRun.lock(write, ref)
            if run.status is RunStatus.CANCELLED or run.record.cancel_reason is not None:
                return run.record
            if is_final(run.status):
                raise ConflictError(f"The run is {run.status.value} already.", code="run_is_final")
            run.set(cancel_reason=to_storable_text(reason))
            if run.status is RunStatus.RUNNING:
                run.event(CancelRequested(reason=reason))
            else:
                await run.transition(Trigger.CANCEL, reason=reason)
            run.request_wakeup()
            await run.save()
        return await self.get(ref)

    async def resume(self, ref: RunRef, budget: Budget | None = None) -> RunRecord:
        """Let a paused run continue, with a higher `budget` if it is used up.

        Raises `ConflictError` if it is not paused, waits for approvals or has used up its budget,
        `InvalidRequestError` if the new budget is used up too.
        """
        async with self._database.write() as write:
            run = await LockedRun.lock(write, ref)
            if not allows(run.status, Trigger.RESUME):
                raise ConflictError(
                    f"The run is {run.status.value}, not paused.", code="run_is_not_paused"
                )
            if run.paused_for is PausedFor.APPROVAL:
                raise ConflictError(
                    "The run waits for approvals. Decide on its calls, and it goes on.",
                    code="approval_needed",
                )
            raise_budget(run, budget)
            await run.transition(Trigger.RESUME)
            run.request_wakeup()
            await run.save()
        return await self.get(ref)

    async def request_wakeup(self, ref: RunRef) -> None:
        """Wake the run's workflow as soon as Temporal is back, because it could not be signalled."""
        async with self._database.write() as write:
            run = await LockedRun.lock(write, ref)
            run.request_wakeup()
            await run.save()

    async def end_turn(self, ref: RunRef, trigger: Trigger, reason: str) -> None:
        """End the turn from outside the model loop, if it has not ended by itself.

        A cancel takes its reason from the request; a turn with a cancel request does not fail instead.
        """
        async with self._database.write() as write:
            run = await LockedRun.lock(write, ref)
            if allows(run.status, trigger):
                await run.abort_turn(trigger, reason)
                run.mark_requests_read()
                await run.save()
