"""The tables, and nothing else. Times are milliseconds since the epoch (UTC); JSON is kept as text.

JSON stays text on both databases on purpose: what a function or a model wrote must come back as it was written,
and PostgreSQL's `jsonb` refuses some of it (NUL escapes) and reorders the rest.

A run has two names: `id` is what the world says, unique within its cluster; `key` is a number that never leaves
the store and that everything belonging to the run refers to.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    true,
)

# stable

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

BigKey = BigInteger().with_variant(Integer(), "sqlite")
"""A number that counts up by itself; SQLite does so only for INTEGER."""


def _run_key(*, primary: bool = False) -> Column[int]:
    return Column(
        "run_key",
        BigKey,
        ForeignKey("runs.key", ondelete="CASCADE"),
        primary_key=primary,
        nullable=False,
    )


clusters = Table(
    "clusters",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(256), nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("cluster_id", String(64), ForeignKey("clusters.id"), nullable=False),
    Column("name", String(256), nullable=False),
    Column("key_hash", String(64), nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
)

runs = Table(
    "runs",
    metadata,
    Column("key", BigKey, primary_key=True, autoincrement=True),
    Column("cluster_id", String(64), ForeignKey("clusters.id"), nullable=False),
    Column("id", String(128), nullable=False),
    # what was asked
    Column("name", String(256), nullable=False),
    Column("model", String(160), nullable=False),
    Column("system_prompt", Text),
    Column("result_schema", Text),
    Column("attached_functions", Text),
    Column("on_status_change", Text),
    Column("metadata", Text, nullable=False, server_default="{}"),
    Column("context", Text),
    Column("interactive", Boolean, nullable=False, server_default=true()),
    Column("call_summarization", Boolean, nullable=False, server_default=true()),
    Column("idempotency_key", String(256)),
    Column("request_hash", String(64), nullable=False),
    # where it stands
    Column("status", String(16), nullable=False),
    Column("turn", Integer, nullable=False, server_default="1"),
    Column("step", Integer, nullable=False, server_default="0"),
    Column("corrections", Integer, nullable=False, server_default="0"),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("version", Integer, nullable=False, server_default="0"),
    Column("transition", Integer, nullable=False, server_default="0"),
    Column("wake_wanted", Integer, nullable=False, server_default="0"),
    Column("wake_read", Integer, nullable=False, server_default="0"),
    Column("wake_at", BigInteger, nullable=False, server_default="0"),
    Column("seen_message", BigInteger, nullable=False, server_default="0"),
    Column("cancel_reason", Text),
    Column("waiting_for", Text),
    Column("waiting_since", BigInteger),
    Column("parked", Boolean, nullable=False, server_default=false()),
    # what came of it
    Column("result", Text),
    Column("result_null_reason", Text),
    Column("failure_reason", Text),
    Column("paused_reason", Text),
    Column("input_tokens", BigInteger, nullable=False, server_default="0"),
    Column("output_tokens", BigInteger, nullable=False, server_default="0"),
    Column("cache_read_tokens", BigInteger, nullable=False, server_default="0"),
    Column("cache_write_tokens", BigInteger, nullable=False, server_default="0"),
    Column("model_calls", Integer, nullable=False, server_default="0"),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    UniqueConstraint("cluster_id", "id"),
    UniqueConstraint("cluster_id", "idempotency_key"),
    Index("ix_runs_cluster_created", "cluster_id", "created_at", "key"),
    Index("ix_runs_cluster_status", "cluster_id", "status", "created_at", "key"),
    Index("ix_runs_status", "status"),
)

run_metadata = Table(
    "run_metadata",
    metadata,
    _run_key(primary=True),
    Column("name", String(128), primary_key=True),
    Column("value", String(1024), nullable=False),
    Column("cluster_id", String(64), nullable=False),
    Index("ix_run_metadata_pair", "cluster_id", "name", "value", "run_key"),
)

messages = Table(
    "messages",
    metadata,
    Column("key", BigKey, primary_key=True, autoincrement=True),
    _run_key(),
    Column("id", String(128), nullable=False),
    Column("turn", Integer, nullable=False),
    Column("step", Integer),
    Column("type", String(32), nullable=False),
    Column("data", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("run_key", "id"),
    Index("ix_messages_run", "run_key", "key"),
)

steps = Table(
    "steps",
    metadata,
    _run_key(primary=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("turn", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("model", String(160), nullable=False),
    Column("stop", String(16), nullable=False),
    Column("message_key", BigInteger, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cache_read_tokens", BigInteger, nullable=False),
    Column("cache_write_tokens", BigInteger, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

calls = Table(
    "calls",
    metadata,
    Column("key", BigKey, primary_key=True, autoincrement=True),
    _run_key(),
    Column("id", String(26), nullable=False, unique=True),
    Column("cluster_id", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("service", String(50), nullable=False),
    Column("function", String(64), nullable=False),
    Column("input", Text, nullable=False),
    # where the model asked for it; NULL for handlers
    Column("step", Integer),
    Column("tool_call_id", String(256)),
    Column("tool_name", String(128)),
    # how it may be tried
    Column("max_attempts", Integer, nullable=False),
    Column("timeout_ms", BigInteger, nullable=False),
    Column("deadline_ms", BigInteger, nullable=False),
    Column("heartbeats", Boolean, nullable=False, server_default=true()),
    # where it stands
    Column("status", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("handouts", Integer, nullable=False, server_default="0"),
    Column("acknowledged", Boolean, nullable=False, server_default=false()),
    Column("machine_id", String(256)),
    Column("task_token", LargeBinary),
    Column("last_error", Text),
    # what came of it
    Column("result_type", String(16)),
    Column("result_size", BigInteger),
    Column("oversized", Boolean, nullable=False, server_default=false()),
    Column("shown", Boolean, nullable=False, server_default=false()),
    Column("created_at", BigInteger, nullable=False),
    Column("handed_out_at", BigInteger),
    Column("finished_at", BigInteger),
    Index("ix_calls_run", "run_key", "key"),
    Index("ix_calls_open", "status", "created_at"),
)

call_results = Table(
    "call_results",
    metadata,
    Column("call_key", BigKey, ForeignKey("calls.key", ondelete="CASCADE"), primary_key=True),
    Column("content", Text, nullable=False),
)

events = Table(
    "events",
    metadata,
    _run_key(primary=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("type", String(64), nullable=False),
    Column("data", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    _run_key(primary=True),
    Column("transition", Integer, primary_key=True, autoincrement=False),
    Column("call_key", BigKey, ForeignKey("calls.key", ondelete="CASCADE"), nullable=False),
    Column("status", String(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("settled_at", BigInteger),
    Index("ix_deliveries_open", "status", "created_at"),
)

machines = Table(
    "machines",
    metadata,
    Column("cluster_id", String(64), ForeignKey("clusters.id"), primary_key=True),
    Column("id", String(256), primary_key=True),
    Column("heartbeats", Boolean, nullable=False),
    Column("alive_until", BigInteger, nullable=False),
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

registrations = Table(
    "registrations",
    metadata,
    Column("cluster_id", String(64), primary_key=True),
    Column("machine_id", String(256), primary_key=True),
    Column("service", String(50), primary_key=True),
    Column("function", String(64), primary_key=True),
    Index("ix_registrations_function", "cluster_id", "service", "function"),
)
