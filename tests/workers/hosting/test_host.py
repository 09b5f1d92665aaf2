"""Functions hosted beside the Temporal worker: their calls are made within the model step's activity."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from pydantic import JsonValue
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from typing_extensions import override

from orchestrator.errors import InvalidRequestError
from orchestrator.runtime.clock import now_ms
from orchestrator.settings import Settings
from orchestrator.store import tables
from orchestrator.store.calls.approvals import Decision
from orchestrator.store.calls.outcomes import Completed, Discarded
from orchestrator.store.conversation.step_input import StepInput
from orchestrator.store.conversation.steps import RecordedStep
from orchestrator.workflows.interface import CallRef
from perdure import Context, Service, approval_request, blob
from perdure.contract import FunctionConfig, FunctionDefinition, RetryPolicy
from tests.support.stage import Stage, calls_for, plan_of
from tests.workers.hosting.hosted import (
    MACHINE,
    activities_of,
    call,
    hosting_of,
    results,
    run_step_with,
    script,
    think,
)
from workers.hosting.host import MAX_IN_PROCESS_SECONDS, MAX_RETRY_WAIT
from workers.model_step.model_step import ModelStepRunner
from workers.models import open_models


@pytest.fixture
def service() -> Service:
    made = Service("here")

    @made.function
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    return made


async def test_steps_and_their_calls_are_made_within_one_activity(
    stage: Stage, service: Service
) -> None:
    prompt = script(call("add", a=1, b=2), call("add", a=3, b=4), {"text": "done"})
    hosting = hosting_of(stage, service)
    async with hosting.registered():
        ref = await stage.run(prompt=prompt)
        state = await think(stage, hosting, ref)
    assert (state.status, state.step, state.orders) == ("done", 3, [])
    rows = await stage.rows(tables.calls)
    assert [(row["status"], row["attempts"], row["handouts"]) for row in rows] == [
        ("success", 1, 1)
    ] * 2
    assert {row["machine_id"] for row in rows} == {MACHINE}
    one_round = ["step.recorded", "call.created", "call.started", "call.finished"]
    expected = ["run.created", "run.status", *one_round, *one_round, "step.recorded", "run.status"]
    assert await stage.event_types(ref) == expected


async def test_all_calls_of_a_reply_are_at_work_at_once(stage: Stage) -> None:
    service, both = Service("here"), asyncio.Barrier(2)

    @service.function
    async def meet() -> str:
        """Return once two are here."""
        await asyncio.wait_for(both.wait(), 10)
        return "met"

    twice: list[JsonValue] = [{"function": "here_meet"}, {"function": "here_meet"}]
    prompt = script({"calls": twice}, {"text": "done"})
    hosting = hosting_of(stage, service)
    async with hosting.registered():
        assert (await think(stage, hosting, await stage.run(prompt=prompt))).status == "done"
    assert [row["status"] for row in await stage.rows(tables.calls)] == ["success"] * 2


async def test_calls_that_would_have_to_wait_are_given_to_nobody_yet(stage: Stage) -> None:
    """What is given to a process begins there at once: a function with one slot gets one call after the other."""
    service, at_work = Service("here"), 0

    @service.function(concurrency=1)
    async def alone() -> int:
        """Say how many are at work."""
        nonlocal at_work
        at_work += 1
        (running,) = [row for row in await stage.rows(tables.calls) if row["status"] == "running"]
        assert running["machine_id"] == MACHINE
        at_work -= 1
        return at_work

    twice: list[JsonValue] = [{"function": "here_alone"}, {"function": "here_alone"}]
    prompt = script({"calls": twice}, call("alone"), {"text": "done"})
    hosting = hosting_of(stage, service)
    async with hosting.registered():
        ref = await stage.run(prompt=prompt)
        assert (await think(stage, hosting, ref)).status == "done"
    assert await results(stage, ref) == ["0", "0", "0"]


async def test_a_function_is_tried_again_as_often_as_it_allows(stage: Stage) -> None:
    service, attempts = Service("here"), list[int]()
    policy = RetryPolicy(initial_seconds=0.01)

    @service.function(retries=2, retry=policy)
    def flaky(context: Context) -> int:
        """Works the third time."""
        attempts.append(context.attempt)
        if len(attempts) < 3:
            raise ValueError("not yet")
        return len(attempts)

    @service.function
    def broken() -> int:
        """Never works."""
        raise ValueError("never")

    prompt = script(call("flaky"), call("broken"), {"text": "done"})
    hosting = hosting_of(stage, service)
    async with hosting.registered():
        ref = await stage.run(prompt=prompt)
        assert (await think(stage, hosting, ref)).status == "done"
    assert attempts == [1, 2, 3]
    first, second = await stage.rows(tables.calls)
    assert (first["attempts"], second["attempts"]) == (3, 1)
    assert (first["result_type"], second["result_type"]) == ("resolution", "rejection")
    assert len(await stage.events(ref, "call.retried")) == 2


async def test_a_long_pause_between_attempts_is_temporals_to_wait(stage: Stage) -> None:
    service = Service("here")

    @service.function(
        retries=1, retry=RetryPolicy(initial_seconds=2 * MAX_RETRY_WAIT, maximum_seconds=1_000)
    )
    def broken() -> int:
        """Never works."""
        raise ValueError("never")

    hosting = hosting_of(stage, service)
    async with hosting.registered():
        ref = await stage.run(prompt=script(call("broken"), {"text": "done"}))
        with pytest.raises(ApplicationError) as raised:
            await think(stage, hosting, ref)
    assert raised.value.next_retry_delay is not None
    assert raised.value.next_retry_delay.total_seconds() == 2 * MAX_RETRY_WAIT


async def test_a_call_that_asks_a_person_pauses_the_run(stage: Stage) -> None:
    service = Service("here")

    @service.function
    def pay(context: Context) -> object:
        """Ask first."""
        return "paid" if context.approved else approval_request("Really?")

    hosting = hosting_of(stage, service)
    async with hosting.registered():
        ref = await stage.run(prompt=script(call("pay"), {"text": "done"}))
        state = await think(stage, hosting, ref)
        assert (state.status, state.orders) == ("paused", [])
        (row,) = await stage.rows(tables.calls)
        await stage.store.approvals.decide(
            ref.cluster_id, row["id"], Decision(approved=True, by="somebody")
        )
        state = await think(stage, hosting, ref)
    assert state.status == "done"
    assert await results(stage, ref) == ["paid"]


async def test_blobs_are_stored(stage: Stage) -> None:
    service = Service("here")

    @service.function
    def draw() -> object:
        """Draw."""
        return {"drawn": blob("note", "text/plain", "for people")}

    hosting = hosting_of(stage, service)
    async with hosting.registered():
        ref = await stage.run(prompt=script(call("draw"), {"text": "done"}))
        assert (await think(stage, hosting, ref)).status == "done"
    (kept,) = await stage.rows(tables.blobs)
    assert kept["name"] == "note"


async def test_a_result_that_is_nested_too_deeply_is_a_failure(stage: Stage) -> None:
    service = Service("here")

    @service.function
    def deep() -> object:
        """Nest."""
        value: list[Any] = []
        for _ in range(100):
            value = [value]
        return value

    hosting = hosting_of(stage, service)
    async with hosting.registered():
        ref = await stage.run(prompt=script(call("deep"), {"text": "done"}))
        assert (await think(stage, hosting, ref)).status == "done"
    (row,) = await stage.rows(tables.calls)
    assert row["result_type"] == "rejection"


async def test_other_calls_are_left_to_the_workflow(stage: Stage, service: Service) -> None:
    await stage.register("elsewhere")
    both: dict[str, JsonValue] = {
        "calls": [
            {"function": "here_add", "input": {"a": 1, "b": 2}},
            {"function": "sales_elsewhere"},
        ]
    }
    hosting = hosting_of(stage, service)
    async with hosting.registered():
        state = await think(stage, hosting, await stage.run(prompt=script(both)))
        assert (state.status, len(state.orders)) == ("running", 2)
        state = await think(stage, None, await stage.run(prompt=script(call("add", a=1, b=2))))
        assert (state.status, len(state.orders)) == ("running", 1)
    assert {row["status"] for row in await stage.rows(tables.calls)} == {"pending"}


async def test_a_call_that_may_take_long_has_an_activity_of_its_own(stage: Stage) -> None:
    service = Service("here")
    service.function(timeout=MAX_IN_PROCESS_SECONDS + 1)(long)
    hosting = hosting_of(stage, service)
    async with hosting.registered():
        ref = await stage.run(prompt=script(call("long"), {"text": "done"}))
        (order,) = (await think(stage, hosting, ref)).orders
    ticket_made = await hosting.run_attempt(
        CallRef(ref, order.call_id), order.queue, b"its own token"
    )
    assert isinstance(ticket_made, Completed)
    assert (await think(stage, hosting, ref)).status == "done"


def long() -> str:
    """Take long."""
    return "at last"


async def test_a_call_that_a_dead_process_had_is_the_workflows(
    stage: Stage, service: Service
) -> None:
    """Only its own activity says that nobody works on it any more."""
    hosting = hosting_of(stage, service)
    async with hosting.registered():
        ref = await stage.run(prompt=script(call("add", a=1, b=2), {"text": "done"}))
        (order,) = (await think(stage, None, ref)).orders
        await stage.lease(ref, order.call_id, machine="dead")
        state = await think(stage, hosting, ref)
        assert [one.call_id for one in state.orders] == [order.call_id]
        assert (await stage.call_row(order.call_id))["machine_id"] == "dead"
        taken = await hosting.run_attempt(CallRef(ref, order.call_id), order.queue, b"token")
        assert isinstance(taken, Completed)


async def test_a_step_that_somebody_else_recorded_makes_no_calls_here(
    stage: Stage, service: Service
) -> None:
    """A worker that was frozen wakes up while another one drives the run."""
    began, go_on = asyncio.Event(), asyncio.Event()

    class Frozen(ModelStepRunner):
        @override
        async def run(self, step_input: StepInput, **more: Any) -> RecordedStep:
            began.set()
            await go_on.wait()
            return await super().run(step_input, **more)

    hosting = hosting_of(stage, service)
    activities = activities_of(stage, hosting)
    activities._step_runner = Frozen(
        stage.store, open_models(Settings(anthropic_api_key=None)), max_output_tokens=1_000
    )
    async with hosting.registered():
        ref = await stage.run(prompt=script(call("add", a=1, b=2), {"text": "done"}))
        frozen = asyncio.create_task(run_step_with(activities, ref))
        await began.wait()
        question = await stage.begin_step(ref)
        await stage.store.steps.record(
            question, plan_of(question, calls_for("here_add")), seen=99, attempt=2, duration_ms=1
        )
        go_on.set()
        state = await frozen
    assert state.late
    (row,) = await stage.rows(tables.calls)
    assert (row["status"], row["handouts"]) == ("pending", 0)


async def test_a_cancelled_call_is_stopped_and_the_run_goes_on(stage: Stage) -> None:
    service, began, stopped = Service("here"), asyncio.Event(), asyncio.Event()

    @service.function
    async def wait() -> None:
        """Wait for ever."""
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    hosting = hosting_of(stage, service, look_seconds=0.05)
    async with hosting.registered():
        ref = await stage.run(prompt=script(call("wait"), {"text": "done"}))
        thinking = asyncio.create_task(think(stage, hosting, ref))
        await began.wait()
        (row,) = await stage.rows(tables.calls)
        await stage.store.calls.cancel(ref.cluster_id, row["id"], "enough")
        await thinking
    assert stopped.is_set()
    assert (await think(stage, hosting, ref)).status == "done"


async def test_an_attempt_after_a_lost_one_takes_its_step_and_is_done(
    stage: Stage, service: Service
) -> None:
    """So that attempts are not counted together which had nothing to do with each other."""
    hosting, environment = hosting_of(stage, service), ActivityEnvironment()
    environment.info = replace(environment.info, attempt=2)
    async with hosting.registered():
        ref = await stage.run(prompt=script(call("add", a=1, b=2), {"text": "done"}))
        state = await think(stage, hosting, ref, environment)
        assert (state.step, len(state.orders)) == (1, 1)
        assert (await think(stage, hosting, ref)).status == "done"


async def test_a_worker_that_is_to_end_begins_nothing_more(stage: Stage, service: Service) -> None:
    hosting, environment = hosting_of(stage, service), ActivityEnvironment()
    environment.worker_shutdown()
    async with hosting.registered():
        ref = await stage.run(prompt=script(call("add", a=1, b=2), {"text": "done"}))
        state = await think(stage, hosting, ref, environment)
    assert len(state.orders) == 1


async def test_the_process_is_known_as_a_machine_while_it_hosts(
    stage: Stage, service: Service
) -> None:
    hosting = hosting_of(stage, service)
    async with hosting.registered():
        (described,) = await stage.store.functions.services(stage.cluster_id)
        assert [(one.name, one.live_machines) for one in described.functions] == [("add", 1)]
    (machine,) = await stage.rows(tables.machines)
    assert (machine["id"], machine["alive_until"] <= now_ms()) == (MACHINE, True)


async def test_what_the_api_would_refuse_is_refused(stage: Stage) -> None:
    service = Service("here")
    config = FunctionConfig(cache={"key_path": "nonsense", "ttl_seconds": 1.0})  # pyright: ignore[reportArgumentType]
    hosting = hosting_of(stage, service)
    (registration,) = hosting._host.definitions
    registration.functions.append(FunctionDefinition(name="cached", config=config))
    with pytest.raises(InvalidRequestError) as raised:
        async with hosting.registered():
            pass
    assert raised.value.pointer == "/functions/0/config/cache/keyPath"


async def test_a_deleted_call_is_unwanted(stage: Stage, service: Service) -> None:
    hosting = hosting_of(stage, service)
    ref = await stage.run()
    (queue,) = hosting.functions
    assert isinstance(await hosting.run_attempt(CallRef(ref, "gone"), queue, None), Discarded)
