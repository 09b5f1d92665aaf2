"""Functions: references, definitions, registration, lists."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue, StrictBool, StringConstraints

from perdure.contract.base import Reply, Request
from perdure.contract.limits import (
    MAX_APPROVAL_SECONDS,
    MAX_ATTACHED_FUNCTIONS,
    MAX_DESCRIPTION,
    MAX_FUNCTIONS_PER_SERVICE,
    FunctionName,
    ServiceName,
)


class FunctionReference(Request):
    """A function by its service and name."""

    service: ServiceName
    function: FunctionName


FullName = Annotated[str, StringConstraints(min_length=3, max_length=115)]
"""A function by its full name, `service_function`."""
AttachedFunctions = Annotated[
    list[FunctionReference | FullName], Field(min_length=1, max_length=MAX_ATTACHED_FUNCTIONS)
]


class RetryPolicy(Request):
    """Delays between a function's attempts: the first, growing by the coefficient up to the longest. Seconds."""

    initial_seconds: Annotated[float, Field(strict=True, gt=0, le=3_600)] = 1.0
    coefficient: Annotated[float, Field(strict=True, ge=1, le=10)] = 2.0
    maximum_seconds: Annotated[float, Field(strict=True, gt=0, le=86_400)] = 60.0


class CachePolicy(Request):
    """A successful result is reused for calls with the same key.

    The key is what `keyPath` selects of the input, together with the run's context and auth context: users with
    different contexts never share results.
    """

    key_path: Annotated[str, StringConstraints(min_length=1, max_length=256)] = Field(
        description="JSONPath into the input, such as `$.customerId`; `$` is the whole input."
    )
    ttl_seconds: Annotated[float, Field(strict=True, gt=0, le=30 * 86_400)]


class FunctionConfig(Request):
    """The configuration of a function's calls."""

    timeout_seconds: Annotated[float, Field(strict=True, gt=0, le=86_400)] | None = Field(
        default=None, description="Seconds per attempt; default 300."
    )
    retries: Annotated[int, Field(strict=True, ge=0, le=100)] | None = Field(
        default=None, description="Further attempts after a failed or lost one; default 0."
    )
    deadline_seconds: Annotated[float, Field(strict=True, gt=0, le=30 * 86_400)] | None = Field(
        default=None, description="Seconds for the whole call, including the wait for a worker."
    )
    retry_count_on_stall: Annotated[int, Field(strict=True, ge=0, le=100)] | None = None
    retry: RetryPolicy | None = Field(
        default=None, description="Delays between attempts; default: 1, 2, 4 … 60 s."
    )
    cache: CachePolicy | None = None
    concurrency: Annotated[int, Field(strict=True, ge=1, le=10_000)] | None = Field(
        default=None, description="Calls of it that may run at once, over all runs."
    )
    fan_out: Annotated[int, Field(strict=True, ge=1, le=1_000)] | None = Field(
        default=None,
        description="Calls of it that one reply of the model may make; default: no limit.",
    )
    requires_approval: StrictBool = Field(
        default=False, description="A person must approve each call before it is made."
    )
    approval_expires_seconds: (
        Annotated[float, Field(strict=True, gt=0, le=MAX_APPROVAL_SECONDS)] | None
    ) = Field(
        default=None, description="Undecided this long, a call counts as denied; default 7 days."
    )
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
    """Replace this machine's functions of one service. `{}` only returns the key's cluster."""

    service: ServiceName | None = None
    functions: Annotated[list[FunctionDefinition], Field(max_length=MAX_FUNCTIONS_PER_SERVICE)] = (
        Field(default_factory=list[FunctionDefinition])
    )


class Registered(Reply):
    cluster_id: str


class ServiceFunction(Reply):
    name: str
    description: str | None = None
    schema_: dict[str, JsonValue] | None = Field(default=None, alias="schema")
    config: FunctionConfig | None = None
    live_machines: int = Field(default=0, description="Live function workers that offer it.")


class ServiceDescription(Reply):
    name: str
    functions: list[ServiceFunction]


class ServicePage(Reply):
    items: list[ServiceDescription]
    next_cursor: str | None = None
