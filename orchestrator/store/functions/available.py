"""Functions that a run may call, as its model sees them, and how their calls are retried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import and_, bindparam, select, tuple_

from orchestrator.llm.messages import Tool
from orchestrator.llm.prompts import with_function_note
from orchestrator.llm.tools import DEFAULT_DEADLINE_MS, DEFAULT_TIMEOUT_MS, AvailableFunction
from orchestrator.store import tables
from orchestrator.store.database.engine import Read
from orchestrator.store.database.json_columns import object_from_json
from orchestrator.store.records import FunctionRecord
from perdure.contract import FunctionConfig, FunctionReference

_OPEN_OBJECT = '{"type":"object","properties":{}}'

functions = tables.functions
_NOTES = tables.function_notes
# Built once: building a statement costs more than sending it.
_ALL = (
    select(functions, _NOTES.c.additional_context)
    .outerjoin(
        _NOTES,
        and_(
            _NOTES.c.cluster_id == functions.c.cluster_id,
            _NOTES.c.service == functions.c.service,
            _NOTES.c.function == functions.c.name,
        ),
    )
    .where(functions.c.cluster_id == bindparam("of_cluster"), functions.c.private.is_(False))
    .order_by(functions.c.tool_name)
)
_ATTACHED = _ALL.where(
    tuple_(functions.c.service, functions.c.name).in_(bindparam("of_pairs", expanding=True))
)


@dataclass(frozen=True, slots=True)
class CallSettings:
    """How calls of one function are retried."""

    max_attempts: int
    timeout_ms: int
    deadline_ms: int
    heartbeats: bool


def config_of(text: str) -> FunctionConfig:
    """A function's configuration, as its row or a call of it stores it."""
    return FunctionConfig.model_validate(object_from_json(text))


def _settings(config: FunctionConfig, *, heartbeats: bool) -> CallSettings:
    retries = config.retries if config.retries is not None else config.retry_count_on_stall or 0
    timeout = int((config.timeout_seconds or 0) * 1000) or DEFAULT_TIMEOUT_MS
    deadline = int((config.deadline_seconds or 0) * 1000) or max(DEFAULT_DEADLINE_MS, timeout)
    return CallSettings(retries + 1, timeout, deadline, heartbeats)


async def call_settings(read: Read, cluster_id: str, ref: FunctionReference) -> CallSettings:
    """Settings of a function's calls; the defaults if it is not registered (any more)."""
    record = await find_function(read, cluster_id, ref)
    if record is None:
        return CallSettings(1, DEFAULT_TIMEOUT_MS, DEFAULT_DEADLINE_MS, heartbeats=True)
    return _settings(config_of(record.config), heartbeats=record.heartbeats)


async def find_function(
    read: Read, cluster_id: str, ref: FunctionReference
) -> FunctionRecord | None:
    statement = select(functions).where(
        functions.c.cluster_id == cluster_id,
        functions.c.service == ref.service,
        functions.c.name == ref.function,
    )
    row = (await read.execute(statement)).mappings().one_or_none()
    return None if row is None else FunctionRecord(**row)


async def available_function(
    read: Read, cluster_id: str, ref: FunctionReference
) -> AvailableFunction | None:
    """One function as a run can call it, private or not; None if it is not registered."""
    record = await find_function(read, cluster_id, ref)
    return None if record is None else _available(None, **asdict(record))


async def available_functions(
    read: Read, cluster_id: str, attached: Sequence[FunctionReference] | None
) -> tuple[AvailableFunction, ...]:
    """Functions that a run may call, ordered by tool name so that the prompt never changes by order alone."""
    wanted: dict[str, object] = {"of_cluster": cluster_id}
    if attached is not None:
        wanted["of_pairs"] = [(ref.service, ref.function) for ref in attached]
    rows = (await read.execute(_ALL if attached is None else _ATTACHED, wanted)).mappings()
    return tuple(_available(**row) for row in rows)


@lru_cache(maxsize=4_096)  # every step needs all of them, and they seldom change
def _available(additional_context: str | None, **columns: Any) -> AvailableFunction:
    record = FunctionRecord(**columns)
    config = config_of(record.config)
    settings = _settings(config, heartbeats=record.heartbeats)
    description = with_function_note(record.description or "", additional_context)
    schema = record.input_schema or _OPEN_OBJECT
    return AvailableFunction(
        service=record.service,
        name=record.name,
        tool=Tool(
            record.tool_name,
            description,
            object_from_json(schema),
        ),
        characters=len(record.tool_name) + len(description) + len(schema),
        max_attempts=settings.max_attempts,
        timeout_ms=settings.timeout_ms,
        deadline_ms=settings.deadline_ms,
        heartbeats=settings.heartbeats,
        config=record.config,
        fan_out=config.fan_out,
    )
