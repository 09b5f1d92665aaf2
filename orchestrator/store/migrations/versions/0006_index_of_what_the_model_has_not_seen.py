"""index of what the model has not seen

Each step asks twice which calls of its run are not answered: that cost more with every call the run had made.

Revision: 0006, after 0005.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    these = sa.text("shown IS FALSE")
    op.create_index(
        "ix_calls_unshown",
        "calls",
        ["run_key", "kind", "key"],
        unique=False,
        sqlite_where=these,
        postgresql_where=these,
    )


def downgrade() -> None:
    op.drop_index("ix_calls_unshown", table_name="calls")
