"""Lives of runs and of deliveries, each played to its end. Tests look at them, `tests.compatibility.histories.record` keeps them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from temporalio.client import WorkflowHistory
from temporalio.exceptions import ApplicationError

from orchestrator.workflows.interface import (
    LIST_DUE_DELIVERIES,
    MODEL_STEP,
    READ_PENDING_REQUESTS,
    CallOutcome,
    DueDeliveries,
    PendingRequests,
    RunState,
)
from tests.orchestrator.workflows.play import CALL, Play
from tests.support.temporal_server import SUGGESTED_EVENTS

Histories = list[WorkflowHistory]
Scenario = Callable[[Play], Awaitable[Histories]]

SCENARIOS: dict[str, Scenario] = {}


def scenario(play: Scenario) -> Scenario:
    SCENARIOS[getattr(play, "__name__", "")] = play
    return play


# -- runs ------------------------------------------------------------------------------------------


@scenario
async def one_step(play: Play) -> Histories:
    """The model answers at once."""
    play.states += [RunState("done", 1)]
    await play.temporal.start_run(play.ref)
    return await play.run_ended()


@scenario
async def calls_in_parallel(play: Play) -> Histories:
    """Two calls of one reply; the later one returns first, with a result that is too long."""
    orders = [play.order("first"), play.order("second")]
    play.states += [RunState("running", 1, orders), RunState("done", 2)]
    play.outcomes["second"] = CallOutcome("second", oversized=True)
    play.hold("first")
    await play.temporal.start_run(play.ref)
    await play.begun("second")
    await play.begun("first")
    play.release("first")
    return await play.run_ended()


@scenario
async def taken_over(play: Play) -> Histories:
    """A new execution finds a result that nobody summarized, then a reply that was sent back."""
    play.states += [
        RunState("running", 4, oversized=["long"]),
        RunState("running", 5),
        RunState("done", 6),
    ]
    await play.temporal.signal_run(play.ref)
    return await play.run_ended()


@scenario
async def lost_call(play: Play) -> Histories:
    """Nobody takes the first call before its deadline, and the second is given up for good."""
    orders = [play.order("late", deadline=1.0, taken=False), play.order("given up")]
    play.outcomes["given up"] = ApplicationError("gone", non_retryable=True)
    play.states += [RunState("running", 1, orders), RunState("done", 2)]
    await play.temporal.start_run(play.ref)
    return await play.run_ended()


@scenario
async def unreachable_model(play: Play) -> Histories:
    """The model step is given up."""
    play.states += [ApplicationError("no route to the model", non_retryable=True)]
    await play.temporal.start_run(play.ref)
    return await play.run_ended()


@scenario
async def cancelled_during_calls(play: Play) -> Histories:
    """A cancel arrives while one call is at work and nobody has taken the other."""
    orders = [play.order("at work"), play.order("waiting", taken=False)]
    play.states += [RunState("running", 1, orders)]
    play.seen += [PendingRequests(cancel_wanted=True)]
    play.hold("at work")
    await play.temporal.start_run(play.ref)
    await play.begun("at work")
    await play.temporal.signal_run(play.ref)
    return await play.run_ended()


@scenario
async def cancelled_during_a_model_step(play: Play) -> Histories:
    play.seen += [PendingRequests(cancel_wanted=True)]
    play.hold(MODEL_STEP)
    await play.temporal.start_run(play.ref)
    await play.begun(MODEL_STEP)
    await play.temporal.signal_run(play.ref)
    return await play.run_ended()


@scenario
async def message_during_a_model_step(play: Play) -> Histories:
    """The step that is under way does not know of it, so the run is driven once more."""
    play.states += [RunState("done", 1), RunState("done", 2)]
    play.hold(MODEL_STEP)
    await play.temporal.start_run(play.ref)
    await play.begun(MODEL_STEP)
    await play.temporal.signal_run(play.ref)
    await play.begun(READ_PENDING_REQUESTS)
    play.release(MODEL_STEP)
    return await play.run_ended()


@scenario
async def cancel_read_at_the_end_of_a_step(play: Play) -> Histories:
    """A look has read the request, but the step ended before the look did."""
    play.states += [RunState("paused", 1), RunState("cancelled", 1)]
    play.seen += [PendingRequests(cancel_wanted=True)]
    play.hold(MODEL_STEP)
    play.hold(READ_PENDING_REQUESTS)
    await play.temporal.start_run(play.ref)
    await play.begun(MODEL_STEP)
    await play.temporal.signal_run(play.ref)
    await play.begun(READ_PENDING_REQUESTS)
    play.release(MODEL_STEP)
    await play.completed(MODEL_STEP)
    play.release(READ_PENDING_REQUESTS)
    return await play.run_ended()


@scenario
async def settled_elsewhere(play: Play) -> Histories:
    """The store has a call's result although its activity was never notified."""
    play.states += [
        RunState("running", 1, [play.order("known", taken=False)]),
        RunState("done", 2),
        RunState("done", 2),
    ]
    play.seen += [PendingRequests(settled=[CallOutcome("known", oversized=True)])]
    play.hold(MODEL_STEP)
    await play.temporal.start_run(play.ref)
    await play.begun(MODEL_STEP)
    play.release(MODEL_STEP)
    await play.scheduled(CALL)
    await play.temporal.signal_run(play.ref)
    return await play.run_ended()


@scenario
async def parked(play: Play) -> Histories:
    """The run waits for a function worker for so long that its execution is closed."""
    play.states += [RunState("running", 1, [play.order("waiting", taken=False)])]
    play.seen += [PendingRequests(parked=True)]
    await play.temporal.start_run(play.ref)
    await play.scheduled(CALL)
    await play.temporal.signal_run(play.ref)
    return await play.run_ended()


@scenario
async def many_steps(play: Play) -> Histories:
    """So many steps that the server suggests a fresh history."""
    steps = SUGGESTED_EVENTS // 4
    play.states += [RunState("running", step) for step in range(1, steps)]
    play.states += [RunState("done", steps)]
    await play.temporal.start_run(play.ref)
    return await play.run_ended()


@scenario
async def edited_during_a_model_step(play: Play) -> Histories:
    """What the model is asked is out of date: it is asked anew, and the old answer not waited for."""
    play.states += [RunState("done", 1), RunState("done", 1)]
    play.seen += [PendingRequests(rewound=True)]
    play.hold(MODEL_STEP)
    await play.temporal.start_run(play.ref)
    await play.begun(MODEL_STEP)
    await play.temporal.signal_run(play.ref)
    await play.begun(MODEL_STEP)
    play.release(MODEL_STEP)
    return await play.run_ended()


@scenario
async def edited_during_calls(play: Play) -> Histories:
    """A call at work and one that nobody took were replaced: the store has closed them."""
    orders = [play.order("at work"), play.order("waiting", taken=False)]
    play.states += [RunState("running", 1, orders), RunState("done", 2), RunState("done", 2)]
    play.seen += [
        PendingRequests(rewound=True, settled=[CallOutcome("at work"), CallOutcome("waiting")])
    ]
    play.hold("at work")
    await play.temporal.start_run(play.ref)
    await play.begun("at work")
    await play.temporal.signal_run(play.ref)
    return await play.run_ended()


# -- deliveries ------------------------------------------------------------------------------------


@scenario
async def delivered_in_order(play: Play) -> Histories:
    """Three transitions, written in two portions."""
    play.deliveries += [
        DueDeliveries([play.order("one"), play.order("two")]),
        DueDeliveries([play.order("three")]),
    ]
    await play.temporal.signal_delivery(play.ref)
    return await play.delivery_ended()


@scenario
async def a_dead_delivery(play: Play) -> Histories:
    """The handler of the first transition never comes; the second is delivered all the same."""
    dead, two = play.order("dead", deadline=1.0, taken=False), play.order("two")
    play.deliveries += [DueDeliveries([dead, two]), DueDeliveries([two])]
    await play.temporal.signal_delivery(play.ref)
    return await play.delivery_ended()


@scenario
async def a_transition_while_asking(play: Play) -> Histories:
    """A transition is written just when the workflow learned that there is none."""
    play.deliveries += [DueDeliveries(), DueDeliveries([play.order("late")])]
    play.hold(LIST_DUE_DELIVERIES)
    await play.temporal.signal_delivery(play.ref)
    await play.begun(LIST_DUE_DELIVERIES)
    await play.temporal.signal_delivery(play.ref)
    play.release(LIST_DUE_DELIVERIES)
    return await play.delivery_ended()


@scenario
async def many_transitions(play: Play) -> Histories:
    """So many that the server suggests a fresh history."""
    for number in range(SUGGESTED_EVENTS // 4):
        play.deliveries.append(DueDeliveries([play.order(f"number {number}")]))
    await play.temporal.signal_delivery(play.ref)
    return await play.delivery_ended()
