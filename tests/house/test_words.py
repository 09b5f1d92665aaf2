"""The private words of an earlier vocabulary do not come back: the glossary has the field's term for each."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

WORDS = (
    "nudge",
    "wish",
    "hand-out",
    "handout",
    "standing",
    "posture",
    "bell",
    "told",
    "unheard",
    "whence",
    "roster",
    "keyring",
    "confidences",
    "glance",
    "crier",
    "hoarse",
)
"""Each also in the plural and as a verb form. See docs/reference/glossary.md for the terms in use."""

PERSISTED = (
    '"nudge"',  # the name of the signal in histories
    "`nudge`",  # the same, where a page or docstring explains it
    "wish-written",  # the name of a fail-point
    "-bells",  # the folder beside a SQLite file
    "handouts",  # a column of `calls`
    "ix_runs_unheard",  # an index
)
"""Strings that stand in histories, databases and folders of running installations."""

_PLACES = (
    "orchestrator",
    "workers",
    "api",
    "sdk/src",
    "examples",
    "docs",
    "tests",
    "benchmarks",
    "*.md",
    "docker-compose.yml",
)
_EXCLUDED = (
    "docs/internals/seed.md",  # quotes the document that the project was created from
    "tests/house/test_words.py",
)
_PATTERN = re.compile(
    r"(?<![a-z])(?:" + "|".join(map(re.escape, WORDS)) + r")(?:e?s|d|ed|ing)?(?![a-z])",
    re.IGNORECASE,
)


def found_in(text: str) -> list[str]:
    """The private words of a text, without those that are persisted."""
    for persisted in PERSISTED:
        text = text.replace(persisted, "")
    return _PATTERN.findall(text)


def _files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *_PLACES],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    names = [name for name in listed.stdout.split("\0") if name]
    kept = (name for name in names if "migrations/versions/" not in name and name not in _EXCLUDED)
    return [ROOT / name for name in kept if (ROOT / name).suffix in {".py", ".md", ".yml"}]


def test_no_private_word_is_left(processes: None) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {', '.join(words)}"
        for path in _files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (words := found_in(line))
    ]
    assert found == [], "use the term of the glossary"


@pytest.mark.parametrize(
    "text", ["Nudges are sent.", "three wishes", "a hand-out", "it was told", "self._roster"]
)
def test_a_private_word_is_found(text: str) -> None:
    assert len(found_in(text)) == 1


@pytest.mark.parametrize(
    "text", ['WAKE_SIGNAL = "nudge"', "calls.c.handouts", "outstanding", "wishbone"]
)
def test_other_words_are_left_alone(text: str) -> None:
    assert found_in(text) == []
