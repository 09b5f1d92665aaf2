"""indexes of what the sweeper looks for

Ten thousand runs that wait for a person are looked at by nobody until one of them is wanted.

Revision: 0004, after 0003.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_AT_WORK = "status IN ('pending', 'running')"


def upgrade() -> None:
    op.drop_index("ix_runs_status", table_name="runs")
    _create("ix_runs_at_work", "runs", ["status"], _AT_WORK)
    _create("ix_runs_unheard", "runs", ["wake_at"], "wake_wanted > wake_read")
    _create("ix_runs_waiting", "runs", ["waiting_since"], "waiting_since IS NOT NULL")
    op.drop_index("ix_calls_open", table_name="calls")
    _create("ix_calls_open", "calls", ["status", "created_at"], _AT_WORK)
    _create("ix_calls_asked", "calls", ["cluster_id", "key"], "approval_expires_at IS NOT NULL")


def _create(name: str, table: str, columns: list[str], condition: str) -> None:
    these = sa.text(condition)
    op.create_index(
        name, table, columns, unique=False, sqlite_where=these, postgresql_where=these
    )


def downgrade() -> None:
    op.drop_index("ix_calls_asked", table_name="calls")
    op.drop_index("ix_calls_open", table_name="calls")
    op.create_index("ix_calls_open", "calls", ["status", "created_at"], unique=False)
    op.drop_index("ix_runs_waiting", table_name="runs")
    op.drop_index("ix_runs_unheard", table_name="runs")
    op.drop_index("ix_runs_at_work", table_name="runs")
    op.create_index("ix_runs_status", "runs", ["status"], unique=False)
