"""What is new of a run, on one page: for who shows it to people."""

from __future__ import annotations

from pydantic import Field

from perdure.contract.base import Reply
from perdure.contract.blobs import Blob
from perdure.contract.calls import Call
from perdure.contract.events import Event
from perdure.contract.messages import Message
from perdure.contract.runs import Run


class Timeline(Reply):
    """The run as it stands, the events after a version, and what they are about, each as it stands now."""

    run: Run
    activity: list[Event] = Field(description="Events after `after`, in order.")
    messages: list[Message] = Field(description="Those that the events are about, oldest first.")
    calls: list[Call] = Field(
        description="Those that the events are about, in the order they were made. A `result` of more than 10,000 "
        "characters is left out; `resultSize` says how long it is."
    )
    blobs: list[Blob] = Field(description="Those of the calls listed.")
    version: int = Field(description="Of the last event listed: pass it as the next `after`.")
    has_more: bool = False
