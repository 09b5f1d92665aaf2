"""The function that benchmark runs call, in a process of its own: `python -m benchmarks.sides.functions`."""

from __future__ import annotations

from perdure import Service


async def echo(text: str, size: int = 0) -> str:
    """Give back what was given, padded to that many characters."""
    return f"result of {text}".ljust(size, ".")


def bench_service(name: str) -> Service:
    """The function under a service of that name."""
    made = Service(name)
    made.function(timeout=30, concurrency=200)(echo)
    return made


service = bench_service("bench")


if __name__ == "__main__":
    service.run()
