"""What a process worked on that was killed is given back, and nothing else is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from typing_extensions import override

from orchestrator.errors import UnavailableError
from orchestrator.operations.crash_recovery import CrashRecovery
from orchestrator.settings import Settings
from orchestrator.temporal.activity_tasks import (
    NOT_DELIVERED,
    PROCESS_LOST,
    ActivityTaskClient,
    StartedActivity,
)
from orchestrator.temporal.client import Temporal, run_workflow_id
from orchestrator.temporal.in_flight_journal import (
    InFlightJournal,
    InFlightTask,
    Machine,
    claim,
    journals,
    remove_old,
)
from orchestrator.workflows.interface import MODEL_STEP, CallOutcome, CallRef, RunRef
from perdure.contract import ResultType
from tests.support.stage import Stage

SCOPE = "this-machine"
_PROCESS = """
import sys
from pathlib import Path
from orchestrator.temporal.in_flight_journal import InFlightTask, InFlightJournal
with InFlightJournal(Path(sys.argv[1]), sys.argv[2]).record(InFlightTask(b"of a process", attempt=int(sys.argv[3]))):
    print("holds", flush=True)
    sys.stdin.read()
"""


class Queue(ActivityTaskClient):
    """Writes down what it is to say to the server; or is away."""

    def __init__(self) -> None:
        super().__init__(Temporal(Settings()), "tests")
        self.failed: list[tuple[bytes, str, float | None]] = []
        self.completed: list[tuple[bytes, CallOutcome]] = []
        self.on_their_way: list[tuple[str, StartedActivity]] = []
        self.taken_back: list[tuple[str, str, float]] = []
        self.away = False

    @override
    async def fail(self, token: bytes, kind: str, reason: str, *, delay: float | None) -> bool:
        if self.away:
            raise UnavailableError("Temporal does not answer.")
        self.failed.append((token, kind, delay))
        return True

    @override
    async def started_by(self, process: str, workflow_id: str) -> list[StartedActivity]:
        known = self.on_their_way
        return [task for of, task in known if (of, task.workflow_id) == (process, workflow_id)]

    @override
    async def fail_by_id(
        self, task: StartedActivity, kind: str, reason: str, *, delay: float
    ) -> bool:
        self.taken_back.append((task.activity_id, kind, delay))
        return True

    @override
    async def complete(self, token: bytes, outcome: CallOutcome) -> bool:
        self.completed.append((token, outcome))
        return True


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "tasks"


@pytest.fixture
def process(
    processes: None, folder: Path, request: pytest.FixtureRequest
) -> Generator[subprocess.Popen[bytes]]:
    """Holds a task, until it is killed."""
    attempt = str(getattr(request, "param", 1))
    started = subprocess.Popen(
        [sys.executable, "-c", _PROCESS, folder, SCOPE, attempt],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert started.stdout is not None
    assert started.stdout.readline() == b"holds\n"
    yield started
    started.kill()
    started.communicate()


def left_behind(folder: Path, *tasks: InFlightTask, scope: str = SCOPE) -> str:
    """What a dead process left: its file, without the lock. Its name."""
    journal = InFlightJournal(folder, scope)
    for task in tasks:
        journal.record(task).__enter__()
    (path,) = journals(folder, scope)
    content = path.read_bytes()
    journal.close()
    path.write_bytes(content)
    return journal.process


def looking(stage: Stage, folder: Path | None, queue: Queue, scope: str = SCOPE) -> CrashRecovery:
    return CrashRecovery(folder, scope, queue, stage.store.lost_leases)


@pytest.mark.parametrize(
    ("process", "delay"), [(1, 0.05), (2, 0.05), (5, 8.0)], indirect=["process"]
)
async def test_a_killed_process_leaves_a_record_and_a_living_one_keeps_its_own(
    stage: Stage, folder: Path, queue: Queue, process: subprocess.Popen[bytes], delay: float
) -> None:
    lost = looking(stage, folder, queue)
    await lost.sweep()
    assert queue.failed == [], "it lives"
    process.kill()
    process.wait()
    await lost.sweep()
    assert queue.failed == [(b"of a process", PROCESS_LOST, delay)]
    await lost.sweep()
    assert len(queue.failed) == 1
    assert journals(folder, SCOPE) == []


async def test_while_temporal_is_away_it_stays_to_be_found(
    stage: Stage, folder: Path, queue: Queue
) -> None:
    left_behind(folder, InFlightTask(b"token"))
    queue.away = True
    with pytest.raises(UnavailableError):
        await looking(stage, folder, queue).sweep()
    queue.away = False
    await looking(stage, folder, queue).sweep()
    assert [token for token, *_ in queue.failed] == [b"token"]


async def test_a_process_that_ends_as_it_should_leaves_nothing(folder: Path) -> None:
    journal = InFlightJournal(folder, SCOPE)
    with journal.record(InFlightTask(b"token")):
        assert len(journals(folder, SCOPE)) == 1
    journal.close()
    assert journals(folder, SCOPE) == []


async def test_what_belongs_to_another_machine_or_server_is_left_alone(
    stage: Stage, folder: Path, queue: Queue
) -> None:
    left_behind(folder, InFlightTask(b"token"), scope="another")
    await looking(stage, folder, queue).sweep()
    assert queue.failed == []
    remove_old(folder, before=0)
    assert len(journals(folder, "another")) == 1
    remove_old(folder, before=2**40)
    assert journals(folder, "another") == []


def test_places_are_used_again_but_not_at_once(folder: Path) -> None:
    journal = InFlightJournal(folder, SCOPE)
    for number in range(200):
        with journal.record(InFlightTask(b"%d" % number)):
            pass
    (path,) = journals(folder, SCOPE)
    lines = path.read_bytes().splitlines()
    assert len(lines) <= 40
    journal.close()
    path.write_bytes(b"torn {\n" + b"\n".join(lines))
    with claim(path) as dead:
        assert dead is not None
        assert b"199" in [task.token for task in dead.tasks]


def test_without_a_folder_or_the_right_to_it_nothing_is_recorded_and_work_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    done: list[str] = []
    for folder in (None, tmp_path / "file" / "tasks"):
        with InFlightJournal(folder, SCOPE).record(InFlightTask(b"token")):
            done.append("work")
    with InFlightJournal(tmp_path, SCOPE).record(InFlightTask(b"x" * 4_000)):
        done.append("long")
    assert done == ["work", "work", "long"]
    assert "cannot be written" in caplog.text


async def _given(stage: Stage, token: bytes = b"token") -> CallRef:
    await stage.register("query")
    ref = await stage.run()
    (order,) = await stage.called(ref)
    await stage.lease(ref, order.call_id, token=token)
    return CallRef(ref, order.call_id)


async def test_a_call_that_was_leased_to_nobody_is_offered_again(
    stage: Stage, folder: Path, queue: Queue
) -> None:
    await stage.register("query")
    ref = await stage.run()
    (order,) = await stage.called(ref)
    left_behind(folder, InFlightTask(b"token", call=CallRef(ref, order.call_id)))
    await looking(stage, folder, queue).sweep()
    assert queue.failed == [(b"token", NOT_DELIVERED, 0.05)]


async def test_a_lease_that_its_machine_never_received_is_withdrawn(
    stage: Stage, folder: Path, queue: Queue
) -> None:
    call_ref = await _given(stage)
    left_behind(folder, InFlightTask(b"token", call=call_ref))
    await looking(stage, folder, queue).sweep()
    assert queue.failed == [(b"token", NOT_DELIVERED, 0.05)]
    row = await stage.call_row(call_ref.call_id)
    assert (row["status"], row["attempts"]) == ("pending", 0)
    assert len(await stage.events(call_ref.run, "call.undelivered")) == 1
    assert not await stage.acknowledge(call_ref.call_id), "whoever says so now begins nothing"


async def test_a_call_that_a_machine_works_on_stays_with_it(
    stage: Stage, folder: Path, queue: Queue
) -> None:
    call_ref = await _given(stage)
    await stage.acknowledge(call_ref.call_id)
    left_behind(folder, InFlightTask(b"token", call=call_ref))
    await looking(stage, folder, queue).sweep()
    assert (queue.failed, queue.completed) == ([], [])
    assert (await stage.call_row(call_ref.call_id))["status"] == "running"


async def test_a_result_that_was_stored_and_not_passed_on_is_passed_on(
    stage: Stage, folder: Path, queue: Queue
) -> None:
    call_ref = await _given(stage)
    await stage.finish(call_ref.call_id)
    left_behind(folder, InFlightTask(b"token", call=call_ref))
    await looking(stage, folder, queue).sweep()
    assert queue.completed == [(b"token", CallOutcome(call_ref.call_id))]
    assert queue.failed == []


async def test_what_was_deleted_is_let_go(stage: Stage, folder: Path, queue: Queue) -> None:
    gone = CallRef(RunRef(stage.cluster_id, "unknown"), "unknown")
    left_behind(folder, InFlightTask(b"token", call=gone))
    await looking(stage, folder, queue).sweep()
    assert (queue.failed, queue.completed) == ([], [])
    assert journals(folder, SCOPE) == []


async def test_a_dead_machines_calls_are_released_and_its_attempt_counts(stage: Stage) -> None:
    call_ref = await _given(stage, b"its token")
    await stage.acknowledge(call_ref.call_id)
    lost = stage.store.lost_leases
    assert await lost.release_all_of(stage.cluster_id, "another") == []
    assert await lost.release_all_of(stage.cluster_id, "m1") == [b"its token"]
    assert await lost.release_all_of(stage.cluster_id, "m1") == [b"its token"], (
        "Temporal may not know"
    )
    row = await stage.call_row(call_ref.call_id)
    assert (row["status"], row["attempts"]) == ("pending", 1)
    assert await stage.events(call_ref.run, "call.lost") == [
        {"callId": call_ref.call_id, "attempt": 1, "machineId": "m1"}
    ]


async def test_a_dead_machines_last_result_counts(stage: Stage) -> None:
    call_ref = await _given(stage)
    await stage.finish(call_ref.call_id)
    assert await stage.store.lost_leases.release_all_of(stage.cluster_id, "m1") == []
    assert (await stage.call_row(call_ref.call_id))["result_type"] == ResultType.RESOLUTION.value


async def test_a_call_that_was_given_to_another_machine_stays_there(stage: Stage) -> None:
    call_ref = await _given(stage)
    await stage.lease(call_ref.run, call_ref.call_id, "m2", b"later")
    assert await stage.store.lost_leases.release_all_of(stage.cluster_id, "m1") == []
    assert await stage.store.lost_leases.release_all_of("another-cluster", "m2") == []
    assert (await stage.call_row(call_ref.call_id))["machine_id"] == "m2"


async def test_what_was_on_its_way_to_a_process_that_died_is_given_back(
    stage: Stage, folder: Path, queue: Queue
) -> None:
    """Its next model step, and a call that nobody has; not what a machine works on, nor what another process was given."""
    await stage.register("query")
    thinking, calling = await stage.run(), await stage.run()
    (waiting,) = await stage.called(calling)
    at_work = await _given(stage)
    dead = left_behind(folder, InFlightTask(b"token"))
    queue.on_their_way = [
        (dead, StartedActivity(run_workflow_id(thinking), "1", MODEL_STEP, 4)),
        (dead, StartedActivity(run_workflow_id(calling), waiting.activity_id, "sales_query", 9)),
        (dead, StartedActivity(run_workflow_id(at_work.run), at_work.call_id, "sales_query", 1)),
        ("another", StartedActivity(run_workflow_id(thinking), "2", MODEL_STEP, 1)),
    ]
    await looking(stage, folder, queue).sweep()
    expected = [("1", PROCESS_LOST, 4.0), (waiting.activity_id, NOT_DELIVERED, 0.05)]
    assert sorted(queue.taken_back) == sorted(expected)
    assert journals(folder, SCOPE) == []


async def test_a_file_without_a_name_is_seen_to_as_far_as_it_goes(
    stage: Stage, folder: Path, queue: Queue
) -> None:
    dead = left_behind(folder, InFlightTask(b"token"))
    (path,) = journals(folder, SCOPE)
    path.write_bytes(path.read_bytes().replace(dead.encode(), b'"torn'))
    ref = await stage.run()
    queue.on_their_way = [(dead, StartedActivity(run_workflow_id(ref), "1", MODEL_STEP, 1))]
    await looking(stage, folder, queue).sweep()
    assert ([token for token, *_ in queue.failed], queue.taken_back) == ([b"token"], [])
    assert journals(folder, SCOPE) == []


def test_no_two_processes_have_one_name(folder: Path) -> None:
    assert InFlightJournal(folder, SCOPE).process != InFlightJournal(folder, SCOPE).process


async def test_what_a_dead_process_hosted_is_nobodys_at_once(
    stage: Stage, folder: Path, queue: Queue
) -> None:
    call_ref = await _given(stage, token=b"")
    journal = InFlightJournal(folder, SCOPE)
    journal.machine = Machine(stage.cluster_id, "m1")
    with journal.record(InFlightTask(b"token")):
        (path,) = journals(folder, SCOPE)
        content = path.read_bytes()
    journal.close()
    path.write_bytes(content)
    assert not await stage.store.lost_leases.is_unassigned(stage.cluster_id, call_ref.call_id)
    await looking(stage, folder, queue).sweep()
    assert await stage.store.lost_leases.is_unassigned(stage.cluster_id, call_ref.call_id)
    assert [token for token, *_ in queue.failed] == [b"token"]
