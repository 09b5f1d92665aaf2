"""A run, locked in a write transaction: the only way to change it.

Every transaction on a run goes through here: it locks the run's row first, collects the changes, and writes them with one
UPDATE and one INSERT of events, numbered without a gap under that lock.
"""

from __future__ import annotations

from pydantic import JsonValue
from sqlalchemy import bindparam, insert, select, update

from orchestrator.errors import NotFoundError
from orchestrator.rules import lifecycle
from orchestrator.rules.lifecycle import Trigger
from orchestrator.runtime.clock import now_ms, to_datetime
from orchestrator.store import tables
from orchestrator.store.database.engine import Write
from orchestrator.store.database.json_columns import object_from_json, to_json, to_storable_text
from orchestrator.store.database.prepared import prepared_inline
from orchestrator.store.records import CallRecord, RunRecord
from orchestrator.store.runs.outbox import enqueue_delivery
from orchestrator.workflows.interface import RunRef
from orchestrator.workflows.wakeups import Wakeup, WakeupKind
from perdure.contract import PausedFor, RunStatus, StatusChange
from perdure.contract.event_types import EventData, RunStatusChanged, RunWaiting

# Built once: building a statement costs more than sending it.
_LOCK = prepared_inline(
    select(tables.runs)
    .where(
        tables.runs.c.cluster_id == bindparam("of_cluster"), tables.runs.c.id == bindparam("of_run")
    )
    .with_for_update()
)
_LOCK_KEY = prepared_inline(
    select(tables.runs).where(tables.runs.c.key == bindparam("of_key")).with_for_update()
)
_LOCK_CALL = prepared_inline(
    select(tables.runs)
    .join(tables.calls, tables.calls.c.run_key == tables.runs.c.key)
    .where(
        tables.calls.c.cluster_id == bindparam("of_cluster"),
        tables.calls.c.id == bindparam("of_call"),
    )
    .with_for_update(of=tables.runs)
)
_UPDATE = prepared_inline(update(tables.runs).where(tables.runs.c.key == bindparam("of_key")))
_INSERT_EVENTS = prepared_inline(insert(tables.events))


class LockedRun:
    """A locked run. `save` must be the last operation on it in its transaction."""

    def __init__(self, write: Write, record: RunRecord) -> None:
        self.write = write
        self.record = record
        self.now = now_ms()
        self.status = record.run_status
        self.paused_for = None if record.paused_for is None else PausedFor(record.paused_for)
        self.turn = record.turn
        self._version = record.version
        self._transition_number = record.transition
        self._changes: dict[str, object] = {}
        self._events: list[dict[str, object]] = []

    @classmethod
    async def lock(cls, write: Write, ref: RunRef) -> LockedRun:
        """Lock the run's row. Raises `NotFoundError` if the cluster has no such run."""
        of_run = {"of_cluster": ref.cluster_id, "of_run": ref.run_id}
        row = (await write.execute(_LOCK, of_run)).mappings().one_or_none()
        if row is None:
            raise NotFoundError(f"There is no run {ref.run_id!r}.")
        return cls(write, RunRecord(**row))

    @classmethod
    async def lock_call(cls, write: Write, cluster_id: str, call_id: str) -> LockedRun:
        """Lock the run of a call. Raises `NotFoundError` if the cluster has no such call."""
        of_call = {"of_cluster": cluster_id, "of_call": call_id}
        row = (await write.execute(_LOCK_CALL, of_call)).mappings().one_or_none()
        if row is None:
            raise NotFoundError(f"There is no call {call_id!r}.")
        return cls(write, RunRecord(**row))

    @classmethod
    async def lock_key(cls, write: Write, run_key: int) -> LockedRun:
        """Lock a run by the store's own key. Raises `NotFoundError` if it was deleted since."""
        row = (await write.execute(_LOCK_KEY, {"of_key": run_key})).mappings().one_or_none()
        if row is None:
            raise NotFoundError("The run was deleted.")
        return cls(write, RunRecord(**row))

    @property
    def key(self) -> int:
        return self.record.key

    @property
    def ref(self) -> RunRef:
        return RunRef(self.record.cluster_id, self.record.id)

    def set(self, **columns: object) -> None:
        """Change columns of the run when it is saved."""
        self._changes.update(columns)

    def event(self, data: EventData) -> None:
        """Append an event: the run's version increases by one."""
        self._version += 1
        self._events.append(
            {
                "run_key": self.key,
                "version": self._version,
                "type": data.event_type.value,
                "data": to_json(data.to_wire()),
                "created_at": self.now,
            }
        )

    def request_wakeup(self) -> None:
        """Request that the workflow read the run. If the wake-up signal is lost, the sweeper sends another."""
        self.set(wake_wanted=self.record.wake_wanted + 1, wake_at=self.now)
        self.write.wake(Wakeup(WakeupKind.RUN, self.ref))

    def mark_requests_read(self) -> None:
        """All requests written so far are read."""
        if self.record.wake_read != self.record.wake_wanted:
            self.set(wake_read=self.record.wake_wanted)
        if self.record.rewinds_read != self.record.rewinds:
            self.set(rewinds_read=self.record.rewinds)

    def set_waiting_for(
        self,
        kind: str,
        detail: str,
        *,
        call: CallRecord | None = None,
        step: int | None = None,
        retry_at: int | None = None,
    ) -> None:
        """Record why the run makes no progress; once per reason. `retry_at`: milliseconds since 1970."""
        waiting = RunWaiting(
            kind=kind,
            detail=to_storable_text(detail),
            since=to_datetime(self.now).isoformat(),
            service=None if call is None else call.service,
            function=None if call is None else call.function,
            call_id=None if call is None else call.id,
            step=step,
            retry_at=None if retry_at is None else to_datetime(retry_at).isoformat(),
        )
        self.set(waiting_for=to_json(waiting.to_wire()), waiting_since=self.now)
        self.event(waiting)

    def clear_waiting_for(self) -> None:
        if self.record.waiting_for is not None or self.record.parked:
            self.set(waiting_for=None, waiting_since=None, parked=False)

    async def transition(
        self,
        trigger: Trigger,
        *,
        result: JsonValue = None,
        null_reason: str | None = None,
        reason: str | None = None,
        paused_for: PausedFor = PausedFor.SPEND,
    ) -> None:
        """Change the status by the transition table: a numbered transition, its event and, if requested, its delivery."""
        previous, self.status = self.status, lifecycle.next_status(self.status, trigger)
        self._transition_number += 1
        reason = None if reason is None else to_storable_text(reason)
        null_reason = None if null_reason is None else to_storable_text(null_reason)
        if trigger is Trigger.REVIVE:
            self.turn += 1
            self.set(turn=self.turn, corrections=0)
        failed = self.status in lifecycle.UNSUCCESSFUL
        self.paused_for = paused_for if self.status is RunStatus.PAUSED else None
        self.set(
            paused_for=None if self.paused_for is None else self.paused_for.value,
            status=self.status.value,
            transition=self._transition_number,
            result=to_json(result)
            if self.status is RunStatus.DONE and result is not None
            else None,
            result_null_reason=null_reason,
            failure_reason=reason if failed else None,
            paused_reason=reason if self.status is RunStatus.PAUSED else None,
            waiting_for=None,
            waiting_since=None,
            parked=False,
            finished_at=self.now if lifecycle.is_final(self.status) else None,
        )
        self.event(
            RunStatusChanged(
                previous=previous.value,
                status=self.status.value,
                transition=self._transition_number,
                turn=self.turn,
                reason=reason or null_reason,
            )
        )
        change = self._status_change(previous, result, null_reason, reason if failed else None)
        await enqueue_delivery(self.write, self.record, change, self.now)

    async def abort_turn(self, trigger: Trigger, reason: str) -> None:
        """Pause or end the turn from outside. A pending cancel request has precedence, with its own reason."""
        cancel_reason = self.record.cancel_reason
        if cancel_reason is not None:
            await self.transition(Trigger.CANCEL, reason=cancel_reason)
        else:
            await self.transition(trigger, reason=reason)

    def _status_change(
        self,
        previous: RunStatus,
        result: JsonValue,
        null_reason: str | None,
        failure_reason: str | None,
    ) -> StatusChange:
        metadata = object_from_json(self.record.metadata)
        return StatusChange(
            id=f"{self.record.id}:{self._transition_number}",
            run_id=self.record.id,
            cluster_id=self.record.cluster_id,
            transition=self._transition_number,
            turn=self.turn,
            previous=previous,
            status=self.status,
            result=result if self.status is RunStatus.DONE else None,
            result_null_reason=null_reason,
            failure_reason=failure_reason,
            metadata={name: str(value) for name, value in metadata.items()},
            created_at=to_datetime(self.now),
        )

    async def save(self) -> None:
        """Write the changes. Waiters of the run are woken after the commit."""
        if self._events:
            await self.write.execute(_INSERT_EVENTS, self._events)
            self.set(version=self._version, updated_at=self.now)
            self.write.mark_changed(self.key, still_running=not lifecycle.is_final(self.status))
        if self._changes:
            await self.write.execute(_UPDATE, {"of_key": self.key, **self._changes})
