"""What ended while Temporal was away is given out again, once it is back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput
from typing_extensions import override

from orchestrator.errors import UnavailableError
from orchestrator.settings import Settings
from orchestrator.temporal.activity_tasks import PROCESS_LOST, ActivityTaskClient
from orchestrator.temporal.client import Temporal
from orchestrator.temporal.in_flight_journal import InFlightJournal, journals
from orchestrator.workflows.interface import MODEL_STEP
from workers.recovery.in_flight import InFlightInterceptor
from workers.recovery.temporal_outage import LONG, TemporalOutageMonitor


class Server(Temporal):
    """There, or away."""

    def __init__(self) -> None:
        super().__init__(Settings())
        self.there = True

    @override
    async def is_reachable(self) -> bool:
        return self.there


class Queue(ActivityTaskClient):
    """Writes down what is given back."""

    def __init__(self, server: Server) -> None:
        super().__init__(server, "tests")
        self.failed: list[tuple[bytes, str]] = []
        self.leaves = False

    @override
    async def fail(self, token: bytes, kind: str, reason: str, *, delay: float | None) -> bool:
        if self.leaves:
            raise UnavailableError("Temporal does not answer.")
        self.failed.append((token, kind))
        return True


class _Body(ActivityInboundInterceptor):
    """What an activity does at last."""

    def __init__(self, folder: Path | None, *, fails: bool = False) -> None:
        self._folder = folder
        self._fails = fails
        self.noted = 0

    @override
    async def execute_activity(self, input: ExecuteActivityInput) -> object:
        self.noted = 0 if self._folder is None else len(journals(self._folder, "tests"))
        if self._fails:
            raise ValueError("the activity failed")
        return "done"


async def _play(
    notes: InFlightInterceptor, body: _Body, name: str = MODEL_STEP, attempt: int = 1
) -> object:
    chain = notes.intercept_activity(body)
    given = ExecuteActivityInput(fn=_play, args=(), executor=None, headers={})
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, activity_type=name, attempt=attempt)
    return await environment.run(chain.execute_activity, given)


async def test_an_activity_is_recorded_while_it_is_worked_on(tmp_path: Path) -> None:
    journal = InFlightJournal(tmp_path, "tests")
    notes, body = InFlightInterceptor(journal), _Body(tmp_path)
    assert await _play(notes, body) == "done"
    assert body.noted == 1
    with pytest.raises(ValueError, match="the activity failed"):
        await _play(notes, _Body(None, fails=True))
    assert [task.token for task in notes.ended_since(0)] == [b"test", b"test"]
    journal.close()


async def test_a_call_that_waited_for_its_turn_is_not_suspected_for_it(tmp_path: Path) -> None:
    """Of a model step that is tried for the seventh time one may think that it kills its processes."""
    journal = InFlightJournal(tmp_path, "tests")
    notes = InFlightInterceptor(journal)
    await _play(notes, _Body(None), MODEL_STEP, attempt=7)
    await _play(notes, _Body(None), "sales_query", attempt=7)
    (path,) = journals(tmp_path, "tests")
    _, *tasks = map(json.loads, path.read_text().splitlines())
    assert [task["attempt"] for task in tasks] == [7, 1]
    journal.close()


@pytest.mark.parametrize(("away", "repeated"), [(LONG + 1, 1), (LONG - 1, 0)])
async def test_its_end_is_registered_with_again_after_a_long_absence(
    away: float, repeated: int
) -> None:
    server, notes = Server(), InFlightInterceptor(InFlightJournal(None, ""))
    queue = Queue(server)
    now = [0.0]
    watch = TemporalOutageMonitor(server, queue, notes, clock=lambda: now[0])
    await watch.check()
    server.there = False
    await _play(notes, _Body(None))
    now[0] += away
    await watch.check()
    assert queue.failed == [], "nothing could be notified"
    server.there = True
    await watch.check()
    await watch.check()
    assert queue.failed == [(b"test", PROCESS_LOST)] * repeated


async def test_a_server_that_leaves_again_is_notified_when_it_is_back() -> None:
    server, notes = Server(), InFlightInterceptor(InFlightJournal(None, ""))
    queue = Queue(server)
    now = [0.0]
    watch = TemporalOutageMonitor(server, queue, notes, clock=lambda: now[0])
    await _play(notes, _Body(None))
    now[0], queue.leaves = LONG, True
    with pytest.raises(UnavailableError):
        await watch.check()
    queue.leaves = False
    await watch.check()
    assert len(queue.failed) == 1
