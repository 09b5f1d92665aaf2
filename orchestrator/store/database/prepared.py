"""Statements that are made once, executed on the driver itself.

SQLAlchemy makes a statement's text, and knows how its values go to the database and come back; of statements that are
made once that is kept. What it does around each execution (its keys for what it has compiled, a context, a greenlet that
changes back and forth for each wait) was half of a transaction's processor time on SQLite, a quarter on PostgreSQL
(`benchmarks/sections/store.py`).

The connection, its transaction and what becomes of errors stay SQLAlchemy's.

In a writing transaction on PostgreSQL those that bring no rows are not waited for: their answers come with the next one's
that does, or before the commit. Each wait costs two changes of process, which on a busy machine is more than the work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, TypeVarTuple
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Dialect, Executable, Float, Insert, Select, Update
from sqlalchemy.engine.result import IteratorResult, SimpleResultMetaData
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

_PREPARED = "perdure_prepared"
INLINE = "perdure_inline"
"""The execution options of `prepared` and of `prepared_inline`."""

Statement = TypeVar("Statement", bound=Executable)
Columns = TypeVarTuple("Columns")
_Values = Mapping[str, Any]
_Processor = Callable[[Any], Any]


def prepared(statement: Statement) -> Statement:
    """Mark a statement that is made once, when its module is imported, and whose values all come by name.

    It must not need values of SQLAlchemy's own making (defaults in Python, lists of a length that is known only then):
    its first execution raises TypeError.
    """
    return statement.execution_options(**{_PREPARED: True})


def prepared_inline(statement: Statement) -> Statement:
    """Mark one, made once too, that writes, or finds by a key, a few rows.

    In a writing transaction on SQLite it is executed in the event loop, where the transaction can begin at once and no
    large value is written.
    """
    return statement.execution_options(**{_PREPARED: True, INLINE: True})


def is_prepared(statement: Executable) -> bool:
    """Whether `execute` may be asked to execute it."""
    return _PREPARED in statement.get_execution_options()


class PreparedResult(IteratorResult[*Columns]):
    """What a statement brought: SQLAlchemy's result, with how many rows it changed or found."""

    def __init__(self, metadata: SimpleResultMetaData, rows: Sequence[Any], rowcount: int) -> None:
        super().__init__(metadata, iter(rows))
        self.rowcount = rowcount


@dataclass(frozen=True, slots=True)
class _CompiledStatement:
    """A statement for one dialect and one set of values."""

    text: str
    defaults: _Values
    """All its values by name, those that it brings with it filled in."""
    positions: tuple[str, ...] | None
    """Their names in the order in which the driver wants them; None: it wants them by name."""
    bind_processors: tuple[tuple[str, _Processor], ...]
    returns_rows: bool
    metadata: SimpleResultMetaData
    """Whether rows come back, and how they are read."""

    def values(self, parameters: _Values) -> Any:
        """As the driver takes them."""
        values = {**self.defaults, **parameters}
        for name, convert in self.bind_processors:
            values[name] = convert(values[name])
        return values if self.positions is None else [values[name] for name in self.positions]


_compiled_statements: WeakKeyDictionary[
    Executable, dict[tuple[str, tuple[str, ...]], _CompiledStatement]
] = WeakKeyDictionary()


class Pipeline:
    """PostgreSQL's pipeline mode, from the first statement that is executed here until `leave`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._open: Any = None

    async def enter(self, driver: Any) -> None:
        """Wait for nothing any more that brings no rows. Behind a pooler, which may not know of it, each answer is."""
        if self._open is None and driver.prepare_threshold is not None:
            opened = driver.pipeline()
            await opened.__aenter__()
            self._open = opened

    async def leave(self) -> None:
        """Wait for all answers. Raises `DBAPIError` for the first error among them."""
        if self._open is not None:
            opened, self._open = self._open, None
            try:
                await opened.__aexit__(None, None, None)
            except BaseException as error:
                await self._connection.run_sync(_raise_through_sqlalchemy, error, "")
                raise

    async def discard(self) -> None:
        """The same where the transaction is to be undone: what the answers say is of no interest."""
        with contextlib.suppress(Exception):
            await self.leave()


async def execute(
    connection: AsyncConnection,
    statement: Executable,
    parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None,
    pipeline: Pipeline | None = None,
) -> PreparedResult[*tuple[Any, ...]]:
    """Execute a statement that is made once, for one set of values or for several; those must have the same names.

    Raises what SQLAlchemy would: `DBAPIError` for an error of the database's, in a pipeline maybe one of a statement before.
    There nobody knows how many rows a statement changed that brings none: it is -1.
    """
    many = isinstance(parameters, Sequence)
    rows = parameters if isinstance(parameters, Sequence) else [parameters or {}]
    compiled = _compiled_for(statement, connection.dialect, tuple(rows[0]))
    sync = _sync_connection(connection)
    driver: Any = sync.connection.driver_connection
    if hasattr(driver, "inline"):
        driver.inline = INLINE in statement.get_execution_options()
    cursor: Any = driver.cursor()
    try:
        if pipeline is not None:
            await pipeline.enter(driver)
        if many and len(rows) > 1:
            await cursor.executemany(compiled.text, [compiled.values(row) for row in rows])
        else:
            await cursor.execute(compiled.text, compiled.values(rows[0]))
        found = await cursor.fetchall() if compiled.returns_rows else ()
    except BaseException as error:
        await connection.run_sync(_raise_through_sqlalchemy, error, compiled.text)
        raise
    return PreparedResult(compiled.metadata, found, cursor.rowcount)


def _sync_connection(connection: AsyncConnection) -> Connection:
    sync = connection.sync_connection
    if sync is None:
        raise RuntimeError("the connection was never opened")
    return sync


def _raise_through_sqlalchemy(sync: Connection, error: BaseException, statement: str) -> None:
    """Have SQLAlchemy do with an error what it does with one that it met itself: wrap it, give the connection up, tell.

    It is raised again because SQLAlchemy asks what is being handled, and a greenlet does not see what is so around it.
    """
    handle = sync._handle_dbapi_exception  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] # there is no other way to its handlers
    try:
        raise error  # noqa: TRY301 # to be what is being handled
    except BaseException:  # noqa: BLE001 # it is handed on
        handle(error, statement, None, None, None)


def _compiled_for(
    statement: Executable, dialect: Dialect, names: tuple[str, ...]
) -> _CompiledStatement:
    variants = _compiled_statements.setdefault(statement, {})
    key = (dialect.name, names)
    if key not in variants:
        variants[key] = _compile(statement, dialect, names)
    return variants[key]


def _compile(statement: Executable, dialect: Dialect, names: tuple[str, ...]) -> _CompiledStatement:
    if isinstance(statement, Insert) and not statement.exported_columns:
        statement = statement.inline()  # nobody asks for the key
    if not isinstance(statement, Select | Insert | Update):
        raise TypeError(f"a {type(statement).__name__} cannot be executed on the driver")
    compiled = statement.compile(dialect=dialect, column_keys=list(names))
    if compiled.post_compile_params or compiled.prefetch or compiled.literal_execute_params:
        raise TypeError(f"has values that SQLAlchemy makes at each execution: {compiled}")
    columns = list(statement.exported_columns)
    result_processors: list[Any] = [_result_processor(column.type, dialect) for column in columns]
    bind_processors = (
        (name, _bind_processor(bind.type, dialect)) for bind, name in compiled.bind_names.items()
    )
    return _CompiledStatement(
        text=str(compiled),
        defaults=compiled.params,
        positions=None if compiled.positiontup is None else tuple(compiled.positiontup),
        bind_processors=tuple(
            (name, convert) for name, convert in bind_processors if convert is not None
        ),
        returns_rows=bool(columns),
        metadata=SimpleResultMetaData(
            [str(column.key) for column in columns],
            _processors=result_processors if any(result_processors) else None,
        ),
    )


def _bind_processor(kind: TypeEngine[Any], dialect: Dialect) -> _Processor | None:
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _result_processor(kind: TypeEngine[Any], dialect: Dialect) -> _Processor | None:
    if isinstance(kind, Float):
        return None  # either driver brings a float, and psycopg's dialect would ask for the column's number to know it
    return kind.dialect_impl(dialect).result_processor(dialect, None)
