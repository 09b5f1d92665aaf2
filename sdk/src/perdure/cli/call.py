"""`perdure call`: call a function without a model."""

from __future__ import annotations

from typing import Annotated

import typer

from perdure import Perdure
from perdure.cli.output import plain_errors, write_json, write_result
from perdure.cli.parsing import read_object


def call(
    function: Annotated[str, typer.Argument(metavar="SERVICE.FUNCTION")],
    *,
    input_json: Annotated[
        str, typer.Option("--input", metavar="JSON", help="The function's arguments.")
    ] = "{}",
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds to wait; default: no limit.")
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Print the call's id and do not wait.")
    ] = False,
) -> None:
    """Call a function and print its result as JSON; exits 1 when it fails."""
    with plain_errors(), Perdure() as client:
        created = client.call(function, read_object(input_json))
        if detach:
            write_result(created.id)
            return
        write_json(created.poll(timeout).result)
