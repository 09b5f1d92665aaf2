"""The row of a recorded model step, and what it adds to its run."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import insert

from orchestrator.rules.model_reply import ParsedReply
from orchestrator.store import tables
from orchestrator.store.database.prepared import prepared_inline
from orchestrator.store.runs.locked_run import LockedRun
from perdure.contract.event_types import StepRecorded, TokenCounts

_INSERT = prepared_inline(insert(tables.steps))


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """Time and tokens of a reply."""

    attempt: int
    duration_ms: int
    cost_micros: int


async def write_step(
    run: LockedRun, step: int, parsed: ParsedReply, message_key: int, metrics: StepMetrics
) -> None:
    """Insert the row of a recorded step, add its usage to the run and record the event."""
    usage, record = parsed.reply.usage, run.record
    await run.write.execute(
        _INSERT,
        {
            "run_key": run.key,
            "step": step,
            "turn": run.turn,
            "attempt": metrics.attempt,
            "model": parsed.reply.model or record.model,
            "stop": parsed.reply.stop.value,
            "message_key": message_key,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cache_read_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "cost_micros": metrics.cost_micros,
            "duration_ms": metrics.duration_ms,
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
        cost_micros=record.cost_micros + metrics.cost_micros,
    )
    run.event(
        StepRecorded(
            step=step,
            turn=run.turn,
            model=parsed.reply.model or record.model,
            stop=parsed.reply.stop.value,
            usage=token_counts(parsed),
        )
    )


def token_counts(parsed: ParsedReply) -> TokenCounts:
    """The tokens of a reply as events report them."""
    usage = parsed.reply.usage
    return {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "cacheReadTokens": usage.cache_read_tokens,
        "cacheWriteTokens": usage.cache_write_tokens,
    }
