"""Lives of runs that are nothing but one direct call. Tests look at them, `tests.compatibility.histories.record` keeps them."""

from __future__ import annotations

from orchestrator.workflows.interface import CallOutcome, PendingRequests, RunState
from tests.orchestrator.workflows.play import CALL, Play
from tests.orchestrator.workflows.scenarios.scenarios import Histories, scenario


@scenario
async def a_direct_call(play: Play) -> Histories:
    """The run is under way before its workflow is: it has its call, and no step of a model."""
    play.states += [RunState("running", 0, [play.order("direct")]), RunState("done", 0)]
    await play.temporal.start_run(play.ref)
    return await play.run_ended()


@scenario
async def a_direct_call_answered_from_the_cache(play: Play) -> Histories:
    """There is nothing left to do when the workflow asks."""
    play.states += [RunState("done", 0)]
    await play.temporal.start_run(play.ref)
    return await play.run_ended()


@scenario
async def a_cancelled_direct_call(play: Play) -> Histories:
    """Nobody has taken the call when it is given up: its run has ended in the store."""
    play.states += [RunState("running", 0, [play.order("direct", taken=False)])]
    play.seen += [PendingRequests(settled=[CallOutcome("direct")], over=True)]
    await play.temporal.start_run(play.ref)
    await play.scheduled(CALL)
    await play.temporal.signal_run(play.ref)
    return await play.run_ended()


@scenario
async def a_cancelled_call(play: Play) -> Histories:
    """One call of a reply is given up while another is at work: the model goes on with both results."""
    orders = [play.order("given up", taken=False), play.order("at work")]
    play.states += [
        RunState("running", 1, orders),
        RunState("done", 2),
        RunState("done", 2),
    ]
    play.seen += [PendingRequests(settled=[CallOutcome("given up")])]
    play.hold("at work")
    await play.temporal.start_run(play.ref)
    await play.begun("at work")
    await play.temporal.signal_run(play.ref)
    await play.completed("look")
    play.release("at work")
    return await play.run_ended()
