"""Lives of runs that wait for people."""

from __future__ import annotations

from orchestrator.workflows.interface import (
    MODEL_STEP,
    READ_PENDING_REQUESTS,
    CallOutcome,
    PendingRequests,
    RunState,
)
from tests.orchestrator.workflows.play import CALL, Play
from tests.orchestrator.workflows.scenarios.scenarios import Histories, scenario


async def _paused(play: Play) -> Histories:
    """A call asks for an approval, and the run's execution closes."""
    play.states += [
        RunState("running", 1, [play.order("pay")]),
        RunState("paused", 1, interrupted=["pay"]),
    ]
    play.outcomes["pay"] = CallOutcome("pay", interrupted=True)
    await play.temporal.start_run(play.ref)
    return await play.run_ended()


@scenario
async def approved(play: Play) -> Histories:
    """Days later somebody says yes, and the call is made by another execution."""
    asked = await _paused(play)
    play.outcomes.pop("pay")
    play.states += [
        RunState("running", 1, [play.order("pay", interruptions=1)]),
        RunState("done", 2),
    ]
    await play.temporal.signal_run(play.ref)
    return [*asked, *await play.run_ended()]


@scenario
async def denied(play: Play) -> Histories:
    """Somebody says no, or nobody said anything in time: the model goes on with that result."""
    asked = await _paused(play)
    play.states += [RunState("done", 2)]
    await play.temporal.signal_run(play.ref)
    return [*asked, *await play.run_ended()]


@scenario
async def marked_beside_another(play: Play) -> Histories:
    """One call of a reply waits before it was made; the run is paused, and the other is made."""
    play.states += [
        RunState("paused", 1, [play.order("read")], interrupted=["pay"]),
        RunState("paused", 1, interrupted=["pay"]),
    ]
    await play.temporal.start_run(play.ref)
    return await play.run_ended()


@scenario
async def approved_during_another_call(play: Play) -> Histories:
    """The approved call does not wait for the end of the other."""
    orders = [play.order("pay"), play.order("read")]
    play.states += [RunState("running", 1, orders), RunState("done", 2), RunState("done", 2)]
    play.outcomes["pay"] = CallOutcome("pay", interrupted=True)
    play.seen += [PendingRequests(orders=[play.order("pay", interruptions=1)])]
    play.hold("read")
    await play.temporal.start_run(play.ref)
    await play.begun("read")
    await play.begun("pay")
    await play.completed(CALL)
    play.outcomes.pop("pay")
    await play.temporal.signal_run(play.ref)
    await play.begun("pay")
    play.release("read")
    return await play.run_ended()


@scenario
async def approved_before_the_request_was_known(play: Play) -> Histories:
    """Who took the request died before Temporal was notified: the old activity is given up for the new one."""
    play.states += [
        RunState("running", 1, [play.order("pay", taken=False)]),
        RunState("done", 2),
        RunState("done", 2),
    ]
    play.seen += [PendingRequests(orders=[play.order("pay", interruptions=1)])]
    await play.temporal.start_run(play.ref)
    await play.scheduled(CALL)
    await play.temporal.signal_run(play.ref)
    return await play.run_ended()


@scenario
async def approved_between_two_steps(play: Play) -> Histories:
    """The look ends while the step that does not know of the decision does: it is looked at once more."""
    again = PendingRequests(orders=[play.order("pay", interruptions=1)])
    play.states += [
        RunState("paused", 1, [play.order("read")], interrupted=["pay"]),
        RunState("done", 2),
        RunState("done", 2),
    ]
    play.seen += [again, again]
    play.hold(MODEL_STEP)
    play.hold("read")
    await play.temporal.start_run(play.ref)
    await play.begun(MODEL_STEP)
    await play.temporal.signal_run(play.ref)
    await play.completed(READ_PENDING_REQUESTS)
    play.release(MODEL_STEP)
    await play.begun("pay")
    play.release("read")
    return await play.run_ended()


@scenario
async def ended_elsewhere(play: Play) -> Histories:
    """The turn ended without the workflow while calls were at work: nothing is left to be written."""
    orders = [play.order("at work"), play.order("waiting", taken=False)]
    play.states += [RunState("running", 1, orders)]
    play.seen += [PendingRequests(over=True)]
    play.hold("at work")
    await play.temporal.start_run(play.ref)
    await play.begun("at work")
    await play.temporal.signal_run(play.ref)
    return await play.run_ended()
