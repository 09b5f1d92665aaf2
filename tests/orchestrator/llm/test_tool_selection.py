"""What a model is offered where there are more functions than fit, from step to step."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given, strategies as st
from pydantic import JsonValue

from orchestrator.llm.messages import ModelResponse, StopReason, Tool, ToolCall
from orchestrator.llm.prompts import MAX_FOUND, SEARCH_TOOL
from orchestrator.llm.tool_selection import (
    MAX_FOUND_TOOLS,
    MAX_TOOL_CHARACTERS,
    MAX_TOOLS,
    ToolSelection,
    ToolSelector,
    search_answer,
)
from orchestrator.llm.tools import AvailableFunction
from orchestrator.llm.transcript import TranscriptEntry, reply_data, result_data, text_data
from perdure.contract import INLINE_RESULT_CHARACTERS, MessageType

TOPICS = ["invoice", "customer", "weather", "ticket", "parcel", "salary", "garden", "engine"]


def _function(name: str, description: str = "", characters: int = 100) -> AvailableFunction:
    return AvailableFunction(
        service="s",
        name=name,
        tool=Tool(f"s_{name}", description, {"type": "object", "properties": {"a": {}}}),
        max_attempts=1,
        timeout_ms=1_000,
        deadline_ms=1_000,
        heartbeats=True,
        characters=characters,
    )


MANY = sorted(
    (_function(f"{topic}_{n:02}", f"About a {topic}.") for topic in TOPICS for n in range(20)),
    key=lambda function: function.tool.name,
)
"""160 functions, 20 to each topic."""


class Played:
    """A run's transcript, written as the store writes it."""

    def __init__(self) -> None:
        self.entries: list[TranscriptEntry] = []
        self.offering = ToolSelector()

    def _add(self, kind: MessageType, data: dict[str, JsonValue]) -> None:
        entry = TranscriptEntry(len(self.entries) + 1, kind, data)
        self.entries.append(entry)
        self.offering.add(entry)

    def says(self, text: str) -> None:
        self._add(MessageType.HUMAN, text_data(text))

    def step(
        self, functions: Sequence[AvailableFunction], *, search: str | None = None
    ) -> ToolSelection:
        """The model is offered what there is, and answers; it may search."""
        offer, seen = self.offering.select(functions), len(self.entries)
        call = ToolCall(f"t{seen}", SEARCH_TOOL, {"query": search, "limit": MAX_FOUND})
        reply = ModelResponse("", StopReason.CALLS, (call,) if search else ())
        self._add(MessageType.AGENT, reply_data(reply, seen=seen, selected_tools=offer.names))
        if search:
            self._add(MessageType.INVOCATION_RESULT, result_data(search_answer(call, functions)))
        return offer

    def elsewhere(self) -> ToolSelector:
        """What another worker makes of the same transcript."""
        offering = ToolSelector()
        for entry in self.entries:
            offering.add(entry)
        return offering


def _names(offer: ToolSelection) -> list[str]:
    return [function.tool.name for function in offer.functions]


def test_where_all_fit_all_are_offered_and_nothing_is_added() -> None:
    played = Played()
    played.says("anything")
    offer = played.step(MANY[:MAX_TOOLS])
    assert offer == ToolSelection(tuple(MANY[:MAX_TOOLS]))
    assert "offered" not in json.dumps(played.entries[-1].data)


def test_of_too_many_the_best_matches_for_the_prompt_are_offered() -> None:
    played = Played()
    played.says("Send the customer an invoice for the parcel.")
    offer = played.step(MANY)
    names = _names(offer)
    assert offer.searchable
    assert len(names) == MAX_TOOLS
    assert names == sorted(names)
    for topic in ("invoice", "customer", "parcel"):
        assert sum(topic in name for name in names) == 20


def test_schemas_that_are_too_long_together_are_too_many() -> None:
    big = [_function(f"f{n}", "weather" if n == 7 else "", 30_000) for n in range(9)]
    played = Played()
    played.says("weather")
    offer = played.step(big)
    assert offer.searchable
    assert "s_f7" in _names(offer)
    assert sum(function.characters for function in offer.functions) <= MAX_TOOL_CHARACTERS
    huge = [_function("f", "", MAX_TOOL_CHARACTERS + 1)]
    assert _names(Played().step(huge)) == ["s_f"], "the best one is always offered"


def test_what_was_found_is_offered_from_then_on_behind_what_was_there() -> None:
    played = Played()
    played.says("invoice")
    first = _names(played.step(MANY, search="weather"))
    assert not any("weather_1" in name for name in first)
    second = _names(played.step(MANY))
    assert second[: len(first)] == first
    found = second[len(first) :]
    assert 0 < len(found) <= MAX_FOUND
    assert all("weather" in name for name in found)
    assert _names(played.step(MANY)) == second


def test_a_later_message_brings_in_what_it_is_about() -> None:
    played = Played()
    played.says("invoice")
    first = _names(played.step(MANY))
    played.says("And now the garden.")
    second = _names(played.step(MANY))
    assert second[: len(first)] == first
    assert any("garden" in name for name in second[len(first) :])


def test_a_message_that_the_model_has_not_seen_is_not_forgotten() -> None:
    played = Played()
    played.says("invoice")
    offer = played.offering.select(MANY)
    played.says("And now the garden.")
    played._add(
        MessageType.AGENT,
        reply_data(ModelResponse("", StopReason.END), seen=1, selected_tools=offer.names),
    )
    second = _names(played.step(MANY))
    assert any("garden" in name for name in second[MAX_TOOLS:])


def test_a_function_that_went_away_is_not_offered_and_has_its_place_when_it_comes_back() -> None:
    played = Played()
    played.says("invoice")
    first = _names(played.step(MANY))
    gone = [function for function in MANY if function.tool.name != first[3]]
    assert _names(played.step(gone)) == [*first[:3], *first[4:]]
    assert _names(played.step(MANY)) == first


def test_when_there_are_few_again_the_order_stays_and_all_are_offered() -> None:
    played = Played()
    played.says("invoice")
    first = _names(played.step(MANY))
    few = [function for function in MANY if function.tool.name in first[:5]]
    fresh = _function("a_new_one")
    offer = played.step([*few, fresh])
    assert _names(offer) == [*first[:5], fresh.tool.name]
    assert offer.searchable, "a tool that was offered is never taken away"


actions = st.lists(
    st.one_of(
        st.tuples(st.just("says"), st.sampled_from(TOPICS)),
        st.tuples(st.just("search"), st.sampled_from([*TOPICS, "zebra", ""])),
        st.tuples(st.just("step"), st.just("")),
    ),
    max_size=25,
)


@given(actions)
def test_the_list_only_grows_and_is_the_same_for_every_worker(
    actions: list[tuple[str, str]],
) -> None:
    played = Played()
    played.says("Send an invoice.")
    before: list[str] = []
    for action, words_said in actions:
        if action == "says":
            played.says(words_said)
            continue
        assert played.elsewhere().select(MANY) == played.offering.select(MANY)
        names = _names(played.step(MANY, search=words_said if action == "search" else None))
        assert names[: len(before)] == before
        assert len(names) == len(set(names)) <= MAX_FOUND_TOOLS
        before = names


def _search(value: JsonValue, functions: Sequence[AvailableFunction] = MANY) -> tuple[str, bool]:
    answer = search_answer(ToolCall("t1", SEARCH_TOOL, value), functions)
    assert (answer.id, answer.name) == ("t1", SEARCH_TOOL)
    return answer.content, answer.is_error


def test_a_search_answers_names_descriptions_and_schemas() -> None:
    content, is_error = _search({"query": "the weather", "limit": 2})
    assert not is_error
    assert json.loads(content) == [
        {
            "name": f"s_weather_0{n}",
            "description": "About a weather.",
            "schema": {"type": "object", "properties": {"a": {}}},
        }
        for n in range(2)
    ]


def test_a_search_that_finds_nothing_says_so() -> None:
    assert _search({"query": "zebra"}) == ("No function fits 'zebra'. Try other words.", False)


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"query": 7},
        {"query": "x", "limit": 0},
        {"query": "x", "limit": MAX_FOUND + 1},
        {"query": "x", "limit": True},
        {"query": "x", "limit": "3"},
    ],
)
def test_a_search_that_cannot_be_is_refused(value: JsonValue) -> None:
    content, is_error = _search(value)
    assert is_error
    assert str(MAX_FOUND) in content


def test_an_answer_is_never_longer_than_any_result_that_is_shown() -> None:
    wide: dict[str, JsonValue] = {f"property_{n}": {"type": "string"} for n in range(100)}
    long = [
        AvailableFunction(
            "s", f"f{n}", Tool(f"s_f{n}", "weather " * 400, {"properties": wide}), 1, 1, 1, True
        )
        for n in range(MAX_FOUND)
    ]
    content, _ = _search({"query": "weather", "limit": MAX_FOUND}, long)
    assert len(content) <= INLINE_RESULT_CHARACTERS
    assert [item["name"] for item in json.loads(content)] == sorted(f.tool.name for f in long)
