"""Handlers receive one transition after the other, and of all of them."""

from __future__ import annotations

from orchestrator.workflows.interface import CallRef, ListDueDeliveriesInput
from tests.orchestrator.workflows.play import Play, commands
from tests.orchestrator.workflows.scenarios import scenarios
from tests.orchestrator.workflows.scenarios.scenarios import SUGGESTED_EVENTS


def _delivered(play: Play) -> list[str]:
    return [asked.call_id for asked in play.asked if isinstance(asked, CallRef)]


def _list_calls(play: Play) -> list[ListDueDeliveriesInput]:
    return [asked for asked in play.asked if isinstance(asked, ListDueDeliveriesInput)]


async def test_transitions_are_delivered_one_after_the_other(play: Play) -> None:
    histories = await scenarios.delivered_in_order(play)
    assert _delivered(play) == ["one", "two", "three"]
    assert commands(histories) == [
        *("next_deliveries", "sales_query", "sales_query"),
        *("next_deliveries", "sales_query", "next_deliveries"),
    ]


async def test_the_next_transition_waits_until_the_former_is_answered(play: Play) -> None:
    play.hold("one")
    play.deliveries.append(scenarios.DueDeliveries([play.order("one"), play.order("two")]))
    await play.temporal.signal_delivery(play.ref)
    await play.begun("one")
    assert _delivered(play) == ["one"]
    play.release("one")
    await play.delivery_ended()
    assert _delivered(play) == ["one", "two"]


async def test_a_delivery_that_is_abandoned_is_reported_and_the_next_one_goes_out(
    play: Play,
) -> None:
    await scenarios.a_dead_delivery(play)
    assert _delivered(play) == ["two"]
    assert [question.dead for question in _list_calls(play)] == [[], ["dead"], []]


async def test_a_transition_that_is_written_while_asking_is_not_overlooked(play: Play) -> None:
    await scenarios.a_transition_while_asking(play)
    assert _delivered(play) == ["late"]
    assert len(_list_calls(play)) == 3


async def test_starting_again_while_the_handler_is_away_writes_nothing(play: Play) -> None:
    """The sweeper does so at each pass, for as long as the handler does not come."""
    play.deliveries.append(scenarios.DueDeliveries([play.order("one")]))
    play.hold("one")
    await play.temporal.start_delivery(play.ref)
    await play.begun("one")
    for _ in range(20):
        await play.temporal.start_delivery(play.ref)
    play.release("one")
    (history,) = await play.delivery_ended()
    assert len(history.events) < 25
    assert commands([history]) == ["next_deliveries", "sales_query", "next_deliveries"]


async def test_many_transitions_continue_as_new_and_none_is_lost(play: Play) -> None:
    histories = await scenarios.many_transitions(play)
    assert len(histories) > 1
    assert _delivered(play) == [f"number {number}" for number in range(SUGGESTED_EVENTS // 4)]


async def test_nothing_to_deliver_is_one_query(play: Play) -> None:
    await play.temporal.signal_delivery(play.ref)
    assert commands(await play.delivery_ended()) == ["next_deliveries"]
