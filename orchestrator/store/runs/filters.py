"""Lists of runs: filters and order."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Select, literal, select, tuple_

from orchestrator.store import tables
from perdure.contract import RunStatus

runs = tables.runs


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs to list. `metadata` pairs and `tags` must all match; `before` is a cursor (created_at, key).

    `test`: only test runs (True), none of them (False), or both (None).
    """

    status: RunStatus | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()
    test: bool | None = False
    config_id: str | None = None
    auth_token_hash: str | None = None
    """Only runs created with this token of the cluster's own auth function."""
    before: tuple[int, int] | None = None
    limit: int = 50


def listing(cluster_id: str, wanted: RunFilter) -> Select[tuple[object, ...]]:
    """The matching runs, newest first. Hidden kinds are in no list."""
    statement = select(runs).where(runs.c.cluster_id == cluster_id, runs.c.kind == "run")
    statement = _marked(_plain(statement, wanted), cluster_id, wanted)
    if wanted.before is not None:
        # compared as a row: with an OR each page would read the index from its beginning to the cursor
        cursor = tuple_(*map(literal, wanted.before))
        statement = statement.where(tuple_(runs.c.created_at, runs.c.key) < cursor)
    return statement.order_by(runs.c.created_at.desc(), runs.c.key.desc()).limit(wanted.limit)


def _plain(statement: Select[tuple[object, ...]], wanted: RunFilter) -> Select[tuple[object, ...]]:
    if wanted.status is not None:
        statement = statement.where(runs.c.status == wanted.status.value)
    if wanted.test is not None:
        statement = statement.where(runs.c.test.is_(wanted.test))
    if wanted.config_id is not None:
        statement = statement.where(runs.c.config_id == wanted.config_id)
    if wanted.auth_token_hash is not None:
        statement = statement.where(runs.c.auth_token_hash == wanted.auth_token_hash)
    return statement


def _marked(
    statement: Select[tuple[object, ...]], cluster_id: str, wanted: RunFilter
) -> Select[tuple[object, ...]]:
    pairs, tags = tables.run_metadata, tables.run_tags
    for name, value in wanted.metadata:
        has_pair = select(pairs.c.run_key).where(
            pairs.c.cluster_id == cluster_id, pairs.c.name == name, pairs.c.value == value
        )
        statement = statement.where(runs.c.key.in_(has_pair))
    for tag in wanted.tags:
        has_tag = select(tags.c.run_key).where(tags.c.cluster_id == cluster_id, tags.c.tag == tag)
        statement = statement.where(runs.c.key.in_(has_tag))
    return statement
