"""`perdure run`: start a run, follow its events, print its result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from perdure import Budget, Perdure, Run
from perdure.cli.output import fail, plain_errors, write_json, write_result, write_status
from perdure.cli.parsing import read_deadline, read_json_file, read_object, read_pairs
from perdure.contract import Event

_WIDTH = 160


def run(
    prompt: Annotated[
        str | None, typer.Argument(help="The prompt. Optional with --config.")
    ] = None,
    *,
    schema: Annotated[
        Path | None, typer.Option(help="File with the JSON Schema of the result.")
    ] = None,
    function: Annotated[
        list[str] | None,
        typer.Option(help="A function it may call, service_function; may be repeated."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="provider/model.")] = None,
    config: Annotated[str | None, typer.Option(help="Id of a run configuration.")] = None,
    input_json: Annotated[
        str | None, typer.Option("--input", metavar="JSON", help="Input of the configuration.")
    ] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="May be given again.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="May be given again.")] = None,
    deadline: Annotated[
        str | None, typer.Option(metavar="TIME", help="90s, 15m, 2h, 3d, or a date and time.")
    ] = None,
    budget_usd: Annotated[
        float | None, typer.Option(help="US dollars at which the run pauses.")
    ] = None,
    budget_tokens: Annotated[
        int | None, typer.Option(help="Tokens at which the run pauses.")
    ] = None,
    priority: Annotated[int | None, typer.Option(help="1 goes first, 5 last.")] = None,
    test: Annotated[bool, typer.Option("--test", help="Hide the run from lists.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Print the run's events to stderr.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Print the run's id and do not wait.")
    ] = False,
) -> None:
    """Start a run and print its result as JSON; exits 1 when the run fails."""
    with plain_errors(), Perdure() as client:
        started = client.create_run(
            prompt,
            result_schema=read_json_file(schema),
            functions=function,
            model=model,
            config=config,
            input=read_object(input_json),
            metadata=read_pairs(metadata),
            tags=tag,
            deadline=read_deadline(deadline),
            budget=read_budget(budget_usd, budget_tokens),
            priority=priority,
            test=test,
        )
        if detach:
            write_result(started.id)
            return
        write_status(f"Run {started.id}")
        _wait(started, follow=follow)


def read_budget(usd: float | None, tokens: int | None) -> Budget | None:
    """Parse the limits. Raises `typer.BadParameter` for an invalid value."""
    given = {"usd": usd, "tokens": tokens}
    limits = {name: limit for name, limit in given.items() if limit is not None}
    try:
        return Budget.model_validate(limits) if limits else None
    except ValidationError as error:
        problem = error.errors()[0]
        raise typer.BadParameter(f"budget {problem['loc'][0]}: {problem['msg']}") from error


def _wait(run: Run[Any], *, follow: bool) -> None:
    try:
        if follow:
            for event in run.events():
                write_status(describe(event))
        outcome = run.poll()
    except KeyboardInterrupt:
        fail(f"The run continues: perdure runs get {run.id}", code=130)
    if outcome.result is None and outcome.result_null_reason:
        write_status(f"No result: {outcome.result_null_reason}")
    write_json(outcome.result)


def describe(event: Event) -> str:
    """Format an event as one line."""
    data = json.dumps(event.data, ensure_ascii=False) if event.data else ""
    line = f"{event.version:>4}  {event.type:<20} {data}"
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"
