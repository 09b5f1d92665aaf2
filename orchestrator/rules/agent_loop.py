"""The rules of the model loop: given what is known of a run, what happens next.

Pure: no clock, no network, no store. The activities gather the facts in a `Situation`, `next_step` decides, and
whoever asked carries the decision out. The same function decides in the store's transaction after a reply and in
the workflow after calls, so that the two cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue

from orchestrator.llm.messages import Stop
from orchestrator.rules.lifecycle import is_final
from perdure.contract import RunStatus

MAX_CORRECTIONS = 3
"""Replies sent back to the model per turn before its result is given up."""
MAX_STEPS_PER_TURN = 5_000
"""A turn with more model steps than this goes in circles and spends money: it fails."""


@dataclass(frozen=True, slots=True)
class Offered:
    """A result the model gave; `problems` are its violations of the schema, in words."""

    result: JsonValue
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Said:
    """The model's last word, when nothing came after it."""

    stop: Stop
    text: str = ""
    detail: str = ""
    offered: Offered | None = None
    gave_up: str | None = None
    answered: bool = False
    """It called tools and every one of them is answered already: it is its turn again."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of a run when somebody asks what happens next."""

    status: RunStatus
    cancel_wanted: bool = False
    unanswered: tuple[str, ...] = ()
    """Calls of the model without a result, by id."""
    oversized: tuple[str, ...] = ()
    """Results that are too long for the model and not summarized yet, by call id."""
    interrupted: tuple[str, ...] = ()
    """Calls that wait for a person, by id."""
    said: Said | None = None
    unread: bool = False
    """A message that the model has not seen."""
    wants_schema: bool = False
    corrections: int = 0
    steps: int = 0
    """Model steps of this turn so far."""


@dataclass(frozen=True, slots=True)
class Rest:
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
class AwaitHuman:
    """Pause until a person has decided on these calls."""

    calls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Correct:
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


Step = Rest | Cancel | CallModel | CallFunctions | Summarize | AwaitHuman | Correct | Finish | Fail


def next_step(now: Situation) -> Step:
    """Decide what happens next. A final status is left alone; the model never speaks while a call is open.

    A run that is paused for a person still makes the calls that need none: whoever gathers the facts names those.
    """
    if is_final(now.status):
        return Rest()
    if now.cancel_wanted:
        return Cancel()
    return _next_wait(now) or _next_word(now)


def _next_wait(now: Situation) -> Step | None:
    """What goes before the model's next word."""
    if now.unanswered:
        return CallFunctions(now.unanswered)
    if now.status is RunStatus.PAUSED:
        return Rest()
    if now.oversized:
        return Summarize(now.oversized)
    return AwaitHuman(now.interrupted) if now.interrupted else None


def _next_word(now: Situation) -> Step:
    verdict = CallModel() if now.said is None else _judge(now, now.said)
    if isinstance(verdict, Finish) and now.unread:
        verdict = CallModel()
    if isinstance(verdict, CallModel | Correct) and now.steps >= MAX_STEPS_PER_TURN:
        return Fail(f"The run took {MAX_STEPS_PER_TURN} model steps in one turn without an end.")
    return verdict


_BROKEN_OFF = frozenset({Stop.REFUSAL, Stop.CONTEXT, Stop.LENGTH})


def _judge_broken_off(now: Situation, said: Said) -> Step:
    if said.stop is Stop.REFUSAL:
        return Fail(f"The model refused to answer. {said.detail}".strip())
    if said.stop is Stop.CONTEXT:
        return Fail("The conversation no longer fits the model's context window.")
    return _correct(
        now, "Your reply was cut off at the output limit. Be brief, or take smaller steps."
    )


def _judge(now: Situation, said: Said) -> Step:
    if said.stop in _BROKEN_OFF:
        return _judge_broken_off(now, said)
    if said.gave_up is not None:
        return Finish(None, f"The model gave up: {said.gave_up}")
    if said.offered is not None:
        return _judge_result(now, said.offered)
    if said.stop is Stop.PAUSE or said.answered:
        return CallModel()
    if not said.text.strip():
        return _correct(now, "Your reply was empty. Give a final answer, or call a function.")
    return Finish(said.text)


def _judge_result(now: Situation, offered: Offered) -> Step:
    if not offered.problems:
        return Finish(offered.result)
    return _correct(
        now, "The result does not satisfy the result schema:\n- " + "\n- ".join(offered.problems)
    )


def _correct(now: Situation, problem: str) -> Step:
    """Send it back while that is allowed; then the result is given up, with the reason."""
    if now.corrections < MAX_CORRECTIONS:
        return Correct(problem)
    tries = f"No acceptable reply after {MAX_CORRECTIONS} corrections. {problem}"
    return Finish(None, tries) if now.wants_schema else Fail(tries)
