"""Prepared statements: built once, executed directly on the driver.

SQLAlchemy compiles a statement's text and its conversions of parameters and results; both are cached here. SQLAlchemy's
own work around each execution (cache keys, a context, greenlet switches for each wait) was half of a transaction's
processor time on SQLite and a quarter on PostgreSQL (`benchmarks/sections/store.py`).

SQLAlchemy still manages the connection, its transaction and the errors.

In a writing transaction on PostgreSQL, statements that return no rows are not awaited: their answers come with the next
statement that returns rows, or before the commit. Each wait costs two context switches, which on a busy machine is more
than the work.
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
    """Mark a statement that is built once, when its module is imported, and whose values are all passed by name.

    It must not need values that SQLAlchemy generates (defaults in Python, lists of variable length): its first execution
    raises TypeError then.
    """
    return statement.execution_options(**{_PREPARED: True})


def prepared_inline(statement: Statement) -> Statement:
    """Mark a prepared statement that writes a few rows or finds them by key.

    In a writing transaction on SQLite it is executed in the event loop, if the transaction can begin at once and no large
    value is written.
    """
    return statement.execution_options(**{_PREPARED: True, INLINE: True})


def is_prepared(statement: Executable) -> bool:
    """Whether the statement is marked for `execute`."""
    return _PREPARED in statement.get_execution_options()


class PreparedResult(IteratorResult[*Columns]):
    """The result of a prepared statement: SQLAlchemy's result, with the number of rows it changed or found."""

    def __init__(self, metadata: SimpleResultMetaData, rows: Sequence[Any], rowcount: int) -> None:
        super().__init__(metadata, iter(rows))
        self.rowcount = rowcount


@dataclass(frozen=True, slots=True)
class _CompiledStatement:
    """A statement compiled for one dialect and one set of parameter names."""

    text: str
    defaults: _Values
    """All parameters by name, with the statement's own values filled in."""
    positions: tuple[str, ...] | None
    """Parameter names in the driver's order; None: the driver takes them by name."""
    bind_processors: tuple[tuple[str, _Processor], ...]
    returns_rows: bool
    metadata: SimpleResultMetaData
    """Column names and result conversions; whether rows are returned."""

    def values(self, parameters: _Values) -> Any:
        """The parameters in the driver's form."""
        values = {**self.defaults, **parameters}
        for name, convert in self.bind_processors:
            values[name] = convert(values[name])
        return values if self.positions is None else [values[name] for name in self.positions]


_compiled_statements: WeakKeyDictionary[
    Executable, dict[tuple[str, tuple[str, ...]], _CompiledStatement]
] = WeakKeyDictionary()


class Pipeline:
    """PostgreSQL's pipeline mode, from the first statement executed in it until `leave`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._open: Any = None

    async def enter(self, driver: Any) -> None:
        """Enter the pipeline: statements without rows are no longer awaited. Behind a pooler, which may not support it, they are."""
        if self._open is None and driver.prepare_threshold is not None:
            opened = driver.pipeline()
            await opened.__aenter__()
            self._open = opened

    async def leave(self) -> None:
        """Await all answers. Raises `DBAPIError` for the first error among them."""
        if self._open is not None:
            opened, self._open = self._open, None
            try:
                await opened.__aexit__(None, None, None)
            except BaseException as error:
                await self._connection.run_sync(_raise_through_sqlalchemy, error, "")
                raise

    async def discard(self) -> None:
        """The same before a rollback: errors are ignored."""
        with contextlib.suppress(Exception):
            await self.leave()


async def execute(
    connection: AsyncConnection,
    statement: Executable,
    parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None,
    pipeline: Pipeline | None = None,
) -> PreparedResult[*tuple[Any, ...]]:
    """Execute a prepared statement for one set of parameters, or for several with the same names.

    Raises what SQLAlchemy would raise: `DBAPIError` for a database error, in a pipeline perhaps for an earlier statement. In a
    pipeline the row count of a statement without rows is unknown: -1.
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
    """Let SQLAlchemy handle an error as one of its own: wrap it, invalidate the connection, call the event handlers.

    The error is raised again here because SQLAlchemy reads the current exception, which a greenlet does not inherit.
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
        statement = statement.inline()  # the generated key is not needed
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
        return None  # both drivers return a float, and psycopg's dialect would need the column's number
    return kind.dialect_impl(dialect).result_processor(dialect, None)
