"""`perdure usage`: usage of models."""

from __future__ import annotations

from typing import Annotated

import typer

from perdure import Perdure
from perdure.cli.output import plain_errors, write_json, write_result


def usage(
    days: Annotated[int, typer.Option(min=1, max=366, help="Days back from today, UTC.")] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON list.")] = False,
) -> None:
    """Show tokens, model calls, money and runs per day and model."""
    with plain_errors(), Perdure() as client:
        found = client.usage(days)
    if as_json:
        write_json([each.model_dump(mode="json", by_alias=True) for each in found])
        return
    for each in found:
        read = each.input_tokens + each.cache_read_tokens + each.cache_write_tokens
        write_result(
            f"{each.day}  {each.model:<32}  {each.runs:>6} runs  {each.model_calls:>7} model calls"
            f"  {read:>11} tokens in  {each.output_tokens:>10} out  {each.cost_usd:>10.4f} USD"
        )
