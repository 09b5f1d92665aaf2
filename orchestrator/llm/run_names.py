"""Names of runs without a given name: first the prompt's first words, later a model's name."""

from __future__ import annotations

MAX_NAME_WORDS = 10
"""Maximum words of a model's name."""
MAX_NAME_CHARACTERS = 80
READ_CHARACTERS = 4_000
"""Characters of a prompt that the naming model reads."""
_FIRST_WORDS = 8
_QUOTES = "\"'`*#“”„‚‘’«»"


def first_words(prompt: str) -> str:
    """The prompt's first words, as a run's name."""
    name = " ".join(prompt.split()[:_FIRST_WORDS])[:MAX_NAME_CHARACTERS].strip()
    return name or "run"


def parse_name(text: str) -> str | None:
    """Parse the name in a model's reply; None if there is none."""
    first = next(filter(None, (line.strip() for line in text.splitlines())), "")
    words = first.strip(_QUOTES).split()[:MAX_NAME_WORDS]
    return " ".join(words)[:MAX_NAME_CHARACTERS].rstrip(" .") or None
