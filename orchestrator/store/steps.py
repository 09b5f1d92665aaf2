"""Model steps: begun, recorded once, or broken off.

`begin` and `record` are the two transactions of a step. A step that is recorded is never recorded again and never
paid again: whoever comes second gets the standing that the first one left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pydantic import JsonValue
from sqlalchemy import bindparam, func, insert, select

from orchestrator import agent
from orchestrator.activity_interface import LostCall, RunRef, Standing
from orchestrator.agent import Situation
from orchestrator.clock import to_datetime
from orchestrator.errors import NotFoundError
from orchestrator.lifecycle import Move, is_final
from orchestrator.reply import OfferedFunction, Plan
from orchestrator.store import tables
from orchestrator.store.call_rows import answer_lost, insert_calls, open_calls, order_of, read_part
from orchestrator.store.engine import Database, Read
from orchestrator.store.functions import offered
from orchestrator.store.json_text import load
from orchestrator.store.messages import entries_after
from orchestrator.store.open_run import OpenRun
from orchestrator.store.records import RunRecord
from orchestrator.store.replies import ReplyWriter
from orchestrator.transcript import Entry
from perdure.contract import FunctionReference, MessageType, RunStatus

# Made once: building a statement costs more than sending it.
_FIND = select(tables.runs).where(
    tables.runs.c.cluster_id == bindparam("of_cluster"), tables.runs.c.id == bindparam("of_run")
)
_INSERT = insert(tables.steps)


@dataclass(frozen=True, slots=True)
class Question:
    """What a model step needs to know. `entries` are the transcript after `after`."""

    run: RunRecord
    step: int
    functions: tuple[OfferedFunction, ...]
    after: int
    entries: tuple[Entry, ...]


async def standing_of(read: Read, run_key: int, status: RunStatus, step: int, now: int) -> Standing:
    """What the workflow is told: where the run stands, which calls are open, which results are too long."""
    if is_final(status) or status is RunStatus.PAUSED:
        return Standing(status.value, step)
    calls = await open_calls(read, run_key)
    return Standing(
        status.value,
        step,
        [order_of(call, now) for call in calls if call.result_type is None],
        [call.id for call in calls if call.result_type is not None],
    )


class StepStore:
    """The two transactions of a model step, and the ways it can be broken off."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(
        self, ref: RunRef, step: int, *, lost: list[LostCall], attempt: int, known: tuple[int, int]
    ) -> Question | Standing:
        """Ask what the model is to be asked; a `Standing` where it is not the model's turn.

        `step` 0 means the next one. `known` is (run key, last message key) of a transcript the caller has.
        """
        question = None
        if not lost and attempt == 1:
            question = await self._peek(ref, step, known)
        return question or await self._begin(ref, step, lost, attempt, known)

    async def _peek(self, ref: RunRef, step: int, known: tuple[int, int]) -> Question | None:
        """The quick way of a step in the middle of a turn: there is nothing to write."""
        async with self._database.read() as read:
            run = await _find(read, ref)
            quiet = (
                run.status == RunStatus.RUNNING.value
                and run.wake_read == run.wake_wanted
                and run.cancel_reason is None
                and run.waiting_for is None
                and step == run.step + 1
            )
            if not quiet or await open_calls(read, run.key):
                return None
            return await _question(read, run, known)

    async def _begin(
        self, ref: RunRef, step: int, lost: list[LostCall], attempt: int, known: tuple[int, int]
    ) -> Question | Standing:
        async with self._database.write() as write:
            run = await OpenRun.lock(write, ref)
            for call in lost:
                await answer_lost(run, call)
            run.read_wishes()
            if run.record.cancel_reason is not None and not is_final(run.status):
                await run.move(Move.CANCEL, reason=run.record.cancel_reason)
            standing = await standing_of(write, run.key, run.status, run.record.step, run.now)
            ask = agent.next_step(standing.situation()) == agent.CallModel()
            ask = ask and (step in {0, run.record.step + 1})
            if ask and run.status is RunStatus.PENDING:
                await run.move(Move.BEGIN)
            if ask and attempt > 1:
                run.event("step.attempted", step=run.record.step + 1, attempt=attempt)
            await run.save()
            if not ask:
                return replace(standing, status=run.status.value)
            return await _question(write, run.record, known)

    async def record(
        self, question: Question, plan: Plan, *, seen: int, attempt: int, duration_ms: int
    ) -> Standing:
        """Record a reply with all it asks for, and decide what it means; or drop it, if it came too late.

        `seen` is the key of the last message the model was shown.
        """
        async with self._database.write() as write:
            run = await OpenRun.lock(write, RunRef(question.run.cluster_id, question.run.id))
            if _is_late(run, question):
                run.event("step.dropped", step=question.step, usage=_usage_data(plan))
                await run.save()
                return await standing_of(write, run.key, run.status, run.record.step, run.now)
            writer = ReplyWriter(run, question.step, seen)
            message_key = await writer.write_message(plan)
            await _write_step(
                run, question.step, plan, message_key, attempt=attempt, duration_ms=duration_ms
            )
            call_ids = await insert_calls(run, question.step, plan.calls)
            for answer in plan.answers:
                await writer.write_answer(answer)
            for part in plan.reads:
                await writer.write_answer(await read_part(write, run.key, part))
            decision = agent.next_step(await _situation(run, plan, call_ids, seen))
            await writer.apply(decision, plan)
            run.stop_waiting()
            await run.save()
            return await standing_of(write, run.key, run.status, question.step, run.now)

    async def note_retry(self, ref: RunRef, step: int, reason: str, retry_at: int | None) -> None:
        """The provider is in trouble and the step will be tried again: say so on the run."""
        async with self._database.write() as write:
            run = await OpenRun.lock(write, ref)
            if run.status is not RunStatus.RUNNING or run.record.step >= step:
                return
            when = None if retry_at is None else to_datetime(retry_at).isoformat()
            run.wait_for("model", reason, retryAt=when, step=step)
            await run.save()

    async def break_off(
        self, ref: RunRef, step: int, move: Move, reason: str, *, attempt: int
    ) -> Standing:
        """Pause or fail a turn because of what the provider said, unless the step was recorded meanwhile."""
        async with self._database.write() as write:
            run = await OpenRun.lock(write, ref)
            if run.record.step < step and run.status is RunStatus.RUNNING:
                await run.break_off(move, reason)
                run.set(tries=run.record.tries + attempt)
                await run.save()
            return await standing_of(write, run.key, run.status, run.record.step, run.now)


def _is_late(run: OpenRun, question: Question) -> bool:
    """Whether the turn moved on, ended or was broken off while the model answered."""
    return (
        run.status is not RunStatus.RUNNING
        or run.record.step >= question.step
        or run.turn != question.run.turn
    )


async def _write_step(
    run: OpenRun, step: int, plan: Plan, message_key: int, *, attempt: int, duration_ms: int
) -> None:
    usage, record = plan.reply.usage, run.record
    await run.write.execute(
        _INSERT,
        {
            "run_key": run.key,
            "step": step,
            "turn": run.turn,
            "attempt": attempt,
            "model": plan.reply.model or record.model,
            "stop": plan.reply.stop.value,
            "message_key": message_key,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cache_read_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "duration_ms": duration_ms,
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
    )
    run.event(
        "step.recorded",
        step=step,
        turn=run.turn,
        model=plan.reply.model or record.model,
        stop=plan.reply.stop.value,
        usage=_usage_data(plan),
    )


async def _find(read: Read, ref: RunRef) -> RunRecord:
    of_run = {"of_cluster": ref.cluster_id, "of_run": ref.run_id}
    row = (await read.execute(_FIND, of_run)).mappings().one_or_none()
    if row is None:
        raise NotFoundError(f"There is no run {ref.run_id!r}.")
    return RunRecord(**row)


async def _question(read: Read, run: RunRecord, known: tuple[int, int]) -> Question:
    attached = None
    if run.attached_functions is not None:
        refs = load(run.attached_functions)
        attached = [
            FunctionReference.model_validate(ref)
            for ref in (refs if isinstance(refs, list) else [])
        ]
    after = known[1] if known[0] == run.key else 0
    return Question(
        run=run,
        step=run.step + 1,
        functions=await offered(read, run.cluster_id, attached),
        after=after,
        entries=tuple(await entries_after(read, run.key, after)),
    )


async def _situation(run: OpenRun, plan: Plan, call_ids: tuple[str, ...], seen: int) -> Situation:
    return Situation(
        status=run.status,
        cancel_wanted=run.record.cancel_reason is not None,
        unanswered=call_ids,
        said=plan.said,
        unread=not call_ids and await _has_unread(run.write, run.key, seen),
        wants_schema=run.record.result_schema is not None,
        corrections=run.record.corrections,
        steps=await _steps_of_turn(run.write, run),
    )


async def _has_unread(read: Read, run_key: int, seen: int) -> bool:
    statement = select(tables.messages.c.key).where(
        tables.messages.c.run_key == run_key,
        tables.messages.c.key > seen,
        tables.messages.c.type.in_([MessageType.HUMAN.value, MessageType.SUPERVISOR.value]),
    )
    return (await read.execute(statement.limit(1))).first() is not None


async def _steps_of_turn(read: Read, run: OpenRun) -> int:
    if run.record.step + 1 < agent.MAX_STEPS_PER_TURN:
        return run.record.step + 1  # no turn can have more than the run; counting is for long runs
    statement = select(func.count()).where(
        tables.steps.c.run_key == run.key, tables.steps.c.turn == run.turn
    )
    return int((await read.execute(statement)).scalar_one())


def _usage_data(plan: Plan) -> dict[str, JsonValue]:
    usage = plan.reply.usage
    return {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "cacheReadTokens": usage.cache_read_tokens,
        "cacheWriteTokens": usage.cache_write_tokens,
    }
