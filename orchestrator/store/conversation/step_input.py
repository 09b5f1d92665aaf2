"""The input of a model step, read in the transaction that begins it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import JsonValue
from sqlalchemy import bindparam, select

from orchestrator.llm.builtin_tools import BUILT_IN_TOOLS, built_in_tools
from orchestrator.llm.messages import Tool
from orchestrator.llm.tools import AvailableFunction
from orchestrator.llm.transcript import TranscriptEntry
from orchestrator.store import tables
from orchestrator.store.conversation.messages import entries_after
from orchestrator.store.conversation.mocks import mocked_outputs
from orchestrator.store.database.engine import Read
from orchestrator.store.database.json_columns import from_json
from orchestrator.store.database.prepared import prepared
from orchestrator.store.functions.available import (
    DEFAULT_DEADLINE_MS,
    DEFAULT_TIMEOUT_MS,
    available_functions,
    tool_name,
)
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

_BUILTIN_TOOLS = {tool.name: tool for tool in built_in_tools(BUILT_IN_TOOLS)}
_OPEN_OBJECT: dict[str, JsonValue] = {"type": "object", "properties": {}}


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
    functions: tuple[AvailableFunction, ...]
    """All functions that the run may call, ordered by tool name."""
    after: int
    entries: tuple[TranscriptEntry, ...]
    builtin_tools: frozenset[str] = BUILT_IN_TOOLS
    """Built-in tools that the run may call."""
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
    functions = await available_functions(read, run.cluster_id, attached)
    return StepInput(
        run=run,
        step=run.step + 1,
        functions=await _add_mocks(read, run, functions, attached),
        after=after,
        entries=tuple(await entries_after(read, run.key, after)),
        builtin_tools=_allowed_builtin_tools(attached) - mocked_outputs(run).keys(),
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


def _allowed_builtin_tools(attached: Collection[FunctionReference] | None) -> frozenset[str]:
    if attached is None:
        return BUILT_IN_TOOLS
    named = (f"{reference.service}_{reference.function}" for reference in attached)
    return BUILT_IN_TOOLS.intersection(named)


async def _add_mocks(
    read: Read,
    run: RunRecord,
    functions: tuple[AvailableFunction, ...],
    attached: Collection[FunctionReference] | None,
) -> tuple[AvailableFunction, ...]:
    """The functions and those that exist only as mocks, in one order. A mock reveals no private function."""
    names = set(mocked_outputs(run))
    if attached is not None:
        names &= {f"{reference.service}_{reference.function}" for reference in attached}
    names -= {f"{function.service}_{function.name}" for function in functions}
    if not names:
        return functions
    private = (await read.execute(_PRIVATE, {"of_cluster": run.cluster_id})).scalars()
    mocks = _mocks(names - set(private))
    return tuple(sorted((*functions, *mocks), key=lambda function: function.tool.name))


def _mocks(names: Iterable[str]) -> Iterator[AvailableFunction]:
    for name in names:
        service, _, function = name.partition("_")
        yield AvailableFunction(
            service=service,
            name=function,
            tool=_BUILTIN_TOOLS.get(name) or Tool(tool_name(service, function), "", _OPEN_OBJECT),
            max_attempts=1,
            timeout_ms=DEFAULT_TIMEOUT_MS,
            deadline_ms=DEFAULT_DEADLINE_MS,
            heartbeats=True,
        )
