"""`perdure approvals`: list the calls that wait for approval, and approve or deny one."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from perdure import Perdure
from perdure.cli.output import plain_errors, write_json, write_result, write_status
from perdure.cli.parsing import read_object

approvals = typer.Typer(
    no_args_is_help=True, help="List calls that wait for approval; approve or deny one."
)


@approvals.command("list")
def list_approvals(
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of calls, oldest first.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON list.")] = False,
) -> None:
    """Show the calls that wait for approval."""
    with plain_errors(), Perdure() as client:
        waiting = list(client.approvals(limit=limit))
    if as_json:
        write_json([each.model_dump(mode="json", by_alias=True) for each in waiting])
        return
    for each in waiting:
        given = json.dumps(each.input, ensure_ascii=False)
        write_result(
            f"{each.call_id}  {each.service}.{each.function} {given}  {each.message or ''}".rstrip()
        )


@approvals.command("approve")
def approve(
    call_id: str,
    given: Annotated[
        str | None, typer.Option("--input", metavar="JSON", help="Other arguments.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Kept with the call.")] = None,
) -> None:
    """Approve the call."""
    with plain_errors(), Perdure() as client:
        client.approve(call_id, read_object(given), reason=reason)
        write_status(f"{call_id} is approved.")


@approvals.command("deny")
def deny(
    call_id: str, reason: Annotated[str | None, typer.Option(help="The model reads it.")] = None
) -> None:
    """Deny the call."""
    with plain_errors(), Perdure() as client:
        client.deny(call_id, reason)
        write_status(f"{call_id} is denied.")
