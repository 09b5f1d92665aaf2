"""The functions of a cluster, as registered by function workers."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import (
    ColumnElement,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    text,
)
from sqlalchemy.exc import IntegrityError

from orchestrator.errors import ConflictError, InvalidRequestError
from orchestrator.llm.prompts import OWN_SERVICE, OWN_TOOLS
from orchestrator.llm.tools import tool_name
from orchestrator.runtime.clock import now_ms
from orchestrator.store import tables
from orchestrator.store.database.engine import Database, Read, Write
from orchestrator.store.database.json_columns import object_from_json, optional_to_json, to_json
from orchestrator.store.database.prepared import prepared
from orchestrator.store.records import FunctionName, FunctionRecord
from perdure.contract import (
    FunctionConfig,
    FunctionDefinition,
    ServiceDescription,
    ServiceFunction,
)

MACHINE_STALE_AFTER_MS = 30 * 60_000
"""Functions of a worker that was silent this long no longer count as available."""
_RESERVED = frozenset({OWN_SERVICE, "inferable", "toolhouse"})

functions, registrations, machines = tables.functions, tables.registrations, tables.machines

# Built once: building a statement costs more than sending it.
_REGISTERED = prepared(
    select(registrations.c.function).where(
        registrations.c.cluster_id == bindparam("of_cluster"),
        registrations.c.machine_id == bindparam("of_machine"),
        registrations.c.service == bindparam("of_service"),
    )
)
_NAMES = prepared(
    select(functions.c.service, functions.c.name, functions.c.private).where(
        functions.c.cluster_id == bindparam("of_cluster")
    )
)


class FunctionStore:
    """Registrations of function workers, and queries of what is registered."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(
        self,
        cluster_id: str,
        machine_id: str,
        service: str,
        definitions: Sequence[FunctionDefinition],
        *,
        heartbeats: bool,
        alive_until: int,
    ) -> None:
        """Replace this worker's functions of one service; those of other workers stay.

        Raises `InvalidRequestError` for a reserved or duplicate name, `ConflictError` if the tool name
        (`service_function`) belongs to another function.
        """
        _check_names(service, definitions)
        try:
            async with self._database.write() as write:
                await _lock_cluster(write, cluster_id)
                await touch_machine(
                    write, cluster_id, machine_id, heartbeats=heartbeats, alive_until=alive_until
                )
                mine = and_(
                    registrations.c.cluster_id == cluster_id,
                    registrations.c.machine_id == machine_id,
                    registrations.c.service == service,
                )
                await write.execute(delete(registrations).where(mine))
                without_heartbeats = await _without_heartbeats(write, cluster_id, service)
                await _delete_stale(write, cluster_id, service, [d.name for d in definitions])
                if definitions:
                    await write.execute(
                        insert(functions),
                        [
                            _function_row(
                                cluster_id,
                                service,
                                d,
                                heartbeats and d.name not in without_heartbeats,
                            )
                            for d in definitions
                        ],
                    )
                    await write.execute(
                        insert(registrations),
                        [
                            {
                                "cluster_id": cluster_id,
                                "machine_id": machine_id,
                                "service": service,
                                "function": definition.name,
                            }
                            for definition in definitions
                        ],
                    )
        except IntegrityError as error:
            raise ConflictError(
                f"A function of service {service!r} has the same full name (service_function) as another "
                "service's function. Rename one of them.",
                code="name_collision",
            ) from error

    async def registered(self, cluster_id: str, machine_id: str, service: str) -> frozenset[str]:
        """Names of the functions this worker registered of the service; empty if it must register (again)."""
        of = {"of_cluster": cluster_id, "of_machine": machine_id, "of_service": service}
        async with self._database.read() as read:
            return frozenset((await read.execute(_REGISTERED, of)).scalars())

    async def touch(
        self,
        cluster_id: str,
        machine_id: str,
        *,
        heartbeats: bool,
        alive_until: int,
        ip: str | None = None,
        sdk: str | None = None,
    ) -> None:
        """Record that the worker is alive, at least until then (ms)."""
        async with self._database.write() as write:
            await touch_machine(
                write,
                cluster_id,
                machine_id,
                heartbeats=heartbeats,
                alive_until=alive_until,
                ip=ip,
                sdk=sdk,
            )

    async def all_of(self, cluster_id: str) -> list[FunctionRecord]:
        """Every function of the cluster, private ones included."""
        statement = (
            select(functions)
            .where(functions.c.cluster_id == cluster_id)
            .order_by(functions.c.service, functions.c.name)
        )
        async with self._database.read() as read:
            return [FunctionRecord(**row) for row in (await read.execute(statement)).mappings()]

    async def names(self, cluster_id: str) -> list[FunctionName]:
        """Names of all functions of the cluster, private ones included, in no order."""
        async with self._database.read() as read:
            rows = await read.execute(_NAMES, {"of_cluster": cluster_id})
            return [FunctionName(*row) for row in rows]

    async def services(self, cluster_id: str) -> list[ServiceDescription]:
        """Services with their functions and the number of live workers of each."""
        known = await self.all_of(cluster_id)
        live = await self._live_machines(cluster_id)
        grouped: dict[str, list[ServiceFunction]] = {}
        for record in known:
            grouped.setdefault(record.service, []).append(
                ServiceFunction(
                    name=record.name,
                    description=record.description,
                    schema=object_from_json(record.input_schema) if record.input_schema else None,
                    config=FunctionConfig.model_validate(object_from_json(record.config)),
                    live_machines=live.get((record.service, record.name), 0),
                )
            )
        return [ServiceDescription(name=name, functions=items) for name, items in grouped.items()]

    async def _live_machines(self, cluster_id: str) -> dict[tuple[str, str], int]:
        statement = (
            select(registrations.c.service, registrations.c.function, func.count())
            .join(machines, _same_machine())
            .where(registrations.c.cluster_id == cluster_id, machines.c.alive_until > now_ms())
            .group_by(registrations.c.service, registrations.c.function)
        )
        async with self._database.read() as read:
            rows = await read.execute(statement)
            return {(service, function): count for service, function, count in rows}


def _same_machine() -> ColumnElement[bool]:
    return and_(
        machines.c.cluster_id == registrations.c.cluster_id,
        machines.c.id == registrations.c.machine_id,
    )


def has_live_machine(now: int) -> ColumnElement[bool]:
    """SQL, correlated to `calls`: a live worker has the call's function."""
    calls = tables.calls
    return (
        exists()
        .where(
            registrations.c.cluster_id == calls.c.cluster_id,
            registrations.c.service == calls.c.service,
            registrations.c.function == calls.c.function,
            _same_machine(),
            machines.c.alive_until > now,
        )
        .correlate(calls)
    )


_TOUCH_MACHINE = text(
    "INSERT INTO machines (cluster_id, id, heartbeats, alive_until, ip, sdk, last_seen_at, created_at)"
    " VALUES (:cluster_id, :id, :heartbeats, :alive_until, :ip, :sdk, :now, :now)"
    " ON CONFLICT (cluster_id, id) DO UPDATE"
    " SET heartbeats = excluded.heartbeats, alive_until = excluded.alive_until,"
    " ip = COALESCE(excluded.ip, machines.ip), sdk = COALESCE(excluded.sdk, machines.sdk),"
    " last_seen_at = excluded.last_seen_at"
)


async def touch_machine(
    write: Write,
    cluster_id: str,
    machine_id: str,
    *,
    heartbeats: bool,
    alive_until: int,
    ip: str | None = None,
    sdk: str | None = None,
) -> None:
    """Insert or update a worker's row. Unknown values leave the stored ones."""
    await write.execute(
        _TOUCH_MACHINE,
        {
            "cluster_id": cluster_id,
            "id": machine_id,
            "heartbeats": heartbeats,
            "alive_until": alive_until,
            "ip": ip,
            "sdk": sdk,
            "now": now_ms(),
        },
    )


async def _lock_cluster(write: Write, cluster_id: str) -> None:
    """Registrations at the same moment are serialized: they replace each other's rows."""
    cluster = select(tables.clusters.c.id).where(tables.clusters.c.id == cluster_id)
    await write.execute(cluster.with_for_update(key_share=True))


async def _without_heartbeats(read: Read, cluster_id: str, service: str) -> frozenset[str]:
    """Functions of workers that send no heartbeats: their calls cannot require any."""
    statement = (
        select(registrations.c.function)
        .join(machines, _same_machine())
        .where(
            registrations.c.cluster_id == cluster_id,
            registrations.c.service == service,
            machines.c.heartbeats.is_(False),
            machines.c.alive_until > now_ms() - MACHINE_STALE_AFTER_MS,
        )
    )
    return frozenset((await read.execute(statement)).scalars())


async def _delete_stale(
    write: Write, cluster_id: str, service: str, redefined: Sequence[str]
) -> None:
    """Make room for new definitions, and delete functions of the service without a worker."""
    offered_elsewhere = (
        select(registrations.c.function)
        .join(machines, _same_machine())
        .where(
            registrations.c.cluster_id == cluster_id,
            registrations.c.service == service,
            machines.c.alive_until > now_ms() - MACHINE_STALE_AFTER_MS,
        )
    )
    await write.execute(
        delete(functions).where(
            functions.c.cluster_id == cluster_id,
            functions.c.service == service,
            or_(functions.c.name.in_(redefined), functions.c.name.not_in(offered_elsewhere)),
        )
    )


def _check_names(service: str, definitions: Sequence[FunctionDefinition]) -> None:
    if service.lower() in _RESERVED:
        raise InvalidRequestError(
            f"The service name {service!r} is reserved. Choose another.", pointer="/service"
        )
    seen: set[str] = set()
    for index, definition in enumerate(definitions):
        if tool_name(service, definition.name) in OWN_TOOLS:
            raise InvalidRequestError(
                f"The name {tool_name(service, definition.name)!r} is reserved. Choose another.",
                pointer=f"/functions/{index}/name",
            )
        if definition.name in seen:
            raise InvalidRequestError(
                f"The function {definition.name!r} is given twice.",
                pointer=f"/functions/{index}/name",
            )
        seen.add(definition.name)


def _function_row(
    cluster_id: str, service: str, definition: FunctionDefinition, heartbeats: bool
) -> dict[str, object]:
    config = definition.config or FunctionConfig()
    return {
        "cluster_id": cluster_id,
        "service": service,
        "name": definition.name,
        "tool_name": tool_name(service, definition.name),
        "description": definition.description,
        "input_schema": optional_to_json(definition.schema_),
        "config": to_json(config.model_dump(mode="json", by_alias=True, exclude_none=True)),
        "private": config.private or config.handler,
        "heartbeats": heartbeats,
        "updated_at": now_ms(),
    }
