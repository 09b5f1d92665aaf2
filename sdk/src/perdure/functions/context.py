"""What a function may know about the call it answers."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue


@dataclass(frozen=True, slots=True)
class Context:
    """Give a function a parameter of this type and it is filled in; the model never sees it.

    `data` is the context the run was created with, `auth` what the cluster's auth function said of the user whose run
    it is; they are in no log and in no repr. `attempt` counts the
    leases of this call from 1. `cancelled` is set when the result is no longer wanted: a blocking function
    checks `cancelled.is_set()` or waits with `cancelled.wait(seconds)`; an async one is cancelled anyway.
    `approved` is true when a person has approved this very call, perhaps with other arguments.
    """

    run_id: str
    call_id: str
    attempt: int
    data: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue], repr=False)
    cancelled: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)
    approved: bool = False
    auth: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue], repr=False)
