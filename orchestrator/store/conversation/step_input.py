"""The input of a model step, read in the transaction that begins it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import bindparam, select

from orchestrator.llm.tool_selection import RunTools, run_tools
from orchestrator.llm.transcript import TranscriptEntry
from orchestrator.store import tables
from orchestrator.store.conversation.messages import entries_after
from orchestrator.store.conversation.mocks import mocked_outputs
from orchestrator.store.database.engine import Read
from orchestrator.store.database.json_columns import from_json
from orchestrator.store.database.prepared import prepared
from orchestrator.store.functions.available import available_functions
from orchestrator.store.records import RunRecord
from perdure.contract import FunctionReference

# Built once: building a statement costs more than sending it.
_CONTEXT = prepared(
    select(tables.clusters.c.additional_context).where(
        tables.clusters.c.id == bindparam("of_cluster")
    )
)
_PRIVATE = select(tables.functions.c.service + "_" + tables.functions.c.name).where(
    tables.functions.c.cluster_id == bindparam("of_cluster"), tables.functions.c.private.is_(True)
)


class TranscriptCursor(NamedTuple):
    """What the caller has of a transcript: of which run, up to which message, after how many rewinds.

    SQLite uses keys again after a run was deleted, so a run is identified by its creation time too.
    """

    run_key: int = 0
    last_key: int = 0
    rewinds: int = 0
    created_at: int = 0

    def matches(self, run: RunRecord) -> bool:
        return (self.run_key, self.rewinds, self.created_at) == (
            run.key,
            run.rewinds,
            run.created_at,
        )


@dataclass(frozen=True, slots=True)
class StepInput:
    """The input of a model step. `entries` are the transcript after `after`."""

    run: RunRecord
    step: int
    tools: RunTools
    after: int
    entries: tuple[TranscriptEntry, ...]
    context: str | None = None
    """The operator's instructions for every run of the cluster."""


async def cluster_context(read: Read, run: RunRecord) -> str | None:
    """The operator's instructions for every run of the cluster."""
    context: str | None = (
        await read.execute(_CONTEXT, {"of_cluster": run.cluster_id})
    ).scalar_one()
    return context


async def load_step_input(
    read: Read, run: RunRecord, cursor: TranscriptCursor, *, context: str | None
) -> StepInput:
    """The input of the run's next model step. `context`: the cluster's."""
    attached = _attached(run)
    after = cursor.last_key if cursor.matches(run) else 0
    mocked = mocked_outputs(run).keys()
    tools = run_tools(
        await available_functions(read, run.cluster_id, attached),
        attached=None
        if attached is None
        else [f"{ref.service}_{ref.function}" for ref in attached],
        mocked=mocked,
        private=await _private_functions(read, run.cluster_id) if mocked else (),
    )
    return StepInput(
        run=run,
        step=run.step + 1,
        tools=tools,
        after=after,
        entries=tuple(await entries_after(read, run.key, after)),
        context=context,
    )


def _attached(run: RunRecord) -> list[FunctionReference] | None:
    if run.attached_functions is None:
        return None
    references = from_json(run.attached_functions)
    return [
        FunctionReference.model_validate(reference)
        for reference in (references if isinstance(references, list) else [])
    ]


async def _private_functions(read: Read, cluster_id: str) -> list[str]:
    """Full names of the cluster's private functions."""
    return list((await read.execute(_PRIVATE, {"of_cluster": cluster_id})).scalars())
