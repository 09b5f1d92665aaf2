"""The checker is proven: it finds nothing wrong with healthy runs, and every planted fault by the rule meant for it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update
from typing_extensions import override

from orchestrator.rules.model_reply import ParsedReply
from orchestrator.store import tables
from orchestrator.store.calls.execution import CallStore, ResultRecorded
from orchestrator.store.calls.rows import HEARTBEAT_TIMEOUT
from orchestrator.store.conversation.steps import RecordedStep, StepInput, StepStore
from orchestrator.store.deliveries.deliveries import DeliveryStore
from orchestrator.store.records import RunRecord
from orchestrator.store.runs.repository import NewRun, RunStore
from orchestrator.store.store import Store
from orchestrator.workflows.interface import CallSchedule, RunRef, RunState, TimedOutCall
from tests.faults.checker.evidence import Evidence, Execution, Row
from tests.faults.checker.invariants import RULES, check
from tests.faults.checker.played_run import PID, Played
from tests.faults.checker.request_rules import APPROVED, CANCELLED, DENIED, EDITED, SENT
from tests.faults.ground.diary import LEDGER
from tests.support.stage import Stage

Plant = Callable[[Evidence], None]


@pytest.fixture
async def played(
    store: Store, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Played:
    """A cluster in which nothing has happened yet."""
    ledger = tmp_path / "ledger"
    monkeypatch.setenv(LEDGER, str(ledger))
    return Played(Stage(store, await store.keys.ensure_cluster("first")), database_url, ledger)


@pytest.fixture(scope="module")
def played_before() -> dict[str, Evidence]:
    """What is known of healthy runs, by the kind of database: they are played once on each."""
    return {}


@pytest.fixture
async def healthy(played: Played, played_before: dict[str, Evidence]) -> Evidence:
    """Two runs that are done."""
    kind = played.database_url.partition(":")[0]
    if kind not in played_before:
        for name in ("one", "two"):
            await played.drive(await played.accept(name))
        played_before[kind] = await played.evidence()
    return deepcopy(played_before[kind])


def _broken_rules(evidence: Evidence) -> set[str]:
    return {violation.rule for violation in check(evidence)}


def test_healthy_runs_break_no_rule(healthy: Evidence) -> None:
    assert check(healthy) == []
    assert len(healthy.runs) == 2
    assert len(healthy.asked) == len(healthy.steps) == 6
    assert {line["kind"] for line in healthy.diary} == {"begun", "ended", "on_status"}


def test_requests_that_were_carried_out_break_no_rule(healthy: Evidence) -> None:
    _acknowledged_request(healthy, SENT)
    read = healthy.requests
    _acknowledged_request(healthy, APPROVED)["approved"] = True
    healthy.requests += read
    assert check(healthy) == []


def test_a_call_with_no_sign_of_life_may_begin_again(healthy: Evidence) -> None:
    _a_function_runs_again_for_no_reason(healthy)
    healthy.diary[-1]["at"] += HEARTBEAT_TIMEOUT * 1000
    assert check(healthy) == []


# -- faults planted in what is known ---------------------------------------------------------------


def _a_run_is_gone(found: Evidence) -> None:
    found.runs = found.runs[1:]
    for name in ("steps", "calls", "results", "events", "deliveries", "messages", "diary"):
        rows: list[Row] = getattr(found, name)
        setattr(found, name, [row for row in rows if row["run"] != "one"])


def _a_run_stands_still(found: Evidence) -> None:
    found.runs[0]["status"] = "running"
    found.runs[0]["waiting_for"] = None


def _a_step_is_missing(found: Evidence) -> None:
    del found.steps[1]


def _a_step_is_recorded_twice(found: Evidence) -> None:
    recorded = next(row for row in found.events if row["type"] == "step.recorded")
    found.events.append(dict(recorded))


def _a_recorded_step_is_paid_again(found: Evidence) -> None:
    found.asked.append(found.asked[0] | {"at": found.steps[0]["created_at"] + 500})


def _a_reply_comes_from_nowhere(found: Evidence) -> None:
    del found.asked[0]


def _a_result_is_lost(found: Evidence) -> None:
    keys = {call["key"] for call in found.calls if call["kind"] == "function"}
    found.results.remove(next(row for row in found.results if row["call_key"] in keys))


def _a_result_counts_twice(found: Evidence) -> None:
    finished = next(row for row in found.events if row["type"] == "call.finished")
    found.events.append(dict(finished))


def _a_call_is_forgotten(found: Evidence) -> None:
    call = next(row for row in found.calls if row["kind"] == "function")
    call["result_type"], call["shown"] = None, False


def _a_function_runs_without_being_counted(found: Evidence) -> None:
    begun = next(line for line in found.diary if line["kind"] == "begun")
    found.diary.append(begun | {"attempt": 2})


def _a_function_runs_again_for_no_reason(found: Evidence) -> None:
    _a_function_runs_without_being_counted(found)
    for call in found.calls:
        call["attempts"], call["max_attempts"] = 2, 3


def _a_function_runs_more_often_than_allowed(found: Evidence) -> None:
    _a_function_runs_without_being_counted(found)
    for call in found.calls:
        call["attempts"], call["max_attempts"] = 2, 1
    found.dead = {PID}


def _an_event_is_missing(found: Evidence) -> None:
    found.events.remove(next(row for row in found.events if row["type"] == "call.started"))


def _a_transition_is_made_up(found: Evidence) -> None:
    move = next(row for row in found.events if row["type"] == "run.status")
    move["status"] = "done"


def _a_transition_is_not_delivered(found: Evidence) -> None:
    found.diary.remove(next(line for line in found.diary if line["kind"] == "on_status"))


def _transitions_are_delivered_out_of_order(found: Evidence) -> None:
    delivered = [
        line for line in found.diary if line["kind"] == "on_status" and line["run"] == "one"
    ]
    delivered[0]["transition"], delivered[1]["transition"] = (
        delivered[1]["transition"],
        delivered[0]["transition"],
    )


def _tokens_are_counted_twice(found: Evidence) -> None:
    found.runs[0]["input_tokens"] *= 2


def _work_goes_on_after_the_end(found: Evidence) -> None:
    run = found.runs[0]
    run["version"] += 1
    template = found.of(found.events, run["run"])[-1]
    found.events.append(template | {"version": run["version"], "type": "call.started"})


def _a_run_is_shown_to_another_tenant(found: Evidence) -> None:
    found.listed = {**found.listed, "other": ["one"]}


def _a_function_worker_of_another_tenant_leases_a_call(found: Evidence) -> None:
    found.workers = {PID: "other"}


def _acknowledged_request(found: Evidence, kind: str) -> Row:
    """Plant a request for the first run; its call or its message, whichever it is about."""
    table = found.messages if kind in {SENT, EDITED} else found.calls
    about = next(row for row in found.of(table, "one") if row.get("kind", "function") == "function")
    found.requests = [{"kind": kind, "run": "one", "id": about["id"], "text": "steps"}]
    return about


def _a_message_is_lost(found: Evidence) -> None:
    found.messages.remove(_acknowledged_request(found, SENT))


def _a_message_is_not_read(found: Evidence) -> None:
    _acknowledged_request(found, SENT)
    found.runs[0]["seen_message"] = 0


def _an_edit_is_lost(found: Evidence) -> None:
    _acknowledged_request(found, EDITED)["data"] = "{}"


def _a_cancel_is_forgotten(found: Evidence) -> None:
    _acknowledged_request(found, CANCELLED)


def _a_decision_is_lost(found: Evidence) -> None:
    _acknowledged_request(found, APPROVED)


def _a_denied_call_is_made(found: Evidence) -> None:
    _acknowledged_request(found, DENIED)["approved"] = False


def _an_approved_call_is_not_made(found: Evidence) -> None:
    call = _acknowledged_request(found, APPROVED)
    call["approved"], call["attempts"] = True, 0
    found.diary = [line for line in found.diary if line.get("call") != call["id"]]


def _a_reply_after_going_back_comes_from_nowhere(found: Evidence) -> None:
    found.runs[0]["rewinds"] = 1
    # what follows within a millisecond cannot be distinguished
    for line in found.asked:
        line["at"] += 100 * line["step"]
    for step in found.steps:
        step["created_at"] += 100 * step["step"] + 50
    del found.asked[1]


def _a_workflow_loses_its_thread(found: Evidence) -> None:
    found.executions[0] = replace(found.executions[0], broken_tasks=1)


def _a_workflow_stays_open(found: Evidence) -> None:
    found.executions.append(Execution("one", "RUNNING", {}))


PLANTS: list[tuple[Plant, str]] = [
    (_a_run_is_gone, "nothing_lost"),
    (_a_run_stands_still, "nothing_lost"),
    (_a_step_is_missing, "steps"),
    (_a_step_is_recorded_twice, "steps"),
    (_a_recorded_step_is_paid_again, "paid"),
    (_a_reply_comes_from_nowhere, "paid"),
    (_a_result_is_lost, "results"),
    (_a_result_counts_twice, "results"),
    (_a_call_is_forgotten, "answered"),
    (_a_function_runs_without_being_counted, "executions"),
    (_a_function_runs_again_for_no_reason, "executions"),
    (_a_function_runs_more_often_than_allowed, "executions"),
    (_an_event_is_missing, "numbering"),
    (_a_transition_is_made_up, "moves"),
    (_a_transition_is_not_delivered, "deliveries"),
    (_transitions_are_delivered_out_of_order, "deliveries"),
    (_tokens_are_counted_twice, "totals"),
    (_work_goes_on_after_the_end, "quiet_ends"),
    (_a_run_is_shown_to_another_tenant, "tenants"),
    (_a_function_worker_of_another_tenant_leases_a_call, "tenants"),
    (_a_message_is_lost, "requests"),
    (_a_message_is_not_read, "requests"),
    (_an_edit_is_lost, "requests"),
    (_a_cancel_is_forgotten, "requests"),
    (_a_decision_is_lost, "requests"),
    (_a_denied_call_is_made, "requests"),
    (_an_approved_call_is_not_made, "requests"),
    (_a_reply_after_going_back_comes_from_nowhere, "paid"),
    (_a_workflow_loses_its_thread, "histories"),
    (_a_workflow_stays_open, "histories"),
]


@pytest.mark.parametrize(
    ("plant", "rule"), PLANTS, ids=[plant.__name__.strip("_") for plant, _ in PLANTS]
)
def test_a_planted_fault_is_found(healthy: Evidence, plant: Plant, rule: str) -> None:
    plant(healthy)
    assert rule in _broken_rules(healthy)


def test_every_rule_has_a_fault_that_breaks_it() -> None:
    assert {rule for _, rule in PLANTS} == set(RULES)


# -- the product broken on purpose -----------------------------------------------------------------


class _Forgetful(RunStore):
    """Acknowledges a run and does not keep it."""

    @override
    async def create(self, new: NewRun) -> tuple[RunRecord, bool]:
        made = await super().create(new)
        async with self._database.write() as write:
            await write.execute(delete(tables.runs).where(tables.runs.c.id == new.id))
        return made


class _Generous(StepStore):
    """Counts each reply's tokens twice."""

    @override
    async def record(
        self, step_input: StepInput, parsed: ParsedReply, **options: Any
    ) -> RecordedStep:
        recorded = await super().record(step_input, parsed, **options)
        used = tables.runs.c.input_tokens + parsed.reply.usage.input_tokens
        async with self._database.write() as write:
            await write.execute(
                update(tables.runs)
                .where(tables.runs.c.key == step_input.run.key)
                .values(input_tokens=used)
            )
        return recorded


class _Insatiable(StepStore):
    """Has the model asked again for a step that is recorded."""

    repeated: StepInput | None = None

    @override
    async def begin(
        self, ref: RunRef, step: int, *, lost: list[TimedOutCall], attempt: int, cursor: Any
    ) -> StepInput | RunState:
        begun = await super().begin(ref, step, lost=lost, attempt=attempt, cursor=cursor)
        if isinstance(begun, StepInput) and self.repeated is None:
            self.repeated = begun
        return self.repeated if self.repeated is not None and step == 1 else begun


class _Hasty(DeliveryStore):
    """Tells the newest transition first."""

    @override
    async def list_pending(self, ref: RunRef, dead: Any) -> list[CallSchedule]:
        return (await super().list_pending(ref, dead))[::-1]


class _Uncounted(CallStore):
    """Hands a call out again although it was answered, and does not count it."""

    @override
    async def accept_result(
        self, cluster_id: str, call_id: str, machine_id: str, attempt: int | None, **options: Any
    ) -> ResultRecorded:
        recorded = await super().accept_result(cluster_id, call_id, machine_id, attempt, **options)
        async with self._database.write() as write:
            await write.execute(
                update(tables.calls).where(tables.calls.c.id == call_id).values(attempts=0)
            )
        return recorded


async def test_a_store_that_forgets_a_run_is_found(played: Played) -> None:
    played.store.runs = _Forgetful(played.store.database)
    await played.accept("one")
    assert _broken_rules(await played.evidence()) == {"nothing_lost"}


async def test_a_store_that_counts_tokens_twice_is_found(played: Played) -> None:
    played.store.steps = _Generous(played.store.database)
    await played.drive(await played.accept("one"))
    assert _broken_rules(await played.evidence()) == {"totals"}


async def test_a_model_that_is_asked_again_for_a_recorded_step_is_found(played: Played) -> None:
    played.store.steps = _Insatiable(played.store.database)
    ref = await played.accept("one", steps=0)
    await played.drive(ref)
    await played.stage.alter(
        tables.steps, tables.steps.c.step == 1, created_at=tables.steps.c.created_at - 100
    )
    await played.think(played.step_runner(), ref, 1)
    assert "paid" in _broken_rules(await played.evidence())


async def test_a_delivery_out_of_order_is_found(played: Played) -> None:
    played.store.deliveries = _Hasty(played.store.database)
    await played.drive(await played.accept("one"))
    assert _broken_rules(await played.evidence()) == {"deliveries"}


async def test_an_execution_that_is_not_counted_is_found(played: Played) -> None:
    played.store.calls = _Uncounted(played.store.database)
    await played.drive(await played.accept("one"))
    assert _broken_rules(await played.evidence()) == {"executions"}
