"""Random walks through everything that can happen to a run: after every move, all that must hold holds.

`make walks` takes many more and longer ones.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.strategies import DataObject

from orchestrator.rules.lifecycle import is_final
from orchestrator.store.database.engine import open_database
from orchestrator.store.store import Store
from perdure.contract import CallStatus, RunStatus
from tests.orchestrator.store.walks.moves import direct, draw_move, options, tests
from tests.orchestrator.store.walks.rules import view, violations
from tests.orchestrator.store.walks.walk import Walk
from tests.support.stage import Stage

_LONG = settings.get_current_profile_name() == "walks"
_WALKS, _MOVES = (500, 100) if _LONG else (12, 40)
_AFTERWARDS = 4
"""Moves after an end that is final for good."""
_names = itertools.count(1)


async def _walk(store: Store, data: DataObject, *, direct: bool, **asked: Any) -> None:
    stage = Stage(store, await store.keys.ensure_cluster(f"walk {next(_names)}"))
    walk = await Walk.begin(stage, direct=direct, **asked)
    left = _MOVES
    while left:
        waiting = await walk.calls(CallStatus.INTERRUPTED)
        name, values = draw_move(walk, bool(waiting), data)
        await getattr(walk, name)(**values)
        seen = await view(walk.engine)
        found = violations(seen)
        assert not found, f"after {name} {values}: " + "\n".join(found)
        over = is_final(seen.status) and (
            seen.status is RunStatus.CANCELLED or not seen.run["interactive"]
        )
        left = min(left - 1, _AFTERWARDS) if over else left - 1
    await store.deletion.delete(walk.ref)


def test_whatever_happens_to_a_run_all_holds_that_must_hold(database_url: str) -> None:
    with asyncio.Runner() as runner:
        database = runner.run(open_database(database_url))
        store = Store(database)

        @settings(
            max_examples=_WALKS,
            deadline=None,
            derandomize=not _LONG,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        @given(data=st.data(), asked=options, test=tests, direct=direct)
        def walk(
            data: DataObject, asked: dict[str, Any], test: dict[str, Any], direct: bool
        ) -> None:
            runner.run(_walk(store, data, direct=direct, **asked, **test))

        try:
            walk()
        finally:
            runner.run(database.aclose())
