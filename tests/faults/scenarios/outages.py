"""Parts that are away or stand still for a while, and come back."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from http import HTTPStatus
from pathlib import Path

import httpx2

from perdure import AsyncPerdure
from perdure.contract import RunStatus
from tests.faults.checker.evidence import gather, of_store
from tests.faults.checker.invariants import Violation
from tests.faults.checker.outcome import Outcome, judge
from tests.faults.ground.ground import Ground, laid_out, temporal_serves
from tests.faults.ground.load import (
    Scale,
    a_moment,
    all_delivered,
    begin,
    concluded,
    ended,
    keep_busy,
    seconds_back,
)
from tests.faults.ground.processes import Process
from tests.support.running_stack import until

_QUICK_ANSWER = 2.0
"""Seconds in which a create must be answered while Temporal is away."""
_FROZEN_SECONDS = 5.0
_MAX_CONCURRENT = 10
"""Calls that a function worker has at once of one function: so many can freeze in it."""


async def temporal_away(folder: Path, scale: Scale) -> Outcome:
    """Creates are taken and reads work while Temporal is away; everything goes on by itself when it is back."""
    async with laid_out(folder) as ground, ground.client() as client:
        await begin(ground, client, scale)
        await a_moment(ground)
        ground["temporal"].kill()
        began = time.monotonic()
        slowest = await _create_and_read(ground, client, scale)
        await asyncio.sleep(max(0.0, scale.away_seconds - (time.monotonic() - began)))

        async def bring_back() -> None:
            await ground["temporal"].start()
            await temporal_serves(ground.temporal_address)

        back = await seconds_back(ground, bring_back)
        note = f"away for {scale.away_seconds:g} s, slowest create {slowest:.2f} s"
        late = [Violation("answers", "", note)] if slowest > _QUICK_ANSWER else []
        return await concluded("Temporal away", ground, client, back=back, note=note, more=late)


async def _create_and_read(ground: Ground, client: AsyncPerdure, scale: Scale) -> float:
    """As many runs again, each read at once; seconds of the slowest create."""
    slowest = 0.0
    for number in range(scale.runs):
        began = time.monotonic()
        run = await ground.create(client, f"away-{number}", steps=2)
        slowest = max(slowest, time.monotonic() - began)
        assert (await run.refresh()).status is RunStatus.PENDING
        assert len(await run.messages()) == 1
    return slowest


async def frozen_functions(folder: Path, scale: Scale, *, hosted: bool = False) -> Outcome:
    """A process stands still beyond its heartbeat in its functions, wakes and posts: refused, the retry's result counts."""
    runs = min(scale.runs, _MAX_CONCURRENT)
    async with laid_out(folder, hosted=hosted) as ground, ground.client() as client:
        for number in range(runs):
            await ground.create(client, f"run-{number}", steps=1, input={"milliseconds": 3_000})
        await until(lambda: _begun(ground, 1) == runs)
        frozen = ground[ground.host]
        ground.dead.add(frozen.pid)
        frozen.freeze()
        await (
            ground.add_workers("workers-2") if hosted else ground.add_functions("functions-2")
        ).start()
        await until(lambda: _begun(ground, 2) == runs)
        more = await _posted_late(ground)
        frozen.thaw()
        await ended(ground, client)
        if not hosted:
            await until(lambda: _cancelled(frozen) >= runs)
        await all_delivered(ground)
        evidence = await gather(ground)
        stale = [row["run"] for row in evidence.results if _STALE in row["content"]]
        more += [Violation("stale", run, "the late result was taken") for run in stale]
        note = f"{_begun(ground, 2)} calls run again, their late results discarded or refused"
        name = "frozen workers, functions hosted" if hosted else "frozen function worker"
        return judge(name, evidence, note=note, more=more)


_STALE = "a late result"
_LEASE_LOST = ("(attempt 1) was cancelled", "too late", "leased to another worker")


def _cancelled(worker: Process) -> int:
    """Count the calls whose cancellation or lost lease the resumed worker noticed, before or after it posted."""
    return sum(
        "faults.work (attempt 1)" in line and any(said in line for said in _LEASE_LOST)
        for line in worker.output().splitlines()
    )


async def _posted_late(ground: Ground) -> list[Violation]:
    """Post a result for each first lease, as its machine would that slept: each must be a conflict."""
    evidence = await of_store(ground.database_url, ground.acknowledged)
    found: list[Violation] = []
    headers = {"authorization": f"Bearer {ground.tenant.key}"}
    async with httpx2.AsyncClient(base_url=ground.url, headers=headers, timeout=30) as http:
        for event in evidence.events:
            if event["type"] != "call.started" or event["attempt"] != 1:
                continue
            answer = await http.post(
                f"/clusters/{ground.tenant.cluster_id}/calls/{event['callId']}/result",
                json={"result": _STALE, "resultType": "resolution", "attempt": 1},
                headers={"x-machine-id": event["machineId"]},
            )
            if answer.status_code != HTTPStatus.CONFLICT:
                said = f"a late result was answered by {answer.status_code}"
                found.append(Violation("stale", event["run"], said))
    return found


def _calls_begun(ground: Ground) -> list[object]:
    return [
        line["call"] for line in ground.work_of(*ground.acknowledged) if line["kind"] == "begun"
    ]


def _begun(ground: Ground, times: int) -> int:
    return sum(count >= times for count in Counter(_calls_begun(ground)).values())


async def freeze_each(folder: Path, scale: Scale) -> Outcome:
    """Each process in turn stands still for some seconds."""
    async with laid_out(folder) as ground, ground.client() as client:
        await begin(ground, client, scale)
        back: list[float] = []
        for name in ("temporal", "api", "workers", "functions"):
            await keep_busy(ground, client, scale)
            await a_moment(ground)
            process = ground[name]
            if name == "functions":
                ground.dead.add(process.pid)
            process.freeze()
            await asyncio.sleep(_FROZEN_SECONDS)

            async def thaw(name: str = name) -> None:
                ground[name].thaw()

            back.append(await seconds_back(ground, thaw))
        return await concluded(
            "SIGSTOP of each process",
            ground,
            client,
            back=max(back),
            note=f"{_FROZEN_SECONDS:g} s each",
        )
