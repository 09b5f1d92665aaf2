"""Ten thousand runs that wait for a person: what they cost while nothing happens, and how soon one wakes."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import func, select

from orchestrator.runtime.clock import now_ms
from orchestrator.store import tables
from orchestrator.store.database.engine import Database, open_database
from perdure import AsyncPerdure
from perdure.contract import RunStatus
from tests.faults.checker.invariants import Violation
from tests.faults.checker.outcome import Outcome
from tests.faults.ground.diary import lines_of
from tests.faults.ground.ground import Ground, Tenant, laid_out
from tests.faults.ground.load import Scale
from tests.faults.ground.postgres import killable_postgres
from tests.faults.scenarios.scale_figures import idle, milliseconds, percentile, percents
from tests.support.running_stack import until

WAITING_PER_RUN = 250
"""Waiting runs for each run that the scale names: ten thousand at full scale."""
_OTHERS = 10
"""Waiting runs of the second tenant."""
_MAX_CONCURRENT = 32
_STALLED_SECONDS = 30.0
"""For so long none more may come to wait: how long all of them take depends on the machine."""
_SETTLE_SECONDS = 8.0
_IDLE_SECONDS = 20.0
_MOST_IDLE = 5.0
"""Percent of one core that API, Temporal worker and function worker may take together, however many runs wait."""
_MOST_MORE = 2.0
"""Percent of one core by which all processes together may be busier than in a stack without a run."""
_LIST_SECONDS = 0.2
_PAGES = 40
_PICKS = 30
_AFTER_KILL = 15
_APART_SECONDS = 0.2
_WAKE_SECONDS = 1.0
_KILLED_SECONDS = 3.0


@dataclass(slots=True)
class _Waiting:
    """The waiting runs of both tenants, and what was found out about them."""

    ground: Ground
    http: httpx2.AsyncClient
    database: Database
    count: int
    records: list[str] = field(default_factory=list[str])
    violations: list[Violation] = field(default_factory=list[Violation])

    def record(self, words: str, *, broken: bool = False, rule: str = "") -> None:
        self.records.append(words)
        if broken:
            self.violations.append(Violation(rule, "", words))

    async def get(self, tenant: Tenant, path: str) -> tuple[float, dict[str, Any]]:
        """Seconds of a request, and its answer."""
        began = time.monotonic()
        answer = await self.http.get(f"/clusters/{tenant.cluster_id}{path}", headers=_key(tenant))
        assert answer.status_code == 200, answer.text
        return time.monotonic() - began, answer.json()

    async def current(self) -> Counter[tuple[str, str]]:
        """How many runs there are of each cluster and status."""
        runs = tables.runs
        statement = select(runs.c.cluster_id, runs.c.status, func.count()).group_by(
            runs.c.cluster_id, runs.c.status
        )
        async with self.database.read() as read:
            return Counter({(c, status): n for c, status, n in await read.execute(statement)})

    async def paused(self) -> int:
        found = await self.current()
        return sum(n for (_, status), n in found.items() if status == RunStatus.PAUSED.value)


def _key(tenant: Tenant) -> dict[str, str]:
    return {"authorization": f"Bearer {tenant.key}"}


async def many_waiting(folder: Path, scale: Scale, *, database_url: str = "") -> Outcome:
    """Ten thousand runs wait for approval, beside ten of another tenant: idle, listed at once, each soon awake."""
    count = scale.runs * WAITING_PER_RUN
    async with _laid_out(folder, count, database_url) as waiting:
        before = await _idle(waiting, "idle without a run")
        await _create(waiting)
        await _idle(waiting, f"with {count}", than=before)
        await _list(waiting)
        calls = await _calls(waiting)
        random.shuffle(calls)
        picked = calls[: _PICKS + _AFTER_KILL]
        await _wake(waiting, picked[:_PICKS])
        await _wake_after_a_kill(waiting, picked[_PICKS:])
        await _woken(waiting, len(picked))
        found = await waiting.current()
    return _outcome(waiting, found, len(picked))


async def many_waiting_on_postgresql(folder: Path, scale: Scale) -> Outcome:
    """A fifth as many, of which PostgreSQL keeps the rows."""
    with killable_postgres() as postgres:
        fewer = replace(scale, runs=max(1, scale.runs // 5))
        return await many_waiting(folder, fewer, database_url=postgres.url)


@asynccontextmanager
async def _laid_out(folder: Path, count: int, database_url: str) -> AsyncGenerator[_Waiting]:
    async with laid_out(folder, database_url=database_url) as ground:
        await ground.add_functions("functions-2", tenant=ground.other).start()
        database = await open_database(ground.database_url, checkpoint=False)
        try:
            async with httpx2.AsyncClient(base_url=ground.url, timeout=60) as http:
                yield _Waiting(ground, http, database, count)
        finally:
            await database.aclose()


async def _create(waiting: _Waiting) -> None:
    """Create them all, and wait until each has asked."""
    began, ground = time.monotonic(), waiting.ground
    async with ground.client() as client, ground.client(ground.other) as other:
        names = [f"run-{number}" for number in range(waiting.count)]
        took = await _create_each(ground, client, names)
        await _create_each(ground, other, [f"other-{number}" for number in range(_OTHERS)])
    created = time.monotonic() - began
    await _paused(waiting)
    waiting.record(
        f"created in {created:.0f} s ({milliseconds(took)} each, {_MAX_CONCURRENT} at once),"
        f" all waiting after {time.monotonic() - began:.0f} s"
    )


async def _paused(waiting: _Waiting) -> None:
    """Wait until all of them wait, or none more does."""
    paused, deadline = 0, time.monotonic() + _STALLED_SECONDS
    while paused < waiting.count + _OTHERS and time.monotonic() < deadline:
        await asyncio.sleep(0.5)
        found = await waiting.paused()
        if found > paused:
            paused, deadline = found, time.monotonic() + _STALLED_SECONDS


async def _create_each(ground: Ground, client: AsyncPerdure, names: Sequence[str]) -> list[float]:
    cluster_id, took, left = await client.cluster_id(), list[float](), iter(names)

    async def create() -> None:
        for name in left:
            plan = {"run": name, "steps": 1, "function": "careful", "delayMs": 0}
            began = time.monotonic()
            await client.create_run(
                json.dumps(plan), id=name, model="scripted/plan", functions=["faults_careful"]
            )
            took.append(time.monotonic() - began)
            ground.acknowledged[name] = cluster_id

    await asyncio.gather(*(create() for _ in range(_MAX_CONCURRENT)))
    return took


async def _idle(
    waiting: _Waiting, when: str, *, than: Mapping[str, float] | None = None
) -> Mapping[str, float]:
    await idle(waiting.ground, _SETTLE_SECONDS)
    taken = await idle(waiting.ground, _IDLE_SECONDS)
    ours = sum(percent for name, percent in taken.items() if name != "temporal")
    more = 0.0 if than is None else sum(taken.values()) - sum(than.values())
    broken = ours > _MOST_IDLE or more > _MOST_MORE
    waiting.record(f"{when}: of a core {percents(taken)}", broken=broken, rule="idle")
    return taken


async def _list(waiting: _Waiting) -> None:
    """The first page and pages all through, of the tenant with many runs and of the one with few."""
    ground = waiting.ground
    first = [await _listed(waiting, ground.tenant) for _ in range(_PAGES)]
    other = [await _listed(waiting, ground.other) for _ in range(_PAGES)]
    deep, seen = await _walk(waiting)
    asked = [(await waiting.get(ground.tenant, "/approvals?limit=50"))[0] for _ in range(_PAGES)]
    found = {"first page": first, "all pages": deep, "other tenant's": other, "approvals": asked}
    for name, took in found.items():
        late = percentile(took, 95) > _LIST_SECONDS
        waiting.record(f"{name} {milliseconds(took)}", broken=late, rule="listed")
    if seen != waiting.count:
        words = f"{seen} of {waiting.count} runs are listed once"
        waiting.violations.append(Violation("listed", "", words))


async def _listed(waiting: _Waiting, tenant: Tenant) -> float:
    seconds, page = await waiting.get(tenant, "/runs?status=paused&limit=50")
    own = {waiting.ground.acknowledged[run["id"]] for run in page["items"]}
    if own - {tenant.cluster_id}:
        waiting.violations.append(Violation("tenants", "", "another tenant's runs are listed"))
    return seconds


async def _walk(waiting: _Waiting) -> tuple[list[float], int]:
    """Seconds of every page from the newest run to the oldest, and how many different runs there were."""
    took, seen, cursor = list[float](), set[str](), ""
    while True:
        path = f"/runs?status=paused&limit=100{cursor}"
        seconds, page = await waiting.get(waiting.ground.tenant, path)
        took.append(seconds)
        seen |= {run["id"] for run in page["items"]}
        if not page.get("nextCursor"):
            return took, len(seen)
        cursor = f"&cursor={page['nextCursor']}"


async def _calls(waiting: _Waiting) -> list[str]:
    """Every call that waits for a person."""
    calls, cursor = list[str](), ""
    while True:
        _, page = await waiting.get(waiting.ground.tenant, f"/approvals?limit=100{cursor}")
        calls += [one["callId"] for one in page["items"]]
        if not page.get("nextCursor"):
            return calls
        cursor = f"&cursor={page['nextCursor']}"


async def _wake(waiting: _Waiting, calls: Sequence[str]) -> None:
    """Approve one after the other: its function begins soon after."""
    took = [await _begins(waiting, call) for call in calls]
    late = max(took) > _WAKE_SECONDS
    waiting.record(f"awake after {milliseconds(took)}", broken=late, rule="wakes")


async def _wake_after_a_kill(waiting: _Waiting, calls: Sequence[str]) -> None:
    """One of two Temporal workers is killed, and from that moment on these are approved, shortly one after the other."""
    await waiting.ground.add_workers("workers-2").start()
    waiting.ground["workers"].kill()

    async def approved(number: int, call: str) -> float:
        await asyncio.sleep(number * _APART_SECONDS)
        return await _begins(waiting, call)

    took = await asyncio.gather(*(approved(number, call) for number, call in enumerate(calls)))
    late = max(took) > _KILLED_SECONDS
    words = f"awake after a worker was killed {milliseconds(took)}"
    waiting.record(words, broken=late, rule="wakes")


async def _begins(waiting: _Waiting, call: str) -> float:
    """Approve a call; seconds until its function is at work."""
    ground = waiting.ground
    began = now_ms()
    answer = await waiting.http.post(
        f"/clusters/{ground.tenant.cluster_id}/calls/{call}/approval",
        headers=_key(ground.tenant),
        json={"approved": True},
    )
    assert answer.status_code == 200, answer.text
    await until(lambda: _begun(ground, call) > 0, seconds=60)
    return (_begun(ground, call) - began) / 1000


def _begun(ground: Ground, call: str) -> int:
    """When the call's function began, in ms; 0: not yet."""
    return next((line["at"] for line in lines_of(ground.diary) if line.get("call") == call), 0)


async def _woken(waiting: _Waiting, count: int) -> None:
    """Those that were approved come to their end."""
    done = (waiting.ground.tenant.cluster_id, RunStatus.DONE.value)
    deadline = time.monotonic() + 60
    while (await waiting.current())[done] < count and time.monotonic() < deadline:  # noqa: ASYNC110 - other processes
        await asyncio.sleep(0.2)


def _outcome(waiting: _Waiting, found: Counter[tuple[str, str]], woken: int) -> Outcome:
    """Right is a run that waits, but for those that were approved, which are done."""
    ground, paused = waiting.ground, RunStatus.PAUSED.value
    wanted = {
        (ground.tenant.cluster_id, paused): waiting.count - woken,
        (ground.tenant.cluster_id, RunStatus.DONE.value): woken,
        (ground.other.cluster_id, paused): _OTHERS,
    }
    total = waiting.count + _OTHERS
    return Outcome(
        scenario=f"{waiting.count:,} waiting runs on {waiting.database.dialect}",
        runs=total,
        right=sum(min(found[stands], number) for stands, number in wanted.items()),
        lost=len(ground.acknowledged) - found.total(),
        duplicated=0,
        back=None,
        violations=tuple(waiting.violations),
        add="; ".join(waiting.records),
    )
