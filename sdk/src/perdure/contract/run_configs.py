"""Run configurations: kept, versioned, found, measured; and structured output."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, JsonValue, StrictBool, StringConstraints

from perdure.contract.base import Reply, Request
from perdure.contract.functions import FullName, FunctionReference
from perdure.contract.limits import MAX_ATTACHED_FUNCTIONS, MAX_NAME, Prompt, RunConfigId
from perdure.contract.statuses import RunStatus

ConfiguredFunctions = Annotated[
    list[FunctionReference | FullName], Field(max_length=MAX_ATTACHED_FUNCTIONS)
]


class PutRunConfig(Request):
    """What a run configuration says. What it leaves open, the request for a run may say."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME, strict=True)]
    initial_prompt: Prompt | None = Field(
        default=None,
        description="`{{name}}` stands for the input `name`; `\\{{` is a literal `{{`.",
    )
    system_prompt: Prompt | None = None
    attached_functions: ConfiguredFunctions | None = Field(
        default=None, description="An empty list: none at all. Left out: the request decides."
    )
    result_schema: dict[str, JsonValue] | StrictBool | None = None
    input_schema: dict[str, JsonValue] | None = Field(
        default=None, description="A JSON Schema of the `input` object of a run."
    )
    public: StrictBool = False


class CreateRunConfig(PutRunConfig):
    """Keep a new run configuration."""

    id: RunConfigId | None = Field(default=None, description="Default: made by the server.")


class RunConfigVersion(Reply):
    """What a run configuration said at one time."""

    version: int
    name: str
    initial_prompt: str | None = None
    system_prompt: str | None = None
    attached_functions: list[FunctionReference | str] | None = None
    result_schema: dict[str, JsonValue] | StrictBool | None = None
    input_schema: dict[str, JsonValue] | None = None
    public: bool = False
    created_at: datetime


class RunConfig(RunConfigVersion):
    """A run configuration as it stands."""

    id: str
    cluster_id: str
    updated_at: datetime
    versions: list[RunConfigVersion] | None = Field(
        default=None, description="The previous versions, newest first, where they are asked for."
    )


class RunConfigPage(Reply):
    """Run configurations, by id."""

    items: list[RunConfig]
    next_cursor: str | None = Field(default=None, description="Pass as `cursor` for the next page.")


class FoundRunConfig(RunConfig):
    similarity: float = Field(description="How well it fits: 0 not at all, 1 best.")


class FoundRunConfigs(Reply):
    """The run configurations that fit the words best, the best first."""

    items: list[FoundRunConfig]


class RunConfigMetric(Reply):
    """One run of a configuration."""

    run_id: str
    version: int | None = None
    status: RunStatus
    created_at: datetime
    time_to_completion: int | None = Field(
        default=None, description="Milliseconds from the start to the end of its last turn."
    )
    feedback_score: float | None = None
    call_count: int = 0
    call_failure_count: int = 0
    tokens: int = 0
    cost_usd: float = 0.0


class RunConfigMetrics(Reply):
    """The newest runs of a configuration, at most 1,000."""

    items: list[RunConfigMetric]


class CreateStructuredOutput(Request):
    """Ask a model once, without functions, for a value that satisfies a schema."""

    prompt: Prompt
    result_schema: dict[str, JsonValue] | StrictBool
    model_id: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None


class StructuredOutput(Reply):
    """The value, or why there is none."""

    success: Literal[True] = True
    data: JsonValue = None


class NoStructuredOutput(Reply):
    success: Literal[False] = False
    error: str
