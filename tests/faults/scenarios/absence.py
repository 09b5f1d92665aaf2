"""Functions that nobody offers just now, beside others that are busy."""

from __future__ import annotations

from pathlib import Path

from pydantic import JsonValue

from perdure import AsyncRun
from perdure.contract import ResultType, RunStatus
from tests.faults.checker.evidence import Evidence, gather
from tests.faults.checker.invariants import Violation
from tests.faults.checker.outcome import Outcome, judge
from tests.faults.ground.functions import DEADLINE, rare
from tests.faults.ground.ground import laid_out
from tests.faults.ground.load import Scale, all_delivered, begin, ended, seconds_back

_REPORT_SECONDS = 5.0
"""From a call that nobody takes until its run says so."""
_CANCEL_SECONDS = 5.0
"""From a call's deadline until the model gets the error."""
_WAITING = 5
_HURRIED = "hurried"


async def nobody_offers(folder: Path, scale: Scale) -> Outcome:
    """The only worker of a function was killed: runs say so soon, wait until the deadline, go on when one comes."""
    async with laid_out(folder) as ground, ground.client() as client:
        worker = ground.add_functions("rare", service=rare.name)
        await worker.start()
        await begin(ground, client, scale)
        ground.kill("rare")
        late = await ground.create(client, _HURRIED, steps=1, service="rare", function=_HURRIED)
        patient = [
            await ground.create(client, f"rare-{n}", steps=1, service="rare", function="patient")
            for n in range(_WAITING)
        ]
        for run in (late, *patient):
            await _explains_why(run)
        await late.poll(timeout=DEADLINE * 4)
        still = [run.id for run in patient if (await run.refresh()).status is not RunStatus.RUNNING]
        back = await seconds_back(ground, worker.start)
        await ended(ground, client)
        await all_delivered(ground)
        evidence = await gather(ground)
    said = [_reported_after(evidence, run.id) for run in (late, *patient)]
    more = [Violation("waits", run, "did not wait for a worker") for run in still]
    more += _missed_deadline(evidence)
    if max(said) > _REPORT_SECONDS:
        more.append(Violation("says so", "", f"only {max(said):.1f} s after its call"))
    note = f"said after {max(said):.1f} s beside {scale.runs} busy runs"
    return judge("no worker for a function", evidence, back=back, note=note, more=more)


async def _explains_why(run: AsyncRun[JsonValue]) -> None:
    """Wait until the run says that it waits for a function."""
    async for event in run.events():
        if event.type == "run.waiting":
            assert event.data["kind"] == "function"
            return


def _reported_after(evidence: Evidence, run: str) -> float:
    """Seconds from the model's call until the run says that nobody takes it."""
    at = {event["type"]: event["created_at"] for event in evidence.of(evidence.events, run)[::-1]}
    return float(at["run.waiting"] - at["step.recorded"]) / 1000


def _missed_deadline(evidence: Evidence) -> list[Violation]:
    """The call of which only its deadline is known was given up at that, tried by nobody, and the model got the error."""
    (call,) = [c for c in evidence.of(evidence.calls, _HURRIED) if c["kind"] == "function"]
    waited = (call["finished_at"] - call["created_at"]) / 1000
    found: list[Violation] = []
    if not DEADLINE - 0.5 <= waited <= DEADLINE + _CANCEL_SECONDS:
        found.append(Violation("deadline", _HURRIED, f"was given up after {waited:.1f} s"))
    if call["result_type"] != ResultType.REJECTION.value or call["attempts"]:
        said = f"is a {call['result_type']} after {call['attempts']} attempts"
        found.append(Violation("deadline", _HURRIED, said))
    return found
