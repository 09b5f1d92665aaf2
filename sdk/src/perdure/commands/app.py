"""The command line, put together."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from perdure.commands.approvals import approvals
from perdure.commands.call import call
from perdure.commands.dev import dev
from perdure.commands.doctor import doctor
from perdure.commands.keys import keys
from perdure.commands.output import answer
from perdure.commands.run import run
from perdure.commands.runs import runs
from perdure.commands.usage import usage
from perdure.commands.worker import worker

app = typer.Typer(
    name="perdure",
    help="Durable agent runs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        answer(version("perdure"))
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Durable agent runs."""


app.command()(dev)
app.command()(worker)
app.command()(run)
app.command()(call)
app.command()(usage)
app.command()(doctor)
app.add_typer(runs, name="runs")
app.add_typer(approvals, name="approvals")
app.add_typer(keys, name="keys")
