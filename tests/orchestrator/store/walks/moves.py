"""What may happen to a run, and how often: its options, and the moves that make sense where it stands."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DataObject, SearchStrategy

from orchestrator.llm.messages import StopReason
from orchestrator.llm.prompts import GIVE_UP_TOOL, READ_TOOL, RESULT_TOOL
from orchestrator.rules.lifecycle import Trigger
from orchestrator.runtime.clock import now_ms
from perdure.contract import (
    Budget,
    FunctionReference,
    ResultType,
    RunStatus,
    StatusChangeTarget,
    WebhookTarget,
)
from tests.orchestrator.store.walks.engine import Phase
from tests.orchestrator.store.walks.walk import FUNCTIONS, MOCKS, Walk
from tests.support.stage import HANDLER, WHOLE_NUMBER

_WORK = 7
"""Of ten moves, so many do what is to be done next; the others come between."""

_WEIGHTS = {"reply": 5, "drive": 4, "lease": 3, "finish": 3, "decide": 2, "send": 2}
"""Of moves that come more often than others."""

_picks = st.integers(0, 5)
_rarely = st.sampled_from([False, False, False, True])
_tools = st.sampled_from([*FUNCTIONS, "sales_none", READ_TOOL, RESULT_TOOL, GIVE_UP_TOOL])
_calls = st.lists(st.sampled_from(list(FUNCTIONS)), min_size=1, max_size=3)
_replies = _calls | _calls | st.lists(_tools, max_size=3)
_budgets = st.builds(
    Budget,
    tokens=st.none() | st.integers(20, 150),
    steps=st.none() | st.integers(1, 8),
    calls=st.none() | st.integers(1, 6),
)
_targets = st.sampled_from(
    [
        None,
        HANDLER,
        StatusChangeTarget(
            function=FunctionReference(service="sales", function="announce"),
            statuses=[RunStatus.PAUSED, RunStatus.DONE],
        ),
        StatusChangeTarget(webhook=WebhookTarget(url="https://example.com/status")),
    ]
)
_outcomes = st.sampled_from([ResultType.RESOLUTION, ResultType.RESOLUTION, ResultType.REJECTION])
_in_test: dict[str, Any] = {"test": True, "mocks": MOCKS}

options = st.fixed_dictionaries(
    {
        "budget": st.none() | st.none() | _budgets,
        "deadline_at": st.sampled_from([None, now_ms() + 86_400_000]),
        "interactive": st.sampled_from([True, True, True, False]),
        "call_summarization": st.booleans(),
        "result_schema": st.sampled_from([None, WHOLE_NUMBER]),
        "on_status_change": _targets,
        "priority": st.sampled_from([1, 3]),
    }
)
"""Of a run that is created."""
tests = st.sampled_from([{}, {}, _in_test])
"""Whether it is a test run with mocks."""
direct = st.sampled_from([False] * 9 + [True])
"""Whether it is nothing but a direct call."""

_Moves = dict[str, dict[str, SearchStrategy[Any]]]
"""By the name of the walk's method, what is drawn for it."""

_MEDDLE: _Moves = {
    "send": {},
    "edit": {"pick": _picks},
    "retry": {"pick": st.none() | _picks},
    "cancel": {"sure": _rarely},
    "resume": {"more": st.none() | _budgets},
    "cancel_call": {"pick": _picks},
    "expire": {"pick": _picks},
    "pass_deadline": {"sure": _rarely, "swept": st.booleans()},
    "report_waiting": {"pick": _picks},
    "suspend": {},
    "deliver": {"kind": st.none() | _outcomes},
    "fail": {"sure": _rarely},
}
_OF_PHASE: dict[Phase, _Moves] = {
    Phase.DUE: {"drive": {}},
    Phase.RESTING: {"drive": {}, "resume": {"more": st.none() | _budgets}, "resume_suspended": {}},
    Phase.THINKING: {
        "reply": {
            "names": _replies,
            "text": st.sampled_from(["7", "words", ""]),
            "stop": st.sampled_from([StopReason.END] * 9 + [StopReason.LENGTH, StopReason.REFUSAL]),
        },
        "try_again": {},
        "abort_turn": {"move": st.sampled_from([Trigger.PAUSE, Trigger.FAIL]), "sure": _rarely},
        "report_retry": {},
        "re_read": {},
    },
    Phase.CALLING: {"re_read": {}},
    Phase.SUMMARIZING: {"summarize": {"whole": st.booleans()}, "re_read": {}},
}


def draw_move(walk: Walk, waiting: bool, data: DataObject) -> tuple[str, dict[str, Any]]:
    """The next move and what it takes. `waiting`: a call waits for a person."""
    work = data.draw(st.integers(1, 10), "work") <= _WORK
    moves = _work(walk, waiting) if work else _MEDDLE | _seldom(walk)
    weighed = [name for name in moves for _ in range(_WEIGHTS.get(name, 1))]
    name = data.draw(st.sampled_from(weighed), "move")
    return name, {what: data.draw(how, what) for what, how in moves[name].items()}


def _work(walk: Walk, waiting: bool) -> _Moves:
    moves = dict(_OF_PHASE[walk.engine.phase])
    if walk.engine.tasks:
        moves["lease"] = {"pick": _picks}
    if walk.leases:
        reported = st.sampled_from([True, True, False])
        moves["finish"] = {
            "pick": _picks,
            "kind": _outcomes,
            "long": st.booleans(),
            "reported": reported,
        }
        moves["request_approval"] = {"pick": _picks, "reported": st.booleans()}
    if waiting:
        moves["decide"] = {"pick": _picks, "approved": st.booleans(), "edited": st.booleans()}
    return moves


def _seldom(walk: Walk) -> _Moves:
    """What happens to who was given up."""
    moves: _Moves = {}
    if walk.engine.tasks:
        moves["lose"] = {"pick": _picks}
    if walk.leases:
        moves["acknowledge"] = {"pick": _picks}
    if walk.unreported:
        moves["supersede"] = {"pick": _picks}
    if walk.engine.stale:
        moves["reply_late"] = {"names": _replies, "pick": _picks}
    return moves
