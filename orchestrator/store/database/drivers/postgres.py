"""PostgreSQL below SQLAlchemy: the pool, and which errors can be retried."""

from __future__ import annotations

import select
from typing import Any

from sqlalchemy import URL, event, exc
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

_RETRY_STATES = frozenset({"40001", "40P01"})
"""Serialization failure and deadlock: the server rolled the transaction back and it can be retried."""
KEEPALIVE_OPTIONS = {
    "connect_timeout": 10,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
"""Seconds (and a count), in libpq's words, after which a server that does not answer is given up."""

IDLE_SECONDS = 15
"""After which the server undoes a transaction in which nothing happens: a process that stands still in the middle of one
must not keep a run locked for ever. Behind a pooler set it in the server."""


def postgres_engine(url: URL, pool_size: int) -> AsyncEngine:
    """A pool of psycopg connections in READ COMMITTED.

    `?pooler=1` in the URL says that a transaction pooler (PgBouncer) stands between: no prepared statements and no pipelining then.
    """
    arguments: dict[str, Any] = {"application_name": "perdure", **KEEPALIVE_OPTIONS}
    if behind_pooler(url):
        arguments["prepare_threshold"] = None
    elif "options" not in url.query:
        arguments["options"] = f"-c idle_in_transaction_session_timeout={IDLE_SECONDS}s"
    engine = create_async_engine(
        without_options(url).set(drivername="postgresql+psycopg"),
        pool_size=pool_size,
        max_overflow=0,
        pool_use_lifo=True,  # the connection used last knows the statements, and the server has it at hand
        query_cache_size=1_000,
        hide_parameters=True,  # an error must not write what users sent into a log
        isolation_level="READ COMMITTED",
        use_native_hstore=False,
        connect_args=arguments,
    )
    event.listen(engine.sync_engine, "checkout", _refuse_dead_connections)
    event.listen(engine.sync_engine, "handle_error", _keep_values_out)
    return engine


def behind_pooler(url: URL) -> bool:
    return url.query.get("pooler") in {"1", "true"}


def without_options(url: URL) -> URL:
    """The URL without what only this module understands, fit for libpq."""
    return url.set(drivername="postgresql").difference_update_query(["pooler"])


def should_retry(error: BaseException | None) -> bool:
    """True when the server undid the transaction through no fault of its own."""
    return getattr(error, "sqlstate", None) in _RETRY_STATES


def _keep_values_out(context: ExceptionContext) -> None:
    """Keep the first sentence of the server's error: the lines after it quote whole rows, and errors are logged."""
    import psycopg  # noqa: PLC0415 - 10 MB that a process on SQLite has no use for

    raw, raised = context.original_exception, context.sqlalchemy_exception
    if isinstance(raw, psycopg.Error) and raw.diag.message_primary:
        raw.args = (raw.diag.message_primary,)
        if raised is not None:
            raised.args = (f"({type(raw).__name__}) {raw.diag.message_primary}",)


def _refuse_dead_connections(connection: Any, *_: object) -> None:
    """Notice a connection the server has closed, without a round trip.

    An idle connection has nothing to read: readable means a farewell or the end of the stream. The pool answers this
    error by opening a new connection.
    """
    raw = connection.driver_connection
    if raw.closed or _is_readable(raw.pgconn.socket):
        raise exc.InvalidatePoolError("the server closed this connection")


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()  # `select.select` refuses descriptors over 1023
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
