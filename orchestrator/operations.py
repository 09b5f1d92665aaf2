"""What a caller may do. Checks come first; then one fact is written; then the engine is nudged.

Law: accepted means durable. A wish is a row before anybody is told that it was taken. The nudge may get lost with
this process or with Temporal away: the sweeper repeats it, so a caller never has to.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Iterable

from pydantic import JsonValue

from orchestrator.activity_interface import RunRef
from orchestrator.errors import InvalidRequestError, TooLargeError, UnavailableError
from orchestrator.ids import new_id
from orchestrator.registry import parse_policies, resolve_model
from orchestrator.schema import check_schema
from orchestrator.settings import Settings
from orchestrator.store.functions import tool_name
from orchestrator.store.json_text import dump, dump_optional, load
from orchestrator.store.records import FunctionRecord, MessageRecord, RunRecord
from orchestrator.store.runs import NewRun
from orchestrator.store.store import Store
from orchestrator.temporal import Temporal
from perdure.contract import (
    MAX_CONTEXT_BYTES,
    CreateMessage,
    CreateRun,
    FunctionDefinition,
    FunctionReference,
    MessageType,
    RegisterMachine,
    StatusChangeTarget,
)

_log = logging.getLogger(__name__)
_NAME_WORDS = 8


class Operations:
    """The commands of the API. Questions that only read go to the store directly."""

    def __init__(self, store: Store, temporal: Temporal, settings: Settings) -> None:
        self._store = store
        self._temporal = temporal
        self._settings = settings
        self._policies = tuple(parse_policies(settings.scripted_policies))
        self._nudges: set[asyncio.Task[None]] = set()

    async def create_run(
        self, cluster_id: str, request: CreateRun, *, idempotency_key: str | None = None
    ) -> tuple[RunRecord, bool]:
        """Accept a run; True if it is new. Raises `InvalidRequestError` and its kin, naming the field."""
        _check_context(request.context)
        if request.result_schema is not None:
            check_schema(request.result_schema, pointer="/resultSchema")
        known = await self._store.functions.all_of(cluster_id)
        new = NewRun(
            cluster_id=cluster_id,
            id=request.id or new_id(),
            message_id=new_id(),
            prompt=request.initial_prompt,
            name=request.name or _name_from(request.initial_prompt),
            model=self._model(request.model),
            system_prompt=request.system_prompt,
            result_schema=dump_optional(request.result_schema),
            attached_functions=_attached(request, known),
            on_status_change=_handler(request.on_status_change, known),
            metadata=request.metadata,
            context=request.context,
            interactive=request.interactive,
            call_summarization=request.call_summarization,
            idempotency_key=idempotency_key,
            request_hash=_hash(request),
        )
        record, is_new = await self._store.runs.create(new)
        if is_new:
            self._in_background(self._temporal.start_run(RunRef(cluster_id, record.id)))
        return record, is_new

    def _model(self, name: str | None) -> str:
        try:
            return str(resolve_model(name or self._settings.model, policies=self._policies))
        except ValueError as error:
            raise InvalidRequestError(str(error), pointer="/model", code="unknown_model") from error

    async def add_message(self, ref: RunRef, request: CreateMessage) -> tuple[MessageRecord, bool]:
        """Accept a follow-up; True if it is new. Raises `NotFoundError`, `ConflictError`."""
        record, is_new = await self._store.messages.add(
            ref, request.id or new_id(), MessageType(request.type), request.message
        )
        if is_new:
            self._in_background(self._temporal.nudge_run(ref))
        return record, is_new

    async def cancel_run(self, ref: RunRef, reason: str | None = None) -> RunRecord:
        """Accept the wish to end a run. Raises `NotFoundError`, `ConflictError` where it has ended."""
        record = await self._store.runs.cancel(ref, reason or "cancelled by the caller")
        self._in_background(self._temporal.nudge_run(ref))
        self._tell_handler(record)
        return record

    async def resume_run(self, ref: RunRef) -> RunRecord:
        """Let a paused run go on. Raises `NotFoundError`, `ConflictError` where it is not paused."""
        record = await self._store.runs.resume(ref)
        self._in_background(self._temporal.nudge_run(ref))
        self._tell_handler(record)
        return record

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
            [_checked(definition, index) for index, definition in enumerate(request.functions)],
            heartbeats=heartbeats,
            alive_until=alive_until,
        )

    def _tell_handler(self, record: RunRecord) -> None:
        if record.on_status_change is not None:
            self._in_background(self._temporal.nudge_delivery(RunRef(record.cluster_id, record.id)))

    def _in_background(self, nudge: Awaitable[None]) -> None:
        """The caller need not wait for Temporal: the wish is in the store."""
        task = asyncio.ensure_future(_nudge(nudge))
        self._nudges.add(task)
        task.add_done_callback(self._nudges.discard)

    async def aclose(self) -> None:
        """Let the nudges that are under way finish."""
        await asyncio.gather(*self._nudges, return_exceptions=True)


async def _nudge(nudge: Awaitable[None]) -> None:
    try:
        await nudge
    except UnavailableError as error:
        _log.warning("The sweeper will nudge the run: %s", error)


def _name_from(prompt: str) -> str:
    """The prompt's first words, as a run's name."""
    words = prompt.split()
    name = " ".join(words[:_NAME_WORDS])[:80].strip()
    return name or "run"


def _check_context(context: dict[str, JsonValue] | None) -> None:
    if context is not None and len(dump(context)) > MAX_CONTEXT_BYTES:
        raise TooLargeError(
            f"The context may have {MAX_CONTEXT_BYTES} characters as JSON. Pass a reference to larger data.",
            pointer="/context",
        )


def _attached(
    request: CreateRun, known: Iterable[FunctionRecord]
) -> list[FunctionReference] | None:
    if request.attached_functions is None:
        return None
    by_name = {tool_name(record.service, record.name): record for record in known}
    by_name |= {f"{record.service}_{record.name}": record for record in by_name.values()}
    return [
        _attach(reference, by_name, f"/attachedFunctions/{index}")
        for index, reference in enumerate(request.attached_functions)
    ]


def _attach(
    reference: FunctionReference | str, known: dict[str, FunctionRecord], pointer: str
) -> FunctionReference:
    name = (
        reference
        if isinstance(reference, str)
        else tool_name(reference.service, reference.function)
    )
    record = known.get(name)
    if record is None:
        available = ", ".join(sorted(n for n, r in known.items() if not r.private)) or "none"
        raise InvalidRequestError(
            f"No function {name!r} is registered. Start its function worker first. Registered: {available}.",
            pointer=pointer,
            code="unknown_function",
        )
    if record.private:
        raise InvalidRequestError(
            f"The function {name!r} is private; the model cannot be given it.",
            pointer=pointer,
            code="private_function",
        )
    return FunctionReference(service=record.service, function=record.name)


def _handler(
    target: StatusChangeTarget | None, known: Iterable[FunctionRecord]
) -> StatusChangeTarget | None:
    if target is None:
        return None
    reference = target.function
    if not any(r.service == reference.service and r.name == reference.function for r in known):
        raise InvalidRequestError(
            f"No handler {reference.service}.{reference.function} is registered. Start its function worker first.",
            pointer="/onStatusChange/function",
            code="unknown_function",
        )
    return target


def _checked(definition: FunctionDefinition, index: int) -> FunctionDefinition:
    """The definition with its schema as an object, checked."""
    pointer = f"/functions/{index}/schema"
    schema: JsonValue = definition.schema_
    if isinstance(schema, str):
        try:
            schema = load(schema)
        except ValueError as error:
            raise InvalidRequestError(
                f"The schema of {definition.name!r} is not JSON.", pointer=pointer
            ) from error
    if schema is None:
        return definition
    if not isinstance(schema, dict):
        raise InvalidRequestError(
            f"The schema of {definition.name!r} must be an object.", pointer=pointer
        )
    check_schema(schema, pointer=pointer)
    return definition.model_copy(update={"schema_": schema})


def _hash(request: CreateRun) -> str:
    """Tells whether two requests ask for the same; fields left out and fields at their default are one."""
    asked = request.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
