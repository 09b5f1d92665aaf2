"""Logging of every server process: structured, to stderr, never with a user's data."""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from types import ModuleType


@contextmanager
def _hidden(package: str) -> Generator[None]:
    """Inside the block the package cannot be imported, unless it was imported before."""
    modules = cast("dict[str, ModuleType | None]", sys.modules)
    if package in modules:
        yield
        return
    modules[package] = None
    try:
        yield
    finally:
        del modules[package]


# structlog would import rich for tracebacks with local variables, which we never log: 0.1 s and 6 MB.
with _hidden("rich"):
    import structlog


def configure_logging(process: str, *, level: str, log_format: str) -> None:
    """Send all log records through one formatter.

    `log_format` is `text` (for people) or `json` (one object per line, for collectors); `level` is the lowest level written.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        # Plain tracebacks: the default ones show local variables, which hold users' data and keys.
        else structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        )
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            renderer,
        ]
        if log_format == "json"
        else [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("httpx2", "httpcore2", "anthropic", "sqlalchemy.engine", "aiosqlite"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger(__name__).debug("logging of %s is set up", process)
