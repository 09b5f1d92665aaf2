"""`perdure run`: start a run, see it happen, print its result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from perdure import Perdure, Run
from perdure.commands.output import answer, answer_json, fail, plain_errors, say
from perdure.commands.pairs import read_pairs
from perdure.contract import Event

_WIDTH = 160


def run(
    prompt: Annotated[str, typer.Argument(help="What the agent is to do.")],
    *,
    schema: Annotated[
        Path | None, typer.Option(help="File with the JSON Schema of the result.")
    ] = None,
    function: Annotated[
        list[str] | None,
        typer.Option(help="A function it may call, service_function; may be given again."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="provider/model.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="May be given again.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Show what happens, on stderr.")] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Print the run's id and do not wait.")
    ] = False,
) -> None:
    """Start a run and print its result as JSON; exits 1 when the run fails."""
    with plain_errors(), Perdure() as client:
        started = client.create_run(
            prompt,
            result_schema=_read_schema(schema),
            functions=function,
            model=model,
            metadata=read_pairs(metadata),
        )
        if detach:
            answer(started.id)
            return
        say(f"Run {started.id}")
        _wait(started, follow=follow)


def _wait(run: Run[Any], *, follow: bool) -> None:
    try:
        if follow:
            for event in run.events():
                say(describe(event))
        outcome = run.poll()
    except KeyboardInterrupt:
        fail(f"The run goes on: perdure runs get {run.id}", code=130)
    if outcome.result is None and outcome.result_null_reason:
        say(f"No result: {outcome.result_null_reason}")
    answer_json(outcome.result)


def describe(event: Event) -> str:
    """An event in one line."""
    data = json.dumps(event.data, ensure_ascii=False) if event.data else ""
    line = f"{event.version:>4}  {event.type:<20} {data}"
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"


def _read_schema(file: Path | None) -> Any:
    if file is None:
        return None
    try:
        return json.loads(file.read_bytes())
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise typer.BadParameter(f"{file} is not JSON: {error}") from error
