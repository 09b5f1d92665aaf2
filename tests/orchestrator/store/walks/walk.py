"""A run to which anything may happen: what callers, people, models, machines and the sweeper do, one move a method."""

from __future__ import annotations

import itertools
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from orchestrator.errors import ConflictError, InvalidRequestError, NotFoundError, SupersededError
from orchestrator.llm.messages import ModelResponse, StopReason, ToolCall
from orchestrator.llm.prompts import GIVE_UP_TOOL, READ_TOOL, RESULT_TOOL
from orchestrator.rules.lifecycle import Trigger, is_final
from orchestrator.runtime.clock import now_ms
from orchestrator.store import tables
from orchestrator.store.calls.approvals import Decision
from orchestrator.store.calls.outcomes import Completed, Discarded, Leased, ResultRecorded
from orchestrator.store.calls.rows import DIRECT
from orchestrator.store.recovery.stalled_runs import WaitingCall
from orchestrator.workflows.interface import CallRef, CallSchedule, RunRef, TimedOutCall
from perdure.contract import (
    ApprovalRequest,
    Budget,
    CachePolicy,
    CallStatus,
    FunctionConfig,
    FunctionDefinition,
    FunctionReference,
    ResultType,
    RunStatus,
)
from tests.faults.checker.evidence import Row
from tests.orchestrator.store.walks.engine import Engine, Phase
from tests.support.stage import USAGE, Stage, new_run

FUNCTIONS = {
    "sales_query": FunctionConfig(retries=1),
    "sales_pay": FunctionConfig(requires_approval=True),
    "sales_find": FunctionConfig(cache=CachePolicy(key_path="$", ttl_seconds=600.0)),
    "sales_mail": FunctionConfig(concurrency=1),
}
DEFINITIONS = [
    *(
        FunctionDefinition(name=name.removeprefix("sales_"), config=config)
        for name, config in FUNCTIONS.items()
    ),
    FunctionDefinition(name="announce", config=FunctionConfig(handler=True)),
]
MOCKS = {"sales_query": "mocked", "sales_find": "m" * 10_500}
LONG = '"' + "long " * 2_500 + '"'
T = TypeVar("T")
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Lease:
    """A call that a machine works on."""

    call_id: str
    attempt: int
    schedule: CallSchedule | None
    """None where Temporal gave the activity to somebody else."""


@dataclass(slots=True)
class Walk:
    """One run, its workflow, its machines, and what came to an end without being reported."""

    stage: Stage
    engine: Engine
    leases: list[Lease] = field(default_factory=list[Lease])
    unreported: list[tuple[ResultRecorded, CallSchedule]] = field(
        default_factory=list[tuple[ResultRecorded, CallSchedule]]
    )
    """Results in the store of which Temporal does not know."""

    @property
    def ref(self) -> RunRef:
        return self.engine.ref

    @classmethod
    async def begin(cls, stage: Stage, *, direct: bool, **options: Any) -> Walk:
        """A run with these options, or a direct call of a marked function."""
        for machine in ("m1", "m2"):
            await stage.store.functions.register(
                stage.cluster_id,
                machine,
                "sales",
                DEFINITIONS,
                heartbeats=True,
                alive_until=now_ms() + 3_600_000,
            )
        if not direct:
            return cls(stage, Engine(stage, await stage.run(**options)))
        reference = FunctionReference(service="sales", function="pay")
        function = await stage.store.direct_calls.function(stage.cluster_id, reference)
        assert function is not None
        new = new_run(stage.cluster_id, kind=DIRECT, prompt=None, interactive=False)
        assert await stage.store.direct_calls.create(new, function, {}) is not None
        return cls(stage, Engine(stage, RunRef(stage.cluster_id, new.id)))

    # -- the workflow and the model ----------------------------------------------------------------

    async def drive(self) -> None:
        """The workflow takes its next step, or is started once more although it had ended."""
        if self.engine.phase in {Phase.DUE, Phase.RESTING}:
            await self.engine.think()

    async def try_again(self) -> None:
        """The attempt of a model step was lost."""
        if self.engine.phase is Phase.THINKING:
            await self.engine.think(attempt=2)

    async def re_read(self) -> None:
        if self.engine.phase not in {Phase.DUE, Phase.RESTING}:
            await self.engine.re_read()
            self.engine.advance()

    async def reply(self, names: Sequence[str], text: str, stop: StopReason) -> None:
        """The model answers what it was asked."""
        question = self.engine.step_input
        if question is not None:
            reply = await self._reply(names, text, stop)
            self.engine.obey(await self.stage.record(question, reply))

    async def reply_late(self, names: Sequence[str], pick: int) -> None:
        """A reply to what an earlier attempt asked: most are out of date. Nobody is reported of the outcome."""
        if self.engine.stale:
            question = self.engine.stale.pop(pick % len(self.engine.stale))
            await self.stage.record(question, await self._reply(names, "late", StopReason.END))

    async def _reply(self, names: Sequence[str], text: str, stop: StopReason) -> ModelResponse:
        asked = tuple([await self._tool_call(name) for name in names])
        if asked and stop is StopReason.END:
            stop = StopReason.CALLS
        return ModelResponse(text, stop, asked, usage=USAGE)

    async def _tool_call(self, name: str) -> ToolCall:
        values: dict[str, Any] = {}
        if name == READ_TOOL:
            calls = await self.calls()
            values = {"callId": calls[0]["id"] if calls else "none"}
        elif name in {RESULT_TOOL, GIVE_UP_TOOL}:
            values = {"result": 7, "reason": "no"}
        return ToolCall(f"walked-{next(_numbers)}", name, values)

    async def abort_turn(self, move: Trigger, sure: bool) -> None:
        """The provider says no."""
        question = self.engine.step_input
        if question is not None and sure:
            rewinds = question.run.rewinds
            state = await self.stage.store.steps.abort_turn(
                self.ref, question.step, move, "no money", attempt=1, rewinds=rewinds
            )
            self.engine.obey(state)

    async def report_retry(self) -> None:
        if self.engine.step_input is not None:
            step = self.engine.step_input.step
            await self.stage.store.steps.report_retry(self.ref, step, "overloaded", None)

    async def fail(self, sure: bool) -> None:
        """The store was away for an hour: the workflow gives the model step up."""
        if sure and self.engine.phase in {Phase.DUE, Phase.THINKING, Phase.RESTING}:
            self.engine.stop()
            await self.stage.store.runs.end_turn(
                self.ref, Trigger.FAIL, "The model could not be reached"
            )

    async def summarize(self, whole: bool) -> None:
        if self.engine.phase is Phase.SUMMARIZING:
            call_id, results = self.engine.long[0], self.stage.store.results
            found = await results.original(self.ref, call_id)
            if found is not None and found[1] and whole:
                await results.show_summary(self.ref, call_id, "short", len(found[0]))
            elif found is not None and found[1]:
                await results.show_truncated(self.ref, call_id, found[0])
            self.engine.long.pop(0)
            self.engine.advance()

    # -- machines ----------------------------------------------------------------------------------

    async def lease(self, pick: int) -> None:
        """Temporal gives an activity to a machine; again, where the machine was lost."""
        if self.engine.tasks:
            await self._lease(list(self.engine.tasks.values())[pick % len(self.engine.tasks)])
            self.engine.advance()

    async def _lease(self, order: CallSchedule) -> None:
        earlier = [lease for lease in self.leases if lease.schedule == order]
        self.unreported = [one for one in self.unreported if one[1] != order]
        outcome = await self.stage.store.calls.lease(self._ticket(order), "m1", b"token")
        match outcome:
            case Leased(call):
                for held in earlier:
                    self.leases[self.leases.index(held)] = replace(held, schedule=None)
                self.leases.append(Lease(call.id, call.attempt, order))
                run = await self.stage.get_run(self.ref)
                assert not is_final(run.run_status)
                assert run.paused_for in {None, "approval"}
            case Completed(outcome):
                self.engine.complete(order, outcome)
            case Discarded(reason):
                self.engine.complete(order, self._lost(order, reason))
            case _:
                return  # as many are at work as may be

    def _ticket(self, order: CallSchedule) -> CallRef:
        return CallRef(self.ref, order.call_id)

    @staticmethod
    def _lost(order: CallSchedule, reason: str) -> TimedOutCall:
        return TimedOutCall(order.call_id, reason, order.interruptions)

    async def lose(self, pick: int) -> None:
        """The time of a call is up."""
        if self.engine.tasks:
            order = list(self.engine.tasks.values())[pick % len(self.engine.tasks)]
            self.engine.complete(order, self._lost(order, "deadline"))
            self.engine.advance()

    async def acknowledge(self, pick: int) -> None:
        if self.leases:
            lease = self.leases[pick % len(self.leases)]
            await self.stage.acknowledge(lease.call_id, attempt=lease.attempt)

    async def finish(self, pick: int, kind: ResultType, long: bool, reported: bool) -> None:
        """A machine answers; Temporal may not hear of it."""
        if self.leases:
            lease = self.leases.pop(pick % len(self.leases))
            with suppress(SupersededError):
                found = self.stage.finish(
                    lease.call_id, LONG if long else '"ok"', attempt=lease.attempt, kind=kind
                )
                await self._report(lease, await found, reported)

    async def request_approval(self, pick: int, reported: bool) -> None:
        if self.leases:
            lease = self.leases.pop(pick % len(self.leases))
            with suppress(SupersededError):
                found = self.stage.store.approvals.request(
                    self.stage.cluster_id, lease.call_id, "m1", lease.attempt, ApprovalRequest()
                )
                await self._report(lease, await found, reported)

    async def _report(self, lease: Lease, recorded: ResultRecorded, reported: bool) -> None:
        if not isinstance(recorded.attempt_outcome, Completed) or lease.schedule is None:
            return
        if reported:
            self.engine.complete(lease.schedule, recorded.attempt_outcome.outcome)
            self.engine.advance()
        elif not recorded.attempt_outcome.outcome.interrupted:
            self.unreported.append((recorded, lease.schedule))

    async def supersede(self, pick: int) -> None:
        """Temporal refused a result, and its activity was open when somebody asked; it may have ended since."""
        if self.unreported:
            finished, _ = self.unreported.pop(pick % len(self.unreported))
            await self.stage.store.calls.supersede(finished.call)

    # -- callers and people ------------------------------------------------------------------------

    async def send(self) -> None:
        await self._refusable(self.stage.send(self.ref, f"text {next(_numbers)}"))

    async def edit(self, pick: int) -> None:
        await self._refusable(
            self.stage.store.rewind.edit(
                self.ref, await self._sent_message(pick), f"text {next(_numbers)}"
            )
        )

    async def retry(self, pick: int | None) -> None:
        message = None if pick is None else await self._sent_message(pick)
        await self._refusable(self.stage.store.rewind.retry(self.ref, message))

    async def _sent_message(self, pick: int) -> str:
        found = [row["id"] for row in await self._rows(tables.messages) if row["step"] is None]
        return found[pick % len(found)] if found else "none"

    async def cancel(self, sure: bool) -> None:
        if sure:
            await self._refusable(self.stage.store.runs.cancel(self.ref, "enough"))

    async def resume(self, more: Budget | None) -> None:
        await self._refusable(self.stage.store.runs.resume(self.ref, more))

    async def cancel_call(self, pick: int) -> None:
        if calls := await self.calls():
            call_id = calls[pick % len(calls)]["id"]
            cancelling = self.stage.store.calls.cancel(self.stage.cluster_id, call_id, "no")
            await self._refusable(cancelling)

    async def decide(self, pick: int, *, approved: bool, edited: bool) -> None:
        if waiting := await self.calls(CallStatus.INTERRUPTED):
            decision = Decision(approved, "ann", None, {"a": 1} if edited and approved else None)
            call_id = waiting[pick % len(waiting)]["id"]
            await self._refusable(
                self.stage.store.approvals.decide(self.stage.cluster_id, call_id, decision)
            )

    @staticmethod
    async def _refusable(request: Coroutine[Any, Any, T]) -> T | None:
        with suppress(ConflictError, InvalidRequestError, NotFoundError):
            return await request
        return None

    # -- time and the sweeper ----------------------------------------------------------------------

    async def expire(self, pick: int) -> None:
        if waiting := await self.calls(CallStatus.INTERRUPTED):
            call_id = waiting[pick % len(waiting)]["id"]
            of = tables.calls.c.id == call_id
            await self.stage.alter(tables.calls, of, approval_expires_at=now_ms() - 1)
            await self.stage.store.approvals.expire(self.stage.cluster_id, call_id)

    async def pass_deadline(self, sure: bool, swept: bool) -> None:
        """The run's time is up; the sweeper notices, or the next step does."""
        run = await self.stage.get_run(self.ref)
        if sure and run.deadline_at is not None:
            of = tables.runs.c.key == run.key
            await self.stage.alter(tables.runs, of, deadline_at=now_ms() - 1)
            if swept:
                await self.stage.store.deadlines.fail(self.ref)

    async def report_waiting(self, pick: int) -> None:
        """No live machine offers a call's function, or one came."""
        if waiting := await self.calls(CallStatus.PENDING):
            run = await self.stage.get_run(self.ref)
            if run.run_status is RunStatus.RUNNING or run.paused_for == "approval":
                call_id = waiting[pick % len(waiting)]["id"]
                await self.stage.store.sweeps.report_waiting(WaitingCall(run.key, call_id))

    async def suspend(self) -> None:
        of = tables.runs.c.id == self.ref.run_id
        if (await self.stage.get_run(self.ref)).waiting_since is not None:
            await self.stage.alter(tables.runs, of, waiting_since=1)
            await self.stage.store.sweeps.suspend()

    async def resume_suspended(self) -> None:
        await self.stage.store.sweeps.resume_suspended()

    async def deliver(self, kind: ResultType | None) -> None:
        """The handler takes what is next, refuses it, or is given up."""
        waiting = await self.stage.store.deliveries.list_pending(self.ref, [])
        if not waiting:
            return
        call_id = waiting[0].call_id
        if kind is None:
            await self.stage.store.deliveries.list_pending(self.ref, [call_id])
        elif (await self.stage.call_row(call_id))["kind"] == "webhook":
            await self._post(call_id, kind)
        else:
            await self.stage.lease(self.ref, call_id, machine="m2")
            await self.stage.finish(call_id, machine="m2", kind=kind)

    async def _post(self, call_id: str, kind: ResultType) -> None:
        deliveries = self.stage.store.deliveries
        assert await deliveries.begin_webhook(self.ref, call_id) is not None
        if kind is ResultType.RESOLUTION:
            await deliveries.webhook_delivered(self.ref, call_id)
        else:
            await deliveries.webhook_failed(self.ref, call_id, "500")

    # -- looking -----------------------------------------------------------------------------------

    async def calls(self, status: CallStatus | None = None) -> list[Row]:
        """The model's calls, in this status or all."""
        rows = [row for row in await self._rows(tables.calls) if row["kind"] == "function"]
        return [row for row in rows if status is None or row["status"] == status.value]

    async def _rows(self, table: Any) -> list[Row]:
        run = await self.stage.get_run(self.ref)
        return await self.stage.rows(table, table.c.run_key == run.key)
