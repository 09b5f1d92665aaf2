"""Names of runs: the prompt's first words, or what a model said."""

from __future__ import annotations

import pytest

from orchestrator.llm.run_names import MAX_NAME_CHARACTERS, MAX_NAME_WORDS, first_words, parse_name


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("Which customer grew most?", "Which customer grew most?"),
        ("one two three four five six seven eight nine", "one two three four five six seven eight"),
        (" \n ", "run"),
        ("x" * 500, "x" * MAX_NAME_CHARACTERS),
    ],
)
def test_the_first_words_are_a_name(prompt: str, name: str) -> None:
    assert first_words(prompt) == name


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("Customer growth this quarter", "Customer growth this quarter"),
        ('\n "Customer growth."\nBecause the message…', "Customer growth"),
        ("**Growth**", "Growth"),
        ("„Wachstum im Quartal“", "Wachstum im Quartal"),
        (" ".join(map(str, range(30))), " ".join(map(str, range(MAX_NAME_WORDS)))),
        ("x" * 500, "x" * MAX_NAME_CHARACTERS),
        ("", None),
        (' \n""\n', None),
    ],
)
def test_a_name_is_found_in_the_models_reply(said: str, name: str | None) -> None:
    assert parse_name(said) == name
