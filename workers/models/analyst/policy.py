"""The demo's scripted policy `scripted/analyst`: which customer grew most this quarter, and why.

It is not a language model and says so. But it invents nothing: it reads the tools it is offered, asks the database
what tables there are, composes its queries from the answer, and reports what they bring. Other data, other answer;
no such tool or no such data, and it says what it lacks.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from datetime import date
from typing import cast

from pydantic import JsonValue

from orchestrator.llm.messages import AssistantTurn, ModelRequest, Tool, ToolResult, Turn
from workers.models.analyst.answer import Change, Finding, Quarter, money, result_of
from workers.models.analyst.tables import (
    TABLES_QUERY,
    Ledger,
    MissingColumnsError,
    Party,
    find_ledger,
    read_tables,
)
from workers.models.scripted.script import Call, Step

Row = Mapping[str, JsonValue]
Investigation = Generator[str, list[Row], Finding]

_MAX_FAILED_QUERIES = 3
_SHOWN_ROWS = 10
_ANNOTATIONS = frozenset({"title", "description", "default", "examples", "$comment"})


def analyst(request: ModelRequest) -> Step:
    """The next step of the investigation: a query, or the answer when all queries are answered."""
    try:
        tool, argument = _sql_tool(request)
        progress = _replay(_results(request.turns, tool.name))
    except MissingColumnsError as lack:
        return _give_up(request, f"The scripted analyst cannot answer: {lack}.")
    if isinstance(progress, str):
        return Step(calls=[Call(function=tool.name, input={argument: progress})])
    if _wants_result(request):
        return Step(result=result_of(progress, request))
    return Step(text=progress.why)


def investigate() -> Investigation:
    """The questions, one after the other: each is yielded as SQL and sent its rows, the last brings the finding."""
    ledger = find_ledger(read_tables((yield TABLES_QUERY)))
    quarter = Quarter.until(_latest((yield ledger.latest())))
    customers = _changes((yield _comparison(ledger, quarter, ledger.customer)))
    if not customers:
        raise MissingColumnsError("there are no sales in the last two quarters")
    winner = customers[0]
    if ledger.product is None:
        return Finding(quarter, winner, None)
    only = f"{ledger.customer.key} = {_literal(winner.key)}"
    products = _changes((yield _comparison(ledger, quarter, ledger.product, only)))
    return Finding(quarter, winner, products[0] if products else None)


def _replay(results: list[ToolResult]) -> str | Finding:
    """Lead the investigation through the results so far: the query it asks next, or what it found."""
    failed = [result for result in results if result.is_error]
    if len(failed) >= _MAX_FAILED_QUERIES:
        raise MissingColumnsError(
            f"{failed[-1].name} failed {len(failed)} times: {failed[-1].content[:300]}"
        )
    questions = investigate()
    query = next(questions)
    for result in results:
        if not result.is_error:
            try:
                query = questions.send(_rows(result))
            except StopIteration as end:
                return cast(Finding, end.value)
    return query


def _comparison(ledger: Ledger, quarter: Quarter, party: Party, only: str = "") -> str:
    """Revenue in both quarters per customer or product, the one that grew most first."""
    now = f"{ledger.day} BETWEEN '{quarter.start}' AND '{quarter.end}'"
    before = f"{ledger.day} BETWEEN '{quarter.previous_start}' AND '{quarter.previous_end}'"
    parts = [
        f"SELECT {party.key} AS id, {party.label} AS name,",
        f"{_revenue(ledger, now)} AS this_quarter,",
        f"{_revenue(ledger, before)} AS last_quarter",
        f"FROM {ledger.source} WHERE ({now} OR {before})",
        f"AND {only}" if only else "",
        f"GROUP BY 1, 2 ORDER BY this_quarter - last_quarter DESC, name LIMIT {_SHOWN_ROWS}",
    ]
    return " ".join(filter(None, parts))


def _revenue(ledger: Ledger, condition: str) -> str:
    return f"ROUND(SUM(CASE WHEN {condition} THEN {ledger.revenue} ELSE 0 END), 2)"


def _sql_tool(request: ModelRequest) -> tuple[Tool, str]:
    """The first tool that takes a query, and the name of that argument."""
    for tool in request.tools:
        properties = tool.schema.get("properties")
        for name, schema in properties.items() if isinstance(properties, dict) else ():
            if (
                "sql" in name.lower()
                and isinstance(schema, dict)
                and schema.get("type") == "string"
            ):
                return tool, name
    raise MissingColumnsError("among its functions there is none that takes an `sql` string")


def _results(turns: tuple[Turn, ...], tool: str) -> list[ToolResult]:
    """The tool's results since the last message: a new question is answered from fresh data."""
    results: list[ToolResult] = []
    for turn in turns:
        if isinstance(turn, AssistantTurn):
            continue
        if turn.texts and not turn.results:
            results.clear()
        results += [result for result in turn.results if result.name == tool]
    return results


def _rows(result: ToolResult) -> list[Row]:
    try:
        parsed = cast(JsonValue, json.loads(result.content))
    except ValueError as error:
        raise MissingColumnsError(f"what {result.name} returned is not JSON") from error
    if isinstance(parsed, dict):
        parsed = next((value for value in parsed.values() if isinstance(value, list)), None)
    if not isinstance(parsed, list):
        raise MissingColumnsError(f"{result.name} returned no list of rows")
    rows = [row for row in parsed if isinstance(row, dict)]
    if len(rows) < len(parsed):
        raise MissingColumnsError(f"{result.name} returned rows without column names")
    return cast(list[Row], rows)


def _latest(rows: list[Row]) -> date:
    value = rows[0].get("latest") if rows else None
    if not isinstance(value, str):
        raise MissingColumnsError("there are no dated sales")
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise MissingColumnsError(f"{value!r} is not a date") from error


def _changes(rows: list[Row]) -> list[Change]:
    try:
        return [
            Change(
                row["id"], str(row["name"]), money(row["this_quarter"]), money(row["last_quarter"])
            )
            for row in rows
        ]
    except (KeyError, ArithmeticError) as error:
        raise MissingColumnsError(
            "the revenue query brought other columns than it asked for"
        ) from error


def _literal(value: JsonValue) -> str:
    if isinstance(value, int | float):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"


def _wants_result(request: ModelRequest) -> bool:
    """Whether the run has a result schema: its result is described by more than words, or may be given up."""
    tool = next((tool for tool in request.tools if tool.name == request.result_tool), None)
    if tool is None:
        return False
    properties = tool.schema.get("properties")
    wanted = properties.get("result") if isinstance(properties, dict) else None
    is_shaped = isinstance(wanted, dict) and bool(wanted.keys() - _ANNOTATIONS)
    return is_shaped or _give_up_tool(request) is not None


def _give_up_tool(request: ModelRequest) -> str | None:
    return next((tool.name for tool in request.tools if tool.name.endswith("_give_up")), None)


def _give_up(request: ModelRequest, reason: str) -> Step:
    tool = _give_up_tool(request)
    if tool is None:
        return Step(text=reason)
    return Step(calls=[Call(function=tool, input={"reason": reason})])
