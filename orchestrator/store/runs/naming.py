"""Names that runs get after they began."""

from __future__ import annotations

from orchestrator.rules.lifecycle import is_final
from orchestrator.store.database.engine import Database
from orchestrator.store.database.json_columns import to_storable_text
from orchestrator.store.runs.locked_run import LockedRun
from orchestrator.workflows.interface import RunRef
from perdure.contract.event_types import RunNamed

FROM_PROMPT = "words"
FROM_MODEL = "model"


class NameStore:
    """Renames runs that have no name of the caller's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def rename(self, ref: RunRef, name: str) -> bool:
        """Set the model's name for a run that is named by its first words; False if it has another name.

        After the end of the turn the name changes without an event: nothing follows a final transition. Raises
        `NotFoundError`.
        """
        name = to_storable_text(name)
        async with self._database.write() as write:
            run = await LockedRun.lock(write, ref)
            if run.record.name_source != FROM_PROMPT:
                return False
            run.set(name=name, name_source=FROM_MODEL)
            if not is_final(run.status):
                run.event(RunNamed(name=name, previous=run.record.name))
            await run.save()
        return True
