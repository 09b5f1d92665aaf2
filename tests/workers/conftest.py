"""The stage of the store's tests, for what drives the store from outside."""

from __future__ import annotations

import pytest

from orchestrator.store.store import Store
from tests.support.stage import Stage


@pytest.fixture
async def stage(store: Store) -> Stage:
    """A store with one cluster, on which runs can be played."""
    return Stage(store, await store.keys.ensure_cluster("test"))
