"""`perdure worker`: host functions in this process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from perdure.cli.output import plain_errors
from perdure.worker.worker import load_services, serve


def worker(
    target: Annotated[
        str, typer.Argument(metavar="MODULE:SERVICE", help="Where the services are.")
    ],
    ready_file: Annotated[
        Path | None,
        typer.Option(
            help="A file that receives the process id once the worker accepts calls.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Host the functions of a service.

    MODULE:SERVICE names a `Service` in a module of this folder; MODULE alone means every one in it.
    """

    def when_ready() -> None:
        if ready_file:
            ready_file.write_text(f"{os.getpid()}\n")

    with plain_errors():
        serve(load_services(target), when_ready=when_ready)
