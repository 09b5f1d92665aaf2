"""Activity of a cluster: machines, events of all runs, usage, audit trail."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import Field

from perdure.contract.base import Reply
from perdure.contract.events import Event


class Machine(Reply):
    """A function worker's process."""

    id: str
    status: Literal["active", "inactive"] = Field(
        description="active: it polls for calls, or runs one."
    )
    last_ping_at: datetime | None = Field(
        description="Time of its last recorded request; recorded every 20 to 30 seconds."
    )
    ip: str | None = None
    sdk: str | None = Field(default=None, description="Its client's language and version.")
    created_at: datetime


class MachinePage(Reply):
    """Machines, the newest first."""

    items: list[Machine]
    next_cursor: str | None = None


class ClusterEvent(Event):
    """An event and its run."""

    run_id: str


class ClusterEventPage(Reply):
    """Events of all runs, newest first."""

    items: list[ClusterEvent]
    next_cursor: str | None = None


class UsageOfDay(Reply):
    """What one model was used for on one day (UTC)."""

    day: date
    model: str
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    model_calls: int = 0
    cost_usd: float = 0.0
    runs: int = Field(default=0, description="Runs that were created for this model.")


class UsageReport(Reply):
    """Usage per day and model, newest day first; days without usage are omitted."""

    items: list[UsageOfDay]


class AuditEntry(Reply):
    """A request that changed something, or was refused for its scope."""

    id: str
    actor: str = Field(description="The key's name and the beginning of its id.")
    operation: str = Field(description="The operation's id in the OpenAPI document.")
    target: str = Field(description="The path within the cluster.")
    status: int = Field(
        description="The HTTP status of the response; 499 if the client had disconnected."
    )
    created_at: datetime


class AuditPage(Reply):
    """Entries, newest first."""

    items: list[AuditEntry]
    next_cursor: str | None = None


class ContractText(Reply):
    """The OpenAPI document as text."""

    contract: str
