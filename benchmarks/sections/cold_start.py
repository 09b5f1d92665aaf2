"""From nothing to the first finished run, and the memory it took."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report.figures import Report
from benchmarks.sides.processes import resident_mib
from benchmarks.sides.stack import (
    child,
    dev_command,
    first_line,
    server_processes,
    stack_environment,
)
from perdure import AsyncPerdure

SECTION = "from nothing to the first finished run"


@dataclass(frozen=True, slots=True)
class _Start:
    ready: float
    first_run: float
    memory: Mapping[str, float]


async def cold_starts(report: Report, starts: int) -> None:
    """`perdure dev` in an empty folder, again and again, with and without functions in a process of their own."""
    sheet = report.sheet(SECTION, "sqlite")
    plain: list[_Start] = []
    calling: list[_Start] = []
    for _ in range(starts):
        plain.append(await _start(function=None))
        calling.append(
            await _start("--functions", "benchmarks.sides.functions:service", function="bench_echo")
        )
    sheet.add("dev_to_ready", [one.ready for one in plain], "s")
    sheet.add("dev_to_first_run", [one.first_run for one in plain], "s", note="a model step")
    sheet.add(
        "dev_to_first_run_with_function",
        [one.first_run for one in calling],
        "s",
        note="`--functions`, one call and two model steps",
    )
    for name in plain[0].memory:
        samples = [one.memory[name] for one in calling]
        sheet.add(f"memory_{name}_after_first_run", samples, "MiB")


async def _start(*more: str, function: str | None) -> _Start:
    with tempfile.TemporaryDirectory(prefix="perdure-bench-cold-") as folder:
        state = Path(folder)
        started = time.perf_counter()
        environment = stack_environment()
        del environment["PERDURE_HOSTED_FUNCTIONS"]  # as it is without any setting
        with child("dev", dev_command(state, *more), environment) as dev:
            facts = json.loads(first_line(dev))
            ready = time.perf_counter() - started
            await _one_run(facts, function)
            first_run = time.perf_counter() - started
            memory = {name: resident_mib(pid) for name, pid in server_processes(state).items()}
        return _Start(ready, first_run, memory)


async def _one_run(facts: Mapping[str, str], function: str | None) -> None:
    asked = {"function": function, "steps": 0 if function is None else 1}
    async with AsyncPerdure(
        url=facts["url"], api_key=facts["apiKey"], cluster_id=facts["clusterId"]
    ) as client:
        functions = None if function is None else [function]
        run = await client.create_run(
            json.dumps(asked), model="scripted/calls", functions=functions
        )
        result = (await run.poll(timeout=60)).result
    if result != "done":
        raise RuntimeError(f"the first run ended with {result!r}")
