"""The catalogue of events: every type of event that a run can have, and the fields of its `data`.

The store writes nothing but these. OpenAPI and the table in docs/reference/http-api.md are generated from this module,
so a new type is one class here and one place that writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from typing import Any, ClassVar, dataclass_transform

from pydantic import ConfigDict, JsonValue
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict, override  # pydantic asks for it below Python 3.12


class EventType(StrEnum):
    """Types of events. A newer server may know more of them than this client."""

    RUN_CREATED = "run.created"
    RUN_STATUS = "run.status"
    RUN_WAITING = "run.waiting"
    RUN_CANCEL_REQUESTED = "run.cancel_requested"
    RUN_BUDGET_CHANGED = "run.budget_changed"
    RUN_RETRIED = "run.retried"
    RUN_NAMED = "run.named"
    RUN_FEEDBACK = "run.feedback"
    MESSAGE_ADDED = "message.added"
    MESSAGE_EDITED = "message.edited"
    STEP_ATTEMPTED = "step.attempted"
    STEP_RECORDED = "step.recorded"
    STEP_DROPPED = "step.dropped"
    REPLY_CORRECTED = "reply.corrected"
    CALL_CREATED = "call.created"
    CALL_CACHED = "call.cached"
    CALL_MOCKED = "call.mocked"
    CALL_STARTED = "call.started"
    CALL_UNDELIVERED = "call.undelivered"
    CALL_LOST = "call.lost"
    CALL_RETRIED = "call.retried"
    CALL_INTERRUPTED = "call.interrupted"
    CALL_APPROVED = "call.approved"
    CALL_DENIED = "call.denied"
    CALL_CANCELLED = "call.cancelled"
    CALL_FINISHED = "call.finished"
    CALL_SUPERSEDED = "call.superseded"
    CALL_LATE = "call.late"
    CALL_SUMMARIZED = "call.summarized"
    CALL_CUT = "call.cut"
    BLOB_CREATED = "blob.created"
    DELIVERY_DEAD = "delivery.dead"
    DELIVERY_RESENT = "delivery.resent"


@dataclass_transform(kw_only_default=True, frozen_default=True)
class EventData:
    """The `data` of one type of event. Names are snake_case here and camelCase on the wire.

    A field with the default None is left out where it has no value; any other field is always there, null included.
    Nothing is validated: the store writes what models and functions said, escaped where a database needs it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(alias_generator=to_camel)
    event_type: ClassVar[EventType]
    _wire_fields: ClassVar[tuple[tuple[str, str, bool], ...]]
    """Of each field its name, its name on the wire, and whether it is left out where it is None."""

    @override
    def __init_subclass__(cls, *, type: EventType) -> None:
        cls.event_type = type
        made: Any = dataclass(frozen=True, kw_only=True)(cls)
        cls._wire_fields = tuple(
            (field.name, to_camel(field.name), field.default is not MISSING)
            for field in fields(made)
        )

    def to_wire(self) -> dict[str, JsonValue]:
        """The fields by their names on the wire."""
        return {
            name: value
            for field, name, optional in self._wire_fields
            if (value := getattr(self, field)) is not None or not optional
        }


class TokenCounts(TypedDict):
    """Tokens of one model reply, by their names on the wire."""

    inputTokens: int
    outputTokens: int
    cacheReadTokens: int
    cacheWriteTokens: int


class RunCreated(EventData, type=EventType.RUN_CREATED):
    """The run was accepted."""

    name: str
    model: str
    message_id: str | None = None


class RunStatusChanged(EventData, type=EventType.RUN_STATUS):
    """The status changed. `transition` counts the changes of the run from 1."""

    previous: str
    status: str
    transition: int
    turn: int
    reason: str | None


class RunWaiting(EventData, type=EventType.RUN_WAITING):
    """The run makes no progress. `kind` says what it waits for; `retryAt` is the time of the next attempt, if it is known."""

    kind: str
    detail: str
    since: str
    service: str | None = None
    function: str | None = None
    call_id: str | None = None
    step: int | None = None
    retry_at: str | None = None


class CancelRequested(EventData, type=EventType.RUN_CANCEL_REQUESTED):
    """A caller asked to cancel the run while it was running."""

    reason: str


class BudgetChanged(EventData, type=EventType.RUN_BUDGET_CHANGED):
    """The run was resumed with another budget."""

    budget: dict[str, JsonValue]


class RunRetried(EventData, type=EventType.RUN_RETRIED):
    """The run begins again from a message. `replaced` counts the messages that no longer apply."""

    message_id: str
    replaced: int
    turn: int


class RunNamed(EventData, type=EventType.RUN_NAMED):
    """A model named the run."""

    name: str
    previous: str


class FeedbackGiven(EventData, type=EventType.RUN_FEEDBACK):
    """Feedback was set; null removes a value."""

    comment: str | None
    score: float | None


class MessageAdded(EventData, type=EventType.MESSAGE_ADDED):
    """A follow-up message was accepted."""

    message_id: str
    message_type: str
    turn: int


class MessageEdited(EventData, type=EventType.MESSAGE_EDITED):
    """A message was edited and the run begins again from it. `replaced` counts the messages that no longer apply."""

    message_id: str
    replaced: int
    turn: int


class StepAttempted(EventData, type=EventType.STEP_ATTEMPTED):
    """A model step is tried again."""

    step: int
    attempt: int


class StepRecorded(EventData, type=EventType.STEP_RECORDED):
    """A model reply was recorded."""

    step: int
    turn: int
    model: str
    stop: str
    usage: TokenCounts


class StepDropped(EventData, type=EventType.STEP_DROPPED):
    """A model reply came too late and was not recorded. Its usage is reported here only."""

    step: int
    usage: TokenCounts


class ReplyCorrected(EventData, type=EventType.REPLY_CORRECTED):
    """The reply was not usable; the model is asked again with the problem."""

    step: int
    problem: str


class CallCreated(EventData, type=EventType.CALL_CREATED):
    """The model asked for a call, or a caller created it."""

    call_id: str
    service: str
    function: str
    step: int | None


class CallCached(EventData, type=EventType.CALL_CACHED):
    """The result was taken from the cache. `cachedFrom` is the call that produced it."""

    call_id: str
    service: str
    function: str
    cached_from: str


class CallMocked(EventData, type=EventType.CALL_MOCKED):
    """The result is the mock given with the run."""

    call_id: str
    service: str
    function: str


class CallStarted(EventData, type=EventType.CALL_STARTED):
    """The call was leased to a function worker."""

    call_id: str
    machine_id: str
    attempt: int


class CallUndelivered(EventData, type=EventType.CALL_UNDELIVERED):
    """The lease reached no function worker. It costs the function no attempt."""

    call_id: str
    attempt: int


class CallLost(EventData, type=EventType.CALL_LOST):
    """The function worker that held the call died."""

    call_id: str
    attempt: int
    machine_id: str | None


class CallRetried(EventData, type=EventType.CALL_RETRIED):
    """The function failed and is tried again after `delay` seconds."""

    call_id: str
    attempt: int
    error: str
    delay: float


class CallInterrupted(EventData, type=EventType.CALL_INTERRUPTED):
    """The call waits for an approval."""

    call_id: str
    service: str
    function: str
    message: str | None
    expires_at: str


class CallApproved(EventData, type=EventType.CALL_APPROVED):
    """The call was approved; `edited` if its input was changed."""

    call_id: str
    decided_by: str
    reason: str | None
    edited: bool


class CallDenied(EventData, type=EventType.CALL_DENIED):
    """The approval was denied, or expired."""

    call_id: str
    decided_by: str
    reason: str | None


class CallCancelled(EventData, type=EventType.CALL_CANCELLED):
    """A caller cancelled the call."""

    call_id: str
    reason: str | None


class CallFinished(EventData, type=EventType.CALL_FINISHED):
    """The call has its result. `size` is in characters."""

    call_id: str
    service: str
    function: str
    result_type: str
    size: int


class CallSuperseded(EventData, type=EventType.CALL_SUPERSEDED):
    """A result was refused, because the call had been leased to another function worker."""

    call_id: str
    attempt: int | None = None
    machine_id: str | None = None


class CallLate(EventData, type=EventType.CALL_LATE):
    """A result came after the end of the run; it is stored. `size` is in characters."""

    call_id: str
    result_type: str
    size: int


class CallSummarized(EventData, type=EventType.CALL_SUMMARIZED):
    """The model gets a summary of a long result. Sizes are in characters."""

    call_id: str
    size: int | None
    shown_size: int


class CallCut(EventData, type=EventType.CALL_CUT):
    """The model gets the beginning of a long result. Sizes are in characters."""

    call_id: str
    size: int | None
    shown_size: int


class BlobAttached(EventData, type=EventType.BLOB_CREATED):
    """A function attached a blob to its call. `size` is in bytes."""

    blob_id: str
    call_id: str
    name: str
    type: str
    size: int


class DeliveryDead(EventData, type=EventType.DELIVERY_DEAD):
    """A status change could not be delivered and is no longer retried."""

    transition: int
    call_id: str
    reason: str | None = None


class DeliveryResent(EventData, type=EventType.DELIVERY_RESENT):
    """A delivery was requested again."""

    transition: int
    call_id: str


EVENT_DATA: Mapping[EventType, type[EventData]] = {
    data.event_type: data for data in EventData.__subclasses__()
}
"""The fields of `data`, by the type of the event."""
