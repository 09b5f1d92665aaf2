"""The conversation that message rows make, over random histories of a run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import JsonValue

from orchestrator.llm.messages import (
    AssistantTurn,
    ModelResponse,
    StopReason,
    ToolCall,
    ToolResult,
    Turn,
    Usage,
    UserTurn,
)
from orchestrator.llm.transcript import (
    Conversation,
    TranscriptEntry,
    is_oversized,
    public_data,
    reply_data,
    result_data,
    slice_result,
    summarized,
    text_data,
    truncate,
    turns,
)
from orchestrator.store.database.json_columns import object_from_json, to_json
from perdure.contract import INLINE_RESULT_CHARACTERS, MessageType

Draw = st.DrawFn


@dataclass
class History:
    """Rows as a run writes them, and the keys up to which the model had read at each of its replies."""

    entries: list[TranscriptEntry] = field(default_factory=list[TranscriptEntry])
    read_up_to: list[int] = field(default_factory=list[int])

    def write(self, kind: MessageType, data: dict[str, JsonValue]) -> None:
        key = self.entries[-1].key + 2 if self.entries else 7
        self.entries.append(TranscriptEntry(key, kind, object_from_json(to_json(data))))

    def add_user(self, draw: Draw, *, least: int = 0) -> None:
        for _ in range(draw(st.integers(least, 2))):
            kind = draw(st.sampled_from([MessageType.HUMAN, MessageType.SUPERVISOR]))
            self.write(kind, text_data(f"words {len(self.entries)}"))

    def add_model(self, seen: int, calls: tuple[ToolCall, ...]) -> None:
        stop = StopReason.CALLS if calls else StopReason.END
        reply = ModelResponse(f"reply {len(self.entries)}", stop, calls)
        self.write(MessageType.AGENT, reply_data(reply, seen=seen))
        self.read_up_to.append(seen)


@st.composite
def histories(draw: Draw) -> History:
    """Turns in which people write at any moment, and functions return in any order."""
    history = History()
    history.add_user(draw, least=1)
    for number in range(draw(st.integers(0, 4))):
        seen = history.entries[-1].key
        history.add_user(draw)
        queued = history.entries[-1].key > seen
        count = draw(st.integers(0, 3))
        calls = tuple(ToolCall(f"{number}-{n}", f"f{n}", {"n": n}) for n in range(count))
        history.add_model(seen, calls)
        for call in draw(st.permutations(calls)):
            history.add_user(draw)
            result = ToolResult(call.id, call.name, f"result of {call.id}")
            history.write(MessageType.INVOCATION_RESULT, result_data(result))
        history.add_user(draw, least=0 if calls or queued else 1)
    return history


def _finished(conversation: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """Without what the model has not answered yet."""
    trailing = bool(conversation) and isinstance(conversation[-1], UserTurn)
    return conversation[:-1] if trailing else conversation


@given(history=histories())
def test_every_call_is_answered_in_the_next_user_turn_in_the_order_asked(history: History) -> None:
    conversation = turns(history.entries)
    for turn, answer in pairwise(conversation):
        if isinstance(turn, AssistantTurn):
            assert isinstance(answer, UserTurn)
            assert [r.id for r in answer.results] == [call.id for call in turn.reply.calls]
            assert [r.content for r in answer.results] == [
                f"result of {r.id}" for r in answer.results
            ]


@given(history=histories())
def test_turns_alternate_and_begin_and_end_with_the_user(history: History) -> None:
    conversation = turns(history.entries)
    kinds = [type(turn) for turn in conversation]
    assert kinds == [UserTurn, AssistantTurn] * (len(kinds) // 2) + [UserTurn]


@given(history=histories(), data=st.data())
def test_later_entries_never_change_earlier_turns(history: History, data: st.DataObject) -> None:
    known = data.draw(st.integers(0, len(history.entries)))
    before, after = turns(history.entries[:known]), turns(history.entries)
    finished = _finished(before)
    assert after[: len(finished)] == finished


@given(history=histories())
def test_what_was_sent_to_the_model_once_is_sent_again_unchanged(history: History) -> None:
    conversation = turns(history.entries)
    for seen in history.read_up_to:
        sent = turns(entry for entry in history.entries if entry.key <= seen)
        assert conversation[: len(sent)] == sent


@given(history=histories())
def test_each_word_is_shown_once_and_behind_the_reply_that_did_not_see_it(history: History) -> None:
    conversation = turns(history.entries)
    replies = [entry for entry in history.entries if entry.type is MessageType.AGENT]
    for entry in history.entries:
        if entry.type not in {MessageType.HUMAN, MessageType.SUPERVISOR}:
            continue
        places = [
            at
            for at, turn in enumerate(conversation)
            if isinstance(turn, UserTurn) and entry.data["message"] in turn.texts
        ]
        seen_by = [n for n, seen in enumerate(history.read_up_to) if entry.key <= seen]
        first_to_see = seen_by[0] if seen_by else len(replies)
        assert places == [2 * first_to_see]


@given(history=histories(), data=st.data())
def test_a_conversation_cached_and_extended_is_the_one_read_anew(
    history: History, data: st.DataObject
) -> None:
    kept = Conversation()
    for entry in history.entries:
        kept.add(entry)
        if data.draw(st.booleans()):
            kept.turns()  # looking changes nothing
    assert kept.turns() == turns(history.entries)


texts = st.text(max_size=20) | st.sampled_from(["\0", "half a pair: \ud800", "\udfff, the other"])
inputs: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
replies = st.builds(
    ModelResponse,
    text=texts,
    stop=st.sampled_from(StopReason),
    calls=st.lists(
        st.builds(ToolCall, st.uuids().map(str), st.text(min_size=1), inputs), max_size=3
    ).map(tuple),
    blocks=st.lists(st.dictionaries(st.text(), inputs, max_size=2), max_size=2).map(tuple),
    model=st.text(),
    provider=st.sampled_from(["anthropic", "scripted", "another"]),
)


@given(reply=replies)
@settings(max_examples=200)
def test_a_reply_comes_back_from_its_row_as_it_was(reply: ModelResponse) -> None:
    """Blocks go back to the provider verbatim, lone surrogates and NUL included."""
    row = to_json(reply_data(reply, seen=7))
    row.encode("utf-8")
    assert "\0" not in row
    entries = [
        TranscriptEntry(7, MessageType.HUMAN, text_data("hi")),
        TranscriptEntry(8, MessageType.AGENT, object_from_json(row)),
    ]
    (_, said) = turns(entries)
    assert said == AssistantTurn(replace(reply, usage=Usage()))


def test_a_reply_that_was_stored_without_its_provider_is_anthropics() -> None:
    data = reply_data(ModelResponse("hi", StopReason.END, provider="scripted"), seen=1)
    reply = data["reply"]
    assert isinstance(reply, dict)
    assert reply.pop("provider") == "scripted"
    (said,) = turns([TranscriptEntry(1, MessageType.AGENT, data)])
    assert isinstance(said, AssistantTurn)
    assert said.reply.provider == "anthropic"


def test_what_only_the_provider_reads_is_not_shown_to_people() -> None:
    data = reply_data(ModelResponse("hi", StopReason.END, blocks=({"signature": "s"},)), seen=1)
    assert public_data(data) == {"message": "hi"}


def test_a_row_of_another_shape_is_named_instead_of_guessed_at() -> None:
    with pytest.raises(TypeError, match="str where an object belongs"):
        turns([TranscriptEntry(1, MessageType.AGENT, {"reply": "hi"})])
    broken = reply_data(ModelResponse("", StopReason.END), seen=0)
    with pytest.raises(TypeError, match="str where a list belongs"):
        turns([TranscriptEntry(1, MessageType.AGENT, {**broken, "invocations": "f"})])


def test_a_result_is_too_long_from_one_character_over_the_limit() -> None:
    assert not is_oversized("x" * INLINE_RESULT_CHARACTERS)
    assert is_oversized("x" * (INLINE_RESULT_CHARACTERS + 1))


def test_what_is_cut_says_how_to_read_the_rest() -> None:
    content = "a" * INLINE_RESULT_CHARACTERS + "b" * 5
    shown = truncate(content, call_id="c1")
    assert shown.startswith("a" * INLINE_RESULT_CHARACTERS + "\n")
    assert "10000 of 10005 characters" in shown
    assert 'perdure_read_result, callId "c1", offset 10000' in shown


def test_a_summary_says_how_to_read_the_original() -> None:
    text = summarized("Much.", size=12_345, call_id="c1")
    assert text.startswith("Much.\n")
    assert "12345 characters" in text
    assert 'callId "c1"' in text


@pytest.mark.parametrize(
    ("offset", "content", "marker"),
    [
        (0, "abc", "[characters 0 to 3 of 9; 6 characters follow]"),
        (6, "ghi", "[characters 6 to 9 of 9; the end]"),
        (20, "", "[characters 20 to 20 of 9; the end]"),
    ],
)
def test_a_part_says_where_it_stands(offset: int, content: str, marker: str) -> None:
    assert slice_result(content, offset=offset, size=9) == f"{content}\n{marker}"
