"""What the run's workflow does for a person's word: nothing while it waits, and the call at once when it comes."""

from __future__ import annotations

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory

from orchestrator.workflows.interface import EndTurnInput, ModelStepInput
from tests.orchestrator.workflows.play import CALL, Play, commands
from tests.orchestrator.workflows.scenarios import approvals as scenarios


def _activity_ids(histories: list[WorkflowHistory]) -> list[str]:
    """Ids of the calls' activities, in the order in which they were asked for."""
    scheduled = [
        event.activity_task_scheduled_event_attributes
        for history in histories
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    ]
    return [one.activity_id for one in scheduled if one.activity_type.name == CALL]


async def test_a_run_waits_without_an_execution_and_another_makes_the_call(play: Play) -> None:
    histories = await scenarios.approved(play)
    assert len(histories) == 2
    assert commands(histories) == ["think", CALL, "think", "think", CALL, "think"]
    assert _activity_ids(histories) == ["pay", "pay:1"]
    steps = [asked.step for asked in play.asked if isinstance(asked, ModelStepInput)]
    assert steps == [0, 2, 0, 2]


async def test_a_denied_call_is_not_made(play: Play) -> None:
    assert commands(await scenarios.denied(play)) == ["think", CALL, "think", "think"]


async def test_calls_that_need_nobody_are_made_although_the_run_is_paused(play: Play) -> None:
    histories = await scenarios.marked_beside_another(play)
    assert commands(histories) == ["think", CALL, "think"]
    assert _activity_ids(histories) == ["read"]


async def test_an_approved_call_begins_while_another_is_at_work(play: Play) -> None:
    histories = await scenarios.approved_during_another_call(play)
    assert len(histories) == 1
    assert _activity_ids(histories) == ["pay", "read", "pay:1"]
    assert commands(histories)[:6] == ["think", CALL, CALL, "look", CALL, "think"]


async def test_an_activity_from_before_the_request_is_abandoned(play: Play) -> None:
    histories = await scenarios.approved_before_the_request_was_known(play)
    assert _activity_ids(histories) == ["pay", "pay:1"]
    asked = commands(histories)
    assert asked[:3] == ["think", CALL, "look"]
    assert sorted(asked[3:5]) == [f"cancel {CALL}", CALL]
    (second, *_) = [asked for asked in play.asked if isinstance(asked, ModelStepInput)][1:]
    assert second.lost == []


async def test_a_decision_that_falls_between_two_steps_is_not_left_behind(play: Play) -> None:
    histories = await scenarios.approved_between_two_steps(play)
    assert commands(histories)[:5] == ["think", "look", CALL, "look", CALL]
    assert _activity_ids(histories) == ["read", "pay:1"]


async def test_a_turn_that_ended_elsewhere_is_only_stopped(play: Play) -> None:
    histories = await scenarios.ended_elsewhere(play)
    assert commands(histories) == [
        *("think", CALL, CALL, "look"),
        *(f"cancel {CALL}", f"cancel {CALL}"),
    ]
    assert not [asked for asked in play.asked if isinstance(asked, EndTurnInput)]
