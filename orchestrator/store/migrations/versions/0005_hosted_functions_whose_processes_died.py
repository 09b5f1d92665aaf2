"""hosted functions whose processes died

A crash loop of a hosted function ends the process that would have counted it: the count stands in the store.

Revision: 0005, after 0004.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "crash_streaks",
        sa.Column("cluster_id", sa.String(length=64), nullable=False),
        sa.Column("service", sa.String(length=50), nullable=False),
        sa.Column("function", sa.String(length=64), nullable=False),
        sa.Column("deaths", sa.Integer(), nullable=False),
        sa.Column("machine_id", sa.String(length=256), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("paused_until", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["cluster_id"], ["clusters.id"], name=op.f("fk_crash_streaks_cluster_id")
        ),
        sa.PrimaryKeyConstraint(
            "cluster_id", "service", "function", name=op.f("pk_crash_streaks")
        ),
    )


def downgrade() -> None:
    op.drop_table("crash_streaks")
