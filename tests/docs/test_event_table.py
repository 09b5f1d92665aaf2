"""The documented events are those of the catalogue."""

from __future__ import annotations

import pytest

from perdure.contract.event_types import EVENT_DATA, EventType
from tests.docs.event_table import PAGE, with_table


def test_every_type_of_event_has_its_data() -> None:
    assert set(EVENT_DATA) == set(EventType)


def test_the_page_lists_the_catalogue() -> None:
    page = PAGE.read_text()
    assert page == with_table(page), "generate the table anew: python -m tests.docs.event_table"


def test_a_page_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="end of events"):
        with_table("# Events\n")
