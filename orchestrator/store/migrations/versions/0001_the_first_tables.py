"""the first tables

Revision: 0001, after nothing.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "clusters",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clusters")),
        sa.UniqueConstraint("name", name=op.f("uq_clusters_name")),
    )
    op.create_table(
        "registrations",
        sa.Column("cluster_id", sa.String(length=64), nullable=False),
        sa.Column("machine_id", sa.String(length=256), nullable=False),
        sa.Column("service", sa.String(length=50), nullable=False),
        sa.Column("function", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint(
            "cluster_id", "machine_id", "service", "function", name=op.f("pk_registrations")
        ),
    )
    op.create_index(
        "ix_registrations_function",
        "registrations",
        ["cluster_id", "service", "function"],
        unique=False,
    )

    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("cluster_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["cluster_id"], ["clusters.id"], name=op.f("fk_api_keys_cluster_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_api_keys_key_hash")),
    )
    op.create_table(
        "functions",
        sa.Column("cluster_id", sa.String(length=64), nullable=False),
        sa.Column("service", sa.String(length=50), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("tool_name", sa.String(length=128), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("input_schema", sa.Text(), nullable=True),
        sa.Column("config", sa.Text(), server_default="{}", nullable=False),
        sa.Column("private", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("heartbeats", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["cluster_id"], ["clusters.id"], name=op.f("fk_functions_cluster_id")
        ),
        sa.PrimaryKeyConstraint("cluster_id", "service", "name", name=op.f("pk_functions")),
        sa.UniqueConstraint(
            "cluster_id", "tool_name", name=op.f("uq_functions_cluster_id_tool_name")
        ),
    )
    op.create_table(
        "machines",
        sa.Column("cluster_id", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=256), nullable=False),
        sa.Column("heartbeats", sa.Boolean(), nullable=False),
        sa.Column("alive_until", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["cluster_id"], ["clusters.id"], name=op.f("fk_machines_cluster_id")
        ),
        sa.PrimaryKeyConstraint("cluster_id", "id", name=op.f("pk_machines")),
    )
    op.create_table(
        "runs",
        sa.Column(
            "key",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("cluster_id", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("model", sa.String(length=160), nullable=False),
        sa.Column("system_prompt", sa.Text(), nullable=True),
        sa.Column("result_schema", sa.Text(), nullable=True),
        sa.Column("attached_functions", sa.Text(), nullable=True),
        sa.Column("on_status_change", sa.Text(), nullable=True),
        sa.Column("metadata", sa.Text(), server_default="{}", nullable=False),
        sa.Column("context", sa.Text(), nullable=True),
        sa.Column("interactive", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("call_summarization", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("idempotency_key", sa.String(length=256), nullable=True),
        sa.Column("request_hash", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("turn", sa.Integer(), server_default="1", nullable=False),
        sa.Column("step", sa.Integer(), server_default="0", nullable=False),
        sa.Column("corrections", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("transition", sa.Integer(), server_default="0", nullable=False),
        sa.Column("wake_wanted", sa.Integer(), server_default="0", nullable=False),
        sa.Column("wake_read", sa.Integer(), server_default="0", nullable=False),
        sa.Column("wake_at", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("seen_message", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cancel_reason", sa.Text(), nullable=True),
        sa.Column("waiting_for", sa.Text(), nullable=True),
        sa.Column("waiting_since", sa.BigInteger(), nullable=True),
        sa.Column("parked", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("result_null_reason", sa.Text(), nullable=True),
        sa.Column("failure_reason", sa.Text(), nullable=True),
        sa.Column("paused_reason", sa.Text(), nullable=True),
        sa.Column("input_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cache_read_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cache_write_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("model_calls", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["cluster_id"], ["clusters.id"], name=op.f("fk_runs_cluster_id")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_runs")),
        sa.UniqueConstraint("cluster_id", "id", name=op.f("uq_runs_cluster_id_id")),
        sa.UniqueConstraint(
            "cluster_id", "idempotency_key", name=op.f("uq_runs_cluster_id_idempotency_key")
        ),
    )
    op.create_index(
        "ix_runs_cluster_created", "runs", ["cluster_id", "created_at", "key"], unique=False
    )
    op.create_index(
        "ix_runs_cluster_status",
        "runs",
        ["cluster_id", "status", "created_at", "key"],
        unique=False,
    )
    op.create_index("ix_runs_status", "runs", ["status"], unique=False)

    op.create_table(
        "calls",
        sa.Column(
            "key",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("run_key", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("cluster_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("service", sa.String(length=50), nullable=False),
        sa.Column("function", sa.String(length=64), nullable=False),
        sa.Column("input", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=True),
        sa.Column("tool_call_id", sa.String(length=256), nullable=True),
        sa.Column("tool_name", sa.String(length=128), nullable=True),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("timeout_ms", sa.BigInteger(), nullable=False),
        sa.Column("deadline_ms", sa.BigInteger(), nullable=False),
        sa.Column("heartbeats", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("handouts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("acknowledged", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("machine_id", sa.String(length=256), nullable=True),
        sa.Column("task_token", sa.LargeBinary(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("result_type", sa.String(length=16), nullable=True),
        sa.Column("result_size", sa.BigInteger(), nullable=True),
        sa.Column("oversized", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("shown", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("handed_out_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_key"], ["runs.key"], name=op.f("fk_calls_run_key"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_calls")),
        sa.UniqueConstraint("id", name=op.f("uq_calls_id")),
    )
    op.create_index("ix_calls_open", "calls", ["status", "created_at"], unique=False)
    op.create_index("ix_calls_run", "calls", ["run_key", "key"], unique=False)

    op.create_table(
        "events",
        sa.Column("run_key", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_key"], ["runs.key"], name=op.f("fk_events_run_key"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_key", "version", name=op.f("pk_events")),
    )
    op.create_table(
        "messages",
        sa.Column(
            "key",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("run_key", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=True),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_key"], ["runs.key"], name=op.f("fk_messages_run_key"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_messages")),
        sa.UniqueConstraint("run_key", "id", name=op.f("uq_messages_run_key_id")),
    )
    op.create_index("ix_messages_run", "messages", ["run_key", "key"], unique=False)

    op.create_table(
        "run_metadata",
        sa.Column("run_key", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("value", sa.String(length=1024), nullable=False),
        sa.Column("cluster_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_key"], ["runs.key"], name=op.f("fk_run_metadata_run_key"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_key", "name", name=op.f("pk_run_metadata")),
    )
    op.create_index(
        "ix_run_metadata_pair",
        "run_metadata",
        ["cluster_id", "name", "value", "run_key"],
        unique=False,
    )

    op.create_table(
        "steps",
        sa.Column("run_key", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(length=160), nullable=False),
        sa.Column("stop", sa.String(length=16), nullable=False),
        sa.Column("message_key", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache_read_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache_write_tokens", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_key"], ["runs.key"], name=op.f("fk_steps_run_key"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_key", "step", name=op.f("pk_steps")),
    )
    op.create_table(
        "call_results",
        sa.Column("call_key", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["call_key"], ["calls.key"], name=op.f("fk_call_results_call_key"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("call_key", name=op.f("pk_call_results")),
    )
    op.create_table(
        "deliveries",
        sa.Column("run_key", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("transition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("call_key", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["call_key"], ["calls.key"], name=op.f("fk_deliveries_call_key"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["run_key"], ["runs.key"], name=op.f("fk_deliveries_run_key"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_key", "transition", name=op.f("pk_deliveries")),
    )
    op.create_index("ix_deliveries_open", "deliveries", ["status", "created_at"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_deliveries_open", table_name="deliveries")

    op.drop_table("deliveries")
    op.drop_table("call_results")
    op.drop_table("steps")
    op.drop_index("ix_run_metadata_pair", table_name="run_metadata")

    op.drop_table("run_metadata")
    op.drop_index("ix_messages_run", table_name="messages")

    op.drop_table("messages")
    op.drop_table("events")
    op.drop_index("ix_calls_run", table_name="calls")
    op.drop_index("ix_calls_open", table_name="calls")

    op.drop_table("calls")
    op.drop_index("ix_runs_status", table_name="runs")
    op.drop_index("ix_runs_cluster_status", table_name="runs")
    op.drop_index("ix_runs_cluster_created", table_name="runs")

    op.drop_table("runs")
    op.drop_table("machines")
    op.drop_table("functions")
    op.drop_table("api_keys")
    op.drop_index("ix_registrations_function", table_name="registrations")

    op.drop_table("registrations")
    op.drop_table("clusters")
