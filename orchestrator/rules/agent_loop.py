"""The rules of the model loop: the next action for a given state of a run.

Pure: no clock, no network, no store. The activities build a `LoopState`, `next_action` decides, and the caller
executes the decision. The store's transaction after a reply and the workflow after calls use the same function,
so that the two cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue

from orchestrator.llm.messages import StopReason
from orchestrator.rules.lifecycle import is_final
from perdure.contract import RunStatus

MAX_CORRECTIONS = 3
"""Corrections requested per turn before the result is abandoned."""
MAX_STEPS_PER_TURN = 5_000
"""Limit of model steps per turn. A turn over it is likely to loop and fails."""


@dataclass(frozen=True, slots=True)
class ProposedResult:
    """A result that the model proposed; `problems` describe its violations of the schema."""

    result: JsonValue
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """The model's last reply, if no message followed it."""

    stop: StopReason
    text: str = ""
    detail: str = ""
    proposed: ProposedResult | None = None
    gave_up: str | None = None
    answered: bool = False
    """All tools that it called have results: the model is called again."""


@dataclass(frozen=True, slots=True)
class LoopState:
    """The state of a run from which the next action is decided."""

    status: RunStatus
    cancel_wanted: bool = False
    unanswered: tuple[str, ...] = ()
    """Calls of the model without a result, by id."""
    oversized: tuple[str, ...] = ()
    """Calls whose results are too long for the model and not yet summarized, by id."""
    interrupted: tuple[str, ...] = ()
    """Calls that wait for approval, by id."""
    output: ModelOutput | None = None
    unread: bool = False
    """A message was not yet sent to the model."""
    wants_schema: bool = False
    corrections: int = 0
    steps: int = 0
    """Model steps of this turn so far."""


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing to do: the turn has ended, or an external event is required."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel the run as requested."""


@dataclass(frozen=True, slots=True)
class CallModel:
    """Call the model."""


@dataclass(frozen=True, slots=True)
class CallFunctions:
    """Wait for these calls' results."""

    calls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Summarize:
    """Summarize the results of these calls for the model."""

    calls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AwaitApproval:
    """Pause until these calls are approved or denied."""

    calls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RequestCorrection:
    """Ask the model to correct its reply, stating the problem."""

    problem: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The turn is done. With a schema, a result of None has a reason."""

    result: JsonValue
    null_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Fail:
    """The turn failed."""

    reason: str


Action = (
    Idle
    | Cancel
    | CallModel
    | CallFunctions
    | Summarize
    | AwaitApproval
    | RequestCorrection
    | Finish
    | Fail
)


def next_action(state: LoopState) -> Action:
    """Return the next action. A final status never changes; the model is never called while a call is open.

    A run that is paused for approval still runs calls that need none: the `LoopState` lists them as unanswered.
    """
    if is_final(state.status):
        return Idle()
    if state.cancel_wanted:
        return Cancel()
    return _next_without_output(state) or _next_after_output(state)


def _next_without_output(state: LoopState) -> Action | None:
    """Return the action that must precede the next model call, if any."""
    if state.unanswered:
        return CallFunctions(state.unanswered)
    if state.status is RunStatus.PAUSED:
        return Idle()
    if state.oversized:
        return Summarize(state.oversized)
    return AwaitApproval(state.interrupted) if state.interrupted else None


def _next_after_output(state: LoopState) -> Action:
    action = CallModel() if state.output is None else _evaluate(state, state.output)
    if isinstance(action, Finish) and state.unread:
        action = CallModel()
    if isinstance(action, CallModel | RequestCorrection) and state.steps >= MAX_STEPS_PER_TURN:
        return Fail(
            f"The run took {MAX_STEPS_PER_TURN} model steps in one turn and did not finish."
        )
    return action


_INCOMPLETE = frozenset({StopReason.REFUSAL, StopReason.CONTEXT, StopReason.LENGTH})


def _evaluate_incomplete(state: LoopState, output: ModelOutput) -> Action:
    if output.stop is StopReason.REFUSAL:
        return Fail(f"The model refused to answer. {output.detail}".strip())
    if output.stop is StopReason.CONTEXT:
        return Fail("The conversation no longer fits the model's context window.")
    return _request_correction(
        state, "Your reply was cut off at the output limit. Be brief, or take smaller steps."
    )


def _evaluate(state: LoopState, output: ModelOutput) -> Action:
    if output.stop in _INCOMPLETE:
        return _evaluate_incomplete(state, output)
    if output.gave_up is not None:
        return Finish(None, f"The model gave up: {output.gave_up}")
    if output.proposed is not None:
        return _evaluate_result(state, output.proposed)
    if output.stop is StopReason.PAUSE or output.answered:
        return CallModel()
    if not output.text.strip():
        return _request_correction(
            state, "Your reply was empty. Give a final answer, or call a function."
        )
    return Finish(output.text)


def _evaluate_result(state: LoopState, proposed: ProposedResult) -> Action:
    if not proposed.problems:
        return Finish(proposed.result)
    return _request_correction(
        state, "The result does not satisfy the result schema:\n- " + "\n- ".join(proposed.problems)
    )


def _request_correction(state: LoopState, problem: str) -> Action:
    """Request a correction up to the limit, then abandon the result with a reason."""
    if state.corrections < MAX_CORRECTIONS:
        return RequestCorrection(problem)
    tries = f"No acceptable reply after {MAX_CORRECTIONS} corrections. {problem}"
    return Finish(None, tries) if state.wants_schema else Fail(tries)
