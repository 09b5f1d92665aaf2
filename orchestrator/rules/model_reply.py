"""What a model's reply asks for: calls to hand out, answers that can be given at once, and its last word."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from pydantic import JsonValue

from orchestrator.llm.messages import Reply, Stop, ToolCall, ToolResult
from orchestrator.llm.prompts import (
    GIVE_UP_TOOL,
    OWN_TOOLS,
    READ_TOOL,
    REASONING,
    RESULT_TOOL,
    has_parameter,
)
from orchestrator.llm.tools import OfferedFunction
from orchestrator.rules.agent_loop import Offered, Said
from perdure.contract import INLINE_RESULT_CHARACTERS, MAX_RESULT_BYTES

_BROKEN_OFF = frozenset({Stop.LENGTH, Stop.CONTEXT, Stop.REFUSAL})
"""After these a call's input may be incomplete, and the model did not stop in order to have it made."""

_MAX_NAMED = 64
"""Functions that are named to a model which called none of them."""

Check = Callable[[JsonValue], Sequence[str]]
"""A compiled schema: the problems of a value, none where it is valid."""
AtOnce = Mapping[str, Callable[[ToolCall], ToolResult]]
"""Tools, by name, whose calls are answered without a function worker."""
_NOTHING_AT_ONCE: AtOnce = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class NewCall:
    """A call to be handed out."""

    tool_call: ToolCall
    function: OfferedFunction


@dataclass(frozen=True, slots=True)
class Read:
    """A part of a stored result that the model wants to see."""

    tool_call: ToolCall
    call_id: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a reply asks for. Every tool call is in exactly one of the four places."""

    reply: Reply
    said: Said
    calls: tuple[NewCall, ...] = ()
    reads: tuple[Read, ...] = ()
    answers: tuple[ToolResult, ...] = ()
    closing: ToolCall | None = None
    """The call by which the model gave its result, or gave up."""
    offered: tuple[str, ...] | None = None
    """Names of the functions that the model was offered, where that list is new."""


class _Sorter:
    """Puts each tool call of one reply in its place."""

    def __init__(
        self,
        functions: Mapping[str, OfferedFunction],
        check_input: Callable[[OfferedFunction, JsonValue], Sequence[str]],
        check_result: Check | None,
        at_once: AtOnce,
    ) -> None:
        self._functions = functions
        self._at_once = at_once
        self._check_input = check_input
        self._check_result = check_result
        self.calls: list[NewCall] = []
        self.reads: list[Read] = []
        self.answers: list[ToolResult] = []
        self.closing: ToolCall | None = None
        self.offered: Offered | None = None
        self.gave_up: str | None = None

    def place(self, call: ToolCall) -> None:
        if call.name in {RESULT_TOOL, GIVE_UP_TOOL}:
            self._place_closing(call)
        elif call.name == READ_TOOL:
            self._place_read(call)
        elif answer := self._at_once.get(call.name):
            self.answers.append(answer(call))
        else:
            self._place_function(call)

    def refuse(self, call: ToolCall, problem: str) -> None:
        self.answers.append(ToolResult(call.id, call.name, problem, is_error=True))

    def _place_function(self, call: ToolCall) -> None:
        function = self._functions.get(call.name)
        if function is None:
            known = sorted(self._functions)
            more = ", …" if len(known) > _MAX_NAMED else ""
            named = ", ".join(known[:_MAX_NAMED]) or "none"
            self.refuse(call, f"There is no function {call.name!r}. Functions: {named}{more}.")
        elif problems := self._check_input(function, call.input):
            self.refuse(
                call,
                "The input does not satisfy the function's schema:\n- " + "\n- ".join(problems),
            )
        elif function.fan_out is not None and self._calls_of(function) >= function.fan_out:
            self.refuse(
                call,
                f"Not called: one reply may call {call.name!r} {function.fan_out} times at most. Call it again in your next reply.",
            )
        else:
            self.calls.append(NewCall(call, function))

    def _calls_of(self, function: OfferedFunction) -> int:
        return sum(asked.function is function for asked in self.calls)

    def _place_read(self, call: ToolCall) -> None:
        values: Mapping[str, JsonValue] = call.input if isinstance(call.input, dict) else {}
        call_id, offset = values.get("callId"), values.get("offset", 0)
        length = values.get("length", INLINE_RESULT_CHARACTERS)
        if not (isinstance(call_id, str) and isinstance(offset, int) and isinstance(length, int)):
            self.refuse(call, "callId must be a string, offset and length whole numbers.")
        elif offset < 0 or not 1 <= length <= INLINE_RESULT_CHARACTERS:
            self.refuse(call, f"offset must be 0 or more, length 1 to {INLINE_RESULT_CHARACTERS}.")
        else:  # no result is longer; databases have no words for numbers of any size
            self.reads.append(Read(call, call_id, min(offset, MAX_RESULT_BYTES), length))

    def _place_closing(self, call: ToolCall) -> None:
        if self.closing is not None:
            self.refuse(call, "Only one result can be given; this one was not taken.")
            return
        self.closing = call
        values: Mapping[str, JsonValue] = call.input if isinstance(call.input, dict) else {}
        if call.name == GIVE_UP_TOOL:
            self.gave_up = str(values.get("reason") or "no reason given")
        elif "result" not in values:
            self.offered = Offered(None, ("result is missing from the call's input",))
        else:
            problems = self._check_result(values["result"]) if self._check_result else ()
            self.offered = Offered(values["result"], tuple(problems))


def read_reply(
    reply: Reply,
    functions: Mapping[str, OfferedFunction],
    *,
    check_input: Callable[[OfferedFunction, JsonValue], Sequence[str]],
    check_result: Check | None,
    parse: Callable[[str], JsonValue],
    at_once: AtOnce = _NOTHING_AT_ONCE,
    offered: tuple[str, ...] | None = None,
) -> Plan:
    """Sort what the reply asks for. `functions`, by the name the model knows them by, are all that may be called,
    offered or not.

    `parse` reads JSON and raises ValueError; with a result schema a text that is a valid result is taken as one. What
    the model said of its reasons is taken out of each call's input before anybody looks at that.
    """
    reply = replace(reply, calls=tuple(_reasoned(call, functions) for call in reply.calls))
    sorter = _Sorter(functions, check_input, check_result, at_once)
    for call in reply.calls:
        if reply.stop in _BROKEN_OFF:
            sorter.refuse(
                call, "Not called: the reply was cut off, so its input may be incomplete."
            )
        else:
            sorter.place(call)
    if not reply.calls and check_result is not None and reply.stop is Stop.END:
        sorter.offered = _result_in_text(reply.text, check_result, parse)
    said = Said(
        stop=reply.stop,
        text=reply.text,
        detail=reply.detail,
        offered=sorter.offered,
        gave_up=sorter.gave_up,
        answered=bool(reply.calls),
    )
    return Plan(
        reply=reply,
        said=said,
        calls=tuple(sorter.calls),
        reads=tuple(sorter.reads),
        answers=tuple(sorter.answers),
        closing=sorter.closing,
        offered=offered,
    )


def _reasoned(call: ToolCall, functions: Mapping[str, OfferedFunction]) -> ToolCall:
    """The call with its reasoning beside the input instead of in it."""
    function = functions.get(call.name)
    if not isinstance(call.input, dict) or REASONING not in call.input:
        return call
    if call.name in OWN_TOOLS if function is None else has_parameter(function.tool, REASONING):
        return call
    values = dict(call.input)
    reasoning = values.pop(REASONING)
    return replace(call, input=values, reasoning=reasoning if isinstance(reasoning, str) else None)


def _result_in_text(text: str, check: Check, parse: Callable[[str], JsonValue]) -> Offered:
    try:
        result = parse(text)
    except ValueError:
        return Offered(None, (f"give the result by calling {RESULT_TOOL}, not as text",))
    return Offered(result, tuple(check(result)))
