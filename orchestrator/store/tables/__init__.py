"""The tables, and nothing else. Times are milliseconds since the epoch (UTC); JSON is stored as text.

JSON stays text on both databases on purpose: what a function or a model wrote must be returned as it was written,
and PostgreSQL's `jsonb` rejects some of it (NUL escapes) and reorders the rest.

A run has two keys: `id` is public and unique within its cluster; `key` is a number that never leaves the store and that
all rows of the run refer to.
"""

from __future__ import annotations

from orchestrator.store.tables.base import (
    metadata,
)
from orchestrator.store.tables.calls import (
    OPEN_CALLS,
    UNSHOWN_CALLS,
    blobs,
    call_results,
    calls,
    crash_streaks,
    deliveries,
    function_notes,
    functions,
    machines,
    registrations,
)
from orchestrator.store.tables.clusters import (
    api_keys,
    audit_entries,
    cluster_contexts,
    clusters,
    usage_days,
    webhook_secrets,
)
from orchestrator.store.tables.runs import (
    ACTIVE_RUNS,
    events,
    messages,
    run_config_versions,
    run_configs,
    run_metadata,
    run_tags,
    runs,
    steps,
)

__all__ = [
    "ACTIVE_RUNS",
    "OPEN_CALLS",
    "UNSHOWN_CALLS",
    "api_keys",
    "audit_entries",
    "blobs",
    "call_results",
    "calls",
    "cluster_contexts",
    "clusters",
    "crash_streaks",
    "deliveries",
    "events",
    "function_notes",
    "functions",
    "machines",
    "messages",
    "metadata",
    "registrations",
    "run_config_versions",
    "run_configs",
    "run_metadata",
    "run_tags",
    "runs",
    "steps",
    "usage_days",
    "webhook_secrets",
]
