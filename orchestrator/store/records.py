"""Rows as values. Field names are column names; JSON columns stay text until they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from perdure.contract import RunStatus


@dataclass(frozen=True, slots=True)
class RunRecord:
    key: int
    cluster_id: str
    id: str
    name: str
    model: str
    system_prompt: str | None
    result_schema: str | None
    attached_functions: str | None
    on_status_change: str | None
    metadata: str
    context: str | None
    interactive: bool
    call_summarization: bool
    kind: str
    test: bool
    mocks: str | None
    tags: str
    reasoning_traces: bool
    priority: int
    deadline_at: int | None
    budget: str | None
    options: str | None
    config_id: str | None
    config_version: int | None
    name_source: str
    auth_context: str | None
    auth_token_hash: str | None
    idempotency_key: str | None
    request_hash: str
    status: str
    turn: int
    step: int
    corrections: int
    tries: int
    version: int
    transition: int
    wake_wanted: int
    wake_read: int
    wake_at: int
    seen_message: int
    rewinds: int
    rewinds_read: int
    cancel_reason: str | None
    waiting_for: str | None
    waiting_since: int | None
    parked: bool
    result: str | None
    result_null_reason: str | None
    failure_reason: str | None
    paused_reason: str | None
    paused_for: str | None
    feedback_comment: str | None
    feedback_score: float | None
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    model_calls: int
    function_calls: int
    cost_micros: int
    created_at: int
    updated_at: int
    finished_at: int | None

    @property
    def run_status(self) -> RunStatus:
        return RunStatus(self.status)


@dataclass(frozen=True, slots=True)
class MessageRecord:
    key: int
    run_key: int
    id: str
    turn: int
    step: int | None
    type: str
    data: str
    replaced_by: str | None
    created_at: int


@dataclass(frozen=True, slots=True)
class CallRecord:
    key: int
    run_key: int
    id: str
    cluster_id: str
    kind: str
    service: str
    function: str
    input: str
    step: int | None
    tool_call_id: str | None
    tool_name: str | None
    reasoning: str | None
    config: str
    cache_key: str | None
    max_attempts: int
    timeout_ms: int
    deadline_ms: int
    heartbeats: bool
    status: str
    attempts: int
    handouts: int
    acknowledged: bool
    machine_id: str | None
    task_token: bytes | None
    last_error: str | None
    interruptions: int
    approval_requested_at: int | None
    approval_expires_at: int | None
    approval_message: str | None
    approved: bool | None
    decided_at: int | None
    decided_by: str | None
    decision_reason: str | None
    original_input: str | None
    result_type: str | None
    result_size: int | None
    result_is_text: bool
    cached_from: str | None
    cancelled: bool
    oversized: bool
    shown: bool
    created_at: int
    handed_out_at: int | None
    finished_at: int | None


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """A delivery with the state of its call. `kind`: "handler" or "webhook"."""

    transition: int
    status: str
    kind: str
    service: str
    function: str
    call_id: str
    attempts: int
    last_error: str | None
    created_at: int
    settled_at: int | None


@dataclass(frozen=True, slots=True)
class WebhookSecretRecord:
    """A secret that signs webhooks, as it is stored; `expires_at` is set after a rotation."""

    id: str
    cluster_id: str
    value: bytes
    created_at: int
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class BlobRecord:
    """A blob without its content."""

    id: str
    call_key: int
    call_id: str
    name: str
    type: str
    size: int
    created_at: int


@dataclass(frozen=True, slots=True)
class EventRecord:
    run_key: int
    version: int
    type: str
    data: str
    created_at: int


@dataclass(frozen=True, slots=True)
class FunctionRecord:
    cluster_id: str
    service: str
    name: str
    tool_name: str
    description: str | None
    input_schema: str | None
    config: str
    private: bool
    heartbeats: bool
    updated_at: int


class FunctionName(NamedTuple):
    """The part of a function that is needed to refer to it."""

    service: str
    name: str
    private: bool


@dataclass(frozen=True, slots=True)
class KeyRecord:
    id: str
    cluster_id: str
    name: str
    scopes: str
    created_by: str | None
    created_at: int
    revoked_at: int | None
