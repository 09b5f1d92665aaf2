"""The same job for every peer: n times a model step that asks for one call, then that call; then one answer.

The prompt is n, as text. The script that plays the model knows nothing but the conversation that the framework hands
it: it counts the results in it, asks for the next number, and answers with what all results add up to. So a run in
which a result was lost, doubled or garbled ends with a wrong answer.
"""

from __future__ import annotations

from collections.abc import Sequence

TOOL = "look_up"


def look_up(number: int) -> dict[str, int]:
    """Look a number up: its square."""
    return {"number": number, "square": number * number}


def next_number(prompt: str, results: int) -> int | None:
    """Which number the model asks for after so many results; None when it has them all."""
    return results + 1 if results < int(prompt) else None


def answer(squares: Sequence[int]) -> str:
    """The model's last word."""
    return f"{len(squares)} results, sum {sum(squares)}"


def expected(steps: int) -> str:
    """What a run of so many iterations must end with."""
    return answer([look_up(number)["square"] for number in range(1, steps + 1)])
