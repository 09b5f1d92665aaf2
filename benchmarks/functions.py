"""The function that benchmark runs call, in a process of its own: `python -m benchmarks.functions`."""

from __future__ import annotations

from perdure import Service

service = Service("bench")


@service.function(timeout=30, concurrency=100)
async def echo(text: str) -> str:
    """Give back what was given."""
    return f"result of {text}"


@service.on_status_change
async def ignore(change: object) -> None:
    """A handler that takes every transition."""


if __name__ == "__main__":
    service.run()
