"""The bounds of the layout: how many entries a folder has, and how many lines a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
ROOTS = ("orchestrator", "workers", "api", "sdk/src", "tests", "benchmarks", "docs")
MOST_ENTRIES = 16
MOST_LINES = 400
RECORDED = {
    "tests/compatibility/histories": "one recorded workflow history per scenario",
    "tests/conformance/inferable/scenarios": "one script per scenario",
    "orchestrator/store/migrations/versions": "one migration per release",
}
"""Folders of recorded data, which may have more entries, and why they grow."""


def folders(root: Path) -> Iterator[Path]:
    """The folder and all below it, without what tools leave behind."""
    yield root
    for entry in sorted(root.iterdir()):
        if entry.is_dir() and not is_left_behind(entry):
            yield from folders(entry)


def is_left_behind(entry: Path) -> bool:
    return entry.name.startswith((".", "__pycache__")) or entry.suffix in {".egg-info", ".pyc"}


def crowded(root: Path) -> list[str]:
    """The folders that have more entries than they may, with their number."""
    counted = (
        (folder, sum(not is_left_behind(entry) for entry in folder.iterdir()))
        for folder in folders(root)
    )
    return [
        f"{folder.relative_to(REPOSITORY).as_posix()}: {count}"
        for folder, count in counted
        if count > MOST_ENTRIES and folder.relative_to(REPOSITORY).as_posix() not in RECORDED
    ]


def long_files(root: Path) -> list[str]:
    """The Python files that have more lines than they may, with their number."""
    counted = (
        (file, len(file.read_text().splitlines()))
        for folder in folders(root)
        for file in sorted(folder.glob("*.py"))
    )
    return [
        f"{file.relative_to(REPOSITORY).as_posix()}: {count}"
        for file, count in counted
        if count > MOST_LINES
    ]


@pytest.mark.parametrize("root", ROOTS)
def test_no_folder_has_too_many_entries(root: str) -> None:
    assert crowded(REPOSITORY / root) == []


@pytest.mark.parametrize("root", ROOTS)
def test_no_file_is_longer_than_one_reads_in_one_sitting(root: str) -> None:
    assert long_files(REPOSITORY / root) == []


@pytest.mark.parametrize("folder", RECORDED)
def test_an_exception_is_a_folder_that_needs_it_or_will(folder: str) -> None:
    assert any((REPOSITORY / folder).iterdir())


def test_a_crowded_folder_and_a_long_file_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.REPOSITORY", tmp_path)
    (tmp_path / "a" / "__pycache__").mkdir(parents=True)
    for number in range(MOST_ENTRIES):
        (tmp_path / "a" / f"{number}.py").write_text("\n" * MOST_LINES)
    assert (crowded(tmp_path), long_files(tmp_path)) == ([], [])
    (tmp_path / "a" / "one_more.py").write_text("\n" * (MOST_LINES + 1))
    assert crowded(tmp_path) == [f"a: {MOST_ENTRIES + 1}"]
    assert long_files(tmp_path) == [f"a/one_more.py: {MOST_LINES + 1}"]
