"""What the pages say of tests is true: each one that they name is run, and where they say so on both databases."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.doc_blocks import REPOSITORY, pages

pytestmark = pytest.mark.timeout(180)
PAGE = REPOSITORY / "docs/internals/seed.md"
DATABASES = ("sqlite", "postgresql")
_NAMED = re.compile(r"`(tests/[\w/]+\.py::test_\w+)`")


def named(text: str) -> set[str]:
    return set(_NAMED.findall(text))


def rows(page: Path, *, columns: int) -> Iterator[list[str]]:
    """The rows of the page's tables that have so many columns, without the heads."""
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("|") and len(cells) == columns and "---" not in line:
            yield cells


@pytest.fixture(scope="module")
def collected(processes: None) -> dict[str, list[str]]:
    """Every test of the files that pages name, by its name, with what it is run for."""
    files = {name.partition("::")[0] for page in pages() for name in named(page.read_text())}
    assert all((REPOSITORY / file).is_file() for file in files), files
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", *sorted(files)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert ended.returncode == 0, ended.stdout[-2_000:]
    found: dict[str, list[str]] = {}
    for line in ended.stdout.splitlines():
        if "::" in line:
            name, _, case = line.partition("[")
            found.setdefault(name, []).append(case)
    return found


def test_every_test_that_the_pages_name_is_run(collected: dict[str, list[str]]) -> None:
    every = {name for page in pages() for name in named(page.read_text())}
    assert len(every) > 100
    assert every - collected.keys() == set()


def test_every_sentence_has_a_test() -> None:
    sentences = [row for row in rows(PAGE, columns=3) if row[1] != "test that fails without it"]
    assert len(sentences) > 30
    assert [row[0] for row in sentences if not named(row[1])] == []


def test_what_touches_the_store_is_shown_on_both_databases(
    collected: dict[str, list[str]],
) -> None:
    asked = [row for row in rows(PAGE, columns=4) if row[1] != "on both databases"]
    assert len(asked) > 50
    assert [what for what, both, more, _ in asked if not named(both) | named(more)] == []
    claimed = {name for _, both, _, _ in asked for name in named(both)}
    once = {
        name
        for name in claimed
        if not all(database in " ".join(collected[name]) for database in DATABASES)
    }
    assert once == set()
