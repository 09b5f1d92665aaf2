"""Conversion of store rows to wire models."""

from __future__ import annotations

from datetime import datetime

from pydantic import JsonValue, TypeAdapter

from orchestrator.llm.transcript import public_data
from orchestrator.runtime.clock import to_datetime
from orchestrator.store.calls.queries import CallView
from orchestrator.store.database.json_columns import from_json, object_from_json, optional_from_json
from orchestrator.store.records import BlobRecord, CallRecord, EventRecord, MessageRecord, RunRecord
from orchestrator.store.runs.options import stored_options
from perdure.contract import (
    Blob,
    BlobType,
    Call,
    CallApproval,
    CallStatus,
    Event,
    FunctionReference,
    Message,
    MessageType,
    PausedFor,
    ResultType,
    Run,
    StatusChangeTarget,
    Usage,
    WaitingFor,
)

_REFERENCES = TypeAdapter(list[FunctionReference])
_SCHEMA: TypeAdapter[dict[str, JsonValue] | bool] = TypeAdapter(dict[str, JsonValue] | bool)


def present_run(record: RunRecord) -> Run:
    """Convert a run to its wire model."""
    return Run(
        id=record.id,
        cluster_id=record.cluster_id,
        name=record.name,
        status=record.run_status,
        turn=record.turn,
        version=record.version,
        transition=record.transition,
        result=optional_from_json(record.result),
        result_null_reason=record.result_null_reason,
        failure_reason=record.failure_reason,
        paused_reason=record.paused_reason,
        paused_for=None if record.paused_for is None else PausedFor(record.paused_for),
        waiting_for=_waiting_for(record),
        model_identifier=record.model,
        result_schema=None
        if record.result_schema is None
        else _SCHEMA.validate_json(record.result_schema),
        attached_functions=None
        if record.attached_functions is None
        else _REFERENCES.validate_json(record.attached_functions),
        on_status_change=None
        if record.on_status_change is None
        else StatusChangeTarget.model_validate_json(record.on_status_change),
        test=record.test,
        config_id=record.config_id,
        config_version=record.config_version,
        deadline=_time(record.deadline_at),
        feedback_comment=record.feedback_comment,
        feedback_score=record.feedback_score,
        usage=_usage(record),
        created_at=to_datetime(record.created_at),
        updated_at=to_datetime(record.updated_at),
        finished_at=_time(record.finished_at),
        **stored_options(record),
    )


def _time(ms: int | None) -> datetime | None:
    return None if ms is None else to_datetime(ms)


def _usage(record: RunRecord) -> Usage:
    return Usage(
        input_tokens=record.input_tokens,
        output_tokens=record.output_tokens,
        cache_read_tokens=record.cache_read_tokens,
        cache_write_tokens=record.cache_write_tokens,
        model_calls=record.model_calls,
        cost_usd=record.cost_micros / 1_000_000,
    )


def _waiting_for(record: RunRecord) -> WaitingFor | None:
    if record.waiting_for is None:
        return None
    return WaitingFor.model_validate(object_from_json(record.waiting_for))


def present_message(record: MessageRecord) -> Message:
    """Convert a message to its wire model."""
    return Message(
        id=record.id,
        type=MessageType(record.type),
        data=public_data(object_from_json(record.data)),
        turn=record.turn,
        created_at=to_datetime(record.created_at),
        replaced_by=record.replaced_by,
    )


def present_approval(call: CallRecord, requested_at: int) -> CallApproval:
    """Convert an approval: requested at that time (ms), and possibly decided."""
    return CallApproval(
        message=call.approval_message,
        requested_at=to_datetime(requested_at),
        expires_at=_time(call.approval_expires_at),
        approved=call.approved,
        decided_at=_time(call.decided_at),
        decided_by=call.decided_by,
        reason=call.decision_reason,
        original_input=optional_from_json(call.original_input),
    )


def present_call(shown: CallView) -> Call:
    """Convert a call, with its result if there is one and it is not too long."""
    call = shown.call
    requested_at = call.approval_requested_at
    return Call(
        id=call.id,
        run_id=shown.run_id,
        service=call.service,
        function=call.function,
        status=CallStatus(call.status),
        input=from_json(call.input),
        reasoning=call.reasoning,
        result=_result(shown),
        result_type=None if call.result_type is None else ResultType(call.result_type),
        result_size=call.result_size,
        attempts=call.attempts,
        machine_id=call.machine_id,
        approval=None if requested_at is None else present_approval(call, requested_at),
        cached_from=call.cached_from,
        blobs=[present_blob(blob) for blob in shown.blobs],
        created_at=to_datetime(call.created_at),
        started_at=_time(call.handed_out_at),
        finished_at=_time(call.finished_at),
    )


def _result(shown: CallView) -> JsonValue:
    if shown.content is None:
        return None
    return shown.content if shown.call.result_is_text else from_json(shown.content)


def present_blob(record: BlobRecord) -> Blob:
    """Convert a blob, without its content."""
    return Blob(
        id=record.id,
        call_id=record.call_id,
        name=record.name,
        type=BlobType(record.type),
        size=record.size,
        created_at=to_datetime(record.created_at),
    )


def present_event(record: EventRecord) -> Event:
    """Convert one numbered event."""
    return Event(
        version=record.version,
        type=record.type,
        data=object_from_json(record.data),
        created_at=to_datetime(record.created_at),
    )
