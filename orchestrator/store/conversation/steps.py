"""Model steps: begun, recorded once, or aborted.

`begin` and `record` are the two transactions of a step. A recorded step is never recorded or paid again: a second attempt
gets the state that the first one left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import bindparam, exists, func, or_, select

from orchestrator.errors import NotFoundError
from orchestrator.rules import agent_loop
from orchestrator.rules.agent_loop import LoopState
from orchestrator.rules.lifecycle import Trigger, is_final
from orchestrator.rules.model_reply import ParsedReply
from orchestrator.runtime.clock import now_ms
from orchestrator.store import tables
from orchestrator.store.calls.approvals import require_approvals
from orchestrator.store.calls.cache import use_cached_results
from orchestrator.store.calls.interruptions import (
    is_paused_for_approval,
    is_runnable,
    pause_for_approval,
)
from orchestrator.store.calls.leases import CallExecutor, lease_new_calls
from orchestrator.store.calls.outcomes import Leased
from orchestrator.store.calls.rows import (
    DIRECT,
    call_schedule_in_run,
    insert_calls,
    open_calls,
    read_result_slice,
    record_timeout,
)
from orchestrator.store.conversation.mocks import use_mocked_results
from orchestrator.store.conversation.reply_writer import ReplyWriter
from orchestrator.store.conversation.step_input import (
    StepInput,
    TranscriptCursor,
    cluster_context,
    load_step_input,
)
from orchestrator.store.conversation.step_rows import StepMetrics, token_counts, write_step
from orchestrator.store.database.engine import Database, Read
from orchestrator.store.database.prepared import prepared, prepared_inline
from orchestrator.store.records import CallRecord, RunRecord
from orchestrator.store.runs.creation import priority_of
from orchestrator.store.runs.limits import (
    count_calls,
    fail_overdue,
    is_over_limits,
    pause_if_over_budget,
)
from orchestrator.store.runs.locked_run import LockedRun
from orchestrator.workflows.interface import RunRef, RunState, TimedOutCall
from perdure.contract import CallStatus, MessageType, RunStatus
from perdure.contract.event_types import StepAttempted, StepDropped

# Built once: building a statement costs more than sending it.
_SELECT_RUN_VIEW = prepared(
    select(
        tables.runs,
        tables.clusters.c.additional_context.label("cluster_context"),
        exists()
        .where(
            tables.calls.c.run_key == tables.runs.c.key,
            tables.calls.c.kind == "function",
            tables.UNSHOWN_CALLS,
        )
        .label("has_open_calls"),
    )
    .join(tables.clusters, tables.clusters.c.id == tables.runs.c.cluster_id)
    .where(
        tables.runs.c.cluster_id == bindparam("of_cluster"), tables.runs.c.id == bindparam("of_run")
    )
)
_UNREAD = prepared_inline(
    select(tables.messages.c.key)
    .where(
        tables.messages.c.run_key == bindparam("of_run"),
        tables.messages.c.key > bindparam("seen"),
        tables.messages.c.replaced_by.is_(None),
        or_(
            tables.messages.c.type == MessageType.HUMAN.value,
            tables.messages.c.type == MessageType.SUPERVISOR.value,
        ),
    )
    .limit(1)
)


async def run_state(
    run: LockedRun, step: int | None = None, *, calls: Sequence[CallRecord] | None = None
) -> RunState:
    """The result for the workflow: the run's state, its open calls, its results that are too long.

    While some calls wait for an approval the others are run; in every other pause none is. `calls`: the open ones, if they
    are known.
    """
    step = run.record.step if step is None else step
    if is_final(run.status) or (run.status is RunStatus.PAUSED and not is_paused_for_approval(run)):
        return RunState(run.status.value, step)
    calls = await open_calls(run.write, run.key) if calls is None else calls
    return RunState(
        run.status.value,
        step,
        [call_schedule_in_run(run, call) for call in calls if is_runnable(call)],
        [call.id for call in calls if call.result_type is not None],
        [call.id for call in calls if call.status == CallStatus.INTERRUPTED.value],
        priority=priority_of(run.record),
    )


class RecordedStep(NamedTuple):
    """The run's state after a reply, and its calls that were leased to the recording process."""

    state: RunState
    leased: tuple[Leased, ...] = ()


class StepStore:
    """The two transactions of a model step, and the ways to abort it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(
        self,
        ref: RunRef,
        step: int,
        *,
        lost: list[TimedOutCall],
        attempt: int,
        cursor: TranscriptCursor,
    ) -> StepInput | RunState:
        """Read the input of a model step; a `RunState` if it is not the model's turn.

        `step` 0 means the next one. `cursor` is what the caller has of the transcript.
        """
        step_input = None
        if not lost and attempt == 1:
            step_input = await self._try_fast_path(ref, step, cursor)
        return step_input or await self._begin(ref, step, lost, attempt, cursor)

    async def _try_fast_path(
        self, ref: RunRef, step: int, cursor: TranscriptCursor
    ) -> StepInput | None:
        """The fast path of a step in the middle of a turn: there is nothing to write."""
        # With the earlier transcript cached, little more than the run's own row is read.
        open_read = self._database.read_inline if cursor.last_key else self._database.read
        async with open_read() as read:
            view = await _read_run_view(read, ref)
            run = view.run
            quiet = (
                not view.has_open_calls
                and run.status == RunStatus.RUNNING.value
                and run.wake_read == run.wake_wanted
                and run.cancel_reason is None
                and run.waiting_for is None
                and step == run.step + 1
            )
            if not quiet or is_over_limits(run, now_ms()):
                return None
            return await load_step_input(read, run, cursor, context=view.cluster_context)

    async def _begin(
        self,
        ref: RunRef,
        step: int,
        lost: list[TimedOutCall],
        attempt: int,
        cursor: TranscriptCursor,
    ) -> StepInput | RunState:
        async with self._database.write() as write:
            run = await LockedRun.lock(write, ref)
            for call in lost:
                await record_timeout(run, call)
            run.mark_requests_read()
            if run.record.cancel_reason is not None and not is_final(run.status):
                await run.transition(Trigger.CANCEL, reason=run.record.cancel_reason)
            await fail_overdue(run)
            state = await run_state(run)
            if state.interrupted and run.status is not RunStatus.PAUSED:
                await pause_for_approval(run)
                state = await run_state(run)
            ask = agent_loop.next_action(state.loop_state()) == agent_loop.CallModel()
            ask = ask and (step in {0, run.record.step + 1}) and run.record.kind != DIRECT
            # a turn that begins with open calls of the former one is in progress too
            if run.status is RunStatus.PENDING and (ask or state.orders or state.oversized):
                await run.transition(Trigger.BEGIN)
            ask = ask and not await pause_if_over_budget(run)
            if ask and attempt > 1:
                run.event(StepAttempted(step=run.record.step + 1, attempt=attempt))
            await run.save()
            if not ask:
                return replace(state, status=run.status.value)
            context = await cluster_context(write, run.record)
            return await load_step_input(write, run.record, cursor, context=context)

    async def record(
        self,
        step_input: StepInput,
        parsed: ParsedReply,
        *,
        seen: int,
        attempt: int,
        duration_ms: int,
        cost_micros: int = 0,
        executor: CallExecutor | None = None,
    ) -> RecordedStep:
        """Record a reply with its consequences, and decide the next action; or discard it, if it came too late.

        `seen` is the key of the last message in the model's request, `cost_micros` the reply's price in micro-dollars.
        The calls are leased to the `executor` at once, if it has capacity for them all; it must begin them then.
        """
        async with self._database.write() as write:
            run = await LockedRun.lock(write, RunRef(step_input.run.cluster_id, step_input.run.id))
            if _is_stale(run, step_input):
                run.event(StepDropped(step=step_input.step, usage=token_counts(parsed)))
                await run.save()
                return RecordedStep(replace(await run_state(run), late=True))
            writer = ReplyWriter(run, step_input.step, seen)
            message_key = await writer.write_message(parsed)
            metrics = StepMetrics(attempt, duration_ms, cost_micros)
            await write_step(run, step_input.step, parsed, message_key, metrics)
            call_ids = await insert_calls(run, step_input.step, parsed.calls)
            await count_calls(run, len(call_ids))
            await use_mocked_results(run, call_ids, parsed.calls)
            await use_cached_results(run, call_ids, parsed.calls)
            for answer in parsed.answers:
                await writer.write_tool_result(answer)
            for part in parsed.reads:
                await writer.write_tool_result(await read_result_slice(write, run.key, part))
            calls = await open_calls(write, run.key) if parsed.calls else []
            gated = await require_approvals(run, calls)
            if gated:
                calls = await open_calls(write, run.key)
            state = await run_state(run, step_input.step, calls=calls)
            decision = agent_loop.next_action(await _after_reply(run, state, parsed, seen))
            await writer.apply(decision, parsed)
            if gated:
                await pause_for_approval(run)
            run.clear_waiting_for()
            if is_final(run.status):
                state = await run_state(run, step_input.step)
            state = replace(state, status=run.status.value)
            leased: tuple[Leased, ...] = ()
            to_call = isinstance(decision, agent_loop.CallFunctions) and not gated
            if to_call and executor is not None and executor.has_capacity(state.orders):
                leased = await lease_new_calls(run, calls, executor.machine_id)
            await run.save()
            return RecordedStep(state, leased)

    async def report_retry(self, ref: RunRef, step: int, reason: str, retry_at: int | None) -> None:
        """Record on the run that the provider has a problem and the step will be retried."""
        async with self._database.write() as write:
            run = await LockedRun.lock(write, ref)
            if run.status is not RunStatus.RUNNING or run.record.step >= step:
                return
            run.set_waiting_for("model", reason, retry_at=retry_at, step=step)
            await run.save()

    async def abort_turn(
        self,
        ref: RunRef,
        step: int,
        trigger: Trigger,
        reason: str,
        *,
        attempt: int,
        rewinds: int | None = None,
    ) -> RunState:
        """Pause or fail a turn because of a provider error, unless the step was recorded meanwhile.

        `rewinds`: the count at the model request; nothing is aborted if the conversation was rewound since.
        """
        async with self._database.write() as write:
            run = await LockedRun.lock(write, ref)
            current = rewinds in {None, run.record.rewinds}
            if current and run.record.step < step and run.status is RunStatus.RUNNING:
                await run.abort_turn(trigger, reason)
                run.set(tries=run.record.tries + attempt)
                await run.save()
            return await run_state(run)


def _is_stale(run: LockedRun, step_input: StepInput) -> bool:
    """Whether the turn moved on, ended, was aborted or rewound while the model replied."""
    return (
        run.status is not RunStatus.RUNNING
        or run.record.step >= step_input.step
        or run.turn != step_input.run.turn
        or run.record.rewinds != step_input.run.rewinds
    )


class _RunView(NamedTuple):
    """A run that is read, not locked."""

    run: RunRecord
    cluster_context: str | None
    has_open_calls: bool


async def _read_run_view(read: Read, ref: RunRef) -> _RunView:
    of_run = {"of_cluster": ref.cluster_id, "of_run": ref.run_id}
    row = (await read.execute(_SELECT_RUN_VIEW, of_run)).mappings().one_or_none()
    if row is None:
        raise NotFoundError(f"There is no run {ref.run_id!r}.")
    columns = dict(row)
    context, has_open_calls = columns.pop("cluster_context"), columns.pop("has_open_calls")
    return _RunView(RunRecord(**columns), context, has_open_calls)


async def _after_reply(
    run: LockedRun, state: RunState, parsed: ParsedReply, seen: int
) -> LoopState:
    """The loop's state with the reply that was just written, which no message has followed yet."""
    # a result beside calls was given without their results, even if they are available at once
    output = replace(parsed.output, proposed=None, gave_up=None) if parsed.calls else parsed.output
    loop_state = state.loop_state()
    is_waiting = loop_state.unanswered or loop_state.oversized or loop_state.interrupted
    return replace(
        loop_state,
        cancel_wanted=run.record.cancel_reason is not None,
        output=output,
        unread=not is_waiting and await _has_unread(run.write, run.key, seen),
        wants_schema=run.record.result_schema is not None,
        corrections=run.record.corrections,
        steps=await _steps_of_turn(run.write, run),
    )


async def _has_unread(read: Read, run_key: int, seen: int) -> bool:
    of_run = {"of_run": run_key, "seen": seen}
    return (await read.execute(_UNREAD, of_run)).first() is not None


async def _steps_of_turn(read: Read, run: LockedRun) -> int:
    if run.record.step + 1 < agent_loop.MAX_STEPS_PER_TURN:
        return (
            run.record.step + 1
        )  # no turn can have more steps than the run; counting is needed for long runs only
    statement = select(func.count()).where(
        tables.steps.c.run_key == run.key, tables.steps.c.turn == run.turn
    )
    return int((await read.execute(statement)).scalar_one())
