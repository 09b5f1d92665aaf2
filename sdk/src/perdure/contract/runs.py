"""Runs: requests, state, lists."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    Field,
    JsonValue,
    StrictBool,
    StringConstraints,
    model_validator,
)

from perdure.contract.base import Moment, Reply, Request
from perdure.contract.functions import AttachedFunctions, FullName, FunctionReference
from perdure.contract.limits import (
    MAX_ATTACHED_FUNCTIONS,
    MAX_METADATA_PAIRS,
    MAX_NAME,
    MAX_REASON,
    MAX_TAGS,
    MAX_URL,
    MetadataKey,
    MetadataValue,
    Prompt,
    RunConfigId,
    RunId,
    Tag,
)
from perdure.contract.statuses import PausedFor, RunStatus


class WebhookTarget(Request):
    """A URL that receives status changes. Requests are signed as Standard Webhooks specifies."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL)]


class StatusChangeTarget(Request):
    """The receiver of status changes: either a handler function or a webhook."""

    function: FunctionReference | None = None
    webhook: WebhookTarget | None = None
    statuses: Annotated[list[RunStatus], Field(min_length=1, max_length=len(RunStatus))] | None = (
        Field(default=None, description="Deliver only changes to these statuses; default: all.")
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> StatusChangeTarget:
        if (self.function is None) == (self.webhook is None):
            raise ValueError("give either function or webhook")
        return self


class RunConfigReference(Request):
    """A stored run configuration and the inputs that its prompt template takes."""

    id: RunConfigId
    version: Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)] | None = Field(
        default=None, description="Default: the newest."
    )
    input: dict[str, JsonValue] | None = Field(
        default=None, description="Checked against the configuration's `inputSchema`."
    )


class Mock(Request):
    """The result of a function in a test run."""

    output: JsonValue


class TestOptions(Request):
    """Marks a run as a test: hidden from lists by default; mocked functions answer without a function worker."""

    __test__ = False  # pytest must not collect it

    enabled: StrictBool = False
    mocks: Annotated[dict[FullName, Mock], Field(max_length=MAX_ATTACHED_FUNCTIONS)] = Field(
        default_factory=dict, description="By full name, `service_function`."
    )


class Budget(Request):
    """The limits of a run. At a limit it pauses with the reason, and can be resumed with more."""

    tokens: Annotated[int, Field(strict=True, ge=1, le=2**53)] | None = Field(
        default=None, description="Tokens of all kinds."
    )
    usd: Annotated[float, Field(gt=0, le=1_000_000)] | None = Field(
        default=None, description="US dollars, by the server's price table."
    )
    steps: Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)] | None = Field(
        default=None, description="Model steps."
    )
    calls: Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)] | None = Field(
        default=None, description="Calls of functions."
    )


DEFAULT_PRIORITY = 3


class RunOptions(Request):
    """The options of a run, stored as they were sent.

    Requests inherit them, the store saves all of them, and `Run` shows those that it has a field for. A new option is
    a field here and in `Run`, a keyword of the SDK, and the code that reads it.
    """

    system_prompt: Prompt | None = None
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=MAX_METADATA_PAIRS)] = (
        Field(default_factory=dict)
    )
    tags: Annotated[list[Tag], Field(max_length=MAX_TAGS)] = Field(default_factory=list[str])
    interactive: StrictBool = True
    reasoning_traces: StrictBool = True
    call_summarization: StrictBool = True
    priority: Annotated[int, Field(strict=True, ge=1, le=5)] = Field(
        default=DEFAULT_PRIORITY,
        description="1 (first) to 5 (last) among runs that wait for the same workers.",
    )
    budget: Budget | None = None


class CreateRun(RunOptions):
    """Start a run. `initialPrompt` or `config` is required."""

    initial_prompt: Prompt | None = None
    id: RunId | None = Field(
        default=None, description="The caller's own id; sending it again returns the same run."
    )
    name: Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME)] | None = None
    model: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = Field(
        default=None, description="`provider/model` or a model id; default: the server's setting."
    )
    result_schema: dict[str, JsonValue] | StrictBool | None = Field(
        default=None, description="A JSON Schema (draft 7 or 2020-12) that the result must satisfy."
    )
    attached_functions: AttachedFunctions | None = Field(
        default=None, description="Default: every function of the cluster that is not private."
    )
    on_status_change: StatusChangeTarget | None = None
    context: dict[str, JsonValue] | None = Field(
        default=None, description="Passed to every function and handler; never to the model."
    )
    config: RunConfigReference | None = None
    test: TestOptions | None = None
    deadline: Moment | None = Field(
        default=None, description="The run fails if it has not ended by then."
    )


class Usage(Reply):
    """Tokens a run was charged for, as the provider reported them, summed over its recorded steps."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    model_calls: int = 0
    cost_usd: float = Field(default=0.0, description="By the server's price table.")


class WaitingFor(Reply):
    """Why a running run makes no progress at the moment."""

    kind: Literal["function", "model"]
    detail: str
    service: str | None = None
    function: str | None = None
    call_id: str | None = None
    since: datetime
    retry_at: datetime | None = None


class Run(Reply):
    """The current state of a run. `version` is the number of its last event."""

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
    paused_for: PausedFor | None = None
    waiting_for: WaitingFor | None = None
    model_identifier: str
    system_prompt: str | None = None
    result_schema: dict[str, JsonValue] | bool | None = None
    attached_functions: list[FunctionReference] | None = None
    on_status_change: StatusChangeTarget | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    tags: list[str] = Field(default_factory=list[str])
    test: bool = False
    config_id: str | None = None
    config_version: int | None = None
    interactive: bool = True
    reasoning_traces: bool = True
    call_summarization: bool = True
    priority: int = DEFAULT_PRIORITY
    deadline: datetime | None = None
    budget: Budget | None = None
    feedback_comment: str | None = None
    feedback_score: float | None = None
    usage: Usage = Field(default_factory=Usage)
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None = None


class CancelRun(Request):
    """Cancel a run; running functions are notified in the response to their next heartbeat."""

    reason: Annotated[str, StringConstraints(max_length=MAX_REASON)] | None = None


class ResumeRun(Request):
    """Resume a paused run, with a higher budget if it paused for its budget."""

    budget: Budget | None = Field(
        default=None,
        description="Limits to change: a number sets a limit, null removes it, other limits are unchanged.",
    )


class RunPage(Reply):
    """Runs, newest first."""

    items: list[Run]
    next_cursor: str | None = Field(default=None, description="Pass as `cursor` for the next page.")


MAX_COMMENT = 4_096
"""Characters."""


class SetFeedback(Request):
    """A comment, a score, both or neither: null or omitted values are removed."""

    comment: Annotated[str, StringConstraints(max_length=MAX_COMMENT, strict=True)] | None = None
    score: Annotated[float, Field(ge=0, le=1, strict=True)] | None = Field(
        default=None, description="0 (bad) to 1 (good)."
    )
