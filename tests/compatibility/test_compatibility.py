"""Everything persisted or public keeps its name, type and default. See `python -m tests.compatibility --help`."""

from __future__ import annotations

import pytest

from tests.compatibility.baseline import FROZEN, SECTIONS, read_baseline
from tests.compatibility.comparison import breaking_changes

_WHAT_TO_DO = """
These entries are persisted or public: existing histories, databases, files, clients and user programs contain them.
Restore the name, type and default. To rename something internally, keep the persisted string behind a constant. To move
a documented import, re-export it from its old path. Give a new field a default. If the break is intended (a new major
version), edit tests/compatibility/frozen/{section}.json by hand, in a separate commit that says who is affected."""


@pytest.mark.parametrize("section", SECTIONS)
def test_no_frozen_entry_is_changed_or_lost(section: str) -> None:
    frozen = read_baseline(section)
    broken = list(breaking_changes(frozen, SECTIONS[section](frozen)))
    assert not broken, "\n".join(
        [f"{len(broken)} broken in {section}:", *broken, _WHAT_TO_DO.format(section=section)]
    )


def test_every_baseline_file_has_a_section() -> None:
    assert {file.stem for file in FROZEN.iterdir()} == set(SECTIONS)


@pytest.mark.parametrize("section", SECTIONS)
def test_no_baseline_is_empty(section: str) -> None:
    assert read_baseline(section)
