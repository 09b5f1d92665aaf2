"""`perdure dev`: run everything on this machine."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from perdure.cli.output import console, fail, write_result, write_status
from perdure.dev.errors import NotReadyError, StackError
from perdure.dev.follow import LogFollower
from perdure.dev.plan import StackOptions
from perdure.dev.stack import Summary, run_stack
from perdure.dev.state import StateFolder
from perdure.http.connection import CONNECTION_FILE

DEFAULT_PORT = 8787


def dev(
    *,
    port: Annotated[
        int,
        typer.Option(
            envvar="PERDURE_PORT", min=0, max=65_535, help="Port of the API; 0 takes any free one."
        ),
    ] = DEFAULT_PORT,
    state_dir: Annotated[
        Path, typer.Option(envvar="PERDURE_STATE_DIR", help="Folder for all data.")
    ] = Path(".perdure"),
    functions: Annotated[
        list[str] | None,
        typer.Option(metavar="MODULE:SERVICE", help="Host these functions too; may be repeated."),
    ] = None,
    hosted: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE:SERVICE",
            help="Host these functions in the Temporal worker itself, without HTTP; may be repeated.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="When ready, print one line of JSON to stdout.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Write the logs of all processes to stderr.")
    ] = False,
    ui: Annotated[bool, typer.Option("--ui", help="Serve Temporal's web interface too.")] = False,
    ready_timeout: Annotated[
        float, typer.Option(min=1, help="Seconds to wait for the stack to become ready.")
    ] = 60.0,
) -> None:
    """Run Perdure on this machine: Temporal, the store, the API and the Temporal workers.

    Ctrl-C or SIGTERM stops all of it; the next start continues the open runs. PERDURE_TEMPORAL_ADDRESS and
    PERDURE_DATABASE_URL make it use your own Temporal server and PostgreSQL.
    """
    options = StackOptions(
        state_dir=state_dir,
        port=port,
        functions=tuple(functions or ()),
        hosted=tuple(hosted or ()),
        temporal_ui=ui,
        ready_timeout=ready_timeout,
    )
    try:
        asyncio.run(_run(options, answer_ready if as_json else show_ready, verbose=verbose))
    except NotReadyError as error:
        fail(f"{error}\n{error.log}".rstrip())
    except StackError as error:
        fail(str(error))
    except OSError as error:  # a full disk, or a file of another user in the state folder
        fail(
            f"{error.filename or state_dir}: {error.strerror or error}. Free it, or give another --state-dir."
        )


async def _run(
    options: StackOptions, when_ready: Callable[[Summary], None], *, verbose: bool
) -> None:
    following = _follow(options) if verbose else None
    try:
        await run_stack(options, dict(os.environ), log=write_status, when_ready=when_ready)
    finally:
        if following:
            following.cancel()
            await asyncio.wait({following})


def _follow(options: StackOptions) -> asyncio.Task[None]:
    state = StateFolder.create(options.state_dir)
    return asyncio.create_task(LogFollower(state.logs, write_status).run())


def answer_ready(summary: Summary) -> None:
    """Print the connection as one line of JSON, for programs."""
    write_result(summary.connection.as_json())


def show_ready(summary: Summary) -> None:
    """Print the connection as text, for people."""
    state, connection = summary.state, summary.connection
    rows = {
        "API": connection.url,
        "Key": f"{connection.api_key}   ({_short(state.key_file)})",
        "Model": summary.model,
        "Temporal": summary.temporal_ui or connection.temporal_address,
        "Logs": _short(state.logs),
        "Stop": f"Ctrl-C, or kill {os.getpid()}",
    }
    if (
        state.connection_file != Path.cwd() / CONNECTION_FILE
    ):  # clients in this folder do not find it without the variables
        rows["Clients"] = (
            f"export PERDURE_URL={connection.url} PERDURE_API_KEY={connection.api_key}"
        )
    console.print("[bold green]Perdure is ready.[/]")
    for name, value in rows.items():
        console.print(f"  [bold]{name:<9}[/] {escape(value)}")
    sys.stdout.flush()


def _short(path: Path) -> str:
    folder = Path.cwd()
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
