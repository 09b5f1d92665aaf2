"""What a caller may do. Checks come first; then one fact is written; after its commit the engine is woken.

Law: accepted means durable. A request is a row before its caller gets an answer. The wake-up may get lost with this
process or with Temporal away: the sweeper repeats it, so a caller never has to.
"""

from __future__ import annotations

import logging

from pydantic import JsonValue

from orchestrator.errors import (
    ConflictError,
    InvalidRequestError,
    OrchestratorError,
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
    """The commands of the API. Questions that only read go to the store directly."""

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
        """Accept a run; True if it is new. Raises `InvalidRequestError` and its kin, naming the field.

        A request that was accepted before is recognised also where it would not be now: what it names may be gone.
        """
        try:
            new = await self._run_requests.build(
                cluster_id, request, idempotency_key=idempotency_key, end_user=end_user
            )
        except OrchestratorError:
            before = await self._store.runs.existing(
                cluster_id, request.id, idempotency_key, request_hash(request, end_user)
            )
            if before is None:
                raise
            return before, False
        return await self.accept_run(new)

    async def create_structured(
        self, cluster_id: str, request: CreateStructuredOutput
    ) -> RunRecord:
        """Accept a hidden run that asks a model once. Raises `InvalidRequestError` and its kin."""
        record, _ = await self.accept_run(
            await self._run_requests.build_structured(cluster_id, request)
        )
        return record

    async def accept_run(self, new: NewRun) -> tuple[RunRecord, bool]:
        """Write a run that was checked, and start it; True if it is new."""
        reach(Point.REQUEST_ACCEPTED)
        return await self._store.runs.create(new)

    async def add_message(self, ref: RunRef, request: CreateMessage) -> tuple[MessageRecord, bool]:
        """Accept a follow-up; True if it is new. Raises `NotFoundError`, `ConflictError`."""
        return await self._store.messages.add(
            ref, request.id or new_id(), MessageType(request.type), request.message
        )

    async def edit_message(self, ref: RunRef, message_id: str, text: str) -> MessageRecord:
        """Give a message another text: the run begins again from there. The same text again changes nothing.

        Raises `NotFoundError`, `ConflictError`.
        """
        record, _ = await self._store.rewind.edit(ref, message_id, text)
        return record

    async def retry_run(self, ref: RunRef, message_id: str | None = None) -> RunRecord:
        """Begin again from a message, by default the last one sent. Raises `NotFoundError`, `ConflictError`."""
        await self._store.rewind.retry(ref, message_id)
        return await self._store.runs.get(ref)

    async def delete_run(self, ref: RunRef) -> None:
        """Delete a run for good and stop what works for it. Raises `NotFoundError`."""
        await self._store.deletion.delete(ref)
        try:
            await self._temporal.end_run(ref)
        except UnavailableError as error:
            _log.warning("What works for a deleted run ends by itself: %s", error)

    async def cancel_run(self, ref: RunRef, reason: str | None = None) -> RunRecord:
        """Accept the wish to end a run. Raises `NotFoundError`, `ConflictError` where it has ended."""
        return await self._store.runs.cancel(ref, reason or "cancelled by the caller")

    async def resume_run(self, ref: RunRef, budget: Budget | None = None) -> RunRecord:
        """Let a paused run go on, with a higher budget where one is given.

        Raises `NotFoundError`, `ConflictError` where it is not paused or cannot go on, `InvalidRequestError` where the
        budget given is used up already or cannot be kept.
        """
        if budget is not None and budget.usd is not None:
            self._run_requests.check_price((await self._store.runs.get(ref)).model)
        return await self._store.runs.resume(ref, budget)

    async def decide_call(
        self, cluster_id: str, call_id: str, request: DecideCall, *, by: str
    ) -> CallRecord:
        """Take a person's word on a call: it is made, or the model is told that it was denied.

        Raises `NotFoundError`, `InvalidRequestError` for arguments that do not fit, `ConflictError` where there is
        nothing to decide (any more).
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
        """Accept a direct call; its id. Raises `InvalidRequestError` and its kin, naming the field."""
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
            raise ConflictError("The first call with this idempotency key is gone. Use a new key.")
        return raced

    async def _existing_call(
        self, cluster_id: str, request: CreateCall, idempotency_key: str | None, end_user: EndUser
    ) -> str | None:
        run = await self._store.runs.existing(
            cluster_id, None, idempotency_key, call_hash(request, end_user)
        )
        return None if run is None else await self._store.direct_calls.of_run(run.key)

    async def cancel_call(self, cluster_id: str, call_id: str, reason: str | None = None) -> None:
        """Give a call up. Raises `NotFoundError`, `ConflictError` where it has ended."""
        await self._store.calls.cancel(cluster_id, call_id, reason)

    async def resend_delivery(self, ref: RunRef, transition: int) -> DeliveryRecord:
        """Send a settled delivery again. Raises `NotFoundError`, `ConflictError` where it is still under way."""
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
        """Take what a machine offers, which keeps its calls by `heartbeats` or is believed. Raises `InvalidRequestError` and its kin, naming the function."""
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
        raise InvalidRequestError("A call that is denied takes no arguments.", pointer="/input")
    problems = compile_schema(schema).problems(arguments)
    if problems:
        raise InvalidRequestError(
            "The arguments do not satisfy the function's schema: " + "; ".join(problems),
            pointer="/input",
        )
