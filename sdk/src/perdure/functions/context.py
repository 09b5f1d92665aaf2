"""The context of a call, for the function that runs it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue


@dataclass(frozen=True, slots=True)
class Context:
    """Declare a parameter of this type to receive the context; it is not part of the input schema.

    `data` is the context of the run, `auth` what the cluster's auth function returned for the run's
    user; neither is in logs or in the repr. `attempt` counts the
    leases of this call from 1. `cancelled` is set when the call is cancelled: a blocking function
    checks `cancelled.is_set()` or waits with `cancelled.wait(seconds)`; an async one is cancelled anyway.
    `approved` is true if a person has approved this call, possibly with edited arguments.
    """

    run_id: str
    call_id: str
    attempt: int
    data: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue], repr=False)
    cancelled: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)
    approved: bool = False
    auth: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue], repr=False)
