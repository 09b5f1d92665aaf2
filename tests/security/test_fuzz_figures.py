"""What the page says of `make fuzz` is what the command kept, and its counting counts."""

from __future__ import annotations

import httpx2

from tests.security.fuzz_tally import CLASSES, Tally, class_of, read, tables, written
from tests.support.tenants import keyed_operations


def test_the_page_says_what_the_command_stored() -> None:
    kept = read()
    assert [tally.database for tally in kept] == ["SQLite", "PostgreSQL"]
    assert written() == tables(kept)


def test_what_was_stored_is_whole() -> None:
    for tally in read():
        assert sum(tally.failures.values()) == 0, tally.failures
        assert sum(tally.statuses.values()) == tally.requests
        assert tally.of_class("without a key") == tally.checks["a_key_is_needed"]
        assert tally.checks["not_a_server_error"] == tally.requests - tally.of_class(
            "without a key"
        )
    asked = {name for tally in read() for name in tally.operations}
    every = {f"{one.method} {one.path}" for one in keyed_operations() if one.id != "stream_events"}
    assert every - asked == set()


def test_answers_are_counted_by_class() -> None:
    tally = Tally("x", 1)
    for status in (200, 204, 404, 422, 500):
        tally.answered("GET /a", status)
    tally.answered("GET /a", 401, keyed=False)
    assert dict(zip(CLASSES, tally.operations["GET /a"].values(), strict=True)) == {
        "accepted": 2,
        "refused": 2,
        "without a key": 1,
        "failed": 1,
    }
    assert class_of(httpx2.codes.UNAUTHORIZED, keyed=True) == "refused"
    assert class_of(httpx2.codes.OK, keyed=False) == "accepted", "somebody was let in"
