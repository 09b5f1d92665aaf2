"""Run configurations, all their versions, and the metrics of their runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, case, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.runtime.clock import now_ms
from orchestrator.store import tables
from orchestrator.store.database.engine import Database, Write
from orchestrator.store.database.json_columns import to_storable_text
from perdure.contract import CallStatus

configs, versions, runs, calls = (
    tables.run_configs,
    tables.run_config_versions,
    tables.runs,
    tables.calls,
)

MEASURED_RUNS = 1_000
SHOWN_VERSIONS = 1_000
_FIELDS = ("cluster_id", "id", "version", "name", "content", "created_at")


@dataclass(frozen=True, slots=True)
class RunConfigRecord:
    """A configuration at one version; `content` is a `PutRunConfig` as JSON."""

    cluster_id: str
    id: str
    version: int
    name: str
    content: str
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """Metrics of one run of a configuration. Times in ms, cost in micro-dollars."""

    id: str
    config_version: int | None
    status: str
    created_at: int
    finished_at: int | None
    feedback_score: float | None
    tokens: int
    cost_micros: int
    calls: int
    failed_calls: int


class RunConfigStore:
    """The run configurations of all clusters; every method names its cluster."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self, cluster_id: str, config_id: str, name: str, content: str
    ) -> RunConfigRecord:
        """Store a new one. Raises `ConflictError` (code `run_config_exists`) if the id exists."""

        async def work(write: Write) -> RunConfigRecord:
            return await _write(write, (cluster_id, config_id), name, content, replace=False)

        return await self._retry_on_conflict(work)

    async def put(
        self, cluster_id: str, config_id: str, name: str, content: str
    ) -> RunConfigRecord:
        """Store it as the next version; the previous versions stay."""

        async def work(write: Write) -> RunConfigRecord:
            return await _write(write, (cluster_id, config_id), name, content, replace=True)

        return await self._retry_on_conflict(work)

    async def get(
        self, cluster_id: str, config_id: str, version: int | None = None
    ) -> RunConfigRecord:
        """The newest version, or the given one. Raises `NotFoundError`, also for a deleted one."""
        statement = _current().where(configs.c.cluster_id == cluster_id, configs.c.id == config_id)
        async with self._database.read() as read:
            current = (await read.execute(statement)).one_or_none()
            if current is not None and version not in {None, current.version}:
                found = await read.execute(_old(current).where(versions.c.version == version))
                current = found.one_or_none()
        if current is None:
            numbered = "" if version is None else f" with a version {version}"
            raise NotFoundError(f"There is no run configuration {config_id!r}{numbered}.")
        return _record(current)

    async def versions_before(self, record: RunConfigRecord) -> list[RunConfigRecord]:
        """The previous versions, newest first, at most 1,000."""
        statement = (
            _old(record)
            .where(versions.c.version < record.version)
            .order_by(versions.c.version.desc())
            .limit(SHOWN_VERSIONS)
        )
        async with self._database.read() as read:
            return [_record(row) for row in await read.execute(statement)]

    async def page(self, cluster_id: str, *, after: str, limit: int) -> list[RunConfigRecord]:
        """Those with a greater id, by id."""
        statement = (
            _current()
            .where(configs.c.cluster_id == cluster_id, configs.c.id > after)
            .order_by(configs.c.id)
            .limit(limit)
        )
        async with self._database.read() as read:
            return [_record(row) for row in await read.execute(statement)]

    async def delete(self, cluster_id: str, config_id: str) -> None:
        """Mark it deleted; its runs keep their reference. Raises `NotFoundError`."""
        statement = (
            update(configs)
            .where(
                configs.c.cluster_id == cluster_id,
                configs.c.id == config_id,
                configs.c.deleted_at.is_(None),
            )
            .values(deleted_at=now_ms())
            .returning(configs.c.version)
        )
        async with self._database.write() as write:
            if (await write.execute(statement)).one_or_none() is None:
                raise NotFoundError(f"There is no run configuration {config_id!r}.")

    async def measured(self, cluster_id: str, config_id: str) -> list[MeasuredRun]:
        """Metrics of its newest runs, newest first. Test runs do not count."""
        async with self._database.read() as read:
            return [
                MeasuredRun(**row)
                for row in (await read.execute(_measures(cluster_id, config_id))).mappings()
            ]

    async def _retry_on_conflict(
        self, work: Callable[[Write], Awaitable[RunConfigRecord]]
    ) -> RunConfigRecord:
        """Two transactions may write the same new id at once: the second one finds it at its retry."""
        try:
            return await self._database.transact(work)
        except IntegrityError:
            return await self._database.transact(work)


async def _write(
    write: Write, key: tuple[str, str], name: str, content: str, *, replace: bool
) -> RunConfigRecord:
    cluster_id, config_id = key
    now = now_ms()
    of_config = (configs.c.cluster_id == cluster_id, configs.c.id == config_id)
    before = (
        await write.execute(select(configs).where(*of_config).with_for_update())
    ).one_or_none()
    if before is not None and before.deleted_at is None and not replace:
        raise ConflictError(
            f"There is a run configuration {config_id!r} already. Change it with PUT.",
            code="run_config_exists",
        )
    record = RunConfigRecord(
        cluster_id=cluster_id,
        id=config_id,
        version=1 if before is None else before.version + 1,
        name=to_storable_text(name),
        content=content,
        created_at=now if before is None else before.created_at,
        updated_at=now,
    )
    row = {field: getattr(record, field) for field in _FIELDS}
    await write.execute(insert(versions).values(row | {"created_at": now}))
    if before is None:
        await write.execute(insert(configs).values(row | {"updated_at": now}))
    else:
        changed = update(configs).where(*of_config).values(row | {"updated_at": now})
        await write.execute(changed.values(deleted_at=None))
    return record


def _current() -> Select[*tuple[Any, ...]]:
    fields = (*(configs.c[field] for field in _FIELDS), configs.c.updated_at)
    return select(*fields).where(configs.c.deleted_at.is_(None))


def _old(of: RunConfigRecord | Row[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    fields = (*(versions.c[field] for field in _FIELDS), versions.c.created_at.label("updated_at"))
    return select(*fields).where(versions.c.cluster_id == of.cluster_id, versions.c.id == of.id)


def _record(row: Row[*tuple[Any, ...]]) -> RunConfigRecord:
    return RunConfigRecord(*row)


def _measures(cluster_id: str, config_id: str) -> Select[*tuple[Any, ...]]:
    """Select the newest runs first, then their calls: a configuration may have had millions."""
    newest = (
        select(runs)
        .where(
            runs.c.cluster_id == cluster_id, runs.c.config_id == config_id, runs.c.test.is_(False)
        )
        .order_by(runs.c.created_at.desc(), runs.c.key.desc())
        .limit(MEASURED_RUNS)
        .subquery()
    )
    failed = case((calls.c.status == CallStatus.FAILURE.value, 1), else_=0)
    counted = (
        select(calls.c.run_key, func.count().label("calls"), func.sum(failed).label("failed"))
        .where(calls.c.kind == "function", calls.c.run_key.in_(select(newest.c.key)))
        .group_by(calls.c.run_key)
        .subquery()
    )
    tokens = (
        newest.c.input_tokens
        + newest.c.output_tokens
        + newest.c.cache_read_tokens
        + newest.c.cache_write_tokens
    )
    same = ("id", "config_version", "status", "created_at", "finished_at", "feedback_score")
    return (
        select(
            *(newest.c[name] for name in same),
            tokens.label("tokens"),
            newest.c.cost_micros,
            func.coalesce(counted.c.calls, 0).label("calls"),
            func.coalesce(counted.c.failed, 0).label("failed_calls"),
        )
        .outerjoin(counted, counted.c.run_key == newest.c.key)
        .order_by(newest.c.created_at.desc(), newest.c.key.desc())
    )
