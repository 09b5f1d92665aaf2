"""Rows of the store as they go over the wire."""

from __future__ import annotations

from pydantic import JsonValue, TypeAdapter

from orchestrator.clock import to_datetime
from orchestrator.store.json_text import load_object, load_optional
from orchestrator.store.records import EventRecord, MessageRecord, RunRecord
from orchestrator.transcript import public_data
from perdure.contract import (
    Event,
    FunctionReference,
    Message,
    MessageType,
    Run,
    StatusChangeTarget,
    Usage,
    WaitingFor,
)

_REFERENCES = TypeAdapter(list[FunctionReference])
_METADATA = TypeAdapter(dict[str, str])
_SCHEMA: TypeAdapter[dict[str, JsonValue] | bool] = TypeAdapter(dict[str, JsonValue] | bool)


def present_run(record: RunRecord) -> Run:
    """A run as its owner sees it."""
    return Run(
        id=record.id,
        cluster_id=record.cluster_id,
        name=record.name,
        status=record.run_status,
        turn=record.turn,
        version=record.version,
        transition=record.transition,
        result=load_optional(record.result),
        result_null_reason=record.result_null_reason,
        failure_reason=record.failure_reason,
        paused_reason=record.paused_reason,
        waiting_for=_waiting_for(record),
        model_identifier=record.model,
        system_prompt=record.system_prompt,
        result_schema=None
        if record.result_schema is None
        else _SCHEMA.validate_json(record.result_schema),
        attached_functions=None
        if record.attached_functions is None
        else _REFERENCES.validate_json(record.attached_functions),
        on_status_change=None
        if record.on_status_change is None
        else StatusChangeTarget.model_validate_json(record.on_status_change),
        metadata=_METADATA.validate_json(record.metadata),
        interactive=record.interactive,
        call_summarization=record.call_summarization,
        usage=_usage(record),
        created_at=to_datetime(record.created_at),
        updated_at=to_datetime(record.updated_at),
        finished_at=None if record.finished_at is None else to_datetime(record.finished_at),
    )


def _usage(record: RunRecord) -> Usage:
    return Usage(
        input_tokens=record.input_tokens,
        output_tokens=record.output_tokens,
        cache_read_tokens=record.cache_read_tokens,
        cache_write_tokens=record.cache_write_tokens,
        model_calls=record.model_calls,
    )


def _waiting_for(record: RunRecord) -> WaitingFor | None:
    if record.waiting_for is None:
        return None
    return WaitingFor.model_validate(load_object(record.waiting_for))


def present_message(record: MessageRecord) -> Message:
    """A message as its run's owner sees it."""
    return Message(
        id=record.id,
        type=MessageType(record.type),
        data=public_data(load_object(record.data)),
        turn=record.turn,
        created_at=to_datetime(record.created_at),
    )


def present_event(record: EventRecord) -> Event:
    """One numbered event."""
    return Event(
        version=record.version,
        type=record.type,
        data=load_object(record.data),
        created_at=to_datetime(record.created_at),
    )
