"""The operations on runs and calls: validate, commit one transaction, then signal Temporal.

Invariant: accepted means durable. A request is committed before its caller gets a response. A wake-up signal can be lost
if this process crashes or Temporal is unavailable; the sweeper repeats it, so callers never need to.
"""

from __future__ import annotations

import logging

from pydantic import JsonValue

from orchestrator.errors import (
    ConflictError,
    InvalidRequestError,
    UnavailableError,
)
from orchestrator.operations.call_requests import build_direct_call, call_hash
from orchestrator.operations.function_registration import checked_definitions
from orchestrator.operations.run_requests import (
    NO_END_USER,
    EndUser,
    RunRequestValidator,
    request_hash,
)
from orchestrator.runtime.failpoints import Point, reach
from orchestrator.runtime.ids import new_id
from orchestrator.schema import compile_schema
from orchestrator.settings import Settings
from orchestrator.store.calls.approvals import Decision
from orchestrator.store.records import CallRecord, DeliveryRecord, MessageRecord, RunRecord
from orchestrator.store.runs.creation import NewRun
from orchestrator.store.store import Store
from orchestrator.temporal.client import Temporal
from orchestrator.workflows.interface import RunRef
from perdure.contract import (
    Budget,
    CreateCall,
    CreateMessage,
    CreateRun,
    CreateStructuredOutput,
    DecideCall,
    MessageType,
    RegisterMachine,
)

_log = logging.getLogger(__name__)


class Operations:
    """The commands of the API. Queries go to the store directly."""

    def __init__(self, store: Store, temporal: Temporal, settings: Settings) -> None:
        self._store = store
        self._temporal = temporal
        self._run_requests = RunRequestValidator(store, settings)

    async def create_run(
        self,
        cluster_id: str,
        request: CreateRun,
        *,
        idempotency_key: str | None = None,
        end_user: EndUser = NO_END_USER,
    ) -> tuple[RunRecord, bool]:
        """Accept a run; True if it is new. Raises `InvalidRequestError` or a subclass, naming the field.

        A repeated request is recognised even if it would be rejected now, e.g. because a function was unregistered.
        """
        before = await self._store.runs.existing(
            cluster_id, request.id, idempotency_key, request_hash(request, end_user)
        )
        if before is not None:
            return before, False
        new = await self._run_requests.build(
            cluster_id, request, idempotency_key=idempotency_key, end_user=end_user
        )
        return await self.accept_run(new)

    async def create_structured(
        self, cluster_id: str, request: CreateStructuredOutput
    ) -> RunRecord:
        """Accept a hidden run of one model request. Raises `InvalidRequestError` or a subclass."""
        record, _ = await self.accept_run(
            await self._run_requests.build_structured(cluster_id, request)
        )
        return record

    async def accept_run(self, new: NewRun) -> tuple[RunRecord, bool]:
        """Store a validated run and start it; True if it is new."""
        reach(Point.REQUEST_ACCEPTED)
        return await self._store.runs.create(new)

    async def add_message(self, ref: RunRef, request: CreateMessage) -> tuple[MessageRecord, bool]:
        """Accept a follow-up; True if it is new. Raises `NotFoundError`, `ConflictError`."""
        return await self._store.messages.add(
            ref, request.id or new_id(), MessageType(request.type), request.message
        )

    async def edit_message(self, ref: RunRef, message_id: str, text: str) -> MessageRecord:
        """Replace a message's text and rewind the run to it. The same text changes nothing.

        Raises `NotFoundError`, `ConflictError`.
        """
        record, _ = await self._store.rewind.edit(ref, message_id, text)
        return record

    async def retry_run(self, ref: RunRef, message_id: str | None = None) -> RunRecord:
        """Rewind the run to a message, by default the last one sent. Raises `NotFoundError`, `ConflictError`."""
        await self._store.rewind.retry(ref, message_id)
        return await self._store.runs.get(ref)

    async def delete_run(self, ref: RunRef) -> None:
        """Delete a run permanently and terminate its workflows. Raises `NotFoundError`."""
        await self._store.deletion.delete(ref)
        try:
            await self._temporal.end_run(ref)
        except UnavailableError as error:
            _log.warning("The workflows of a deleted run end by themselves: %s", error)

    async def cancel_run(self, ref: RunRef, reason: str | None = None) -> RunRecord:
        """Request the cancellation of a run. Raises `NotFoundError`, or `ConflictError` if it has ended."""
        return await self._store.runs.cancel(ref, reason or "cancelled by the caller")

    async def resume_run(self, ref: RunRef, budget: Budget | None = None) -> RunRecord:
        """Resume a paused run, optionally with a higher budget.

        Raises `NotFoundError`, `ConflictError` if the run is not paused or cannot resume, `InvalidRequestError` if the
        given budget is already used up or cannot be enforced.
        """
        if budget is not None and budget.usd is not None:
            self._run_requests.check_price((await self._store.runs.get(ref)).model)
        return await self._store.runs.resume(ref, budget)

    async def decide_call(
        self, cluster_id: str, call_id: str, request: DecideCall, *, by: str
    ) -> CallRecord:
        """Record a decision on a call: it runs, or the model is informed of the denial.

        Raises `NotFoundError`, `InvalidRequestError` for arguments that violate the schema, `ConflictError` if the call
        does not wait for approval.
        """
        if request.input is not None:
            schema = await self._store.approvals.schema_of(cluster_id, call_id)
            _check_arguments(request.input, schema, approved=request.approved)
        return await self._store.approvals.decide(
            cluster_id, call_id, Decision(request.approved, by, request.reason, request.input)
        )

    async def create_call(
        self,
        cluster_id: str,
        request: CreateCall,
        *,
        idempotency_key: str | None = None,
        end_user: EndUser = NO_END_USER,
    ) -> str:
        """Accept a direct call and return its id. Raises `InvalidRequestError` or a subclass, naming the field."""
        before = await self._existing_call(cluster_id, request, idempotency_key, end_user)
        if before is not None:
            return before
        new, function = await build_direct_call(
            self._store, cluster_id, request, idempotency_key=idempotency_key, end_user=end_user
        )
        reach(Point.REQUEST_ACCEPTED)
        call_id = await self._store.direct_calls.create(new, function, request.input)
        if call_id is not None:
            return call_id
        raced = await self._existing_call(cluster_id, request, idempotency_key, end_user)
        if raced is None:
            raise ConflictError(
                "The first call with this idempotency key was deleted. Use a new key."
            )
        return raced

    async def _existing_call(
        self, cluster_id: str, request: CreateCall, idempotency_key: str | None, end_user: EndUser
    ) -> str | None:
        run = await self._store.runs.existing(
            cluster_id, None, idempotency_key, call_hash(request, end_user)
        )
        return None if run is None else await self._store.direct_calls.of_run(run.key)

    async def cancel_call(self, cluster_id: str, call_id: str, reason: str | None = None) -> None:
        """Cancel a call. Raises `NotFoundError`, or `ConflictError` if it has ended."""
        await self._store.calls.cancel(cluster_id, call_id, reason)

    async def resend_delivery(self, ref: RunRef, transition: int) -> DeliveryRecord:
        """Redeliver a finished delivery. Raises `NotFoundError`, or `ConflictError` if it is still pending."""
        return await self._store.deliveries.resend(ref, transition)

    async def register(
        self,
        cluster_id: str,
        machine_id: str,
        request: RegisterMachine,
        *,
        heartbeats: bool,
        alive_until: int,
    ) -> None:
        """Register a machine's functions; `heartbeats`: the machine renews its leases. Raises `InvalidRequestError` or a subclass."""
        if request.service is None:
            if request.functions:
                raise InvalidRequestError("Functions need a service name.", pointer="/service")
            return
        await self._store.functions.register(
            cluster_id,
            machine_id,
            request.service,
            checked_definitions(request),
            heartbeats=heartbeats,
            alive_until=alive_until,
        )


def _check_arguments(arguments: JsonValue, schema: str, *, approved: bool) -> None:
    if not approved:
        raise InvalidRequestError("A denial must not include arguments.", pointer="/input")
    problems = compile_schema(schema).problems(arguments)
    if problems:
        raise InvalidRequestError(
            "The arguments do not satisfy the function's schema: " + "; ".join(problems),
            pointer="/input",
        )
