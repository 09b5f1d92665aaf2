"""Lives of runs with a budget, and of urgent ones. Tests look at them, `tests.compatibility.histories.record` keeps them."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.workflows.interface import RunState
from tests.orchestrator.workflows.play import Play
from tests.orchestrator.workflows.scenarios.scenarios import Histories, scenario


@scenario
async def paused_for_its_budget(play: Play) -> Histories:
    """The reply wants more calls than the budget has: its execution ends, and no call is made."""
    play.states += [RunState("paused", 1)]
    await play.temporal.start_run(play.ref)
    return await play.run_ended()


@scenario
async def resumed_with_more(play: Play) -> Histories:
    """After the budget was raised the calls that waited are made, by another execution."""
    play.states += [RunState("running", 1, [play.order("waited")]), RunState("done", 2)]
    await play.temporal.signal_run(play.ref)
    return await play.run_ended()


@scenario
async def an_urgent_run(play: Play) -> Histories:
    """It goes before others wherever they wait for the same workers."""
    order = replace(play.order("call"), priority=1)
    play.states += [RunState("running", 1, [order], priority=1), RunState("done", 2, priority=1)]
    await play.temporal.start_run(play.ref, priority=1)
    return await play.run_ended()
