"""Users' feedback on runs."""

from __future__ import annotations

from orchestrator.store.database.engine import Database
from orchestrator.store.database.json_columns import to_storable_text
from orchestrator.store.runs.locked_run import LockedRun
from orchestrator.workflows.interface import RunRef
from perdure.contract.event_types import FeedbackGiven


class FeedbackStore:
    """One comment and one score per run; the newest counts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def set(self, ref: RunRef, comment: str | None, score: float | None) -> None:
        """Store a comment and a score of 0 to 1; None removes the stored one. Raises `NotFoundError`."""
        comment = None if comment is None else to_storable_text(comment)
        async with self._database.write() as write:
            run = await LockedRun.lock(write, ref)
            run.set(feedback_comment=comment, feedback_score=score)
            run.event(FeedbackGiven(comment=comment, score=score))
            await run.save()
