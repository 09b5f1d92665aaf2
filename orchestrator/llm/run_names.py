"""Names of runs that were given none: the prompt's first words at once, a model's words later."""

from __future__ import annotations

MAX_NAME_WORDS = 10
"""Words of a name that a model makes."""
MAX_NAME_CHARACTERS = 80
READ_CHARACTERS = 4_000
"""Of a longer prompt the naming model reads the beginning."""
_FIRST_WORDS = 8
_QUOTES = "\"'`*#“”„‚‘’«»"


def first_words(prompt: str) -> str:
    """The prompt's first words, as a run's name."""
    name = " ".join(prompt.split()[:_FIRST_WORDS])[:MAX_NAME_CHARACTERS].strip()
    return name or "run"


def parse_name(text: str) -> str | None:
    """The name in what a model said when it was asked for one; None where there is none."""
    first = next(filter(None, (line.strip() for line in text.splitlines())), "")
    words = first.strip(_QUOTES).split()[:MAX_NAME_WORDS]
    return " ".join(words)[:MAX_NAME_CHARACTERS].rstrip(" .") or None
