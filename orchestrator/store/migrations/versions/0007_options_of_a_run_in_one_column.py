"""options of a run in one column

Options that SQL never filters by need no column of their own, and no migration.

Revision: 0007, after 0006.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("options", sa.Text()))


def downgrade() -> None:
    op.drop_column("runs", "options")
