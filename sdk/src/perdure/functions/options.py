"""The options of a function: the decorator's arguments and the configuration made of them."""

from __future__ import annotations

from datetime import timedelta
from typing import TypedDict

from perdure.contract import CachePolicy, RetryPolicy
from perdure.functions.approval import approval_seconds


class FunctionOptions(TypedDict, total=False):
    """The options of `Service.function`; all optional.

    - `name`, `description`: instead of the function's own name and docstring.
    - `timeout`: seconds per attempt; default 300, at most 86,400.
    - `retries`: how often a failed or lost attempt is repeated; default 0, at most 100. `stall_retries`,
      instead: how often a lost one is. `retry`: delays between attempts; default 1, 2, 4 … 60 s.
    - `deadline`: seconds for the whole call, including the wait for a function worker; at most 30 days.
    - `concurrency`: calls of it that this process runs at once; default 10. `total_concurrency`: the same over all
      processes and runs; default: no limit.
    - `fan_out`: calls of it that one reply of the model may make; default: any number.
    - `cache`: a successful result is reused for calls with the same key.
    - `private`: not offered to the model.
    - `requires_approval`: a person must approve each call before it is made, within `approval_expires` (default 7
      days, at most 90). To decide in the function, return `approval_request()`.
    """

    name: str | None
    description: str | None
    timeout: float | None
    retries: int | None
    stall_retries: int | None
    retry: RetryPolicy | None
    deadline: float | None
    concurrency: int
    total_concurrency: int | None
    fan_out: int | None
    cache: CachePolicy | None
    private: bool
    requires_approval: bool
    approval_expires: timedelta | None


def configuration(options: FunctionOptions) -> dict[str, object]:
    """The fields of a `FunctionConfig`; None for options that are not set."""
    return {
        "timeout_seconds": options.get("timeout"),
        "retries": options.get("retries"),
        "retry_count_on_stall": options.get("stall_retries"),
        "retry": options.get("retry"),
        "deadline_seconds": options.get("deadline"),
        "concurrency": options.get("total_concurrency"),
        "fan_out": options.get("fan_out"),
        "cache": options.get("cache"),
        "private": options.get("private", False),
        "requires_approval": options.get("requires_approval") or None,
        "approval_expires_seconds": approval_seconds(
            "approval_expires", options.get("approval_expires")
        ),
    }
