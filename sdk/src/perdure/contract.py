"""Every JSON body that crosses HTTP, in one place: the server and the SDK share this module and nothing else.

On the wire names are camelCase, in Python snake_case. `Request` forbids fields it does not know (a typo is an
error that names the field); `Reply` ignores them (a newer server may say more than an older client knows).
Limits stand beside the fields they bound, so that the OpenAPI document, the error and the code cannot disagree.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictInt,
    StringConstraints,
)
from pydantic.alias_generators import to_camel

MAX_PROMPT = 500_000
"""Characters of an initial prompt, a system prompt or a message."""
MAX_NAME = 256
MAX_METADATA_PAIRS = 64
MAX_METADATA_KEY = 128
MAX_METADATA_VALUE = 1_024
MAX_ATTACHED_FUNCTIONS = 128
MAX_FUNCTIONS_PER_SERVICE = 256
MAX_DESCRIPTION = 4_096
MAX_REASON = 1_024
MAX_REQUEST_BYTES = 4 * 1024 * 1024
"""Bytes of any request body except a call's result."""
MAX_RESULT_BYTES = 16 * 1024 * 1024
"""Bytes of a call's result as JSON; a larger one is refused and the model is told the limit."""
MAX_CONTEXT_BYTES = 256 * 1024
MAX_WAIT_SECONDS = 30
INLINE_RESULT_CHARACTERS = 10_000
"""A longer call result is summarized for the model, or cut with a marker; the original is kept."""
HEARTBEAT_SECONDS = 4.0
"""A function worker tells this often that a call still runs, and learns whether it was cancelled."""

RunId = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z\-_.]{4,128}$")]
"""A run's id: given by the caller, or made by the server (26 characters, sorted by time)."""
MessageId = RunId
ServiceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,50}$")]
FunctionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=MAX_METADATA_KEY)]
MetadataValue = Annotated[str, StringConstraints(max_length=MAX_METADATA_VALUE, strict=True)]
Prompt = Annotated[str, StringConstraints(min_length=1, max_length=MAX_PROMPT, strict=True)]


class _Wire(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, protected_namespaces=()
    )


class Request(_Wire):
    """A body a client sends: unknown fields are refused by name."""

    model_config = ConfigDict(extra="forbid")


class Reply(_Wire):
    """A body the server answers: unknown fields are ignored, so that old clients outlive new servers."""

    model_config = ConfigDict(extra="ignore")


class RunStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL_STATUSES = frozenset({RunStatus.DONE, RunStatus.FAILED, RunStatus.CANCELLED})
"""A turn ends in one of these; only a new message leaves done or failed, nothing leaves cancelled."""


class CallStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILURE = "failure"


class ResultType(StrEnum):
    RESOLUTION = "resolution"
    REJECTION = "rejection"


class MessageType(StrEnum):
    HUMAN = "human"
    AGENT = "agent"
    SUPERVISOR = "supervisor"
    INVOCATION_RESULT = "invocation-result"


class FunctionReference(Request):
    """A function by its service and name."""

    service: ServiceName
    function: FunctionName


class StatusChangeTarget(Request):
    """Who is told of each status transition: a handler function, by its service and name."""

    function: FunctionReference


FullName = Annotated[str, StringConstraints(min_length=3, max_length=115)]
"""A function by one name, `service_function`."""
AttachedFunctions = Annotated[
    list[FunctionReference | FullName], Field(min_length=1, max_length=MAX_ATTACHED_FUNCTIONS)
]


class CreateRun(Request):
    """Start a run. Only `initialPrompt` is required."""

    initial_prompt: Prompt
    system_prompt: Prompt | None = None
    id: RunId | None = Field(
        default=None, description="The caller's own id; sending it again returns the same run."
    )
    name: Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME)] | None = None
    model: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = Field(
        default=None, description="`provider/model` or a model id; default: the server's setting."
    )
    result_schema: dict[str, JsonValue] | bool | None = Field(
        default=None, description="A JSON Schema (draft 7 or 2020-12) that the result must satisfy."
    )
    attached_functions: AttachedFunctions | None = Field(
        default=None, description="Default: every function of the cluster that is not private."
    )
    on_status_change: StatusChangeTarget | None = None
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=MAX_METADATA_PAIRS)] = (
        Field(default_factory=dict)
    )
    context: dict[str, JsonValue] | None = Field(
        default=None, description="Passed to every function and handler; never to the model."
    )
    interactive: StrictBool = True
    call_summarization: StrictBool = True


class Usage(Reply):
    """Tokens a run was charged for, as the provider reported them, summed over its recorded steps."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    model_calls: int = 0


class WaitingFor(Reply):
    """Why a running run makes no progress just now."""

    kind: Literal["function", "model"]
    detail: str
    service: str | None = None
    function: str | None = None
    call_id: str | None = None
    since: datetime
    retry_at: datetime | None = None


class Run(Reply):
    """A run as it stands. `version` is the number of its last event."""

    id: str
    cluster_id: str
    name: str
    status: RunStatus
    turn: int
    version: int
    transition: int
    result: JsonValue = None
    result_null_reason: str | None = Field(
        default=None, description="Why a run that is done has no result for its schema."
    )
    failure_reason: str | None = None
    paused_reason: str | None = None
    waiting_for: WaitingFor | None = None
    model_identifier: str
    system_prompt: str | None = None
    result_schema: dict[str, JsonValue] | bool | None = None
    attached_functions: list[FunctionReference] | None = None
    on_status_change: StatusChangeTarget | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    interactive: bool = True
    call_summarization: bool = True
    usage: Usage = Field(default_factory=Usage)
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None = None


class CancelRun(Request):
    """Stop a run; functions at work learn it from the answer to their next heartbeat."""

    reason: Annotated[str, StringConstraints(max_length=MAX_REASON)] | None = None


class RunPage(Reply):
    """Runs, newest first."""

    items: list[Run]
    next_cursor: str | None = Field(default=None, description="Pass as `cursor` for the next page.")


class CreateMessage(Request):
    """A follow-up to an interactive run. While the run is busy it is queued, in order."""

    message: Prompt
    id: MessageId | None = None
    type: Literal["human", "supervisor"] = "human"


class Message(Reply):
    id: str
    type: MessageType
    data: dict[str, Any]
    turn: int
    created_at: datetime


class MessagePage(Reply):
    """Messages, oldest first."""

    items: list[Message]
    next_cursor: str | None = None


class Event(Reply):
    """One numbered thing that happened to a run; `version` is gapless from 1."""

    version: int
    type: str
    data: dict[str, Any]
    created_at: datetime


class EventPage(Reply):
    """Events after `after`, in order. `version` is the last one listed: pass it as the next `after`."""

    items: list[Event]
    version: int
    has_more: bool = False


class StatusChange(Reply):
    """What a status-change handler receives, at least once per transition and in order.

    `id` is `runId:transition`: the same id twice is the same transition twice.
    """

    id: str
    run_id: str
    cluster_id: str
    transition: int
    turn: int
    previous: RunStatus
    status: RunStatus
    result: JsonValue = None
    result_null_reason: str | None = None
    failure_reason: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    created_at: datetime


class FunctionConfig(Request):
    """How the server treats a function's calls."""

    timeout_seconds: Annotated[float, Field(strict=True, gt=0, le=86_400)] | None = Field(
        default=None, description="Seconds one attempt may run; default 300."
    )
    retries: Annotated[int, Field(strict=True, ge=0, le=100)] | None = Field(
        default=None, description="Further attempts after one that raised or was lost; default 0."
    )
    deadline_seconds: Annotated[float, Field(strict=True, gt=0, le=30 * 86_400)] | None = Field(
        default=None, description="Seconds a call may take over all, waiting for a worker included."
    )
    retry_count_on_stall: Annotated[int, Field(strict=True, ge=0, le=100)] | None = None
    private: StrictBool = False
    handler: StrictBool = Field(
        default=False, description="A status-change handler: private, never offered to the model."
    )


class FunctionDefinition(Request):
    name: FunctionName
    description: Annotated[str, StringConstraints(max_length=MAX_DESCRIPTION)] | None = None
    schema_: dict[str, JsonValue] | str | None = Field(
        default=None, alias="schema", description="JSON Schema of the input; also as a string."
    )
    config: FunctionConfig | None = None


class RegisterMachine(Request):
    """Replace what this machine offers of one service. `{}` only asks which cluster the key belongs to."""

    service: ServiceName | None = None
    functions: Annotated[list[FunctionDefinition], Field(max_length=MAX_FUNCTIONS_PER_SERVICE)] = (
        Field(default_factory=list[FunctionDefinition])
    )


class Registered(Reply):
    cluster_id: str


class FunctionCall(Reply):
    """A call handed to a machine, which must post its result before the timeout."""

    id: str
    service: str
    function: str
    input: JsonValue
    run_id: str
    run_context: dict[str, JsonValue] | None = None
    auth_context: dict[str, JsonValue] | None = None
    approved: bool = False
    attempt: int = Field(description="Number of this hand-out; send it back with the result.")
    timeout_seconds: float
    handler: bool = Field(
        default=False, description="The function is a handler, and `input` a status change."
    )


class PostResult(Request):
    """What a function returned (resolution) or raised (rejection). A missing `result` is a success too."""

    result: JsonValue = None
    result_type: ResultType
    attempt: StrictInt | None = None
    meta: dict[str, JsonValue] = Field(default_factory=dict)


class Heartbeat(Request):
    attempt: StrictInt | None = None


class HeartbeatReply(Reply):
    cancelled: bool = Field(description="True: stop working on the call; its result is not wanted.")


class ServiceFunction(Reply):
    name: str
    description: str | None = None
    schema_: dict[str, JsonValue] | None = Field(default=None, alias="schema")
    config: FunctionConfig | None = None
    live_machines: int = Field(default=0, description="Function workers that offer it just now.")


class ServiceDescription(Reply):
    name: str
    functions: list[ServiceFunction]


class ServicePage(Reply):
    items: list[ServiceDescription]
    next_cursor: str | None = None


class Identity(Reply):
    """Whose key this is."""

    cluster_id: str
    key_name: str


class Health(Reply):
    status: Literal["ok", "degraded"]
    missing: list[str] = Field(default_factory=list, description="What is not reachable just now.")


class FieldProblem(Reply):
    pointer: str = Field(description="JSON Pointer (RFC 6901) to the field.")
    detail: str


class Problem(Reply):
    """An error (RFC 9457, `application/problem+json`). `code` is stable, `detail` is for people."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldProblem] = Field(default_factory=list[FieldProblem])
