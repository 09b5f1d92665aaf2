"""Operations on an open transaction. Reads and writes are different types, so that the type checker rejects a
statement that changes something inside a read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, TypeVarTuple, overload

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    CursorResult,
    Executable,
    Select,
    Table,
    TextClause,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.selectable import TypedReturnsRows
from typing_extensions import override

from orchestrator.runtime.encryption import FieldCipher
from orchestrator.store.database.prepared import Pipeline, PreparedResult, execute, is_prepared
from orchestrator.workflows.wakeups import Wakeup

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
T = TypeVar("T")
Columns = TypeVarTuple("Columns")


class Read:
    """Read access: on SQLite one snapshot, on PostgreSQL each statement sees what is committed."""

    def __init__(
        self, connection: AsyncConnection, cipher: FieldCipher, *, plain_sql: bool = False
    ) -> None:
        self._connection = connection
        self._plain_sql = plain_sql
        self.cipher = cipher

    @overload
    async def execute(
        self,
        statement: Select[*Columns] | CompoundSelect[*Columns],
        parameters: Parameters = None,
    ) -> CursorResult[*Columns] | PreparedResult[*Columns]: ...

    @overload
    async def execute(
        self, statement: TextClause, parameters: Parameters = None
    ) -> CursorResult[*tuple[Any, ...]] | PreparedResult[*tuple[Any, ...]]: ...

    async def execute(
        self, statement: Executable, parameters: Parameters = None
    ) -> CursorResult[*tuple[Any, ...]] | PreparedResult[*tuple[Any, ...]]:
        """Execute one statement; its rows are in memory when this returns."""
        if self._is_for_the_driver(statement):
            return await execute(self._connection, statement, parameters)
        return await self._connection.execute(statement, parameters)

    async def run_sync(self, work: Callable[[Connection], T]) -> T:
        """Pass the connection to a library that knows only SQLAlchemy's synchronous interface."""
        return await self._connection.run_sync(work)

    def _is_for_the_driver(self, statement: Executable) -> bool:
        return not self._plain_sql and is_prepared(statement)


class Write(Read):
    """A transaction that is committed when its block ends, and rolled back when its block raises."""

    def __init__(
        self, connection: AsyncConnection, cipher: FieldCipher, *, plain_sql: bool = False
    ) -> None:
        super().__init__(connection, cipher, plain_sql=plain_sql)
        self.changed_runs: set[int] = set()
        """Keys of runs; negative where the run is still running."""
        self.wakeups: dict[Wakeup, None] = {}
        """Sent after the commit, in the order of the first requests."""
        self.committing = False
        self._pipeline = Pipeline(connection) if connection.dialect.name == "postgresql" else None

    @overload
    async def execute(
        self, statement: TypedReturnsRows[*Columns], parameters: Parameters = None
    ) -> CursorResult[*Columns] | PreparedResult[*Columns]: ...

    @overload
    async def execute(
        self, statement: Executable, parameters: Parameters = None
    ) -> CursorResult[*tuple[Any, ...]] | PreparedResult[*tuple[Any, ...]]: ...

    @override
    async def execute(
        self, statement: Executable, parameters: Parameters = None
    ) -> CursorResult[*tuple[Any, ...]] | PreparedResult[*tuple[Any, ...]]:
        """Execute one statement; its rows are in memory when this returns.

        A prepared statement without rows may still be in progress: its error is raised by a later one, or by `flush`.
        """
        if self._is_for_the_driver(statement):
            return await execute(self._connection, statement, parameters, self._pipeline)
        await self.flush()
        return await self._connection.execute(statement, parameters)

    @override
    async def run_sync(self, work: Callable[[Connection], T]) -> T:
        """Pass the connection to a library that knows only SQLAlchemy's synchronous interface."""
        await self.flush()
        return await super().run_sync(work)

    async def flush(self) -> None:
        """Wait until all statements are executed. Raises the first error."""
        if self._pipeline is not None:
            await self._pipeline.leave()

    async def discard(self) -> None:
        """The same before a rollback: errors are ignored."""
        if self._pipeline is not None:
            await self._pipeline.discard()

    async def upsert(
        self,
        table: Table,
        key: Mapping[str, Any],
        values: Mapping[str, Any],
        *,
        update: Sequence[str] = (),
        add: Sequence[str] = (),
    ) -> None:
        """Insert the row `key | values`, or set the columns of `update` if a row with this key exists.

        The columns of `add` are added to the row's values. `key` names all columns of the primary key or of a unique constraint.
        """
        insert = sqlite.insert if self._connection.dialect.name == "sqlite" else postgresql.insert
        statement = insert(table).values({**key, **values})
        changes: dict[str, ColumnElement[Any]] = {name: statement.excluded[name] for name in update}
        changes |= {name: table.c[name] + statement.excluded[name] for name in add}
        await self.execute(statement.on_conflict_do_update(index_elements=list(key), set_=changes))

    def wake(self, wakeup: Wakeup) -> None:
        """Request a wake-up of the engine after the commit. A repeated request is sent once."""
        self.wakeups[wakeup] = None

    def mark_changed(self, run_key: int, *, still_running: bool = False) -> None:
        """Record that this transaction changes the run: its waiters are woken after the commit.

        With `still_running`, those that wait for the end of its turn are not woken.
        """
        self.changed_runs.add(-run_key if still_running else run_key)
