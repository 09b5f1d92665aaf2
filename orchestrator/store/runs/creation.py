"""A checked run, and the rows it begins with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue
from sqlalchemy import insert

from orchestrator.llm.transcript import text_data
from orchestrator.runtime.clock import now_ms
from orchestrator.runtime.encryption import FieldCipher
from orchestrator.store import tables
from orchestrator.store.database.engine import Write
from orchestrator.store.database.json_columns import optional_to_json, to_json, to_storable_text
from orchestrator.store.database.prepared import prepared_inline
from orchestrator.store.records import RunRecord
from orchestrator.store.runs.options import option_columns
from orchestrator.store.sealed_fields import seal_context
from orchestrator.workflows.interface import RunRef
from orchestrator.workflows.wakeups import Wakeup, WakeupKind
from perdure.contract import (
    DEFAULT_PRIORITY,
    FunctionReference,
    MessageType,
    RunOptions,
    RunStatus,
    StatusChangeTarget,
)
from perdure.contract.event_types import RunCreated

# Built once: building a statement costs more than sending it.
_INSERT_RUN = prepared_inline(insert(tables.runs).returning(*tables.runs.c))
_INSERT_MESSAGE = prepared_inline(insert(tables.messages))
_INSERT_EVENT = prepared_inline(insert(tables.events))


@dataclass(frozen=True, slots=True)
class NewRun:
    """A checked run that can be written. Without a `prompt` it begins without a message."""

    cluster_id: str
    id: str
    message_id: str
    prompt: str | None
    name: str
    model: str
    result_schema: str | None
    attached_functions: Sequence[FunctionReference] | None
    on_status_change: StatusChangeTarget | None
    context: Mapping[str, object] | None
    options: RunOptions
    idempotency_key: str | None
    request_hash: str
    kind: str = "run"
    """`run`, or one of the hidden kinds: `call` (a direct call) and `structured` (structured output)."""
    name_source: str = "given"
    """`given` by the caller, or the first words of the prompt until the `model` names it."""
    test: bool = False
    mocks: Mapping[str, JsonValue] | None = None
    """Outputs of mocked functions by full name."""
    deadline_at: int | None = None
    config_id: str | None = None
    config_version: int | None = None
    auth_context: Mapping[str, object] | None = None
    auth_token_hash: str | None = None


def priority_of(run: RunRecord) -> int:
    """The priority for Temporal; 0, which means none, for the default one."""
    return 0 if run.priority == DEFAULT_PRIORITY else run.priority


async def insert_run(write: Write, new: NewRun) -> RunRecord:
    """Write the run with its first message, metadata, tags and event. Returns the new run, locked.

    Raises `IntegrityError` if the id or the idempotency key exists.
    """
    now = now_ms()
    values = {
        **_request_columns(new, write.cipher),
        **option_columns(new.options),
        "status": RunStatus.PENDING.value,
        "version": 1,
        "wake_wanted": 1,
        "wake_at": now,
        "created_at": now,
        "updated_at": now,
    }
    record = RunRecord(**(await write.execute(_INSERT_RUN, values)).mappings().one())
    if new.prompt is not None:
        await _insert_prompt(write, record.key, new.message_id, new.prompt, now)
    await _insert_filter_rows(write, record.key, new)
    created = RunCreated(
        name=new.name,
        model=new.model,
        message_id=None if new.prompt is None else new.message_id,
    )
    event = {"run_key": record.key, "version": 1, "type": created.event_type.value}
    await write.execute(
        _INSERT_EVENT, {**event, "data": to_json(created.to_wire()), "created_at": now}
    )
    write.mark_changed(record.key, still_running=True)
    ref = RunRef(record.cluster_id, record.id)
    write.wake(Wakeup(WakeupKind.START, ref, priority=priority_of(record)))
    return record


def _request_columns(new: NewRun, cipher: FieldCipher) -> dict[str, object]:
    functions, target = new.attached_functions, new.on_status_change
    return {
        "cluster_id": new.cluster_id,
        "id": new.id,
        "name": to_storable_text(new.name),
        "model": new.model,
        "result_schema": new.result_schema,
        "attached_functions": optional_to_json(
            None if functions is None else [reference.model_dump() for reference in functions]
        ),
        "on_status_change": optional_to_json(None if target is None else target.model_dump()),
        "context": seal_context(cipher, new.context, new.cluster_id, new.id),
        "idempotency_key": new.idempotency_key,
        "request_hash": new.request_hash,
        "kind": new.kind,
        "name_source": new.name_source,
        "test": new.test,
        "mocks": optional_to_json(None if new.mocks is None else dict(new.mocks)),
        "deadline_at": new.deadline_at,
        "config_id": new.config_id,
        "config_version": new.config_version,
        "auth_context": seal_context(cipher, new.auth_context, new.cluster_id, new.id),
        "auth_token_hash": new.auth_token_hash,
    }


async def _insert_prompt(write: Write, key: int, message_id: str, prompt: str, now: int) -> None:
    message = {"run_key": key, "id": message_id, "turn": 1, "type": MessageType.HUMAN.value}
    await write.execute(
        _INSERT_MESSAGE, {**message, "data": to_json(text_data(prompt)), "created_at": now}
    )


async def _insert_filter_rows(write: Write, key: int, new: NewRun) -> None:
    """Rows that lists are filtered by."""
    of_run = {"run_key": key, "cluster_id": new.cluster_id}
    metadata, tags = new.options.metadata, dict.fromkeys(new.options.tags)
    if metadata:
        pairs = [{**of_run, "name": name, "value": value} for name, value in metadata.items()]
        await write.execute(insert(tables.run_metadata), pairs)
    if tags:
        await write.execute(insert(tables.run_tags), [{**of_run, "tag": tag} for tag in tags])
