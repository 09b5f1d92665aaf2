"""Calls, deliveries, and the function workers (machines) and functions behind them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    literal_column,
    true,
)

from orchestrator.store.tables.base import (
    BigKey,
    index_of_the_few,
    index_where,
    metadata,
    run_key_column,
)

_OPEN = "status IN ('pending', 'running')"
_UNSHOWN = "shown IS FALSE"

calls = Table(
    "calls",
    metadata,
    Column("key", BigKey, primary_key=True, autoincrement=True),
    run_key_column(),
    Column("id", String(26), nullable=False, unique=True),
    Column("cluster_id", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("service", String(50), nullable=False),
    Column("function", String(64), nullable=False),
    Column("input", Text, nullable=False),
    # where the model requested it; NULL for handlers
    Column("step", Integer),
    Column("tool_call_id", String(256)),
    Column("tool_name", String(128)),
    Column("reasoning", Text),
    # how it may be retried
    Column("config", Text, nullable=False, server_default="{}"),
    Column("cache_key", String(64)),
    Column("max_attempts", Integer, nullable=False),
    Column("timeout_ms", BigInteger, nullable=False),
    Column("deadline_ms", BigInteger, nullable=False),
    Column("heartbeats", Boolean, nullable=False, server_default=true()),
    # the state (handouts: leases)
    Column("status", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("handouts", Integer, nullable=False, server_default="0"),
    Column("acknowledged", Boolean, nullable=False, server_default=false()),
    Column("machine_id", String(256)),
    Column("task_token", LargeBinary),
    Column("last_error", Text),
    # the approval
    Column("interruptions", Integer, nullable=False, server_default="0"),
    Column("approval_requested_at", BigInteger),
    Column("approval_expires_at", BigInteger),
    Column("approval_message", Text),
    Column("approved", Boolean),
    Column("decided_at", BigInteger),
    Column("decided_by", String(256)),
    Column("decision_reason", Text),
    Column("original_input", Text),
    # the outcome
    Column("result_type", String(16)),
    Column("result_size", BigInteger),
    Column("result_is_text", Boolean, nullable=False, server_default=false()),
    Column("cached_from", String(26)),
    Column("cancelled", Boolean, nullable=False, server_default=false()),
    Column("oversized", Boolean, nullable=False, server_default=false()),
    Column("shown", Boolean, nullable=False, server_default=false()),
    Column("created_at", BigInteger, nullable=False),
    Column("handed_out_at", BigInteger),
    Column("finished_at", BigInteger),
    Index("ix_calls_run", "run_key", "key"),
    index_where(_OPEN, "ix_calls_open", "status", "created_at"),
    index_where(_UNSHOWN, "ix_calls_unshown", "run_key", "kind", "key"),
    index_where("approval_expires_at IS NOT NULL", "ix_calls_asked", "cluster_id", "key"),
    index_of_the_few("ix_calls_cache", "cache_key", "cluster_id", "finished_at"),
    index_of_the_few("ix_calls_approval", "approval_expires_at"),
)

OPEN_CALLS: ColumnElement[Any] = literal_column(f"calls.{_OPEN}")
"""SQL: calls that are to be made or in progress, in the words of their index."""
UNSHOWN_CALLS: ColumnElement[Any] = literal_column(f"calls.{_UNSHOWN}")
"""SQL: calls whose result the model has not seen, in the words of their index."""

call_results = Table(
    "call_results",
    metadata,
    Column("call_key", BigKey, ForeignKey("calls.key", ondelete="CASCADE"), primary_key=True),
    Column("content", Text, nullable=False),
)

blobs = Table(
    "blobs",
    metadata,
    Column("id", String(26), primary_key=True),
    run_key_column(),
    Column("call_key", BigKey, ForeignKey("calls.key", ondelete="CASCADE")),
    Column("cluster_id", String(64), nullable=False),
    Column("name", String(256), nullable=False),
    Column("type", String(64), nullable=False),
    Column("encoding", String(16), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("content", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_blobs_run", "run_key", "id"),
    Index("ix_blobs_call", "call_key"),
)

deliveries = Table(
    "deliveries",
    metadata,
    run_key_column(primary=True),
    Column("transition", Integer, primary_key=True, autoincrement=False),
    Column("call_key", BigKey, ForeignKey("calls.key", ondelete="CASCADE"), nullable=False),
    Column("status", String(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("settled_at", BigInteger),
    Index("ix_deliveries_open", "status", "run_key"),
    Index("ix_deliveries_call", "call_key"),
)

machines = Table(
    "machines",
    metadata,
    Column("cluster_id", String(64), ForeignKey("clusters.id"), primary_key=True),
    Column("id", String(256), primary_key=True),
    Column("heartbeats", Boolean, nullable=False),
    Column("alive_until", BigInteger, nullable=False),
    Column("ip", String(64)),
    Column("sdk", String(64)),
    Column("last_seen_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
)

functions = Table(
    "functions",
    metadata,
    Column("cluster_id", String(64), ForeignKey("clusters.id"), primary_key=True),
    Column("service", String(50), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("tool_name", String(128), nullable=False),
    Column("description", Text),
    Column("input_schema", Text),
    Column("config", Text, nullable=False, server_default="{}"),
    Column("private", Boolean, nullable=False, server_default=false()),
    Column("heartbeats", Boolean, nullable=False, server_default=true()),
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("cluster_id", "tool_name"),
)

function_notes = Table(
    "function_notes",
    metadata,
    Column("cluster_id", String(64), ForeignKey("clusters.id"), primary_key=True),
    Column("service", String(50), primary_key=True),
    Column("function", String(64), primary_key=True),
    Column("additional_context", Text),
    Column("updated_at", BigInteger, nullable=False),
)

registrations = Table(
    "registrations",
    metadata,
    Column("cluster_id", String(64), primary_key=True),
    Column("machine_id", String(256), primary_key=True),
    Column("service", String(50), primary_key=True),
    Column("function", String(64), primary_key=True),
    Index("ix_registrations_function", "cluster_id", "service", "function"),
)

crash_streaks = Table(
    "crash_streaks",
    metadata,
    Column("cluster_id", String(64), ForeignKey("clusters.id"), primary_key=True),
    Column("service", String(50), primary_key=True),
    Column("function", String(64), primary_key=True),
    Column("deaths", Integer, nullable=False),
    Column("machine_id", String(256), nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("paused_until", BigInteger, nullable=False),
)
"""Hosted functions whose processes died in a row without a result since, and the last of those workers."""
