"""Requests, and chains of requests, that are made up from the OpenAPI document and sent to a real API process.

`python -m tests.security.fuzz --minutes 10` plays chains for that long: each step asks an operation, with what earlier
answers gave (ids, links) or with something new. Prints how much was played, and ends with 1 if an answer was not what
the document says, or the process's log has a traceback.
"""

# schemathesis is typed in part only:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import checks as known
from schemathesis.generation.stateful.state_machine import APIStateMachine
from typing_extensions import override

from api.app import assemble
from tests.api.api_process import ApiProcess, api_process
from tests.api.test_openapi import HEAD_REFUSED, TRIED, config

STEPS = 12
"""In a chain."""
ROUND = 20
"""Chains, before the clock is looked at again."""
_SLOWLY = (
    HealthCheck.too_slow,
    HealthCheck.filter_too_much,
    HealthCheck.data_too_large,
    HealthCheck.large_base_example,
)
_LEFT_OUT = ["/ready", "/clusters/{clusterId}/runs/{runId}/events/stream"]
_ENDING = ("/clusters/{clusterId}", "/clusters/{clusterId}/api-keys/{keyId}")
"""Deleted, nothing could be asked any more: what is asked for is another cluster's."""


class Tally:
    """What was played."""

    def __init__(self) -> None:
        self.operations: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.transitions: Counter[str] = Counter()
        self.chains = 0

    def said(self, minutes: float) -> str:
        taken = sum(n for status, n in self.statuses.items() if status < 400)
        return (
            f"{minutes:.1f} minutes: {self.chains} chains, {sum(self.operations.values())} requests to"
            f" {len(self.operations)} operations, {taken} of them taken, {sum(self.transitions.values())} by"
            f" {len(self.transitions)} kinds of link\nstatuses {dict(sorted(self.statuses.items()))}\n"
        )


class Chain(APIStateMachine):
    """One chain: every operation of the document is a rule, and what its answers give is kept for the others."""

    process: ClassVar[ApiProcess]
    tally: ClassVar[Tally]
    checks: ClassVar[list[Any]]

    @override
    def setup(self) -> None:
        self.tally.chains += 1

    @override
    def before_call(self, case: Any) -> None:
        if "clusterId" in (case.path_parameters or {}):
            ends_it = case.method == "DELETE" and case.path in _ENDING
            case.path_parameters["clusterId"] = "nobody" if ends_it else self.process.cluster

    @override
    def get_call_kwargs(self, case: Any) -> dict[str, Any]:
        return {"base_url": self.process.url, "headers": self.process.headers, "timeout": 30}

    @override
    def after_call(self, response: Any, case: Any) -> None:
        self.tally.operations[f"{case.method} {case.path}"] += 1
        self.tally.statuses[response.status_code] += 1

    @override
    def step(self, input: Any) -> Any:
        if input.transition is not None:
            self.tally.transitions[input.transition.id] += 1
        return super().step(input)

    @override
    def validate_response(
        self, response: Any, case: Any, additional_checks: Any = None, **more: Any
    ) -> None:
        if response.text != HEAD_REFUSED:
            case.validate_response(response, checks=self.checks, headers=self.process.headers)


def machine(process: ApiProcess, tally: Tally) -> Any:
    """The state machine of the document, for this process."""
    schema: Any = schemathesis.openapi.from_dict(assemble().openapi(), config=config)
    base: Any = schema.exclude(path=_LEFT_OUT).as_state_machine()
    registry: Any = known.CHECKS
    checks: list[Any] = [registry.get_one(name) for name in sorted(TRIED)]
    return type("Chains", (Chain, base), {"process": process, "tally": tally, "checks": checks})


def play(process: ApiProcess, minutes: float, tally: Tally) -> None:
    """Play chains until the time is over. Raises what the first wrong answer was."""
    played = settings(
        max_examples=ROUND,
        stateful_step_count=STEPS,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=_SLOWLY,
        database=None,
        print_blob=False,
    )
    end = time.monotonic() + minutes * 60
    chain = machine(process, tally)
    while time.monotonic() < end:
        chain.run(settings=played)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--minutes", type=float, default=10.0)
    minutes: float = parser.parse_args().minutes
    tally, begun = Tally(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        with api_process(Path(folder), PERDURE_MAX_WAIT_SECONDS="0.05") as process:
            try:
                play(process, minutes, tally)
            finally:
                sys.stdout.write(tally.said((time.monotonic() - begun) / 60))
        log = process.log.read_text()
    if "Traceback" in log:
        sys.stdout.write(log[log.index("Traceback") :][:5_000])
        return 1
    sys.stdout.write("no failures\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
