"""What a model's reply asks for: calls to hand out, answers that can be given at once, and its last word."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from pydantic import JsonValue

from orchestrator.llm.messages import ModelResponse, StopReason, ToolCall, ToolResult
from orchestrator.llm.prompts import (
    GIVE_UP_TOOL,
    OWN_TOOLS,
    READ_TOOL,
    REASON_PARAMETER,
    RESULT_TOOL,
    has_parameter,
)
from orchestrator.llm.tools import AvailableFunction
from orchestrator.rules.agent_loop import ModelOutput, ProposedResult
from perdure.contract import INLINE_RESULT_CHARACTERS, MAX_RESULT_BYTES

_INCOMPLETE = frozenset({StopReason.LENGTH, StopReason.CONTEXT, StopReason.REFUSAL})
"""After these a call's input may be incomplete, and the model did not stop in order to have it made."""

_MAX_NAMED = 64
"""Functions that are named to a model which called none of them."""

Check = Callable[[JsonValue], Sequence[str]]
"""A compiled schema: the problems of a value, none where it is valid."""
InlineTools = Mapping[str, Callable[[ToolCall], ToolResult]]
"""Tools, by name, whose calls are answered without a function worker."""
_NO_INLINE_TOOLS: InlineTools = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RequestedCall:
    """A call to be handed out."""

    tool_call: ToolCall
    function: AvailableFunction


@dataclass(frozen=True, slots=True)
class ResultReadRequest:
    """A part of a stored result that the model wants to see."""

    tool_call: ToolCall
    call_id: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """All that a reply asks for. Every tool call is in exactly one of the four places."""

    reply: ModelResponse
    output: ModelOutput
    calls: tuple[RequestedCall, ...] = ()
    reads: tuple[ResultReadRequest, ...] = ()
    answers: tuple[ToolResult, ...] = ()
    final_call: ToolCall | None = None
    """The call by which the model gave its result, or gave up."""
    selected_tools: tuple[str, ...] | None = None
    """Names of the functions that the model was offered, where that list is new."""


class _ToolCallRouter:
    """Puts each tool call of one reply in its place."""

    def __init__(
        self,
        functions: Mapping[str, AvailableFunction],
        check_input: Callable[[AvailableFunction, JsonValue], Sequence[str]],
        check_result: Check | None,
        inline_tools: InlineTools,
    ) -> None:
        self._functions = functions
        self._inline_tools = inline_tools
        self._check_input = check_input
        self._check_result = check_result
        self.calls: list[RequestedCall] = []
        self.reads: list[ResultReadRequest] = []
        self.answers: list[ToolResult] = []
        self.final_call: ToolCall | None = None
        self.proposed: ProposedResult | None = None
        self.gave_up: str | None = None

    def route(self, call: ToolCall) -> None:
        if call.name in {RESULT_TOOL, GIVE_UP_TOOL}:
            self._route_final(call)
        elif call.name == READ_TOOL:
            self._route_read(call)
        elif answer := self._inline_tools.get(call.name):
            self.answers.append(answer(call))
        else:
            self._route_function(call)

    def refuse(self, call: ToolCall, problem: str) -> None:
        self.answers.append(ToolResult(call.id, call.name, problem, is_error=True))

    def _route_function(self, call: ToolCall) -> None:
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
        elif function.fan_out is not None and self._count_calls(function) >= function.fan_out:
            self.refuse(
                call,
                f"Not called: one reply may call {call.name!r} {function.fan_out} times at most. Call it again in your next reply.",
            )
        else:
            self.calls.append(RequestedCall(call, function))

    def _count_calls(self, function: AvailableFunction) -> int:
        return sum(asked.function is function for asked in self.calls)

    def _route_read(self, call: ToolCall) -> None:
        values: Mapping[str, JsonValue] = call.input if isinstance(call.input, dict) else {}
        call_id, offset = values.get("callId"), values.get("offset", 0)
        length = values.get("length", INLINE_RESULT_CHARACTERS)
        if not (isinstance(call_id, str) and isinstance(offset, int) and isinstance(length, int)):
            self.refuse(call, "callId must be a string, offset and length whole numbers.")
        elif offset < 0 or not 1 <= length <= INLINE_RESULT_CHARACTERS:
            self.refuse(call, f"offset must be 0 or more, length 1 to {INLINE_RESULT_CHARACTERS}.")
        else:  # no result is longer; databases have no words for numbers of any size
            self.reads.append(
                ResultReadRequest(call, call_id, min(offset, MAX_RESULT_BYTES), length)
            )

    def _route_final(self, call: ToolCall) -> None:
        if self.final_call is not None:
            self.refuse(call, "Only one result can be given; this one was not taken.")
            return
        self.final_call = call
        values: Mapping[str, JsonValue] = call.input if isinstance(call.input, dict) else {}
        if call.name == GIVE_UP_TOOL:
            self.gave_up = str(values.get("reason") or "no reason given")
        elif "result" not in values:
            self.proposed = ProposedResult(None, ("result is missing from the call's input",))
        else:
            problems = self._check_result(values["result"]) if self._check_result else ()
            self.proposed = ProposedResult(values["result"], tuple(problems))


def parse_reply(
    reply: ModelResponse,
    functions: Mapping[str, AvailableFunction],
    *,
    check_input: Callable[[AvailableFunction, JsonValue], Sequence[str]],
    check_result: Check | None,
    parse: Callable[[str], JsonValue],
    inline_tools: InlineTools = _NO_INLINE_TOOLS,
    selected_tools: tuple[str, ...] | None = None,
) -> ParsedReply:
    """Sort what the reply asks for. `functions`, by the name the model knows them by, are all that may be called,
    offered or not.

    `parse` reads JSON and raises ValueError; with a result schema a text that is a valid result is taken as one. What
    the model said of its reasons is taken out of each call's input before anybody looks at that.
    """
    reply = replace(reply, calls=tuple(_with_reason(call, functions) for call in reply.calls))
    router = _ToolCallRouter(functions, check_input, check_result, inline_tools)
    for call in reply.calls:
        if reply.stop in _INCOMPLETE:
            router.refuse(
                call, "Not called: the reply was cut off, so its input may be incomplete."
            )
        else:
            router.route(call)
    if not reply.calls and check_result is not None and reply.stop is StopReason.END:
        router.proposed = _result_in_text(reply.text, check_result, parse)
    output = ModelOutput(
        stop=reply.stop,
        text=reply.text,
        detail=reply.detail,
        proposed=router.proposed,
        gave_up=router.gave_up,
        answered=bool(reply.calls),
    )
    return ParsedReply(
        reply=reply,
        output=output,
        calls=tuple(router.calls),
        reads=tuple(router.reads),
        answers=tuple(router.answers),
        final_call=router.final_call,
        selected_tools=selected_tools,
    )


def _with_reason(call: ToolCall, functions: Mapping[str, AvailableFunction]) -> ToolCall:
    """The call with its reasoning beside the input instead of in it."""
    function = functions.get(call.name)
    if not isinstance(call.input, dict) or REASON_PARAMETER not in call.input:
        return call
    if (
        call.name in OWN_TOOLS
        if function is None
        else has_parameter(function.tool, REASON_PARAMETER)
    ):
        return call
    values = dict(call.input)
    reasoning = values.pop(REASON_PARAMETER)
    return replace(call, input=values, reasoning=reasoning if isinstance(reasoning, str) else None)


def _result_in_text(text: str, check: Check, parse: Callable[[str], JsonValue]) -> ProposedResult:
    try:
        result = parse(text)
    except ValueError:
        return ProposedResult(None, (f"give the result by calling {RESULT_TOOL}, not as text",))
    return ProposedResult(result, tuple(check(result)))
