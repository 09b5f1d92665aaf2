"""Write a migration from the newest one to the current tables, for a person to review and correct.

python -m orchestrator.store.migrations "what changes"
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from alembic import command

from orchestrator.store.database.engine import open_database
from orchestrator.store.migrations.runner import configuration, expected_revision, upgrade


async def _write_revision(folder: Path, message: str) -> None:
    database = await open_database(f"sqlite:///{folder / 'blank.db'}")
    number = int(expected_revision()) + 1
    try:
        async with database.write() as write:
            await write.run_sync(upgrade)
            await write.run_sync(
                lambda connection: command.revision(
                    configuration(connection), message, autogenerate=True, rev_id=f"{number:04}"
                )
            )
    finally:
        await database.aclose()


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and its one argument
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as made:
        asyncio.run(_write_revision(Path(made), sys.argv[1]))
