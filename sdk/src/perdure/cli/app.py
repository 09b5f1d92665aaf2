"""The command line application, assembled from its commands."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import Annotated

import typer

from perdure.cli.output import write_result

COMMANDS = ("dev", "worker", "run", "call", "usage", "doctor")
"""Each is in the module of its name, as are the groups."""
GROUPS = ("runs", "approvals", "keys")


def build_app(asked: str | None = None) -> typer.Typer:
    """Return the command line with the requested command only, or with all commands if there is none of that name.

    The other commands are not imported, which halves the start time of `perdure dev`.
    """
    app = typer.Typer(
        name="perdure",
        help="Durable agent runs.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    only = asked if asked in {*COMMANDS, *GROUPS} else None
    for name in COMMANDS:
        if only in {name, None}:
            app.command()(getattr(_module(name), name))
    for name in GROUPS:
        if only in {name, None}:
            app.add_typer(getattr(_module(name), name), name=name)
    return app


def _module(name: str) -> object:
    return import_module(f"perdure.cli.{name}")


def _show_version(wanted: bool) -> None:
    if wanted:
        write_result(version("perdure"))
        raise typer.Exit


def _options(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Durable agent runs."""
