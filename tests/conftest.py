"""Fixtures of all tests: databases, servers and the API come from `tests/support`; here are the store and its stage."""

from __future__ import annotations

import signal

import pytest

from orchestrator.store.database.engine import Database
from orchestrator.store.store import Store
from tests.support.stage import Stage
from tests.support.statements import compile_once

pytest_plugins = [
    "tests.support.tiers",
    "tests.support.databases",
    "tests.support.temporal_server",
    "tests.support.running_stack",
]

# A shell's background job starts with SIGINT ignored, and the processes that tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

compile_once()


@pytest.fixture
def store(database: Database) -> Store:
    """All nouns over the database of `database_url`."""
    return Store(database)


@pytest.fixture
async def stage(store: Store) -> Stage:
    """A store with one cluster, on which runs can be played."""
    return Stage(store, await store.keys.ensure_cluster("test"))
