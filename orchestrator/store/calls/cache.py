"""Cached results: looked up when a call is written, by the policy of its function."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, select

from orchestrator.rules.cache_keys import cache_key
from orchestrator.rules.model_reply import RequestedCall
from orchestrator.runtime.clock import now_ms
from orchestrator.store import tables
from orchestrator.store.calls.rows import UPDATE_CALL, find_call, record_result
from orchestrator.store.database.engine import Read
from orchestrator.store.functions.available import config_of
from orchestrator.store.records import RunRecord
from orchestrator.store.runs.locked_run import LockedRun
from orchestrator.store.sealed_fields import open_contexts
from perdure.contract import CachePolicy, CallStatus, ResultType
from perdure.contract.event_types import CallCached

calls = tables.calls

# Built once: building a statement costs more than sending it.
_HIT = (
    select(calls.c.id, calls.c.result_is_text, tables.call_results.c.content)
    .join(tables.call_results, tables.call_results.c.call_key == calls.c.key)
    .where(
        calls.c.cache_key == bindparam("of_key"),
        calls.c.cluster_id == bindparam("of_cluster"),
        calls.c.status == CallStatus.SUCCESS.value,
        calls.c.finished_at > bindparam("since"),
        calls.c.approved.is_(None),  # an approval holds for one call, not for later ones
    )
    .order_by(calls.c.finished_at.desc())
    .limit(1)
)


async def use_cached_results(
    run: LockedRun, call_ids: Sequence[str], requested: Sequence[RequestedCall]
) -> None:
    """Answer those new calls whose result is cached, and let the results of the others be cached.

    Test runs neither use nor fill the cache, and calls that need an approval are run each time.
    """
    for call_id, call in zip(call_ids, requested, strict=True):
        policy = _policy(run.record, call)
        if policy is not None:
            await _apply_cache(run, call_id, call, policy)


def _policy(run: RunRecord, call: RequestedCall) -> CachePolicy | None:
    if run.test or '"cache"' not in call.function.config:
        return None
    config = config_of(call.function.config)
    return None if config.requires_approval else config.cache


async def _apply_cache(
    run: LockedRun, call_id: str, requested: RequestedCall, policy: CachePolicy
) -> None:
    record = run.record
    contexts = open_contexts(run.write.cipher, record)
    key = cache_key(
        (record.cluster_id, requested.function.service, requested.function.name),
        policy.key_path,
        requested.tool_call.input,
        asker=contexts,
    )
    call = await find_call(run.write, record.cluster_id, call_id)
    if key is None or call is None or call.result_type is not None:
        return
    hit = await _find(run.write, record.cluster_id, key, policy)
    if hit is None:
        await run.write.execute(UPDATE_CALL, {"of_key": call.key, "cache_key": key})
        return
    original, is_text, content = hit
    run.event(
        CallCached(
            call_id=call_id,
            service=call.service,
            function=call.function,
            cached_from=original,
        )
    )
    await run.write.execute(UPDATE_CALL, {"of_key": call.key, "cached_from": original})
    await record_result(run, call, ResultType.RESOLUTION, content, is_text=is_text)


async def _find(
    read: Read, cluster_id: str, key: str, policy: CachePolicy
) -> tuple[str, bool, str] | None:
    since = now_ms() - int(policy.ttl_seconds * 1000)
    found = await read.execute(_HIT, {"of_key": key, "of_cluster": cluster_id, "since": since})
    row = found.one_or_none()
    return None if row is None else (row[0], row[1], row[2])
