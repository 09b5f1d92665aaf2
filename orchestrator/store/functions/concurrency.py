"""The number of running calls of one function, if its configuration limits that."""

from __future__ import annotations

from sqlalchemy import Select, bindparam, func, select

from orchestrator.rules.lifecycle import EXECUTING
from orchestrator.runtime.clock import now_ms
from orchestrator.store import tables
from orchestrator.store.database.engine import Read, Write
from orchestrator.store.functions.available import config_of
from orchestrator.store.records import CallRecord
from perdure.contract import CallStatus

calls, runs = tables.calls, tables.runs

_SLACK_MS = 30_000
"""A call whose timeout has passed by this long does not count as running, whatever happened to its worker."""

# Built once: building a statement costs more than sending it.
_LOCK = (
    select(tables.clusters.c.id)
    .where(tables.clusters.c.id == bindparam("of_cluster"))
    .with_for_update(key_share=True)
)
_COUNT_RUNNING: Select[int] = (
    select(func.count())
    .select_from(calls)
    .join(runs, runs.c.key == calls.c.run_key)
    .where(
        tables.OPEN_CALLS,
        calls.c.status == CallStatus.RUNNING.value,
        calls.c.cluster_id == bindparam("of_cluster"),
        calls.c.service == bindparam("of_service"),
        calls.c.function == bindparam("of_function"),
        calls.c.key != bindparam("but"),
        calls.c.handed_out_at + calls.c.timeout_ms > bindparam("since"),
        runs.c.status.in_(sorted(EXECUTING)),
    )
)


def concurrency_limit(call: CallRecord) -> int | None:
    """Calls of its function that may run at the same time, as configured when the call was made."""
    if '"concurrency"' not in call.config:
        return None
    return config_of(call.config).concurrency


async def count_running(
    read: Read, cluster_id: str, service: str, function: str, *, excluding: int = 0
) -> int:
    """Calls of a function that are running now; `excluding` is the key of one that does not count."""
    found = await read.execute(
        _COUNT_RUNNING,
        {
            "of_cluster": cluster_id,
            "of_service": service,
            "of_function": function,
            "but": excluding,
            "since": now_ms() - _SLACK_MS,
        },
    )
    return found.scalar_one()


async def is_at_capacity(write: Write, call: CallRecord) -> bool:
    """Whether the function is at its limit, so that this call must wait. Leases of limited functions are serialized."""
    limit = concurrency_limit(call)
    if limit is None:
        return False
    await write.execute(_LOCK, {"of_cluster": call.cluster_id})
    others = await count_running(
        write, call.cluster_id, call.service, call.function, excluding=call.key
    )
    return others >= limit
