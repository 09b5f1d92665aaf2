"""What the run's workflow asks for, by the rules and by nothing else."""

from __future__ import annotations

from orchestrator.workflows.interface import (
    EndTurnInput,
    ModelStepInput,
    RunState,
    SummarizeInput,
    TimedOutCall,
)
from tests.orchestrator.workflows.play import Play, commands
from tests.orchestrator.workflows.scenarios import scenarios
from tests.orchestrator.workflows.scenarios.scenarios import SUGGESTED_EVENTS


def _thoughts(play: Play) -> list[ModelStepInput]:
    return [asked for asked in play.asked if isinstance(asked, ModelStepInput)]


def _settled(play: Play) -> list[EndTurnInput]:
    return [asked for asked in play.asked if isinstance(asked, EndTurnInput)]


async def test_a_run_that_is_answered_at_once_is_one_activity(play: Play) -> None:
    assert commands(await scenarios.one_step(play)) == ["think"]
    assert play.asked == [ModelStepInput(play.ref)]


async def test_calls_of_one_reply_run_side_by_side_and_long_results_are_summarized(
    play: Play,
) -> None:
    histories = await scenarios.calls_in_parallel(play)
    assert commands(histories) == ["think", "sales_query", "sales_query", "summarize", "think"]
    assert SummarizeInput(play.ref, "second") in play.asked
    assert _thoughts(play) == [ModelStepInput(play.ref), ModelStepInput(play.ref, 2)]


async def test_an_execution_that_takes_over_goes_on_where_the_store_is(play: Play) -> None:
    histories = await scenarios.taken_over(play)
    assert commands(histories) == ["think", "summarize", "think", "think"]
    assert SummarizeInput(play.ref, "long") in play.asked
    assert [thought.step for thought in _thoughts(play)] == [0, 5, 6]


async def test_calls_that_time_out_in_temporal_are_reported_to_the_next_step(play: Play) -> None:
    histories = await scenarios.lost_call(play)
    assert commands(histories) == ["think", "sales_query", "sales_query", "think"]
    (_, second) = _thoughts(play)
    assert second.step == 2
    assert [lost.call_id for lost in second.lost] == ["late", "given up"]
    assert second.lost[1] == TimedOutCall("given up", "gone")


async def test_a_model_that_cannot_be_reached_fails_the_run(play: Play) -> None:
    assert commands(await scenarios.unreachable_model(play)) == ["think", "settle"]
    reason = "The model could not be reached: no route to the model"
    assert _settled(play) == [EndTurnInput(play.ref, "fail", reason)]


async def test_a_cancel_does_not_wait_for_functions(play: Play) -> None:
    histories = await scenarios.cancelled_during_calls(play)
    assert commands(histories) == [
        *("think", "sales_query", "sales_query", "look"),
        *("cancel sales_query", "cancel sales_query", "settle"),
    ]
    assert _settled(play) == [EndTurnInput(play.ref, "cancel", "")]


async def test_a_cancel_does_not_wait_for_the_model(play: Play) -> None:
    histories = await scenarios.cancelled_during_a_model_step(play)
    assert commands(histories) == ["think", "look", "cancel think", "settle"]


async def test_an_edit_does_not_wait_for_the_answer_that_it_replaces(play: Play) -> None:
    histories = await scenarios.edited_during_a_model_step(play)
    assert commands(histories) == ["think", "look", "cancel think", "think"]
    assert _thoughts(play) == [ModelStepInput(play.ref)] * 2


async def test_an_edit_does_not_wait_for_the_functions_of_a_replaced_reply(play: Play) -> None:
    histories = await scenarios.edited_during_calls(play)
    assert commands(histories) == [
        *("think", "sales_query", "sales_query", "look"),
        *("cancel sales_query", "cancel sales_query", "think", "think"),
    ]
    assert [thought.step for thought in _thoughts(play)] == [0, 2, 0]
    assert _settled(play) == []


async def test_a_message_that_was_already_read_is_never_left_behind(play: Play) -> None:
    histories = await scenarios.message_during_a_model_step(play)
    assert commands(histories) == ["think", "look", "think"]
    assert _thoughts(play) == [ModelStepInput(play.ref), ModelStepInput(play.ref)]


async def test_a_cancel_that_was_already_read_is_never_left_behind(play: Play) -> None:
    """The next step finds the request in the store, and carries it out."""
    histories = await scenarios.cancel_read_at_the_end_of_a_step(play)
    assert commands(histories) == ["think", "look", "think"]


async def test_a_result_that_only_the_store_knows_is_enough(play: Play) -> None:
    histories = await scenarios.settled_elsewhere(play)
    assert commands(histories)[:6] == [
        *("think", "sales_query", "look", "cancel sales_query", "summarize", "think"),
    ]
    assert [thought.step for thought in _thoughts(play)] == [0, 2, 0]


async def test_a_suspended_run_closes_without_an_end(play: Play) -> None:
    histories = await scenarios.parked(play)
    assert commands(histories) == ["think", "sales_query", "look", "cancel sales_query"]
    assert _settled(play) == []


async def test_a_long_run_continues_as_new_and_loses_no_step(play: Play) -> None:
    histories = await scenarios.many_steps(play)
    assert len(histories) > 1
    asked = commands(histories)
    assert asked.count("continue as new") == len(histories) - 1
    assert asked.count("think") == SUGGESTED_EVENTS // 4
    assert not play.states
    for history in histories:
        assert len(history.events) < 2 * SUGGESTED_EVENTS


async def test_a_paused_run_needs_no_open_workflow(play: Play) -> None:
    play.states += [RunState("paused", 3)]
    await play.temporal.start_run(play.ref)
    assert commands(await play.run_ended()) == ["think"]


async def test_a_second_start_is_harmless(play: Play) -> None:
    play.states += [RunState("done", 1)]
    play.hold("think")
    await play.temporal.start_run(play.ref)
    await play.temporal.start_run(play.ref)
    await play.begun("think")
    await play.temporal.start_run(play.ref)
    play.release("think")
    assert commands(await play.run_ended()) == ["think"]


async def test_the_signal_that_starts_an_execution_costs_no_extra_read(play: Play) -> None:
    play.states += [RunState("done", 1)]
    await play.temporal.signal_run(play.ref)
    assert commands(await play.run_ended()) == ["think"]


async def test_a_run_that_has_ended_is_revived_by_a_signal(play: Play) -> None:
    await scenarios.one_step(play)
    play.states += [RunState("done", 2)]
    await play.temporal.signal_run(play.ref)
    assert commands(await play.run_ended()) == ["think"]
    assert len(_thoughts(play)) == 2


async def test_many_signals_at_once_lose_nothing(play: Play) -> None:
    play.states += [RunState("done", 1), RunState("done", 2)]
    play.hold("think")
    await play.temporal.start_run(play.ref)
    await play.begun("think")
    for _ in range(5):
        await play.temporal.signal_run(play.ref)
    await play.begun("look")
    play.release("think")
    asked = commands(await play.run_ended())
    assert asked[0] == "think"
    assert asked[-1] == "think"
    assert set(asked[1:-1]) == {"look"}
