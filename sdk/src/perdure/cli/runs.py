"""`perdure runs`: list, show, cancel and resume runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from perdure import Perdure, RunStatus
from perdure.cli.output import plain_errors, write_json, write_result, write_status
from perdure.cli.parsing import read_pairs
from perdure.cli.run import read_budget
from perdure.contract import Run

runs = typer.Typer(no_args_is_help=True, help="List runs; show, cancel or resume one.")


@runs.command("list")
def list_runs(
    *,
    status: Annotated[RunStatus | None, typer.Option(help="Only runs in this status.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="May be given again.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="May be given again.")] = None,
    test: Annotated[bool, typer.Option("--test", help="Test runs instead of the others.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of runs, newest first.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON list.")] = False,
) -> None:
    """Show the newest runs."""
    with plain_errors(), Perdure() as client:
        found = client.list_runs(
            status=status,
            metadata=read_pairs(metadata),
            tags=tag or (),
            test=test,
            limit=limit,
        )
        snapshots = [run.snapshot for run in found]
    if as_json:
        write_json([_as_json(each) for each in snapshots])
        return
    for each in snapshots:
        write_result(
            f"{each.id}  {each.status:<9}  {each.created_at:%Y-%m-%d %H:%M:%S}  {each.name}"
        )


@runs.command("get")
def get_run(run_id: str) -> None:
    """Show one run as JSON."""
    with plain_errors(), Perdure() as client:
        write_json(_as_json(client.get_run(run_id).snapshot))


@runs.command("cancel")
def cancel_run(
    run_id: str, reason: Annotated[str | None, typer.Option(help="Kept with the run.")] = None
) -> None:
    """Cancel a run; functions that are running are notified."""
    with plain_errors(), Perdure() as client:
        write_status(f"{run_id} is {client.cancel_run(run_id, reason).status.value}.")


@runs.command("resume")
def resume_run(
    run_id: str,
    budget_usd: Annotated[float | None, typer.Option(help="The new limit, US dollars.")] = None,
    budget_tokens: Annotated[int | None, typer.Option(help="The new limit, tokens.")] = None,
) -> None:
    """Resume a paused run, with a higher budget if it has used up its own."""
    with plain_errors(), Perdure() as client:
        budget = read_budget(budget_usd, budget_tokens)
        write_status(f"{run_id} is {client.get_run(run_id).resume(budget).status.value}.")


def _as_json(run: Run) -> dict[str, Any]:
    return run.model_dump(mode="json", by_alias=True, exclude_none=True)
