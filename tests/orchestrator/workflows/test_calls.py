"""What the workflow makes of direct calls, and of calls that are given up."""

from __future__ import annotations

from orchestrator.workflows.interface import ModelStepInput
from tests.orchestrator.workflows.play import Play, commands
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
