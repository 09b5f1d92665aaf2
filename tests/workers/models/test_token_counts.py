"""What a scripted model received is counted as if it were counted anew each time."""

from __future__ import annotations

import json
from collections.abc import Iterator

from hypothesis import given, strategies as st
from typing_extensions import override

from orchestrator.llm.messages import (
    AssistantTurn,
    ModelResponse,
    StopReason,
    ToolCall,
    ToolResult,
    Turn,
    UserTurn,
)
from workers.models.scripted.token_counts import TokenEstimator

_WORDS = st.text(max_size=12)
_CALLS = st.builds(ToolCall, st.just("c"), _WORDS, st.dictionaries(_WORDS, _WORDS, max_size=2))
_REPLIES = st.builds(
    ModelResponse, _WORDS, st.just(StopReason.CALLS), st.lists(_CALLS, max_size=2).map(tuple)
)
_RESULTS = st.builds(ToolResult, st.just("c"), _WORDS, _WORDS)
_USERS = st.builds(
    UserTurn, st.lists(_RESULTS, max_size=2).map(tuple), st.lists(_WORDS, max_size=2).map(tuple)
)
_TURNS = st.lists(_USERS | st.builds(AssistantTurn, _REPLIES), min_size=1, max_size=12)


def _plainly(turns: list[Turn]) -> int:
    characters = 0
    for turn in turns:
        if isinstance(turn, UserTurn):
            said = [*(result.content for result in turn.results), *turn.texts]
        else:
            calls = turn.reply.calls
            asked = (json.dumps(call.input, ensure_ascii=False) for call in calls)
            said = [turn.reply.text, *(call.name for call in calls), *asked]
        characters += sum(map(len, said))
    return characters


@given(_TURNS, st.data())
def test_of_conversations_that_grow_or_go_back(turns: list[Turn], data: st.DataObject) -> None:
    counting = TokenEstimator()
    for length in data.draw(st.lists(st.integers(0, len(turns)), max_size=8)):
        assert counting.characters(turns[:length]) == _plainly(turns[:length])


@given(_TURNS, _TURNS)
def test_of_one_that_begins_alike_and_goes_on_otherwise(one: list[Turn], two: list[Turn]) -> None:
    counting, other = TokenEstimator(), [one[0], *two]
    assert counting.characters(one) == _plainly(one)
    assert counting.characters(other) == _plainly(other)
    assert counting.characters([*other, *one]) == _plainly([*other, *one])


class _Watched(tuple[str, ...]):
    """Texts of a turn, which know how often they were read."""

    __slots__ = ()
    reads = 0

    @override
    def __iter__(self) -> Iterator[str]:
        _Watched.reads += 1
        return super().__iter__()


def test_what_was_counted_is_not_counted_again() -> None:
    turns: list[Turn] = [UserTurn((), _Watched(("go",))) for _ in range(200)]
    counting = TokenEstimator()
    counting.characters(turns[:190])
    for length in range(191, 201):
        _Watched.reads = 0
        counting.characters(turns[:length])
        assert _Watched.reads == 2, "the one that may have grown, and the new one"
