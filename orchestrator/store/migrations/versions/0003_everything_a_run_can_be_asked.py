"""everything a run can be asked

Revision: 0003, after 0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:  # noqa: PLR0915 - one statement per change, as Alembic writes them
    with op.batch_alter_table("api_keys", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "scopes",
                sa.String(length=64),
                server_default="admin,client,machine",
                nullable=False,
            )
        )
        batch_op.add_column(sa.Column("created_by", sa.String(length=256), nullable=True))

    with op.batch_alter_table("calls", schema=None) as batch_op:
        batch_op.add_column(sa.Column("reasoning", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("config", sa.Text(), server_default="{}", nullable=False))
        batch_op.add_column(sa.Column("cache_key", sa.String(length=64), nullable=True))
        batch_op.add_column(
            sa.Column("interruptions", sa.Integer(), server_default="0", nullable=False)
        )
        batch_op.add_column(sa.Column("approval_requested_at", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("approval_expires_at", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("approval_message", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("approved", sa.Boolean(), nullable=True))
        batch_op.add_column(sa.Column("decided_at", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("decided_by", sa.String(length=256), nullable=True))
        batch_op.add_column(sa.Column("decision_reason", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("original_input", sa.Text(), nullable=True))
        batch_op.add_column(
            sa.Column("result_is_text", sa.Boolean(), server_default=sa.false(), nullable=False)
        )
        batch_op.add_column(sa.Column("cached_from", sa.String(length=26), nullable=True))
        batch_op.add_column(
            sa.Column("cancelled", sa.Boolean(), server_default=sa.false(), nullable=False)
        )
        batch_op.create_index(
            "ix_calls_approval",
            ["approval_expires_at"],
            unique=False,
            sqlite_where=sa.text("approval_expires_at IS NOT NULL"),
            postgresql_where=sa.text("approval_expires_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_calls_cache",
            ["cache_key", "cluster_id", "finished_at"],
            unique=False,
            sqlite_where=sa.text("cache_key IS NOT NULL"),
            postgresql_where=sa.text("cache_key IS NOT NULL"),
        )

    with op.batch_alter_table("clusters", schema=None) as batch_op:
        batch_op.add_column(sa.Column("description", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("additional_context", sa.Text(), nullable=True))
        batch_op.add_column(
            sa.Column("debug", sa.Boolean(), server_default=sa.false(), nullable=False)
        )
        batch_op.add_column(
            sa.Column("custom_auth", sa.Boolean(), server_default=sa.false(), nullable=False)
        )
        batch_op.add_column(sa.Column("updated_at", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("deleted_at", sa.BigInteger(), nullable=True))

    op.create_index(
        "ix_events_created", "events", ["created_at", "run_key", "version"], unique=False
    )
    with op.batch_alter_table("machines", schema=None) as batch_op:
        batch_op.add_column(sa.Column("ip", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("sdk", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("last_seen_at", sa.BigInteger(), nullable=True))

    with op.batch_alter_table("messages", schema=None) as batch_op:
        batch_op.add_column(sa.Column("replaced_by", sa.String(length=128), nullable=True))

    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("kind", sa.String(length=16), server_default="run", nullable=False)
        )
        batch_op.add_column(
            sa.Column("test", sa.Boolean(), server_default=sa.false(), nullable=False)
        )
        batch_op.add_column(sa.Column("mocks", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("tags", sa.Text(), server_default="[]", nullable=False))
        batch_op.add_column(
            sa.Column("reasoning_traces", sa.Boolean(), server_default=sa.true(), nullable=False)
        )
        batch_op.add_column(sa.Column("priority", sa.Integer(), server_default="3", nullable=False))
        batch_op.add_column(sa.Column("deadline_at", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("budget", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("config_id", sa.String(length=128), nullable=True))
        batch_op.add_column(sa.Column("config_version", sa.Integer(), nullable=True))
        batch_op.add_column(
            sa.Column("name_source", sa.String(length=16), server_default="given", nullable=False)
        )
        batch_op.add_column(sa.Column("auth_context", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("auth_token_hash", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("rewinds", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(
            sa.Column("rewinds_read", sa.Integer(), server_default="0", nullable=False)
        )
        batch_op.add_column(sa.Column("paused_for", sa.String(length=16), nullable=True))
        batch_op.add_column(sa.Column("feedback_comment", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("feedback_score", sa.Float(), nullable=True))
        batch_op.add_column(
            sa.Column("function_calls", sa.Integer(), server_default="0", nullable=False)
        )
        batch_op.add_column(
            sa.Column("cost_micros", sa.BigInteger(), server_default="0", nullable=False)
        )
        batch_op.create_index(
            "ix_runs_config",
            ["config_id", "cluster_id", "created_at"],
            unique=False,
            sqlite_where=sa.text("config_id IS NOT NULL"),
            postgresql_where=sa.text("config_id IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_runs_deadline",
            ["deadline_at"],
            unique=False,
            sqlite_where=sa.text("deadline_at IS NOT NULL"),
            postgresql_where=sa.text("deadline_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_runs_finished",
            ["finished_at"],
            unique=False,
            sqlite_where=sa.text("finished_at IS NOT NULL"),
            postgresql_where=sa.text("finished_at IS NOT NULL"),
        )

    with op.batch_alter_table("steps", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("cost_micros", sa.BigInteger(), server_default="0", nullable=False)
        )

    op.drop_index("ix_deliveries_open", table_name="deliveries")
    op.create_index("ix_deliveries_open", "deliveries", ["status", "run_key"], unique=False)
    op.create_index("ix_deliveries_call", "deliveries", ["call_key"], unique=False)


def downgrade() -> None:  # noqa: PLR0915 - the same backwards
    op.drop_index("ix_deliveries_call", table_name="deliveries")
    op.drop_index("ix_deliveries_open", table_name="deliveries")
    op.create_index("ix_deliveries_open", "deliveries", ["status", "created_at"], unique=False)

    with op.batch_alter_table("steps", schema=None) as batch_op:
        batch_op.drop_column("cost_micros")

    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_runs_finished",
            sqlite_where=sa.text("finished_at IS NOT NULL"),
            postgresql_where=sa.text("finished_at IS NOT NULL"),
        )
        batch_op.drop_index(
            "ix_runs_deadline",
            sqlite_where=sa.text("deadline_at IS NOT NULL"),
            postgresql_where=sa.text("deadline_at IS NOT NULL"),
        )
        batch_op.drop_index(
            "ix_runs_config",
            sqlite_where=sa.text("config_id IS NOT NULL"),
            postgresql_where=sa.text("config_id IS NOT NULL"),
        )
        batch_op.drop_column("cost_micros")
        batch_op.drop_column("function_calls")
        batch_op.drop_column("feedback_score")
        batch_op.drop_column("feedback_comment")
        batch_op.drop_column("paused_for")
        batch_op.drop_column("rewinds_read")
        batch_op.drop_column("rewinds")
        batch_op.drop_column("auth_token_hash")
        batch_op.drop_column("auth_context")
        batch_op.drop_column("name_source")
        batch_op.drop_column("config_version")
        batch_op.drop_column("config_id")
        batch_op.drop_column("budget")
        batch_op.drop_column("deadline_at")
        batch_op.drop_column("priority")
        batch_op.drop_column("reasoning_traces")
        batch_op.drop_column("tags")
        batch_op.drop_column("mocks")
        batch_op.drop_column("test")
        batch_op.drop_column("kind")

    with op.batch_alter_table("messages", schema=None) as batch_op:
        batch_op.drop_column("replaced_by")

    with op.batch_alter_table("machines", schema=None) as batch_op:
        batch_op.drop_column("last_seen_at")
        batch_op.drop_column("sdk")
        batch_op.drop_column("ip")

    op.drop_index("ix_events_created", "events")
    with op.batch_alter_table("clusters", schema=None) as batch_op:
        batch_op.drop_column("deleted_at")
        batch_op.drop_column("updated_at")
        batch_op.drop_column("custom_auth")
        batch_op.drop_column("debug")
        batch_op.drop_column("additional_context")
        batch_op.drop_column("description")

    with op.batch_alter_table("calls", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_calls_cache",
            sqlite_where=sa.text("cache_key IS NOT NULL"),
            postgresql_where=sa.text("cache_key IS NOT NULL"),
        )
        batch_op.drop_index(
            "ix_calls_approval",
            sqlite_where=sa.text("approval_expires_at IS NOT NULL"),
            postgresql_where=sa.text("approval_expires_at IS NOT NULL"),
        )
        batch_op.drop_column("cached_from")
        batch_op.drop_column("cancelled")
        batch_op.drop_column("result_is_text")
        batch_op.drop_column("original_input")
        batch_op.drop_column("decision_reason")
        batch_op.drop_column("decided_by")
        batch_op.drop_column("decided_at")
        batch_op.drop_column("approved")
        batch_op.drop_column("approval_message")
        batch_op.drop_column("approval_expires_at")
        batch_op.drop_column("approval_requested_at")
        batch_op.drop_column("interruptions")
        batch_op.drop_column("cache_key")
        batch_op.drop_column("config")
        batch_op.drop_column("reasoning")

    with op.batch_alter_table("api_keys", schema=None) as batch_op:
        batch_op.drop_column("created_by")
        batch_op.drop_column("scopes")
