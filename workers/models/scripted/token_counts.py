"""Estimates the tokens of a scripted model's input from its characters."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from orchestrator.llm.messages import ToolCall, Turn, UserTurn

_CACHED_CONVERSATIONS = 256
"""Conversations."""
_ENCODER = json.JSONEncoder(ensure_ascii=False)


class _Counted(NamedTuple):
    """The first turns of a conversation, which stay as they are, and their characters."""

    first: Turn
    last: Turn
    number: int
    characters: int

    def begins(self, turns: Sequence[Turn]) -> bool:
        return (
            self.number < len(turns)
            and turns[0] is self.first
            and turns[self.number - 1] is self.last
        )


class TokenEstimator:
    """Counts characters of conversations. Of a conversation that has only grown, only the new part is counted."""

    def __init__(self) -> None:
        self._counted: OrderedDict[int, _Counted] = OrderedDict()

    def characters(self, turns: Sequence[Turn]) -> int:
        """Characters of all these turns. The last one is counted each time, because it may still grow."""
        if not turns:
            return 0
        first, total = id(turns[0]), 0
        counted = self._counted.pop(first, None)
        number = 0
        if counted is not None and counted.begins(turns):
            number, total = counted.number, counted.characters
        total += sum(map(_characters, turns[number:-1]))
        if len(turns) > 1:
            self._counted[first] = _Counted(turns[0], turns[-2], len(turns) - 1, total)
            if len(self._counted) > _CACHED_CONVERSATIONS:
                self._counted.popitem(last=False)
        return total + _characters(turns[-1])


def written(call: ToolCall) -> int:
    """Characters of a call, its input as JSON."""
    return len(call.name) + len(_ENCODER.encode(call.input))


def _characters(turn: Turn) -> int:
    if isinstance(turn, UserTurn):
        return sum(len(result.content) for result in turn.results) + sum(map(len, turn.texts))
    return len(turn.reply.text) + sum(map(written, turn.reply.calls))
