"""The rules of the model loop: given what is known of a run, what happens next.

Pure: no clock, no network, no store. The activities gather the facts in a `LoopState`, `next_action` decides, and
whoever asked carries the decision out. The same function decides in the store's transaction after a reply and in
the workflow after calls, so that the two cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue

from orchestrator.llm.messages import StopReason
from orchestrator.rules.lifecycle import is_final
from perdure.contract import RunStatus

MAX_CORRECTIONS = 3
"""Replies sent back to the model per turn before its result is given up."""
MAX_STEPS_PER_TURN = 5_000
"""A turn with more model steps than this goes in circles and spends money: it fails."""


@dataclass(frozen=True, slots=True)
class ProposedResult:
    """A result the model gave; `problems` are its violations of the schema, in words."""

    result: JsonValue
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """The model's last word, when nothing came after it."""

    stop: StopReason
    text: str = ""
    detail: str = ""
    proposed: ProposedResult | None = None
    gave_up: str | None = None
    answered: bool = False
    """It called tools and every one of them is answered already: it is its turn again."""


@dataclass(frozen=True, slots=True)
class LoopState:
    """What is known of a run when somebody asks what happens next."""

    status: RunStatus
    cancel_wanted: bool = False
    unanswered: tuple[str, ...] = ()
    """Calls of the model without a result, by id."""
    oversized: tuple[str, ...] = ()
    """Results that are too long for the model and not summarized yet, by call id."""
    interrupted: tuple[str, ...] = ()
    """Calls that wait for a person, by id."""
    output: ModelOutput | None = None
    unread: bool = False
    """A message that the model has not seen."""
    wants_schema: bool = False
    corrections: int = 0
    steps: int = 0
    """Model steps of this turn so far."""


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing to do: the turn is over, or somebody has to act first."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """End the run because it was asked for."""


@dataclass(frozen=True, slots=True)
class CallModel:
    """Ask the model."""


@dataclass(frozen=True, slots=True)
class CallFunctions:
    """Wait for these calls' results."""

    calls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Summarize:
    """Make these calls' results short enough for the model."""

    calls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AwaitApproval:
    """Pause until a person has decided on these calls."""

    calls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RequestCorrection:
    """Send the reply back with what is wrong with it."""

    problem: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The turn is done. A result of None with a schema carries the reason."""

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
    """Decide what happens next. A final status is left alone; the model never speaks while a call is open.

    A run that is paused for a person still makes the calls that need none: whoever gathers the facts names those.
    """
    if is_final(state.status):
        return Idle()
    if state.cancel_wanted:
        return Cancel()
    return _next_without_output(state) or _next_after_output(state)


def _next_without_output(state: LoopState) -> Action | None:
    """What goes before the model's next word."""
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
        return Fail(f"The run took {MAX_STEPS_PER_TURN} model steps in one turn without an end.")
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
    """Send it back while that is allowed; then the result is given up, with the reason."""
    if state.corrections < MAX_CORRECTIONS:
        return RequestCorrection(problem)
    tries = f"No acceptable reply after {MAX_CORRECTIONS} corrections. {problem}"
    return Finish(None, tries) if state.wants_schema else Fail(tries)
