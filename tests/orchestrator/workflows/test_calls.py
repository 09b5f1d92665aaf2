"""What the workflow makes of direct calls, and of calls that are given up."""

from __future__ import annotations

from orchestrator.temporal.client import run_workflow_id
from orchestrator.workflows.interface import ModelStepInput, RunState
from tests.orchestrator.workflows.play import CALL, Play, commands
from tests.orchestrator.workflows.scenarios import calls as scenarios


async def test_a_direct_call_is_made_and_its_run_found_done(play: Play) -> None:
    assert commands(await scenarios.a_direct_call(play)) == ["think", "sales_query", "think"]
    assert [one.step for one in play.asked if isinstance(one, ModelStepInput)] == [0, 1]


async def test_a_known_result_leaves_the_workflow_nothing_to_do(play: Play) -> None:
    assert commands(await scenarios.a_direct_call_answered_from_the_cache(play)) == ["think"]


async def test_a_cancelled_direct_call_ends_its_execution(play: Play) -> None:
    asked = commands(await scenarios.a_cancelled_direct_call(play))
    assert asked == ["think", "sales_query", "look", "cancel sales_query"]


async def test_a_cancelled_call_is_not_waited_for_and_the_others_are(play: Play) -> None:
    asked = commands(await scenarios.a_cancelled_call(play))
    assert asked[:5] == ["think", "sales_query", "sales_query", "look", "cancel sales_query"]
    assert set(asked[5:]) == {"think"}


async def test_a_closed_workflow_waits_for_no_call(play: Play) -> None:
    play.states += [RunState("running", 1, [play.order("open", taken=False)])]
    await play.temporal.start_run(play.ref)
    await play.scheduled(CALL)
    workflow_id = run_workflow_id(play.ref)
    assert await play.temporal.is_call_pending(workflow_id, "open")
    await play.client.get_workflow_handle(workflow_id).terminate()
    assert not await play.temporal.is_call_pending(workflow_id, "open")
