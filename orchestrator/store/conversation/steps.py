"""Model steps: begun, recorded once, or broken off.

`begin` and `record` are the two transactions of a step. A step that is recorded is never recorded again and never
paid again: whoever comes second gets the standing that the first one left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from sqlalchemy import bindparam, exists, func, insert, or_, select

from orchestrator.errors import NotFoundError
from orchestrator.rules import agent_loop as agent
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
from orchestrator.store.conversation.step_input import Known, Question, cluster_context, question_of
from orchestrator.store.database.engine import Database, Read
from orchestrator.store.database.prepared import once, quick
from orchestrator.store.records import CallRecord, RunRecord
from orchestrator.store.runs.creation import priority_of
from orchestrator.store.runs.limits import count_calls, fail_overdue, is_over_limits, pause_used_up
from orchestrator.store.runs.locked_run import OpenRun
from orchestrator.workflows.interface import RunRef, RunState, TimedOutCall
from perdure.contract import CallStatus, MessageType, RunStatus
from perdure.contract.event_types import StepAttempted, StepDropped, StepRecorded, TokenCounts

# Made once: building a statement costs more than sending it.
_PEEK = once(
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
_INSERT = quick(insert(tables.steps))
_UNREAD = quick(
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


async def standing_of(
    run: OpenRun, step: int | None = None, *, calls: Sequence[CallRecord] | None = None
) -> RunState:
    """What the workflow is told: where the run stands, which calls are open, which results are too long.

    While some calls wait for a person the others are made; in every other pause none is. `calls`: those that are open,
    where that is known.
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


class Recorded(NamedTuple):
    """Where the run stands after a reply, and the calls of it that were given to its recorder."""

    standing: RunState
    handed: tuple[Leased, ...] = ()


class StepStore:
    """The two transactions of a model step, and the ways it can be broken off."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(
        self, ref: RunRef, step: int, *, lost: list[TimedOutCall], attempt: int, known: Known
    ) -> Question | RunState:
        """Ask what the model is to be asked; a `RunState` where it is not the model's turn.

        `step` 0 means the next one. `cursor` is what the caller has of the transcript.
        """
        question = None
        if not lost and attempt == 1:
            question = await self._peek(ref, step, known)
        return question or await self._begin(ref, step, lost, attempt, known)

    async def _peek(self, ref: RunRef, step: int, known: Known) -> Question | None:
        """The quick way of a step in the middle of a turn: there is nothing to write."""
        # Who knows the transcript so far reads little more than the run's own row.
        look = self._database.glance if known.last_key else self._database.read
        async with look() as read:
            seen = await _look(read, ref)
            run = seen.run
            quiet = (
                not seen.has_open_calls
                and run.status == RunStatus.RUNNING.value
                and run.wake_read == run.wake_wanted
                and run.cancel_reason is None
                and run.waiting_for is None
                and step == run.step + 1
            )
            if not quiet or is_over_limits(run, now_ms()):
                return None
            return await question_of(read, run, known, context=seen.cluster_context)

    async def _begin(
        self, ref: RunRef, step: int, lost: list[TimedOutCall], attempt: int, known: Known
    ) -> Question | RunState:
        async with self._database.write() as write:
            run = await OpenRun.lock(write, ref)
            for call in lost:
                await record_timeout(run, call)
            run.read_wishes()
            if run.record.cancel_reason is not None and not is_final(run.status):
                await run.move(Trigger.CANCEL, reason=run.record.cancel_reason)
            await fail_overdue(run)
            standing = await standing_of(run)
            if standing.interrupted and run.status is not RunStatus.PAUSED:
                await pause_for_approval(run)
                standing = await standing_of(run)
            ask = agent.next_action(standing.loop_state()) == agent.CallModel()
            ask = ask and (step in {0, run.record.step + 1}) and run.record.kind != DIRECT
            # a turn that begins with calls of the former one is under way too
            if run.status is RunStatus.PENDING and (ask or standing.orders or standing.oversized):
                await run.move(Trigger.BEGIN)
            ask = ask and not await pause_used_up(run)
            if ask and attempt > 1:
                run.event(StepAttempted(step=run.record.step + 1, attempt=attempt))
            await run.save()
            if not ask:
                return replace(standing, status=run.status.value)
            context = await cluster_context(write, run.record)
            return await question_of(write, run.record, known, context=context)

    async def record(
        self,
        question: Question,
        plan: ParsedReply,
        *,
        seen: int,
        attempt: int,
        duration_ms: int,
        cost_micros: int = 0,
        maker: CallExecutor | None = None,
    ) -> Recorded:
        """Record a reply with all it asks for, and decide what it means; or drop it, if it came too late.

        `requests` is the key of the last message the model was shown, `cost_micros` the reply's price in micro-dollars.
        The calls are given to the `executor` at once, if it has room for them all; it must begin them then.
        """
        async with self._database.write() as write:
            run = await OpenRun.lock(write, RunRef(question.run.cluster_id, question.run.id))
            if _is_late(run, question):
                run.event(StepDropped(step=question.step, usage=_usage_data(plan)))
                await run.save()
                return Recorded(replace(await standing_of(run), late=True))
            writer = ReplyWriter(run, question.step, seen)
            message_key = await writer.write_message(plan)
            effort = _Effort(attempt, duration_ms, cost_micros)
            await _write_step(run, question.step, plan, message_key, effort)
            call_ids = await insert_calls(run, question.step, plan.calls)
            await count_calls(run, len(call_ids))
            await use_mocked_results(run, call_ids, plan.calls)
            await use_cached_results(run, call_ids, plan.calls)
            for answer in plan.answers:
                await writer.write_answer(answer)
            for part in plan.reads:
                await writer.write_answer(await read_result_slice(write, run.key, part))
            waiting = await open_calls(write, run.key) if plan.calls else []
            asked = await require_approvals(run, waiting)
            decision = agent.next_action(await _situation(run, plan, waiting, seen))
            await writer.apply(decision, plan)
            if asked:
                await pause_for_approval(run)
            run.stop_waiting()
            standing = await standing_of(
                run, question.step, calls=None if asked or not plan.calls else waiting
            )
            handed: tuple[Leased, ...] = ()
            to_call = isinstance(decision, agent.CallFunctions) and not asked
            if to_call and maker is not None and maker.has_capacity(standing.orders):
                handed = await lease_new_calls(run, waiting, maker.machine_id)
            await run.save()
            return Recorded(standing, handed)

    async def note_retry(self, ref: RunRef, step: int, reason: str, retry_at: int | None) -> None:
        """The provider is in trouble and the step will be tried again: say so on the run."""
        async with self._database.write() as write:
            run = await OpenRun.lock(write, ref)
            if run.status is not RunStatus.RUNNING or run.record.step >= step:
                return
            run.wait_for("model", reason, retry_at=retry_at, step=step)
            await run.save()

    async def break_off(
        self,
        ref: RunRef,
        step: int,
        move: Trigger,
        reason: str,
        *,
        attempt: int,
        rewinds: int | None = None,
    ) -> RunState:
        """Pause or fail a turn because of what the provider said, unless the step was recorded meanwhile.

        `rewinds`: those that the question knew; nothing is broken off where the conversation went back since.
        """
        async with self._database.write() as write:
            run = await OpenRun.lock(write, ref)
            current = rewinds in {None, run.record.rewinds}
            if current and run.record.step < step and run.status is RunStatus.RUNNING:
                await run.break_off(move, reason)
                run.set(tries=run.record.tries + attempt)
                await run.save()
            return await standing_of(run)


def _is_late(run: OpenRun, question: Question) -> bool:
    """Whether the turn moved on, ended, was broken off or went back while the model answered."""
    return (
        run.status is not RunStatus.RUNNING
        or run.record.step >= question.step
        or run.turn != question.run.turn
        or run.record.rewinds != question.run.rewinds
    )


@dataclass(frozen=True, slots=True)
class _Effort:
    """What a reply took."""

    attempt: int
    duration_ms: int
    cost_micros: int


async def _write_step(
    run: OpenRun, step: int, plan: ParsedReply, message_key: int, effort: _Effort
) -> None:
    usage, record = plan.reply.usage, run.record
    await run.write.execute(
        _INSERT,
        {
            "run_key": run.key,
            "step": step,
            "turn": run.turn,
            "attempt": effort.attempt,
            "model": plan.reply.model or record.model,
            "stop": plan.reply.stop.value,
            "message_key": message_key,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cache_read_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "cost_micros": effort.cost_micros,
            "duration_ms": effort.duration_ms,
            "created_at": run.now,
        },
    )
    run.set(
        step=step,
        tries=0,
        input_tokens=record.input_tokens + usage.input_tokens,
        output_tokens=record.output_tokens + usage.output_tokens,
        cache_read_tokens=record.cache_read_tokens + usage.cache_read_tokens,
        cache_write_tokens=record.cache_write_tokens + usage.cache_write_tokens,
        model_calls=record.model_calls + 1,
        cost_micros=record.cost_micros + effort.cost_micros,
    )
    run.event(
        StepRecorded(
            step=step,
            turn=run.turn,
            model=plan.reply.model or record.model,
            stop=plan.reply.stop.value,
            usage=_usage_data(plan),
        )
    )


class _Sight(NamedTuple):
    """A run that is looked at, not locked."""

    run: RunRecord
    cluster_context: str | None
    has_open_calls: bool


async def _look(read: Read, ref: RunRef) -> _Sight:
    of_run = {"of_cluster": ref.cluster_id, "of_run": ref.run_id}
    row = (await read.execute(_PEEK, of_run)).mappings().one_or_none()
    if row is None:
        raise NotFoundError(f"There is no run {ref.run_id!r}.")
    columns = dict(row)
    context, has_open_calls = columns.pop("cluster_context"), columns.pop("has_open_calls")
    return _Sight(RunRecord(**columns), context, has_open_calls)


async def _situation(
    run: OpenRun, plan: ParsedReply, waiting: Sequence[CallRecord], seen: int
) -> LoopState:
    # a result beside calls was given without their results, even where those are there at once
    said = replace(plan.output, proposed=None, gave_up=None) if plan.calls else plan.output
    return LoopState(
        status=run.status,
        cancel_wanted=run.record.cancel_reason is not None,
        unanswered=tuple(call.id for call in waiting if call.result_type is None),
        oversized=tuple(call.id for call in waiting if call.result_type is not None),
        output=said,
        unread=not waiting and await _has_unread(run.write, run.key, seen),
        wants_schema=run.record.result_schema is not None,
        corrections=run.record.corrections,
        steps=await _steps_of_turn(run.write, run),
    )


async def _has_unread(read: Read, run_key: int, seen: int) -> bool:
    of_run = {"of_run": run_key, "seen": seen}
    return (await read.execute(_UNREAD, of_run)).first() is not None


async def _steps_of_turn(read: Read, run: OpenRun) -> int:
    if run.record.step + 1 < agent.MAX_STEPS_PER_TURN:
        return run.record.step + 1  # no turn can have more than the run; counting is for long runs
    statement = select(func.count()).where(
        tables.steps.c.run_key == run.key, tables.steps.c.turn == run.turn
    )
    return int((await read.execute(statement)).scalar_one())


def _usage_data(plan: ParsedReply) -> TokenCounts:
    usage = plan.reply.usage
    return {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "cacheReadTokens": usage.cache_read_tokens,
        "cacheWriteTokens": usage.cache_write_tokens,
    }
