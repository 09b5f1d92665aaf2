"""Runs and what belongs to them, except calls."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Float,
    ForeignKey,
    Index,
    Integer,
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

_ACTIVE_RUNS = "status IN ('pending', 'running')"

runs = Table(
    "runs",
    metadata,
    Column("key", BigKey, primary_key=True, autoincrement=True),
    Column("cluster_id", String(64), ForeignKey("clusters.id"), nullable=False),
    Column("id", String(128), nullable=False),
    # the request
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
    Column("kind", String(16), nullable=False, server_default="run"),
    Column("test", Boolean, nullable=False, server_default=false()),
    Column("mocks", Text),
    Column("tags", Text, nullable=False, server_default="[]"),
    Column("reasoning_traces", Boolean, nullable=False, server_default=true()),
    Column("priority", Integer, nullable=False, server_default="3"),
    Column("deadline_at", BigInteger),
    Column("budget", Text),
    Column("options", Text),  # JSON: the options without a column of their own
    Column("config_id", String(128)),
    Column("config_version", Integer),
    Column("name_source", String(16), nullable=False, server_default="given"),
    Column("auth_context", Text),
    Column("auth_token_hash", String(64)),
    Column("idempotency_key", String(256)),
    Column("request_hash", String(64), nullable=False),
    # the state (wake_wanted and wake_read: requests written and read)
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
    Column("rewinds", Integer, nullable=False, server_default="0"),
    Column("rewinds_read", Integer, nullable=False, server_default="0"),
    Column("cancel_reason", Text),
    Column("waiting_for", Text),
    Column("waiting_since", BigInteger),
    Column("parked", Boolean, nullable=False, server_default=false()),
    # the outcome
    Column("result", Text),
    Column("result_null_reason", Text),
    Column("failure_reason", Text),
    Column("paused_reason", Text),
    Column("paused_for", String(16)),
    Column("feedback_comment", Text),
    Column("feedback_score", Float),
    Column("input_tokens", BigInteger, nullable=False, server_default="0"),
    Column("output_tokens", BigInteger, nullable=False, server_default="0"),
    Column("cache_read_tokens", BigInteger, nullable=False, server_default="0"),
    Column("cache_write_tokens", BigInteger, nullable=False, server_default="0"),
    Column("model_calls", Integer, nullable=False, server_default="0"),
    Column("function_calls", Integer, nullable=False, server_default="0"),
    Column("cost_micros", BigInteger, nullable=False, server_default="0"),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    UniqueConstraint("cluster_id", "id"),
    UniqueConstraint("cluster_id", "idempotency_key"),
    Index("ix_runs_cluster_created", "cluster_id", "created_at", "key"),
    Index("ix_runs_cluster_status", "cluster_id", "status", "created_at", "key"),
    index_where(_ACTIVE_RUNS, "ix_runs_at_work", "status"),
    index_where("wake_wanted > wake_read", "ix_runs_unheard", "wake_at"),
    index_of_the_few("ix_runs_waiting", "waiting_since"),
    index_of_the_few("ix_runs_deadline", "deadline_at"),
    index_of_the_few("ix_runs_finished", "finished_at"),
    index_of_the_few("ix_runs_config", "config_id", "cluster_id", "created_at"),
)

ACTIVE_RUNS: ColumnElement[Any] = literal_column(f"runs.{_ACTIVE_RUNS}")
"""SQL: runs that are processed or should be, in the words of their index. Paused ones are excluded: there may be many."""

run_metadata = Table(
    "run_metadata",
    metadata,
    run_key_column(primary=True),
    Column("name", String(128), primary_key=True),
    Column("value", String(1024), nullable=False),
    Column("cluster_id", String(64), nullable=False),
    Index("ix_run_metadata_pair", "cluster_id", "name", "value", "run_key"),
)

run_tags = Table(
    "run_tags",
    metadata,
    run_key_column(primary=True),
    Column("tag", String(64), primary_key=True),
    Column("cluster_id", String(64), nullable=False),
    Index("ix_run_tags_tag", "cluster_id", "tag", "run_key"),
)

messages = Table(
    "messages",
    metadata,
    Column("key", BigKey, primary_key=True, autoincrement=True),
    run_key_column(),
    Column("id", String(128), nullable=False),
    Column("turn", Integer, nullable=False),
    Column("step", Integer),
    Column("type", String(32), nullable=False),
    Column("data", Text, nullable=False),
    Column("replaced_by", String(128)),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("run_key", "id"),
    Index("ix_messages_run", "run_key", "key"),
)

steps = Table(
    "steps",
    metadata,
    run_key_column(primary=True),
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
    Column("cost_micros", BigInteger, nullable=False, server_default="0"),
    Column("duration_ms", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

events = Table(
    "events",
    metadata,
    run_key_column(primary=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("type", String(64), nullable=False),
    Column("data", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_events_created", "created_at", "run_key", "version"),
)

run_configs = Table(
    "run_configs",
    metadata,
    Column("cluster_id", String(64), ForeignKey("clusters.id"), primary_key=True),
    Column("id", String(128), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("name", String(256), nullable=False),
    Column("content", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
)

run_config_versions = Table(
    "run_config_versions",
    metadata,
    Column("cluster_id", String(64), ForeignKey("clusters.id"), primary_key=True),
    Column("id", String(128), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("name", String(256), nullable=False),
    Column("content", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
