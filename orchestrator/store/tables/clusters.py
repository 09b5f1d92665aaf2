"""Tenants, their API keys, and their audit trail."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    false,
)

from orchestrator.store.tables.base import BigKey, metadata

clusters = Table(
    "clusters",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(256), nullable=False, unique=True),
    Column("description", Text),
    Column("additional_context", Text),
    Column("debug", Boolean, nullable=False, server_default=false()),
    Column("custom_auth", Boolean, nullable=False, server_default=false()),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger),
    Column("deleted_at", BigInteger),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("cluster_id", String(64), ForeignKey("clusters.id"), nullable=False),
    Column("name", String(256), nullable=False),
    Column("key_hash", String(64), nullable=False, unique=True),
    Column("scopes", String(64), nullable=False, server_default="admin,client,machine"),
    Column("created_by", String(256)),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
)

cluster_contexts = Table(
    "cluster_contexts",
    metadata,
    Column("cluster_id", String(64), ForeignKey("clusters.id"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("content", Text),
    Column("created_at", BigInteger, nullable=False),
)

webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    Column("cluster_id", String(64), ForeignKey("clusters.id"), primary_key=True),
    Column("id", String(26), primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
)

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("key", BigKey, primary_key=True, autoincrement=True),
    Column("cluster_id", String(64), nullable=False),
    Column("actor", String(256), nullable=False),
    Column("operation", String(64), nullable=False),
    Column("target", String(512), nullable=False),
    Column("status", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_audit_entries_cluster", "cluster_id", "key"),
)

usage_days = Table(
    "usage_days",
    metadata,
    Column("cluster_id", String(64), ForeignKey("clusters.id"), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("model", String(160), primary_key=True),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cache_read_tokens", BigInteger, nullable=False),
    Column("cache_write_tokens", BigInteger, nullable=False),
    Column("cost_micros", BigInteger, nullable=False),
    Column("model_calls", Integer, nullable=False),
    Column("runs", Integer, nullable=False, server_default="0"),
)
"""Usage outside of the stored steps: of deleted runs, of summaries and of names. Days are UTC."""
