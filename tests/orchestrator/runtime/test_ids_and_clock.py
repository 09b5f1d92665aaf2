"""Ids sort by the moment they were made; times are UTC to the millisecond."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from orchestrator.runtime.clock import now_ms, to_datetime
from orchestrator.runtime.ids import new_id


def test_ids_made_in_one_process_sort_in_the_order_they_were_made() -> None:
    made = [new_id() for _ in range(20_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert {len(each) for each in made} == {26}


def test_threads_never_make_the_same_id() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = [future.result() for future in [pool.submit(new_id) for _ in range(10_000)]]
    assert len(set(made)) == len(made)


def test_a_moment_survives_the_way_to_a_datetime_and_back() -> None:
    for moment in (0, 1, 999, 1_700_000_000_123, 253_402_300_799_999):
        assert (to_datetime(moment) - to_datetime(0)) // timedelta(milliseconds=1) == moment
    assert to_datetime(1_700_000_000_123) == datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC)


def test_now_is_the_machines_clock_in_utc() -> None:
    assert abs(to_datetime(now_ms()) - datetime.now(UTC)) < timedelta(seconds=5)
