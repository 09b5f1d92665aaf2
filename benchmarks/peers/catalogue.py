"""Who is measured. What is said of their durability was read in the installed packages and their defaults."""

from __future__ import annotations

from benchmarks.peers.peer import Peer

_ON_TEMPORAL = (
    "one activity per model step, with the whole conversation as its input, and one per call;"
    " kept in Temporal's history, on the server that all Temporal rows share (SQLite, synchronous=FULL)"
)
_STEPS_OF_DBOS = "each model step and each call is a DBOS step, its result a committed row in"

PEERS: tuple[Peer, ...] = (
    Peer(
        name="pydantic-ai-temporal",
        folder="pydantic_ai_temporal",
        on_temporal=True,
        durability=_ON_TEMPORAL,
    ),
    Peer(
        name="openai-agents-temporal",
        folder="openai_agents_temporal",
        on_temporal=True,
        durability=_ON_TEMPORAL,
    ),
    Peer(
        name="dbos-sqlite",
        folder="dbos",
        variant="sqlite",
        durability=f"{_STEPS_OF_DBOS} SQLite as DBOS opens it (rollback journal, synchronous=FULL: fsync at each commit)",
    ),
    Peer(
        name="dbos-postgresql",
        folder="dbos",
        variant="postgresql",
        durability=f"{_STEPS_OF_DBOS} PostgreSQL 18 on a local socket (its defaults: fsync at each commit)",
    ),
    Peer(
        name="langgraph-dev",
        folder="langgraph",
        durability="a checkpoint after each model step and after each call, in memory; pickled to a file every 10 s without"
        " fsync: a kill loses what came since",
    ),
    Peer(
        name="restate",
        folder="restate",
        durability="each model step and each call is an entry of the invocation's journal, in the replicated log of a"
        " single node (RocksDB, its write-ahead log fsynced)",
    ),
)
